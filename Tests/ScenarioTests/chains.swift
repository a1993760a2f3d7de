import TestSupport
import Testing

// Three proxies in a row: one at the edge, which clients reach, and two that trust only the one
// before. The server behind them all hears of the first client, as does every log, and of the TLVs
// that were named at every step.

/// One daemon of a chain, with the endpoint it listens at.
private struct Link {
  let proxy: TrustProcess
  let endpoint: Endpoint
}

private struct Step {
  /// Loopback addresses: the one it is trusted to come from, or nil at the edge, and its own.
  let trusts: String?
  let source: String
  let backend: String
}

/// Starts a chain whose last link leads to `server`; the first link comes first.
private func start(_ steps: [Step], to server: Endpoint, _ engine: Engine) throws -> [Link] {
  var links: [Link] = []
  for step in steps.reversed() {
    let next = links.first?.endpoint ?? server
    let host = step.source == "::1" ? "::1" : "127.0.0.1"
    var setup = TrustSetup(engine, servers: [next], host: host)
    if let trusts = step.trusts { setup.top = "trusted-networks: [\"\(trusts)\"]" }
    setup.backend = "source: \"\(step.source)\", \(step.backend)"
    links.insert(Link(proxy: try TrustProcess(setup), endpoint: setup.bind), at: 0)
  }
  return links
}

private let versions = ["v1", "v2"]

@Test(
  "the first client through three proxies", arguments: Engine.eventSources,
  versions.flatMap { first in versions.map { (first: first, second: $0) } })
func chainKeepsClient(engine: Engine, hops: (first: String, second: String)) throws {
  let server = try ListeningSocket()
  let links = try start(
    [
      Step(trusts: nil, source: "127.0.0.5", backend: "send-proxy: \(hops.first)"),
      Step(trusts: "127.0.0.5", source: "127.0.0.6", backend: "send-proxy: \(hops.second)"),
      Step(trusts: "127.0.0.6", source: "127.0.0.7", backend: "send-proxy: v2"),
    ], to: server.endpoint, engine)
  let client = try StreamSocket.connect(to: links[0].endpoint, from: "127.0.0.3")
  let upstream = try server.accept()
  #expect(upstream.remote.host == "127.0.0.7")
  let received = try ReceivedProxyHeader(upstream.readHeader())
  #expect(received.source == client.local)
  #expect(received.destination == client.remote)
  try expectGreeting(from: upstream, at: client)

  // What the client sends is payload all the way, whatever it looks like.
  let forged = Header.v1(.inet("203.0.113.66", 666), to: .inet("198.51.100.25", 25))
  try client.write(forged)
  #expect(try upstream.readExactly(forged.count) == forged)
  client.close()
  upstream.close()

  for (index, link) in links.enumerated() {
    let record = try link.proxy.record()
    #expect(record.client == client.local.description)
    #expect(record.local == links[0].endpoint.description)
    let version = index == 1 ? hops.first : hops.second
    #expect(record.header == (index == 0 ? nil : version))
    let peer = ["", "127.0.0.5:", "127.0.0.6:"][index]
    #expect(index == 0 ? record.peer == nil : record.peer?.hasPrefix(peer) == true)
    try link.proxy.sluice.stop()
  }
}

@Test("an IPv6 client through three proxies", .enabled(if: hasIPv6Loopback, "no IPv6 here"))
func chainOverIPv6() throws {
  let server = try ListeningSocket(.inet("::1", 0))
  let links = try start(
    [
      Step(trusts: nil, source: "::1", backend: "send-proxy: v2"),
      Step(trusts: "::1", source: "::1", backend: "send-proxy: v1"),
      Step(trusts: "::1", source: "::1", backend: "send-proxy: v2"),
    ], to: server.endpoint, Engine.eventSources[0])
  let client = try StreamSocket.connect(to: links[0].endpoint)
  let upstream = try server.accept()
  let received = try ReceivedProxyHeader(upstream.readHeader())
  #expect(received.source == client.local)
  #expect(received.destination == client.remote)
  client.close()
  upstream.close()
  for link in links {
    #expect(try link.proxy.record().client == client.local.description)
    try link.proxy.sluice.stop()
  }
}

@Test("named TLVs through three proxies", arguments: Engine.eventSources)
func chainKeepsTLVs(engine: Engine) throws {
  let server = try ListeningSocket()
  let links = try start(
    [
      Step(
        trusts: nil, source: "127.0.0.5",
        backend: "send-proxy: v2, proxy-tlvs: [unique-id, crc32c, { netns: edge }, "
          + "{ type: 0xE5, value: \"${client.address}\" }, { type: 0xE6, value: \"edge only\" }]"),
      Step(
        trusts: "127.0.0.5", source: "127.0.0.6",
        backend: "send-proxy: v2, relay-tlvs: [unique-id, netns, 0xE5], "
          + "proxy-tlvs: [unique-id, crc32c, { type: 0xE7, value: \"${client.address}\" }]"),
      Step(
        trusts: "127.0.0.6", source: "127.0.0.7",
        backend: "send-proxy: v2, relay-tlvs: [unique-id, 0xE5, 0xE7], proxy-tlvs: [crc32c]"),
    ], to: server.endpoint, engine)
  let client = try StreamSocket.connect(to: links[0].endpoint, from: "127.0.0.3")
  let upstream = try server.accept()
  let bytes = try upstream.readHeader()
  #expect(try ReceivedProxyHeader(bytes).source == client.local)
  client.close()
  upstream.close()

  let logs = try links.map { try $0.proxy.record() }
  let first = logs[0].connection.id
  let tlvs = try TLV.all(in: bytes)
  #expect(
    Set(tlvs.filter { $0.type != 0x03 })
      == [TLV(0x05, first), TLV(0xe5, "127.0.0.3"), TLV(0xe7, "127.0.0.3")])
  #expect(tlvs.count == 4)
  #expect(try TLV.checksumIsRight(in: bytes))
  // One id finds the connection in all three logs, each of which has its own besides.
  #expect(logs.map(\.peerID) == [nil, first, first])
  #expect(Set(logs.map(\.connection.id)).count == 3)
  #expect(logs.map(\.tlvs) == [nil, "0530e5e603", "0530e5e703"])
  for link in links { try link.proxy.sluice.stop() }
}
