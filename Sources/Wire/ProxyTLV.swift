/// One type-length-value vector of a version 2 header (haproxy `doc/proxy-protocol.txt`, section
/// 2.2): one byte of type, two of length in network order, the value.
package struct ProxyTLV: Hashable, Sendable {
  package var kind: Kind
  /// Offsets of the value in the bytes that were read.
  package var value: Range<Int>

  /// What a TLV takes beyond its value.
  package static let overhead = 3
  /// Section 2.2.5: "an opaque byte sequence of up to 128 bytes".
  package static let uniqueIDLimit = 128
  /// Client bits (1) and verification result (4), before the TLVs within the SSL one.
  package static let sslPrefix = 5

  /// A type byte. Those from `sslVersion` to `sslClientCertificate` mean what they say only inside
  /// the value of `ssl`.
  package struct Kind: RawRepresentable, Hashable, Sendable {
    package var rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let alpn = Kind(rawValue: 0x01)
    package static let authority = Kind(rawValue: 0x02)
    package static let crc32c = Kind(rawValue: 0x03)
    package static let noop = Kind(rawValue: 0x04)
    package static let uniqueID = Kind(rawValue: 0x05)
    package static let ssl = Kind(rawValue: 0x20)
    package static let sslVersion = Kind(rawValue: 0x21)
    package static let sslCommonName = Kind(rawValue: 0x22)
    package static let sslCipher = Kind(rawValue: 0x23)
    package static let sslSignatureAlgorithm = Kind(rawValue: 0x24)
    package static let sslKeyAlgorithm = Kind(rawValue: 0x25)
    package static let sslGroup = Kind(rawValue: 0x26)
    package static let sslSignatureScheme = Kind(rawValue: 0x27)
    package static let sslClientCertificate = Kind(rawValue: 0x28)
    package static let netns = Kind(rawValue: 0x30)
    /// Google's Private Service Connect connection id.
    package static let gcp = Kind(rawValue: 0xe0)
    /// Amazon's VPC endpoint id.
    package static let aws = Kind(rawValue: 0xea)
    /// Azure's Private Link id.
    package static let azure = Kind(rawValue: 0xee)
  }
}

extension ProxyTLV.Kind {
  /// Which part of the type space this is (section 2.2.8).
  package enum Space: Hashable, Sendable {
    case registered, unassigned, custom, experimental, future
  }

  package var space: Space {
    switch rawValue {
    case 0x01...0x05, 0x20...0x28, 0x30: .registered
    case 0xe0...0xef: .custom
    case 0xf0...0xf7: .experimental
    case 0xf8...0xff: .future
    default: .unassigned
    }
  }

  /// The name without its `PP2_` prefix; nil where the specification and the clouds have none.
  package var name: String? {
    switch self {
    case .alpn: "ALPN"
    case .authority: "AUTHORITY"
    case .crc32c: "CRC32C"
    case .noop: "NOOP"
    case .uniqueID: "UNIQUE_ID"
    case .ssl: "SSL"
    case .sslVersion: "SSL_VERSION"
    case .sslCommonName: "SSL_CN"
    case .sslCipher: "SSL_CIPHER"
    case .sslSignatureAlgorithm: "SSL_SIG_ALG"
    case .sslKeyAlgorithm: "SSL_KEY_ALG"
    case .sslGroup: "SSL_GROUP"
    case .sslSignatureScheme: "SSL_SIG_SCHEME"
    case .sslClientCertificate: "SSL_CLIENT_CERT"
    case .netns: "NETNS"
    case .gcp: "GCP"
    case .aws: "AWS"
    case .azure: "AZURE"
    default: nil
    }
  }
}

/// Walks an area of TLVs laid back to back. Takes the bytes at each step, so that it can be kept.
package struct ProxyTLVWalk {
  private var rest: Range<Int>

  package init(_ area: Range<Int>) { rest = area }

  /// The next TLV, or nil at the end. One that does not fit is `proxy.bad-tlv` at its length field;
  /// one or two bytes left over are that at the end of the area.
  package mutating func next(in bytes: Span<UInt8>) throws(Reason) -> ProxyTLV? {
    guard !rest.isEmpty else { return nil }
    guard rest.count >= ProxyTLV.overhead else { throw Reason(.proxyBadTLV, at: rest.upperBound) }
    let at = rest.lowerBound
    let length = Int(bytes[at + 1]) << 8 | Int(bytes[at + 2])
    let start = at + ProxyTLV.overhead
    guard length <= rest.upperBound - start else { throw Reason(.proxyBadTLV, at: at + 1) }
    rest = (start + length)..<rest.upperBound
    return ProxyTLV(kind: .init(rawValue: bytes[at]), value: start..<(start + length))
  }
}

extension ProxyTLV {
  /// Checks every TLV of an area, and those inside an SSL one. Types that are not known may hold
  /// anything.
  ///
  /// - Returns: where the value of the CRC32C is, if there is one.
  static func check(_ area: Range<Int>, in bytes: Span<UInt8>) throws(Reason) -> Range<Int>? {
    var checksum: Range<Int>?
    var walk = ProxyTLVWalk(area)
    while let tlv = try walk.next(in: bytes) {
      let isLengthRight =
        switch tlv.kind {
        case .crc32c: tlv.value.count == 4
        case .uniqueID: tlv.value.count <= uniqueIDLimit
        case .ssl: tlv.value.count >= sslPrefix
        default: true
        }
      guard isLengthRight else {
        throw Reason(.proxyBadTLVLength, at: tlv.value.lowerBound - 2)
      }
      if tlv.kind == .crc32c {
        // With two of them, neither is computed over what the other's sender saw.
        guard checksum == nil else {
          throw Reason(.proxyDuplicateCRC, at: tlv.value.lowerBound - overhead)
        }
        checksum = tlv.value
      }
      if tlv.kind == .ssl {
        var inner = ProxyTLVWalk(tlv.value.dropFirst(sslPrefix))
        while try inner.next(in: bytes) != nil {}
      }
    }
    return checksum
  }

  /// The first TLV of that type in a checked area; nil if there is none.
  package static func first(
    _ kind: Kind, of area: Range<Int>, in bytes: Span<UInt8>
  ) -> ProxyTLV? {
    var walk = ProxyTLVWalk(area)
    while let tlv = try? walk.next(in: bytes) {
      if tlv.kind == kind { return tlv }
    }
    return nil
  }
}

/// The value of an SSL TLV (section 2.2.6).
package struct ProxySSL: Hashable, Sendable {
  /// The client bits as sent.
  package var client: UInt8
  /// "zero if the client presented a certificate and it was successfully verified, and non-zero
  /// otherwise".
  package var verify: UInt32
  /// The TLVs within, for `ProxyTLVWalk` and `ProxyTLV.first`.
  package var tlvs: Range<Int>

  /// PP2_CLIENT_SSL: "the client connected over SSL/TLS".
  package var isTLS: Bool { client & 0x01 != 0 }
  /// PP2_CLIENT_CERT_CONN: "the client provided a certificate over the current connection".
  package var hasConnectionCertificate: Bool { client & 0x02 != 0 }
  /// PP2_CLIENT_CERT_SESS: "at least once over the TLS session this connection belongs to".
  package var hasSessionCertificate: Bool { client & 0x04 != 0 }

  /// Nil unless the TLV is an SSL one that is long enough.
  package init?(_ tlv: ProxyTLV, in bytes: Span<UInt8>) {
    guard tlv.kind == .ssl, tlv.value.count >= ProxyTLV.sslPrefix else { return nil }
    let at = tlv.value.lowerBound
    client = bytes[at]
    verify = (1...4).reduce(0) { word, index in word << 8 | UInt32(bytes[at + index]) }
    tlvs = tlv.value.dropFirst(ProxyTLV.sslPrefix)
  }
}

extension ProxyTLV {
  /// The VPC endpoint id of an AWS TLV (sub-type 1, letters, digits and hyphens); nil for any
  /// other.
  package func awsEndpointID(in bytes: Span<UInt8>) -> Range<Int>? {
    guard kind == .aws, value.count > 1, bytes[value.lowerBound] == 1 else { return nil }
    let id = value.dropFirst()
    for index in id {
      switch bytes[index] {
      case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"):
        continue
      default: return nil
      }
    }
    return id
  }

  /// The link id of an Azure TLV (sub-type 1, then four bytes, little endian); nil for any other.
  package func azureLinkID(in bytes: Span<UInt8>) -> UInt32? {
    guard kind == .azure, value.count == 5, bytes[value.lowerBound] == 1 else { return nil }
    return value.dropFirst().reversed().reduce(0) { word, index in word << 8 | UInt32(bytes[index])
    }
  }

  /// The connection id of a GCP TLV (eight bytes, big endian); nil for any other.
  package func gcpConnectionID(in bytes: Span<UInt8>) -> UInt64? {
    guard kind == .gcp, value.count == 8 else { return nil }
    return value.reduce(0) { word, index in word << 8 | UInt64(bytes[index]) }
  }
}

extension ProxyTLV {
  /// Appends one TLV to an area that `ProxyV2.encode` is given.
  package static func append(
    _ kind: Kind, _ value: Span<UInt8>, into area: inout OutputSpan<UInt8>
  ) throws(ProxyEncodeFault) {
    try appendHead(kind, length: value.count, into: &area)
    for index in value.indices { area.append(value[index]) }
  }

  /// Appends an SSL TLV around TLVs that were appended to an area of their own. Receivers believe
  /// it: Dovecot takes cleartext passwords on its word, so it is only for a connection whose TLS
  /// ended here, or with a sender trusted to say so.
  package static func appendSSL(
    client: UInt8, verify: UInt32, tlvs: Span<UInt8>, into area: inout OutputSpan<UInt8>
  ) throws(ProxyEncodeFault) {
    try appendHead(.ssl, length: sslPrefix + tlvs.count, into: &area)
    area.append(client)
    area.append(bigEndian: verify)
    for index in tlvs.indices { area.append(tlvs[index]) }
  }

  private static func appendHead(
    _ kind: Kind, length: Int, into area: inout OutputSpan<UInt8>
  ) throws(ProxyEncodeFault) {
    guard length <= Int(UInt16.max) else { throw .tooLong(length: length) }
    guard area.freeCapacity >= overhead + length else { throw .noRoom(needed: overhead + length) }
    area.append(kind.rawValue)
    area.append(bigEndian: UInt16(length))
  }
}

extension OutputSpan where Element == UInt8 {
  /// An integer in network byte order.
  mutating func append<Word: FixedWidthInteger>(bigEndian word: Word) {
    var shift = Word.bitWidth
    while shift > 0 {
      shift -= 8
      append(UInt8(truncatingIfNeeded: word >> Word(truncatingIfNeeded: shift)))
    }
  }
}
