import Routing
import Wire

/// Scalars of the PROXY protocol's settings.
extension Scalar {
  /// The largest value of a whole-header limit: what a buffer of the data plane holds.
  static let headerLimitMax = 65_536
  /// NAME_MAX: a namespace is known by the name of a file. ip-netns(8)
  static let namespaceLengthMax = 255

  static func truth(_ text: String) throws(Unreadable) -> Bool {
    try choice(text, of: ["true": true, "false": false], takes: "true or false")
  }

  // MARK: Networks

  static func network(_ text: String) throws(Unreadable) -> Network {
    do throws(NetworkFault) {
      return try Network(parsing: text)
    } catch {
      throw unreadable(network: text, error)
    }
  }

  private static func unreadable(network text: String, _ fault: NetworkFault) -> Unreadable {
    switch fault {
    case .hostBits(let network):
      let alone = text.prefix { $0 != "/" }
      return Unreadable(
        "\"\(text)\" has bits beyond its prefix; write \(network) for the network, or \(alone) "
          + "for the address")
    case .badPrefix:
      let largest = text.contains(":") ? 128 : 32
      return Unreadable("\"\(text)\": the prefix is a decimal number from 0 to \(largest)")
    case .badAddress: return unreadable(source: text)
    }
  }

  private static func unreadable(source text: String) -> Unreadable {
    let host = String(text.prefix { $0 != "/" })
    if text.hasPrefix("unix:") {
      return Unreadable("\"\(text)\" is one socket; unix alone stands for all that come over one")
    }
    if text.lowercased() == "unix" {
      return Unreadable("\"\(text)\" is not a network, did you mean \"unix\"?")
    }
    if let address = SocketAddress(text) {
      return Unreadable(
        "\"\(text)\" has a port; a source's says nothing, so write \(address.hostText)")
    }
    if host.contains("%") {
      return Unreadable("\"\(text)\": a network has no zone")
    }
    if host.hasPrefix("[") {
      let bare = text.filter { $0 != "[" && $0 != "]" }
      return Unreadable("\"\(text)\": no brackets without a port; write \"\(bare)\"")
    }
    if host.contains(":") { return Unreadable("\"\(host)\" is not an IPv6 address") }
    if host.utf8.allSatisfy({ $0 == UInt8(ascii: ".") || isDigit($0) }) {
      return Unreadable("\"\(host)\" is not an IPv4 address")
    }
    return Unreadable("\"\(host)\" is a host name; it takes networks and addresses")
  }

  // MARK: TLVs

  /// A limit on a whole header in bytes.
  static func headerLimit(
    _ text: String, atLeast least: Int, mayBeNumber: Bool = false
  ) throws(Unreadable) -> Int {
    if mayBeNumber, isDigits(text) { return try number(text, in: least...headerLimitMax) }
    let bytes = Int(try size(text, limit: UInt64(headerLimitMax)))
    guard bytes >= least else { throw Unreadable("\(text) is less than \(least) bytes") }
    return bytes
  }

  /// An item of `proxy-tlvs` that is a name alone.
  static func tlv(_ text: String) throws(Unreadable) -> TLVDraft {
    switch text {
    case "netns": throw Unreadable("netns needs its name: { netns: blue }")
    case "noop":
      throw Unreadable("noop is padding; \"proxy-header: { align: 8 }\" makes it")
    default: break
    }
    if let type = try? tlvType(text) {
      throw Unreadable("\(text) has no value: { type: \(hexadecimal(type)), value: \"text\" }")
    }
    return try choice(text, of: tlvNames, takes: alternatives(tlvNames.map(\.key)))
  }

  static let tlvNames: KeyValuePairs<String, TLVDraft> = [
    "unique-id": .uniqueID, "crc32c": .checksum, "authority": .authority, "alpn": .alpn,
    "ssl": .ssl, "client-certificate": .clientCertificate,
  ]

  /// The name of a network namespace; section 2.2.8 has "a US-ASCII string".
  static func networkNamespace(_ text: String) throws(Unreadable) -> String {
    let isName = text.utf8.allSatisfy { (0x21...0x7e).contains($0) && $0 != UInt8(ascii: "/") }
    guard isName, (1...namespaceLengthMax).contains(text.utf8.count) else {
      throw Unreadable(
        "a namespace has 1 to \(namespaceLengthMax) printable ASCII characters, and no \"/\"")
    }
    return text
  }

  /// `0xEA` or `234`.
  static func tlvType(_ text: String) throws(Unreadable) -> UInt8 {
    if text.hasPrefix("0x") {
      let digits = text.dropFirst(2)
      guard (1...2).contains(digits.utf8.count), digits.allSatisfy(\.isHexDigit),
        let type = UInt8(digits, radix: 16)
      else { throw Unreadable("\"\(text)\" is not a type from 0x00 to 0xFF") }
      return type
    }
    guard isDigits(text) else { throw Unreadable("\"\(text)\" is not a type such as 0xE5") }
    return UInt8(try number(text, in: 0...255))
  }

  /// The type of a TLV of the operator's own.
  static func customType(_ text: String) throws(Unreadable) -> UInt8 {
    let type = try tlvType(text)
    let kind = ProxyTLV.Kind(rawValue: type)
    switch kind.space {
    case .custom, .experimental: return type
    case .registered:
      let name = kind.name ?? ""
      throw Unreadable(
        "\(hexadecimal(type)) is \(name) of the PROXY protocol; yours are 0xE0 to 0xEF"
          + (namedKinds[kind].map { ", and \"\($0)\" is an item by that name" } ?? ""))
    case .unassigned, .future:
      throw Unreadable(
        "\(hexadecimal(type)) is reserved by the PROXY protocol; yours are 0xE0 to 0xEF")
    }
  }

  /// Those that have a way into `proxy-tlvs` which makes their value.
  private static let namedKinds: [ProxyTLV.Kind: String] = [
    .alpn: "alpn", .authority: "authority", .crc32c: "crc32c", .uniqueID: "unique-id",
    .netns: "netns", .ssl: "ssl", .sslClientCertificate: "client-certificate",
  ]

  /// The types that `relay-tlvs` knows by name.
  static let relayedNames: KeyValuePairs<String, ProxyTLV.Kind> = [
    "alpn": .alpn, "authority": .authority, "unique-id": .uniqueID, "ssl": .ssl, "netns": .netns,
    "aws": .aws, "azure": .azure, "gcp": .gcp,
  ]

  /// A type whose received TLVs may be passed on.
  static func relayedType(_ text: String) throws(Unreadable) -> UInt8 {
    if let found = relayedNames.first(where: { $0.key == text }) { return found.value.rawValue }
    let kind: ProxyTLV.Kind
    switch text {
    case "crc32c": kind = .crc32c
    case "noop": kind = .noop
    default:
      guard let type = try typeToRelay(text) else {
        let names = relayedNames.map(\.key)
        throw Unreadable(
          "\"\(text)\" is neither a type such as 0xEA nor one of \(names.joined(separator: ", "))"
            + Nearest.hint(for: text, among: names))
      }
      kind = ProxyTLV.Kind(rawValue: type)
    }
    switch kind {
    case .crc32c:
      throw Unreadable(
        "\(text) covers the header it came in; \"proxy-tlvs: [crc32c]\" computes a new one")
    case .noop: throw Unreadable("\(text) is padding; \"proxy-header: { align: 8 }\" makes it anew")
    case .ssl: throw Unreadable("\(text) is relayed by its name only; write ssl if you mean it")
    default: break
    }
    guard
      !(ProxyTLV.Kind.sslVersion.rawValue...0x2f).contains(kind.rawValue)
        || kind.space != .registered
    else {
      throw Unreadable("\(text) is \(kind.name ?? ""), which exists only inside ssl")
    }
    return kind.rawValue
  }

  /// Nil for a text that does not look like a number.
  private static func typeToRelay(_ text: String) throws(Unreadable) -> UInt8? {
    guard let first = text.utf8.first, isDigit(first) else { return nil }
    return try tlvType(text)
  }

  /// `0xEA`.
  static func hexadecimal(_ type: UInt8) -> String {
    let digits = String(type, radix: 16, uppercase: true)
    return digits.utf8.count == 1 ? "0x0\(digits)" : "0x\(digits)"
  }

  // MARK: Templates

  /// What may stand between `${` and `}`.
  static let variables: KeyValuePairs<String, TemplatePart> = [
    "listener": .listener, "backend": .backend, "server": .server,
    "client.address": .clientAddress, "client.port": .clientPort,
    "local.address": .localAddress, "local.port": .localPort, "connection.id": .connectionID,
  ]

  /// Text in which `${client.address}` and others stand for what they name, and `$$` for `$`.
  static func template(_ text: String) throws(Unreadable) -> [TemplatePart] {
    var parts: [TemplatePart] = []
    var literal: [UInt8] = []
    var rest = text[...]
    while let character = rest.popFirst() {
      guard character == "$", let next = rest.first, next == "$" || next == "{" else {
        literal += Array(String(character).utf8)
        continue
      }
      rest.removeFirst()
      guard next == "{" else {
        literal.append(UInt8(ascii: "$"))
        continue
      }
      guard let end = rest.firstIndex(of: "}") else {
        throw Unreadable("a \"${\" without its \"}\"; write \"$${\" for these characters")
      }
      if !literal.isEmpty { parts.append(.text(literal)) }
      literal = []
      parts.append(try variable(String(rest[..<end])))
      rest = rest[rest.index(after: end)...]
    }
    if !literal.isEmpty { parts.append(.text(literal)) }
    return parts
  }

  private static func variable(_ name: String) throws(Unreadable) -> TemplatePart {
    if let found = variables.first(where: { $0.key == name }) { return found.value }
    let names = variables.map(\.key)
    let hint = Nearest.hint(for: name, among: names)
    throw Unreadable(
      "unknown \"${\(name)}\""
        + (hint.isEmpty ? "; there are \(names.joined(separator: ", "))" : hint))
  }
}

extension SocketAddress {
  /// The address alone, as it stands in a list of networks: without brackets and zone.
  fileprivate var hostText: String {
    let text = hostDescription.filter { $0 != "[" && $0 != "]" }
    return String(text.prefix { $0 != "%" })
  }
}
