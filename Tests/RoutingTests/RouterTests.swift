import Routing
import Testing
import Wire

@Suite struct RouterTests {
  /// Backends with so many servers each; one listener per backend.
  private func table(_ counts: [Int], retries: Int = 2) -> RouteTable {
    var servers: [ServerEntry] = []
    var backends: [BackendEntry] = []
    for (index, count) in counts.enumerated() {
      let first = servers.count
      for number in 0..<count {
        servers.append(
          ServerEntry(
            name: "\(index).\(number)", address: .ipv4(0x7f00_0001, port: UInt16(servers.count))))
      }
      backends.append(
        BackendEntry(
          name: "b\(index)", servers: first..<servers.count, retries: retries, header: .none,
          splice: .inline, source: nil, congestion: ""))
    }
    let listeners = counts.indices.map { index in
      ListenerEntry(
        name: "l\(index)", backend: index, connectMs: 0, idleMs: 0, halfClosedMs: 0, maxAgeMs: 0)
    }
    return RouteTable(listeners: listeners, backends: backends, servers: servers)
  }

  private func failure(
    _ backend: Int, _ server: Int, tries: Int, _ error: DialError = .refused
  ) -> DialFailure {
    DialFailure(backend: backend, server: server, tries: tries, error: error)
  }

  @Test func eachServerInTurn() {
    var router = Router(table([3]), seed: 0)
    let servers = (0..<7).map { _ in router.decide(.accepted(listener: 0)) }
    #expect(servers == [0, 1, 2, 0, 1, 2, 0].map { .route(backend: 0, server: $0) })
  }

  /// Servers of a backend are a range in the middle of all servers; backends take turns apart.
  @Test func backendsBalanceApart() {
    var router = Router(table([2, 3, 1]), seed: 0)
    var answers: [Answer] = []
    for listener in [1, 0, 1, 2, 1, 0, 1, 2, 0] {
      answers.append(router.decide(.accepted(listener: listener)))
    }
    let expected = [(1, 2), (0, 0), (1, 3), (2, 5), (1, 4), (0, 1), (1, 2), (2, 5), (0, 0)]
    #expect(answers == expected.map { .route(backend: $0.0, server: $0.1) })
  }

  /// Workers begin at different servers, so that few connections do not all meet the first.
  @Test func theSeedIsWhereItStarts() {
    for seed in 0..<8 {
      var router = Router(table([3]), seed: seed)
      #expect(router.decide(.accepted(listener: 0)) == .route(backend: 0, server: seed % 3))
      #expect(router.decide(.accepted(listener: 0)) == .route(backend: 0, server: (seed + 1) % 3))
    }
  }

  @Test func aListenerThatIsNotThere() {
    var router = Router(table([1]), seed: 0)
    #expect(router.decide(.accepted(listener: 1)) == .reject(.noRoute))
    #expect(router.decide(.accepted(listener: -1)) == .reject(.noRoute))
  }

  @Test func aFailedDialGoesToTheNextServerAndWrapsAround() {
    var router = Router(table([1, 3]), seed: 0)
    for (server, next) in [(1, 2), (2, 3), (3, 1)] {
      #expect(
        router.decide(.dialFailed(failure(1, server, tries: 1)))
          == .route(backend: 1, server: next))
    }
    // One server alone is tried again itself.
    #expect(
      router.decide(.dialFailed(failure(0, 0, tries: 1))) == .route(backend: 0, server: 0))
    // A retry is not a turn: the next connection gets the server it would have got anyway.
    #expect(router.decide(.accepted(listener: 1)) == .route(backend: 1, server: 1))
  }

  @Test(arguments: [0, 1, 2, 5])
  func triesAreSpent(_ retries: Int) {
    var router = Router(table([2], retries: retries), seed: 0)
    var server = 0
    for tries in 1...retries + 1 {
      let answer = router.decide(.dialFailed(failure(0, server, tries: tries)))
      if tries <= retries {
        server = 1 - server
        #expect(answer == .route(backend: 0, server: server))
      } else {
        #expect(answer == .reject(.dialRefused))
      }
    }
  }

  @Test func theLastErrorIsTheReason() {
    var router = Router(table([2], retries: 0), seed: 0)
    let expected: [(DialError, RejectReason)] = [
      (.refused, .dialRefused), (.timedOut, .dialTimeout), (.unreachable, .dialUnreachable),
      (.noLocalAddress, .dialNoLocalAddress), (.reset, .dialReset),
      (.noConsent, .noConsent), (.handshake, .dialTLS), (.other, .dialFailed),
    ]
    #expect(expected.count == DialError.allCases.count)
    for (error, reason) in expected {
      #expect(router.decide(.dialFailed(failure(0, 0, tries: 1, error))) == .reject(reason))
    }
  }

  /// Indexes that the table does not have are no reason to trap.
  @Test func indexesOfAnotherTable() {
    var router = Router(table([2]), seed: 0)
    #expect(router.decide(.dialFailed(failure(7, 0, tries: 1))) == .reject(.noRoute))
    #expect(router.decide(.dialFailed(failure(0, 9, tries: 1))) == .reject(.dialRefused))
  }

  @Test func installSwapsTheTable() {
    let old = table([1, 2])
    var router = Router(old, seed: 1)
    #expect(router.decide(.accepted(listener: 1)) == .route(backend: 1, server: 2))
    router.install(table([3]), seed: 2)
    #expect(router.table.servers.count == 3)
    #expect(router.decide(.accepted(listener: 0)) == .route(backend: 0, server: 2))
    #expect(router.decide(.accepted(listener: 0)) == .route(backend: 0, server: 0))
    #expect(router.decide(.accepted(listener: 1)) == .reject(.noRoute))
    // A connection that the old table routed is retried under the old table.
    #expect(
      router.decide(.dialFailed(failure(1, 1, tries: 1)), under: old)
        == .route(backend: 1, server: 2))
    #expect(
      router.decide(.dialFailed(failure(1, 2, tries: 3)), under: old) == .reject(.dialRefused))
  }

  /// So is one whose first bytes were waited for meanwhile.
  @Test func aHeldConnectionStaysInItsTable() {
    let old = table([1, 2])
    var router = Router(old, seed: 0)
    router.install(table([3]), seed: 0)
    let answers = (0..<100).map { _ in router.decide(.accepted(listener: 1), under: old) }
    let first = answers.count { $0 == .route(backend: 1, server: 1) }
    let second = answers.count { $0 == .route(backend: 1, server: 2) }
    #expect(first + second == 100 && min(first, second) > 20)
    // The turns of those in force are not touched.
    #expect(router.decide(.accepted(listener: 0)) == .route(backend: 0, server: 0))
  }

  private func table(weights: [Int]) -> RouteTable {
    RouteTable(
      listeners: [
        ListenerEntry(
          name: "l", backend: 0, connectMs: 1, idleMs: 0, halfClosedMs: 0, maxAgeMs: 0)
      ],
      backends: [
        BackendEntry(
          name: "b", servers: 0..<weights.count, retries: 5, header: .none, splice: .inline,
          source: nil, congestion: "")
      ],
      servers: weights.enumerated().map {
        ServerEntry(
          name: "s\($0.offset)", address: .ipv4(1, port: UInt16($0.offset)),
          weight: $0.element)
      })
  }

  private func servers(_ router: inout Router, _ count: Int) -> [Int] {
    (0..<count).map { _ in
      guard case .route(_, let server) = router.decide(.accepted(listener: 0)) else { return -1 }
      return server
    }
  }

  /// In every round each server has as many as its weight says, and they alternate.
  @Test func sharesFollowTheWeights() {
    var router = Router(table(weights: [5, 1, 1]), seed: 0)
    let round = servers(&router, 7)
    #expect(round.count { $0 == 0 } == 5 && round.count { $0 == 1 } == 1)
    #expect(round == [0, 0, 0, 1, 2, 0, 0])
    #expect(servers(&router, 7) == round)
    var other = Router(table(weights: [256, 128]), seed: 3)
    #expect(servers(&other, 384).count { $0 == 0 } == 256)
  }

  /// A server without weight gets nothing, not even a retry; a backend of none turns away.
  @Test func withoutWeightThereIsNoServer() {
    var router = Router(table(weights: [0, 2, 0, 2]), seed: 0)
    #expect(servers(&router, 4) == [1, 3, 1, 3])
    #expect(
      router.decide(.dialFailed(failure(0, 1, tries: 1))) == .route(backend: 0, server: 3))
    let drained = table(weights: [0, 0])
    router.install(drained, seed: 0)
    #expect(router.decide(.accepted(listener: 0)) == .reject(.noServer))
    #expect(router.decide(.dialFailed(failure(0, 1, tries: 1))) == .reject(.dialRefused))
    router.install(table(weights: [1]), seed: 0)
    #expect(router.decide(.accepted(listener: 0), under: drained) == .reject(.noServer))
    #expect(RejectReason.noServer.code == "backend.no-server")
  }

  /// A table that says the same of a backend takes nobody's turn.
  @Test func turnsOutliveATableThatChangesNothing() {
    var router = Router(table(weights: [1, 1, 1]), seed: 0)
    #expect(servers(&router, 2) == [0, 1])
    router.install(table(weights: [1, 1, 1]), seed: 0)
    #expect(servers(&router, 2) == [2, 0])
    router.install(table(weights: [1, 1, 2]), seed: 0)
    #expect(servers(&router, 1) == [2])
  }

  @Test func theBackendOfAServer() {
    let table = table([2, 1, 3])
    #expect((0..<6).map { table.backend(ofServer: $0) } == [0, 0, 1, 2, 2, 2])
  }
}

@Suite struct RejectReasonTests {
  @Test func codesAndNumbersAreUnique() {
    let all = RejectReason.all
    #expect(Set(all.map(\.code)).count == all.count)
    #expect(Set(all.map(\.number)).count == all.count)
    for reason in all { #expect(RejectReason(number: reason.number) == reason) }
    // 0 is what a connection has that nobody rejected.
    #expect(RejectReason(number: 0) == nil)
  }

  /// Log lines, metric labels and docs share them: lower case, one dot, words with hyphens.
  @Test(arguments: RejectReason.all)
  func aCodeIsAWordAndAWord(_ reason: RejectReason) {
    let parts = reason.code.split(separator: ".", omittingEmptySubsequences: false)
    #expect(parts.count == 2)
    for part in parts {
      #expect(!part.isEmpty)
      #expect(part.allSatisfy { ("a"..."z").contains($0) || ("0"..."9").contains($0) || $0 == "-" })
    }
  }
}
