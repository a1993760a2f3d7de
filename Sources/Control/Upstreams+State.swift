internal import Config
internal import DataPlane
internal import Routing
internal import System
internal import Wire

extension Upstreams {
  /// What is known, and what is made of it. Pure but for what names and checks say.
  struct State {
    var snapshot: Snapshot
    var names: Names?
    var checks: HealthChecks?
    /// What was followed before, until that is settled.
    var former: Snapshot?
    /// What TLS the servers of either are checked through.
    var transports = Transports()
    var formerTransports = Transports()
    /// The last good answers, whoever gave them.
    var remembered: Names.Resolution = [:]
    /// By the server's name, as it is served.
    var ejections: [ServerName: Ejection] = [:]
    /// What is checked, and for which servers of `snapshot`.
    var watched: [CheckTarget: [ServerName]] = [:]
    /// The same of `former` as well.
    var checkTargets: Set<CheckTarget> = []
    /// As last told.
    var served: Served
    /// Backends without a server that is up.
    var spent: Set<String> = []
    /// Nothing was concluded yet from what is served.
    var isNew = true
    var downs = DownServers()
    var isStopping = false
  }

  /// What an operator hears of.
  struct Note {
    let backend: String
    /// Nil when it is about all of them.
    let server: String?
    let sentence: String
    let level: LogLevel

    init(_ server: ServerName, _ what: String, _ level: LogLevel) {
      (backend, self.server, self.level) = (server.backend, server.server, level)
      sentence = "server \(server) \(what)"
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
  struct Step {
    var notes: [Note] = []
    var change: Served?
    /// Names stand for others than before.
    var hasOtherServers = false
    /// Servers whose connections end.
    var ending: [ServerName] = []
    var isLast = false
  }
}

extension Upstreams.State {
  mutating func step(_ news: FailureBoard.News, nowNs: UInt64) -> Upstreams.Step {
    var step = Upstreams.Step(isLast: isStopping)
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
  private var down: [ServerName: OnDown] {
    let settings = Dictionary(
      snapshot.backends.map { ($0.name, $0.check?.onDown ?? .keep) },
      uniquingKeysWith: { first, _ in first })
    var down: [ServerName: OnDown] = [:]
    for (server, trouble) in served.troubles where trouble.isDown {
      down[server] = settings[server.backend]
    }
    return down
  }

  /// What names stand for. One that another resolver is asked for keeps what it stood for until
  /// that has an answer.
  var resolution: Names.Resolution {
    let now = names?.resolution ?? [:]
    var resolution: Names.Resolution = [:]
    for target in snapshot.namedTargets.union(former?.namedTargets ?? []) {
      let found = now[target] ?? []
      resolution[target] = found.isEmpty ? remembered[target] ?? [] : found
    }
    return resolution
  }

  mutating func watch(_ resolution: Names.Resolution) {
    remembered = resolution
    watched = [:]
    checkTargets = []
    var servers: Set<ServerName> = []
    for (index, followed) in [snapshot, former].compactMap({ $0 }).enumerated() {
      let served = followed.serving(resolution)
      servers.formUnion(served.serverNames)
      let spoken = index == 0 ? transports : formerTransports
      for (server, target) in served.checkTargets(through: spoken) {
        checkTargets.insert(target)
        if index == 0 { watched[target, default: []].append(server) }
      }
    }
    ejections = ejections.filter { servers.contains($0.key) }
    for target in watched.keys {
      watched[target]?.sort()
    }
  }

  var nowServed: Upstreams.Served {
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
  private mutating func notesOfBackends() -> [Upstreams.Note] {
    let now = served.spentBackends(of: snapshot)
    defer { spent = now }
    let there = Set(snapshot.backends.map(\.name))
    let tooFew = "has too few servers that are up; those that are down are tried"
    return now.subtracting(spent).sorted().map {
      Upstreams.Note(backend: $0, tooFew, .warning)
    } + spent.subtracting(now).intersection(there).sorted().map {
      Upstreams.Note(backend: $0, "has enough servers that are up again", .info)
    }
  }

  /// What connections tell of servers; returns what is to be told of that.
  private mutating func take(_ news: FailureBoard.News, nowNs: UInt64) -> [Upstreams.Note] {
    var notes: [Upstreams.Note] = []
    for server in news.worked { ejections[server]?.worked() }
    for server in Set(news.failures.map(\.server)) { hurry(server) }
    for (server, failure) in news.failures {
      let backend = snapshot.backends.first { $0.name == server.backend }
      guard let settings = backend?.ejection else { continue }
      let terms = Ejection.Terms(
        failures: settings.failures, timeMs: settings.timeMs, longestMs: settings.longestMs)
      let timeNs = ejections[server, default: Ejection()].failed(failure, terms, nowNs: nowNs)
      guard let timeNs else { continue }
      let seconds = (timeNs + 999_999_999) / 1_000_000_000
      notes.append(Upstreams.Note(server, "is out for \(seconds) s: \(failure.words)", .warning))
    }
    for server in ejections.keys where ejections[server]?.look(nowNs: nowNs) == true {
      notes.append(Upstreams.Note(server, "gets connections again", .info))
    }
    return notes
  }

  /// What a name stands for may have moved.
  func hurry(_ server: ServerName) {
    let backend = snapshot.backends.first { $0.name == server.backend }
    for candidate in backend?.servers ?? []
    where candidate.address == nil && server.server.hasPrefix(candidate.name + "@") {
      names?.hurry(candidate.target)
    }
  }
}

extension Snapshot {
  /// What is checked for which server.
  fileprivate func checkTargets(through transports: Transports) -> [ServerName: CheckTarget] {
    var targets: [ServerName: CheckTarget] = [:]
    for backend in backends {
      guard let check = backend.check else { continue }
      let header: CheckTarget.Header =
        switch backend.sendProxy {
        case .none: .none
        case .v1: .own
        case .v2: .local
        }
      let plan = parents(of: backend)
      for (place, server) in backend.servers.enumerated() {
        let tunnel = plan.map { checkTunnel(to: $0.targets[place], $0, transports) }
        let address = tunnel == nil ? server.address : tunnel?.ways.first?.address
        guard let address else { continue }
        targets[.init(backend: backend.name, server: server.name)] = CheckTarget(
          address: address, source: backend.source, header: header, settings: check,
          transport: transports.beginning(of: backend.name).map { setup in
            CheckTransport(setup: setup, name: backend.tls?.name?.text ?? server.ownName)
          }, tunnel: tunnel)
      }
    }
    return targets
  }

  /// Without a way while no parent's name resolves.
  private func checkTunnel(
    to target: String, _ plan: ParentPlan, _ transports: Transports
  ) -> CheckTunnel {
    let group = backends[plan.backend]
    let setup = transports.beginning(of: group.name)
    return CheckTunnel(
      ways: group.servers.compactMap { server in
        guard let address = server.address,
          let parent = plan.parents.first(where: { $0.server == server.origin ?? server.name })
        else { return nil }
        return CheckTunnel.Way(
          name: server.name, address: address,
          transport: setup.map { CheckTransport(setup: $0, name: server.ownName) },
          request: parent.connect(to: target))
      })
  }
}

extension FailureBoard.Failure {
  fileprivate var words: String {
    switch self {
    case .dial: "dials failed"
    case .timeout: "a dial timed out"
    case .reset: "it reset connections before its first byte"
    case .outrun: "dials to the other family of its name were quicker"
    }
  }
}
