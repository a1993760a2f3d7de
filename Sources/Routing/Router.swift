/// Decides about connections. Pure: no input or output, no lock, no clock, no allocation.
///
/// One router belongs to one worker; what it remembers between decisions is only where the
/// balancing of each backend stands. `install` swaps the table between two turns.
package struct Router: ~Copyable {
  package private(set) var table: RouteTable
  /// By server: how far it is behind its share. The one furthest behind is next, so that a server
  /// of great weight gets its connections between those of others, and not all in a row.
  private var behind: [Int32]
  private var seed: Int
  /// Connections that were decided about under a table that was no longer in force.
  private var strays: UInt = 0

  /// - Parameter seed: where the balancing starts, so that workers do not all begin with the
  ///   first server.
  package init(_ table: RouteTable, seed: Int) {
    self.table = table
    self.seed = seed
    behind = table.servers.map { _ in 0 }
  }

  /// Backends whose servers and weights are what they were go on where they stood.
  package mutating func install(_ table: RouteTable, seed: Int) {
    var behind = table.servers.map { _ in Int32(0) }
    var older: [Int: Int] = [:]
    for (index, series) in self.table.series.backends.enumerated() { older[series] = index }
    for (index, series) in table.series.backends.enumerated() {
      guard let former = older[series], isSame(former, as: index, of: table) else { continue }
      let places = zip(table.backends[index].servers, self.table.backends[former].servers)
      for (place, formerPlace) in places { behind[place] = self.behind[formerPlace] }
    }
    self.table = table
    self.seed = seed
    self.behind = behind
  }

  private func isSame(_ former: Int, as backend: Int, of table: RouteTable) -> Bool {
    let (was, now) = (self.table.backends[former].servers, table.backends[backend].servers)
    return was.count == now.count
      && zip(was, now).allSatisfy { was, now in
        self.table.series.servers[was] == table.series.servers[now]
          && self.table.servers[was].weight == table.servers[now].weight
      }
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
    guard let server = nextServer(of: backend, under: table) else { return .reject(.noServer) }
    return .route(backend: backend, server: server)
  }

  private mutating func nextServer(of backend: Int, under table: RouteTable) -> Int? {
    let servers = table.backends[backend].servers
    guard table === self.table else {
      // The few that were held while a table was installed.
      strays &+= 1
      return usable(from: Int(strays % UInt(servers.count)), in: servers, table)
    }
    var best: Int?
    var total: Int32 = 0
    let start = seed % servers.count
    for step in 0..<servers.count {
      let offset = start + step
      let server = servers.lowerBound + (offset < servers.count ? offset : offset - servers.count)
      let weight = Int32(table.servers[server].weight)
      guard weight > 0 else { continue }
      total += weight
      behind[server] += weight
      if let known = best, behind[known] >= behind[server] { continue }
      best = server
    }
    if let best { behind[best] -= total }
    return best
  }

  /// The first server with a weight, from one of them on, all around.
  private func usable(from start: Int, in servers: Range<Int>, _ table: RouteTable) -> Int? {
    for step in 0..<servers.count {
      let server = servers.lowerBound + (start + step) % servers.count
      if table.servers[server].weight > 0 { return server }
    }
    return nil
  }

  /// The server after the one that failed, until the backend's tries are spent.
  private func again(after failure: DialFailure, under table: RouteTable) -> Answer {
    guard table.backends.indices.contains(failure.backend) else { return .reject(.noRoute) }
    let backend = table.backends[failure.backend]
    guard failure.tries <= backend.retries, backend.servers.contains(failure.server) else {
      return .reject(failure.error.reason)
    }
    let after = failure.server + 1 - backend.servers.lowerBound
    guard let server = usable(from: after, in: backend.servers, table) else {
      return .reject(failure.error.reason)
    }
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
