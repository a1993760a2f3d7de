import Routing
import Wire

/// The entries of `egress`.
extension Reader {
  static let egressMax = 256
  static let parentsMax = 16
  static let bypassMax = 10_000
  private static let secretBytesMax = 4096
  /// Behind all files of the configuration itself.
  private static let otherFiles = 1_000_000

  mutating func egress(_ node: Tree.Node) -> [EgressDraft] {
    named(.egress, node, "egress").map { egress($0) }
  }

  private mutating func egress(_ entry: Tree.Entry) -> EgressDraft {
    var draft = EgressDraft(name: Located(value: entry.key, position: entry.position))
    let path = "egress.\(entry.key)"
    guard let fields = knownFields(of: entry.value, EgressKey.allCases, path: path) else {
      return draft
    }
    for (key, node) in fields {
      switch key {
      case .users:
        draft.hasUsers = true
        draft.users = users(key, node)
      case .realm: read(key, node, into: &draft.settings.realm, Scalar.realm)
      case .anonymous:
        draft.settings.anonymous = items(key, node, Scalar.network).map(\.value)
      case .rules: draft.rules = nodes(key, node).map { egressRule($0, "\(path).rules") }
      case .guard: readGuard(node, "\(path).guard", into: &draft)
      case .connectPorts: draft.settings.connectPorts = ports(key, node)
      case .ports: draft.settings.plainPorts = ports(key, node)
      case .parents:
        draft.hasParents = true
        draft.parents = parents(key, node, "\(path).parents")
      case .parentsCA: draft.parentsCA = located(key, node, Scalar.absolutePath)
      case .noProxy: readBypass(key, node, into: &draft)
      case .via: read(key, node, into: &draft.settings.via, Scalar.truth)
      case .limits: readLimits(node, "\(path).limits", into: &draft.settings)
      case .timeouts:
        draft.timesPosition = node.position
        for (key, node) in self.fields(of: node, EgressTimeKey.allCases, path: "\(path).timeouts") {
          read(key, node, into: &draft.settings[key]) { text throws(Unreadable) in
            try Scalar.duration(text, mayBeOff: false)
          }
        }
      }
    }
    return draft
  }

  private mutating func readLimits(
    _ node: Tree.Node, _ path: String, into settings: inout EgressSettings
  ) {
    for (key, node) in fields(of: node, EgressLimitKey.allCases, path: path) {
      var limit = 0
      switch key {
      case .perUser:
        readLimit(key, node, into: &limit)
        settings.userTunnels = UInt32(limit)
      case .perSource:
        readLimit(key, node, into: &limit)
        settings.sourceTunnels = UInt32(limit)
      case .head:
        read(key, node, into: &settings.headBytes) { text throws(Unreadable) in
          let bytes = Int(try Scalar.size(text, limit: 1 << 30))
          guard EgressLimitKey.headSizes.contains(bytes) else {
            throw Unreadable("\(text) is out of range 1KiB to 60KiB")
          }
          return bytes
        }
      case .fields: readNumber(key, node, into: &settings.headFields)
      }
    }
  }

  private mutating func ports(
    _ key: some SchemaKey, _ node: Tree.Node
  ) -> [ClosedRange<UInt16>] {
    items(key, node, Scalar.portRange).map(\.value)
  }

  // MARK: Rules and guard

  private mutating func egressRule(_ node: Tree.Node, _ path: String) -> EgressRuleDraft {
    var draft = EgressRuleDraft(position: node.position)
    guard let fields = knownFields(of: node, EgressRuleKey.allCases, path: path) else {
      draft.isLost = true
      return draft
    }
    let found = diagnostics.errorCount
    for (key, node) in fields {
      switch key {
      case .name: draft.name = located(key, node, Scalar.ruleName)
      case .user:
        draft.userPosition = node.position
        draft.conditions.users = items(key, node, Scalar.anyText).map(\.value)
      case .from: draft.conditions.sources = items(key, node, Scalar.network).map(\.value)
      case .certificate:
        draft.certificatePosition = node.position
        draft.conditions.certificates = items(key, node, Scalar.anyText).map {
          $0.value.lowercased()
        }
      case .host: draft.conditions.hosts = items(key, node, Scalar.hostPattern).map(\.value)
      case .to:
        draft.addressPosition = node.position
        draft.conditions.addresses = items(key, node, Scalar.network).map(\.value)
      case .port: draft.conditions.ports = ports(key, node)
      case .method: draft.conditions.methods = items(key, node, Scalar.method).map(\.value)
      case .action: draft.action = value(key, node, Scalar.word)
      }
    }
    requireEach(EgressRuleKey.allCases.filter(\.isRequired), in: fields, of: "a rule", node)
    draft.isLost = diagnostics.errorCount > found
    return draft
  }

  private mutating func readGuard(
    _ node: Tree.Node, _ path: String, into draft: inout EgressDraft
  ) {
    if case .scalar("off", _) = node.value {
      draft.isGuardOff = true
      return
    }
    for (key, node) in fields(of: node, GuardKey.allCases, path: path) {
      let places = items(key, node, Scalar.guarded)
      draft.exceptions += places.map { place in
        AddressGuard.Exception(
          network: place.value.network, port: place.value.port, isAllowed: key == .allow)
      }
    }
  }

  // MARK: Parents

  mutating func parents(
    _ key: some SchemaKey, _ node: Tree.Node, _ path: String
  ) -> [Located<ParentProxy>] {
    nodes(key, node).compactMap { parent(key, $0, path) }
  }

  private mutating func parent(
    _ key: some SchemaKey, _ node: Tree.Node, _ path: String
  ) -> Located<ParentProxy>? {
    guard case .mapping = node.value else {
      return value(key, node, Scalar.parent).map {
        Located(value: $0, position: node.position)
      }
    }
    let fields = fields(of: node, ParentKey.allCases, path: path)
    requireEach(ParentKey.allCases.filter(\.isRequired), in: fields, of: "a parent", node)
    var parent: ParentProxy?
    var (user, secret): (String?, (path: String, text: String)?)
    for (key, node) in fields {
      switch key {
      case .url: parent = value(key, node, Scalar.parent)
      case .user: user = value(key, node, Scalar.anyText)
      case .passwordFile: secret = self.secret(key, node)
      }
    }
    guard var parent else { return nil }
    if user != nil || secret != nil, !parent.user.isEmpty {
      diagnostics.error(
        node.position, "credentials stand in the url already; it is one or the other")
    } else if fields.contains(where: { $0.0 == .user })
      != fields.contains(where: { $0.0 == .passwordFile })
    {
      diagnostics.error(node.position, "user and password-file belong together")
    }
    if let user, let secret {
      (parent.user, parent.password, parent.passwordFile) = (user, secret.text, secret.path)
    }
    return Located(value: parent, position: node.position)
  }

  /// The first line of a file; what is in it is never told.
  private mutating func secret(
    _ key: ParentKey, _ node: Tree.Node
  ) -> (path: String, text: String)? {
    guard let (path, bytes) = file(key, node, atMost: Reader.secretBytesMax) else { return nil }
    let line = bytes.prefix { $0 != 0x0a && $0 != 0x0d }
    guard !line.isEmpty, let text = String(validating: line, as: UTF8.self) else {
      diagnostics.error(
        node.position, "\(key.rawValue): the first line of \(path) is empty, or no UTF-8")
      return nil
    }
    return (path, text)
  }

  // MARK: Other files, and the environment

  private mutating func users(_ key: EgressKey, _ node: Tree.Node) -> Located<EgressUsers>? {
    guard let (path, bytes) = file(key, node, atMost: UsersFile.bytesMax) else { return nil }
    let file = UsersFile(bytes)
    let source = SourceFile(name: path, order: Reader.otherFiles)
    for fault in file.faults {
      diagnostics.error(Position(line: fault.line, column: 1, file: source), fault.reason)
    }
    if file.hashes.isEmpty, file.faults.isEmpty {
      diagnostics.warn(node.position, "users: there is nobody in \(path), so nobody can log in")
    }
    return Located(
      value: EgressUsers(path: path, hashes: file.hashes), position: node.position)
  }

  private mutating func file(
    _ key: some SchemaKey, _ node: Tree.Node, atMost limit: Int
  ) -> (path: String, bytes: [UInt8])? {
    guard let path = value(key, node, Scalar.absolutePath) else { return nil }
    switch surroundings.contents(path, limit) {
    case .success(.file(let bytes)): return (path, bytes)
    case .success(.directory):
      diagnostics.error(node.position, "\(key.rawValue): \(path) is a directory")
    case .failure(let failure):
      diagnostics.error(node.position, "\(key.rawValue): \(path): \(failure.reason)")
    }
    return nil
  }

  private mutating func readBypass(
    _ key: EgressKey, _ node: Tree.Node, into draft: inout EgressDraft
  ) {
    draft.bypassPosition = node.position
    var texts: [(text: String, position: Position, name: String)] = []
    if case .scalar(EgressKey.fromEnvironment, _) = node.value {
      draft.isBypassInherited = true
      // As Go has it: the first that is not empty.
      let name = ["NO_PROXY", "no_proxy"].first { surroundings.variable($0)?.isEmpty == false }
      if let name, let text = surroundings.variable(name) {
        texts.append((text, node.position, name))
      }
    } else if case .scalar("", isQuoted: true) = node.value {
      return
    } else {
      texts = items(key, node, Scalar.anyText).map {
        ($0.value, $0.text.position, key.rawValue)
      }
    }
    for (text, position, name) in texts {
      for item in text.split(separator: ",") {
        guard let entry = BypassEntry(item) else { continue }
        if let fault = entry.fault {
          diagnostics.warn(
            position, "\(name): \"\(entry.text)\" can never match: \(fault.sentence)")
        }
        draft.bypass.append(Located(value: entry, position: position))
      }
    }
  }
}

extension Scalar {
  static func anyText(_ text: String) throws(Unreadable) -> String { text }

  /// It stands in a quoted string of a header (RFC 9110 section 5.6.4).
  static func realm(_ text: String) throws(Unreadable) -> String {
    let isPlain = text.utf8.allSatisfy {
      (0x20...0x7e).contains($0) && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
    }
    guard isPlain, (1...64).contains(text.utf8.count) else {
      throw Unreadable("it takes 1 to 64 characters of printable ASCII, no quotes among them")
    }
    return text
  }

  static func hostPattern(_ text: String) throws(Unreadable) -> NamePattern {
    if (try? Network(parsing: text)) != nil {
      throw Unreadable("\"\(text)\" is an address; write it in \"to\"")
    }
    if text == "*" { throw Unreadable("\"*\" is every name; a rule without host takes all") }
    return try namePattern(text)
  }

  static func method(_ text: String) throws(Unreadable) -> String {
    let isWord = text.utf8.allSatisfy { UInt8(ascii: "A")...UInt8(ascii: "Z") ~= $0 }
    guard isWord, (1...32).contains(text.utf8.count) else {
      throw Unreadable("\"\(text)\" is not a method such as CONNECT or GET, in upper case")
    }
    return text
  }

  /// `443`, or `8000-8010`.
  static func portRange(_ text: String) throws(Unreadable) -> ClosedRange<UInt16> {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    var numbers: [UInt16] = []
    for part in parts.prefix(2) {
      numbers.append(UInt16(try number(String(part), in: RuleKey.ports)))
    }
    guard parts.count <= 2, let first = numbers.first, let last = numbers.last else {
      throw Unreadable("\"\(text)\" is neither a port nor a range such as 8000-8010")
    }
    guard first <= last else { throw Unreadable("\"\(text)\" ends before it begins") }
    return first...last
  }

  /// `10.0.0.0/8`, `10.1.2.3`, `10.1.2.3:8443`.
  static func guarded(_ text: String) throws(Unreadable) -> (network: Network, port: UInt16?) {
    if let address = SocketAddress(text), let port = address.port {
      guard port > 0 else { throw Unreadable("\"\(text)\": 0 is no port") }
      return (try network(address.hostDescription), port)
    }
    let network = try network(text)
    guard network != .unix else { throw Unreadable("no client is ever connected to a Unix socket") }
    return (network, nil)
  }

  /// `http://user:password@proxy.example:3128`. Messages name no credentials.
  static func parent(_ text: String) throws(Unreadable) -> ParentProxy {
    let takes = "a parent is a URL such as http://proxy.example:3128"
    var rest = text[...]
    var scheme = "http"
    if let end = text.firstRange(ofASCII: "://") {
      scheme = text[..<end.lowerBound].lowercased()
      rest = text[end.upperBound...]
    }
    guard scheme == "http" || scheme == "https" else {
      throw Unreadable("\"\(scheme)\" is not a scheme of parents, which are http and https")
    }
    var (user, password) = ("", "")
    if let at = rest.lastIndex(of: "@") {
      let parts = rest[..<at].split(
        separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      guard let name = Percent.decoded(parts[0]),
        let secret = Percent.decoded(parts.count > 1 ? parts[1] : ""),
        !name.isEmpty, !name.contains(":")
      else { throw Unreadable("the credentials in a URL are percent-encoded (RFC 3986)") }
      (user, password) = (name, secret)
      rest = rest[rest.index(after: at)...]
    }
    if rest.hasSuffix("/") { rest = rest.dropLast() }
    guard !rest.isEmpty, !rest.contains(where: { "/?#".contains($0) }) else {
      throw Unreadable("\(takes), without a path")
    }
    let hasPort =
      (rest.lastIndex(of: ":").map { colon in !rest[colon...].contains("]") }) ?? false
    let isTLS = scheme == "https"
    let place = hasPort ? String(rest) : "\(rest):\(isTLS ? 443 : 80)"
    let target = try Endpoint.server(place)
    if case .service = target { throw Unreadable("\(takes); a service cannot be one") }
    if case .address(.unix) = target { throw Unreadable("\(takes); a Unix socket cannot be one") }
    return ParentProxy(
      name: place, target: target, isTLS: isTLS, user: user, password: password)
  }
}

extension String {
  /// Where a text of ASCII begins and ends; the standard library's search brings regular
  /// expressions with it, which are a megabyte of program.
  fileprivate func firstRange(ofASCII text: String) -> Range<String.Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(text) {
        return start..<index(start, offsetBy: text.count)
      }
      start = index(after: start)
    }
    return nil
  }
}
