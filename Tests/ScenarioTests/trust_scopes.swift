import TestSupport
import Testing

// Who is trusted is said for all listeners, for one, or for both together: a listener's own list
// takes the place of the global one, or adds to it with `inherit: true`, or there is none with
// `proxy-protocol: off`. Of networks that hold an address the longest prefix decides.

struct ScopeCase: Sendable, CustomStringConvertible {
  let description: String
  /// The global list.
  let top: String
  /// The listener's settings.
  let listener: String
  /// Sources whose header counts; for all others of `sources` it is payload.
  let trusted: Set<String>

  static let sources = ["127.0.0.2", "127.0.0.3", "127.0.0.9", "::1"].filter {
    $0 != "::1" || hasIPv6Loopback
  }

  private static let global = "trusted-networks: [127.0.0.2, \"::1\"]"
  private static let required3 =
    "proxy-protocol: { sources: [{ networks: [127.0.0.3], header: require }]"

  private static func scope(
    _ name: String, _ top: String, _ listener: String, _ trusted: Set<String>
  ) -> ScopeCase {
    ScopeCase(description: name, top: top, listener: listener, trusted: trusted)
  }

  static let all = [
    scope("global", global, "", ["127.0.0.2", "::1"]),
    scope("nobody", "", "", []),
    scope("replaced", global, "trusted-networks: [127.0.0.3]", ["127.0.0.3"]),
    scope("replaced by nobody", global, "trusted-networks: []", []),
    scope("replaced by sources", global, "\(required3) }", ["127.0.0.3"]),
    scope(
      "inherited", global, "trusted-networks: [127.0.0.3], inherit: true",
      ["127.0.0.2", "127.0.0.3", "::1"]),
    scope(
      "inherited by sources", global, "\(required3), inherit: true }",
      ["127.0.0.2", "127.0.0.3", "::1"]),
    scope("off", global, "proxy-protocol: off", []),
    scope(
      "own forbid wins over inherited",
      global,
      "proxy-protocol: { sources: [{ networks: [127.0.0.2], header: forbid }], inherit: true }",
      ["::1"]),
    scope(
      "longest prefix", "",
      "proxy-protocol: { sources: [{ networks: [127.0.0.0/8, \"::/16\"], header: require }, "
        + "{ networks: [127.0.0.2/31, \"::1\"], header: forbid }, "
        + "{ networks: [127.0.0.3], header: require }] }", ["127.0.0.3", "127.0.0.9"]),
    scope(
      "longest prefix, written the other way round", "",
      "proxy-protocol: { sources: [{ networks: [127.0.0.3], header: require }, "
        + "{ networks: [127.0.0.2/31], header: forbid }, "
        + "{ networks: [127.0.0.0/8], header: require }] }", ["127.0.0.3", "127.0.0.9"]),
    // IPv4 clients are looked up as IPv4, also where their address came as a mapped one.
    scope("::/0 holds no IPv4 address", "trusted-networks: [\"::/0\"]", "", ["::1"]),
  ]
}

@Test("who is trusted where", arguments: ScopeCase.all, Engine.eventSources)
func scopes(scope: ScopeCase, engine: Engine) throws {
  let server = try ListeningSocket()
  // ":PORT" binds both families, so that one listener has to tell all sources apart.
  let port = ReservedPort.take()
  var setup = TrustSetup(engine, servers: [server.endpoint])
  setup.bind = .inet(hasIPv6Loopback ? "::" : "0.0.0.0", port)
  setup.top = scope.top
  setup.listener = scope.listener
  let directory = try TemporaryDirectory()
  let yaml = setup.yaml(log: directory.file("connections")).replacingOccurrence(
    of: "\"\(setup.bind)\"", with: "\":\(port)\"")
  let sluice = try SluiceProcess(yaml: yaml, in: directory, at: .loopback(port))
  let claimed = Endpoint.inet("203.0.113.7", 40_001)
  let header = Header.v1(claimed, to: .inet("198.51.100.25", 25))
  for (index, source) in ScopeCase.sources.enumerated() {
    let isTrusted = scope.trusted.contains(source)
    let host = source == "::1" ? "::1" : "127.0.0.1"
    let client = try StreamSocket.connect(to: .inet(host, port), from: source)
    try client.write(header)
    client.finish()
    let upstream = try server.accept()
    let got = try upstream.readToEnd().bytes
    let ours = try ReceivedProxyHeader(got)
    #expect(ours.source == (isTrusted ? claimed : client.local), "\(source)")
    #expect(Array(got.dropFirst(ours.length)) == (isTrusted ? [] : header), "\(source)")
    upstream.close()
    let record = try sluice.records(index + 1)[index]
    #expect(
      record.client == (isTrusted ? claimed.description : client.local.description), "\(source)")
  }
  try sluice.stop()
}

extension String {
  /// The only place where `old` stands; Foundation is not linked for this.
  fileprivate func replacingOccurrence(of old: String, with new: String) -> String {
    guard let range = self.firstRange(of: old) else { return self }
    return self[..<range.lowerBound] + new + self[range.upperBound...]
  }
}

// Two listeners of one daemon, one behind a load balancer and one that anybody reaches: the same
// source is believed at the one and not at the other.
@Test("each listener has its own trust", arguments: Engine.eventSources)
func perListener(engine: Engine) throws {
  let server = try ListeningSocket()
  let directory = try TemporaryDirectory()
  let (inside, outside) = (ReservedPort.take(), ReservedPort.take())
  let sluice = try SluiceProcess(
    yaml: """
      workers: 1
      events: \(engine.events)
      log: { connections: "\(directory.file("connections"))" }
      trusted-networks: [127.0.0.2]
      listeners:
        inside: { bind: "127.0.0.1:\(inside)", type: server-first, backend: back }
        outside:
          { bind: "127.0.0.1:\(outside)", type: server-first, backend: back, proxy-protocol: off }
      backends: { back: { servers: ["\(server.endpoint)"], send-proxy: v2 } }
      """, in: directory, at: .loopback(inside))
  let claimed = Endpoint.inet("203.0.113.7", 40_001)
  for (port, isTrusted) in [(inside, true), (outside, false)] {
    let client = try StreamSocket.connect(to: .loopback(port), from: "127.0.0.2")
    try client.write(Header.v1(claimed, to: .inet("198.51.100.25", 25)))
    let upstream = try server.accept()
    let ours = try ReceivedProxyHeader(upstream.readHeader())
    #expect(ours.source == (isTrusted ? claimed : client.local))
    client.close()
    upstream.close()
  }
  #expect(try sluice.records(2).map(\.listener).sorted() == ["inside", "outside"])
  try sluice.stop()
}

// A source that comes over a Unix socket has no address to be known by; `unix` stands for them all.
// Its own connections have no address that a header could tell, so they are LOCAL to the server.
@Test("unix as a source", arguments: Engine.eventSources, [true, false])
func unixSource(engine: Engine, isTrusted: Bool) throws {
  let server = try ListeningSocket()
  let place = try TemporaryDirectory()
  var setup = TrustSetup(engine, servers: [server.endpoint])
  setup.bind = .unix(place.file("front"))
  setup.top = isTrusted ? "trusted-networks: [unix]" : "trusted-networks: [127.0.0.2]"
  try withTrust(setup) { proxy in
    let claimed = Endpoint.inet("203.0.113.7", 40_001)
    let header = Header.v2(claimed, to: .inet("198.51.100.25", 25))
    let client = try proxy.connect()
    try client.write(header)
    client.finish()
    let upstream = try server.accept()
    let got = try upstream.readToEnd().bytes
    let ours = try ReceivedProxyHeader(got)
    #expect(ours.source == (isTrusted ? claimed : nil))
    #expect(ours.isLocal == !isTrusted)
    #expect(Array(got.dropFirst(ours.length)) == (isTrusted ? [] : header))
    upstream.close()
    let record = try proxy.record()
    #expect(record.header == (isTrusted ? "v2" : nil))
    if isTrusted {
      #expect(record.client == claimed.description)
      #expect(record.peer?.hasPrefix("unix:") == true)
    } else {
      #expect(record.client.hasPrefix("unix:"))
      #expect(!record.saysHeader)
    }
  }
}
