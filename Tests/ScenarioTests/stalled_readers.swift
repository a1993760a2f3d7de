import TestSupport
import Testing

// A dozen clients have asked for megabytes and read nothing: their links are dead or their users
// asleep. Nobody else may notice, and no thread of the kernel may wait with them, whichever engine
// moves the bytes. When they wake up they get every byte.

@Test("stalled readers hold nobody up", arguments: Engine.all)
func stalledReaders(engine: Engine) throws {
  let stalledCount = 12
  let bytes = 4_000_000
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  try withSluice(setup) { sluice in
    let pattern = Pattern(seed: 91)
    var clients: [StreamSocket] = []
    var writers: [Job<Void>] = []
    for _ in 0..<stalledCount {
      clients.append(try sluice.connect(receiveBuffer: 65_536))
      let upstream = try server.accept()
      writers.append(
        Job("server") {
          try upstream.send(pattern, count: bytes)
          upstream.close()
        })
    }
    // Until nothing moves any more.
    pause(ms: 500)

    let client = try sluice.connect()
    let upstream = try server.accept()
    let (_, ms) = try timed {
      for _ in 0..<200 {
        try client.write("ping")
        _ = try upstream.readExactly(4)
        try upstream.write("pong")
        _ = try client.readExactly(4)
      }
    }
    // 0.1 ms each on a quiet machine.
    #expect(ms < 4000, "200 round trips took \(ms) ms")
    client.close()
    upstream.close()

    let waiting = sluice.facts.threads.count {
      contents(of: "/proc/\(sluice.facts.pid)/task/\($0)/comm").hasPrefix("iou-wrk")
        && contents(of: "/proc/\(sluice.facts.pid)/task/\($0)/wchan").contains("splice")
    }
    #expect(waiting == 0, "threads that wait in a splice")

    for client in clients {
      let read = try client.expect(pattern)
      #expect(read.count == bytes && read.ending == .fin)
      client.close()
    }
    for writer in writers { try writer.value() }
    #expect(try sluice.records(stalledCount + 1).allSatisfy { $0.reason == nil })
  }
}
