internal import Wire

/// One entry of NO_PROXY, as Go's httpproxy reads it (golang.org/x/net/http/httpproxy, `init`), and
/// with it Mattermost and most of what is written in Go.
package struct BypassEntry: Hashable, Sendable {
  /// As written, without the blanks around it.
  package let text: String
  let form: Form

  enum Form: Hashable, Sendable {
    /// `*`
    case everything
    /// `10.0.0.0/8`: hosts that are addresses in it. It takes no port.
    case network(Network)
    /// `192.0.2.1:567`; the address has port 0 and is unmapped.
    case address(SocketAddress, Port)
    /// Names that end in `suffix`, which begins with a dot, and the name behind the dot itself if
    /// `takesApex`.
    case name(suffix: [UInt8], takesApex: Bool, Port)
    /// `:80`: there is no host at all.
    case nothing
  }

  enum Port: Hashable, Sendable {
    case any
    case only(UInt16)
    /// What is behind the colon is no number that a port can be.
    case impossible

    func takes(_ port: UInt16) -> Bool {
      switch self {
      case .any: true
      case .only(let number): number == port
      case .impossible: false
      }
    }
  }

  /// Nil for nothing but blanks.
  ///
  /// - Parameter item: what stands between two commas.
  package init?(_ item: some StringProtocol) {
    let text = BypassEntry.trimmed(item)
    guard !text.isEmpty else { return nil }
    self.text = text
    form = BypassEntry.form(of: text.lowercased())
  }

  private static func form(of text: String) -> Form {
    if text == "*" { return .everything }
    if let network = network(text) { return .network(network) }
    let (host, port) = parts(of: Array(text.utf8))
    if host.isEmpty { return .nothing }
    let hostText = String(decoding: host, as: UTF8.self)
    if isBare(host), let address = SocketAddress(host: hostText, port: 0) {
      return .address(address.unmapped(), port)
    }
    var suffix = host[...]
    if suffix.starts(with: "*.".utf8) { suffix = suffix.dropFirst() }
    let takesApex = suffix.first != dot
    return .name(suffix: (takesApex ? [dot] : []) + suffix, takesApex: takesApex, port)
  }

  /// net.ParseCIDR: bits of the host may be set, and the prefix may have leading zeros.
  private static func network(_ text: String) -> Network? {
    let bytes = Array(text.utf8)
    guard let slash = bytes.firstIndex(of: UInt8(ascii: "/")) else { return nil }
    var digits = bytes[(slash + 1)...]
    guard !digits.isEmpty, digits.allSatisfy({ isDigit($0) }) else { return nil }
    while digits.count > 1, digits.first == UInt8(ascii: "0") { digits = digits.dropFirst() }
    let host = String(decoding: bytes[..<slash], as: UTF8.self)
    let prefix = String(decoding: digits, as: UTF8.self)
    guard isBare(Array(bytes[..<slash])) else { return nil }
    do throws(NetworkFault) {
      return try Network(parsing: "\(host)/\(prefix)")
    } catch {
      switch error {
      case .hostBits(let meant): return meant
      case .badAddress, .badPrefix: return nil
      }
    }
  }

  /// net.SplitHostPort, and the whole text for what that refuses.
  private static func parts(of text: [UInt8]) -> (host: [UInt8], port: Port) {
    let whole = (text, Port.any)
    guard let colon = text.lastIndex(of: UInt8(ascii: ":")) else { return whole }
    let host: ArraySlice<UInt8>
    if text[0] == opening {
      guard let end = text.firstIndex(of: closing), end + 1 == colon else { return whole }
      host = text[1..<end]
    } else {
      host = text[..<colon]
      if host.contains(UInt8(ascii: ":")) || host.contains(closing) { return whole }
    }
    let port = text[(colon + 1)...]
    let hasBracket = (host + port).contains(opening) || port.contains(closing)
    if hasBracket { return whole }
    return (Array(host), self.port(String(decoding: port, as: UTF8.self)))
  }

  /// Ports are compared as texts, so `0443` is never the port of a request.
  private static func port(_ text: String) -> Port {
    if text.isEmpty { return .any }
    guard let number = UInt16(text), number > 0, "\(number)" == text else { return .impossible }
    return .only(number)
  }

  static let dot = UInt8(ascii: ".")
  private static let opening = UInt8(ascii: "[")
  private static let closing = UInt8(ascii: "]")

  /// Neither brackets nor a zone, which belong to no address here.
  private static func isBare(_ host: [UInt8]) -> Bool {
    !host.contains(opening) && !host.contains(UInt8(ascii: "%"))
  }

  private static func isDigit(_ byte: UInt8) -> Bool {
    UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
  }

  private static func trimmed(_ item: some StringProtocol) -> String {
    var scalars = item.unicodeScalars[...]
    while scalars.first?.properties.isWhitespace == true { scalars = scalars.dropFirst() }
    while scalars.last?.properties.isWhitespace == true { scalars = scalars.dropLast() }
    return String(String.UnicodeScalarView(scalars))
  }
}

/// Why an entry can never match the host of a request.
package enum BypassFault: Hashable, Sendable, CaseIterable {
  case noHost, badPort, networkPort, brackets, zone, blank, star, notASCII, finalDot, notHost

  /// A clause to follow the entry.
  package var sentence: String {
    switch self {
    case .noHost: "it has no host"
    case .badPort: "what follows the colon is no port from 1 to 65535"
    case .networkPort: "a network takes no port"
    case .brackets: "an IPv6 address has brackets only before a port"
    case .zone: "addresses are compared without their zones"
    case .blank: "entries are parted by commas, not by blanks"
    case .star: "a star stands alone, or for the first label (\"*.example.com\")"
    case .notASCII: "requests have the ASCII form of a name; write its A-labels (xn--...)"
    case .finalDot: "names are compared without a dot at the end"
    case .notHost: "it is neither a host name nor an address nor a network"
    }
  }
}

extension BypassEntry {
  /// Nil for one that some request matches.
  package var fault: BypassFault? {
    switch form {
    case .everything, .network, .address(_, .any), .address(_, .only): nil
    case .nothing: .noHost
    case .address(_, .impossible): .badPort
    case .name(let suffix, _, let port): BypassEntry.fault(of: suffix.dropFirst(), port)
    }
  }

  private static func fault(of name: ArraySlice<UInt8>, _ port: Port) -> BypassFault? {
    let bytes = Array(name)
    if HostName.length(bytes.span) == bytes.count { return port == .impossible ? .badPort : nil }
    let text = String(decoding: bytes, as: UTF8.self)
    if bytes.contains(where: { $0 >= 0x80 }) { return .notASCII }
    if bytes.contains(where: { $0 <= 0x20 }) { return .blank }
    if bytes.contains(UInt8(ascii: "*")) { return .star }
    if network(text) != nil { return .networkPort }
    if bytes.contains(UInt8(ascii: "%")) { return .zone }
    if bytes.first == UInt8(ascii: "["), bytes.last == UInt8(ascii: "]") { return .brackets }
    if HostName.length(bytes.span) != nil { return .finalDot }
    return .notHost
  }
}
