import TestSupport
import Testing

// One of the servers is down: nothing listens at its address, or its socket file is gone. The
// client notices nothing, since another server is tried at once; the log says how many tries it
// took.

@Test("backend refuses, then next", arguments: Engine.eventSources)
func backendRefusesThenNext(engine: Engine) throws {
  let server = try ListeningSocket()
  let closed = Endpoint.loopback(ReservedPort.take())
  let missing = Endpoint.unix("/tmp/sluice-test-no-such-socket")
  var setup = Setup(engine, servers: [closed, missing, server.endpoint])
  setup.listener = "type: server-first"
  try withSluice(setup) { sluice in
    let client = try sluice.connect()
    let (upstream, ms) = try timed { try server.accept() }
    #expect(ms < 1000)
    try client.write("hello")
    #expect(try upstream.readExactly(5) == Array("hello".utf8))
    upstream.close()
    #expect(try client.readToEnd().ending == .fin)
    client.close()
    let record = try sluice.record()
    // In an order of its own.
    #expect((2...3).contains(record.tries))
    #expect(record.server == server.endpoint.description)
    #expect(record.reason == nil)
  }
}

// When all are down the client is told by the end of its connection, soon, and the log says why.
@Test("every backend refuses", arguments: Engine.eventSources, [0, 1])
func everyBackendRefuses(engine: Engine, retries: Int) throws {
  let closed = (0..<3).map { _ in Endpoint.loopback(ReservedPort.take()) }
  var setup = Setup(engine, servers: closed)
  setup.listener = "type: server-first"
  setup.backend = "retries: \(retries)"
  try withSluice(setup) { sluice in
    let before = sluice.facts.descriptorCount
    let client = try sluice.connect()
    let (end, ms) = try timed { try client.readToEnd() }
    #expect(end.bytes.isEmpty)
    #expect(ms < 1000)
    let record = try sluice.record()
    #expect(record.reason == "dial.refused")
    #expect(record.tries == retries + 1)
    #expect(record.bytesUp == 0 && record.bytesDown == 0)
    try wait(for: "the descriptors to be closed") { sluice.facts.descriptorCount <= before }
  }
}
