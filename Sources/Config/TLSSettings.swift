package import Wire

/// How a listener ends its clients' TLS.
package struct ListenerTLS: Hashable, Sendable {
  /// Absolute paths of files of PEM, and of directories of such; at least one. The first
  /// certificate is for clients that name no other.
  package var certificates: [String]
  package var leastVersion: TLSVersionChoice
  /// OpenSSL's names; those that begin with `TLS_` are TLS 1.3's. Of a version that has none here,
  /// our own choice holds.
  package var ciphers: [String]
  /// Key exchanges, the best first; empty is our own choice.
  package var groups: [String]
  /// Protocols, the best first; a client that offers only others is refused. Empty agrees to none.
  package var alpn: [String]
  /// A file of PEM: whose client certificates are good.
  package var clientCA: String?
  package var clientCertificate: ClientCertificateRule
  package var hasTickets: Bool

  package init(
    certificates: [String], leastVersion: TLSVersionChoice = .tls12, ciphers: [String] = [],
    groups: [String] = [], alpn: [String] = [], clientCA: String? = nil,
    clientCertificate: ClientCertificateRule = .none, hasTickets: Bool = true
  ) {
    self.certificates = certificates
    self.leastVersion = leastVersion
    self.ciphers = ciphers
    self.groups = groups
    self.alpn = alpn
    self.clientCA = clientCA
    self.clientCertificate = clientCertificate
    self.hasTickets = hasTickets
  }
}

/// Versions that are spoken at all.
package enum TLSVersionChoice: CaseIterable, Hashable, Sendable {
  case tls12
  case tls13
}

/// What a listener wants of its clients' own certificates.
package enum ClientCertificateRule: String, CaseIterable, Hashable, Sendable {
  /// None is asked for.
  case none
  /// Asked for; a client without one, or with one that does not verify, is served all the same.
  case request
  /// Whoever has none that verifies is refused.
  case require
}

/// How a backend's servers are spoken to in TLS.
package struct UpstreamTLS: Hashable, Sendable {
  /// A file of PEM: whose certificates are good; nil trusts what the system does.
  package var ca: String?
  /// Asked for, and verified; nil is each server's own name or address.
  package var name: HostName?
  /// Protocols that are offered; empty offers none.
  package var alpn: [String]
  /// A file of PEM: our own certificate and its key.
  package var clientCertificate: String?
  package var verify: Verification

  package enum Verification: String, CaseIterable, Hashable, Sendable {
    /// The chain, the dates and the name.
    case full
    /// Whoever answers is believed.
    case off
  }

  package init(
    ca: String? = nil, name: HostName? = nil, alpn: [String] = [],
    clientCertificate: String? = nil, verify: Verification = .full
  ) {
    self.ca = ca
    self.name = name
    self.alpn = alpn
    self.clientCertificate = clientCertificate
    self.verify = verify
  }
}

extension TLSVersionChoice: Word {
  package var word: String {
    switch self {
    case .tls12: "1.2"
    case .tls13: "1.3"
    }
  }
}

extension ClientCertificateRule: Word {}
extension UpstreamTLS.Verification: Word {}

/// The keys of a listener's `tls`.
enum ListenerTLSKey: String, SchemaKey {
  case certificates
  case minVersion = "min-version"
  case ciphers, groups, alpn
  case clientCA = "client-ca"
  case clientCertificate = "client-certificate"
  case sessionTickets = "session-tickets"

  static let certificatesMax = 1_000
  /// OpenSSL has about a hundred and fifty.
  static let namesMax = 200

  var type: ValueType {
    switch self {
    case .certificates:
      .list(
        of: .path, takes: "the absolute path of a PEM file or a directory, or a list",
        atMost: ListenerTLSKey.certificatesMax)
    case .minVersion: .words(TLSVersionChoice.words)
    case .ciphers:
      .list(
        of: .text("a cipher"),
        takes: "OpenSSL's names of ciphers such as ECDHE-ECDSA-AES128-GCM-SHA256, or a list",
        atMost: ListenerTLSKey.namesMax)
    case .groups:
      .list(
        of: .text("a group"), takes: "groups such as X25519 or P-256, or a list",
        atMost: ListenerTLSKey.namesMax)
    case .alpn: .protocols
    case .clientCA: .path
    case .clientCertificate: .words(ClientCertificateRule.words)
    case .sessionTickets: .truth
    }
  }

  var isRequired: Bool { self == .certificates }

  var defaultText: String? {
    switch self {
    case .certificates, .ciphers, .groups, .alpn, .clientCA: nil
    case .minVersion: "\"1.2\""
    case .clientCertificate: "none"
    case .sessionTickets: "true"
    }
  }
}

/// The keys of a backend's `tls`.
enum BackendTLSKey: String, SchemaKey {
  case ca, name, alpn
  case clientCertificate = "client-certificate"
  case verify

  var type: ValueType {
    switch self {
    case .ca, .clientCertificate: .path
    case .name: .text("a host name")
    case .alpn: .protocols
    case .verify: .words(UpstreamTLS.Verification.words)
    }
  }

  var defaultText: String? { self == .verify ? "full" : nil }
}

extension ValueType {
  /// RFC 7301 has room for many more; nobody speaks so many.
  fileprivate static let protocols = ValueType.list(
    of: .text("a protocol"), takes: "protocols of ALPN such as imap, or a list", atMost: 16)
}

extension Reader {
  /// Nil when it is no mapping, or names no certificate; that has been reported.
  mutating func listenerTLS(_ node: Tree.Node, _ path: String) -> ListenerTLSDraft? {
    guard let fields = knownFields(of: node, ListenerTLSKey.allCases, path: path) else {
      return nil
    }
    var draft = ListenerTLSDraft(position: node.position)
    for (key, node) in fields {
      switch key {
      case .certificates:
        draft.settings.certificates = items(key, node, Scalar.absolutePath).map(\.value)
      case .minVersion: read(key, node, into: &draft.settings.leastVersion, Scalar.word)
      case .ciphers: draft.settings.ciphers = items(key, node, Scalar.cryptography).map(\.value)
      case .groups: draft.settings.groups = items(key, node, Scalar.cryptography).map(\.value)
      case .alpn: draft.settings.alpn = items(key, node, Scalar.protocolName).map(\.value)
      case .clientCA: draft.clientCA = located(key, node, Scalar.absolutePath)
      case .clientCertificate: draft.rule = located(key, node, Scalar.word)
      case .sessionTickets: read(key, node, into: &draft.settings.hasTickets, Scalar.truth)
      }
    }
    requireEach([.certificates], in: fields, of: "tls", node)
    draft.isClientCALost = draft.clientCA == nil && fields.contains { $0.0 == .clientCA }
    return draft
  }

  /// Nil when it is no mapping.
  mutating func backendTLS(_ node: Tree.Node, _ path: String) -> Located<UpstreamTLS>? {
    guard let fields = knownFields(of: node, BackendTLSKey.allCases, path: path) else {
      return nil
    }
    var settings = UpstreamTLS()
    for (key, node) in fields {
      switch key {
      case .ca: settings.ca = value(key, node, Scalar.absolutePath)
      case .name: settings.name = value(key, node, Scalar.verifiedName)
      case .alpn: settings.alpn = items(key, node, Scalar.protocolName).map(\.value)
      case .clientCertificate: settings.clientCertificate = value(key, node, Scalar.absolutePath)
      case .verify:
        read(key, node, into: &settings.verify, Scalar.word)
        guard settings.verify == .off else { continue }
        diagnostics.warn(
          node.position,
          "verify: off believes whoever answers: anyone on the way to the server can read and "
            + "change what is said")
      }
    }
    return Located(value: settings, position: node.position)
  }
}

/// What one file says of a listener's `tls`.
struct ListenerTLSDraft: Sendable {
  var position: Position
  var settings = ListenerTLS(certificates: [])
  var clientCA: Located<String>?
  var isClientCALost = false
  var rule: Located<ClientCertificateRule>?

  /// The values of the draft.
  var value: ListenerTLS {
    var value = settings
    value.clientCA = clientCA?.value
    if let rule { value.clientCertificate = rule.value }
    return value
  }
}

extension Scalar {
  static func verifiedName(_ text: String) throws(Unreadable) -> HostName {
    guard let name = HostName(text) else {
      throw Unreadable("\"\(text)\" is not a host name; an address is verified without a name")
    }
    return name
  }

  /// A name of OpenSSL's, or several with colons between them as its own lists have them.
  static func cryptography(_ text: String) throws(Unreadable) -> String {
    let isPlain = text.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"):
        true
      default: "-_+:!@=.".utf8.contains(byte)
      }
    }
    guard isPlain, (1...255).contains(text.utf8.count) else {
      throw Unreadable("\"\(text)\" is no name of OpenSSL's")
    }
    return text
  }
}
