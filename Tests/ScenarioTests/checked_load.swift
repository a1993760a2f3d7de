import Glibc
import System
import TestSupport
import Testing

/// Traffic through a daemon to echo servers, until it is told to stop: connections that exchange
/// checked bytes all the time, and new ones that come meanwhile. Any that fails fails the test.
final class CheckedLoad: Sendable {
  private let isOver = Guarded(false)
  private let talkers: [Job<Void>]
  private let comers: [Job<Int>]
  private let connections: Int

  /// - Parameters:
  ///   - connections: how many talk all the time; a multiple of ten.
  ///   - pauseMs: between two exchanges.
  init(_ sluice: SluiceProcess, connections: Int, pauseMs: Int = 0) {
    self.connections = connections
    let isOver = isOver
    talkers = (0..<10).map { group in
      Job("talkers") {
        try talk(sluice, connections / 10, seed: UInt64(group)) {
          pause(ms: pauseMs)
          return isOver.withLock { $0 }
        }
      }
    }
    comers = (0..<2).map { group in
      Job("comers") { try come(sluice, seed: UInt64(50 + group)) { isOver.withLock { $0 } } }
    }
  }

  /// Ends it; how many connections there were in all.
  func stop() throws -> Int {
    isOver.withLock { $0 = true }
    for talker in talkers { try talker.value() }
    let came = try comers.map { try $0.value() }.reduce(0, +)
    #expect(came > 0)
    return connections + came
  }
}

/// Some connections in turn, each with its own bytes, until it is over.
private func talk(
  _ sluice: SluiceProcess, _ count: Int, seed: UInt64, _ isOver: () -> Bool
) throws {
  var generator = SeededGenerator(seed: seed)
  let patterns = (0..<5).map { Pattern(seed: seed * 100 + UInt64($0)) }
  var talks = try (0..<count).map { _ in (try sluice.connect(), 0) }
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

extension ReloadedSluice {
  /// So many connections are in the log, whole and ended by their clients, and nothing is left of
  /// them.
  func expectAllWhole(_ count: Int) throws {
    let records = try process.records(count)
    let bad = records.filter { $0.end != "client.fin" || $0.bytesUp != $0.bytesDown }
    #expect(bad.isEmpty, "\(bad.count) of \(records.count): \(bad.prefix(1))")
    // Sockets of listeners that are there, and what every process has; no connection's is left.
    try wait(for: "descriptors to be given back") { process.facts.descriptorCount < 60 }
    #expect(try done("status")["connections"]?.number == 0)
  }
}
