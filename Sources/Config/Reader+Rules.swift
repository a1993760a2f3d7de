import Routing
import Wire

/// The rules of listeners.
extension Reader {
  /// Of one listener: a rule for each customer of a large host, and for each of its names.
  static let rulesMax = 100_000
  static let namesMax = 100_000

  mutating func rules(_ key: ListenerKey, _ node: Tree.Node, _ path: String) -> [RuleDraft] {
    nodes(key, node).map { rule($0, path) }
  }

  private mutating func rule(_ node: Tree.Node, _ path: String) -> RuleDraft {
    var draft = RuleDraft(position: node.position)
    guard let fields = knownFields(of: node, RuleKey.allCases, path: path) else {
      draft.isLost = true
      return draft
    }
    let found = diagnostics.errorCount
    for (key, node) in fields {
      switch key {
      case .name: draft.name = located(key, node, Scalar.ruleName)
      case .sni: draft.names = list(key, node, Scalar.namePattern)
      case .alpn: draft.protocols = list(key, node, Scalar.protocolName)
      case .clientCertificate: draft.certificates = list(key, node, Scalar.certificatePattern)
      case .from: draft.sources = list(key, node, Scalar.network)
      case .toAddress: draft.addresses = list(key, node, Scalar.network)
      case .toPort:
        draft.ports = list(key, node) { text throws(Unreadable) in
          UInt16(try Scalar.number(text, in: RuleKey.ports))
        }
      case .backend: draft.backend = located(key, node) { text throws(Unreadable) in text }
      case .action: draft.verb = located(key, node, Scalar.word)
      }
    }
    let says = fields.contains { $0.0 == .backend || $0.0 == .action }
    if !says {
      diagnostics.error(
        node.position, "a rule needs backend or action; action takes \(RuleKey.action.takes)")
    }
    draft.isLost = diagnostics.errorCount > found
    return draft
  }

  private mutating func list<Value: Sendable>(
    _ key: RuleKey, _ node: Tree.Node, _ parse: Parse<Value>
  ) -> Located<[Located<Value>]> {
    let items = items(key, node, parse)
    return Located(
      value: items.map { Located(value: $0.value, position: $0.text.position) },
      position: node.position)
  }
}

extension Scalar {
  static func ruleName(_ text: String) throws(Unreadable) -> String {
    guard isName(text) else {
      throw Unreadable(
        "\"\(text)\" cannot name a rule; use 1 to \(nameLengthMax) letters, digits, \".\", \"_\" "
          + "and \"-\"")
    }
    return text
  }

  static func namePattern(_ text: String) throws(Unreadable) -> NamePattern {
    if let pattern = NamePattern(text) { return pattern }
    if text.utf8.contains(where: { $0 >= 0x80 }) {
      throw Unreadable("\"\(text)\" is not ASCII; write its A-labels (xn--...), as clients send it")
    }
    if (try? Network(parsing: text)) != nil {
      throw Unreadable("\"\(text)\" is an address, and no client may ask for one (RFC 6066)")
    }
    if text == "*" { throw Unreadable("\"*\" is every name; a rule without sni takes all") }
    if text.contains("*") {
      throw Unreadable("\"\(text)\": the star stands for the whole first label: \"*.example.com\"")
    }
    throw Unreadable("\"\(text)\" is not a host name")
  }

  static func certificatePattern(_ text: String) throws(Unreadable) -> CertificatePattern {
    if let pattern = CertificatePattern(text) { return pattern }
    throw Unreadable(
      "\"\(text)\" is no name of a certificate; a star stands first: \"*.example.com\" or "
        + "\"*@example.com\"")
  }

  /// RFC 7301 section 3.1: 1 to 255 bytes. Registered ones are printable.
  static func protocolName(_ text: String) throws(Unreadable) -> String {
    let isPrintable = text.utf8.allSatisfy { (0x21...0x7e).contains($0) }
    guard isPrintable, (1...255).contains(text.utf8.count) else {
      throw Unreadable("\"\(text)\" is not a protocol of ALPN such as imap or h2")
    }
    return text
  }
}
