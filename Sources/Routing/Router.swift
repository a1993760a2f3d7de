package import Wire

/// Decides about connections. Pure: no input or output, no lock, no clock, no allocation. What all
/// workers know together (how many connections a server has, whether it is up) it reads from the
/// table's `SharedLoad`.
///
/// One router belongs to one worker; what it remembers between decisions is only where the
/// balancing of each backend stands. `install` swaps the table between two turns.
package struct Router: ~Copyable {
  package private(set) var table: RouteTable
  private var balancer: Balancer
  /// Spreads what comes in under older tables.
  private var random: RandomNumbers
  /// By backend.
  private var budgets: [RetryBudget]
  /// Milliseconds of a clock that is never set, for slow starts. Whoever asks keeps it going.
  package var nowMs: UInt64 = 0

  /// - Parameter seed: where the balancing starts, so that workers do not all begin with the
  ///   first server.
  package init(_ table: RouteTable, seed: Int) {
    self.table = table
    balancer = Balancer(table.balance, seed: seed)
    random = RandomNumbers(seed: UInt64(truncatingIfNeeded: seed))
    budgets = table.backends.map { _ in RetryBudget() }
  }

  /// Backends whose servers and weights are what they were go on where they stood.
  package mutating func install(_ table: RouteTable, seed: Int) {
    var older: [Int: Int] = [:]
    for (index, series) in self.table.series.backends.enumerated() { older[series] = index }
    let formers = table.series.backends.map { older[$0] }
    balancer = Balancer(table.balance, seed: seed, continuing: balancer, formers)
    budgets = formers.map { former in former.map { budgets[$0] } ?? RetryBudget() }
    self.table = table
  }

  package mutating func decide(_ ask: Ask) -> Answer { decide(ask, under: table) }

  /// The answer under the table that a connection was accepted under: its indexes mean nothing in
  /// one that was installed meanwhile.
  ///
  /// - Parameters:
  ///   - client: whose it is, where that is known.
  ///   - local: the address it reached, likewise.
  package mutating func decide(
    _ ask: Ask, under table: RouteTable, for client: SocketAddress? = nil,
    at local: SocketAddress? = nil
  ) -> Answer {
    switch ask {
    case .accepted(let listener):
      let facts = RuleFacts(client: client, local: local)
      return choose(Router.choice(facts, listener, under: table), for: client, under: table)
    case .hello(let listener, let hello):
      let facts = RuleFacts(hello: hello, client: client, local: local)
      return choose(Router.choice(facts, listener, under: table), for: client, under: table)
    case .dialFailed(let failure):
      return again(after: failure, under: table)
    }
  }

  /// Where a listener's rules send a connection, and its own backend those that none takes.
  package static func choice(
    _ facts: RuleFacts, _ listener: Int, under table: RouteTable
  ) -> RouteChoice {
    guard table.listeners.indices.contains(listener) else { return .init(nil, .reject(.noRoute)) }
    // Nothing is to be looked at in the entry, which would have to be kept for that long.
    if facts.hello == nil, let backend = table.onlyBackend(ofListener: listener) {
      return .init(nil, .backend(backend))
    }
    if let hello = facts.hello, let reason = fault(of: hello, listener, table) {
      return .init(nil, .reject(reason))
    }
    if let rule = table.listeners[listener].conditions?.first(facts) {
      switch table.listeners[listener].rules[rule].action {
      case .backend(let backend): return .init(rule, .backend(backend))
      case .reject: return .init(rule, .reject(.ruleRejected))
      case .close: return .init(rule, .reject(.ruleClosed))
      }
    }
    return .init(nil, table.listeners[listener].backend.map { .backend($0) } ?? .reject(.noRoute))
  }

  /// Why a client is turned away before any rule is asked, and before its TLS begins.
  package static func fault(
    of hello: HelloFacts, _ listener: Int, _ table: RouteTable
  ) -> RejectReason? {
    fault(of: hello, table.listeners[listener].hello ?? HelloPolicy())
  }

  /// Why a client is turned away before any rule is asked.
  private static func fault(of hello: HelloFacts, _ policy: HelloPolicy) -> RejectReason? {
    switch hello.form {
    // There is nobody to serve.
    case .noHello(.helloProbe): .helloProbe
    case .noHello(let reason) where policy.notTLS == .reject: reason
    case .unnamed where policy.withoutName == .reject: .helloUnnamed
    case .misnamed where policy.withoutName == .reject: .helloMisnamed
    case .named, .unnamed, .misnamed, .noHello: nil
    }
  }

  /// The server that a choice comes to.
  package mutating func choose(
    _ choice: RouteChoice, for client: SocketAddress?, under table: RouteTable
  ) -> Answer {
    switch choice.target {
    case .backend(let backend): choose(backend, for: client, under: table)
    case .reject(let reason): .reject(reason)
    }
  }

  /// The server for a connection to a backend, whatever sent it there.
  package mutating func choose(
    _ backend: Int, for client: SocketAddress?, under table: RouteTable
  ) -> Answer {
    guard table === self.table else {
      // Few are in between; each begins with any server.
      let servers = table.backends[backend].servers
      let any = servers.lowerBound + Int(random.next(below: UInt64(servers.count)))
      let choice = table.balance.another(than: any, of: backend, tries: 0, spread: random.next())
      return Answer(choice, of: backend)
    }
    let source = client.flatMap { BalancePlan.hash(source: $0) }
    return Answer(balancer.choose(backend, source: source, nowMs: nowMs), of: backend)
  }

  /// A connection that was not at any server before is dialled to one of the backend's: retries are
  /// a share of these.
  package mutating func began(_ backend: Int, under table: RouteTable) {
    if table === self.table { budgets[backend].note(nowMs: nowMs) }
  }

  /// Another server than the one that failed, until the connection's tries are spent or the
  /// backend's budget is.
  private mutating func again(after failure: DialFailure, under table: RouteTable) -> Answer {
    guard table.backends.indices.contains(failure.backend) else { return .reject(.noRoute) }
    let backend = table.backends[failure.backend]
    guard failure.tries <= backend.retries, backend.servers.contains(failure.server) else {
      return .reject(failure.error.reason)
    }
    let choice = table.balance.another(
      than: failure.server, of: failure.backend, tries: failure.tries, spread: failure.spread,
      apart: failure.apart)
    // That all others are down is not why this connection failed.
    guard case .server = choice else { return .reject(failure.error.reason) }
    // Under an older table there are few.
    guard
      table !== self.table
        || budgets[failure.backend].take(percent: backend.retryPercent, nowMs: nowMs)
    else { return .reject(failure.error.reason) }
    return Answer(choice, of: failure.backend)
  }

  /// A server to be dialled beside one that is slow: of the same name and the other family. It
  /// counts as one of the connection's further tries, though the budget is asked only by
  /// `mayRace`, once there is a place for it.
  package func rival(
    of server: Int, tries: Int, spread: UInt64, under table: RouteTable
  ) -> Int? {
    let backend = table.backends[table.backend(ofServer: server)]
    guard tries <= backend.retries else { return nil }
    return table.balance.otherFamily(than: server, spread: spread)
  }

  /// Takes a further try out of the backend's budget; false when it is spent.
  package mutating func mayRace(_ backend: Int, under table: RouteTable) -> Bool {
    // Under an older table there are few.
    guard table === self.table else { return true }
    return budgets[backend].take(percent: table.backends[backend].retryPercent, nowMs: nowMs)
  }
}

/// A question about one connection.
package enum Ask: Sendable, Equatable {
  /// It was accepted; nothing was read.
  case accepted(listener: Int)
  /// Its ClientHello was read, or cannot be.
  case hello(listener: Int, HelloFacts)
  /// Its server was not reached.
  case dialFailed(DialFailure)
}

/// What the rules of a listener come to.
package struct RouteChoice: Sendable, Equatable {
  package enum Target: Sendable, Equatable {
    /// An index into the table's backends.
    case backend(Int)
    case reject(RejectReason)
  }

  /// The rule that took it; nil where none did.
  package let rule: Int?
  package let target: Target

  fileprivate init(_ rule: Int?, _ target: Target) {
    self.rule = rule
    self.target = target
  }
}

package struct DialFailure: Sendable, Equatable {
  package let backend: Int
  package let server: Int
  /// Dials begun so far, this one included.
  package let tries: Int
  package let error: DialError
  /// The same for all tries of a connection, and another for other connections.
  package let spread: UInt64
  /// See `BalancePlan.another`.
  package let apart: Int?

  package init(
    backend: Int, server: Int, tries: Int, error: DialError, spread: UInt64 = 0, apart: Int? = nil
  ) {
    self.spread = spread
    self.apart = apart
    self.backend = backend
    self.server = server
    self.tries = tries
    self.error = error
  }
}

/// Why a dial failed, as far as it makes a difference. The raw value is its place in `allCases`.
package enum DialError: Int, Sendable, CaseIterable {
  case refused
  case timedOut
  case unreachable
  /// Our side has no port, address or descriptor to dial from.
  case noLocalAddress
  /// After it was reached, and before either side had said a byte to the other.
  case reset
  /// It was reached, and did not agree to TLS.
  case noConsent
  /// It was reached, and its TLS handshake failed.
  case handshake
  case other

  package var reason: RejectReason {
    switch self {
    case .refused: .dialRefused
    case .timedOut: .dialTimeout
    case .unreachable: .dialUnreachable
    case .noLocalAddress: .dialNoLocalAddress
    case .reset: .dialReset
    case .noConsent: .noConsent
    case .handshake: .dialTLS
    case .other: .dialFailed
    }
  }
}

package enum Answer: Sendable, Equatable {
  /// Indexes into the table's backends and servers.
  case route(backend: Int, server: Int)
  /// All servers of the backend that could take it have as many connections as they may.
  case full(backend: Int)
  case reject(RejectReason)

  fileprivate init(_ choice: Balancer.Choice, of backend: Int) {
    self =
      switch choice {
      case .server(let server): .route(backend: backend, server: server)
      case .full: .full(backend: backend)
      case .none: .reject(.noServer)
      }
  }
}
