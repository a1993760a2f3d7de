package import AdminAPI
internal import Config
internal import DataPlane
internal import System
internal import Wire

/// What would become of a connection, under what is served now.
extension Server {
  package func explain(_ query: ExplainQuery) throws(Failure) -> Explanation {
    let inForce = inForce.withLock { $0 }
    var explained = try Explainer(inForce.served, inForce.table).explain(query)
    let states = backends().first { $0.name == explained.backend?.name }?.servers ?? []
    for index in explained.backend?.servers.indices ?? 0..<0 {
      let name = explained.backend?.servers[index].name
      explained.backend?.servers[index].state = states.first { state in
        name == state.name || name?.hasPrefix("\(state.name)@") ?? false
      }?.state
    }
    if let path = inForce.transports.path(for: query.sni, at: query.listener) {
      explained.notes.append("it gets the certificate \(path)")
    }
    if inForce.changes.drainedListeners.contains(query.listener) {
      explained.notes.append("the listener is drained: nobody can connect")
    }
    let client = SocketAddress(explained.client)
    let bans = bans().filter { ban in
      guard let client, let network = try? Network(parsing: ban.network) else { return false }
      return network.contains(client)
    }
    if let ban = bans.first {
      explained.notes.append("\(ban.network) is banned: this client is turned away at once")
    }
    return explained
  }
}
