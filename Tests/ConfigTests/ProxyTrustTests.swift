import Config
import Routing
import Testing
import Wire

/// Which networks count for which listener.
@Suite struct ProxyTrustTests {
  /// The networks of the listener `a`, as `sluice check` prints them.
  private func rows(_ top: String, _ body: String) throws -> [String] {
    let text = "\(top)\n" + File.listener("{ bind: [\":25\", unix:/x], backend: b\(body) }")
    let (snapshot, diagnostics) = parse(text)
    try #require(!diagnostics.hasErrors, "\(diagnostics.lines)")
    let lines = try #require(snapshot).plan.split(separator: "\n").map(String.init)
    let head = try #require(lines.firstIndex { $0.hasPrefix("  proxy-protocol ") })
    let rows = lines[(head + 1)...].prefix { $0.hasPrefix("    ") }
    return [String(lines[head].dropFirst(17))]
      + rows.map { $0.split(separator: " ").joined(separator: " ") }
  }

  static let terms = "within 3s, at most 4096 bytes, UNKNOWN accepted"
  static let global = "trusted-networks: [192.0.2.10, 10.0.0.0/8]"

  @Test func nothingSaid() throws {
    #expect(try rows("", "") == ["nobody is trusted", "everyone forbid"])
  }

  @Test func globalList() throws {
    #expect(
      try rows(ProxyTrustTests.global, "") == [
        ProxyTrustTests.terms, "10.0.0.0/8 require (global)", "192.0.2.10/32 require (global)",
        "everyone else forbid",
      ])
    // Settings of the headers are no word about who sends them.
    #expect(
      try rows(ProxyTrustTests.global, ", proxy-protocol: { max-header: 52B, unknown: reject }")
        == [
          "within 3s, at most 52 bytes, UNKNOWN rejected", "10.0.0.0/8 require (global)",
          "192.0.2.10/32 require (global)", "everyone else forbid",
        ])
  }

  @Test func ownListReplaces() throws {
    #expect(
      try rows(ProxyTrustTests.global, ", trusted-networks: [10.1.0.0/16, unix]") == [
        ProxyTrustTests.terms, "10.1.0.0/16 require (own)", "unix require (own)",
        "everyone else forbid",
      ])
    #expect(
      try rows(ProxyTrustTests.global, ", trusted-networks: []")
        == ["nobody is trusted", "everyone forbid"])
    #expect(
      try rows("trusted-networks: []", "") == ["nobody is trusted", "everyone forbid"])
  }

  @Test func ownListAddsAndWins() throws {
    let sources = "sources: [{ networks: 10.0.0.0/8, header: forbid }], inherit: true"
    #expect(
      try rows(ProxyTrustTests.global, ", proxy-protocol: { \(sources) }") == [
        ProxyTrustTests.terms, "10.0.0.0/8 forbid (own)", "192.0.2.10/32 require (inherited)",
        "everyone else forbid",
      ])
    #expect(
      try rows(ProxyTrustTests.global, ", trusted-networks: 10.0.0.0/8, inherit: true") == [
        ProxyTrustTests.terms, "10.0.0.0/8 require (own)", "192.0.2.10/32 require (inherited)",
        "everyone else forbid",
      ])
  }

  @Test func off() throws {
    #expect(
      try rows(ProxyTrustTests.global, ", proxy-protocol: off") == ["off", "everyone forbid"])
    let snapshot = try #require(
      parse(
        ProxyTrustTests.global + "\n"
          + File.listener("{ bind: \":25\", backend: b, proxy-protocol: \"off\" }")
      ).snapshot)
    let receiving = snapshot.listeners[0].proxyProtocol
    #expect(receiving == ProxyReceiving(isOff: true))
    #expect(receiving.trust.rule(for: .ipv4(0x0a00_0001, port: 1)) == .forbid)
  }

  @Test func tableOfASnapshot() throws {
    let text = ProxyTrustTests.global + "\n" + File.listener("{ bind: \":25\", backend: b }")
    let trust = try #require(parse(text).snapshot).listeners[0].proxyProtocol.trust
    #expect(trust.rule(for: .ipv4(0x0a01_0203, port: 1)) == .require)
    #expect(trust.rule(for: .ipv4(0x0b01_0203, port: 1)) == .forbid)
  }

  @Test(
    arguments: [
      ("v1", "", "v1"), ("none", "", "none (a client's own header is refused)"),
      ("none", ", pass-client-proxy-header: true", "none (a client's own header is passed on)"),
      ("v2", "", "v2, at most 536 bytes"), ("v2", ", proxy-header:", "v2, at most 536 bytes"),
      ("v2", ", proxy-header: { limit: 232 }", "v2, at most 232 bytes"),
      (
        "v2", ", proxy-header: { limit: 65536, align: 64 }",
        "v2, at most 65536 bytes, in multiples of 64"
      ),
    ])
  func headerOfABackend(version: String, body: String, row: String) throws {
    let text = File.backend("{ servers: [1.2.3.4:5], send-proxy: \(version)\(body) }")
    let plan = try #require(parse(text).snapshot).plan
    #expect(plan.contains("\n    send-proxy   \(row)\n"), "\(plan)")
  }

  /// Thousands of networks, as a cloud's published ranges are, for every one of many listeners.
  @Test(.timeLimit(.minutes(1))) func manyNetworks() throws {
    let networks = (0..<10_000).map { "10.\($0 / 256).\($0 % 256).0/24" }.joined(separator: ", ")
    let listeners = (1...200).map { "  l\($0): { bind: \":\($0)\", backend: b }\n" }.joined()
    let text =
      "trusted-networks: [\(networks)]\nlisteners:\n\(listeners)"
      + "backends: { b: { servers: [1.2.3.4:5] } }\n"
    let (snapshot, diagnostics) = parse(text)
    #expect(diagnostics.lines == [])
    let made = try #require(snapshot)
    #expect(made.listeners.allSatisfy { $0.proxyProtocol.sources.count == 10_000 })
    let trust = made.listeners[199].proxyProtocol.trust
    #expect(trust.rule(for: .ipv4(0x0a27_0f01, port: 1)) == .require)
    #expect(trust.rule(for: .ipv4(0x0a27_1001, port: 1)) == .forbid)
  }
}
