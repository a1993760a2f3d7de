/// One key of one mapping of the file. The keys of a mapping are the cases of an enum, so that the
/// reader's switch is complete, an unknown key finds its nearest, and the reference can be checked.
protocol SchemaKey: CaseIterable, Hashable, RawRepresentable, Sendable where RawValue == String {
  /// What a value is, to follow "takes" in a sentence.
  var takes: String { get }
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
    ("timeouts", TimeoutKey.global),
    ("listeners.NAME", ListenerKey.allCases),
    ("listeners.NAME.proxy-protocol", ProxyProtocolKey.allCases),
    ("listeners.NAME.proxy-protocol.sources", SourceKey.allCases),
    ("listeners.NAME.timeouts", TimeoutKey.listener),
    ("backends.NAME", BackendKey.allCases),
    ("backends.NAME.servers", ServerKey.allCases),
    ("backends.NAME.proxy-tlvs", TLVKey.allCases),
    ("backends.NAME.proxy-header", ProxyHeaderKey.allCases),
    ("backends.NAME.timeouts", TimeoutKey.backend),
  ]

  /// The path of the mapping that has `key`, when just one kind of mapping has it.
  static func home(of key: String) -> String? {
    let homes = sections.filter { section in section.keys.contains { name(of: $0) == key } }
    return homes.count == 1 ? homes[0].path : nil
  }

  static func name(of key: some SchemaKey) -> String { key.rawValue }
}

enum RootKey: String, SchemaKey {
  case include, workers, events, admin, metrics, log
  case stateDirectory = "state-directory"
  case limits, timeouts
  case trustedNetworks = "trusted-networks"
  case listeners, backends

  var takes: String {
    switch self {
    case .include: "the path of a file or directory, or a list"
    case .workers: "auto or a number from 1 to 1024"
    case .events: "auto, ring or epoll"
    case .admin, .metrics, .log, .limits, .timeouts: "a mapping of settings"
    case .stateDirectory: "an absolute path"
    case .trustedNetworks: "networks such as 192.0.2.0/28, addresses, or unix"
    case .listeners: "a mapping of names to listeners"
    case .backends: "a mapping of names to backends"
    }
  }

  var defaultText: String? {
    switch self {
    case .workers, .events: "auto"
    case .stateDirectory: Snapshot.defaultStateDirectory
    case .include, .admin, .metrics, .log, .limits, .timeouts, .trustedNetworks, .listeners,
      .backends:
      nil
    }
  }
}

enum LogKey: String, SchemaKey {
  case connections, format, fields, level

  var takes: String {
    switch self {
    case .connections: "stdout, journal, off or an absolute path"
    case .format: "json or text"
    case .fields: "all, or a list of fields"
    case .level: "error, warning, info or debug"
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

  var takes: String { "a number from 1 to 1000000" }
  var defaultText: String? { "100000" }
}

enum TimeoutKey: String, SchemaKey {
  case preface
  case proxyHeader = "proxy-header"
  case connect, idle
  case halfClosed = "half-closed"
  case maxAge = "max-age"
  case drain

  static let global = allCases
  static let listener: [TimeoutKey] = [
    .preface, .proxyHeader, .connect, .idle, .halfClosed, .maxAge,
  ]
  /// Without `preface` and `proxy-header`: which backend it is shows only after them.
  static let backend: [TimeoutKey] = [.connect, .idle, .halfClosed, .maxAge]

  var takes: String {
    mayBeOff ? "a duration such as 10s, or off" : "a duration such as 10s"
  }

  var defaultText: String? {
    switch self {
    case .preface: "10s"
    case .proxyHeader: "3s"
    case .connect: "5s"
    case .idle: "35m"
    case .halfClosed: "2m"
    case .maxAge: "off"
    case .drain: "30s"
    }
  }

  /// A dial or a drain without an end would hold its descriptors for good, and so would a source
  /// that never finishes its header, or a client that never finishes its ClientHello.
  var mayBeOff: Bool {
    switch self {
    case .idle, .halfClosed, .maxAge: true
    case .preface, .proxyHeader, .connect, .drain: false
    }
  }
}

enum ListenerKey: String, SchemaKey {
  case bind, type, backend
  case noSNI = "no-sni"
  case notTLS = "not-tls"
  case trustedNetworks = "trusted-networks"
  case inherit
  case proxyProtocol = "proxy-protocol"
  case timeouts, congestion, backlog

  var takes: String {
    switch self {
    case .bind: "an address such as \":25\", \"127.0.0.1:25\" or \"unix:/run/x.sock\", or a list"
    case .type: "tcp, server-first or tls"
    case .backend: "the name of a backend"
    case .noSNI, .notTLS: "backend or reject"
    case .trustedNetworks: "networks such as 192.0.2.0/28, addresses, or unix"
    case .inherit: "true or false"
    case .proxyProtocol: "off, or a mapping of settings"
    case .timeouts: "a mapping of settings"
    case .congestion: "the name of a congestion control such as bbr"
    case .backlog: "a number from 1 to 65535"
    }
  }

  var defaultText: String? {
    switch self {
    case .bind, .backend, .trustedNetworks, .proxyProtocol, .timeouts, .congestion: nil
    case .type: "tcp"
    case .noSNI: "backend"
    case .notTLS: "reject"
    case .inherit: "false"
    case .backlog: "4096"
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
  case balance, retries, timeouts, source, splice, congestion

  var takes: String {
    switch self {
    case .servers:
      "a list of addresses such as \"192.0.2.10:25\" or \"unix:/run/x.sock\", or of mappings"
    case .sendProxy: "none, v1 or v2"
    case .proxyTLVs: "names such as unique-id and crc32c, or mappings such as { netns: blue }"
    case .relayTLVs: "names such as unique-id or aws, or types such as 0xEA"
    case .proxyHeader: "a mapping of settings"
    case .passClientProxyHeader: "true or false"
    case .balance: "round-robin"
    case .retries: "a number from 0 to 100"
    case .timeouts: "a mapping of settings"
    case .source: "an address without a port, such as 192.0.2.5"
    case .splice: "auto, inline, ring or off"
    case .congestion: "the name of a congestion control such as bbr"
    }
  }

  var defaultText: String? {
    switch self {
    case .servers, .proxyTLVs, .relayTLVs, .proxyHeader, .timeouts, .source, .congestion: nil
    case .sendProxy: "none"
    case .passClientProxyHeader: "false"
    case .balance: "round-robin"
    case .retries: "2"
    case .splice: "auto"
    }
  }
}
