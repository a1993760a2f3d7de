internal import CSluice
package import Routing
internal import Synchronization
package import System

/// What workers tell of servers that fail them, for whoever decides what follows: bounded, and
/// nearly free while all is well.
///
/// Good connections are reported only of servers that have failed before, so that one load tells
/// most of them that there is nothing to say.
package final class FailureBoard: Sendable {
  package enum Failure: Hashable, Sendable {
    /// The dial was refused, or found no way.
    case dial
    /// The dial took all of its time-out.
    case timeout
    /// The server reset the connection before its first byte.
    case reset
    /// The dial was slow, and a later one to the other family of the same name was quicker.
    case outrun
  }

  package struct News: Sendable {
    /// In the order in which they happened; the first `FailureBoard.most` since the last look.
    package var failures: [(server: ServerName, failure: Failure)] = []
    /// Servers of whose connections some got their first byte.
    package var worked: Set<ServerName> = []
  }

  /// More between two looks tell nothing new.
  package static let most = 4096

  private struct State {
    var news = News()
    /// Of whom it is of interest whether they work.
    var suspects: Set<ServerName> = []
  }

  private let state = Guarded(State())
  private let hasSuspects = Atomic(false)
  private let counter: EventCounter

  /// [EMFILE]
  package init() throws(SystemError) { counter = try EventCounter() }

  /// Readable when there is news.
  package var wakeNumber: Int32 { counter.number }

  /// What has happened since the last call. From now on, of servers that are no suspects no good
  /// connections are told.
  package func take(suspects: (News) -> Set<ServerName>) -> News {
    counter.clear()
    return state.withLock { state in
      let news = state.news
      state.news = News()
      state.suspects = suspects(news)
      hasSuspects.store(!state.suspects.isEmpty, ordering: .relaxed)
      return news
    }
  }

  /// Somebody else wants a look.
  package func wake() { counter.signal() }

  func dialFailed(_ error: DialError, at server: Int, in table: RouteTable) {
    switch error {
    case .refused, .unreachable, .handshake, .other: failed(.dial, at: server, in: table)
    case .timedOut: failed(.timeout, at: server, in: table)
    case .reset: failed(.reset, at: server, in: table)
    // The server is not to blame, or may not be: it may have refused this one client.
    case .noLocalAddress, .noConsent: break
    }
  }

  func outrun(_ server: Int, in table: RouteTable) { failed(.outrun, at: server, in: table) }

  /// A connection that was at this server is over.
  func closed(_ summary: sluice_summary, _ server: Int, in table: RouteTable) {
    let first = sluice_end(rawValue: UInt8(truncatingIfNeeded: summary.ends))
    if summary.bytes_down > 0 {
      worked(server, in: table)
    } else if first == .upstream_reset {
      failed(.reset, at: server, in: table)
    }
  }

  private func failed(_ failure: Failure, at server: Int, in table: RouteTable) {
    let name = FailureBoard.name(server, table)
    let isNew = state.withLock { state in
      state.suspects.insert(name)
      hasSuspects.store(true, ordering: .relaxed)
      guard state.news.failures.count < FailureBoard.most else { return false }
      state.news.failures.append((name, failure))
      return true
    }
    if isNew { counter.signal() }
  }

  func worked(_ server: Int, in table: RouteTable) {
    guard hasSuspects.load(ordering: .relaxed) else { return }
    let name = FailureBoard.name(server, table)
    let isNew = state.withLock { state in
      // Told once; the next failure makes it a suspect again.
      guard state.suspects.remove(name) != nil else { return false }
      state.news.worked.insert(name)
      return true
    }
    if isNew { counter.signal() }
  }

  private static func name(_ server: Int, _ table: RouteTable) -> ServerName {
    let backend = table.backends[table.backend(ofServer: server)]
    return ServerName(backend: backend.name, server: table.servers[server].name)
  }
}
