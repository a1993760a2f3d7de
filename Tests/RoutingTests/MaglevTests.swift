import Routing
import Testing
import Wire

@Suite struct MaglevTests {
  static let sources = (0..<100_000).map { number in
    BalancePlan.hash(source: .ipv4(0x0a00_0000 + UInt32(number), port: 0)) ?? 0
  }

  private func members(_ count: Int, weight: (Int) -> Int = { _ in 1 }) -> [Maglev.Member] {
    (0..<count).map { index in
      .init(hash: BalancePlan.hash(name: "198.51.100.\(index):143"), weight: weight(index))
    }
  }

  /// "Maglev moves at most 1.2/n of the sources when one of n leaves" the configuration.
  @Test(arguments: [2, 3, 5, 10, 30, 100]) func fewMoveWhenOneIsTakenOut(_ count: Int) {
    let all = members(count)
    let before = Maglev(all)
    for leaving in [0, count / 2, count - 1] {
      var rest = all
      rest.remove(at: leaving)
      let after = Maglev(rest)
      let moved = MaglevTests.sources.count { source in
        all[before.member(for: source)] != rest[after.member(for: source)]
      }
      // The share of sources on the one that leaves is itself only 1/n give or take.
      let own = MaglevTests.sources.count { before.member(for: $0) == leaving }
      let share = Double(MaglevTests.sources.count) / Double(count)
      #expect(Double(moved - own) <= 0.2 * share, "\(moved) moved, \(own) had to")
      #expect(moved >= own)
    }
  }

  /// One that goes down moves its own sources and no others, however many servers there are, and
  /// they come back with it.
  @Test(arguments: [2, 10, 1000]) func onlyItsOwnMoveWhenOneGoesDown(_ count: Int) {
    let plan = BalanceBench.plan(.sourceHash, weights: Array(repeating: 1, count: count))
    var balancer = Balancer(plan, seed: 0)
    let sources = MaglevTests.sources.prefix(20_000)
    let before = sources.map { balancer.choose(0, source: $0, nowMs: 0) }
    plan.states.mark(1, .down)
    let meanwhile = sources.map { balancer.choose(0, source: $0, nowMs: 0) }
    for (old, new) in zip(before, meanwhile) {
      #expect(old == .server(1) ? new != old : new == old)
    }
    // What it had goes to all others alike.
    var gained = [Int](repeating: 0, count: count)
    for (old, new) in zip(before, meanwhile) where old == .server(1) {
      if case .server(let server) = new { gained[server] += 1 }
    }
    if count == 10 { #expect(gained.max() ?? 0 < 2 * 2000 / 9) }
    plan.states.unmark(1, .down, nowMs: 0)
    #expect(sources.map { balancer.choose(0, source: $0, nowMs: 0) } == before)
  }

  @Test func weightsHaveTheirPartOfTheTable() {
    let weights = [1, 2, 4, 8, 256]
    let maglev = Maglev(members(5) { weights[$0] })
    var counts = [Int](repeating: 0, count: 5)
    // Evenly over all hashes, so that what is counted is the table.
    let probes = 200_000
    for probe in 0..<probes {
      counts[maglev.member(for: UInt64(probe) * (UInt64.max / UInt64(probes)))] += 1
    }
    for (count, weight) in zip(counts, weights) {
      let share = Double(probes) * Double(weight) / 271
      #expect(abs(Double(count) - share) <= 0.02 * share, "\(counts)")
    }
  }

  @Test func itIsTheSameInWhateverProcess() {
    let maglev = Maglev(members(3))
    let found = MaglevTests.sources.prefix(12).map { maglev.member(for: $0) }
    #expect(found == [0, 0, 2, 0, 0, 2, 0, 0, 2, 0, 0, 0])
  }

  @Test func theOrderOfTheFileDoesNotMatterMuch() {
    let all = members(10)
    let one = Maglev(all)
    let other = Maglev(all.reversed())
    let moved = MaglevTests.sources.count {
      all[one.member(for: $0)].hash != all[9 - other.member(for: $0)].hash
    }
    #expect(Double(moved) < 0.1 * Double(MaglevTests.sources.count))
  }

  @Test func aSourceIsAnAddressOrAnIPv6Network() {
    func hash(_ high: UInt64, _ low: UInt64, port: UInt16) -> UInt64? {
      BalancePlan.hash(source: .ipv6(high: high, low: low, port: port, scope: 0))
    }
    #expect(hash(0x2001_0db8_0000_0001, 1, port: 5) == hash(0x2001_0db8_0000_0001, 9, port: 6))
    #expect(hash(0x2001_0db8_0000_0001, 1, port: 5) != hash(0x2001_0db8_0000_0002, 1, port: 5))
    let unmapped = BalancePlan.hash(source: .ipv4(0xc000_0201, port: 7))
    #expect(hash(0, 0xffff_c000_0201, port: 5) == unmapped)
    #expect(BalancePlan.hash(source: .unix(path: "/x")) == nil)
  }

  /// A table that is made anew for the same servers is the former one.
  @Test func anUnchangedTableIsKept() {
    let servers = Array(repeating: BalanceBench.Server(), count: 3)
    let former = BalanceBench.plan(.sourceHash, servers)
    let next = BalanceBench.plan(.sourceHash, servers, former: former)
    #expect(former.backends[0].maglev == next.backends[0].maglev)
    let other = BalanceBench.plan(.sourceHash, servers, names: ["a", "b", "c"], former: former)
    #expect(former.backends[0].maglev != other.backends[0].maglev)
  }
}
