import Routing

/// One key of one mapping of the file. The keys of a mapping are the cases of an enum, so that the
/// reader's switch is complete, an unknown key finds its nearest, and the reference can be checked.
protocol SchemaKey: CaseIterable, Hashable, RawRepresentable, Sendable where RawValue == String {
  var type: ValueType { get }
  /// Whether its mapping is nothing without it. None at the top level is: includes may have it.
  var isRequired: Bool { get }
  /// As a file would write it; nil when the key must be there, or has no value unless it is.
  var defaultText: String? { get }
}

/// The whole schema, for messages and for the tests of the reference.
enum Schema {
  /// Each mapping's path, with its keys in the order of the reference.
  static let sections: [(path: String, keys: [any SchemaKey])] = [
    ("", RootKey.allCases),
    ("admin", AdminKey.allCases),
    ("metrics", MetricsKey.allCases),
    ("log", LogKey.allCases),
    ("limits", LimitsKey.allCases),
    ("limits.exceptions", ExceptionKey.allCases),
    ("resolver", ResolverKey.allCases),
    ("timeouts", TimeoutKey.global),
    ("listeners.NAME", ListenerKey.allCases),
    ("listeners.NAME.proxy-protocol", ProxyProtocolKey.allCases),
    ("listeners.NAME.proxy-protocol.sources", SourceKey.allCases),
    ("listeners.NAME.rules", RuleKey.allCases),
    ("listeners.NAME.starttls", StartTLSKey.allCases),
    ("listeners.NAME.tls", ListenerTLSKey.allCases),
    ("listeners.NAME.queue", QueueKey.allCases),
    ("listeners.NAME.timeouts", TimeoutKey.listener),
    ("backends.NAME", BackendKey.allCases),
    ("backends.NAME.servers", ServerKey.allCases),
    ("backends.NAME.proxy-tlvs", TLVKey.allCases),
    ("backends.NAME.proxy-header", ProxyHeaderKey.allCases),
    ("backends.NAME.tls", BackendTLSKey.allCases),
    ("backends.NAME.parents", ParentKey.allCases),
    ("backends.NAME.check", CheckKey.allCases),
    ("backends.NAME.eject", EjectKey.allCases),
    ("backends.NAME.timeouts", TimeoutKey.backend),
    ("egress.NAME", EgressKey.allCases),
    ("egress.NAME.rules", EgressRuleKey.allCases),
    ("egress.NAME.guard", GuardKey.allCases),
    ("egress.NAME.parents", ParentKey.allCases),
    ("egress.NAME.limits", EgressLimitKey.allCases),
    ("egress.NAME.timeouts", EgressTimeKey.allCases),
  ]

  /// The path of the mapping that has `key`, when just one kind of mapping has it.
  static func home(of key: String) -> String? {
    let homes = sections.filter { section in section.keys.contains { name(of: $0) == key } }
    return homes.count == 1 ? homes[0].path : nil
  }

  static func name(of key: some SchemaKey) -> String { key.rawValue }
}

enum RootKey: String, SchemaKey {
  case include, workers, events, latency, admin, metrics, log
  case stateDirectory = "state-directory"
  case limits, resolver, timeouts
  case trustedNetworks = "trusted-networks"
  case listeners, backends, egress

  var type: ValueType {
    switch self {
    case .include:
      .list(
        of: .text("a path"), takes: "the path of a file or directory, or a list",
        atMost: Inclusion.filesMax, mayBeEmpty: true)
    case .workers: .either([.words(["auto"]), .number(1...1024)])
    case .events: .words(EventsChoice.words)
    case .latency: .words(Latency.words)
    case .admin, .metrics, .log, .limits, .resolver, .timeouts: .section(rawValue)
    case .stateDirectory: .path
    case .trustedNetworks: .networks
    case .listeners: .names(of: "listeners.NAME", noun: "listener", atMost: Reader.listenersMax)
    case .backends: .names(of: "backends.NAME", noun: "backend", atMost: Reader.backendsMax)
    case .egress: .names(of: "egress.NAME", noun: "egress", atMost: Reader.egressMax)
    }
  }

  var defaultText: String? {
    switch self {
    case .workers, .events: "auto"
    case .latency: Latency.balanced.word
    case .stateDirectory: Snapshot.defaultStateDirectory
    case .include, .admin, .metrics, .log, .limits, .resolver, .timeouts, .trustedNetworks,
      .listeners, .backends, .egress:
      nil
    }
  }
}

enum LogKey: String, SchemaKey {
  case connections, format, fields, level

  var type: ValueType {
    switch self {
    case .connections: .either([.words(["stdout", "journal", "off"]), .path])
    case .format: .words(LogFormat.words)
    case .fields:
      .either([
        .words(["all"]),
        .list(
          of: .words(LogField.words), takes: "a list of fields", atMost: LogField.allCases.count),
      ])
    case .level: .words(LogLevel.words)
    }
  }

  var defaultText: String? {
    switch self {
    case .connections: "stdout"
    case .format: "json"
    case .fields: "all"
    case .level: "info"
    }
  }
}

enum LimitsKey: String, SchemaKey {
  case maxConnections = "max-connections"
  case perSource = "per-source"
  case perSourceRate = "per-source-rate"
  case exceptions, memory

  var type: ValueType {
    switch self {
    case .maxConnections: .number(Reader.limits)
    case .perSource, .perSourceRate: .limit
    case .exceptions:
      .list(
        of: .section("limits.exceptions"), takes: "a list of mappings with networks and limits",
        atMost: Reader.sourcesMax)
    case .memory: .either([.words(["auto", "off"]), .size])
    }
  }

  var defaultText: String? {
    switch self {
    case .maxConnections: "100000"
    case .perSource, .perSourceRate: "off"
    case .exceptions: nil
    case .memory: "auto"
    }
  }
}

/// The keys of a listener's `queue`, when it is not off.
enum QueueKey: String, SchemaKey {
  case length, timeout

  var type: ValueType {
    switch self {
    case .length: .number(1...100_000)
    case .timeout: .duration(mayBeOff: false, mayBeZero: false)
    }
  }

  var defaultText: String? {
    switch self {
    case .length: "1000"
    case .timeout: "10s"
    }
  }
}

/// The keys of one item of `limits.exceptions`.
enum ExceptionKey: String, SchemaKey {
  case networks
  case perSource = "per-source"
  case perSourceRate = "per-source-rate"

  var type: ValueType {
    switch self {
    case .networks:
      .list(
        of: .text("a network"), takes: "networks such as 192.0.2.0/28, or addresses",
        atMost: Reader.networksMax)
    case .perSource, .perSourceRate: .limit
    }
  }

  var isRequired: Bool { self == .networks }

  var defaultText: String? { nil }
}

enum TimeoutKey: String, SchemaKey {
  case preface
  case proxyHeader = "proxy-header"
  case connect
  case startTLS = "starttls"
  case idle
  case halfClosed = "half-closed"
  case maxAge = "max-age"
  case drain

  static let global = allCases
  static let listener: [TimeoutKey] = [
    .preface, .proxyHeader, .connect, .startTLS, .idle, .halfClosed, .maxAge,
  ]
  /// Without `preface` and `proxy-header`: which backend it is shows only after them.
  static let backend: [TimeoutKey] = [.connect, .startTLS, .idle, .halfClosed, .maxAge]

  var type: ValueType { .duration(mayBeOff: mayBeOff, mayBeZero: self == .drain) }

  var defaultText: String? {
    switch self {
    case .preface: "10s"
    case .proxyHeader: "3s"
    case .connect: "5s"
    case .startTLS: "15s"
    case .idle: "35m"
    case .halfClosed: "2m"
    case .maxAge: "off"
    case .drain: "30s"
    }
  }

  /// A dial or a drain without an end would hold its descriptors for good, and so would a source
  /// that never finishes its header, a client that never finishes its ClientHello, or a server that
  /// never greets.
  var mayBeOff: Bool {
    switch self {
    case .idle, .halfClosed, .maxAge: true
    case .preface, .proxyHeader, .connect, .startTLS, .drain: false
    }
  }
}

enum ListenerKey: String, SchemaKey {
  case bind, type, rules, backend, egress
  case noSNI = "no-sni"
  case notTLS = "not-tls"
  case startTLS = "starttls"
  case tls
  case trustedNetworks = "trusted-networks"
  case inherit
  case proxyProtocol = "proxy-protocol"
  case timeouts
  case spoken = "protocol"
  case maxConnections = "max-connections"
  case queue, bandwidth
  case connectionBandwidth = "bandwidth-per-connection"
  case congestion, backlog

  var type: ValueType {
    switch self {
    case .bind:
      .list(
        of: .text("an address", pattern: ":"),
        takes: "an address such as \":25\", \"127.0.0.1:25\" or \"unix:/run/x.sock\", or a list",
        atMost: Reader.bindsMax)
    case .type: .words(ListenerType.words)
    case .rules:
      .list(
        of: .section("listeners.NAME.rules"),
        takes: "a list of mappings with conditions and a backend",
        atMost: Reader.rulesMax)
    case .backend: .name
    case .egress: .text("the name of an egress", pattern: Scalar.namePattern)
    case .noSNI, .notTLS: .words(HelloFallback.words)
    case .startTLS: .section("listeners.NAME.starttls")
    case .tls: .section("listeners.NAME.tls")
    case .trustedNetworks: .networks
    case .inherit: .truth
    case .proxyProtocol: .either([.words(["off"]), .section("listeners.NAME.proxy-protocol")])
    case .timeouts: .section("listeners.NAME.timeouts")
    case .spoken: .words(SpokenProtocol.words)
    case .maxConnections: .limit
    case .queue: .either([.words(["off"]), .section("listeners.NAME.queue")])
    case .bandwidth, .connectionBandwidth: .bandwidth
    case .congestion: .congestion
    case .backlog: .number(1...65_535)
    }
  }

  /// Beside `bind`, `backend`, `rules` or `egress`.
  var isRequired: Bool { self == .bind }

  var defaultText: String? {
    switch self {
    case .bind, .rules, .backend, .egress, .startTLS, .tls, .trustedNetworks, .proxyProtocol,
      .timeouts, .congestion:
      nil
    case .type: "tcp"
    case .noSNI: "backend"
    case .notTLS: "reject"
    case .inherit: "false"
    case .backlog: "4096"
    case .spoken: nil
    case .maxConnections, .queue, .bandwidth, .connectionBandwidth: "off"
    }
  }
}

enum BackendKey: String, SchemaKey {
  case servers
  case sendProxy = "send-proxy"
  case proxyTLVs = "proxy-tlvs"
  case relayTLVs = "relay-tlvs"
  case proxyHeader = "proxy-header"
  case passClientProxyHeader = "pass-client-proxy-header"
  case tls, parents
  case parentsCA = "parents-ca"
  case balance
  case slowStart = "slow-start"
  case panicThreshold = "panic-threshold"
  case maxConnections = "max-connections"
  case check, eject, retries
  case retryBudget = "retry-budget"
  case timeouts, source, splice, congestion

  var type: ValueType {
    switch self {
    case .servers:
      .list(
        of: .either([ServerKey.address.type, .section("backends.NAME.servers")]),
        takes:
          "a list of addresses such as \"192.0.2.10:25\", names such as \"mail.example:25\", or "
          + "mappings",
        atMost: Reader.serversMax)
    case .sendProxy: .words(SendProxy.words)
    case .proxyTLVs:
      .list(
        of: .either([.words(Scalar.tlvNames.map(\.key)), .section("backends.NAME.proxy-tlvs")]),
        takes: "names such as unique-id and crc32c, or mappings such as { netns: blue }",
        atMost: Reader.tlvsMax)
    case .relayTLVs:
      .list(
        of: .either([.words(Scalar.relayedNames.map(\.key)), .octet(0...255, takes: "")]),
        takes: "names such as unique-id or aws, or types such as 0xEA", atMost: Reader.tlvsMax)
    case .proxyHeader: .section("backends.NAME.proxy-header")
    case .passClientProxyHeader: .truth
    case .tls: .section("backends.NAME.tls")
    case .parents: ParentKey.list(of: "backends.NAME.parents")
    case .parentsCA: .path
    case .balance: .words(BalanceKind.words)
    case .slowStart: .duration(mayBeOff: true, mayBeZero: false)
    case .panicThreshold: .text("a percentage from 0% to 100%", pattern: "^([0-9]{1,2}|100)%$")
    case .maxConnections: .limit
    case .check: .either([.words(["off"] + CheckType.words), .section("backends.NAME.check")])
    case .eject: .either([.words(["off"]), .section("backends.NAME.eject")])
    case .retries: .number(0...100)
    case .retryBudget:
      .text("a percentage from 0% to 100%", pattern: "^([0-9]|[1-9][0-9]|100)%$")
    case .timeouts: .section("backends.NAME.timeouts")
    case .source: .text("an address without a port, such as 192.0.2.5")
    case .splice: .words(SpliceChoice.words)
    case .congestion: .congestion
    }
  }

  var isRequired: Bool { self == .servers }

  var defaultText: String? {
    switch self {
    case .servers, .proxyTLVs, .relayTLVs, .proxyHeader, .tls, .parents, .parentsCA, .eject,
      .timeouts, .source, .congestion:
      nil
    case .check: "off"
    case .sendProxy: "none"
    case .passClientProxyHeader: "false"
    case .balance: "round-robin"
    case .slowStart, .maxConnections: "off"
    case .panicThreshold: "0%"
    case .retries: "2"
    case .retryBudget: "50%"
    case .splice: "auto"
    }
  }
}
