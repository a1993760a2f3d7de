package import Routing

/// What an operator changed while the server ran, beside the file: a value that is laid over the
/// snapshot whenever a route table is made.
///
/// Each change stands until it is taken back, for as long as what it is about exists and the file
/// says of it what it said when the change was made.
package struct RuntimeChanges: Hashable, Sendable {
  package struct Weight: Hashable, Sendable {
    package var weight: Int
    /// What the file said when it was set.
    package var configured: Int

    package init(weight: Int, configured: Int) {
      self.weight = weight
      self.configured = configured
    }
  }

  /// Their sockets are closed.
  package var drainedListeners: Set<String> = []
  /// None of their servers gets new connections.
  package var drainedBackends: Set<String> = []
  package var drainedServers: Set<ServerName> = []
  package var weights: [ServerName: Weight] = [:]

  package init() {}

  package var isEmpty: Bool { self == RuntimeChanges() }

  /// The snapshot as connections meet it: drained listeners have no address, drained servers no
  /// weight.
  package func applied(to snapshot: Snapshot) -> Snapshot {
    guard !isEmpty else { return snapshot }
    var applied = snapshot
    for index in applied.listeners.indices
    where drainedListeners.contains(applied.listeners[index].name) {
      applied.listeners[index].binds = []
    }
    for index in applied.backends.indices { apply(to: &applied.backends[index]) }
    return applied
  }

  private func apply(to backend: inout Backend) {
    let isDrained = drainedBackends.contains(backend.name)
    for index in backend.servers.indices {
      let name = ServerName(backend: backend.name, server: backend.servers[index].name)
      if let weight = weights[name] { backend.servers[index].weight = weight.weight }
      if isDrained || drainedServers.contains(name) { backend.servers[index].weight = 0 }
    }
  }

  /// What of it holds under another snapshot, and a sentence for each change that does not.
  package func surviving(_ snapshot: Snapshot) -> (changes: RuntimeChanges, lost: [String]) {
    var (kept, lost) = (RuntimeChanges(), [String]())
    let listeners = Set(snapshot.listeners.map(\.name))
    for name in drainedListeners.sorted() {
      if listeners.contains(name) {
        kept.drainedListeners.insert(name)
      } else {
        lost.append("listener \(name) was drained and is gone")
      }
    }
    let backends = Set(snapshot.backends.map(\.name))
    for name in drainedBackends.sorted() {
      if backends.contains(name) {
        kept.drainedBackends.insert(name)
      } else {
        lost.append("backend \(name) was drained and is gone")
      }
    }
    var weights: [ServerName: Int] = [:]
    for backend in snapshot.backends {
      for server in backend.servers {
        weights[ServerName(backend: backend.name, server: server.name)] = server.weight
      }
    }
    for name in drainedServers.sorted() {
      if weights[name] != nil {
        kept.drainedServers.insert(name)
      } else {
        lost.append("server \(name) was drained and is gone")
      }
    }
    for (name, change) in self.weights.sorted(by: { $0.key < $1.key }) {
      guard let configured = weights[name] else {
        lost.append("server \(name) had weight \(change.weight) and is gone")
        continue
      }
      if configured == change.configured {
        kept.weights[name] = change
      } else {
        lost.append(
          "server \(name) had weight \(change.weight) at run time; the file's weight changed from "
            + "\(change.configured) to \(configured), which holds")
      }
    }
    return (kept, lost)
  }

  /// One sentence for each, for people.
  package var sentences: [String] {
    drainedListeners.sorted().map { "listener \($0) is drained" }
      + drainedBackends.sorted().map { "backend \($0) is drained" }
      + drainedServers.sorted().map { "server \($0) is drained" }
      + weights.sorted { $0.key < $1.key }.map { name, change in
        "server \(name) has weight \(change.weight); the file says \(change.configured)"
      }
  }
}
