import Routing
import Wire

/// How the running process is looked at and changed: its socket, its metrics, its log.
extension Reader {
  static let rolesMax = 64
  static let metricsBindsMax = 16
  static let hostsMax = 64

  /// Nil when the value is no mapping.
  mutating func admin(_ node: Tree.Node) -> AdminDraft? {
    guard let fields = knownFields(of: node, AdminKey.allCases, path: "admin") else { return nil }
    var admin = AdminDraft(socketPosition: node.position)
    for (key, node) in fields {
      switch key {
      case .socket:
        read(key, node, into: &admin.settings.socket, Scalar.socketPath)
        admin.socketPosition = node.position
      case .mode: read(key, node, into: &admin.settings.mode, Scalar.socketMode)
      case .group: admin.settings.group = value(key, node, Scalar.accountName)
      case .operate: admin.settings.operate = roles(key, node)
      case .view: admin.settings.view = roles(key, node)
      }
    }
    return admin
  }

  private mutating func roles(_ key: AdminKey, _ node: Tree.Node) -> [AdminSettings.Account] {
    items(key, node, Scalar.account).map(\.value)
  }

  /// Nil when the value is no mapping.
  mutating func metrics(_ node: Tree.Node) -> MetricsDraft? {
    guard let fields = knownFields(of: node, MetricsKey.allCases, path: "metrics") else {
      return nil
    }
    var metrics = MetricsDraft(position: node.position)
    for (key, node) in fields {
      switch key {
      case .bind:
        metrics.binds = items(key, node, Scalar.metricsBinds).map {
          BindDraft(text: $0.text, addresses: $0.value)
        }
      case .page: metrics.hasPage = value(key, node, Scalar.truth)
      case .hosts: metrics.hosts = items(key, node, Scalar.hostName).map(\.value)
      case .topClients:
        read(key, node, into: &metrics.topClients) { text throws(Unreadable) in
          text == "off" ? 0 : try Scalar.number(text, in: key.range)
        }
      }
    }
    return metrics
  }

  mutating func readLog(_ node: Tree.Node, into log: inout LogSettings) {
    for (key, node) in fields(of: node, LogKey.allCases, path: "log") {
      switch key {
      case .connections:
        read(key, node, into: &log.connections) { text throws(Unreadable) in
          try Scalar.logTarget(text, takes: key.takes)
        }
      case .format: read(key, node, into: &log.format, Scalar.word)
      case .fields: if let fields = logFields(key, node) { log.fields = fields }
      case .level: read(key, node, into: &log.level, Scalar.word)
      }
    }
  }

  /// Nil for all of them.
  private mutating func logFields(_ key: LogKey, _ node: Tree.Node) -> [LogField]? {
    if case .scalar("all", _) = node.value { return nil }
    var fields: [LogField] = []
    for (text, field) in items(key, node, Scalar.logField) {
      if fields.contains(field) {
        diagnostics.error(text.position, "fields: \(field.rawValue) is listed twice")
      } else {
        fields.append(field)
      }
    }
    return fields
  }

  /// An address alone, or a mapping with one.
  mutating func servers(_ key: BackendKey, _ node: Tree.Node, _ path: String) -> [Located<Server>] {
    nodes(key, node).compactMap { node in
      switch node.value {
      case .mapping: return weightedServer(node, path)
      case .scalar, .sequence:
        return value(key, node, Scalar.server).map { Located(value: $0, position: node.position) }
      }
    }
  }

  private mutating func weightedServer(_ node: Tree.Node, _ path: String) -> Located<Server>? {
    guard let fields = knownFields(of: node, ServerKey.allCases, path: path) else { return nil }
    var server: Located<Server>?
    var weight = Server.defaultWeight
    var isBackup = false
    var maxConnections = 0
    for (key, node) in fields {
      switch key {
      case .address: server = located(key, node, Scalar.server)
      case .weight: readNumber(key, node, into: &weight)
      case .backup: read(key, node, into: &isBackup, Scalar.truth)
      case .maxConnections: readLimit(key, node, into: &maxConnections)
      }
    }
    requireEach(ServerKey.allCases.filter(\.isRequired), in: fields, of: "a server", node)
    if case .service = server?.value.target, fields.contains(where: { $0.0 == .weight }) {
      diagnostics.error(
        node.position, "weight: the records of a service bring weights of their own")
    }
    server?.value.weight = weight
    server?.value.isBackup = isBackup
    server?.value.maxConnections = maxConnections
    return server
  }
}

/// Scalars of these settings.
extension Scalar {
  /// UT_NAMESIZE and what directory services need, with room to spare.
  static let accountLengthMax = 255

  static func absolutePath(_ text: String) throws(Unreadable) -> String {
    guard text.hasPrefix("/") else { throw Unreadable("\"\(text)\" is not an absolute path") }
    guard text.utf8.count <= pathLengthMax else {
      throw Unreadable("the path is longer than \(pathLengthMax) bytes")
    }
    return text
  }

  static func socketPath(_ text: String) throws(Unreadable) -> String {
    guard !text.hasPrefix("unix:") else {
      throw Unreadable("\"\(text)\" is always a Unix socket; write the path alone")
    }
    let path = try absolutePath(text)
    guard !path.hasSuffix("/") else {
      throw Unreadable("\"\(text)\" is a directory; name a socket in it")
    }
    let limit = SocketAddress.unixPathLimit
    guard path.utf8.count <= limit else {
      throw Unreadable(
        "the path has \(path.utf8.count) bytes; a Unix socket's has at most \(limit)")
    }
    return path
  }

  /// Three octal digits, with or without a zero before them.
  static func socketMode(_ text: String) throws(Unreadable) -> UInt32 {
    let digits = text.utf8.count == 4 && text.hasPrefix("0") ? text.dropFirst() : text[...]
    guard digits.utf8.count == 3, isDigits(digits), let mode = UInt32(digits, radix: 8) else {
      throw Unreadable("\"\(text)\" is not a mode; write three octal digits, such as \"0660\"")
    }
    // Connecting takes the right to write. unix(7)
    guard mode & 0o222 != 0 else {
      throw Unreadable("with \(text) nobody may write to the socket, so nobody can connect")
    }
    return mode
  }

  /// Of a user or a group; whether there is one shows at the start.
  static func accountName(_ text: String) throws(Unreadable) -> String {
    let isName = text.unicodeScalars.allSatisfy { $0 != ":" && $0 != "," && $0 != "/" && $0 != " " }
    guard !text.isEmpty, isName, text.utf8.count <= accountLengthMax else {
      throw Unreadable("\"\(text)\" is not the name of a user or group")
    }
    return text
  }

  static func account(_ text: String) throws(Unreadable) -> AdminSettings.Account {
    guard text.hasPrefix("@") else { return .user(try accountName(text)) }
    return .group(try accountName(String(text.dropFirst())))
  }

  static func metricsBinds(_ text: String) throws(Unreadable) -> [SocketAddress] {
    guard !text.hasPrefix("unix:"), !text.hasPrefix("/") else {
      throw Unreadable("\"\(text)\": the admin socket serves them already; it takes an IP address")
    }
    return try Endpoint.binds(text)
  }

  static func hostName(_ text: String) throws(Unreadable) -> HostName {
    guard let name = HostName(text) else {
      throw Unreadable("\"\(text)\" is not a host name; addresses need not be listed")
    }
    return name
  }

  static func logField(_ text: String) throws(Unreadable) -> LogField {
    if let field = LogField(rawValue: text) { return field }
    let names = LogField.allCases.map(\.rawValue)
    let hint = Nearest.hint(for: text, among: names)
    throw Unreadable(
      "there is no field \"\(text)\""
        + (hint.isEmpty ? "; there are \(names.joined(separator: ", "))" : hint))
  }

  static func server(_ text: String) throws(Unreadable) -> Server {
    Server(name: text, target: try Endpoint.server(text))
  }
}
