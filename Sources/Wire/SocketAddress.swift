/// An address of a stream socket: IPv4, IPv6 or Unix. A plain value; the first two cases never
/// allocate.
///
/// IPv6 addresses are two 64-bit words in host order: `2001:db8::1` is high `0x20010db8_00000000`,
/// low `1`. An IPv4 address is one 32-bit word in host order: `127.0.0.1` is `0x7f000001`.
package enum SocketAddress: Hashable, Sendable {
  case ipv4(UInt32, port: UInt16)
  case ipv6(high: UInt64, low: UInt64, port: UInt16, scope: UInt32)
  /// A path of at most 107 bytes; a leading NUL (written `@` in text) names the abstract
  /// namespace; empty for an unnamed socket, as clients of Unix listeners usually are. unix(7).
  case unix(path: String)
}

extension SocketAddress {
  /// The longest Unix path in bytes: `sun_path` holds 108, the last of which is the NUL. unix(7).
  package static let unixPathLimit = 107

  /// The port in host order; nil for a Unix address.
  package var port: UInt16? {
    switch self {
    case .ipv4(_, let port): port
    case .ipv6(_, _, let port, _): port
    case .unix: nil
    }
  }

  /// The same address with another port; a Unix address is returned as it is.
  package func withPort(_ port: UInt16) -> SocketAddress {
    switch self {
    case .ipv4(let word, _): .ipv4(word, port: port)
    case .ipv6(let high, let low, _, let scope):
      .ipv6(high: high, low: low, port: port, scope: scope)
    case .unix: self
    }
  }

  /// An IPv4-mapped IPv6 address (`::ffff:0:0/96`, RFC 4291 section 2.5.5.2) as the IPv4 address
  /// it stands for; any other address unchanged.
  package func unmapped() -> SocketAddress {
    guard case .ipv6(0, let low, let port, _) = self, low >> 32 == 0xffff else { return self }
    return .ipv4(UInt32(truncatingIfNeeded: low), port: port)
  }

  /// An IPv4 address as its IPv4-mapped IPv6 address `::ffff:a.b.c.d`; any other unchanged.
  package func mapped() -> SocketAddress {
    guard case .ipv4(let word, let port) = self else { return self }
    return .ipv6(high: 0, low: 0xffff_0000_0000 | UInt64(word), port: port, scope: 0)
  }

  /// Whether a bind to this address takes connections to every address of its family:
  /// `0.0.0.0`, `::` and `::ffff:0.0.0.0`. A Unix address never does.
  package var isWildcard: Bool {
    switch unmapped() {
    case .ipv4(let word, _): word == 0
    case .ipv6(let high, let low, _, _): high == 0 && low == 0
    case .unix: false
    }
  }

  /// Whether the address is of the loopback network: `127.0.0.0/8`, `::1` and the mapped form of
  /// the former. A Unix address is not (it has no network); ask for its case instead.
  package var isLoopback: Bool {
    switch unmapped() {
    case .ipv4(let word, _): word >> 24 == 127
    case .ipv6(let high, let low, _, _): high == 0 && low == 1
    case .unix: false
    }
  }
}
