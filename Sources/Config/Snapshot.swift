package import Routing
package import Wire

/// One validated, immutable configuration: what `sluice run` runs and `sluice check` prints.
///
/// Defaults are filled in and names are resolved, so that nothing below Config needs to know the
/// file. Durations are whole milliseconds.
package struct Snapshot: Hashable, Sendable {
  package static let defaultStateDirectory = "/var/lib/sluice"

  package var workers: WorkerCount
  package var events: EventsChoice
  package var latency: Latency
  /// Nil is off.
  package var admin: AdminSettings?
  /// Nil is off.
  package var metrics: MetricsSettings?
  package var log: LogSettings
  /// An absolute path: where what must outlive the process is kept, such as bans.
  package var stateDirectory: String
  package var limits: Limits
  /// How server names are resolved.
  package var resolver: ResolverSettings
  /// Of listeners and backends that set none of their own; each listener has them already.
  package var timeouts: Timeouts
  /// Who has to send a PROXY header, for listeners that do not say themselves; each listener has
  /// them already. Each network is here once.
  package var trustedNetworks: [Network]
  /// How long a drain may take, in milliseconds; 0 ends live connections at once.
  package var drainMs: UInt32
  /// In the order of the file.
  package var listeners: [Listener]
  /// In the order of the file; those of listeners and rules are indexes into it. Behind them stand
  /// those whose servers are parents.
  package var backends: [Backend]
  /// In the order of the file; those of listeners are indexes into it.
  package var egress: [Egress]

  package init(
    workers: WorkerCount = .auto, events: EventsChoice = .auto, latency: Latency = .balanced,
    admin: AdminSettings? = nil, metrics: MetricsSettings? = nil, log: LogSettings = LogSettings(),
    stateDirectory: String = Snapshot.defaultStateDirectory, limits: Limits = Limits(),
    resolver: ResolverSettings = ResolverSettings(),
    timeouts: Timeouts = Timeouts(), trustedNetworks: [Network] = [],
    drainMs: UInt32 = Timeouts.drainDefaultMs, listeners: [Listener], backends: [Backend],
    egress: [Egress] = []
  ) {
    self.egress = egress
    self.workers = workers
    self.events = events
    self.latency = latency
    self.admin = admin
    self.metrics = metrics
    self.log = log
    self.stateDirectory = stateDirectory
    self.limits = limits
    self.resolver = resolver
    self.timeouts = timeouts
    self.trustedNetworks = trustedNetworks
    self.drainMs = drainMs
    self.listeners = listeners
    self.backends = backends
  }

  /// The servers of all backends, in the order of the route table.
  package var serverNames: [ServerName] {
    backends.flatMap { backend in
      backend.servers.map { ServerName(backend: backend.name, server: $0.name) }
    }
  }

  /// The time-outs in force for the connections of `listener` at a backend: the backend's own ones
  /// win over the listener's, which win over the global ones.
  ///
  /// - Parameter backend: an index; nil is the listener's own, or none where it has none.
  package func timeouts(of listener: Listener, at backend: Int? = nil) -> Timeouts {
    guard let backend = backend ?? listener.backend else { return listener.timeouts }
    return listener.timeouts.overridden(by: backends[backend].timeouts)
  }
}

/// How many worker threads relay.
package enum WorkerCount: Hashable, Sendable {
  /// One for each core that this process may use.
  case auto
  /// 1 ... 1024.
  case count(Int)
}

/// Where the workers' events come from.
package enum EventsChoice: String, CaseIterable, Hashable, Sendable {
  /// io_uring where the system allows it, epoll elsewhere.
  case auto
  /// io_uring; the start fails where it is denied.
  case ring
  case epoll
}

/// What workers do when they have nothing to do.
package enum Latency: String, CaseIterable, Hashable, Sendable {
  /// They sleep.
  case balanced
  /// They look for more for a bounded time first.
  case low
}

/// Bounds on what the whole process takes.
package struct Limits: Hashable, Sendable {
  /// Connections at once, over all listeners and workers: 1 ... 1,000,000.
  package var maxConnections: Int
  /// For each source: an IPv4 address, or the /64 of an IPv6 one.
  package var perSource: SourceLimit
  /// What holds for the sources in these networks in its place; the longest prefix wins.
  package var exceptions: [LimitException]
  /// Beyond so much resident memory no connection is accepted.
  package var memory: MemoryLimit

  package init(
    maxConnections: Int = 100_000, perSource: SourceLimit = SourceLimit(),
    exceptions: [LimitException] = [], memory: MemoryLimit = .auto
  ) {
    self.memory = memory
    self.maxConnections = maxConnections
    self.perSource = perSource
    self.exceptions = exceptions
  }
}

package enum MemoryLimit: Hashable, Sendable {
  /// Nine tenths of what the process may have: of its control group's limit, or of the machine.
  case auto
  case off
  case bytes(UInt64)
}

/// Limits of the sources in one network.
package struct LimitException: Hashable, Sendable {
  package var network: Network
  package var limit: SourceLimit

  package init(network: Network, limit: SourceLimit) {
    self.network = network
    self.limit = limit
  }
}

/// Deadlines of a connection in milliseconds; 0 is off.
package struct Timeouts: Hashable, Sendable {
  package static let drainDefaultMs: UInt32 = 30_000
  /// One TCP retransmit: section 2 of the PROXY protocol has no receiver give up before.
  package static let proxyHeaderLeastMs: UInt32 = 3_000

  /// From accept, or the end of a PROXY header, until enough of the client's first bytes are there
  /// to decide; never 0.
  package var prefaceMs: UInt32
  /// From accept until a required PROXY header is whole; never 0.
  package var proxyHeaderMs: UInt32
  /// For one try to reach one server; never 0.
  package var connectMs: UInt32
  /// From when a server is reached until it has begun TLS, where it is asked to; never 0. The
  /// default leaves room for postscreen's greeting, which takes 6 seconds.
  package var startTLSMs: UInt32
  /// Without a byte in either direction. The default outlasts the 30 minutes that RFC 9051,
  /// section 5.4, makes IMAP servers wait.
  package var idleMs: UInt32
  /// From the end of one direction until the end of the other.
  package var halfClosedMs: UInt32
  /// From accept, however busy the connection is.
  package var maxAgeMs: UInt32

  package init(
    prefaceMs: UInt32 = 10_000, proxyHeaderMs: UInt32 = Timeouts.proxyHeaderLeastMs,
    connectMs: UInt32 = 5_000, idleMs: UInt32 = 35 * 60_000,
    halfClosedMs: UInt32 = 2 * 60_000, maxAgeMs: UInt32 = 0, startTLSMs: UInt32 = 15_000
  ) {
    self.startTLSMs = startTLSMs
    self.prefaceMs = prefaceMs
    self.proxyHeaderMs = proxyHeaderMs
    self.connectMs = connectMs
    self.idleMs = idleMs
    self.halfClosedMs = halfClosedMs
    self.maxAgeMs = maxAgeMs
  }

  /// These time-outs with those that `overrides` sets in their place.
  package func overridden(by overrides: TimeoutOverrides) -> Timeouts {
    Timeouts(
      prefaceMs: overrides.prefaceMs ?? prefaceMs,
      proxyHeaderMs: overrides.proxyHeaderMs ?? proxyHeaderMs,
      connectMs: overrides.connectMs ?? connectMs,
      idleMs: overrides.idleMs ?? idleMs, halfClosedMs: overrides.halfClosedMs ?? halfClosedMs,
      maxAgeMs: overrides.maxAgeMs ?? maxAgeMs,
      startTLSMs: overrides.startTLSMs ?? startTLSMs)
  }
}

/// The time-outs that one `timeouts:` mapping sets, in milliseconds; nil is not set, 0 is off.
package struct TimeoutOverrides: Hashable, Sendable {
  /// Always nil for a backend: its connections are past their preface.
  package var prefaceMs: UInt32?
  /// Always nil for a backend, as above.
  package var proxyHeaderMs: UInt32?
  package var connectMs: UInt32?
  package var idleMs: UInt32?
  package var halfClosedMs: UInt32?
  package var maxAgeMs: UInt32?
  package var startTLSMs: UInt32?

  package init(
    prefaceMs: UInt32? = nil, proxyHeaderMs: UInt32? = nil, connectMs: UInt32? = nil,
    idleMs: UInt32? = nil, halfClosedMs: UInt32? = nil, maxAgeMs: UInt32? = nil,
    startTLSMs: UInt32? = nil
  ) {
    self.startTLSMs = startTLSMs
    self.prefaceMs = prefaceMs
    self.proxyHeaderMs = proxyHeaderMs
    self.connectMs = connectMs
    self.idleMs = idleMs
    self.halfClosedMs = halfClosedMs
    self.maxAgeMs = maxAgeMs
  }
}

/// Addresses that accept clients, with one protocol type.
package struct Listener: Hashable, Sendable {
  /// 1 ... 64 of `A-Z a-z 0-9 . _ -`; unique among listeners.
  package var name: String
  /// At least one. `":25"` is here as 0.0.0.0:25 and [::]:25, in this order; v4-mapped addresses
  /// are here as IPv4.
  package var binds: [SocketAddress]
  package var type: ListenerType
  /// For `type: tls` and `type: starttls` only.
  package var hello: HelloPolicy
  /// For `type: starttls` only, which has `spoken` as well.
  package var startTLS = StartTLSSettings()
  /// Nil passes bytes on as they are, TLS or not.
  package var tls: ListenerTLS?
  /// In the order of the file: the first that takes a connection decides.
  package var rules: [Rule]
  /// For those that no rule takes: an index into `Snapshot.backends`; nil turns them away.
  package var backend: Int?
  /// For `type: http-proxy` only, which has neither rules nor backend: an index into
  /// `Snapshot.egress`.
  package var egress: Int?
  package var proxyProtocol: ProxyReceiving
  /// The global time-outs with this listener's own in their place; a backend's still come on top
  /// (`Snapshot.timeouts(of:)`).
  package var timeouts: Timeouts
  /// The congestion control of accepted connections; nil is the system's. tcp(7), TCP_CONGESTION.
  package var congestion: String?
  /// Connections the kernel keeps until they are accepted, for each socket. listen(2).
  package var backlog: Int
  /// What is spoken here, for replies to clients that are turned away.
  package var spoken: SpokenProtocol?
  /// Connections at once; 0 is no limit.
  package var maxConnections: Int
  /// How clients wait that meet a limit; nil turns them away.
  package var queue: QueueRule?
  /// Bytes a second in each direction, of all connections together and of each; 0 is no limit.
  package var bandwidth: UInt64
  package var connectionBandwidth: UInt64

  package init(
    name: String, binds: [SocketAddress], type: ListenerType = .tcp,
    hello: HelloPolicy = HelloPolicy(), rules: [Rule] = [], backend: Int?,
    proxyProtocol: ProxyReceiving = ProxyReceiving(), timeouts: Timeouts = Timeouts(),
    congestion: String? = nil, backlog: Int = 4096, spoken: SpokenProtocol? = nil,
    maxConnections: Int = 0, queue: QueueRule? = nil, bandwidth: UInt64 = 0,
    connectionBandwidth: UInt64 = 0
  ) {
    self.rules = rules
    self.queue = queue
    self.bandwidth = bandwidth
    self.connectionBandwidth = connectionBandwidth
    self.name = name
    self.binds = binds
    self.type = type
    self.hello = hello
    self.backend = backend
    self.proxyProtocol = proxyProtocol
    self.timeouts = timeouts
    self.congestion = congestion
    self.backlog = backlog
    self.spoken = spoken
    self.maxConnections = maxConnections
  }
}

/// What a listener's clients speak, as far as Sluice needs to know.
package enum ListenerType: CaseIterable, Hashable, Sendable {
  /// Either side may speak first.
  case tcp
  /// The server greets first, as in SMTP, IMAP and POP3.
  case serverFirst
  /// The client begins with a ClientHello, which is read and passed on; no TLS is ended.
  case tls
  /// The client is greeted by us, asks for TLS in its protocol's words, and then sends a
  /// ClientHello, which is passed on as above.
  case startTLS
  /// The client asks, in HTTP, to be connected to somewhere.
  case httpProxy
}

/// Which PROXY headers a listener takes, and from whom.
package struct ProxyReceiving: Hashable, Sendable {
  /// Everyone else is forbidden to send one. Each network is here once; the longest prefix wins.
  package var sources: [TrustedSource]
  /// Whether the file says `off`, so that not even the global networks are among `sources`.
  package var isOff: Bool
  /// The longest version 2 header taken, in bytes.
  package var headerLimit: Int
  /// Whether version 1's UNKNOWN is served, with the real addresses.
  package var acceptsUnknown: Bool

  package init(
    sources: [TrustedSource] = [], isOff: Bool = false,
    headerLimit: Int = ProxyV2.defaultReceiveLimit, acceptsUnknown: Bool = true
  ) {
    self.sources = sources
    self.isOff = isOff
    self.headerLimit = headerLimit
    self.acceptsUnknown = acceptsUnknown
  }

  package var trust: TrustTable { TrustTable(sources.map { ($0.network, $0.rule) }) }
}

/// A network, what those in it do about a PROXY header, and where the file says so.
package struct TrustedSource: Hashable, Sendable {
  package enum Origin: Hashable, Sendable {
    /// The top level, for a listener that names no networks itself.
    case global
    /// The listener itself.
    case own
    /// The top level, beside the listener's own.
    case inherited
  }

  package var network: Network
  package var rule: HeaderRule
  package var origin: Origin

  package init(network: Network, rule: HeaderRule, origin: Origin) {
    self.network = network
    self.rule = rule
    self.origin = origin
  }
}

/// A named group of upstream servers.
package struct Backend: Hashable, Sendable {
  /// 1 ... 64 of `A-Z a-z 0-9 . _ -`; unique among backends.
  package var name: String
  /// At least one, in the order of the file.
  package var servers: [Server]
  package var sendProxy: SendProxy
  /// What version 2 headers carry beyond the addresses.
  package var tlvs: TLVPlan
  /// Whether a client's first bytes may be a PROXY header of its own, when `sendProxy` is none.
  package var passesClientHeader: Bool
  /// Nil speaks plainly.
  package var tls: UpstreamTLS?
  package var balance: BalanceKind
  /// How long a server's share grows after it has come back, in milliseconds; 0 is at once.
  package var slowStartMs: UInt32
  /// With a smaller part of the servers up, in percent, those that are only believed to be down
  /// get connections as well; with none up they do in any case.
  package var panicPercent: Int
  /// Connections at once; 0 is no limit.
  package var maxConnections: Int
  /// Nil is off.
  package var check: CheckSettings?
  /// Nil is off.
  package var ejection: EjectionSettings?
  /// Further tries after the first, each at the next server: 0 ... 100.
  package var retries: Int
  /// All tries after the first together are at most so many in a hundred connections.
  package var retryPercent: Int
  package var timeouts: TimeoutOverrides
  /// The address that connections to the servers come from, with port 0; of the servers' family.
  package var source: SocketAddress?
  package var splice: SpliceChoice
  /// The congestion control of dialled connections; nil is the system's.
  package var congestion: String?
  /// What its servers are reached through, in the order of the file, all by the same scheme; empty:
  /// they are dialled.
  package var parents: [ParentProxy] = []
  /// A file of PEM: whose certificates are good for https parents; nil trusts what the system does.
  package var parentsCA: String?
  /// Whether its servers are the parents of an egress, or of a backend.
  package var isParents = false

  package static let defaultRetryPercent = 50

  package init(
    name: String, servers: [Server], sendProxy: SendProxy = .none, tlvs: TLVPlan = TLVPlan(),
    passesClientHeader: Bool = false, balance: BalanceKind = .roundRobin,
    check: CheckSettings? = nil, ejection: EjectionSettings? = EjectionSettings(), retries: Int = 2,
    timeouts: TimeoutOverrides = TimeoutOverrides(), source: SocketAddress? = nil,
    splice: SpliceChoice = .auto, congestion: String? = nil, slowStartMs: UInt32 = 0,
    panicPercent: Int = 0, maxConnections: Int = 0,
    retryPercent: Int = Backend.defaultRetryPercent
  ) {
    self.retryPercent = retryPercent
    self.name = name
    self.servers = servers
    self.sendProxy = sendProxy
    self.tlvs = tlvs
    self.passesClientHeader = passesClientHeader
    self.balance = balance
    self.check = check
    self.ejection = ejection
    self.slowStartMs = slowStartMs
    self.panicPercent = panicPercent
    self.maxConnections = maxConnections
    self.retries = retries
    self.timeouts = timeouts
    self.source = source
    self.splice = splice
    self.congestion = congestion
  }
}

/// One upstream of a backend.
package struct Server: Hashable, Sendable {
  /// The address or name as the file writes it.
  package var name: String
  package var target: ServerTarget
  /// Its share of new connections, beside those of the backend's other servers: 0 ... 256. With 0
  /// it gets none.
  package var weight: Int
  /// Gets connections only while no other server of the backend can.
  package var isBackup: Bool
  /// Connections at once; 0 is no limit.
  package var maxConnections: Int
  /// The name that this is one address of; nil for whatever a file says.
  package var origin: String?

  package static let defaultWeight = 1
  package static let weightMax = BalancePlan.weightMax

  package init(
    name: String, target: ServerTarget, weight: Int = Server.defaultWeight,
    isBackup: Bool = false, maxConnections: Int = 0
  ) {
    self.name = name
    self.target = target
    self.weight = weight
    self.isBackup = isBackup
    self.maxConnections = maxConnections
  }

  package init(
    name: String, address: SocketAddress, weight: Int = Server.defaultWeight,
    isBackup: Bool = false, maxConnections: Int = 0
  ) {
    self.init(
      name: name, target: .address(address), weight: weight, isBackup: isBackup,
      maxConnections: maxConnections)
  }

  /// Nil for a name.
  package var address: SocketAddress? {
    if case .address(let address) = target { address } else { nil }
  }
}

/// The PROXY header that a backend's servers get before the first client byte.
package enum SendProxy: String, CaseIterable, Hashable, Sendable {
  case none
  case v1
  case v2
}

/// Which engine moves bulk without copying it.
package enum SpliceChoice: String, CaseIterable, Hashable, Sendable {
  case auto
  /// splice(2) when the sockets are ready.
  case inline
  /// splice as an io_uring operation.
  case ring
  /// Every byte is copied.
  case off
}
