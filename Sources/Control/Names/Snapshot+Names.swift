package import Config
internal import Wire

extension Snapshot {
  /// All that has to be resolved before its servers can be dialled. What is behind a parent, that
  /// resolves.
  package var namedTargets: Set<ServerTarget> {
    var targets: Set<ServerTarget> = []
    for backend in backends where backend.parents.isEmpty {
      for server in backend.servers where server.address == nil { targets.insert(server.target) }
    }
    return targets
  }

  /// The configuration as it is to be served: in the place of each name, a server for each of its
  /// addresses. A name that does not resolve yet is left out, unless nothing else is there.
  ///
  /// Of a backend with a `source`, only addresses of its family count. Of a service, those behind
  /// the first priority are backups.
  package func serving(_ resolution: Names.Resolution) -> Snapshot {
    var served = self
    for index in backends.indices where backends[index].parents.isEmpty {
      let servers = backends[index].servers.flatMap { server in
        guard server.address == nil, let found = resolution[server.target] else { return [server] }
        let usable = found.filter { $0.address.canBeReached(from: backends[index].source) }
        return usable.isEmpty ? [server] : usable.map { Config.Server($0, of: server) }
      }
      let known = servers.filter { $0.address != nil }
      served.backends[index].servers = known.isEmpty ? servers : known
    }
    return served
  }
}

extension Config.Server {
  /// One server of several under a name; its own name tells it from the others, wherever it is
  /// counted or shown: `mail.example:25@192.0.2.1:25`.
  fileprivate init(_ resolved: ResolvedServer, of server: Config.Server) {
    self = server
    name = "\(server.name)@\(resolved.address)"
    origin = server.name
    target = .address(resolved.address)
    // One of 0 is drained, whatever the records say.
    if let weight = resolved.weight, server.weight > 0 { self.weight = weight }
    if resolved.isBackup { isBackup = true }
  }
}

extension SocketAddress {
  fileprivate func canBeReached(from source: SocketAddress?) -> Bool {
    switch (source, self) {
    case (nil, _), (.ipv4, .ipv4), (.ipv6, .ipv6), (.unix, _): true
    case (.ipv4, _), (.ipv6, _): false
    }
  }
}
