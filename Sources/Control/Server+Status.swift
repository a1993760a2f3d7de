package import AdminAPI
internal import Config
internal import DataPlane
internal import Routing
internal import System
internal import Wire

/// What the server says of itself.
extension Server {
  /// Every worker's counts, merged by name. Blocks for up to a second when one does not answer.
  func counts() -> Counts {
    let workers = pool.counts()
    return Counts(workers, inForce.withLock { $0.series })
  }

  package func status() -> Status {
    let now = Clock.monotonicNs
    let counts = counts()
    let inForce = inForce.withLock { $0 }
    let total = counts.total
    return Status(
      version: Commands.version, pid: Privileges.processID,
      uptimeSeconds: Double(now - startedNs) / 1e9, configuration: path ?? "",
      generation: inForce.generation, phase: isServing ? .serving : .draining,
      workers: pool.workers, events: pool.source == .ring ? "ring" : "epoll",
      connections: pool.liveConnections, maxConnections: inForce.snapshot.limits.maxConnections,
      accepted: total.accepted, closed: total.closed, bytesUp: total.bytesUp,
      bytesDown: total.bytesDown, descriptors: (try? DescriptorLimit.open()) ?? 0,
      descriptorLimit: (try? DescriptorLimit.current())?.soft ?? 0,
      logDropped: logs.counts.dropped,
      silentWorkers: counts.workers.indices.filter { counts.workers[$0] == nil },
      perWorker: counts.workers.enumerated().compactMap { worker, stats in
        stats.map {
          WorkerStatus(
            worker: worker, connections: Int($0.connections), handedOver: $0.handedOver,
            received: $0.received)
        }
      },
      drains: progress(inForce.drains, counts, nowNs: now),
      runtimeChanges: inForce.changes.sentences, reloads: inForce.reloads)
  }

  private func progress(
    _ drains: RemovalDrains, _ counts: Counts, nowNs: UInt64
  ) -> [DrainProgress] {
    var progress: [DrainProgress] = []
    if let remaining = endRemainingNs(nowNs: nowNs) {
      progress.append(
        DrainProgress(
          what: "process", connections: pool.liveConnections,
          remainingSeconds: Double(remaining) / 1e9))
    }
    for (thing, entry) in drains.entries.sorted(by: { $0.key < $1.key }) {
      progress.append(
        DrainProgress(
          what: "\(thing)", connections: counts.live(thing),
          remainingSeconds: Double(entry.untilNs - min(nowNs, entry.untilNs)) / 1e9))
    }
    return progress
  }

  package func listeners() -> [ListenerStatus] {
    let counts = counts()
    let inForce = inForce.withLock { $0 }
    let drained = inForce.changes.drainedListeners
    return inForce.snapshot.listeners.map { listener in
      let counted = counts.listener(listener.name)
      return ListenerStatus(
        name: listener.name, type: listener.type.word, binds: listener.binds.map { "\($0)" },
        backend: listener.backend.map { inForce.snapshot.backends[$0].name },
        state: drained.contains(listener.name) ? .drained : .serving,
        connections: Int(counted?.live ?? 0), accepted: counted?.accepted ?? 0,
        rejected: Dictionary(
          (counted?.rejected ?? []).map { ($0.reason.code, $0.count) },
          uniquingKeysWith: { $0 + $1 }),
        bytesUp: counted?.bytesUp ?? 0, bytesDown: counted?.bytesDown ?? 0)
    }
  }

  package func backends() -> [BackendStatus] { backends(counts()) }

  func backends(_ counts: Counts) -> [BackendStatus] {
    let inForce = inForce.withLock { $0 }
    let known = upstreams.served
    return inForce.snapshot.backends.map { backend in
      let isDrained = inForce.changes.drainedBackends.contains(backend.name)
      return BackendStatus(
        name: backend.name, balance: backend.balance.rawValue,
        state: isDrained ? .drained : .serving,
        servers: backend.servers.flatMap { server in
          inForce.served(server, of: backend).map {
            Server.status(of: $0, under: server, in: backend, inForce.changes, counts, known)
          }
        } + counts.servers.filter { $0.isGone(from: backend.name) }.map { ServerStatus(gone: $0) })
    }
  }

  private static func status(
    of server: Config.Server, under written: Config.Server, in backend: Backend,
    _ changes: RuntimeChanges, _ counts: Counts, _ known: Upstreams.Served
  ) -> ServerStatus {
    let name = ServerName(backend: backend.name, server: written.name)
    let trouble =
      !backend.canReach(server)
      ? "its name does not resolve"
      : known.troubles[.init(backend: backend.name, server: server.name)]?.reason
    let counted = counts.server(server.name, of: backend.name)
    let isDrained = changes.drainedServers.contains(name)
    return ServerStatus(
      name: server.name, address: server.address.map(\.description) ?? "",
      state: isDrained ? .drained : trouble == nil ? .up : .down,
      reason: isDrained ? "an operator has drained it" : trouble,
      weight: changes.weights[name]?.weight ?? written.weight,
      connections: Int(counted?.live ?? 0), dials: counted?.dials ?? 0,
      dialFailures: counted?.dialFailures ?? 0, bytesUp: counted?.bytesUp ?? 0,
      bytesDown: counted?.bytesDown ?? 0)
  }

  package func metrics() -> [UInt8] {
    let counts = counts()
    let inForce = inForce.withLock { $0 }
    var reading = MetricsReading(
      counts, version: Commands.version, events: pool.source == .ring ? "ring" : "epoll",
      maxConnections: inForce.snapshot.limits.maxConnections)
    reading.backends = backends(counts)
    reading.generation = inForce.generation
    reading.loadedWallMs = inForce.loadedWallMs
    reading.reloads = inForce.reloadCounts
    reading.bans = banList.count
    reading.certificates = inForce.transports.certificates
    reading.log = logs.counts
    return reading.text
  }

  package func configuration(defaults: Bool) -> String {
    inForce.withLock { $0.snapshot }.yaml(defaults: defaults)
  }
}

extension Counts.Server {
  /// Whether it is no server of the backend any more, and still has connections.
  fileprivate func isGone(from backend: String) -> Bool {
    !row.isConfigured && row.name.backend == backend && live > 0
  }
}

extension ServerStatus {
  /// Removed from the file, or from what its name stands for.
  fileprivate init(gone server: Counts.Server) {
    let name = server.row.name.server
    // `mail.example:25@192.0.2.1:25` is an address that a name stood for, `unix:@x` a socket.
    let at = name.hasPrefix("unix:") ? nil : name.firstIndex(of: "@")
    self.init(
      name: name, address: at.map { String(name[name.index(after: $0)...]) } ?? name,
      state: .drained,
      reason: "it is gone, and its connections go on", weight: 0, connections: Int(server.live),
      dials: server.dials, dialFailures: server.dialFailures, bytesUp: server.bytesUp,
      bytesDown: server.bytesDown)
  }
}

extension Counts {
  func live(_ thing: RemovalDrains.Thing) -> Int {
    switch thing {
    case .listener(let name): Int(listener(name)?.live ?? 0)
    case .server(let name): Int(server(name.server, of: name.backend)?.live ?? 0)
    }
  }
}
