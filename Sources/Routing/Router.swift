/// Decides about connections. Pure: no input or output, no lock, no clock, no allocation.
///
/// One router belongs to one worker; what it remembers between decisions is only where the
/// balancing of each backend stands. `install` swaps the table between two turns.
package struct Router: ~Copyable {
  package private(set) var table: RouteTable
  /// The next server of each backend, as an offset.
  private var turns: [Int]

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

  package mutating func decide(_ ask: Ask) -> Answer {
    switch ask {
    case .accepted(let listener):
      guard table.listeners.indices.contains(listener) else { return .reject(.noRoute) }
      let backend = table.listeners[listener].backend
      return .route(backend: backend, server: nextServer(of: backend))
    case .dialFailed(let failure):
      return again(after: failure, under: table)
    }
  }

  /// The answer to a failed dial of a connection that `older` routed: its indexes mean nothing in
  /// a table that was installed meanwhile.
  package func decide(_ failure: DialFailure, under older: RouteTable) -> Answer {
    again(after: failure, under: older)
  }

  private mutating func nextServer(of backend: Int) -> Int {
    let servers = table.backends[backend].servers
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
