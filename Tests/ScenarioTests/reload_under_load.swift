import Glibc
import System
import TestSupport
import Testing

// The configuration is reloaded again and again (SLUICE_RELOADS times; 100 in the normal run, 1,000
// in the gate): listeners come and go, backends change places, trust lists of 10,000 networks are
// replaced. Meanwhile 500 connections exchange checked bytes, and new ones come all the time. No
// connection fails, no byte differs, and neither descriptors nor memory grow.

private let rounds = environment("SLUICE_RELOADS").flatMap { Int($0) } ?? 100
private let connections = 500

@Test("reload under load", arguments: Engine.eventSources)
func reloadUnderLoad(engine: Engine) throws {
  try makeRoom(forDescriptors: 4 * connections)
  let backends = [try EchoServer(), try EchoServer()]
  let front = Endpoint.loopback(ReservedPort.take())
  let extras = (0..<3).map { _ in Endpoint.loopback(ReservedPort.take()) }
  let first = configuration(0, front, extras, backends)
  try withReloadedSluice(engine, first, at: front) { sluice in
    let isOver = Guarded(false)
    let talkers = (0..<10).map { group in
      Job("talkers") { try talk(sluice.process, seed: UInt64(group)) { isOver.withLock { $0 } } }
    }
    let comers = (0..<2).map { group in
      Job("comers") {
        try come(sluice.process, seed: UInt64(50 + group)) { isOver.withLock { $0 } }
      }
    }
    try wait(for: "all to be connected") {
      sluice.process.facts.descriptorCount >= 2 * connections
    }
    var memory = 0
    for round in 1...rounds {
      try sluice.write(configuration(round, front, extras, backends))
      let outcome = try sluice.hangUp()
      #expect(outcome.hasPrefix("sluice: reloaded: generation \(round + 1),"), "\(outcome)")
      if round == min(50, rounds / 2) { memory = sluice.process.facts.privateMemory }
    }
    let grown = sluice.process.facts.privateMemory - memory
    isOver.withLock { $0 = true }
    for talker in talkers { try talker.value() }
    let came = try comers.map { try $0.value() }.reduce(0, +)
    #expect(came > 0)
    // What each table keeps for a connection that it took is small; a table has a megabyte.
    if !SluiceBinary.isSanitized { #expect(grown < 24 << 20, "grown by \(grown) bytes") }
    try expectAllWell(sluice, talkers: connections, comers: came)
  }
  for backend in backends { try backend.stop() }
}

private func expectAllWell(_ sluice: ReloadedSluice, talkers: Int, comers: Int) throws {
  let records = try sluice.process.records(talkers + comers)
  let bad = records.filter { $0.end != "client.fin" || $0.bytesUp != $0.bytesDown }
  #expect(bad.isEmpty, "\(bad.count) of \(records.count): \(bad.prefix(1))")
  // Sockets of listeners that are there, and what every process has; no connection's is left.
  try wait(for: "descriptors to be given back") { sluice.process.facts.descriptorCount < 60 }
  let status = try sluice.done("status")
  #expect(status["generation"]?.number == Double(rounds + 1))
  #expect(status["connections"]?.number == 0)
}

/// Fifty connections in turn, each with its own bytes, until it is over.
private func talk(_ sluice: SluiceProcess, seed: UInt64, _ isOver: () -> Bool) throws {
  var generator = SeededGenerator(seed: seed)
  let patterns = (0..<5).map { Pattern(seed: seed * 100 + UInt64($0)) }
  var talks = try (0..<connections / 10).map { _ in (try sluice.connect(), 0) }
  repeat {
    for index in talks.indices {
      let count = Int.random(in: 1...3000, using: &generator)
      try roundTrip(talks[index].0, patterns[index % 5], at: talks[index].1, count: count)
      talks[index].1 += count
    }
  } while !isOver()
  for (client, _) in talks {
    client.finish()
    guard try client.readToEnd().ending == .fin else { throw TestFailure("ended by a reset") }
    client.close()
  }
}

/// New connections, one after the other; how many.
private func come(_ sluice: SluiceProcess, seed: UInt64, _ isOver: () -> Bool) throws -> Int {
  let pattern = Pattern(seed: seed)
  var count = 0
  repeat {
    let client = try sluice.connect()
    try roundTrip(client, pattern, at: count, count: 300)
    client.finish()
    guard try client.readToEnd().ending == .fin else { throw TestFailure("ended by a reset") }
    client.close()
    count += 1
    pause(ms: 2)
  } while !isOver()
  return count
}

private func configuration(
  _ round: Int, _ front: Endpoint, _ extras: [Endpoint], _ backends: [EchoServer]
) -> String {
  // Parsing takes its time in a debug build, so the normal run has few long lists.
  let networks = (rounds >= 1000 || round % 20 == 0) ? 10_000 : 100
  let first = round * 7919
  let trusted = (0..<networks).map { index in
    let number = (first + index) & 0xffff
    return "\(10 + (first >> 16) % 100).\(number >> 8).\(number & 0xff).0/24"
  }.joined(separator: ", ")
  let servers = [round, round + 1].map { "\"\(backends[$0 % 2].endpoint)\"" }
  let extra = extras[round % 3]
  return """
    timeouts: { drain: 10m }
    listeners:
      front:
        { bind: "\(front)", type: server-first, backend: \(round % 4 < 2 ? "one" : "two"),
          trusted-networks: [\(trusted)] }
      extra-\(round % 5): { bind: "\(extra)", backend: two }
    backends:
      one: { servers: [\(servers[0])], splice: \(round % 6 < 3 ? "auto" : "off") }
      two: { servers: [\(servers.joined(separator: ", "))], retries: \(round % 3) }
    """
}
