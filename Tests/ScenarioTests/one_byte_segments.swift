import TestSupport
import Testing

// A client types, or its library writes byte by byte: 2,000 segments of one byte each way, then at
// once in bulk in the same connection, so that a half is promoted and demoted under way.

@Test("one-byte segments", arguments: Engine.all)
func oneByteSegments(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  try withSluice(setup) { sluice in
    let pattern = Pattern(seed: 51)
    let client = try sluice.connect()
    let upstream = try server.accept()
    let phases: [(bytes: Int, chunk: Int)] = [(2000, 1), (2_000_000, 65_536), (2000, 1)]
    let total = phases.reduce(0) { $0 + $1.bytes }
    let writers = [client, upstream].map { socket in
      Job("writer") {
        var offset = 0
        for phase in phases {
          try socket.send(
            pattern, from: offset, count: phase.bytes, pace: .slow(bytes: phase.chunk, restMs: 0))
          offset += phase.bytes
          // Lets the other end catch up, so that the small segments stay small.
          try socket.waitUntilAcknowledged()
        }
        socket.finish()
      }
    }
    let readers = [client, upstream].map { socket in
      Job("reader") { try socket.expect(pattern) }
    }
    for writer in writers { try writer.value() }
    for reader in readers {
      let read = try reader.value()
      #expect(read.count == total)
      #expect(read.ending == .fin)
    }
    let record = try sluice.record()
    #expect(record.bytesUp == total && record.bytesDown == total)
  }
}
