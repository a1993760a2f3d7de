internal import AdminAPI
internal import Config
internal import DataPlane
internal import Routing
internal import System
internal import Wire

/// All that a reload changes, as one value: it is prepared as a copy and put in force as a whole.
struct InForce: Sendable {
  /// As the file says, with the addresses of sockets that were handed over.
  var snapshot: Snapshot
  /// What workers route by; made of the snapshot and the changes.
  var table: RouteTable
  var changes = RuntimeChanges()
  /// What the table was made of: names are resolved.
  var served: Snapshot
  var sockets = SocketBook()
  var series = SeriesBook()
  /// What all workers count together. A copy shares it.
  var load = SharedLoad()
  /// What TLS ends and begins with. A copy shares it.
  var transports = Transports()
  /// Sockets that were handed over and are still open.
  var inherited: InheritedSockets
  /// 1 after the start; each reload that is applied adds one.
  var generation: UInt64 = 1
  var loadedWallMs = Clock.wallMs
  /// What was removed and still has connections.
  var drains = RemovalDrains()
  /// The newest last.
  var reloads: [ReloadSummary] = []
  var reloadCounts: [ReloadResult.Outcome: UInt64] = [:]

  /// Reloads that `status` shows.
  static let reloadsKept = 10

  /// The servers that one of the file stands for now: itself, or one for each address of its name.
  func served(_ server: Config.Server, of backend: Backend) -> [Config.Server] {
    let all = served.backends.first { $0.name == backend.name }?.servers ?? []
    let found = all.filter { $0.name == server.name || $0.name.hasPrefix(server.name + "@") }
    return found.isEmpty ? [server] : found
  }

  /// Workers learn at once which servers have troubles.
  func mark(_ known: Upstreams.Served) {
    known.mark(
      served, table.series, in: load.servers, nowMs: Clock.monotonicNs / 1_000_000)
  }

  mutating func note(_ summary: ReloadSummary) {
    reloadCounts[summary.outcome, default: 0] += 1
    reloads.append(summary)
    if reloads.count > InForce.reloadsKept { reloads.removeFirst() }
  }
}

/// What the data plane is to take for a configuration to be in force.
struct Passage: Sendable {
  var next: InForce
  let step: SocketBook.Step

  /// - Parameters:
  ///   - former: what it takes the place of; its transports are those of `snapshot` already.
  ///   - snapshot: with the addresses of sockets that were handed over.
  ///   - known: what is known of its servers.
  init(
    from former: InForce, to snapshot: Snapshot, _ changes: RuntimeChanges,
    _ known: Upstreams.Served, hasRing: Bool
  ) {
    next = former
    next.snapshot = snapshot
    next.changes = changes
    let applied = known.applied(to: changes.applied(to: snapshot))
    next.served = applied
    step = next.sockets.step(to: applied.bindings(former.inherited.listening))
    let series = next.series.plan(for: applied)
    next.load.prepare(for: series)
    next.table = applied.routeTable(
      hasRing: hasRing, sockets: step.entries, series: series, load: next.load,
      former: former.table, transports: next.transports)
    next.inherited.listening.removeAll { [step] in step.retiredInherited.contains($0.address) }
  }
}
