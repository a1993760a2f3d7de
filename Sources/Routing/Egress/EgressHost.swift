package import Wire

/// The host that a client of a forward proxy wants to reach: a name, or an address.
package enum EgressHost: Hashable, Sendable {
  /// Lower case and without a dot at the end, whatever was asked for.
  case name(HostName)
  /// With port 0. An IPv4-mapped address is here as the IPv4 address it stands for.
  case address(SocketAddress)

  /// Reads the host of an authority or a URL (RFC 3986 section 3.2.2), without its port: a name, a
  /// dotted IPv4 address, or an IPv6 address in brackets.
  ///
  /// What inet_aton(3) would take for an IPv4 address in another form (`2130706433`, `0x7f.1`,
  /// `0177.0.0.1`, `127.1`) is refused, and never looked up: whoever did would dial what it stands
  /// for. As in the URL Standard, a host whose last label is a number is an address or nothing.
  package init(bytes: Span<UInt8>) throws(EgressHostFault) {
    guard bytes.count > 0 else { throw .malformed }
    if bytes[0] == UInt8(ascii: "[") {
      self = .address(try EgressHost.bracketed(bytes))
      return
    }
    let text = EgressHost.text(bytes)
    if EgressHost.endsInNumber(bytes) {
      guard let address = SocketAddress(host: text, port: 0), case .ipv4 = address else {
        throw .numeric
      }
      self = .address(address)
      return
    }
    guard let name = HostName(bytes: bytes) else { throw .malformed }
    self = .name(name)
  }

  package init(_ text: String) throws(EgressHostFault) {
    let bytes = Array(text.utf8)
    try self.init(bytes: bytes.span)
  }

  private static func bracketed(_ bytes: Span<UInt8>) throws(EgressHostFault) -> SocketAddress {
    for index in bytes.indices where bytes[index] == UInt8(ascii: "%") { throw .zone }
    guard let address = SocketAddress(host: text(bytes), port: 0), case .ipv6 = address else {
      throw .malformed
    }
    return address.unmapped()
  }

  /// What is no UTF-8 is no host either, so that what stands in its place does not matter.
  private static func text(_ bytes: Span<UInt8>) -> String {
    var copy: [UInt8] = []
    copy.reserveCapacity(bytes.count)
    for index in bytes.indices { copy.append(bytes[index]) }
    return String(decoding: copy, as: UTF8.self)
  }

  /// Whether the last label, before one dot at the end, is decimal digits, or `0x` and none or more
  /// hexadecimal ones. https://url.spec.whatwg.org/#ends-in-a-number-checker
  static func endsInNumber(_ bytes: Span<UInt8>) -> Bool {
    var end = bytes.count
    if end > 0, bytes[end - 1] == UInt8(ascii: ".") { end -= 1 }
    var start = end
    while start > 0, bytes[start - 1] != UInt8(ascii: ".") { start -= 1 }
    guard start < end else { return false }
    let isHexadecimal =
      end - start >= 2 && bytes[start] == UInt8(ascii: "0") && bytes[start + 1] | 0x20 == 0x78
    for index in (isHexadecimal ? start + 2 : start)..<end {
      switch bytes[index] {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): break
      case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"):
        guard isHexadecimal else { return false }
      default: return false
      }
    }
    return true
  }
}

/// Why a text is not the host of a request.
package enum EgressHostFault: Error, Hashable, Sendable, CaseIterable {
  /// Neither a host name, nor an IPv4 address, nor an IPv6 address in brackets.
  case malformed
  /// A number, which only some readers take for an address.
  case numeric
  /// An IPv6 address with a zone, which means something on the client's machine only.
  case zone
}

extension EgressHost: CustomStringConvertible {
  /// As in a URL: IPv6 addresses in brackets.
  package var description: String {
    switch self {
    case .name(let name): name.text
    case .address(.ipv6(let high, let low, _, _)):
      "[\(SocketAddress.ipv6(high: high, low: low, port: 0, scope: 0).hostDescription)]"
    case .address(let address): address.hostDescription
    }
  }
}

/// How a client asks for it.
package enum EgressScheme: Hashable, Sendable {
  /// A request with a whole URL, which is read and forwarded.
  case http
  /// CONNECT: bytes both ways, whatever they are.
  case connect
}

/// Where a client wants to go.
package struct EgressTarget: Hashable, Sendable, CustomStringConvertible {
  package let host: EgressHost
  package let port: UInt16
  package let scheme: EgressScheme

  package init(host: EgressHost, port: UInt16, scheme: EgressScheme) {
    self.host = host
    self.port = port
    self.scheme = scheme
  }

  /// `www.example:443`
  package var description: String { "\(host):\(port)" }
}
