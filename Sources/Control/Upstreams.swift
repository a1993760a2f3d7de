internal import AdminAPI
package import Config
package import DataPlane
internal import Routing
package import System
internal import Wire

/// All that is found out about servers while they are served: what their names resolve to, whether
/// they pass their checks, and how their connections fare. It says how the configuration is to be
/// served, and when that changes.
package final class Upstreams: Sendable {
  package typealias ServerName = FailureBoard.ServerName

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
        where served.backends[index].servers[place].address == nil {
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
      let servers = backend.servers.filter { $0.weight > 0 && $0.address != nil }
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
      let names = served.backends.flatMap { backend in
        backend.servers.map { ServerName(backend: backend.name, server: $0.name) }
      }
      for (name, number) in zip(names, series.servers) {
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

  fileprivate struct State {
    var snapshot: Snapshot
    var names: Names?
    var checks: HealthChecks?
    /// Of `snapshot`.
    var targets: Set<ServerTarget> = []
    /// By the server's name, as it is served.
    var ejections: [ServerName: Ejection] = [:]
    /// What is checked, and for which servers.
    var watched: [CheckTarget: [ServerName]] = [:]
    /// As last told.
    var served: Served
    /// Backends without a server that is up.
    var spent: Set<String> = []
    /// Nothing was concluded yet from what is served.
    var isNew = true
    var downs = DownServers()
    var isStopping = false
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
  private let state: Guarded<State>
  private let events = Guarded<EventHub?>(nil)
  private let thread = Guarded<Thread?>(nil)

  /// Nothing is asked and nobody is checked before `follow`. [EMFILE]
  package init(_ snapshot: Snapshot) throws(SystemError) {
    failures = try FailureBoard()
    state = Guarded(State(snapshot: snapshot, served: Served()))
  }

  /// Turns to another configuration: from now on `served` is made of it. Gives the names that are
  /// new in it a moment to resolve, up to 1.5 s. [EMFILE, EAGAIN: no thread]
  package func follow(_ snapshot: Snapshot) throws(SystemError) {
    let targets = snapshot.namedTargets
    var (names, hasChanged) = state.withLock {
      ($0.names, $0.snapshot.resolver != snapshot.resolver)
    }
    if hasChanged || targets.isEmpty {
      names?.stop()
      names = nil
    }
    if names == nil, !targets.isEmpty { names = try makeNames(snapshot.resolver) }
    var checks = state.withLock { $0.checks }
    if checks == nil, snapshot.backends.contains(where: { $0.check != nil }) {
      checks = try HealthChecks { [weak self] target, report in self?.checked(target, report) }
    }
    names?.want(targets)
    names?.settle(targets, atMostMs: Upstreams.firstAnswersMs)
    state.withLock { state in
      (state.snapshot, state.names, state.checks) = (snapshot, names, checks)
      state.targets = targets
      state.watch(state.resolution)
      state.served = state.nowServed
      state.isNew = true
    }
    installChecks()
    // The thread looks at what else follows from that.
    failures.wake()
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
    let (checks, watched) = state.withLock { ($0.checks, $0.watched) }
    checks?.install(Set(watched.keys))
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
    failures.wake()
  }

  private func tell(_ note: Note) {
    Notice.write(note.sentence, note.level)
    let kind = note.server == nil ? "backend" : "server"
    events.withLock { $0 }?.post(kind, note.sentence, note.facts)
  }
}

/// What an operator hears of.
private struct Note {
  let backend: String
  /// Nil when it is about all of them.
  let server: String?
  let sentence: String
  let level: LogLevel

  init(_ server: FailureBoard.ServerName, _ what: String, _ level: LogLevel) {
    (backend, self.server, self.level) = (server.backend, server.server, level)
    sentence = "server \(server.backend)/\(server.server) \(what)"
  }

  init(backend: String, _ what: String, _ level: LogLevel) {
    (self.backend, server, self.level) = (backend, nil, level)
    sentence = "backend \(backend) \(what)"
  }

  var facts: [String: String] {
    var facts = ["backend": backend]
    facts["server"] = server
    return facts
  }
}

/// What follows from one look.
private struct Step {
  var notes: [Note] = []
  var change: Upstreams.Served?
  /// Names stand for others than before.
  var hasOtherServers = false
  /// Servers whose connections end.
  var ending: [FailureBoard.ServerName] = []
  var isLast = false
}

extension Upstreams.State {
  fileprivate mutating func step(_ news: FailureBoard.News, nowNs: UInt64) -> Step {
    var step = Step(isLast: isStopping)
    step.notes = take(news, nowNs: nowNs)
    let former = served
    served = nowServed
    if served.resolution != former.resolution {
      step.hasOtherServers = true
      watch(served.resolution)
    }
    if !served.serves(as: former) { step.change = served }
    if isNew || step.change != nil {
      isNew = false
      step.notes += notesOfBackends()
      downs.follow(down, nowNs: nowNs)
    }
    step.ending = downs.due(nowNs: nowNs)
    return step
  }

  /// What is to become of connections of servers that are down.
  private var down: [FailureBoard.ServerName: OnDown] {
    let settings = Dictionary(
      snapshot.backends.map { ($0.name, $0.check?.onDown ?? .keep) },
      uniquingKeysWith: { first, _ in first })
    var down: [FailureBoard.ServerName: OnDown] = [:]
    for (server, trouble) in served.troubles where trouble.isDown {
      down[server] = settings[server.backend]
    }
    return down
  }

  /// What names stand for. One that another resolver is asked for keeps what it stood for until
  /// that has an answer.
  fileprivate var resolution: Names.Resolution {
    let now = names?.resolution ?? [:]
    var resolution: Names.Resolution = [:]
    for target in targets {
      let found = now[target] ?? []
      resolution[target] = found.isEmpty ? served.resolution[target] ?? [] : found
    }
    return resolution
  }

  fileprivate mutating func watch(_ resolution: Names.Resolution) {
    let served = snapshot.serving(resolution)
    let servers = Set(served.serverNames)
    ejections = ejections.filter { servers.contains($0.key) }
    watched = [:]
    for (server, target) in served.checkTargets {
      watched[target, default: []].append(server)
    }
    for target in watched.keys {
      watched[target]?.sort { ($0.backend, $0.server) < ($1.backend, $1.server) }
    }
  }

  fileprivate var nowServed: Upstreams.Served {
    var served = Upstreams.Served()
    served.resolution = resolution
    for (target, report) in checks?.reports ?? [:] where !report.isUp {
      for server in watched[target] ?? [] {
        served.troubles[server] = .down(report.trouble ?? "its check failed")
      }
    }
    for (server, ejection) in ejections where served.troubles[server] == nil {
      guard ejection.untilNs != nil else { continue }
      served.troubles[server] = .ejected(ejection.last?.words ?? "connections failed")
    }
    return served
  }

  /// Backends that have run out of servers that are up, and those that have one again.
  private mutating func notesOfBackends() -> [Note] {
    let now = served.spentBackends(of: snapshot)
    defer { spent = now }
    let there = Set(snapshot.backends.map(\.name))
    return now.subtracting(spent).sorted().map {
      Note(backend: $0, "has too few servers that are up; those that are down are tried", .warning)
    } + spent.subtracting(now).intersection(there).sorted().map {
      Note(backend: $0, "has enough servers that are up again", .info)
    }
  }

  /// What connections tell of servers; returns what is to be told of that.
  private mutating func take(_ news: FailureBoard.News, nowNs: UInt64) -> [Note] {
    var notes: [Note] = []
    for server in news.worked { ejections[server]?.worked() }
    for server in Set(news.failures.map(\.server)) { hurry(server) }
    for (server, failure) in news.failures {
      let backend = snapshot.backends.first { $0.name == server.backend }
      guard let settings = backend?.ejection else { continue }
      let terms = Ejection.Terms(
        failures: settings.failures, timeMs: settings.timeMs, longestMs: settings.longestMs)
      let failure = Ejection.Failure(failure)
      let timeNs = ejections[server, default: Ejection()].failed(failure, terms, nowNs: nowNs)
      guard let timeNs else { continue }
      let seconds = (timeNs + 999_999_999) / 1_000_000_000
      notes.append(Note(server, "is out for \(seconds) s: \(failure.words)", .warning))
    }
    for server in ejections.keys where ejections[server]?.look(nowNs: nowNs) == true {
      notes.append(Note(server, "gets connections again", .info))
    }
    return notes
  }

  /// What a name stands for may have moved.
  fileprivate func hurry(_ server: FailureBoard.ServerName) {
    let backend = snapshot.backends.first { $0.name == server.backend }
    for candidate in backend?.servers ?? []
    where candidate.address == nil && server.server.hasPrefix(candidate.name + "@") {
      names?.hurry(candidate.target)
    }
  }
}

extension Snapshot {
  fileprivate var serverNames: [FailureBoard.ServerName] {
    backends.flatMap { backend in
      backend.servers.map { .init(backend: backend.name, server: $0.name) }
    }
  }

  /// What is checked for which server.
  fileprivate var checkTargets: [FailureBoard.ServerName: CheckTarget] {
    var targets: [FailureBoard.ServerName: CheckTarget] = [:]
    for backend in backends {
      guard let check = backend.check else { continue }
      let header: CheckTarget.Header =
        switch backend.sendProxy {
        case .none: .none
        case .v1: .own
        case .v2: .local
        }
      for server in backend.servers {
        guard let address = server.address else { continue }
        targets[.init(backend: backend.name, server: server.name)] = CheckTarget(
          address: address, source: backend.source, header: header, settings: check)
      }
    }
    return targets
  }
}

extension Ejection.Failure {
  fileprivate init(_ failure: FailureBoard.Failure) {
    switch failure {
    case .dial: self = .dial
    case .timeout: self = .timeout
    case .reset: self = .reset
    }
  }
}

extension Ejection.Failure {
  fileprivate var words: String {
    switch self {
    case .dial: "dials failed"
    case .timeout: "a dial timed out"
    case .reset: "it reset connections before its first byte"
    }
  }
}
