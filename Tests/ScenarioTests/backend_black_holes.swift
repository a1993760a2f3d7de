import TestSupport
import Testing

// A server's machine hangs, or a firewall drops what goes there: connecting neither works nor
// fails. After the connect deadline the next server is tried; without one the client is let go.

@Test("backend black-holes, then next", arguments: Engine.eventSources)
func backendBlackHoles(engine: Engine) throws {
  let hole = try BlackHole()
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [hole.endpoint, server.endpoint])
  setup.listener = "type: server-first"
  setup.timeouts = "connect: 300ms, drain: 5s"
  try withSluice(setup) { sluice in
    let client = try sluice.connect()
    // Held all the while and replayed to the server that answers.
    try client.write("first bytes")
    let (upstream, ms) = try timed { try server.accept() }
    #expect(ms > 200 && ms < 3000)
    #expect(try upstream.readExactly(11) == Array("first bytes".utf8))
    upstream.close()
    _ = try client.readToEnd()
    client.close()
    let record = try sluice.record()
    #expect(record.tries == 2)
    #expect(record.server == server.endpoint.description)
    #expect(record.bytesUp == 11)
  }
}

@Test("every backend black-holes", arguments: Engine.eventSources)
func everyBackendBlackHoles(engine: Engine) throws {
  let hole = try BlackHole()
  var setup = Setup(engine, servers: [hole.endpoint])
  setup.listener = "type: server-first"
  setup.backend = "retries: 1, timeouts: { connect: 250ms }"
  try withSluice(setup) { sluice in
    let before = sluice.facts.descriptorCount
    let client = try sluice.connect()
    let (end, ms) = try timed { try client.readToEnd() }
    #expect(end.bytes.isEmpty)
    #expect(ms > 200 && ms < 4000)
    let record = try sluice.record()
    #expect(record.reason == "dial.timeout")
    try wait(for: "the descriptors to be closed") { sluice.facts.descriptorCount <= before }
  }
}
