import Routing
import Wire

/// What one file says, before its parts are held against each other: everything that could be
/// read, with its place. A part that could not be read is nil or missing, and already reported.
struct Draft: Sendable {
  var root: Position
  var workers = WorkerCount.auto
  var events = EventsChoice.auto
  var latency = Latency.balanced
  /// Nil when the file has none, which turns it off.
  var admin: AdminDraft?
  /// Nil when the file has none, as above.
  var metrics: MetricsDraft?
  var log = LogSettings()
  var stateDirectory = Snapshot.defaultStateDirectory
  var limits = Limits()
  var resolver = ResolverSettings()
  var timeouts = TimeoutOverrides()
  var drainMs = Timeouts.drainDefaultMs
  /// Who has to send a PROXY header, for listeners that do not say themselves.
  var trusted: Located<[NetworkDraft]>?
  /// Nil when the file has none.
  var listeners: [ListenerDraft]?
  var backends: [BackendDraft]?
  var egress: [EgressDraft] = []
}

struct AdminDraft: Sendable {
  var settings = AdminSettings()
  var socketPosition: Position
}

struct MetricsDraft: Sendable {
  var position: Position
  /// Nil when it says none.
  var binds: [BindDraft]?
  var hasPage: Bool?
  var hosts: [HostName] = []
  var topClients = MetricsSettings.topClientsDefault
}

struct ListenerDraft: Sendable {
  var name: Located<String>
  var binds: [BindDraft] = []
  var type = ListenerType.tcp
  var withoutName: Located<HelloFallback>?
  var notTLS: Located<HelloFallback>?
  var typePosition: Position?
  var startTLS: Located<StartTLSSettings>?
  var tls: ListenerTLSDraft?
  /// The backend's name; nil when missing or unreadable.
  var backend: Located<String>?
  /// The name of its egress; as above.
  var egress: Located<String>?
  /// Whether there is a `backend`, a `rules` or an `egress`, readable or not.
  var hasTarget = false
  var rules: [RuleDraft] = []
  /// Nil when there is no such key, or one that could not be read at all.
  var trusted: Located<[NetworkDraft]>?
  var inherit: Located<Bool>?
  var proxyProtocol: ProxyProtocolDraft?
  var timeouts = TimeoutOverrides()
  var congestion: String?
  var backlog: Int?
  var spoken: SpokenProtocol?
  var maxConnections = 0
  var queue: QueueRule?
  var bandwidth: UInt64 = 0
  var connectionBandwidth: UInt64 = 0
}

/// One item of `rules`. A list that is nil is not there.
struct RuleDraft: Sendable {
  var position: Position
  var name: Located<String>?
  var names: Located<[Located<NamePattern>]>?
  var protocols: Located<[Located<String>]>?
  var certificates: Located<[Located<CertificatePattern>]>?
  var sources: Located<[Located<Network>]>?
  var addresses: Located<[Located<Network>]>?
  var ports: Located<[Located<UInt16>]>?
  var backend: Located<String>?
  var verb: Located<RuleVerb>?
  /// Whether a part of it could not be read, so that it asks for less than it means.
  var isLost = false
}

/// One item of `bind`: as written, and the sockets it asks for.
struct BindDraft: Sendable {
  var text: Located<String>
  var addresses: [SocketAddress]
}

/// One item of a list of networks: as written, and what it means.
struct NetworkDraft: Sendable {
  var text: Located<String>
  var network: Network
}

struct ProxyProtocolDraft: Sendable {
  var position: Position
  var isOff = false
  var sources: Located<[SourceDraft]>?
  var inherit: Located<Bool>?
  var headerLimit: Located<Int>?
  var acceptsUnknown: Bool?
}

struct SourceDraft: Sendable {
  var networks: [NetworkDraft]
  var header: Located<HeaderRule>
}

/// One item of `proxy-tlvs`.
enum TLVDraft: Hashable, Sendable {
  case uniqueID, checksum, authority, alpn, ssl, clientCertificate
  case networkNamespace(String)
  case custom(CustomTLV)
}

struct BackendDraft: Sendable {
  var name: Located<String>
  var servers: [Located<Server>] = []
  var sendProxy: Located<SendProxy>?
  /// Whether there is a `send-proxy` that could not be read.
  var isSendProxyLost = false
  var tlvs: Located<[Located<TLVDraft>]>?
  var relay: Located<[Located<UInt8>]>?
  var header: HeaderDraft?
  var tls: Located<UpstreamTLS>?
  var parents: [Located<ParentProxy>] = []
  var parentsCA: Located<String>?
  var passesClientHeader: Located<Bool>?
  var balance = BalanceKind.roundRobin
  var slowStartMs: UInt32 = 0
  var panicPercent = 0
  var maxConnections = 0
  var check: CheckDraft?
  var ejection: EjectionSettings? = EjectionSettings()
  var retries: Int?
  var retryPercent = Backend.defaultRetryPercent
  var timeouts = TimeoutOverrides()
  var source: Located<SocketAddress>?
  var splice: Located<SpliceChoice>?
  var congestion: String?
}

struct HeaderDraft: Sendable {
  var position: Position
  var limit: Located<Int>?
  var alignment: Located<Int>?
}
