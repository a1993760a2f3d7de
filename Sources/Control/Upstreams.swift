internal import AdminAPI
package import Config
package import DataPlane
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

    /// The configuration as it is to be served: a server for each address that a name stands for,
    /// and no weight for those that have troubles, unless all of a backend that have one do.
    package func applied(to snapshot: Snapshot) -> Snapshot {
      var served = snapshot.serving(resolution)
      for index in served.backends.indices {
        let backend = served.backends[index]
        let isTroubled = backend.servers.map { server in
          server.address == nil
            || troubles[ServerName(backend: backend.name, server: server.name)] != nil
        }
        let isPanic = !zip(backend.servers, isTroubled).contains { $0.weight > 0 && !$1 }
        for place in backend.servers.indices
        where backend.servers[place].address == nil || isTroubled[place] && !isPanic {
          served.backends[index].servers[place].weight = 0
        }
      }
      return served
    }
  }

  package enum Trouble: Hashable, Sendable {
    /// Its check fails, for this reason.
    case down(String)
    /// Its connections fail.
    case ejected

    package var reason: String {
      switch self {
      case .down(let reason): reason
      case .ejected: "connections to it failed"
      }
    }
  }

  fileprivate struct State {
    var snapshot: Snapshot
    var names: Names?
    var checks: HealthChecks?
    /// By the server's name, as it is served.
    var ejections: [ServerName: Ejection] = [:]
    /// As last told.
    var served: Served
    var isStopping = false
  }

  /// A name that resolves at all does so in a few milliseconds; who starts or reloads waits no
  /// longer for the others.
  private static let firstAnswersMs: UInt64 = 1500

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
      let servers = Set(state.resolved.serverNames)
      state.ejections = state.ejections.filter { servers.contains($0.key) }
      state.served = state.nowServed
    }
    installChecks()
  }

  /// What is known now.
  package var served: Served { state.withLock { $0.served } }

  /// - Parameter onChange: called with each `served` that is another one than before, on a thread
  ///   of its own, until `stop`. [EAGAIN: no thread]
  package func start(
    events: EventHub?, onChange: @escaping @Sendable (Served) -> Void
  ) throws(SystemError) {
    self.events.withLock { $0 = events }
    let thread = try Thread(name: "upstreams") { [self] in look(onChange) }
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

  private func look(_ onChange: (Served) -> Void) {
    while true {
      _ = try? Readiness.reading(failures.wakeNumber, waitingAtMostMs: waitMs)
      let nowNs = Clock.monotonicNs
      let news = failures.take { news in
        state.withLock { state in
          Set(state.ejections.filter { $0.value.isSuspect }.keys)
            .union(news.failures.map(\.server))
        }
      }
      let (change, notes, isStopping) = state.withLock { state in
        let notes = state.take(news, nowNs: nowNs)
        let served = state.nowServed
        defer { state.served = served }
        return (served == state.served ? nil : served, notes, state.isStopping)
      }
      if isStopping { return }
      for note in notes { tell(note.server, note.sentence, note.level) }
      if let change {
        installChecks()
        onChange(change)
      }
    }
  }

  /// Until the next server that is out may come back; nil while none is.
  private var waitMs: Int32? {
    guard let nextNs = state.withLock({ $0.ejections.values.compactMap(\.untilNs).min() }) else {
      return nil
    }
    let nowNs = Clock.monotonicNs
    return nextNs <= nowNs ? 0 : Int32(clamping: (nextNs - nowNs + 999_999) / 1_000_000)
  }

  private func installChecks() {
    let (checks, targets) = state.withLock { ($0.checks, $0.resolved.checkTargets) }
    checks?.install(Set(targets.values))
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
      state.resolved.checkTargets.filter { $0.value == target }.map(\.key)
    }
    for server in servers.sorted(by: { ($0.backend, $0.server) < ($1.backend, $1.server) }) {
      let sentence = report.isUp ? "is up" : "is down: \(report.trouble ?? "its check failed")"
      tell(server, sentence, report.isUp ? .info : .warning)
    }
    failures.wake()
  }

  private func tell(_ server: ServerName, _ sentence: String, _ level: LogLevel) {
    let whole = "server \(server.backend)/\(server.server) \(sentence)"
    Notice.write(whole, level)
    let facts = ["backend": server.backend, "server": server.server]
    events.withLock { $0 }?.post("server", whole, facts)
  }
}

extension Upstreams.State {
  /// With all addresses that names stand for.
  fileprivate var resolved: Snapshot {
    guard let names else { return snapshot }
    return snapshot.serving(names.resolution)
  }

  fileprivate var nowServed: Upstreams.Served {
    var served = Upstreams.Served()
    served.resolution = names?.resolution ?? [:]
    let reports = checks?.reports ?? [:]
    for (server, target) in resolved.checkTargets {
      guard let report = reports[target], !report.isUp else { continue }
      served.troubles[server] = .down(report.trouble ?? "its check failed")
    }
    for (server, ejection) in ejections
    where ejection.untilNs != nil && served.troubles[server] == nil {
      served.troubles[server] = .ejected
    }
    return served
  }

  /// What connections tell of servers; returns what is to be told of that.
  fileprivate mutating func take(
    _ news: FailureBoard.News, nowNs: UInt64
  ) -> [(server: FailureBoard.ServerName, sentence: String, level: LogLevel)] {
    var notes: [(server: FailureBoard.ServerName, sentence: String, level: LogLevel)] = []
    for server in news.worked { ejections[server]?.worked() }
    for (server, failure) in news.failures {
      guard let backend = snapshot.backends.first(where: { $0.name == server.backend }) else {
        continue
      }
      hurry(backend, server.server)
      guard let settings = backend.ejection else { continue }
      let terms = Ejection.Terms(
        failures: settings.failures, timeMs: settings.timeMs, longestMs: settings.longestMs)
      let timeNs = ejections[server, default: Ejection()].failed(
        Ejection.Failure(failure), terms, nowNs: nowNs)
      guard let timeNs else { continue }
      let seconds = (timeNs + 999_999_999) / 1_000_000_000
      notes.append((server, "is out for \(seconds) s: \(failure.words)", .warning))
    }
    for server in ejections.keys where ejections[server]?.look(nowNs: nowNs) == true {
      notes.append((server, "gets connections again", .info))
    }
    return notes
  }

  /// What a name stands for may have moved.
  private func hurry(_ backend: Backend, _ server: String) {
    for candidate in backend.servers
    where candidate.address == nil && server.hasPrefix(candidate.name) {
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

extension FailureBoard.Failure {
  fileprivate var words: String {
    switch self {
    case .dial: "dials failed"
    case .timeout: "a dial timed out"
    case .reset: "it reset connections before its first byte"
    }
  }
}
