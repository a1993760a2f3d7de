import Config
import Routing
import Testing
import Wire

/// `type: starttls`: listeners that speak with their clients before TLS.
@Suite struct StartTLSListenerTests {
  private func listener(_ text: String) throws -> Listener {
    let (snapshot, diagnostics) = parse(File.listener("{ bind: \":25\", backend: b, \(text) }"))
    #expect(diagnostics.lines == [])
    return try #require(snapshot).listeners[0]
  }

  @Test func settings() throws {
    let bare = try listener("type: starttls, protocol: imap")
    #expect(bare.type == .startTLS && bare.spoken == .imap)
    #expect(bare.startTLS == StartTLSSettings(plaintext: .backend))
    #expect(bare.timeouts.startTLSMs == 15_000)
    let set = try listener(
      "type: starttls, protocol: smtp, no-sni: reject, timeouts: { starttls: 20s }, starttls: "
        + "{ name: Mail.Example., greeting: hi, capabilities: [\"SIZE 1\", HELP], plaintext: "
        + "reject }")
    #expect(
      set.startTLS
        == StartTLSSettings(
          name: HostName("mail.example"), greeting: "hi", capabilities: ["SIZE 1", "HELP"],
          plaintext: .reject))
    #expect(set.hello.withoutName == .reject && set.timeouts.startTLSMs == 20_000)
  }

  /// The words are those of the configuration; the machine's name where it has none.
  @Test func words() throws {
    let settings = StartTLSSettings(greeting: "hi", plaintext: .reject)
    let words = try #require(settings.words(in: .smtp, on: HostName("box.example")))
    #expect(words.greeting == Array("220 box.example hi\r\n".utf8))
    #expect(words.kind == .smtp && words.plaintext == .refused)
    #expect(settings.words(in: .pop3, on: nil)?.greeting == Array("+OK localhost hi\r\n".utf8))
    #expect(settings.words(in: nil, on: nil) == nil)
  }

  @Test(
    "faults",
    arguments: [
      Case(
        File.listener("{ bind: \":25\", backend: b, type: ¦starttls }"),
        "a starttls listener needs to know what its clients speak: add \"protocol: smtp\" (or "
          + "imap, pop3, sieve)"),
      Case(
        File.listener(
          "{ bind: \":25\", backend: b, type: starttls, protocol: smtp, not-tls: ¦backend }"),
        "not-tls is for \"type: tls\"; who sends something else behind STARTTLS is turned away, "
          + "and who asks for no TLS goes by \"starttls: { plaintext: … }\""),
      Case(
        File.listener(
          "{ bind: \":25\", backend: b, type: server-first, starttls: ¦{ name: a.b } }"),
        "starttls is for \"type: starttls\"; a server-first listener says nothing itself"),
      Case(
        File.listener(
          "{ bind: \":25\", backend: b, type: starttls, protocol: smtp, starttls: { name: ¦a_b!, "
            + "greeting: ¦é, capabilities: [¦\"\"], plaintext: ¦refuse } }"),
        "name: \"a_b!\" is not a host name; addresses need not be listed",
        "greeting: it takes printable ASCII, on one line",
        "capabilities: it takes printable ASCII, on one line",
        "plaintext: \"refuse\" is not one of backend or reject"),
      Case(
        File.listener(
          "{ bind: \":25\", backend: b, type: starttls, protocol: smtp, "
            + "starttls: ¦{ capabilities: ["
            + (0..<20).map { "\"\($0)\(String(repeating: "x", count: 190))\"" }
            .joined(separator: ", ") + "] } }"),
        "starttls: the capabilities are too much to announce before TLS, which is about 2 KB; "
          + "servers announce theirs inside TLS"),
      Case(
        File.listener(
          "{ bind: \":25\", backend: b, type: starttls, protocol: smtp, proxy-protocol: "
            + "{ sources: [{ networks: 192.0.2.1, header: ¦accept }] } }"),
        "header: a client of a starttls listener may wait for its server's first bytes, so a "
          + "header that may be missing cannot be waited for; use require or forbid"),
    ])
  func faults(_ fault: Case) {
    #expect(Snapshot.parse(fault.text, file: "f.yaml").diagnostics.lines == fault.expected)
  }

  /// What was read is written, and reads the same.
  @Test func written() throws {
    let text = File.listener(
      "{ bind: \":25\", backend: b, type: starttls, protocol: sieve, no-sni: reject, starttls: "
        + "{ name: mail.example, greeting: hi, capabilities: ['\"SASL\" \"PLAIN\"'], plaintext: "
        + "reject }, timeouts: { starttls: 1s } }")
    let snapshot = try #require(parse(text).snapshot)
    for defaults in [false, true] {
      let (again, diagnostics) = parse(snapshot.yaml(defaults: defaults))
      #expect(diagnostics.lines == [])
      #expect(again == snapshot)
    }
    #expect(
      snapshot.plan.contains(
        """
          type           starttls
            no-sni       reject
            plaintext    reject
            name         mail.example
            announces    STARTTLS, "SASL" "PLAIN"

        """))
    #expect(snapshot.plan.contains("  starttls       1s\n"))
  }
}
