/// A set of source addresses: an IPv4 or IPv6 network in CIDR form (RFC 4632, RFC 4291 section
/// 2.3), or `unix` for everything that comes over a Unix socket. Host bits are always zero, so
/// equal networks are equal values.
package enum Network: Hashable, Sendable {
  case ipv4(UInt32, prefix: UInt8)
  case ipv6(high: UInt64, low: UInt64, prefix: UInt8)
  case unix

  /// Few words, since long lists are compared at each reload.
  package func hash(into hasher: inout Hasher) {
    switch self {
    case .ipv4(let word, let prefix):
      hasher.combine(UInt64(prefix) << 32 | UInt64(word))
    case .ipv6(let high, let low, let prefix):
      hasher.combine(high)
      hasher.combine(low)
      hasher.combine(prefix)
    case .unix:
      hasher.combine(UInt64.max)
    }
  }
}

/// Why a text is not a network.
package enum NetworkFault: Error, Hashable, Sendable {
  /// The part before the slash is no IPv4 or IPv6 address.
  case badAddress
  /// The part after the slash is no decimal number, or above 32 (IPv4) or 128 (IPv6).
  case badPrefix
  /// Bits beyond the prefix are set; the network that was probably meant comes along.
  case hostBits(Network)
}

extension Network {
  /// Parses `192.0.2.0/24`, `2001:db8::/32`, an address alone (all of its bits count) or `unix`.
  /// An IPv4-mapped IPv6 network of at least 96 bits becomes the IPv4 network it stands for,
  /// since sources are unmapped before any look-up.
  package init(parsing text: String) throws(NetworkFault) {
    if text == "unix" {
      self = .unix
      return
    }
    let bytes = Array(text.utf8)
    let slash = bytes.firstIndex(of: UInt8(ascii: "/"))
    let host = String(decoding: bytes[..<(slash ?? bytes.count)], as: UTF8.self)
    // Brackets belong to the form with a port, and a zone to an interface, not to a network.
    let isAlone = !host.utf8.contains { $0 == UInt8(ascii: "[") || $0 == UInt8(ascii: "%") }
    guard isAlone, let address = SocketAddress(host: host, port: 0) else { throw .badAddress }
    var prefix: UInt32?
    if let slash {
      prefix = try? AddressText.decimal(
        bytes.span.extracting((slash + 1)..<bytes.count), limit: 128)
      guard prefix != nil else { throw .badPrefix }
    }
    self = try Network.checked(address, prefix: prefix)
  }

  private static func checked(
    _ address: SocketAddress, prefix: UInt32?
  ) throws(NetworkFault) -> Network {
    let network: Network
    switch address {
    case .ipv4(let word, _):
      let bits = prefix ?? 32
      guard bits <= 32 else { throw .badPrefix }
      network = .ipv4(word & mask32(bits), prefix: UInt8(bits))
      guard network == .ipv4(word, prefix: UInt8(bits)) else { throw .hostBits(network) }
    case .ipv6(let high, let low, _, _):
      let bits = prefix ?? 128
      if bits >= 96, case .ipv4 = address.unmapped() {
        return try checked(address.unmapped(), prefix: bits - 96)
      }
      network = .ipv6(
        high: high & mask64(bits), low: low & mask64(bits < 64 ? 0 : bits - 64),
        prefix: UInt8(bits))
      guard network == .ipv6(high: high, low: low, prefix: UInt8(bits)) else {
        throw .hostBits(network)
      }
    case .unix: throw .badAddress
    }
    return network
  }

  /// Whether the address, unmapped first, lies in this network. Port and zone do not matter.
  package func contains(_ address: SocketAddress) -> Bool {
    switch (self, address.unmapped()) {
    case (.ipv4(let base, let prefix), .ipv4(let word, _)):
      word & Network.mask32(UInt32(prefix)) == base
    case (.ipv6(let high, let low, let prefix), .ipv6(let wordHigh, let wordLow, _, _)):
      wordHigh & Network.mask64(UInt32(prefix)) == high
        && wordLow & Network.mask64(prefix < 64 ? 0 : UInt32(prefix) - 64) == low
    case (.unix, .unix): true
    case (.ipv4, .ipv6), (.ipv4, .unix), (.ipv6, .ipv4), (.ipv6, .unix), (.unix, .ipv4),
      (.unix, .ipv6):
      false
    }
  }

  /// Whether every address of `other` lies in this network.
  package func contains(_ other: Network) -> Bool {
    switch (self, other) {
    case (.ipv4(let base, let prefix), .ipv4(let word, let longer)):
      longer >= prefix && word & Network.mask32(UInt32(prefix)) == base
    case (.ipv6(let high, let low, let prefix), .ipv6(let wordHigh, let wordLow, let longer)):
      longer >= prefix && wordHigh & Network.mask64(UInt32(prefix)) == high
        && wordLow & Network.mask64(prefix < 64 ? 0 : UInt32(prefix) - 64) == low
    case (.unix, .unix): true
    case (.ipv4, .ipv6), (.ipv4, .unix), (.ipv6, .ipv4), (.ipv6, .unix), (.unix, .ipv4),
      (.unix, .ipv6):
      false
    }
  }

  /// The first `bits` of 32, set. A shift by the full width is zero, not undefined, in Swift.
  private static func mask32(_ bits: UInt32) -> UInt32 { UInt32.max << (32 - min(bits, 32)) }

  private static func mask64(_ bits: UInt32) -> UInt64 { UInt64.max << UInt64(64 - min(bits, 64)) }
}

extension Network: CustomStringConvertible {
  /// CIDR form, always with the prefix: `192.0.2.1/32`; `unix`.
  package var description: String {
    var bytes: [UInt8] = []
    switch self {
    case .ipv4(let word, let prefix):
      AddressText.append(ipv4: word, to: &bytes)
      bytes.append(UInt8(ascii: "/"))
      bytes.append(decimal: UInt64(prefix))
    case .ipv6(let high, let low, let prefix):
      AddressText.append(high: high, low: low, to: &bytes)
      bytes.append(UInt8(ascii: "/"))
      bytes.append(decimal: UInt64(prefix))
    case .unix:
      bytes.append(text: "unix")
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
