import Routing
import Wire

extension Snapshot {
  /// The configuration as a file that reads back as this snapshot. Secrets stay where they are.
  ///
  /// - Parameter defaults: writes the keys that have their default value as well, and those that
  ///   have none as comments, so that every key is there.
  package func yaml(defaults: Bool) -> String {
    var writer = SnapshotWriter(snapshot: self, all: defaults)
    writer.write()
    return writer.yaml.text
  }
}

/// Writes the keys of a snapshot in the order of the reference.
struct SnapshotWriter {
  let snapshot: Snapshot
  /// Whether keys with default values are written too.
  let all: Bool
  var yaml = YAMLText()

  mutating func write() {
    pair(RootKey.workers, snapshot.workers.text)
    pair(RootKey.events, snapshot.events.word)
    pair(RootKey.latency, snapshot.latency.word)
    writeAdmin()
    writeMetrics()
    section(RootKey.log) { $0.write($0.snapshot.log) }
    pair(RootKey.stateDirectory, snapshot.stateDirectory)
    section(RootKey.limits) { $0.write($0.snapshot.limits) }
    section(RootKey.resolver) { $0.write($0.snapshot.resolver) }
    section(RootKey.timeouts) {
      let standard = Timeouts()
      for key in TimeoutKey.listener {
        $0.write(key, $0.snapshot.timeouts[key], unless: standard[key])
      }
      $0.write(TimeoutKey.drain, $0.snapshot.drainMs, unless: Timeouts.drainDefaultMs)
    }
    let networks = snapshot.trustedNetworks
    if all || !networks.isEmpty { list(RootKey.trustedNetworks, networks.map(\.written)) }
    section(RootKey.listeners) { writer in
      for listener in writer.snapshot.listeners {
        writer.section(named: listener.name) { $0.write(listener) }
      }
    }
    section(RootKey.backends) { writer in
      for backend in writer.snapshot.backends where !backend.isParents {
        writer.section(named: backend.name) { $0.write(backend) }
      }
    }
    writeEgress()
  }

  // MARK: The process

  private mutating func writeAdmin() {
    guard let admin = snapshot.admin else { return absent(RootKey.admin) }
    section(RootKey.admin, mayBeEmpty: true) {
      $0.pair(AdminKey.socket, admin.socket)
      let digits = String(admin.mode, radix: 8)
      let mode = String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits
      $0.raw(AdminKey.mode, "\"\(mode)\"")
      $0.optional(AdminKey.group, admin.group)
      $0.list(AdminKey.operate, admin.operate.map { YAMLText.scalar($0.description) })
      $0.list(AdminKey.view, admin.view.map { YAMLText.scalar($0.description) })
    }
  }

  private mutating func writeMetrics() {
    guard let metrics = snapshot.metrics else { return absent(RootKey.metrics) }
    section(RootKey.metrics, mayBeEmpty: true) {
      if $0.all || metrics.binds != MetricsSettings().binds {
        $0.list(MetricsKey.bind, metrics.binds.written)
      }
      // Without this an address beyond loopback is warned of.
      let isLocal = metrics.binds.allSatisfy(\.isLoopback)
      if $0.all || !metrics.hasPage || !isLocal {
        $0.yaml.pair(MetricsKey.page.rawValue, "\(metrics.hasPage)")
      }
      $0.list(MetricsKey.hosts, metrics.hosts.map { YAMLText.scalar($0.text) })
      $0.pair(MetricsKey.topClients, metrics.topClients == 0 ? "off" : "\(metrics.topClients)")
    }
  }

  private mutating func write(_ log: LogSettings) {
    pair(LogKey.connections, log.connections.text)
    pair(LogKey.format, log.format.word)
    if log.fields != LogField.allCases {
      list(LogKey.fields, log.fields.map(\.word))
    } else if all {
      yaml.pair(LogKey.fields.rawValue, "all")
    }
    pair(LogKey.level, log.level.word)
  }

  // MARK: Listeners

  private mutating func write(_ listener: Listener) {
    list(ListenerKey.bind, listener.binds.written)
    pair(ListenerKey.type, listener.type.word)
    switch listener.type {
    case .tcp, .serverFirst, .httpProxy:
      if listener.tls == nil {
        absent(ListenerKey.noSNI)
      } else {
        pair(ListenerKey.noSNI, listener.hello.withoutName.word)
      }
      absent(ListenerKey.notTLS)
      absent(ListenerKey.startTLS)
    case .tls:
      pair(ListenerKey.noSNI, listener.hello.withoutName.word)
      pair(ListenerKey.notTLS, listener.hello.notTLS.word)
      absent(ListenerKey.startTLS)
    case .startTLS:
      pair(ListenerKey.noSNI, listener.hello.withoutName.word)
      absent(ListenerKey.notTLS)
      section(ListenerKey.startTLS) { $0.write(listener.startTLS) }
    }
    write(listener.tls)
    write(listener.rules)
    optional(ListenerKey.backend, listener.backend.map { snapshot.backends[$0].name })
    optional(ListenerKey.egress, snapshot.egress(of: listener)?.name)
    if listener.type != .httpProxy { write(listener.proxyProtocol) }
    section(ListenerKey.timeouts) {
      let global = $0.snapshot.timeouts
      for key in TimeoutKey.listener {
        $0.write(key, listener.timeouts[key], unless: global[key])
      }
    }
    optional(ListenerKey.spoken, listener.spoken?.word)
    pair(ListenerKey.maxConnections, limit(listener.maxConnections))
    if let queue = listener.queue {
      section(ListenerKey.queue, mayBeEmpty: true) {
        $0.pair(QueueKey.length, "\(queue.length)")
        $0.pair(QueueKey.timeout, Scalar.text(ofDurationMs: queue.timeoutMs))
      }
    } else {
      pair(ListenerKey.queue, "off")
    }
    pair(ListenerKey.bandwidth, bandwidth(listener.bandwidth))
    pair(ListenerKey.connectionBandwidth, bandwidth(listener.connectionBandwidth))
    optional(ListenerKey.congestion, listener.congestion)
    pair(ListenerKey.backlog, "\(listener.backlog)")
  }

  private mutating func write(_ rules: [Rule]) {
    guard !rules.isEmpty else { return absent(ListenerKey.rules) }
    yaml.items(ListenerKey.rules.rawValue, rules.enumerated().map { written($1, at: $0) })
  }

  private mutating func write(_ settings: StartTLSSettings) {
    optional(StartTLSKey.name, settings.name?.text)
    optional(StartTLSKey.greeting, settings.greeting)
    list(StartTLSKey.capabilities, settings.capabilities.map { YAMLText.scalar($0) })
    pair(StartTLSKey.plaintext, settings.plaintext.word)
  }

  private mutating func write(_ receiving: ProxyReceiving) {
    guard !receiving.isOff else {
      absent(ListenerKey.trustedNetworks)
      yaml.pair(ListenerKey.inherit.rawValue, "false")
      return yaml.pair(ListenerKey.proxyProtocol.rawValue, "off")
    }
    let own = receiving.sources.filter { $0.origin == .own }
    let inherits = receiving.sources.contains { $0.origin == .inherited }
    // A list of its own that is empty trusts nobody, if there was somebody to be trusted.
    let isGlobal =
      !inherits && own.isEmpty
      && (!receiving.sources.isEmpty || snapshot.trustedNetworks.isEmpty)
    let isShort = own.allSatisfy { $0.rule == .require }
    if isGlobal || !isShort {
      absent(ListenerKey.trustedNetworks)
    } else {
      list(ListenerKey.trustedNetworks, own.map(\.network.written))
    }
    if isShort { pair(ListenerKey.inherit, "\(inherits)") }
    section(ListenerKey.proxyProtocol) {
      if isShort {
        $0.absent(ProxyProtocolKey.sources)
      } else {
        $0.write(sources: own)
        $0.pair(ProxyProtocolKey.inherit, "\(inherits)")
      }
      $0.write(ProxyProtocolKey.maxHeader, receiving.headerLimit)
      $0.pair(ProxyProtocolKey.unknown, receiving.acceptsUnknown ? "accept" : "reject")
    }
  }

  /// Neighbours with one rule share an item.
  private mutating func write(sources: [TrustedSource]) {
    var items: [(rule: HeaderRule, networks: [String])] = []
    for source in sources {
      if items.last?.rule == source.rule {
        items[items.count - 1].networks.append(source.network.written)
      } else {
        items.append((source.rule, [source.network.written]))
      }
    }
    list(
      ProxyProtocolKey.sources,
      items.map { item in
        YAMLText.flow([
          (SourceKey.networks.rawValue, "[\(item.networks.joined(separator: ", "))]"),
          (SourceKey.header.rawValue, item.rule.word),
        ])
      })
  }

  // MARK: Backends

  private mutating func write(_ backend: Backend) {
    list(BackendKey.servers, backend.servers.map { written($0) })
    pair(BackendKey.sendProxy, backend.sendProxy.word)
    write(backend.tlvs, isSent: backend.sendProxy == .v2)
    pair(BackendKey.passClientProxyHeader, "\(backend.passesClientHeader)")
    write(backend.tls)
    write(backend.parents, backend.parentsCA)
    pair(BackendKey.balance, backend.balance.word)
    pair(BackendKey.slowStart, Scalar.text(ofDurationMs: backend.slowStartMs))
    pair(BackendKey.panicThreshold, "\(backend.panicPercent)%")
    pair(BackendKey.maxConnections, limit(backend.maxConnections))
    write(backend.check)
    write(backend.ejection)
    pair(BackendKey.retries, "\(backend.retries)")
    pair(BackendKey.retryBudget, "\(backend.retryPercent)%")
    section(BackendKey.timeouts) {
      for key in TimeoutKey.backend {
        guard let milliseconds = backend.timeouts[key] else {
          $0.absent(key)
          continue
        }
        $0.yaml.pair(key.rawValue, Scalar.text(ofDurationMs: milliseconds))
      }
    }
    optional(BackendKey.source, backend.source?.hostDescription)
    pair(BackendKey.splice, backend.splice.word)
    optional(BackendKey.congestion, backend.congestion)
  }

  private mutating func write(_ resolver: ResolverSettings) {
    if let servers = resolver.servers {
      list(ResolverKey.servers, servers.map { YAMLText.scalar($0.description) })
    } else {
      absent(ResolverKey.servers)
    }
    pair(ResolverKey.minTTL, Scalar.text(ofDurationMs: resolver.minTTLMs))
    pair(ResolverKey.maxTTL, Scalar.text(ofDurationMs: resolver.maxTTLMs))
    pair(ResolverKey.timeout, Scalar.text(ofDurationMs: resolver.timeoutMs))
    pair(ResolverKey.attempts, "\(resolver.attempts)")
  }

  private mutating func write(_ check: CheckSettings?) {
    guard let check else { return pair(BackendKey.check, "off") }
    section(BackendKey.check) {
      $0.pair(CheckKey.type, check.kind.type.rawValue)
      $0.pair(CheckKey.interval, Scalar.text(ofDurationMs: check.intervalMs))
      $0.pair(CheckKey.timeout, Scalar.text(ofDurationMs: check.timeoutMs))
      $0.pair(CheckKey.jitter, "\(check.jitterPercent)%")
      $0.pair(CheckKey.rise, "\(check.rise)")
      $0.pair(CheckKey.fall, "\(check.fall)")
      $0.pair(CheckKey.onDown, Scalar.text(of: check.onDown))
      switch check.kind {
      case .connect, .tls, .smtp, .imap, .pop3, .sieve: break
      case .http(let path, let host, let statuses):
        $0.pair(CheckKey.path, path)
        $0.optional(CheckKey.host, host)
        $0.list(CheckKey.status, statuses.map { YAMLText.scalar(Scalar.text(ofStatuses: $0)) })
      case .exchange(let send, let expect):
        $0.optional(CheckKey.send, send.isEmpty ? nil : escapedText(send))
        $0.yaml.pair(CheckKey.expect.rawValue, escapedText(expect))
      }
      $0.pair(CheckKey.proxy, "\(check.sendsHeader)")
    }
  }

  private mutating func write(_ ejection: EjectionSettings?) {
    guard let ejection else { return yaml.pair(BackendKey.eject.rawValue, "off") }
    section(BackendKey.eject) {
      $0.pair(EjectKey.failures, "\(ejection.failures)")
      $0.pair(EjectKey.time, Scalar.text(ofDurationMs: ejection.timeMs))
      $0.pair(EjectKey.maxTime, Scalar.text(ofDurationMs: ejection.longestMs))
    }
  }

  private func written(_ server: Server) -> String {
    let address = YAMLText.scalar(server.name)
    let plain = Server(name: server.name, target: server.target)
    guard all || server != plain else { return address }
    var pairs: [(String, String)] = [(ServerKey.address.rawValue, address)]
    func add(_ key: ServerKey, _ value: String, _ isPlain: Bool) {
      if all || !isPlain { pairs.append((key.rawValue, value)) }
    }
    add(.weight, "\(server.weight)", server.weight == Server.defaultWeight)
    add(.backup, "\(server.isBackup)", !server.isBackup)
    add(.maxConnections, limit(server.maxConnections), server.maxConnections == 0)
    return YAMLText.flow(pairs)
  }

  private func limit(_ limit: Int) -> String { limit == 0 ? "off" : "\(limit)" }

  private func bandwidth(_ bytes: UInt64) -> String {
    bytes == 0 ? "off" : Scalar.text(ofSize: Int(bytes))
  }

  private mutating func write(_ limits: Limits) {
    pair(LimitsKey.maxConnections, "\(limits.maxConnections)")
    pair(LimitsKey.perSource, limit(limits.perSource.atOnce))
    pair(LimitsKey.perSourceRate, limit(limits.perSource.perSecond))
    switch limits.memory {
    case .auto: pair(LimitsKey.memory, "auto")
    case .off: pair(LimitsKey.memory, "off")
    case .bytes(let bytes): pair(LimitsKey.memory, Scalar.text(ofSize: Int(bytes)))
    }
    guard !limits.exceptions.isEmpty else { return absent(LimitsKey.exceptions) }
    list(
      LimitsKey.exceptions,
      limits.exceptions.map { exception in
        YAMLText.flow([
          (ExceptionKey.networks.rawValue, exception.network.written),
          (ExceptionKey.perSource.rawValue, limit(exception.limit.atOnce)),
          (ExceptionKey.perSourceRate.rawValue, limit(exception.limit.perSecond)),
        ])
      })
  }

  private mutating func write(_ plan: TLVPlan, isSent: Bool) {
    let made = plan.written
    if made.isEmpty {
      absent(BackendKey.proxyTLVs)
    } else {
      list(BackendKey.proxyTLVs, made)
    }
    if plan.relay.isEmpty {
      absent(BackendKey.relayTLVs)
    } else {
      list(BackendKey.relayTLVs, plan.relay.map { Scalar.relayedText($0) })
    }
    // Other versions have no such header.
    guard isSent else { return absent(BackendKey.proxyHeader) }
    section(BackendKey.proxyHeader) {
      $0.pair(ProxyHeaderKey.limit, "\(plan.limit)")
      $0.pair(ProxyHeaderKey.align, "\(plan.alignment)")
    }
  }
}

// MARK: Keys

extension SnapshotWriter {
  /// Writes the value, unless the schema has it as the key's default.
  mutating func pair(_ key: some SchemaKey, _ value: String) {
    guard all || key.defaultText != value else { return }
    raw(key, YAMLText.scalar(value))
  }

  /// The same, with the value as it stands in the file.
  mutating func raw(_ key: some SchemaKey, _ value: String) {
    guard all || key.defaultText != value else { return }
    yaml.raw(key.rawValue, value)
  }

  mutating func optional(_ key: some SchemaKey, _ value: String?) {
    guard let value else { return absent(key) }
    yaml.pair(key.rawValue, value)
  }

  mutating func absent(_ key: some SchemaKey) {
    if all { yaml.absent(key.rawValue) }
  }

  mutating func list(_ key: some SchemaKey, _ items: [String]) {
    guard all || key.defaultText != "[\(items.joined(separator: ", "))]" else { return }
    yaml.list(key.rawValue, items)
  }

  mutating func write(_ key: TimeoutKey, _ milliseconds: UInt32, unless standard: UInt32) {
    guard all || milliseconds != standard else { return }
    let zero = key.mayBeOff ? "off" : "0s"
    yaml.pair(key.rawValue, Scalar.text(ofDurationMs: milliseconds, zero: zero))
  }

  mutating func write(_ key: ProxyProtocolKey, _ bytes: Int) {
    pair(key, Scalar.text(ofSize: bytes))
  }

  mutating func section(
    _ key: some SchemaKey, mayBeEmpty: Bool = false, _ body: (inout SnapshotWriter) -> Void
  ) {
    section(named: key.rawValue, mayBeEmpty: mayBeEmpty, body)
  }

  mutating func section(
    named name: String, mayBeEmpty: Bool = false, _ body: (inout SnapshotWriter) -> Void
  ) {
    let start = yaml.open(name)
    body(&self)
    yaml.close(start, name, mayBeEmpty: mayBeEmpty)
  }
}

// MARK: Values

extension Timeouts {
  /// 0 for `drain`, which is no connection's.
  fileprivate subscript(key: TimeoutKey) -> UInt32 {
    switch key {
    case .preface: prefaceMs
    case .proxyHeader: proxyHeaderMs
    case .connect: connectMs
    case .startTLS: startTLSMs
    case .idle: idleMs
    case .halfClosed: halfClosedMs
    case .maxAge: maxAgeMs
    case .drain: 0
    }
  }
}

extension TimeoutOverrides {
  fileprivate subscript(key: TimeoutKey) -> UInt32? {
    switch key {
    case .preface: prefaceMs
    case .proxyHeader: proxyHeaderMs
    case .connect: connectMs
    case .startTLS: startTLSMs
    case .idle: idleMs
    case .halfClosed: halfClosedMs
    case .maxAge: maxAgeMs
    case .drain: nil
    }
  }
}

extension Network {
  var written: String { YAMLText.scalar(description) }
}

extension [SocketAddress] {
  /// Both wildcards of a port side by side are `":25"`.
  fileprivate var written: [String] {
    var items: [String] = []
    for address in self {
      if case .ipv6(0, 0, let port, 0) = address, items.last == YAMLText.scalar("0.0.0.0:\(port)") {
        items[items.count - 1] = YAMLText.scalar(":\(port)")
      } else {
        items.append(YAMLText.scalar(address.description))
      }
    }
    return items
  }
}

extension TLVPlan {
  fileprivate var written: [String] {
    var items: [String] = []
    if uniqueID { items.append("unique-id") }
    if checksum { items.append("crc32c") }
    if authority { items.append("authority") }
    if alpn { items.append("alpn") }
    if ssl { items.append("ssl") }
    if clientCertificate { items.append("client-certificate") }
    if let networkNamespace {
      items.append(YAMLText.flow([(TLVKey.netns.rawValue, YAMLText.scalar(networkNamespace))]))
    }
    return items
      + custom.map { tlv in
        YAMLText.flow([
          (TLVKey.type.rawValue, Scalar.hexadecimal(tlv.type)),
          (TLVKey.value.rawValue, YAMLText.quoted(Scalar.text(of: tlv.value))),
        ])
      }
  }
}

extension WorkerCount {
  fileprivate var text: String {
    switch self {
    case .auto: "auto"
    case .count(let count): "\(count)"
    }
  }
}

extension LogTarget {
  fileprivate var text: String {
    switch self {
    case .stdout: "stdout"
    case .journal: "journal"
    case .off: "off"
    case .file(let path): path
    }
  }
}
