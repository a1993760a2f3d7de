import AdminAPI
import Config
import TestSupport
import Testing

@testable import Control

/// `sluice explain` of a file: what the router would do, and why.
@Suite struct ExplainTests {
  private static let file = """
    trusted-networks: [192.0.2.10]
    listeners:
      imaps:
        bind: ["127.0.0.1:993", "[::1]:993"]
        type: tls
        rules:
          - { name: tenant-a, sni: [mail.a.example, "*.a.example"], backend: a }
          - { name: office, from: [203.0.113.0/24], alpn: imap, backend: b }
          - { name: gone, sni: gone.example, action: reject }
          - { name: lab, from: 198.51.100.1, action: close }
      smtp:
        bind: "127.0.0.1:25"
        type: server-first
        protocol: smtp
        rules: [{ from: 10.0.0.0/8, to-port: [26, 27], action: reject }]
        backend: b
      submission:
        bind: "127.0.0.1:587"
        type: starttls
        protocol: smtp
        rules:
          - { sni: mail.a.example, backend: a }
          - { name: lab, from: 198.51.100.1, backend: a }
          - { name: foe, from: 198.51.100.2, action: close }
        backend: b
        timeouts: { starttls: 12s }
      sieve:
        bind: "127.0.0.1:4190"
        type: starttls
        protocol: sieve
        starttls: { plaintext: reject }
        backend: b
      named: { bind: "127.0.0.1:465", type: tls, no-sni: reject, rules: [{ backend: a }] }
    backends:
      a: { servers: ["127.0.0.1:1"], send-proxy: v1 }
      b:
        servers: ["127.0.0.1:2", { address: "127.0.0.1:3", backup: true }]
        send-proxy: v2
        proxy-tlvs: [authority, alpn, crc32c]
        timeouts: { idle: 1m }

    """

  private func explain(
    _ listener: String, _ from: String, to: String? = nil, sni: String? = nil, alpn: [String] = []
  ) throws -> Explanation {
    let (snapshot, diagnostics) = Snapshot.parse(Array(Self.file.utf8), file: "f.yaml")
    #expect(diagnostics.lines == [])
    return try Explainer(try #require(snapshot)).explain(
      ExplainQuery(listener: listener, from: from, to: to, sni: sni, alpn: alpn))
  }

  @Test func aRuleTakesIt() throws {
    let told = try explain("imaps", "203.0.113.7:4000", sni: "mail.b.example", alpn: ["h2", "imap"])
    #expect(
      told.rules == [
        .init(
          name: "tenant-a", matches: false,
          why: "wants sni mail.a.example | *.a.example, not mail.b.example"),
        .init(name: "office", matches: true),
      ])
    #expect(told.rule == "office" && told.reason == nil && told.reply == nil)
    let backend = try #require(told.backend)
    #expect(backend.name == "b" && backend.servers.map(\.isBackup) == [false, true])
    let fields = Dictionary(uniqueKeysWithValues: backend.fields.map { ($0.name, $0.value) })
    #expect(fields["source"] == "203.0.113.7" && fields["source port"] == "4000")
    #expect(fields["destination"] == "127.0.0.1" && fields["destination port"] == "993")
    #expect(fields["0x02 AUTHORITY"] == "\"mail.b.example\"" && fields["0x01 ALPN"] == "\"h2\"")
    #expect(fields["0x03 CRC32C"]?.hasPrefix("ok: ") == true)
    #expect(told.timeouts.idleMs == 60_000 && told.notes == [])
    for line in [
      "imaps (tls): 203.0.113.7:4000 -> 127.0.0.1:993, sni mail.b.example, alpn h2,imap",
      "  rule office: takes it", "backend b (round-robin, 2 retries)",
      "  server 127.0.0.1:3 (backup)", "  idle         1m",
    ] {
      #expect(told.text.split(separator: "\n").map(String.init).contains(line), "\(told.text)")
    }
  }

  @Test func turnedAway() throws {
    let gone = try explain("imaps", "::1", sni: "GONE.example.")
    #expect(gone.rule == "gone" && gone.reason == "route.rejected" && gone.backend == nil)
    #expect(gone.reply == "the TLS alert unrecognized_name (112)")
    #expect(gone.local == "[::1]:993")
    #expect(gone.rules.map(\.why).count == 3)
    #expect(gone.rules[1].why == "wants alpn imap, not a client without ALPN")
    let lab = try explain("imaps", "198.51.100.1")
    #expect(lab.reason == "route.closed" && lab.reply == nil && lab.rule == "lab")
    #expect(lab.rules[0].why?.hasSuffix("not a client without a name") == true)
    let none = try explain("imaps", "192.0.2.1", sni: "b.example")
    #expect(none.rule == nil && none.reason == "route.no-match" && none.rules.count == 4)
    #expect(none.text.contains("no rule takes it"))
    let unnamed = try explain("named", "192.0.2.1")
    #expect(unnamed.reason == "tls.no-sni" && unnamed.rules == [])
    #expect(unnamed.reply == "the TLS alert missing_extension (109)")
    #expect(try explain("named", "192.0.2.1", sni: "192.0.2.1").reason == "tls.bad-sni")
    let mail = try explain("smtp", "10.1.1.1", to: "192.0.2.1:27")
    #expect(mail.reply == "421 4.7.1 Not served here" && mail.rule == "rule-1")
  }

  @Test func whatThereIsToSayBesides() throws {
    let mail = try explain("smtp", "10.1.1.1", sni: "x", alpn: ["imap"])
    #expect(mail.rules[0].why == "wants to-port 26 | 27, not 25")
    #expect(
      mail.notes == ["a server-first listener reads no ClientHello: sni and alpn say nothing"])
    #expect(mail.backend?.fields.contains { $0.name.hasPrefix("0x02") } == false)
    let asking = try explain("submission", "10.1.1.1", sni: "mail.a.example")
    #expect(asking.backend?.name == "a" && asking.notes.count == 2)
    #expect(asking.notes[0].contains("STARTTLS"))
    let proxy = try explain("smtp", "192.0.2.10")
    #expect(proxy.notes.count == 1 && proxy.notes[0].hasPrefix("192.0.2.10 is trusted"))
  }

  /// The rest of what may happen at a starttls listener: its server takes its time, and clients ask
  /// for no TLS. Rules by name then take nobody, those by address do.
  @Test(arguments: [
    ("submission", "10.1.1.1", "goes to backend b"),
    ("submission", "198.51.100.1", "goes to backend a by rule lab"),
    ("submission", "198.51.100.2", "is turned away by rule foe: route.closed"),
    ("sieve", "10.1.1.1", "is told to (starttls.plaintext is reject)"),
  ])
  func withoutTLS(listener: String, client: String, what: String) throws {
    let told = try explain(listener, client, sni: "mail.a.example")
    #expect(told.notes[1] == "a client that does not ask for TLS \(what)")
    #expect(told.timeouts.startTLSMs == (listener == "sieve" ? 15_000 : 12_000))
    let lines = told.text.split(separator: "\n")
    #expect(lines.contains { $0 == "  starttls     \(listener == "sieve" ? 15 : 12)s" })
    #expect(try explain("imaps", client).timeouts.startTLSMs == nil)
    #expect(try !explain("imaps", client).text.contains("starttls"))
  }

  @Test func wrongQuestions() throws {
    for (listener, from, to) in [
      ("nobody", "::1", nil), ("smtp", "mail.example", nil), ("smtp", "::1", "x:y"),
    ] as [(String, String, String?)] {
      #expect(throws: Failure.self) { try explain(listener, from, to: to) }
    }
  }

  /// docs/examples: no fault, all eight ports, and names that choose where TLS begins at once.
  @Test func dockerMailserver() throws {
    let path = "docs/examples/docker-mailserver.yaml"
    let (snapshot, diagnostics) = Snapshot.parse(Array(contents(of: path).utf8), file: path)
    #expect(diagnostics.lines == [])
    let made = try #require(snapshot)
    let ports = made.listeners.flatMap { $0.binds.compactMap(\.port) }
    #expect(Set(ports) == [25, 465, 587, 143, 993, 110, 995, 4190] && ports.count == 16)
    let explainer = Explainer(made)
    for listener in made.listeners {
      for (name, tenant) in [("mail.a.example", "a"), ("mail.b.example", "b"), ("x.b.example", "b")]
      {
        let told = try explainer.explain(
          ExplainQuery(listener: listener.name, from: "203.0.113.7", sni: name))
        let wanted = listener.type == .tls ? tenant : "a"
        #expect(told.backend?.name == "\(wanted)-\(listener.name)")
        #expect(told.backend?.fields.contains { $0.value == "203.0.113.7" } == true)
      }
    }
  }

  /// docs/examples: TLS ends on 465 and 993, and the servers' plain ports are told so.
  @Test func stalwart() throws {
    let path = "docs/examples/stalwart.yaml"
    let (snapshot, diagnostics) = Snapshot.parse(Array(contents(of: path).utf8), file: path)
    #expect(diagnostics.lines == [])
    let made = try #require(snapshot)
    let ports = made.listeners.map { $0.binds.compactMap(\.port).first }
    #expect(ports == [25, 465, 993])
    #expect(made.listeners.map { $0.tls != nil } == [false, true, true])
    let explainer = Explainer(made)
    for (listener, port) in [("submissions", 587), ("imaps", 143)] {
      let told = try explainer.explain(
        ExplainQuery(listener: listener, from: "203.0.113.7", sni: "mail.example.org"))
      let backend = try #require(made.backends.first { $0.name == told.backend?.name })
      #expect(backend.servers.map(\.address?.port) == [UInt16(port)])
      #expect(backend.sendProxy == .v2 && backend.tlvs.ssl && backend.tls == nil)
      #expect(told.notes.contains { $0.contains("TLS ends here") }, "\(told.notes)")
    }
  }

  /// docs/examples: behind STARTTLS the name chooses too; who does not ask is told to.
  @Test func exampleWithStartTLS() throws {
    let path = "docs/examples/starttls.yaml"
    let (snapshot, diagnostics) = Snapshot.parse(Array(contents(of: path).utf8), file: path)
    #expect(diagnostics.lines == [])
    let made = try #require(snapshot)
    #expect(made.listeners.filter { $0.type == .startTLS }.count == 4)
    let explainer = Explainer(made)
    for listener in made.listeners where listener.type != .serverFirst {
      for (name, tenant) in [("mail.a.example", "a"), ("mail.b.example", "b"), (nil, "a")] {
        let told = try explainer.explain(
          ExplainQuery(listener: listener.name, from: "203.0.113.7", sni: name))
        #expect(told.backend?.name == "\(tenant)-\(listener.name)")
        #expect(listener.type == .tls || told.notes[1].contains("is told to"))
      }
    }
  }
}
