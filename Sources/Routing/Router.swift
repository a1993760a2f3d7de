/// Decides about connections. Pure: no input or output, no lock, no clock, no allocation.
///
/// One router belongs to one worker; what it remembers between decisions is only where the
/// balancing of each backend stands. `install` swaps the table between two turns.
package struct Router: ~Copyable {
  package private(set) var table: RouteTable
  /// The next server of each backend, as an offset.
  private var turns: [Int]
  /// Connections that were decided about under a table that was no longer in force.
  private var strays: UInt = 0

  /// - Parameter seed: where the balancing starts, so that workers do not all begin with the
  ///   first server.
  package init(_ table: RouteTable, seed: Int) {
    self.table = table
    turns = table.backends.map { seed % $0.servers.count }
  }

  package mutating func install(_ table: RouteTable, seed: Int) {
    self.table = table
    turns = table.backends.map { seed % $0.servers.count }
  }

  package mutating func decide(_ ask: Ask) -> Answer { decide(ask, under: table) }

  /// The answer under the table that a connection was accepted under: its indexes mean nothing in
  /// one that was installed meanwhile.
  package mutating func decide(_ ask: Ask, under table: RouteTable) -> Answer {
    switch ask {
    case .accepted(let listener):
      guard table.listeners.indices.contains(listener) else { return .reject(.noRoute) }
      return next(of: table.listeners[listener].backend, under: table)
    case .hello(let listener, let facts):
      guard table.listeners.indices.contains(listener) else { return .reject(.noRoute) }
      switch Router.backend(for: facts, table.listeners[listener]) {
      case .success(let backend): return next(of: backend, under: table)
      case .failure(let reason): return .reject(reason)
      }
    case .dialFailed(let failure):
      return again(after: failure, under: table)
    }
  }

  /// The backend by what the client's first bytes say.
  private static func backend(
    for facts: HelloFacts, _ listener: ListenerEntry
  ) -> Result<Int, RejectReason> {
    let policy = listener.hello ?? HelloPolicy()
    switch facts {
    // There is nobody to serve.
    case .noHello(.helloProbe): return .failure(.helloProbe)
    case .noHello(let reason) where policy.notTLS == .reject: return .failure(reason)
    case .unnamed where policy.withoutName == .reject: return .failure(.helloUnnamed)
    case .misnamed where policy.withoutName == .reject: return .failure(.helloMisnamed)
    case .named, .unnamed, .misnamed, .noHello: return .success(listener.backend)
    }
  }

  private mutating func next(of backend: Int, under table: RouteTable) -> Answer {
    .route(backend: backend, server: nextServer(of: backend, under: table))
  }

  private mutating func nextServer(of backend: Int, under table: RouteTable) -> Int {
    let servers = table.backends[backend].servers
    guard table === self.table else {
      // The few that were held while a table was installed.
      strays &+= 1
      return servers.lowerBound + Int(strays % UInt(servers.count))
    }
    let turn = turns[backend]
    turns[backend] = turn + 1 < servers.count ? turn + 1 : 0
    return servers.lowerBound + turn
  }

  /// The server after the one that failed, until the backend's tries are spent.
  private func again(after failure: DialFailure, under table: RouteTable) -> Answer {
    guard table.backends.indices.contains(failure.backend) else { return .reject(.noRoute) }
    let backend = table.backends[failure.backend]
    guard failure.tries <= backend.retries, backend.servers.contains(failure.server) else {
      return .reject(failure.error.reason)
    }
    let next = failure.server + 1
    let server = next < backend.servers.upperBound ? next : backend.servers.lowerBound
    return .route(backend: failure.backend, server: server)
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

package struct DialFailure: Sendable, Equatable {
  package let backend: Int
  package let server: Int
  /// Dials begun so far, this one included.
  package let tries: Int
  package let error: DialError

  package init(backend: Int, server: Int, tries: Int, error: DialError) {
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
  case other

  package var reason: RejectReason {
    switch self {
    case .refused: .dialRefused
    case .timedOut: .dialTimeout
    case .unreachable: .dialUnreachable
    case .noLocalAddress: .dialNoLocalAddress
    case .other: .dialFailed
    }
  }
}

package enum Answer: Sendable, Equatable {
  /// Indexes into the table's backends and servers.
  case route(backend: Int, server: Int)
  case reject(RejectReason)
}
