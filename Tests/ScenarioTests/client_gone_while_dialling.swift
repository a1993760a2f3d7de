import TestSupport
import Testing

// The server hangs, and the client gives up before the connect deadline. There is nobody left to
// dial for, so both descriptors are freed at once and not when the deadline comes.

@Test("client gone while dialling", arguments: Engine.eventSources)
func clientGoneWhileDialling(engine: Engine) throws {
  let hole = try BlackHole()
  var setup = Setup(engine, servers: [hole.endpoint])
  setup.listener = "type: server-first"
  setup.timeouts = "connect: 30s, drain: 5s"
  try withSluice(setup) { sluice in
    let before = sluice.facts.descriptorCount
    let clients = try (0..<20).map { _ in try sluice.connect() }
    try wait(for: "20 dials under way") { sluice.facts.descriptorCount >= before + 40 }
    for client in clients { client.reset() }
    let (_, ms) = try timed {
      try wait(for: "the descriptors to be closed") { sluice.facts.descriptorCount <= before }
    }
    #expect(ms < 5000)
    for record in try sluice.records(20) { #expect(record.end == "client.rst") }
  }
}

// A client that has only said all it has to say (FIN) is not gone: it waits for the answer, which
// comes from the next server.
@Test("client half-closed while dialling", arguments: Engine.eventSources)
func clientHalfClosedWhileDialling(engine: Engine) throws {
  let hole = try BlackHole()
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [hole.endpoint, server.endpoint])
  setup.listener = "type: server-first"
  setup.timeouts = "connect: 400ms, drain: 5s"
  try withSluice(setup) { sluice in
    let client = try sluice.connect()
    try client.write("request")
    client.finish()
    let upstream = try server.accept()
    let request = try upstream.readToEnd()
    #expect(request.bytes == Array("request".utf8))
    #expect(request.ending == .fin)
    try upstream.write("answer")
    upstream.close()
    let answer = try client.readToEnd()
    #expect(answer.bytes == Array("answer".utf8))
    #expect(answer.ending == .fin)
    #expect(try sluice.record().end == "client.fin")
  }
}
