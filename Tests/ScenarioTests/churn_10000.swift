import TestSupport
import Testing

// 10,000 short connections, one after the other and a few at once: connect, ask, answer, close.
// Afterwards the daemon has as many descriptors and as much memory as before, and 10,000 lines of
// log.

@Test("10,000 short connections", .serialized, arguments: Engine.eventSources)
func churn10000(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  // Tables as long as this are used all around in the warm-up, so that what grows later is a leak.
  setup.extra = "limits: { max-connections: 1000 }"
  try withSluice(setup) { sluice in
    let baseline = sluice.facts.descriptorCount
    // Pools and the log's buffer reach their size in the first thousand.
    try churn(1000, sluice, server)
    _ = try sluice.records(1000)
    try wait(for: "the descriptors to be closed") { sluice.facts.descriptorCount <= baseline }

    // An allocator takes a step now and then; a leak takes one with every connection. The smallest
    // thing that malloc gives is 32 bytes, which makes 320,000 of a leak in each round.
    let budget = 160_000
    var total = 1000
    var growths: [Int] = []
    repeat {
      let memory = sluice.facts.privateMemory
      try churn(10_000, sluice, server)
      total += 10_000
      _ = try sluice.records(total)
      try wait(for: "the descriptors to be closed") { sluice.facts.descriptorCount <= baseline }
      growths.append(sluice.facts.privateMemory - memory)
    } while growths[growths.count - 1] > budget && growths.count < 3 && !SluiceBinary.isSanitized
    print("churn_10000, \(engine): memory grew by \(growths) bytes")
    if !SluiceBinary.isSanitized {
      #expect(growths[growths.count - 1] <= budget)
    }
    let records = try sluice.records(total)
    #expect(records.allSatisfy { $0.bytesUp == 5 && $0.bytesDown == 6 && $0.reason == nil })
    #expect(Set(records.map(\.id)).count == total)
  }
}

private func churn(_ count: Int, _ sluice: SluiceProcess, _ server: ListeningSocket) throws {
  let lanes = 4
  let backend = Job("backend") {
    for _ in 0..<count {
      let upstream = try server.accept()
      _ = try upstream.readExactly(5)
      try upstream.write("answer")
      upstream.close()
    }
  }
  let clients = (0..<lanes).map { _ in
    Job("client") {
      for _ in 0..<count / lanes {
        let client = try sluice.connect()
        try client.write("query")
        let answer = try client.readToEnd()
        guard answer.bytes == Array("answer".utf8), answer.ending == .fin else {
          throw TestFailure("answered with \(answer)")
        }
      }
    }
  }
  for client in clients { try client.value(until: Deadline(inMs: 120_000)) }
  try backend.value()
}
