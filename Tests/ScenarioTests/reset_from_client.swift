import TestSupport
import Testing

// A client that is killed, or loses interest, resets its connection. The server must get what the
// client had sent before, and then learn that this was no proper end: reset, not FIN.

@Test("reset from the client", arguments: Engine.all, [100, 400_000])
func resetFromClient(engine: Engine, size: Int) throws {
  let server = try ListeningSocket(receiveBuffer: 65_536)
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  try withSluice(setup) { sluice in
    let pattern = Pattern(seed: 41)
    let client = try sluice.connect()
    let upstream = try server.accept()
    // Both ends are known to be connected; a client that resets while its server is still being
    // dialled is another story (client_gone_while_dialling).
    try upstream.write("220")
    _ = try client.readExactly(3)
    let reader = Job("server") {
      try upstream.expect(pattern, pace: .slow(bytes: 40_000, restMs: 15))
    }
    try client.send(pattern, count: size)
    try client.waitUntilAcknowledged()
    client.reset()

    let read = try reader.value()
    #expect(read.count == size)
    #expect(read.ending == .reset)
    let record = try sluice.record()
    #expect(record.end == "client.rst")
    #expect(record.bytesUp == size)
  }
}

// The server resets while the client is sending: the client's end learns of it although it reads
// nothing, and the daemon keeps nothing of the connection.
@Test("reset from the server under way", arguments: Engine.all)
func resetFromServerUnderWay(engine: Engine) throws {
  let server = try ListeningSocket(receiveBuffer: 65_536)
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  try withSluice(setup) { sluice in
    let before = sluice.facts.descriptorCount
    let client = try sluice.connect()
    let upstream = try server.accept()
    let writer = Job("client") { try client.send(Pattern(seed: 42), count: 64_000_000) }
    _ = try upstream.readExactly(300_000)
    upstream.reset()
    #expect(throws: StreamSocket.WriteFailure.self) { try writer.value() }
    let record = try sluice.record()
    #expect(record.end == "upstream.rst")
    try wait(for: "the descriptors to be closed") { sluice.facts.descriptorCount <= before + 2 }
  }
}
