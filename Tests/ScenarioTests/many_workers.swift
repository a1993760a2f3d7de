import TestSupport
import Testing

// Two workers share one listener. Hundreds of clients at once, each with its own bytes: all are
// served completely, and both workers have done their part.

@Test("many workers", arguments: Engine.all)
func manyWorkers(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  setup.workers = 2
  try withSluice(setup) { sluice in
    let before = wakeUps(sluice)
    let backend = Job("backend") {
      // Each connection says its own number first and gets its own bytes back.
      var jobs: [Job<Void>] = []
      for _ in 0..<200 {
        let upstream = try server.accept()
        jobs.append(Job("connection") { try echo(upstream) })
      }
      for job in jobs { try job.value() }
    }
    let clients = (0..<8).map { group in
      Job("clients") {
        for index in 0..<25 {
          let size = [10, 3000, 40_000, 400_000][index % 4]
          try roundTrip(sluice, seed: UInt64(group * 25 + index), size: size)
        }
      }
    }
    for client in clients { try client.value() }
    try backend.value()
    let records = try sluice.records(200)
    #expect(records.allSatisfy { $0.bytesUp == $0.bytesDown && $0.end == "client.fin" })
    #expect(Set(records.map(\.id)).count == 200)
    let after = wakeUps(sluice)
    let busy = after.filter { $0.value > (before[$0.key] ?? 0) + 20 }
    #expect(busy.count >= 2, "only \(busy.count) threads did anything")
  }
}

private func wakeUps(_ sluice: SluiceProcess) -> [Int32: Int] {
  Dictionary(
    uniqueKeysWithValues: sluice.facts.threads.map { thread in
      (thread, sluice.facts.status("voluntary_ctxt_switches", thread: thread) ?? 0)
    })
}

private func echo(_ upstream: StreamSocket) throws {
  while true {
    switch try upstream.receive(atMost: 65_536) {
    case .bytes(let bytes): try upstream.write(bytes)
    case .ended(let ending):
      guard ending == .fin else { throw TestFailure("the server saw a reset") }
      upstream.close()
      return
    }
  }
}

private func roundTrip(_ sluice: SluiceProcess, seed: UInt64, size: Int) throws {
  let pattern = Pattern(seed: seed)
  let client = try sluice.connect()
  let writer = Job("writer") {
    try client.send(pattern, count: size)
    client.finish()
  }
  let read = try client.expect(pattern)
  try writer.value()
  guard read.count == size, read.ending == .fin else {
    throw TestFailure("\(read) instead of \(size) bytes")
  }
}
