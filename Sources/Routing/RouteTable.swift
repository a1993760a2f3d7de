package import Wire

/// What workers route by: one immutable, flat table per snapshot, borrowed by all of them.
///
/// Everything is an index into the arrays beside it, so that an answer carries numbers only: no
/// retain and no allocation per decision.
package final class RouteTable: Sendable {
  package let listeners: [ListenerEntry]
  package let backends: [BackendEntry]
  /// The servers of all backends: those of the first, then those of the second, and so on.
  package let servers: [ServerEntry]
  /// Where each of them is counted.
  package let series: SeriesPlan
  /// By ascending tag.
  package let sockets: [SocketEntry]
  /// How many connections each source may have.
  package let sources: SourceLimits
  /// What all workers count together, whatever table they have.
  package let load: SharedLoad
  /// How servers are chosen.
  package let balance: BalancePlan
  /// By server: its backend.
  private let owners: [UInt32]
  /// By backend: whether it or any of its servers has a limit.
  private let limited: [Bool]
  /// By listener: what its rules and its own backend may lead to.
  private let reaches: [Reach]
  /// Whether a server of any backend is told what the ClientHello says.
  package let tellsOfHellos: Bool
  /// All of it that routed connections still ask for, without the trust, which is most of its
  /// size; nil when it trusts nobody anyway.
  package let remainder: RouteTable?

  /// - Parameters:
  ///   - sockets: nil when each listener has one, whose tag is the listener's index.
  ///   - series: nil numbers everything in the table's own order.
  ///   - load: prepared for `series`; nil shares nothing with other tables.
  ///   - former: the table before, of which is kept what is costly to make and has not changed.
  package convenience init(
    listeners: [ListenerEntry], backends: [BackendEntry], servers: [ServerEntry],
    sockets: [SocketEntry]? = nil, series: SeriesPlan? = nil,
    sources: SourceLimits = SourceLimits(), load: SharedLoad? = nil, former: RouteTable? = nil
  ) {
    let sockets =
      sockets?.sorted { $0.tag < $1.tag }
      ?? listeners.indices.map { SocketEntry(tag: UInt32($0), listener: $0) }
    for (socket, next) in zip(sockets, sockets.dropFirst()) { precondition(socket.tag < next.tag) }
    for socket in sockets { precondition(listeners.indices.contains(socket.listener)) }
    let series =
      series
      ?? SeriesPlan(
        listeners: listeners.count, backends: backends.count, servers: servers.count,
        rules: listeners.map { $0.egress?.rules.count ?? $0.rules.count })
    precondition(series.listeners.count == listeners.count)
    precondition(series.backends.count == backends.count)
    precondition(series.servers.count == servers.count)
    var own = SharedLoad()
    if load == nil { own.prepare(for: series) }
    let load = load ?? own
    let balance = BalancePlan(
      backends, servers, series, states: load.servers, former: former?.balance)
    let parts = Parts(
      backends: backends, servers: servers, series: series, sockets: sockets, sources: sources,
      load: load, balance: balance)
    let isPlain = listeners.allSatisfy { $0.trust.entries.isEmpty }
    let rest =
      isPlain ? nil : RouteTable(listeners.map { $0.withoutTrust }, parts, remainder: nil)
    self.init(listeners, parts, remainder: rest)
  }

  /// What a table has in common with its remainder.
  private struct Parts {
    let backends: [BackendEntry]
    let servers: [ServerEntry]
    let series: SeriesPlan
    let sockets: [SocketEntry]
    let sources: SourceLimits
    let load: SharedLoad
    let balance: BalancePlan
  }

  private init(_ listeners: [ListenerEntry], _ parts: Parts, remainder: RouteTable?) {
    let (backends, servers) = (parts.backends, parts.servers)
    var owners: [UInt32] = []
    owners.reserveCapacity(servers.count)
    for (index, backend) in backends.enumerated() {
      precondition(backend.servers.lowerBound == owners.count)
      owners += repeatElement(UInt32(index), count: backend.servers.count)
    }
    precondition(owners.count == servers.count)
    reaches = listeners.map { Reach(of: $0, in: backends) }
    tellsOfHellos = backends.contains { $0.tlvs.authority || $0.tlvs.alpn }
    self.listeners = listeners
    self.backends = backends
    self.servers = servers
    self.sockets = parts.sockets
    self.owners = owners
    limited = backends.map { backend in
      backend.maxConnections > 0 || servers[backend.servers].contains { $0.maxConnections > 0 }
    }
    series = parts.series
    sources = parts.sources
    load = parts.load
    balance = parts.balance
    self.remainder = remainder
  }

  /// Whether the client's address or the one it reached decides anything about the connections of
  /// a listener, or is told to a server of any backend they may be sent to.
  package func needsAddresses(listener: Int) -> Bool { reaches[listener].needsAddresses }

  /// The backend of all its connections, where no rule and no hello is asked; nil elsewhere.
  func onlyBackend(ofListener listener: Int) -> Int? { reaches[listener].only }

  /// The types of received TLVs that any of those backends gets.
  package func relayedTypes(listener: Int) -> [UInt8] { reaches[listener].relayed }

  /// All backends that connections of a listener may be sent to, ascending.
  package func backends(ofListener listener: Int) -> [Int] { reaches[listener].backends }

  /// The backend that a server belongs to.
  package func backend(ofServer server: Int) -> Int { Int(owners[server]) }

  /// Whether a connection may have to wait for a place at it.
  package func isLimited(backend: Int) -> Bool { limited[backend] }

  /// Whether a connection would find a place at a backend, as it seems at the moment.
  ///
  /// - Parameter isCounted: it has its place at the backend, and only needs one at a server.
  package func seemsFree(backend: Int, isCounted: Bool = false) -> Bool {
    let entry = backends[backend]
    if !isCounted, entry.maxConnections > 0,
      load.backends.count(series.backends[backend]) >= Int(entry.maxConnections)
    {
      return false
    }
    return entry.servers.contains { place in
      let limit = servers[place].maxConnections
      return servers[place].weight > 0 && (limit == 0 || inFlight(server: place) < Int(limit))
    }
  }

  /// Connections that are at a server or being dialled to it, over all workers.
  package func inFlight(server: Int) -> Int { load.servers.load.count(series.servers[server]) }

  /// The listening socket with this tag; nil when it is none of this table's.
  package func socket(tag: UInt32) -> SocketEntry? {
    var (low, high) = (0, sockets.count)
    while low < high {
      let middle = (low + high) / 2
      if sockets[middle].tag < tag { low = middle + 1 } else { high = middle }
    }
    return low < sockets.count && sockets[low].tag == tag ? sockets[low] : nil
  }

  /// The listener of a connection that came in under this table.
  package func listener(ofSocket tag: UInt32) -> Int {
    guard let socket = socket(tag: tag) else {
      preconditionFailure("a connection's socket is in the table that took it")
    }
    return socket.listener
  }
}

/// What connections of a listener may come to.
private struct Reach: Sendable {
  let backends: [Int]
  let needsAddresses: Bool
  let relayed: [UInt8]
  let only: Int?

  init(of listener: ListenerEntry, in all: [BackendEntry]) {
    var places: Set<Int> = []
    if let backend = listener.backend { places.insert(backend) }
    if let parents = listener.egress?.parents { places.insert(parents.backend) }
    for rule in listener.rules {
      if case .backend(let backend) = rule.action { places.insert(backend) }
    }
    for place in places { precondition(all.indices.contains(place)) }
    backends = places.sorted()
    only = listener.rules.isEmpty && listener.hello == nil ? listener.backend : nil
    needsAddresses =
      listener.egress != nil || !listener.trust.entries.isEmpty
      || listener.conditions?.needsAddresses ?? false
      || places.contains { all[$0].header != .none || all[$0].balance == .sourceHash }
    relayed = places.reduce(into: Set()) { $0.formUnion(all[$1].tlvs.relay) }.sorted()
  }
}

/// A listening socket. Its tag is its own as long as the process lives, whatever tables come and
/// go, and is never another socket's.
package struct SocketEntry: Sendable {
  package let tag: UInt32
  /// Index into `RouteTable.listeners`.
  package let listener: Int
  /// The address that all its connections reach; nil where each has to be asked, as below a
  /// wildcard. Connections of a Unix socket know no path of their own.
  package let local: SocketAddress?

  package init(tag: UInt32, listener: Int, local: SocketAddress? = nil) {
    self.tag = tag
    self.listener = listener
    self.local = local
  }
}

/// A listener as the data plane needs it. Times are milliseconds, 0 is off.
///
/// An object, like the entries of backends and servers: what a decision borrows is one reference,
/// not a copy of each field.
package final class ListenerEntry: Sendable {
  package let name: String
  /// For those that no rule takes; nil turns them away.
  package let backend: Int?
  /// In the order in which they are asked.
  package let rules: [RuleEntry]
  /// What they ask for; nil without rules.
  package let conditions: RuleTable?
  package let connectMs: UInt32
  package let idleMs: UInt32
  package let halfClosedMs: UInt32
  package let maxAgeMs: UInt32
  /// Who sends a PROXY header.
  package let trust: TrustTable
  /// From accept until a required header is whole; never off.
  package let headerMs: UInt32
  /// The longest version 2 header taken, in bytes.
  package let headerLimit: Int
  /// Whether version 1's UNKNOWN is served, with the real addresses, or refused.
  package let acceptsUnknown: Bool
  /// Of listeners that read the ClientHello; nil for all others, which wait for no byte.
  package let hello: HelloPolicy?
  /// From accept, or the end of a PROXY header, until a ClientHello is whole; never off.
  package let prefaceMs: UInt32
  /// Of listeners whose clients ask for TLS before their hello; nil for all others.
  package let startTLS: StartTLSPlan?
  /// Of forward proxies; nil for all others. They have neither backend nor rules of their own.
  package let egress: EgressPlan?
  /// Of listeners that end their clients' TLS; nil for all others.
  package let tls: TLSPlan?
  /// What clients that are turned away hear; nil says nothing.
  package let spoken: SpokenProtocol?
  /// At once, over all workers; 0 is no limit.
  package let maxConnections: UInt32
  /// How its clients wait when they meet a limit; nil turns them away.
  package let queue: QueueRule?
  /// Bytes a second in each direction, of all its connections together and of each; 0 is no limit.
  package let bandwidth: UInt64
  package let connectionBandwidth: UInt64

  package init(
    name: String, backend: Int?, rules: [RuleEntry] = [], conditions: RuleTable? = nil,
    connectMs: UInt32, idleMs: UInt32, halfClosedMs: UInt32, maxAgeMs: UInt32,
    trust: TrustTable = TrustTable(), headerMs: UInt32 = 3000,
    headerLimit: Int = ProxyV2.defaultReceiveLimit, acceptsUnknown: Bool = true,
    hello: HelloPolicy? = nil, prefaceMs: UInt32 = 10_000,
    spoken: SpokenProtocol? = nil, maxConnections: UInt32 = 0, queue: QueueRule? = nil,
    bandwidth: UInt64 = 0, connectionBandwidth: UInt64 = 0, startTLS: StartTLSPlan? = nil,
    egress: EgressPlan? = nil, tls: TLSPlan? = nil
  ) {
    self.tls = tls
    precondition(rules.count == conditions?.count ?? 0)
    self.rules = rules
    self.conditions = conditions
    self.startTLS = startTLS
    self.egress = egress
    self.queue = queue
    self.bandwidth = bandwidth
    self.connectionBandwidth = connectionBandwidth
    self.spoken = spoken
    self.maxConnections = maxConnections
    self.name = name
    self.backend = backend
    self.hello = hello
    self.prefaceMs = prefaceMs
    self.connectMs = connectMs
    self.idleMs = idleMs
    self.halfClosedMs = halfClosedMs
    self.maxAgeMs = maxAgeMs
    self.trust = trust
    self.headerMs = headerMs
    self.headerLimit = headerLimit
    self.acceptsUnknown = acceptsUnknown
  }

  fileprivate var withoutTrust: ListenerEntry {
    ListenerEntry(
      name: name, backend: backend, rules: rules, conditions: conditions, connectMs: connectMs,
      idleMs: idleMs, halfClosedMs: halfClosedMs, maxAgeMs: maxAgeMs, headerMs: headerMs,
      headerLimit: headerLimit, acceptsUnknown: acceptsUnknown, hello: hello,
      prefaceMs: prefaceMs, spoken: spoken, maxConnections: maxConnections, queue: queue,
      bandwidth: bandwidth, connectionBandwidth: connectionBandwidth, startTLS: startTLS,
      egress: egress, tls: tls)
  }
}

/// The deadlines of a backend's connections that are not those of their listener, in milliseconds;
/// nil is as there, 0 is off.
package struct DeadlineOverrides: Hashable, Sendable {
  package var connectMs: UInt32?
  package var idleMs: UInt32?
  package var halfClosedMs: UInt32?
  package var maxAgeMs: UInt32?
  package var startTLSMs: UInt32?

  package init(
    connectMs: UInt32? = nil, idleMs: UInt32? = nil, halfClosedMs: UInt32? = nil,
    maxAgeMs: UInt32? = nil, startTLSMs: UInt32? = nil
  ) {
    self.startTLSMs = startTLSMs
    self.connectMs = connectMs
    self.idleMs = idleMs
    self.halfClosedMs = halfClosedMs
    self.maxAgeMs = maxAgeMs
  }
}

/// A queue for those who meet a limit.
package struct QueueRule: Hashable, Sendable {
  /// Connections in it at once, over all workers.
  package var length: Int
  package var timeoutMs: UInt32

  package init(length: Int, timeoutMs: UInt32) {
    self.length = length
    self.timeoutMs = timeoutMs
  }
}

/// The PROXY header that the servers of a backend get first.
package enum ProxyHeaderVersion: Sendable {
  case none
  case v1
  case v2
}

/// How the splice lane of a backend's connections moves bytes.
package enum SpliceEngine: Sendable {
  case inline
  case ring
  case off
}

package final class BackendEntry: Sendable {
  package let name: String
  /// Indexes into `RouteTable.servers`, beginning where the backend before it ends; never empty.
  package let servers: Range<Int>
  package let balance: BalanceKind
  /// How long a server's share of new connections grows after it has come back; 0 is at once.
  package let slowStartMs: UInt32
  /// With a smaller part of the servers up, in percent, all are used.
  package let panicPercent: Int
  /// At once, over all workers; 0 is no limit.
  package let maxConnections: UInt32
  /// Further tries after the first.
  package let retries: Int
  /// Of all its connections together, in a hundred; 0 allows none.
  package let retryPercent: Int
  package let header: ProxyHeaderVersion
  package let splice: SpliceEngine
  package let source: SocketAddress?
  package let congestion: String
  /// What a version 2 header carries beyond the addresses.
  package let tlvs: TLVPlan
  /// Whether a client's first bytes may be a PROXY header of its own, when we send none.
  package let passesClientHeader: Bool
  /// Whether a server would take a PROXY header that the client made up for ours.
  package let isOpenToForgery: Bool
  package let sendsHeader: Bool
  /// Without TLS, parents, a source address and a congestion control of its own.
  package let isPlainlyDialled: Bool
  package let deadlines: DeadlineOverrides
  /// How its servers are spoken to in TLS; nil: plainly.
  package let tls: BackendTLS?
  /// What its servers are reached through; nil: they are dialled.
  package let parents: ParentPlan?

  package init(
    name: String, servers: Range<Int>, retries: Int, header: ProxyHeaderVersion,
    splice: SpliceEngine, source: SocketAddress?, congestion: String,
    tlvs: TLVPlan = TLVPlan(), passesClientHeader: Bool = false,
    balance: BalanceKind = .roundRobin, slowStartMs: UInt32 = 0, panicPercent: Int = 0,
    maxConnections: UInt32 = 0, retryPercent: Int = 100,
    deadlines: DeadlineOverrides = DeadlineOverrides(), tls: BackendTLS? = nil,
    parents: ParentPlan? = nil
  ) {
    precondition(!servers.isEmpty)
    precondition(parents.map { $0.targets.count == servers.count } ?? true)
    self.parents = parents
    precondition(tls.map { $0.names.count == servers.count } ?? true)
    self.tls = tls
    self.deadlines = deadlines
    self.name = name
    self.servers = servers
    self.retries = retries
    self.retryPercent = retryPercent
    self.header = header
    self.splice = splice
    self.source = source
    self.congestion = congestion
    self.tlvs = tlvs
    self.passesClientHeader = passesClientHeader
    isOpenToForgery = header == .none && !passesClientHeader
    sendsHeader = header != .none
    isPlainlyDialled = tls == nil && parents == nil && source == nil && congestion.isEmpty
    self.balance = balance
    self.slowStartMs = slowStartMs
    self.panicPercent = panicPercent
    self.maxConnections = maxConnections
  }
}

package final class ServerEntry: Sendable {
  /// As the configuration writes it.
  package let name: String
  package let address: SocketAddress
  /// Its share of new connections beside those of the others: 0 ... 256.
  package let weight: Int
  /// Gets connections only while no other server of the backend can.
  package let isBackup: Bool
  /// At once, over all workers; 0 is no limit.
  package let maxConnections: UInt32
  /// The name that this is one address of; nil where the configuration has the address.
  package let origin: String?

  package init(
    name: String, address: SocketAddress, weight: Int = 1, isBackup: Bool = false,
    maxConnections: UInt32 = 0, origin: String? = nil
  ) {
    self.origin = origin
    self.name = name
    self.address = address
    self.weight = weight
    self.isBackup = isBackup
    self.maxConnections = maxConnections
  }
}
