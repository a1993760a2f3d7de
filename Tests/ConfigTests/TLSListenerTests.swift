import Config
import Routing
import Testing

/// `type: tls`: listeners that read the ClientHello.
@Suite struct TLSListenerTests {
  private static func file(_ listener: String, _ backend: String = "send-proxy: v2") -> String {
    """
    listeners:
      a: { bind: ":993", backend: b, \(listener) }
    backends:
      b: { servers: [127.0.0.1:1], \(backend) }

    """
  }

  private func listener(_ text: String) throws -> Listener {
    let (snapshot, diagnostics) = parse(TLSListenerTests.file(text))
    #expect(diagnostics.lines == [])
    return try #require(snapshot).listeners[0]
  }

  @Test func policies() throws {
    let bare = try listener("type: tls")
    #expect(bare.type == .tls)
    #expect(bare.hello == HelloPolicy(withoutName: .backend, notTLS: .reject))
    let set = try listener("type: tls, no-sni: reject, not-tls: backend")
    #expect(set.hello == HelloPolicy(withoutName: .reject, notTLS: .backend))
  }

  @Test(
    "faults",
    arguments: [
      Case(
        File.listener("{ bind: \":25\", backend: b, no-sni: ¦reject, not-tls: ¦backend }"),
        #"no-sni is for "type: tls"; a tcp listener reads no ClientHello"#,
        #"not-tls is for "type: tls"; a tcp listener reads no ClientHello"#),
      Case(
        File.listener(
          "{ bind: \":25\", backend: b, type: server-first, no-sni: ¦backend }"),
        #"no-sni is for "type: tls"; a server-first listener reads no ClientHello"#),
      Case(
        File.listener("{ bind: \":25\", backend: b, type: tls, no-sni: ¦default }"),
        #"no-sni: "default" is not one of backend or reject"#),
    ])
  func faults(_ fault: Case) {
    #expect(Snapshot.parse(fault.text, file: "f.yaml").diagnostics.lines == fault.expected)
  }

  /// What comes from a ClientHello is warned of only where none is read.
  @Test func authorityAndALPN() {
    let tlvs = "send-proxy: v2, proxy-tlvs: [authority, alpn]"
    #expect(parse(TLSListenerTests.file("type: tls", tlvs)).diagnostics.lines == [])
    let others = parse(TLSListenerTests.file("type: server-first", tlvs)).diagnostics.lines
    #expect(others.count == 2 && others.allSatisfy { $0.contains("comes from a ClientHello") })
  }

  @Test func plan() throws {
    let text = TLSListenerTests.file("type: tls, no-sni: reject")
    let plan = try #require(parse(text).snapshot).plan
    #expect(
      plan.contains(
        """
          type           tls
            no-sni       reject
            not-tls      reject
          backlog        4096

        """))
    // Others have nothing to say of it.
    let other = try #require(parse(TLSListenerTests.file("type: tcp")).snapshot).plan
    #expect(!other.contains("no-sni") && !other.contains("not-tls"))
  }
}
