import Synchronization
import TestSupport
import Testing
import Wire

@testable import DataPlane

/// One table of counts for all threads: exact under any load, fixed in size.
@Suite struct SharedTableTests {
  @Test func takesUpToTheLimitAndGivesBack() throws {
    let table = try SharedTable(entries: 1024)
    let who = Identity(high: 1, low: 2)
    var entries: [UInt32] = []
    for _ in 0..<3 {
      guard case .entry(let entry) = table.take(who, limit: 3) else {
        Issue.record("refused below the limit")
        return
      }
      entries.append(entry)
    }
    #expect(Set(entries).count == 1)
    #expect(table.take(who, limit: 3) == .overLimit)
    #expect(table.inFlight(who) == 3)
    // A limit that was raised, and none at all.
    #expect(table.take(who, limit: 4) == .entry(entries[0]))
    #expect(table.take(who) == .entry(entries[0]))
    #expect(table.inFlight(who) == 5)
    for _ in 0..<5 { table.give(entries[0]) }
    #expect(table.inFlight(who) == 0)
    #expect(table.take(who, limit: 1) == .entry(entries[0]))
  }

  /// As many at once as in a second, then one at a time; time that passes unused saves up no more.
  @Test func pace() throws {
    let table = try SharedTable(entries: 16)
    guard case .entry(let entry) = table.take(Identity(high: 4, low: 1)) else { return }
    let second: UInt64 = 1_000_000_000
    func allowed(_ tries: Int, at nowNs: UInt64) -> Int {
      (0..<tries).count { _ in table.isInPace(entry, perSecond: 10, nowNs: nowNs) }
    }
    #expect(allowed(25, at: 5 * second) == 10)
    #expect(allowed(5, at: 5 * second + second / 10 - 1) == 0)
    #expect(allowed(5, at: 5 * second + second / 10) == 1)
    #expect(allowed(5, at: 5 * second + second / 2) == 4)
    #expect(allowed(25, at: 100 * second) == 10)
    // Refused ones cost nothing.
    #expect(allowed(1000, at: 101 * second) == 10)
    #expect(allowed(25, at: 102 * second) == 10)
  }

  @Test func paceIsAPlacesIdentitys() throws {
    let table = try SharedTable(entries: 16)
    // Two that take turns at the last place of the bucket.
    for number in 0..<15 { _ = table.take(Identity(high: 1, low: UInt64(number))) }
    for round in 0..<4 {
      guard case .entry(let entry) = table.take(Identity(high: 2, low: UInt64(round))) else {
        return #expect(Bool(false), "no room")
      }
      #expect((0..<20).count { _ in table.isInPace(entry, perSecond: 5, nowNs: 9) } == 5)
      table.give(entry)
    }
  }

  /// Eight threads together never get more than the pace allows.
  @Test func aPaceIsExactOverThreads() throws {
    let table = try SharedTable(entries: 64)
    let passed = Counter()
    let jobs = (0..<8).map { thread in
      Job("thread \(thread)") {
        for _ in 0..<5000 {
          guard case .entry(let entry) = table.take(Identity(high: 3, low: 3)) else {
            throw TestFailure("no room")
          }
          if table.isInPace(entry, perSecond: 1000, nowNs: 7) { passed.add() }
          table.give(entry)
        }
      }
    }
    for job in jobs { try job.value() }
    #expect(passed.value == 1000)
  }

  @Test func identitiesAreApart() throws {
    let table = try SharedTable(entries: 4096)
    // All words that differ in one half or in one bit only.
    var all = [Identity(high: 0, low: 0)]
    for bit in 0..<64 {
      all.append(Identity(high: 1 << bit, low: 0))
      all.append(Identity(high: 0, low: 1 << bit))
      all.append(Identity(high: 1 << bit, low: 1 << bit))
    }
    for (index, who) in all.enumerated() {
      for _ in 0...index % 5 { #expect(table.take(who) != .full) }
    }
    for (index, who) in all.enumerated() { #expect(table.inFlight(who) == index % 5 + 1) }
    #expect(table.inFlight(Identity(high: 3, low: 5)) == 0)
  }

  /// With one bucket: 16 in flight, and there is no room; the one that got idle first goes first.
  @Test func theOldestIdleOneGoesFirst() throws {
    let table = try SharedTable(entries: 16)
    var entries: [UInt32] = []
    for number in 0..<16 {
      guard case .entry(let entry) = table.take(Identity(high: 9, low: UInt64(number))) else {
        Issue.record("no room for \(number)")
        return
      }
      entries.append(entry)
    }
    #expect(Set(entries) == Set(0..<16))
    #expect(table.take(Identity(high: 9, low: 16)) == .full)
    for number in [11, 3, 7] { table.give(entries[number]) }
    for (newcomer, evicted) in [(100, 11), (101, 3), (102, 7)] {
      let taken = table.take(Identity(high: 9, low: UInt64(newcomer)))
      #expect(taken == .entry(entries[evicted]))
    }
    #expect(table.take(Identity(high: 9, low: 103)) == .full)
    for number in 0..<16 where ![11, 3, 7].contains(number) {
      #expect(table.inFlight(Identity(high: 9, low: UInt64(number))) == 1)
    }
    for number in [11, 3, 7] {
      #expect(table.inFlight(Identity(high: 9, low: UInt64(number))) == 0)
    }
  }

  /// What was idle and is taken again is young again.
  @Test func anIdentityThatComesBackKeepsItsPlace() throws {
    let table = try SharedTable(entries: 16)
    for number in 0..<16 {
      if case .entry(let entry) = table.take(Identity(high: 9, low: UInt64(number))) {
        table.give(entry)
      }
    }
    guard case .entry(let first) = table.take(Identity(high: 9, low: 0)) else { return }
    table.give(first)
    // Number 1 is the oldest now.
    #expect(table.take(Identity(high: 9, low: 50)) != .entry(first))
    guard case .entry(let again) = table.take(Identity(high: 9, low: 0)) else { return }
    #expect(again == first)
  }

  /// Never one over the limit at any moment, and nothing left or lost afterwards.
  @Test func fourThreadsOnFewIdentities() throws {
    // Two buckets: insertion, eviction and hiding race all the time.
    for entries in [UInt32(32), 16384] {
      let table = try SharedTable(entries: entries)
      let limit: UInt32 = 3
      let held = (0..<5).map { _ in Counter() }
      let over = Counter()
      let refused = Counter()
      let jobs = (0..<4).map { thread in
        Job("thread \(thread)") {
          var generator = SeededGenerator(seed: UInt64(thread))
          for _ in 0..<200_000 {
            let number = Int.random(in: 0..<5, using: &generator)
            let who = Identity(high: 77, low: UInt64(number))
            switch table.take(who, limit: limit) {
            case .entry(let entry):
              if held[number].add() > Int(limit) { over.add() }
              held[number].remove()
              table.give(entry)
            case .overLimit: refused.add()
            case .full: throw TestFailure("no room")
            }
            // Passers-by push idle identities out of the small table.
            if entries == 32, number == 0 {
              let other = Identity(high: 78, low: generator.next() % 64)
              if case .entry(let entry) = table.take(other) { table.give(entry) }
            }
          }
        }
      }
      for job in jobs { try job.value() }
      #expect(over.value == 0)
      for number in 0..<5 {
        let who = Identity(high: 77, low: UInt64(number))
        #expect(table.inFlight(who) == 0)
        // Not stuck low: exactly as many as the limit fit.
        var taken = 0
        while case .entry = table.take(who, limit: limit) { taken += 1 }
        #expect(taken == Int(limit))
      }
    }
  }

  /// Four threads insert the same identities at the same time: each must stand once.
  @Test func anIdentityNeverStandsTwice() throws {
    let table = try SharedTable(entries: 32)
    let jobs = (0..<4).map { thread in
      Job("thread \(thread)") { () -> Int in
        var refused = 0
        for round in 0..<50_000 {
          // All threads go through the same short-lived identities.
          let who = Identity(high: 5, low: UInt64(round / 8))
          guard case .entry(let entry) = table.take(who) else {
            refused += 1
            continue
          }
          guard table.inFlight(who) >= 1 else { throw TestFailure("counted elsewhere") }
          table.give(entry)
        }
        return refused
      }
    }
    // Never more than four are in flight, but claims that lost a race take places for a moment.
    for job in jobs { #expect(try job.value() < 500) }
    for round in 0..<50_000 / 8 {
      #expect(table.inFlight(Identity(high: 5, low: UInt64(round))) == 0)
    }
  }

  /// A million strangers pass through a small table: it does not grow, and those in flight stay.
  @Test func aMillionIdentitiesInASmallTable() throws {
    let table = try SharedTable(entries: 1024)
    let residents = (0..<128).map { Identity(high: 1, low: UInt64($0)) }
    var entries: [UInt32] = []
    for who in residents {
      for _ in 0..<2 {
        guard case .entry(let entry) = table.take(who) else { throw TestFailure("no room") }
        entries.append(entry)
      }
    }
    let full = Counter()
    let jobs = (0..<4).map { thread in
      Job("thread \(thread)") {
        for number in 0..<250_000 {
          let who = Identity(high: 2, low: UInt64(thread * 250_000 + number))
          guard case .entry(let entry) = table.take(who, limit: 1) else {
            full.add()
            continue
          }
          // Fixed in size: all of them share the entries that there were from the start.
          guard entry < 1024 else { throw TestFailure("entry \(entry)") }
          table.give(entry)
        }
      }
    }
    for job in jobs { try job.value() }
    #expect(full.value == 0)
    for (index, who) in residents.enumerated() {
      #expect(table.inFlight(who) == 2)
      #expect(table.take(who) == .entry(entries[2 * index]))
      table.give(entries[2 * index])
    }
    for entry in entries { table.give(entry) }
    for who in residents { #expect(table.inFlight(who) == 0) }
  }

  @Test func whatAnIdentityIs() throws {
    func address(_ text: String) throws -> SocketAddress { try #require(SocketAddress(text)) }
    // A server is its address and port.
    let source = Identity(source: try address("10.0.0.1:1"))
    #expect(source == Identity(source: try address("10.0.0.1:2")))
    #expect(source != Identity(source: try address("10.0.0.2:1")))
    let network = Identity(source: try address("[2001:db8:1:2::3]:4"))
    #expect(network == Identity(source: try address("[2001:db8:1:2:ffff::]:5")))
    #expect(network != Identity(source: try address("[2001:db8:1:3::3]:4")))
    #expect(Identity(source: try address("unix:/a")) == nil)
    #expect(source == Identity(source: try address("[::ffff:10.0.0.1]:1")))
  }
}

private final class Counter: Sendable {
  private let count = Atomic(0)
  var value: Int { count.load(ordering: .sequentiallyConsistent) }
  @discardableResult func add() -> Int {
    count.add(1, ordering: .sequentiallyConsistent).newValue
  }
  func remove() { count.subtract(1, ordering: .sequentiallyConsistent) }
}
