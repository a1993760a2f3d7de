internal import Config
internal import DataPlane
internal import Routing
internal import System
internal import Wire

/// A snapshot as the data plane takes it.
extension Snapshot {
  /// - Parameters:
  ///   - hasRing: whether events come from the ring, without which its splice engine cannot work
  ///     either; then splice(2) takes its place.
  ///   - sockets: those that stand, `SocketBook.Step.entries`; nil: one for each listener.
  ///   - series: where the table's things are counted; nil for a table that none follows.
  ///   - load: what the workers count together, prepared for `series`.
  ///   - former: the table that this one takes the place of.
  ///   - transports: without them a table is good for questions only.
  func routeTable(
    hasRing: Bool, sockets: [SocketEntry]? = nil, series: SeriesPlan? = nil,
    load: SharedLoad? = nil, former: RouteTable? = nil, transports: Transports = Transports()
  ) -> RouteTable {
    var servers: [ServerEntry] = []
    var entries: [BackendEntry] = []
    for backend in backends {
      let first = servers.count
      servers += backend.servers.map { ServerEntry($0) }
      entries.append(
        BackendEntry(
          name: backend.name, servers: first..<servers.count, retries: backend.retries,
          header: ProxyHeaderVersion(backend.sendProxy),
          splice: SpliceEngine(backend.splice, hasRing: hasRing), source: backend.source,
          congestion: backend.congestion ?? "", tlvs: backend.tlvs,
          passesClientHeader: backend.passesClientHeader, balance: backend.balance,
          slowStartMs: backend.slowStartMs, panicPercent: backend.panicPercent,
          maxConnections: UInt32(backend.maxConnections), retryPercent: backend.retryPercent,
          deadlines: DeadlineOverrides(backend.timeouts), tls: backend.transport(transports),
          parents: parents(of: backend)))
    }
    // Most listeners have the same networks, and a table of thousands is worth sharing.
    var tables: [[TrustedSource]: TrustTable] = [:]
    var compiled = CompiledRules(former)
    let plans = egressPlans()
    let listeners = listeners.map { listener in
      let timeouts = listener.timeouts
      let receiving = listener.proxyProtocol
      let trust = tables[receiving.sources] ?? receiving.trust
      tables[receiving.sources] = trust
      return ListenerEntry(
        name: listener.name, backend: listener.backend,
        rules: listener.rules.map { RuleEntry(name: $0.name, action: $0.action) },
        conditions: compiled.table(of: listener.rules), connectMs: timeouts.connectMs,
        idleMs: timeouts.idleMs, halfClosedMs: timeouts.halfClosedMs,
        maxAgeMs: timeouts.maxAgeMs, trust: trust, headerMs: timeouts.proxyHeaderMs,
        headerLimit: receiving.headerLimit, acceptsUnknown: receiving.acceptsUnknown,
        hello: listener.readsHello ? listener.hello : nil,
        prefaceMs: timeouts.prefaceMs,
        // What reads TLS would take words for a fault.
        spoken: listener.type == .tls ? nil : listener.spoken,
        maxConnections: UInt32(listener.maxConnections), queue: listener.queue,
        bandwidth: listener.bandwidth, connectionBandwidth: listener.connectionBandwidth,
        startTLS: listener.startTLSPlan(serverMs: timeouts.startTLSMs),
        egress: listener.egress.map { plans[$0] },
        tls: transports.ending(of: listener.name))
    }
    return RouteTable(
      listeners: listeners, backends: entries, servers: servers, sockets: sockets, series: series,
      sources: SourceLimits(
        limits.perSource, exceptions: limits.exceptions.map { ($0.network, $0.limit) }),
      load: load, former: former)
  }

  /// - Parameter inherited: sockets that were handed over; one whose address is that of a `bind`
  ///   is used in its place, and an IPv6 one that takes IPv4 clients stands for both wildcards.
  func bindings(_ inherited: [InheritedSocket]) -> [Binding] {
    var used: Set<Int32> = []
    return listeners.enumerated().flatMap { index, listener in
      listener.binds.compactMap { address -> Binding? in
        let socket = inherited.first { $0.serves(address) }
        if let socket, !used.insert(socket.descriptor).inserted { return nil }
        return Binding(
          listener: index, address: socket?.address ?? address, backlog: listener.backlog,
          congestion: listener.congestion ?? "", inherited: socket?.descriptor)
      }
    }
  }

  /// The files that Unix listeners make.
  var socketPaths: [String] { listeners.flatMap(\.binds).compactMap(\.file) }

  func workerCount() -> Int {
    switch workers {
    case .auto: CPUs.workers()
    case .count(let count): count
    }
  }
}

/// Tables of rules, each made once: for all listeners whose rules ask for the same, and for all
/// configurations in a row, since a table of a hundred thousand names takes a while.
private struct CompiledRules {
  private var tables: [RuleTable]

  init(_ former: RouteTable?) {
    tables = []
    for table in former?.listeners.compactMap(\.conditions) ?? [] {
      if !tables.contains(where: { $0 === table }) { tables.append(table) }
    }
  }

  mutating func table(of rules: [Rule]) -> RuleTable? {
    guard !rules.isEmpty else { return nil }
    let wanted = rules.map(\.conditions)
    if let table = tables.first(where: { $0.conditions == wanted }) { return table }
    let table = RuleTable(wanted)
    tables.append(table)
    return table
  }
}

extension DeadlineOverrides {
  fileprivate init(_ timeouts: TimeoutOverrides) {
    self.init(
      connectMs: timeouts.connectMs, idleMs: timeouts.idleMs, halfClosedMs: timeouts.halfClosedMs,
      maxAgeMs: timeouts.maxAgeMs, startTLSMs: timeouts.startTLSMs)
  }
}

extension Listener {
  fileprivate var readsHello: Bool {
    switch type {
    case .tcp, .serverFirst: tls != nil
    case .tls, .startTLS: true
    case .httpProxy: false
    }
  }
}

extension Config.Backend {
  /// Nil for servers that are spoken to plainly.
  fileprivate func transport(_ transports: Transports) -> BackendTLS? {
    guard let tls, let setup = transports.beginning(of: name) else { return nil }
    return BackendTLS(setup: setup, names: servers.map { tls.name?.text ?? $0.ownName })
  }
}

extension Config.Server {
  /// What its certificate is to name: the name that the file has for it, or its address.
  var ownName: String {
    let written = origin ?? name
    if let address {
      guard origin != nil else { return address.port == nil ? "" : address.bareHost }
    }
    // `mail.example:993`, `srv:_imaps._tcp.mail.example`: the domain that the records are of.
    if written.hasPrefix("srv:") {
      return written.dropFirst(4).split(separator: ".").drop { $0.hasPrefix("_") }
        .joined(separator: ".")
    }
    return String(written.prefix { $0 != ":" })
  }
}

extension SocketAddress {
  /// Without brackets, zone and port.
  fileprivate var bareHost: String {
    String(hostDescription.filter { $0 != "[" && $0 != "]" }.prefix { $0 != "%" })
  }
}

extension Listener {
  /// Nil for other types.
  fileprivate func startTLSPlan(serverMs: UInt32) -> StartTLSPlan? {
    guard type == .startTLS, let words = startTLS.words(in: spoken, on: Machine.hostName) else {
      return nil
    }
    return StartTLSPlan(words: words, serverMs: serverMs)
  }
}

extension ProxyHeaderVersion {
  fileprivate init(_ choice: SendProxy) {
    switch choice {
    case .none: self = .none
    case .v1: self = .v1
    case .v2: self = .v2
    }
  }
}

extension SpliceEngine {
  /// `auto` is `inline`: measured side by side, the ring engine was never 5 % better.
  fileprivate init(_ choice: SpliceChoice, hasRing: Bool) {
    switch choice {
    case .auto, .inline: self = .inline
    case .ring: self = hasRing ? .ring : .inline
    case .off: self = .off
    }
  }
}

extension ServerEntry {
  /// A name that does not resolve yet stands for a place where nobody can listen, so that every
  /// dial is refused at once.
  fileprivate convenience init(_ server: Config.Server) {
    self.init(
      name: server.name, address: server.address ?? .ipv4(0x7f00_0001, port: 0),
      weight: server.weight, isBackup: server.isBackup,
      maxConnections: UInt32(server.maxConnections), origin: server.origin)
  }
}
