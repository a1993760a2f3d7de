/// Chooses servers. One balancer belongs to one worker; what the workers share it reads from the
/// plan's `ServerStates`. No lock, no clock and no allocation per choice.
///
/// Turns are kept by virtual time: each server has the time of its next turn, which moves on by the
/// inverse of its weight when it is chosen (Demers and others, "Analysis and simulation of a fair
/// queueing algorithm", SIGCOMM 1989). Whatever the algorithm, a chosen server's turn moves on, so
/// that a tie goes to the one that has waited longest for its weight.
///
/// Of each backend a balancer keeps the list of servers that may be chosen, made anew when the
/// states have changed. It is a heap by turn, so that one of n servers in turn takes log n steps.
/// Least connections look at all of them, unless the first is idle; two choices at two; the hash of
/// a source at one.
package struct Balancer: ~Copyable {
  private let plan: BalancePlan
  /// By backend.
  private var fronts: [Front]
  /// By place of a server: its next turn, above its place in the backend, which breaks ties.
  /// Compared by difference, so that it may overflow.
  private var turns: [UInt64]
  /// The usable servers of each backend, from where its servers begin in the plan.
  private var usable: [Int32]
  /// As long as `usable`: the sum of the weights up to there.
  private var sums: [UInt32]
  private var random: RandomNumbers

  /// What is kept of a backend.
  private struct Front {
    let kind: BalanceKind
    /// Where its servers begin in the plan.
    let first: Int
    /// Whether its list is a heap; for two choices it stays in the order of `sums`.
    let keepsHeap: Bool
    let slowStartMs: UInt64
    /// Of the states, when the list was made; 0 is never.
    var version: UInt64 = 0
    /// Of the servers in the list.
    var count = 0
    /// The last turn that was given.
    var clock: UInt64 = 0
    /// Until then some server in the list has only a part of its share.
    var rampsUntilMs: UInt64 = 0
    /// What the list is of.
    var tier = Tier.primary

    init(_ backend: BalancePlan.Backend) {
      kind = backend.kind
      keepsHeap = backend.kind != .twoChoices
      first = backend.servers.lowerBound
      slowStartMs = UInt64(backend.slowStartMs)
    }
  }

  private enum Tier { case primary, backup, panic }

  package enum Choice: Sendable, Equatable {
    /// A place in the plan's servers.
    case server(Int)
    /// All that could be chosen have as many connections as they may.
    case full
    /// None may be chosen.
    case none
  }

  /// The part of its share that a server begins its slow start with, so that it gets some at all.
  private static let leastPart: UInt64 = 16
  /// Full servers that are passed over in turn before all are looked at.
  private static let passedOver = 8

  /// - Parameter seed: where turns begin and what is random, so that workers do not all begin with
  ///   the first server.
  package init(_ plan: BalancePlan, seed: Int) {
    self.plan = plan
    random = RandomNumbers(seed: UInt64(truncatingIfNeeded: seed))
    fronts = plan.backends.map { Front($0) }
    turns = plan.servers.map { _ in 0 }
    usable = plan.servers.map { _ in 0 }
    sums = plan.servers.map { _ in 0 }
    for backend in plan.backends {
      for (offset, server) in backend.servers.enumerated() {
        let place = (offset + backend.servers.count - seed % backend.servers.count)
        // Half a step in: the turns of a heavy one stand on both sides of a light one's.
        turns[server] =
          (plan.servers[server].step / 2) & ~0xffff | UInt64(place % backend.servers.count)
      }
    }
  }

  /// The same, but backends whose servers and weights are what they were go on where they stood.
  ///
  /// - Parameter formers: by backend, what it is in `former`; nil for a new one.
  package init(
    _ plan: BalancePlan, seed: Int, continuing former: borrowing Balancer, _ formers: [Int?]
  ) {
    self.init(plan, seed: seed)
    for (index, place) in formers.enumerated() {
      guard let place else { continue }
      let (was, now) = (former.plan.backends[place].servers, plan.backends[index].servers)
      let isSame =
        was.count == now.count
        && zip(was, now).allSatisfy { was, now in
          let (old, new) = (former.plan.servers[was], plan.servers[now])
          return old.number == new.number && old.weight == new.weight
        }
      guard isSame else { continue }
      for (old, new) in zip(was, now) { turns[new] = former.turns[old] }
      fronts[index].clock = former.fronts[place].clock
    }
  }

  /// Chooses the server of a new connection.
  ///
  /// - Parameters:
  ///   - source: `BalancePlan.hash(source:)` of the client; without it a source's hash is in turn.
  ///   - nowMs: the clock that `ServerStates.unmark` was given, for the slow start.
  package mutating func choose(_ backend: Int, source: UInt64?, nowMs: UInt64) -> Choice {
    if fronts[backend].version != plan.states.version { makeList(backend, nowMs) }
    guard fronts[backend].count > 0 else { return .none }
    switch fronts[backend].kind {
    case .roundRobin: return inTurn(backend, nowMs)
    case .leastConnections: return least(backend, nowMs)
    case .twoChoices: return ofTwo(backend, nowMs)
    case .sourceHash:
      guard let source else { return inTurn(backend, nowMs) }
      return bySource(backend, source, nowMs)
    }
  }

  // ---- algorithms --------------------------------------------------------------------------

  /// The top of the heap, unless it is full; then its turn has passed all the same.
  private mutating func inTurn(_ backend: Int, _ nowMs: UInt64) -> Choice {
    let first = fronts[backend].first
    for _ in 0..<min(Balancer.passedOver, fronts[backend].count) {
      let server = Int(usable[first])
      moveOn(server, backend, nowMs)
      sink(0, backend)
      if !isFull(server) { return .server(server) }
    }
    return least(backend, nowMs)
  }

  private mutating func least(_ backend: Int, _ nowMs: UInt64) -> Choice {
    let first = fronts[backend].first
    let top = Int(usable[first])
    // Without a connection, and with the earliest turn, it can't be beaten.
    let isIdle =
      fronts[backend].keepsHeap && plan.states.load.count(plan.servers[top].number) == 0
    guard let index = isIdle ? 0 : emptiest(backend, nowMs) else { return .full }
    let server = Int(usable[first + index])
    moveOn(server, backend, nowMs)
    if fronts[backend].keepsHeap { sink(index, backend) }
    return .server(server)
  }

  /// The place in the list of the one with the fewest connections for its weight; among equals, of
  /// the earliest turn. Nil when all are full.
  private func emptiest(_ backend: Int, _ nowMs: UInt64) -> Int? {
    let first = fronts[backend].first
    let list = usable.span.extracting(first..<first + fronts[backend].count)
    let servers = plan.servers.span
    let turns = turns.span
    let loads = plan.states.load.span
    let isRamping = nowMs < fronts[backend].rampsUntilMs
    var (best, found) = (-1, -1)
    var lowest = UInt64.max
    for index in list.indices {
      let place = Int(list[index])
      let server = servers[place]
      let load = loads[server.number]
      if server.limit > 0, load >= UInt64(server.limit) { continue }
      let cost = load &* (isRamping ? rampedStep(place, backend, nowMs) : server.step) >> 16
      if cost > lowest { continue }
      if cost == lowest, Int64(bitPattern: turns[place] &- turns[best]) >= 0 { continue }
      (best, found) = (place, index)
      lowest = cost
    }
    return found < 0 ? nil : found
  }

  private mutating func ofTwo(_ backend: Int, _ nowMs: UInt64) -> Choice {
    let first = fronts[backend].first
    let count = fronts[backend].count
    let one = draw(backend, nowMs)
    var chosen = Int(usable[first + one])
    if count > 1 {
      var two = draw(backend, nowMs)
      if two == one {
        // Any other: weights have had their say in the first.
        two = (one + 1 + Int(random.next(below: UInt64(count - 1)))) % count
      }
      let other = Int(usable[first + two])
      let isCheaper = cost(other, backend, nowMs) < cost(chosen, backend, nowMs)
      if isFull(chosen) || (isCheaper && !isFull(other)) { chosen = other }
    }
    guard isFull(chosen) else { return .server(chosen) }
    return least(backend, nowMs)
  }

  private mutating func bySource(_ backend: Int, _ source: UInt64, _ nowMs: UInt64) -> Choice {
    let rule = plan.backends[backend]
    if fronts[backend].tier == .primary, let maglev = rule.maglev {
      var hash = source
      // Where its server is not usable, another entry is drawn, and so on: each source of that
      // server finds one of its own, and no other source moves.
      for _ in 0..<Balancer.redraws {
        let server = Int(rule.primaries[maglev.member(for: hash)])
        if plan.states.marks(plan.servers[server].number).isEmpty, !isFull(server) {
          return .server(server)
        }
        hash = mix(hash)
      }
    }
    return byRendezvous(backend, source)
  }

  /// Entries drawn before all servers are looked at: with nine of ten down, one source in five is
  /// left by then.
  private static let redraws = 16

  /// The highest of the numbers that the source makes with each server. Thaler and Ravishankar,
  /// "Using name-based mappings to increase hit rates", 1998. Weights are not seen.
  private func byRendezvous(_ backend: Int, _ source: UInt64) -> Choice {
    let first = fronts[backend].first
    var best: Int?
    var highest: UInt64 = 0
    for index in first..<first + fronts[backend].count {
      let server = Int(usable[index])
      let number = mix(source ^ plan.servers[server].hash)
      guard best == nil || number > highest, !isFull(server) else { continue }
      best = server
      highest = number
    }
    return best.map { .server($0) } ?? .full
  }

  // ---- servers -----------------------------------------------------------------------------

  private func isFull(_ server: Int) -> Bool {
    let rule = plan.servers[server]
    return rule.limit > 0 && plan.states.load.count(rule.number) >= Int(rule.limit)
  }

  /// Connections for a part of the weight.
  private func cost(_ server: Int, _ backend: Int, _ nowMs: UInt64) -> UInt64 {
    let isRamping = nowMs < fronts[backend].rampsUntilMs
    let step = isRamping ? rampedStep(server, backend, nowMs) : plan.servers[server].step
    return UInt64(plan.states.load.count(plan.servers[server].number)) &* (step >> 16)
  }

  /// A server in its slow start gets a part of its share that grows with time.
  private func rampedStep(_ server: Int, _ backend: Int, _ nowMs: UInt64) -> UInt64 {
    let rampMs = fronts[backend].slowStartMs
    let since = plan.states.recoveredMs(plan.servers[server].number)
    guard since > 0, nowMs < since &+ rampMs else { return plan.servers[server].step }
    let elapsed = max(nowMs > since ? nowMs - since : 0, rampMs / Balancer.leastPart, 1)
    return ((plan.servers[server].step >> 16) &* rampMs / elapsed) << 16
  }

  private func isEarlier(_ one: Int, _ other: Int) -> Bool {
    Int64(bitPattern: turns[one] &- turns[other]) < 0
  }

  /// It was chosen: its next turn is a step after this one. What it missed by being busy or away
  /// does not count as owed to it.
  private mutating func moveOn(_ server: Int, _ backend: Int, _ nowMs: UInt64) {
    let place = turns[server] & 0xffff
    var now = turns[server] & ~0xffff
    let clock = fronts[backend].clock
    if Int64(bitPattern: now &- clock) < 0 { now = clock } else { fronts[backend].clock = now }
    let isRamping = nowMs < fronts[backend].rampsUntilMs
    let step = isRamping ? rampedStep(server, backend, nowMs) : plan.servers[server].step
    turns[server] = (now &+ step) | place
  }

  /// A place in the list, as often as its server's weight says.
  private mutating func draw(_ backend: Int, _ nowMs: UInt64) -> Int {
    let first = fronts[backend].first
    let count = fronts[backend].count
    let total = UInt64(sums[first + count - 1])
    let isRamping = nowMs < fronts[backend].rampsUntilMs
    var found = 0
    for _ in 0..<4 {
      found = 0
      if total == UInt64(count) {
        found = Int(random.next(below: total))
      } else {
        let wanted = UInt32(truncatingIfNeeded: random.next(below: total))
        var above = count - 1
        while found < above {
          let middle = (found + above) / 2
          if sums[first + middle] > wanted { above = middle } else { found = middle + 1 }
        }
      }
      guard isRamping else { break }
      // Drawn again as often as its share is still smaller.
      let server = Int(usable[first + found])
      let step = plan.servers[server].step
      if random.next(below: rampedStep(server, backend, nowMs)) < step { break }
    }
    return found
  }

  // ---- the list ----------------------------------------------------------------------------

  /// Looks at the states of all servers of a backend.
  private mutating func makeList(_ backend: Int, _ nowMs: UInt64) {
    let rule = plan.backends[backend]
    // Read before the states, so that what changes meanwhile is seen next time.
    fronts[backend].version = plan.states.version
    let hadList = fronts[backend].count > 0
    fronts[backend].tier = .primary
    let found = list(rule.primaries, backend, tolerating: [])
    // Those of weight 0 are not expected to serve.
    let expected = rule.primaries.count { plan.servers[Int($0)].weight > 0 }
    if found * 100 < rule.panicPercent * expected {
      fronts[backend].tier = .panic
      _ = list(rule.primaries, backend, tolerating: .doubted)
    } else if found == 0 {
      fronts[backend].tier = .backup
      if list(rule.backups, backend, tolerating: []) == 0 {
        // To try one that may be up again is better than to turn everybody away.
        fronts[backend].tier = .panic
        _ = list(rule.primaries, backend, tolerating: .doubted)
      }
    }
    let first = rule.servers.lowerBound
    let clock = fronts[backend].clock
    fronts[backend].rampsUntilMs = 0
    for index in first..<first + fronts[backend].count {
      let server = Int(usable[index])
      let since = plan.states.recoveredMs(plan.servers[server].number)
      if since > 0, rule.slowStartMs > 0 {
        let until = since &+ UInt64(rule.slowStartMs)
        fronts[backend].rampsUntilMs = max(fronts[backend].rampsUntilMs, until)
      }
      // Who was away comes in at the end of the round.
      if hadList, Int64(bitPattern: (turns[server] & ~0xffff) &- clock) < 0 {
        turns[server] = (clock &+ plan.servers[server].step) | turns[server] & 0xffff
      }
    }
    heapify(backend)
  }

  /// - Returns: how many of `servers` may be chosen; they are the list then.
  private mutating func list(
    _ servers: [Int32], _ backend: Int, tolerating tolerated: ServerStates.Marks
  ) -> Int {
    let first = fronts[backend].first
    var count = 0
    var sum: UInt32 = 0
    for place in servers {
      let server = plan.servers[Int(place)]
      guard server.weight > 0, plan.states.marks(server.number).isSubset(of: tolerated) else {
        continue
      }
      sum += UInt32(server.weight)
      usable[first + count] = place
      sums[first + count] = sum
      count += 1
    }
    fronts[backend].count = count
    return count
  }

  // ---- the heap: the earliest turn is the first of the list -------------------------------------

  private mutating func heapify(_ backend: Int) {
    guard fronts[backend].keepsHeap else { return }
    var index = fronts[backend].count / 2
    while index > 0 {
      index -= 1
      sink(index, backend)
    }
  }

  private mutating func sink(_ start: Int, _ backend: Int) {
    let first = fronts[backend].first
    let count = fronts[backend].count
    let sinking = usable[first + start]
    var index = start
    while true {
      var child = 2 * index + 1
      guard child < count else { break }
      if child + 1 < count,
        isEarlier(Int(usable[first + child + 1]), Int(usable[first + child]))
      {
        child += 1
      }
      guard isEarlier(Int(usable[first + child]), Int(sinking)) else { break }
      usable[first + index] = usable[first + child]
      index = child
    }
    usable[first + index] = sinking
  }
}
