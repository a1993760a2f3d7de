import Routing
import Testing
import Wire

/// Plans of one or more backends for the tests of balancing.
struct BalanceBench {
  struct Server {
    var weight = 1
    var isBackup = false
    var limit: UInt32 = 0
  }

  static func plan(
    _ kind: BalanceKind, _ servers: [Server], slowStartMs: UInt32 = 0, panicPercent: Int = 0,
    names: [String]? = nil, former: BalancePlan? = nil
  ) -> BalancePlan {
    let entry = BackendEntry(
      name: "b", servers: 0..<servers.count, retries: 2, header: .none, splice: .inline,
      source: nil, congestion: "", balance: kind, slowStartMs: slowStartMs,
      panicPercent: panicPercent)
    let rules = servers.enumerated().map { index, server in
      BalancePlan.Server(
        number: index, weight: server.weight, isBackup: server.isBackup, limit: server.limit,
        hash: BalancePlan.hash(name: names?[index] ?? "192.0.2.\(index):25"))
    }
    return BalancePlan([entry], rules, states: ServerStates(servers.count), former: former)
  }

  static func plan(_ kind: BalanceKind, weights: [Int]) -> BalancePlan {
    plan(kind, weights.map { Server(weight: $0) })
  }
}

extension Balancer {
  /// How often each server is chosen in so many connections that end at once.
  mutating func counts(_ picks: Int, of servers: Int, nowMs: UInt64 = 0) -> [Int] {
    var counts = [Int](repeating: 0, count: servers)
    for pick in 0..<picks {
      let source = BalancePlan.hash(source: .ipv4(UInt32(pick), port: 0))
      guard case .server(let server) = choose(0, source: source, nowMs: nowMs) else { continue }
      counts[server] += 1
    }
    return counts
  }

  mutating func sequence(_ picks: Int) -> [Choice] {
    (0..<picks).map { _ in choose(0, source: nil, nowMs: 0) }
  }
}

@Suite struct BalancerTests {
  static let weights = [
    [1, 1, 1], [5, 1, 1], [1, 2, 3, 4], [256, 128, 64], [7, 11, 13, 17, 19], [1, 0, 3],
  ]

  /// "Weights within 2 % over 100,000 connections", for every algorithm. Two choices are random:
  /// 2 % of the share of a server that gets a fifth are three standard deviations.
  @Test(arguments: BalanceKind.allCases, weights)
  func weightsAreKept(_ kind: BalanceKind, _ weights: [Int]) {
    var balancer = Balancer(BalanceBench.plan(kind, weights: weights), seed: 1)
    let picks = 100_000
    let counts = balancer.counts(picks, of: weights.count)
    let total = weights.reduce(0, +)
    for (count, weight) in zip(counts, weights) {
      let share = Double(weight) / Double(total) * Double(picks)
      #expect(abs(Double(count) - share) <= 0.02 * max(share, Double(picks) / 5), "\(counts)")
      if kind == .roundRobin || kind == .leastConnections {
        #expect(abs(Double(count) - share) <= 2, "\(counts)")
      }
    }
  }

  @Test func roundRobinIsSmooth() {
    var balancer = Balancer(BalanceBench.plan(.roundRobin, weights: [5, 1, 1]), seed: 0)
    let chosen = balancer.sequence(700)
    // In any seven in a row each server has its weight's turns, give or take one.
    for start in stride(from: 0, to: 690, by: 1) {
      let window = chosen[start..<start + 7]
      #expect((4...6).contains(window.count { $0 == .server(0) }))
      #expect((0...2).contains(window.count { $0 == .server(1) }))
    }
  }

  @Test func equalServersInTurnFromTheSeedOn() {
    for seed in 0..<7 {
      var balancer = Balancer(BalanceBench.plan(.roundRobin, weights: [1, 1, 1]), seed: seed)
      #expect(balancer.sequence(6) == (0..<6).map { .server((seed + $0) % 3) })
    }
  }

  @Test func aServerThatIsDownIsLeftOutAndComesBack() {
    let plan = BalanceBench.plan(.roundRobin, weights: [1, 1, 1])
    var balancer = Balancer(plan, seed: 0)
    #expect(plan.states.mark(1, .down))
    #expect(balancer.sequence(4) == [.server(0), .server(2), .server(0), .server(2)])
    #expect(!plan.states.mark(1, .drained))
    #expect(!plan.states.unmark(1, .down, nowMs: 5))
    #expect(balancer.sequence(2) == [.server(0), .server(2)])
    #expect(plan.states.unmark(1, .drained, nowMs: 5))
    // It gets its share from now on, and nothing for what it missed.
    let back = balancer.sequence(300)
    #expect((99...101).contains(back.count { $0 == .server(1) }))
    #expect(back.prefix(4).count { $0 == .server(1) } <= 2)
  }

  /// While each of a thousand servers goes up and down, those that are up share evenly.
  @Test(arguments: BalanceKind.allCases) func aThousandServersFlap(_ kind: BalanceKind) {
    let count = 1000
    let plan = BalanceBench.plan(kind, weights: Array(repeating: 1, count: count))
    var balancer = Balancer(plan, seed: 3)
    var isDown = [Bool](repeating: false, count: count)
    var counts = [Int](repeating: 0, count: count)
    var random = SeededNumbers(7)
    for round in 0..<2000 {
      let server = Int(random.next() % UInt64(count))
      if isDown[server] {
        plan.states.unmark(server, .down, nowMs: UInt64(round))
      } else {
        plan.states.mark(server, .down)
      }
      isDown[server].toggle()
      for _ in 0..<10 {
        guard case .server(let chosen) = balancer.choose(0, source: random.next(), nowMs: 0)
        else { return #expect(Bool(false), "nobody") }
        #expect(!isDown[chosen])
        counts[chosen] += 1
      }
    }
    // 20,000 picks over a thousand, of which most are up most of the time.
    let most = kind == .roundRobin || kind == .leastConnections ? 45 : 70
    #expect(counts.max() ?? 0 <= most, "\(counts.max() ?? 0)")
  }

  @Test(arguments: BalanceKind.allCases) func backupsWaitUntilNoPrimaryIsLeft(_ kind: BalanceKind) {
    let plan = BalanceBench.plan(
      kind, [.init(), .init(isBackup: true), .init(), .init(isBackup: true)])
    var balancer = Balancer(plan, seed: 0)
    var counts = balancer.counts(1000, of: 4)
    #expect(counts[1] == 0 && counts[3] == 0 && counts[0] > 400 && counts[2] > 400)
    plan.states.mark(0, .ejected)
    #expect(balancer.counts(10, of: 4) == [0, 0, 10, 0])
    plan.states.mark(2, .down)
    counts = balancer.counts(1000, of: 4)
    #expect(counts[0] == 0 && counts[2] == 0 && counts[1] > 400 && counts[3] > 400)
    // Nobody at all: those that may be up again are tried, but not what the operator drained.
    plan.states.mark(1, .down)
    plan.states.mark(3, .down)
    counts = balancer.counts(1000, of: 4)
    #expect(counts[1] == 0 && counts[3] == 0 && counts[0] > 400 && counts[2] > 400)
    plan.states.mark(0, .drained)
    plan.states.mark(2, .drained)
    #expect(balancer.choose(0, source: 1, nowMs: 0) == .none)
  }

  @Test func withTooFewLeftAllAreUsed() {
    let plan = BalanceBench.plan(
      .roundRobin, Array(repeating: .init(), count: 4), panicPercent: 50)
    var balancer = Balancer(plan, seed: 0)
    plan.states.mark(0, .down)
    plan.states.mark(1, .down)
    #expect(balancer.counts(100, of: 4) == [0, 0, 50, 50])
    plan.states.mark(2, .down)
    #expect(balancer.counts(100, of: 4) == [25, 25, 25, 25])
    plan.states.mark(0, .unresolved)
    #expect(balancer.counts(99, of: 4) == [0, 33, 33, 33])
  }

  @Test(arguments: BalanceKind.allCases) func nobodyGetsMoreThanItsLimit(_ kind: BalanceKind) {
    let limits: [UInt32] = [3, 0, 20, 1]
    let plan = BalanceBench.plan(kind, limits.map { .init(limit: $0) })
    var balancer = Balancer(plan, seed: 0)
    for pick in 0..<200 {
      guard case .server(let server) = balancer.choose(0, source: UInt64(pick) << 50, nowMs: 0)
      else { return #expect(Bool(false), "the second has no limit") }
      #expect(plan.states.load.take(server, limit: limits[server]))
    }
    #expect([0, 2, 3].allSatisfy { plan.states.load.count($0) <= limits[$0] })
    plan.states.mark(1, .drained)
    for server in [0, 2, 3] {
      while plan.states.load.take(server, limit: limits[server]) {}
    }
    #expect(balancer.choose(0, source: 9, nowMs: 0) == .full)
    plan.states.load.give(2)
    for _ in 0..<20 { #expect(balancer.choose(0, source: 9, nowMs: 0) == .server(2)) }
  }

  @Test func leastConnectionsFillWhatIsEmptiest() {
    let plan = BalanceBench.plan(.leastConnections, weights: [1, 1, 4])
    var balancer = Balancer(plan, seed: 0)
    for _ in 0..<5 { _ = plan.states.load.take(0) }
    // Until the others have as many for their weight.
    for _ in 0..<25 {
      guard case .server(let server) = balancer.choose(0, source: nil, nowMs: 0) else { break }
      #expect(server != 0)
      _ = plan.states.load.take(server)
    }
    #expect((0..<3).map { plan.states.load.count($0) } == [5, 5, 20])
    for _ in 0..<60 {
      guard case .server(let server) = balancer.choose(0, source: nil, nowMs: 0) else { break }
      _ = plan.states.load.take(server)
    }
    #expect((0..<3).map { plan.states.load.count($0) } == [15, 15, 60])
  }

  /// A server that has been busy for long and then is not gets no burst of what it missed.
  @Test func nothingIsOwedToWhoWasBusy() {
    let plan = BalanceBench.plan(.leastConnections, weights: [1, 1])
    var balancer = Balancer(plan, seed: 0)
    _ = plan.states.load.take(0)
    #expect(balancer.counts(1000, of: 2) == [0, 1000])
    plan.states.load.give(0)
    #expect((49...51).contains(balancer.counts(100, of: 2)[0]))
  }

  /// The most of n servers with n connections each placed by two choices is far below that of one
  /// choice. Mitzenmacher, "The power of two choices in randomized load balancing", 2001.
  @Test func twoChoicesAreNearlyEven() {
    let count = 100
    let plan = BalanceBench.plan(.twoChoices, weights: Array(repeating: 1, count: count))
    var balancer = Balancer(plan, seed: 5)
    for _ in 0..<100 * count {
      guard case .server(let server) = balancer.choose(0, source: nil, nowMs: 0) else { break }
      _ = plan.states.load.take(server)
    }
    let loads = (0..<count).map { plan.states.load.count($0) }
    #expect(loads.max() ?? 0 <= 104 && loads.min() ?? 0 >= 94, "\(loads)")
  }

  @Test(arguments: [BalanceKind.roundRobin, .leastConnections, .twoChoices])
  func slowStart(_ kind: BalanceKind) {
    let plan = BalanceBench.plan(
      kind, Array(repeating: .init(), count: 4), slowStartMs: 30_000)
    var balancer = Balancer(plan, seed: 0)
    plan.states.mark(0, .down)
    _ = balancer.counts(100, of: 4)
    plan.states.unmark(0, .down, nowMs: 1_000_000)
    // Its part of a share is the part of the time that has passed; a sixteenth at first.
    for (afterMs, part) in [(0, 1 / 16), (7_500, 0.25), (15_000, 0.5), (30_000, 1), (90_000, 1)] {
      let counts = balancer.counts(20_000, of: 4, nowMs: UInt64(1_000_000 + afterMs))
      let share = Double(counts[0]) / Double(counts[1] + counts[2] + counts[3]) * 3
      #expect(abs(share - part) < 0.1 * part + 0.01, "\(afterMs) ms: \(counts)")
    }
  }

  @Test func aFailedDialGoesToEachOtherServerOnce() {
    let plan = BalanceBench.plan(
      .roundRobin, Array(repeating: .init(), count: 9) + [.init(isBackup: true)])
    for spread in 0..<50 {
      var tried = [4]
      while tried.count < 9 {
        let next = plan.another(
          than: tried[tried.count - 1], of: 0, tries: tried.count, spread: UInt64(spread))
        guard case .server(let server) = next else { return #expect(Bool(false)) }
        tried.append(server)
      }
      #expect(Set(tried) == Set(0..<9), "\(tried)")
      // When all have failed, the backup.
      #expect(
        plan.another(than: tried[8], of: 0, tries: 9, spread: UInt64(spread)) == .server(9))
    }
    // And not all go to the same one first.
    let firsts = (0..<50).map { plan.another(than: 4, of: 0, tries: 1, spread: UInt64($0)) }
    #expect((0..<10).filter { firsts.contains(.server($0)) } == [0, 1, 2, 3, 5, 6, 7, 8])
  }

  @Test func aRetryAvoidsWhatIsDownOrFull() {
    let plan = BalanceBench.plan(
      .roundRobin, [.init(), .init(), .init(limit: 1), .init(weight: 0), .init()])
    plan.states.mark(1, .down)
    _ = plan.states.load.take(2)
    for spread in 0..<20 {
      #expect(plan.another(than: 0, of: 0, tries: 1, spread: UInt64(spread)) == .server(4))
    }
    plan.states.mark(4, .drained)
    // The one that failed is up as far as anybody knows; better than one known to be down.
    #expect(plan.another(than: 0, of: 0, tries: 1, spread: 0) == .server(0))
    plan.states.mark(0, .down)
    #expect(plan.another(than: 0, of: 0, tries: 1, spread: 0) != .none)
    plan.states.mark(0, .drained)
    plan.states.mark(1, .drained)
    #expect(plan.another(than: 0, of: 0, tries: 1, spread: 0) == .full)
    plan.states.load.give(2)
    #expect(plan.another(than: 0, of: 0, tries: 1, spread: 0) == .server(2))
  }
}

/// The same numbers every time.
struct SeededNumbers {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return state ^ state >> 29
  }
}
