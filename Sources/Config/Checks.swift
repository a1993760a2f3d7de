import Routing
import Wire

/// Holds the parts of a draft against each other: draft -> snapshot. The snapshot means nothing
/// when `diagnostics` has errors.
struct Checks {
  let draft: Draft
  var diagnostics: Diagnostics
  let backends: [BackendDraft]
  let listeners: [ListenerDraft]
  let globalSources: [TrustedSource]
  private let backendIndexes: [String: Int]
  /// By listener: the backends that its rules and its own `backend` lead to, each once.
  let reached: [[Int]]
  /// By backend: the listeners that lead to it.
  let users: [[Int]]

  init(_ draft: Draft, _ diagnostics: Diagnostics) {
    self.draft = draft
    self.diagnostics = diagnostics
    backends = draft.backends ?? []
    listeners = draft.listeners ?? []
    globalSources = Checks.globalSources(of: draft)
    let indexes = Dictionary(
      backends.enumerated().map { ($0.element.name.value, $0.offset) },
      uniquingKeysWith: { first, _ in first })
    backendIndexes = indexes
    reached = listeners.map { listener in
      Set(listener.wantedBackends.compactMap { indexes[$0.value] }).sorted()
    }
    var users = backends.map { _ in [Int]() }
    for (place, backends) in reached.enumerated() {
      for backend in backends { users[backend].append(place) }
    }
    self.users = users
  }

  mutating func run() {
    checkPresence()
    checkBackendNames()
    checkBinds()
    checkOwnAddresses()
    for (index, backend) in backends.enumerated() {
      checkTLS(of: backend, at: index)
      checkParents(of: backend)
      checkSource(of: backend)
      checkSplice(of: backend)
      checkServers(of: backend)
      checkTLVs(of: backend)
      checkHealth(of: backend)
    }
    for listener in listeners {
      checkHello(listener)
      checkTLS(listener)
      checkStartTLS(listener)
      checkRules(of: listener)
    }
    checkEgress()
    checkTrust()
    for (listener, reached) in zip(listeners, reached) {
      for index in reached { checkHeader(listener, backends[index]) }
    }
    warnOfNever()
  }

  /// The values of the draft; defaults stand for what is not there.
  var snapshot: Snapshot {
    let global = Timeouts().overridden(by: draft.timeouts)
    let backends = servedBackends
    return Snapshot(
      workers: draft.workers, events: draft.events, latency: draft.latency,
      admin: adminSettings, metrics: metricsSettings, log: draft.log,
      stateDirectory: draft.stateDirectory, limits: draft.limits, resolver: draft.resolver,
      timeouts: global, trustedNetworks: globalSources.map(\.network),
      drainMs: draft.drainMs,
      listeners: listeners.compactMap { listener in
        let backend = listener.backend.flatMap { backendIndexes[$0.value] }
        guard backend != nil || listener.backend == nil else { return nil }
        var made = Listener(
          name: listener.name.value, binds: listener.binds.flatMap(\.addresses),
          type: listener.type, hello: Checks.hello(listener), backend: backend,
          proxyProtocol: listener.type == .httpProxy ? ProxyReceiving() : receiving(listener),
          timeouts: global.overridden(by: listener.timeouts), congestion: listener.congestion)
        if let backlog = listener.backlog { made.backlog = backlog }
        (made.spoken, made.maxConnections) = (listener.spoken, listener.maxConnections)
        (made.queue, made.bandwidth) = (listener.queue, listener.bandwidth)
        made.connectionBandwidth = listener.connectionBandwidth
        made.rules = rules(of: listener)
        made.egress = egressIndex(of: listener)
        if let startTLS = listener.startTLS { made.startTLS = startTLS.value }
        made.tls = listener.tls?.value
        // What is spoken inside is this alone; clients that offer HTTP/2 as well settle for it.
        if listener.type == .httpProxy { made.tls?.alpn = ["http/1.1"] }
        return made
      },
      backends: backends + backends.compactMap(\.parentsBackend) + egress.compactMap(\.backend),
      egress: egress)
  }

  private var servedBackends: [Backend] {
    backends.map { backend in
      var made = Backend(
        name: backend.name.value, servers: backend.servers.map(\.value), tlvs: tlvPlan(backend),
        passesClientHeader: backend.passesClientHeader?.value ?? false, balance: backend.balance,
        timeouts: backend.timeouts, source: backend.source?.value,
        congestion: backend.congestion)
      made.tls = backend.tls?.value
      (made.parents, made.parentsCA) = (backend.parents.map(\.value), backend.parentsCA?.value)
      made.check = checkSettings(of: backend)
      made.ejection = backend.ejection
      if let sendProxy = backend.sendProxy { made.sendProxy = sendProxy.value }
      (made.slowStartMs, made.maxConnections) = (backend.slowStartMs, backend.maxConnections)
      made.panicPercent = backend.panicPercent
      if let retries = backend.retries { made.retries = retries }
      made.retryPercent = backend.retryPercent
      if let splice = backend.splice { made.splice = splice.value }
      return made
    }
  }

  private func rules(of listener: ListenerDraft) -> [Rule] {
    listener.rules.enumerated().compactMap { place, rule in
      let backend = rule.backend.flatMap { backendIndexes[$0.value] }
      guard let action = rule.verb?.value.action ?? backend.map({ .backend($0) }) else {
        return nil
      }
      return Rule(
        name: Checks.name(of: rule, at: place), conditions: rule.conditions, action: action)
    }
  }

  private mutating func checkPresence() {
    if draft.listeners == nil {
      diagnostics.error(draft.root, "there are no listeners; nothing could connect")
    }
    if draft.backends == nil,
      listeners.isEmpty || !listeners.allSatisfy({ $0.type == .httpProxy })
    {
      diagnostics.error(draft.root, "there are no backends; there is nowhere to connect to")
    }
  }

  /// Without any backend the names are not wrong: the backends are missing.
  private mutating func checkBackendNames() {
    guard draft.backends != nil, draft.listeners != nil else { return }
    var used: Set<Int> = []
    var isComplete = true
    for listener in listeners {
      if !listener.hasReadableTargets { isComplete = false }
      for wanted in listener.wantedBackends {
        if let index = backendIndexes[wanted.value] {
          used.insert(index)
          continue
        }
        isComplete = false
        guard !backends.isEmpty else { continue }
        diagnostics.error(
          wanted.position,
          "unknown backend \"\(wanted.value)\""
            + Checks.hint(for: wanted.value, among: backends.map(\.name.value)))
      }
    }
    // While a listener's backend is not known, any of them may be the one it means.
    guard isComplete else { return }
    for (index, backend) in backends.enumerated() where !used.contains(index) {
      diagnostics.warn(
        backend.name.position, "no listener uses backend \"\(backend.name.value)\"")
    }
  }

  private static func hint(for text: String, among names: [String]) -> String {
    if let nearest = Nearest.name(to: text, among: names) {
      return ", did you mean \"\(nearest)\"?"
    }
    let shown = names.prefix(8).joined(separator: ", ")
    return "; backends are \(shown)" + (names.count > 8 ? ", ..." : "")
  }

  // MARK: First bytes

  private static func hello(_ listener: ListenerDraft) -> HelloPolicy {
    var policy = HelloPolicy()
    if let withoutName = listener.withoutName { policy.withoutName = withoutName.value }
    if let notTLS = listener.notTLS { policy.notTLS = notTLS.value }
    return policy
  }

  private mutating func checkHello(_ listener: ListenerDraft) {
    guard listener.type != .tls else { return }
    if listener.tls != nil {
      guard let notTLS = listener.notTLS else { return }
      return diagnostics.error(
        notTLS.position,
        "not-tls is for \"type: tls\"; what is no TLS cannot be ended here, and is turned away")
    }
    for (key, value) in [("no-sni", listener.withoutName), ("not-tls", listener.notTLS)] {
      guard let value, listener.type != .startTLS else { continue }
      diagnostics.error(
        value.position,
        "\(key) is for \"type: tls\"; a \(listener.type.word) listener reads no ClientHello")
    }
  }

  // MARK: Addresses

  /// One bound address and the listener that has it.
  private struct Bound {
    var listener: String
    var text: Located<String>
  }

  /// What a wildcard covers: a port in one family.
  private struct Wildcard: Hashable {
    var port: UInt16
    var isIPv6: Bool

    /// The wildcard that would cover `address`; nil for a Unix address.
    init?(covering address: SocketAddress) {
      guard let port = address.port else { return nil }
      self.port = port
      isIPv6 = if case .ipv6 = address { true } else { false }
    }
  }

  private mutating func checkBinds() {
    var bound: [SocketAddress: Bound] = [:]
    var wildcards: [Wildcard: Bound] = [:]
    for listener in listeners {
      for bind in listener.binds {
        let new = Bound(listener: listener.name.value, text: bind.text)
        if let old = bind.addresses.lazy.compactMap({ bound[$0] }).first {
          diagnostics.error(
            bind.text.position,
            "\"\(bind.text.value)\" is already bound by listener \"\(old.listener)\" at "
              + "\(old.text.position)")
        }
        for address in bind.addresses where bound[address] == nil {
          bound[address] = new
          guard address.isWildcard, let wildcard = Wildcard(covering: address) else { continue }
          wildcards[wildcard] = new
        }
      }
    }
    for listener in listeners {
      for bind in listener.binds { warnOfWildcard(bind, listener, wildcards) }
    }
    for (listener, reached) in zip(listeners, reached) {
      warnOfLoops(listener, reached, bound, wildcards)
    }
  }

  /// Linux lets both listen (SO_REUSEPORT on both) and gives a connection to the more specific
  /// one; a person may not expect the wildcard to miss it.
  private mutating func warnOfWildcard(
    _ bind: BindDraft, _ listener: ListenerDraft, _ wildcards: [Wildcard: Bound]
  ) {
    for address in bind.addresses where !address.isWildcard {
      guard let wildcard = Wildcard(covering: address), let other = wildcards[wildcard] else {
        continue
      }
      let isLater = other.text.position < bind.text.position
      diagnostics.warn(
        max(bind.text.position, other.text.position),
        isLater
          ? "\(bind.text.value) takes its connections from the wildcard \(other.text.value) of "
            + "listener \"\(other.listener)\" at \(other.text.position)"
          : "the wildcard \(other.text.value) gets no connections for \(bind.text.value) of "
            + "listener \"\(listener.name.value)\" at \(bind.text.position)")
    }
  }

  /// A server that is the listener itself would be dialled by each of its own connections.
  private mutating func warnOfLoops(
    _ listener: ListenerDraft, _ reached: [Int], _ bound: [SocketAddress: Bound],
    _ wildcards: [Wildcard: Bound]
  ) {
    for server in reached.flatMap({ backends[$0].servers }) {
      guard let address = server.value.address else { continue }
      let covering = address.isLoopback ? Wildcard(covering: address) : nil
      let owner = bound[address] ?? covering.flatMap { wildcards[$0] }
      guard let owner, owner.listener == listener.name.value else { continue }
      diagnostics.warn(
        server.position,
        "server \(server.value.name) is listener \"\(owner.listener)\" itself (\(owner.text.value) "
          + "at \(owner.text.position)); its connections would loop")
    }
  }

  // MARK: Backends

  private mutating func checkServers(of backend: BackendDraft) {
    var places: [ServerTarget: Position] = [:]
    for server in backend.servers {
      if let first = places[server.value.target] {
        diagnostics.warn(
          server.position,
          "server \(server.value.name) is listed twice, first at \(first); it gets two shares")
      } else {
        places[server.value.target] = server.position
      }
    }
    guard let first = backend.servers.first else { return }
    if backend.servers.allSatisfy(\.value.isBackup) {
      diagnostics.warn(
        first.position,
        "every server of backend \"\(backend.name.value)\" is a backup, so it makes no difference")
    }
    guard backend.servers.allSatisfy({ $0.value.weight == 0 }) else { return }
    diagnostics.warn(
      first.position,
      "every server of backend \"\(backend.name.value)\" has weight 0, so none gets connections")
  }

  private mutating func checkSource(of backend: BackendDraft) {
    guard let source = backend.source else { return }
    let family = Checks.family(of: source.value)
    // One server shows the mistake; the others only repeat it. Of what a name resolves to, the
    // other family is left out.
    for other in backend.dialled {
      guard case .address(let address) = other.target, Checks.family(of: address) != family
      else { continue }
      diagnostics.error(
        source.position,
        "source: \(source.value.hostDescription) is \(family), but \(other.what) at "
          + "\(other.position) is \(Checks.family(of: address))")
      return
    }
  }

  static func family(of address: SocketAddress) -> String {
    switch address {
    case .ipv4: "IPv4"
    case .ipv6: "IPv6"
    case .unix: "a Unix socket"
    }
  }

  private mutating func checkSplice(of backend: BackendDraft) {
    guard let splice = backend.splice, splice.value == .ring, draft.events == .epoll else { return }
    diagnostics.error(
      splice.position,
      "splice: ring is an io_uring operation, and \"events: epoll\" turns io_uring off; use auto "
        + "or inline")
  }

  /// The v1 header has TCP4, TCP6 and UNKNOWN only (proxy-protocol.txt, section 2.1), and UNKNOWN
  /// would hide the client from a mail server that trusts the header.
  private mutating func checkHeader(_ listener: ListenerDraft, _ backend: BackendDraft) {
    guard let sendProxy = backend.sendProxy, sendProxy.value == .v1 else { return }
    let unix = listener.binds.first { bind in
      bind.addresses.contains { if case .unix = $0 { true } else { false } }
    }
    guard let unix else { return }
    diagnostics.warn(
      sendProxy.position,
      "send-proxy: v1 cannot carry the Unix addresses of listener \"\(listener.name.value)\" "
        + "(\(unix.text.value) at \(unix.text.position)); use v2")
  }
}

extension ListenerDraft {
  /// As the file names them, in its rules and as its own.
  fileprivate var wantedBackends: [Located<String>] {
    rules.compactMap(\.backend) + (backend.map { [$0] } ?? [])
  }

  /// False where it may lead to a backend that could not be read.
  fileprivate var hasReadableTargets: Bool {
    if type == .httpProxy { return true }
    return hasTarget && rules.allSatisfy { $0.backend != nil || $0.verb != nil }
      && (backend != nil || !rules.isEmpty)
  }
}
