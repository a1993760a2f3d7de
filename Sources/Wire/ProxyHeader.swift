/// A PROXY protocol header of either version, as read (haproxy `doc/proxy-protocol.txt`). Ranges
/// are offsets into the bytes it was read from; the caller keeps those as long as it needs them.
package struct ProxyHeader: Hashable, Sendable {
  package enum Version: Hashable, Sendable { case v1, v2 }

  package enum Command: Hashable, Sendable {
    /// The sender's own connection, such as a health check: use the real endpoints.
    case local
    /// A connection on behalf of another node.
    case proxy
  }

  package enum Transport: Hashable, Sendable { case unspecified, stream, datagram }

  /// The addresses a header speaks of. `none` stands for every header whose receiver is told to
  /// use the real connection's: LOCAL, UNKNOWN, and an unspecified family or transport.
  package enum Endpoints: Hashable, Sendable {
    case none
    case ip(source: SocketAddress, destination: SocketAddress)
    /// The paths, without padding: empty if unnamed, beginning with a NUL if abstract.
    case unix(source: Range<Int>, destination: Range<Int>)
  }

  package var version: Version
  package var command: Command
  package var transport: Transport
  package var endpoints: Endpoints
  /// The well-formed TLV area; empty if there is none.
  package var tlvs: Range<Int>

  /// The addresses that stand for the client on a stream listener, as announced (an IPv4-mapped
  /// address stays one). Nil where the real connection's are to be used: without addresses, and for
  /// Unix sockets and datagrams, which section 2.2 lets a receiver treat as UNSPEC.
  package var streamAddresses: (source: SocketAddress, destination: SocketAddress)? {
    guard transport == .stream, case .ip(let source, let destination) = endpoints else {
      return nil
    }
    return (source, destination)
  }

  /// Reads a header of either version from the front of `bytes`.
  ///
  /// - Parameters:
  ///   - v2Limit: the longest version 2 header accepted, its 16 first bytes included. It is held
  ///     against the length field, before anything else is waited for.
  ///   - ended: whether no more bytes will come (end of stream or deadline). Then a header that is
  ///     not whole is `proxy.truncated` (section 2.2: "The receiver must also reject incoming
  ///     connections containing partial protocol headers"), or `proxy.probe` before the first byte.
  package static func decode(
    _ bytes: Span<UInt8>, v2Limit: Int = ProxyV2.defaultReceiveLimit, ended: Bool = false
  ) -> Parse<ProxyHeader> {
    let result: Parse<ProxyHeader>
    if bytes.count == 0 {
      result = .needMore(atLeast: ProxyV1.minimumLength)
    } else if bytes[0] == ProxyV1.firstByte {
      result = ProxyV1.decode(bytes)
    } else {
      result = ProxyV2.decode(bytes, limit: v2Limit)
    }
    guard ended, case .needMore = result else { return result }
    return .invalid(Reason(bytes.count == 0 ? .proxyProbe : .proxyTruncated, at: bytes.count))
  }
}

/// Why a header cannot be written. Nothing has been written then.
package enum ProxyEncodeFault: Error, Hashable, Sendable {
  /// Version 1 has no way to say this: an endpoint is a Unix socket. The caller may send version 2,
  /// or nothing; `UNKNOWN` is refused by too many receivers to be of use.
  case notIP
  /// A Unix path has more bytes than its field of 108.
  case pathTooLong
  /// The buffer has room for fewer than `needed` bytes.
  case noRoom(needed: Int)
  /// The header would have `length` bytes, more than the limit given or than its format can say.
  case tooLong(length: Int)
  /// The TLV area is not one a strict receiver takes; why, and where in it.
  case badTLVs(Reason)
  /// The TLV area holds a CRC32C. Only the encoder can compute one.
  case foreignChecksum
}

/// Two endpoints brought to the one family a header can name.
enum ProxyPair {
  case ipv4(source: UInt32, destination: UInt32)
  case ipv6(source: (high: UInt64, low: UInt64), destination: (high: UInt64, low: UInt64))
  case unix(source: String, destination: String)
  /// A Unix socket on one side, an IP address on the other: no family holds both.
  case none

  /// Two IPv4 addresses, mapped or not, are IPv4; an IPv4 address beside an IPv6 one is written
  /// `::ffff:a.b.c.d`, since both addresses are of the announced family.
  init(source: SocketAddress, destination: SocketAddress) {
    switch (source.unmapped(), destination.unmapped()) {
    case (.ipv4(let from, _), .ipv4(let to, _)):
      self = .ipv4(source: from, destination: to)
    case (.unix(let from), .unix(let to)):
      self = .unix(source: from, destination: to)
    case (.unix, .ipv4), (.unix, .ipv6), (.ipv4, .unix), (.ipv6, .unix):
      self = .none
    case (.ipv4, .ipv6), (.ipv6, .ipv4), (.ipv6, .ipv6):
      self = .none
      if case .ipv6(let fromHigh, let fromLow, _, _) = source.mapped(),
        case .ipv6(let toHigh, let toLow, _, _) = destination.mapped()
      {
        self = .ipv6(source: (fromHigh, fromLow), destination: (toHigh, toLow))
      }
    }
  }
}
