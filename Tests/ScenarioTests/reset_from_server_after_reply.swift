import TestSupport
import Testing

// A server that has had enough writes `421 …` and closes with input it has not read. Its kernel
// turns that into RST. The client must get every byte of the reply and then the reset: not a FIN,
// which would look like a proper end, and not a reset that destroys what was already accepted; also
// when the reply is 3 MB and the client reads slowly.

struct Reply: Sendable, CustomStringConvertible {
  let bytes: Int
  let pace: Pace
  var description: String { "\(bytes) bytes, \(pace)" }

  static let all = [
    Reply(bytes: 40, pace: .fast), Reply(bytes: 3_000_000, pace: .fast),
    // About one second, and about three, for the whole reply.
    Reply(bytes: 3_000_000, pace: .slow(bytes: 65_536, restMs: 20)),
    Reply(bytes: 3_000_000, pace: .slow(bytes: 32_768, restMs: 30)),
  ]
}

@Test("reset from the server after a reply with unread input", arguments: Engine.all)
func resetFromServerAfterReply(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  try withSluice(setup) { sluice in
    let pattern = Pattern(seed: 31)
    var connections: [(Reply, StreamSocket, Job<Void>, Job<(count: Int, ending: Ending?)>)] = []
    for reply in Reply.all {
      let client = try sluice.connect(receiveBuffer: 65_536)
      let upstream = try server.accept()
      try client.write([UInt8](repeating: 0x41, count: 1000))
      _ = try upstream.readExactly(10)
      let writer = Job("server") {
        try upstream.send(pattern, count: reply.bytes)
        // From here on the reply is the proxy's: a close with unread input drops what isn't
        // acknowledged.
        try upstream.waitUntilAcknowledged()
        upstream.close()
      }
      let reader = Job("client") { try client.expect(pattern, pace: reply.pace) }
      connections.append((reply, client, writer, reader))
    }
    for (_, _, writer, _) in connections { try writer.value() }
    for (reply, client, _, reader) in connections {
      let read = try reader.value()
      #expect(read.count == reply.bytes, "\(reply)")
      #expect(read.ending == .reset, "\(reply)")
      try wait(for: "\(reply) in the log") {
        try sluice.records.contains { $0.client == client.local.description }
      }
    }
    let records = try sluice.records(connections.count)
    #expect(records.allSatisfy { $0.end == "upstream.rst" })
    #expect(records.map(\.bytesDown).sorted() == Reply.all.map(\.bytes).sorted())
  }
}
