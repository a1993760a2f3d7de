/// An address of a stream socket: IPv4, IPv6 or Unix. A plain value; the first two cases never allocate.
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
