import Wire

/// The addresses of a file, each fault with its own reason.
enum Endpoint {
  private enum Role {
    case bind
    case server
  }

  /// The sockets that one `bind` text asks for: `":25"` is 0.0.0.0:25 and [::]:25.
  static func binds(_ text: String) throws(Unreadable) -> [SocketAddress] {
    guard text.hasPrefix(":"), text.utf8.count(where: { $0 == UInt8(ascii: ":") }) == 1 else {
      return [try address(text, for: .bind)]
    }
    let port = try port(text.dropFirst(), of: text)
    return [.ipv4(0, port: port), .ipv6(high: 0, low: 0, port: port, scope: 0)]
  }

  /// One server: its address, `mail.example:25`, or `srv:_imap._tcp.mail.example`.
  static func server(_ text: String) throws(Unreadable) -> ServerTarget {
    if text.hasPrefix("srv:") { return .service(try service(String(text.dropFirst(4)), text)) }
    if let named = try named(text) { return named }
    let address = try address(text, for: .server)
    guard !address.isWildcard else {
      throw Unreadable("\(text) is a wildcard; a server has one address, such as 127.0.0.1")
    }
    return .address(address)
  }

  /// Nil for what is to be read as an address, or to be refused as one.
  private static func named(_ text: String) throws(Unreadable) -> ServerTarget? {
    guard !text.hasPrefix("unix:"), !text.contains("/"), let colon = text.lastIndex(of: ":"),
      let name = HostName(String(text[..<colon]))
    else { return nil }
    return .host(name, port: try port(text[text.index(after: colon)...], of: text))
  }

  /// RFC 2782: `_Service._Proto.Name`.
  private static func service(_ name: String, _ text: String) throws(Unreadable) -> HostName {
    let labels = name.split(separator: ".", omittingEmptySubsequences: false)
    guard labels.count > 2, labels[0].hasPrefix("_"), labels[1] == "_tcp",
      let name = HostName(name)
    else {
      throw Unreadable(
        "\"\(text)\" is not the name of a service, such as srv:_imap._tcp.mail.example")
    }
    return name
  }

  /// A name server: an address, with or without a port.
  static func nameServer(_ text: String) throws(Unreadable) -> SocketAddress {
    if let address = SocketAddress(host: text, port: 53), !address.isWildcard {
      return address.unmapped()
    }
    let address = try address(text, for: .bind)
    if case .unix = address {
      throw Unreadable("\"\(text)\" is a Unix socket; it takes an address")
    }
    guard !address.isWildcard else { throw Unreadable("\(text) is a wildcard, and no name server") }
    return address
  }

  /// An address to dial from, with port 0.
  static func source(_ text: String) throws(Unreadable) -> SocketAddress {
    guard !text.hasPrefix("unix:") else {
      throw Unreadable("\"\(text)\" is a Unix socket; it takes an IP address")
    }
    guard !text.contains("/") else {
      throw Unreadable("\"\(text)\" is a network; it takes one address")
    }
    guard let address = SocketAddress(host: text, port: 0)?.unmapped() else {
      guard SocketAddress(text) == nil else {
        throw Unreadable("\"\(text)\" has a port; it takes an address alone")
      }
      throw fault(ofHost: text, port: nil, for: .server)
    }
    guard !address.isWildcard else {
      throw Unreadable("\(text) is a wildcard; leave source out to let the system choose")
    }
    try checkUse(of: address, text)
    return address
  }

  private static func address(_ text: String, for role: Role) throws(Unreadable) -> SocketAddress {
    if text.hasPrefix("unix:") { return try unix(text) }
    if text.hasPrefix("/") || text.hasPrefix("@") {
      throw Unreadable("\"\(text)\" needs a prefix: write \"unix:\(text)\"")
    }
    if text.contains("/") {
      throw Unreadable("\"\(text)\" is a network or a URL; it takes one address and port")
    }
    let (host, portText) = try split(text, for: role)
    let port = try port(portText, of: text)
    guard let address = SocketAddress(host: host, port: port)?.unmapped() else {
      throw fault(ofHost: host, port: port, for: role)
    }
    try checkUse(of: address, text)
    return address
  }

  private static func unix(_ text: String) throws(Unreadable) -> SocketAddress {
    let path = text.dropFirst("unix:".count)
    guard path.hasPrefix("/") || path.hasPrefix("@"), path.utf8.count > 1 else {
      throw Unreadable(
        "\"\(text)\" is neither a path (unix:/run/x.sock) nor an abstract name (unix:@x)")
    }
    guard !path.hasSuffix("/") else {
      throw Unreadable("\"\(text)\" is a directory; name a socket in it")
    }
    guard path.utf8.count <= SocketAddress.unixPathLimit, let address = SocketAddress(text) else {
      let limit = SocketAddress.unixPathLimit
      throw Unreadable(
        "the path has \(path.utf8.count) bytes; a Unix socket's has at most \(limit)")
    }
    return address
  }

  /// Host, with its brackets, and port of `host:port`.
  private static func split(
    _ text: String, for role: Role
  ) throws(Unreadable) -> (host: String, port: Substring) {
    let colons = text.indices.filter { text[$0] == ":" }
    guard let last = colons.last else {
      guard Scalar.isDigits(text) else {
        throw Unreadable("\"\(text)\" has no port; write \"\(text):25\" with yours")
      }
      let sample = role == .bind ? ":\(text)" : "127.0.0.1:\(text)"
      throw Unreadable("\"\(text)\" is a port without an address; write \"\(sample)\"")
    }
    let host = String(text[..<last])
    if text.hasPrefix("[") {
      guard !text.hasSuffix("]") else {
        throw Unreadable("\"\(text)\" has no port; write \"\(text):25\" with yours")
      }
    } else if colons.count > 1 {
      throw Unreadable("\"\(text)\": an IPv6 address goes in brackets, as in \"[2001:db8::1]:25\"")
    }
    guard !host.isEmpty else {
      throw Unreadable("\"\(text)\" has no address; write \"127.0.0.1\(text)\" with yours")
    }
    return (host, text[text.index(after: last)...])
  }

  private static func port(
    _ text: Substring, of whole: String
  ) throws(Unreadable) -> UInt16 {
    guard Scalar.isDigits(text) else {
      throw Unreadable("\"\(whole)\" has no port number after the last colon")
    }
    guard text != "0" else {
      throw Unreadable("\"\(whole)\": port 0 means any port, and clients could not know which")
    }
    guard !text.hasPrefix("0") else {
      throw Unreadable("\"\(whole)\": the port has a leading zero; numbers are decimal")
    }
    guard let port = UInt16(text) else {
      throw Unreadable("\"\(whole)\": port \(text) is out of range 1 to 65535")
    }
    return port
  }

  /// Why Wire did not take `host`.
  private static func fault(ofHost host: String, port: UInt16?, for role: Role) -> Unreadable {
    if host == "*" {
      guard role == .bind, let port else { return Unreadable("\"*\" is not an address") }
      return Unreadable("\"*\" is not an address; write \":\(port)\" for all of them")
    }
    if host.contains("%") {
      return Unreadable(
        "\"\(host)\": a zone is the number of an interface (see \"ip link\"), as in fe80::1%2")
    }
    if host.hasPrefix("[") || host.contains(":") {
      return Unreadable("\"\(host)\" is not an IPv6 address")
    }
    if host.utf8.allSatisfy({ $0 == UInt8(ascii: ".") || Scalar.isDigit($0) }) {
      return Unreadable("\"\(host)\" is not an IPv4 address")
    }
    return Unreadable("\"\(host)\" is a host name; it takes an address")
  }

  /// Refuses what TCP can neither listen on nor dial.
  private static func checkUse(of address: SocketAddress, _ text: String) throws(Unreadable) {
    switch address {
    case .ipv4(let word, _):
      // 224.0.0.0/4 is multicast (RFC 5771), 240.0.0.0/4 reserved (RFC 1112, section 4), with the
      // broadcast address at its end.
      guard word >> 28 < 14 else {
        throw Unreadable("\(text) is a multicast or reserved address; TCP has no use for it")
      }
    case .ipv6(let high, _, _, let scope):
      // ff00::/8 is multicast, fe80::/10 is link-local: RFC 4291, sections 2.7 and 2.5.6.
      guard high >> 56 != 0xff else {
        throw Unreadable("\(text) is a multicast address; TCP has no use for it")
      }
      guard high >> 54 != 0x3fa || scope != 0 else {
        throw Unreadable(
          "\(text) is a link-local address; add the number of its interface, as in fe80::1%2")
      }
    case .unix: break
    }
  }
}
