internal import AdminAPI
package import Config
package import DataPlane
package import Routing
package import System
internal import Wire

/// All that is found out about servers while they are served: what their names resolve to, whether
/// they pass their checks, and how their connections fare. It says how the configuration is to be
/// served, and when that changes.
package final class Upstreams: Sendable {
  /// What is known of servers at one moment.
  package struct Served: Hashable, Sendable {
    /// What names stand for.
    package var resolution: Names.Resolution = [:]
    /// Servers that are to get no connections, and why; by their names as they are served.
    package var troubles: [ServerName: Trouble] = [:]

    package init() {}

    /// Whether the same servers get connections. The words for why others get none may differ.
    func serves(as other: Served) -> Bool {
      resolution == other.resolution && troubles.count == other.troubles.count
        && troubles.allSatisfy { $0.value.isDown == other.troubles[$0.key]?.isDown }
    }

    /// The configuration as it is to be served: a server for each address that a name stands for,
    /// and no weight for a name that does not resolve. Troubles come and go without another table.
    package func applied(to snapshot: Snapshot) -> Snapshot {
      var served = snapshot.serving(resolution)
      for index in served.backends.indices {
        for place in served.backends[index].servers.indices
        where !served.backends[index].canReach(served.backends[index].servers[place]) {
          served.backends[index].servers[place].weight = 0
        }
      }
      return served
    }

    /// Backends that use servers that are only believed to be down, by the rule of `Balancer`.
    func spentBackends(of snapshot: Snapshot) -> Set<String> {
      guard !troubles.isEmpty else { return [] }
      return Set(snapshot.serving(resolution).backends.filter(isSpent).map(\.name))
    }

    private func isSpent(_ backend: Backend) -> Bool {
      let servers = backend.servers.filter { $0.weight > 0 && backend.canReach($0) }
      let primaries = servers.filter { !$0.isBackup }
      let up = primaries.count { !hasTrouble($0, of: backend) }
      if up * 100 < backend.panicPercent * primaries.count { return true }
      return !servers.isEmpty && servers.allSatisfy { hasTrouble($0, of: backend) }
    }

    private func hasTrouble(_ server: Config.Server, of backend: Backend) -> Bool {
      troubles[ServerName(backend: backend.name, server: server.name)] != nil
    }

    /// Tells those who choose among servers of their troubles. `nowMs` is CLOCK_MONOTONIC's: when
    /// the slow start of those that have no more begins.
    func mark(_ served: Snapshot, _ series: SeriesPlan, in states: ServerStates, nowMs: UInt64) {
      for (name, number) in zip(served.serverNames, series.servers) {
        switch troubles[name] {
        case .down:
          states.mark(number, .down)
          states.unmark(number, .ejected, nowMs: nowMs)
        case .ejected:
          states.mark(number, .ejected)
          states.unmark(number, .down, nowMs: nowMs)
        case nil:
          states.unmark(number, [.down, .ejected], nowMs: nowMs)
        }
      }
    }
  }

  package enum Trouble: Hashable, Sendable {
    /// Its check fails, for this reason.
    case down(String)
    /// Its connections fail, in this way.
    case ejected(String)

    var isDown: Bool {
      if case .down = self { true } else { false }
    }

    package var reason: String {
      switch self {
      case .down(let reason): reason
      case .ejected(let reason): "out for a while: \(reason)"
      }
    }
  }

  /// A name that resolves at all does so in a few milliseconds; who starts or reloads waits no
  /// longer for the others.
  private static let firstAnswersMs: UInt64 = 1500
  /// How soon a change that could not be made is tried again.
  private static let againMs: Int32 = 200
  /// Between two looks at what connections tell: when everything fails, that is a lot.
  private static let pauseMs: UInt32 = 5

  /// For the workers.
  package let failures: FailureBoard
  /// For those of forward proxies.
  package let lookups: Lookups
  private let state: Guarded<State>
  private let events = Guarded<EventHub?>(nil)
  private let thread = Guarded<Thread?>(nil)

  /// Nothing is asked and nobody is checked before `follow`. [EMFILE]
  package init(_ snapshot: Snapshot) throws(SystemError) {
    failures = try FailureBoard()
    lookups = try Lookups(snapshot.resolver)
    state = Guarded(State(snapshot: snapshot, served: Served()))
  }

  /// Turns to another configuration: from now on `served` is made of it. Gives the names that are
  /// new in it a moment to resolve, up to 1.5 s. Until `settle`, all that is known of the former
  /// one is kept, so that to turn back to it loses nothing. [EMFILE, EAGAIN: no thread]
  package func follow(_ snapshot: Snapshot) throws(SystemError) {
    try follow(snapshot, Transports())
  }

  /// - Parameter transports: those of the snapshot: what its servers are checked through.
  func follow(_ snapshot: Snapshot, _ transports: Transports) throws(SystemError) {
    lookups.use(snapshot.resolver)
    if snapshot.listeners.contains(where: { $0.type == .httpProxy }) { try lookups.start() }
    let targets = snapshot.namedTargets
    var (names, before) = state.withLock { ($0.names, $0.snapshot) }
    let wanted = targets.union(before.namedTargets)
    if before.resolver != snapshot.resolver || wanted.isEmpty {
      names?.stop()
      names = nil
    }
    if names == nil, !wanted.isEmpty { names = try makeNames(snapshot.resolver) }
    var checks = state.withLock { $0.checks }
    if checks == nil, snapshot.backends.contains(where: { $0.check != nil }) {
      checks = try HealthChecks(
        onNews: { [failures] in failures.wake() },
        onChange: { [weak self] target, report in self?.checked(target, report) })
    }
    names?.want(wanted)
    names?.settle(targets, atMostMs: Upstreams.firstAnswersMs)
    state.withLock { state in
      (state.snapshot, state.names, state.checks) = (snapshot, names, checks)
      if before != snapshot {
        (state.former, state.formerTransports) = (before, state.transports)
      } else {
        state.former = nil
      }
      state.transports = transports
      state.watch(state.resolution)
      state.served = state.nowServed
      state.isNew = true
    }
    installChecks()
    // The thread looks at what else follows from that.
    failures.wake()
  }

  /// There is no way back from what is followed now.
  package func settle() {
    let (names, targets) = state.withLock { state in
      state.former = nil
      state.watch(state.resolution)
      return (state.names, state.snapshot.namedTargets)
    }
    names?.want(targets)
    installChecks()
  }

  /// What is known now.
  package var served: Served { state.withLock { $0.served } }

  /// - Parameters:
  ///   - onDown: ends the connections of a server that is down, as the configuration wants it;
  ///     returns how many.
  ///   - onChange: called when other servers are to get connections; returns whether it could do
  ///     something about it, and is otherwise called again a little later. Both are called on a
  ///     thread of its own, until `stop`.
  /// - Throws: EAGAIN (no thread).
  package func start(
    events: EventHub?, onDown: @escaping @Sendable (ServerName) -> Int = { _ in 0 },
    onChange: @escaping @Sendable (Served) -> Bool
  ) throws(SystemError) {
    self.events.withLock { $0 = events }
    let thread = try Thread(name: "upstreams") { [self] in look(onDown, onChange) }
    self.thread.withLock { $0 = thread }
  }

  /// Waits for the threads.
  package func stop() {
    let (names, checks) = state.withLock { state in
      state.isStopping = true
      return (state.names, state.checks)
    }
    failures.wake()
    thread.withLock { $0?.join() }
    names?.stop()
    lookups.stop()
    checks?.stop()
  }

  // ---- the thread --------------------------------------------------------------------------

  private func look(_ onDown: (ServerName) -> Int, _ onChange: (Served) -> Bool) {
    var pending: Served?
    while true {
      let waitMs = pending == nil ? self.waitMs : Upstreams.againMs
      _ = try? Readiness.reading(failures.wakeNumber, waitingAtMostMs: waitMs)
      let nowNs = Clock.monotonicNs
      let news = failures.take { news in
        state.withLock { state in
          Set(state.ejections.filter { $0.value.isSuspect }.keys)
            .union(news.failures.map(\.server))
        }
      }
      let step = state.withLock { $0.step(news, nowNs: nowNs) }
      if step.isLast { return }
      for note in step.notes { tell(note) }
      if step.hasOtherServers { installChecks() }
      if let change = step.change ?? pending { pending = onChange(change) ? nil : change }
      // After the change, so that nobody comes in behind it.
      for server in step.ending {
        let ended = onDown(server)
        tell(Note(server, "is still down: \(counted(ended, "connection")) ended", .info))
      }
      if !news.failures.isEmpty { Thread.sleep(ms: Upstreams.pauseMs) }
    }
  }

  /// Until the next server that is out may come back, or one that is down loses its connections.
  private var waitMs: Int32? {
    let next = state.withLock { state in
      [state.ejections.values.compactMap(\.untilNs).min(), state.downs.nextNs]
    }
    guard let nextNs = next.compactMap({ $0 }).min() else { return nil }
    let nowNs = Clock.monotonicNs
    return nextNs <= nowNs ? 0 : Int32(clamping: (nextNs - nowNs + 999_999) / 1_000_000)
  }

  private func installChecks() {
    let (checks, targets) = state.withLock { ($0.checks, $0.checkTargets) }
    checks?.install(targets)
  }

  private func makeNames(_ settings: ResolverSettings) throws(SystemError) -> Names {
    try Names(
      settings,
      onNote: { [weak self] note in
        Notice.write(note.sentence, note.isTrouble ? .warning : .info)
        self?.events.withLock { $0 }?.post("name", note.sentence)
      },
      onChange: { [failures] in failures.wake() })
  }

  private func checked(_ target: CheckTarget, _ report: CheckReport) {
    let servers = state.withLock { state in
      let servers = state.watched[target] ?? []
      if !report.isUp { for server in servers { state.hurry(server) } }
      return servers
    }
    for server in servers {
      let sentence = report.isUp ? "is up" : "is down: \(report.trouble ?? "its check failed")"
      tell(Note(server, sentence, report.isUp ? .info : .warning))
    }
  }

  private func tell(_ note: Note) {
    Notice.write(note.sentence, note.level)
    let kind = note.server == nil ? "backend" : "server"
    events.withLock { $0 }?.post(kind, note.sentence, note.facts)
  }
}
