import TestSupport
import Testing

// Mail servers must know who their client is. With `send-proxy` they learn it from a PROXY header:
// the client's own address and port, and the address it connected to. It arrives in one piece
// before any client byte, and at once: the server that speaks first waits for it, the client for
// the server.

struct HeaderCase: Sendable, CustomStringConvertible {
  let engine: Engine
  let version: Int
  let bind: String
  let source: String
  var description: String { "v\(version) from \(source) to \(bind), \(engine)" }

  static let all = Engine.eventSources.flatMap { engine in
    [1, 2].flatMap { version in
      ["127.0.0.2", "127.0.0.3", "::1"].filter { $0 != "::1" || hasIPv6Loopback }.map {
        HeaderCase(
          engine: engine, version: version, bind: $0 == "::1" ? $0 : "127.0.0.1", source: $0)
      }
    }
  }
}

@Test("PROXY v1 and v2", arguments: HeaderCase.all)
func proxyHeaders(header: HeaderCase) throws {
  let server = try ListeningSocket()
  var setup = Setup(
    header.engine, servers: [server.endpoint], bind: .inet(header.bind, ReservedPort.take()))
  setup.listener = "type: server-first"
  setup.backend = "send-proxy: v\(header.version)"
  try withSluice(setup) { sluice in
    let client = try sluice.connect(from: header.source)
    let (upstream, ms) = try timed { try server.accept() }
    // The client has said nothing; the header is there in one receive call, and alone.
    guard case .bytes(let bytes) = try upstream.receive(withinMs: 1000) else {
      throw TestFailure("no header within a second of the connection")
    }
    #expect(ms < 1000)
    try expectHeader(bytes, header, client)
    #expect(bytes.count == (try ReceivedProxyHeader(bytes)).length)
    try upstream.write("220 hello\r\n")
    #expect(try client.readExactly(11) == Array("220 hello\r\n".utf8))
    // What the client sends is payload, even when it looks like another header.
    let forged = "PROXY TCP4 203.0.113.1 203.0.113.2 1 2\r\n"
    try client.write(forged)
    #expect(try upstream.readExactly(forged.utf8.count) == Array(forged.utf8))
    client.close()
    #expect(try upstream.readToEnd().ending == .fin)
    upstream.close()
    // The log counts the client's bytes, not ours.
    #expect(try sluice.record().bytesUp == forged.utf8.count)
  }
}

@Test("PROXY before the first client bytes", arguments: HeaderCase.all)
func proxyHeaderBeforeClientBytes(header: HeaderCase) throws {
  let server = try ListeningSocket()
  var setup = Setup(
    header.engine, servers: [server.endpoint], bind: .inet(header.bind, ReservedPort.take()))
  setup.listener = "type: tcp"
  setup.backend = "send-proxy: v\(header.version)"
  try withSluice(setup) { sluice in
    for size in [1, 500, 16_384, 200_000] {
      let pattern = Pattern(seed: UInt64(size))
      let client = try sluice.connect(from: header.source)
      let writer = Job("client") {
        try client.send(pattern, count: size)
        client.finish()
      }
      let upstream = try server.accept()
      guard case .bytes(let first) = try upstream.receive(atMost: 65_536) else {
        throw TestFailure("nothing arrived")
      }
      // The whole header is in the first segment, as Postfix and Dovecot want it.
      try expectHeader(first, header, client)
      let payload = Array(first.dropFirst(try ReceivedProxyHeader(first).length))
      try pattern.check(payload, at: 0)
      let rest = try upstream.expect(pattern, from: payload.count)
      #expect(payload.count + rest.count == size)
      #expect(rest.ending == .fin)
      try writer.value()
    }
    #expect(try Set(sluice.records(4).map(\.bytesUp)) == [1, 500, 16_384, 200_000])
  }
}

private func expectHeader(
  _ bytes: [UInt8], _ header: HeaderCase, _ client: StreamSocket
) throws {
  let received = try ReceivedProxyHeader(bytes)
  #expect(received.version == header.version)
  #expect(!received.isLocal)
  #expect(received.source == client.local)
  #expect(received.destination == client.remote)
}

// A dual-stack listener sees IPv4 clients as v4-mapped IPv6 addresses; what the server is told, and
// what is logged, is IPv4. ":PORT" binds both families.
@Test(
  "PROXY for both families of one listener",
  .enabled(if: hasIPv6Loopback, "this machine has no IPv6"), arguments: Engine.eventSources, [1, 2])
func proxyHeaderDualStack(engine: Engine, version: Int) throws {
  let server = try ListeningSocket()
  let port = ReservedPort.take()
  let directory = try TemporaryDirectory()
  let sluice = try SluiceProcess(
    yaml: """
      workers: 1
      events: \(engine.events)
      log: { connections: "\(directory.file("connections"))" }
      listeners: { front: { bind: ":\(port)", type: server-first, backend: back } }
      backends: { back: { servers: ["\(server.endpoint)"], send-proxy: v\(version) } }
      """, in: directory, at: .loopback(port))
  for host in ["127.0.0.1", "::1"] {
    let client = try StreamSocket.connect(to: .inet(host, port))
    let upstream = try server.accept()
    guard case .bytes(let bytes) = try upstream.receive(withinMs: 1000) else {
      throw TestFailure("no header within a second of the connection")
    }
    let received = try ReceivedProxyHeader(bytes)
    #expect(received.source == client.local)
    #expect(received.destination == .inet(host, port))
    client.close()
    upstream.close()
  }
  #expect(try Set(sluice.records(2).map { $0.local }) == ["127.0.0.1:\(port)", "[::1]:\(port)"])
  try sluice.stop()
}
