package import AdminAPI
internal import Config
internal import DataPlane
internal import Routing
internal import System
internal import Wire

/// What an operator changes while the server runs, beside the file.
extension Server {
  /// A listener: its sockets are closed. A backend, a server: no new connections to it. Live ones
  /// go on in any case.
  package func drain(_ target: Target) throws(Failure) {
    try change { changes, snapshot throws(Failure) in
      switch target {
      case .listener(let name):
        try Server.find(name, in: snapshot)
        return changes.drainedListeners.insert(name).inserted
      case .backend(let name):
        try Server.find(backend: name, in: snapshot)
        return changes.drainedBackends.insert(name).inserted
      case .server(let backend, let server):
        try Server.find(server, of: backend, in: snapshot)
        let name = ServerName(backend: backend, server: server)
        return changes.drainedServers.insert(name).inserted
      }
    }
    events.post("drain", "\(target.words) is drained", ["what": target.words])
  }

  /// Takes a drain back.
  package func resume(_ target: Target) throws(Failure) {
    try change { changes, snapshot throws(Failure) in
      switch target {
      case .listener(let name):
        try Server.find(name, in: snapshot)
        return changes.drainedListeners.remove(name) != nil
      case .backend(let name):
        try Server.find(backend: name, in: snapshot)
        return changes.drainedBackends.remove(name) != nil
      case .server(let backend, let server):
        try Server.find(server, of: backend, in: snapshot)
        let name = ServerName(backend: backend, server: server)
        return changes.drainedServers.remove(name) != nil
      }
    }
    events.post("drain", "\(target.words) serves again", ["what": target.words])
  }

  package func setWeight(_ request: WeightRequest) throws(Failure) {
    guard (0...Config.Server.weightMax).contains(request.weight) else {
      throw Failure(.invalid, "a weight is a number from 0 to \(Config.Server.weightMax)")
    }
    let name = ServerName(backend: request.backend, server: request.server)
    try change { changes, snapshot throws(Failure) in
      let configured = try Server.find(request.server, of: request.backend, in: snapshot).weight
      let before = changes.weights[name]
      changes.weights[name] =
        request.weight == configured
        ? nil : RuntimeChanges.Weight(weight: request.weight, configured: configured)
      return changes.weights[name] != before
    }
    events.post(
      "server", "server \(name) has weight \(request.weight)",
      ["server": "\(name)", "weight": "\(request.weight)"])
  }

  /// Until the next reload that changes `log`.
  package func setLogLevel(_ request: LogLevelRequest) throws(Failure) {
    guard let level = LogLevel.allCases.first(where: { $0.word == request.level }) else {
      throw Failure(.invalid, "a level is error, warning, info or debug")
    }
    Notice.setLevel(level)
    events.post("log-level", "messages from \(request.level) on are written")
  }

  /// Makes a table of the snapshot in force and other changes, and puts it in force.
  ///
  /// - Parameter edit: whether there is anything to do.
  private func change(
    _ edit: (inout RuntimeChanges, Snapshot) throws(Failure) -> Bool
  ) throws(Failure) {
    try alone(waits: true) { () throws(Failure) in
      let former = inForce.withLock { $0 }
      var changes = former.changes
      guard try edit(&changes, former.snapshot) else { return }
      let passage = Passage(
        from: former, to: former.snapshot, changes, upstreams.served, hasRing: hasRing)
      do throws(Refused) {
        let opened = try open(passage)
        _ = commit(passage, opened)
      } catch {
        throw Failure(.refused, error.sentences.joined(separator: "; "))
      }
    }
  }

  /// Servers have gone up or down, or names stand for other servers; then a table of what is in
  /// force and what is known now takes the place of the former one.
  ///
  /// - Returns: false when it has to be tried again: somebody else changes something and takes
  ///   long, or there are too many tables.
  func serversChanged() -> Bool {
    do throws(Failure) {
      return try alone(waits: true) { () throws(Failure) in
        var former = inForce.withLock { $0 }
        let known = upstreams.served
        if known.applied(to: former.changes.applied(to: former.snapshot)) == former.served {
          former.mark(known)
          return true
        }
        // Long-lived connections keep tables alive, and reloads need the last of their numbers.
        guard pool.tablesLive < WorkerPool.tablesLimit / 2 else { return false }
        settle(&former.series)
        let passage = Passage(
          from: former, to: former.snapshot, former.changes, known, hasRing: hasRing)
        _ = commit(passage, OpenedSockets(workers: pool.workers))
        return true
      }
    } catch {
      return error.code != .busy
    }
  }

  private static func find(_ name: String, in snapshot: Snapshot) throws(Failure) {
    guard snapshot.listeners.contains(where: { $0.name == name }) else {
      throw Failure(.notFound, "there is no listener \(name)")
    }
  }

  @discardableResult
  private static func find(
    backend name: String, in snapshot: Snapshot
  ) throws(Failure) -> Backend {
    guard let backend = snapshot.backends.first(where: { $0.name == name }) else {
      throw Failure(.notFound, "there is no backend \(name)")
    }
    return backend
  }

  @discardableResult
  private static func find(
    _ name: String, of backend: String, in snapshot: Snapshot
  ) throws(Failure) -> Config.Server {
    let servers = try find(backend: backend, in: snapshot).servers
    guard let server = servers.first(where: { $0.name == name }) else {
      throw Failure(.notFound, "backend \(backend) has no server \(name)")
    }
    return server
  }
}

extension Target {
  fileprivate var words: String {
    switch self {
    case .listener(let name): "listener \(name)"
    case .backend(let name): "backend \(name)"
    case .server(let backend, let server): "server \(backend)/\(server)"
    }
  }
}
