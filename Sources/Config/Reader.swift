import Routing
import Wire

/// Reads a tree by the schema: tree -> draft. Reports everything it cannot read and goes on.
struct Reader {
  // Bounds on what one process is asked to hold, far above any real configuration. They keep
  // the checks and the data plane's tables small.
  static let listenersMax = 1_000
  static let backendsMax = 4_096
  static let bindsMax = 64
  static let serversMax = 1_024
  static let networksMax = 10_000
  static let sourcesMax = 256
  /// Two descriptors each: the kernel's default fs.nr_open of 2^20 allows half of this.
  static let limits = 1...1_000_000
  /// More than the address block leaves room for in most receivers' buffers.
  static let tlvsMax = 64

  var diagnostics: Diagnostics
  /// For the files that an egress names, and the environment.
  var surroundings = Surroundings.none

  /// Nil when the file is not even a mapping.
  mutating func draft(of tree: Tree) -> Draft? {
    guard let fields = knownFields(of: tree.root, RootKey.allCases, path: "") else { return nil }
    var draft = Draft(root: tree.root.position)
    for (key, node) in fields {
      switch key {
      // Done when the tree was made.
      case .include: break
      case .workers: read(key, node, into: &draft.workers, Reader.workers)
      case .events: read(key, node, into: &draft.events, Scalar.word)
      case .latency: read(key, node, into: &draft.latency, Scalar.word)
      case .admin: draft.admin = admin(node)
      case .metrics: draft.metrics = metrics(node)
      case .stateDirectory: read(key, node, into: &draft.stateDirectory, Scalar.absolutePath)
      case .log: readLog(node, into: &draft.log)
      case .limits: readLimits(node, into: &draft.limits)
      case .resolver: readResolver(node, into: &draft.resolver)
      case .timeouts:
        let drainMs = readTimeouts(node, TimeoutKey.global, "timeouts", &draft.timeouts)
        if let drainMs { draft.drainMs = drainMs }
      case .trustedNetworks: draft.trusted = networks(key, node)
      case .listeners: draft.listeners = listeners(node)
      case .backends: draft.backends = backends(node)
      case .egress: draft.egress = egress(node)
      }
    }
    return draft
  }

  // MARK: Sections

  private mutating func readLimits(_ node: Tree.Node, into limits: inout Limits) {
    var exceptions: [Tree.Node] = []
    for (key, node) in fields(of: node, LimitsKey.allCases, path: "limits") {
      switch key {
      case .maxConnections: readNumber(key, node, into: &limits.maxConnections)
      case .perSource: readLimit(key, node, into: &limits.perSource.atOnce)
      case .perSourceRate: readLimit(key, node, into: &limits.perSource.perSecond)
      case .exceptions: exceptions = nodes(key, node)
      case .memory: read(key, node, into: &limits.memory, Scalar.memory)
      }
    }
    // After the limits that they take the place of, wherever those stand.
    for node in exceptions { readException(node, into: &limits) }
  }

  /// What an item does not name is as for everybody.
  private mutating func readException(_ node: Tree.Node, into limits: inout Limits) {
    let path = "limits.exceptions"
    guard let fields = knownFields(of: node, ExceptionKey.allCases, path: path) else { return }
    var limit = limits.perSource
    var drafts: [NetworkDraft] = []
    for (key, node) in fields {
      switch key {
      case .networks: drafts = networks(key, node)?.value ?? []
      case .perSource: readLimit(key, node, into: &limit.atOnce)
      case .perSourceRate: readLimit(key, node, into: &limit.perSecond)
      }
    }
    requireEach(ExceptionKey.allCases.filter(\.isRequired), in: fields, of: "an exception", node)
    limits.exceptions += drafts.map { LimitException(network: $0.network, limit: limit) }
  }

  /// A number of connections; `off` is 0.
  mutating func readLimit(_ key: some SchemaKey, _ node: Tree.Node, into limit: inout Int) {
    read(key, node, into: &limit) { text throws(Unreadable) in
      text == "off" ? 0 : try Scalar.number(text, in: Reader.limits)
    }
  }

  /// Returns what the mapping says of the drain, which is the process's and no connection's.
  @discardableResult
  private mutating func readTimeouts(
    _ node: Tree.Node, _ keys: [TimeoutKey], _ path: String, _ timeouts: inout TimeoutOverrides
  ) -> UInt32? {
    var drainMs: UInt32?
    for (key, node) in fields(of: node, keys, path: path) {
      let duration = value(key, node) { text throws(Unreadable) in
        try Scalar.duration(text, mayBeOff: key.mayBeOff, mayBeZero: key == .drain)
      }
      guard let duration else { continue }
      switch key {
      case .preface: timeouts.prefaceMs = duration
      case .proxyHeader:
        timeouts.proxyHeaderMs = duration
        warn(ofHeaderTimeoutMs: duration, node)
      case .connect: timeouts.connectMs = duration
      case .startTLS: timeouts.startTLSMs = duration
      case .idle: timeouts.idleMs = duration
      case .halfClosed: timeouts.halfClosedMs = duration
      case .maxAge: timeouts.maxAgeMs = duration
      case .drain: drainMs = duration
      }
    }
    return drainMs
  }

  private mutating func listeners(_ node: Tree.Node) -> [ListenerDraft] {
    named(.listeners, node, "listener").map { listener($0) }
  }

  private mutating func listener(_ entry: Tree.Entry) -> ListenerDraft {
    var draft = ListenerDraft(name: Located(value: entry.key, position: entry.position))
    let path = "listeners.\(entry.key)"
    guard let fields = knownFields(of: entry.value, ListenerKey.allCases, path: path) else {
      return draft
    }
    for (key, node) in fields {
      switch key {
      case .bind:
        draft.binds = items(key, node) { text throws(Unreadable) in
          try Endpoint.binds(text)
        }.map { BindDraft(text: $0.text, addresses: $0.value) }
      case .type:
        read(key, node, into: &draft.type, Scalar.word)
        draft.typePosition = node.position
      case .startTLS: draft.startTLS = startTLS(node, "\(path).starttls")
      case .tls: draft.tls = listenerTLS(node, "\(path).tls")
      case .noSNI: draft.withoutName = located(key, node, Scalar.word)
      case .notTLS: draft.notTLS = located(key, node, Scalar.word)
      case .rules: draft.rules = rules(key, node, "\(path).rules")
      case .backend: draft.backend = located(key, node) { text throws(Unreadable) in text }
      case .egress: draft.egress = located(key, node) { text throws(Unreadable) in text }
      case .trustedNetworks: draft.trusted = networks(key, node)
      case .inherit: draft.inherit = located(key, node, Scalar.truth)
      case .proxyProtocol: draft.proxyProtocol = proxyProtocol(node, "\(path).proxy-protocol")
      case .timeouts:
        readTimeouts(node, TimeoutKey.listener, "\(path).timeouts", &draft.timeouts)
      case .congestion: draft.congestion = value(key, node, Scalar.congestion)
      case .backlog: draft.backlog = number(key, node)
      case .spoken: draft.spoken = value(key, node, Scalar.word)
      case .maxConnections: readLimit(key, node, into: &draft.maxConnections)
      case .queue: draft.queue = queue(node, "\(path).queue")
      case .bandwidth: read(key, node, into: &draft.bandwidth, Scalar.bandwidth)
      case .connectionBandwidth:
        read(key, node, into: &draft.connectionBandwidth, Scalar.bandwidth)
      }
    }
    require(in: fields, of: "listener", entry)
    draft.hasTarget = fields.contains { [.backend, .rules, .egress].contains($0.0) }
    // What is amiss with a forward proxy is told where its type is checked.
    if !draft.hasTarget, draft.type != .httpProxy {
      diagnostics.error(
        entry.position,
        "listener \"\(entry.key)\" has no backend and no rules; backend takes "
          + "\(ListenerKey.backend.takes)")
    }
    return draft
  }

  /// Nil for `off`.
  private mutating func queue(_ node: Tree.Node, _ path: String) -> QueueRule? {
    if case .scalar("off", _) = node.value { return nil }
    var rule = QueueRule(length: 1000, timeoutMs: 10_000)
    for (key, node) in fields(of: node, QueueKey.allCases, path: path) {
      switch key {
      case .length: readNumber(key, node, into: &rule.length)
      case .timeout:
        read(key, node, into: &rule.timeoutMs) { text throws(Unreadable) in
          try Scalar.duration(text, mayBeOff: false)
        }
      }
    }
    return rule
  }

  private mutating func backends(_ node: Tree.Node) -> [BackendDraft] {
    named(.backends, node, "backend").map { backend($0) }
  }

  private mutating func backend(_ entry: Tree.Entry) -> BackendDraft {
    var draft = BackendDraft(name: Located(value: entry.key, position: entry.position))
    let path = "backends.\(entry.key)"
    guard let fields = knownFields(of: entry.value, BackendKey.allCases, path: path) else {
      return draft
    }
    for (key, node) in fields {
      switch key {
      case .servers: draft.servers = servers(key, node, "\(path).servers")
      case .sendProxy:
        draft.sendProxy = located(key, node, Scalar.word)
        draft.isSendProxyLost = draft.sendProxy == nil
      case .proxyTLVs: draft.tlvs = tlvs(key, node, "\(path).proxy-tlvs")
      case .relayTLVs: draft.relay = relayedTypes(key, node)
      case .proxyHeader: draft.header = header(node, "\(path).proxy-header")
      case .tls: draft.tls = backendTLS(node, "\(path).tls")
      case .parents: draft.parents = parents(key, node, "\(path).parents")
      case .parentsCA: draft.parentsCA = located(key, node, Scalar.absolutePath)
      case .passClientProxyHeader:
        draft.passesClientHeader = located(key, node, Scalar.truth)
      case .balance: read(key, node, into: &draft.balance, Scalar.word)
      case .check: draft.check = check(node, "\(path).check")
      case .eject: draft.ejection = ejection(node, "\(path).eject")
      case .panicThreshold:
        read(key, node, into: &draft.panicPercent) { text throws(Unreadable) in
          try Scalar.percentage(text, in: 0...100)
        }
      case .slowStart:
        read(key, node, into: &draft.slowStartMs) { text throws(Unreadable) in
          try Scalar.duration(text, mayBeOff: true)
        }
      case .maxConnections: readLimit(key, node, into: &draft.maxConnections)
      case .retries: draft.retries = number(key, node)
      case .retryBudget:
        read(key, node, into: &draft.retryPercent) { text throws(Unreadable) in
          try Scalar.percentage(text, in: 0...100)
        }
      case .timeouts:
        readTimeouts(node, TimeoutKey.backend, "\(path).timeouts", &draft.timeouts)
      case .source: draft.source = located(key, node, Endpoint.source)
      case .splice: draft.splice = located(key, node, Scalar.word)
      case .congestion: draft.congestion = value(key, node, Scalar.congestion)
      }
    }
    require(in: fields, of: "backend", entry)
    return draft
  }

  /// 1024 is what the affinity mask of glibc, cpu_set_t, holds. CPU_SET(3)
  private static func workers(_ text: String) throws(Unreadable) -> WorkerCount {
    text == "auto" ? .auto : .count(try Scalar.number(text, in: RootKey.workers.range))
  }
}
