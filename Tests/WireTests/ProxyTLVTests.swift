import Testing

@testable import Wire

/// The TLVs of version 2 as a receiver; the quotations are of section 2.2 of
/// haproxy's doc/proxy-protocol.txt and its subsections, the ids number its rules.
struct ProxyTLVDecodeTests {
  private func kinds(_ bytes: [UInt8]) throws -> [UInt8] {
    let area = try #require(decode(bytes).value?.tlvs)
    var walk = ProxyTLVWalk(area)
    var kinds: [UInt8] = []
    while let tlv = try walk.next(in: bytes) { kinds.append(tlv.kind.rawValue) }
    return kinds
  }

  private func proxied(_ tlvs: [UInt8]) -> [UInt8] { headerV2(0x21, 0x11, blockIPv4 + tlvs) }

  /// TLV-1: "The first byte is the Type of the vector. The second two bytes represent the length in
  /// bytes of the value (not included the Type and Length bytes)". TLV-3: "A receiver may choose to
  /// skip over and ignore the TLVs it is not interested in or it does not understand." V2-23: "or
  /// attempt to interpret those bytes".
  @Test func everyTypeIsWalked() throws {
    let tlvs = (0...255).filter { $0 != 3 && $0 != 0x20 }.map { tlv(UInt8($0), [UInt8($0), 1, 2]) }
    let header = proxied(Array(tlvs.joined()))
    #expect(try kinds(header) == (0...255).filter { $0 != 3 && $0 != 0x20 })
    #expect(try kinds(proxied(tlv(1, Array(repeating: 7, count: 0x0203)))) == [1])
    #expect(try kinds(proxied(tlv(0xe3, []) + tlv(0xe3, []))) == [0xe3, 0xe3])
  }

  /// TLV-2: the text gives no other reading for what is left over, so it is refused.
  @Test(arguments: [
    ([1], 29), ([1, 0], 30), ([1, 0, 1], 29), (tlv(1, [7]) + [4], 33),
    (tlv(1, [7]) + [4, 0, 9, 1], 33),
    ([1, 0xff, 0xff, 0], 29),
  ])
  func malformed(area: [UInt8], offset: Int) {
    #expect(decode(proxied(area)).reason == Reason(.proxyBadTLV, at: offset))
  }

  /// TLV-4 "a byte sequence", TLV-5 "an UTF8-encoded string", TLV-15 "the US-ASCII string
  /// representation of the namespace's name": given back as they came.
  @Test(arguments: [ProxyTLV.Kind.alpn, .authority, .netns, .uniqueID, .noop])
  func values(kind: ProxyTLV.Kind) throws {
    let value = Array("mail.example".utf8)
    let header = proxied(tlv(0xe1, [9]) + tlv(kind.rawValue, value) + tlv(kind.rawValue, [1]))
    let area = try #require(decode(header).value?.tlvs)
    let found = try #require(ProxyTLV.first(kind, of: area, in: header))
    #expect(Array(header[found.value]) == value)
    #expect(ProxyTLV.first(.ssl, of: area, in: header) == nil)
  }

  /// TLV-6: "replace the 32 bits of the checksum field in the received PROXY header with all '0's
  /// and calculate a CRC32c checksum value of the whole PROXY header"; "If it is not, the receiver
  /// MUST treat the TCP connection providing the header as invalid."
  @Test func checksum() {
    let header = checksummedV2(0x21, 0x11, blockIPv4 + tlv(5, [1, 2, 3]))
    #expect(decode(header).consumed == header.count)
    for index in 16..<header.count - 7 where index < 28 || index > 30 {
      var wrong = header
      wrong[index] ^= 0x40
      #expect(decode(wrong).reason == Reason(.proxyCRCMismatch, at: header.count - 4))
    }
    for index in header.count - 4..<header.count {
      var wrong = header
      wrong[index] ^= 1
      #expect(decode(wrong).reason == Reason(.proxyCRCMismatch, at: header.count - 4))
    }
  }

  @Test func checksumAnywhereInTheArea() {
    var header = proxied(tlv(3, [0, 0, 0, 0]) + tlv(5, [1, 2, 3]))
    let crc = plainCRC32C(header)
    for index in 0..<4 {
      header[31 + index] = UInt8(truncatingIfNeeded: crc >> UInt32(24 - 8 * index))
    }
    #expect(decode(header).consumed == header.count)
    header[31...34].reverse()
    #expect(decode(header).reason == Reason(.proxyCRCMismatch, at: 31))
  }

  /// TLV-6 for LOCAL: its block is discarded, but a checksum is of the header as a whole.
  @Test func checksumOfLocal() {
    let header = checksummedV2(0x20, 0, [])
    #expect(decode(header).value?.command == .local)
    var wrong = header
    wrong[wrong.count - 1] ^= 1
    #expect(decode(wrong).reason == Reason(.proxyCRCMismatch, at: 19))
  }

  /// TLV-6: "a 32-bit number".
  @Test func otherChecksums() {
    for count in [0, 3, 5] {
      let header = proxied(tlv(3, Array(repeating: 0, count: count)))
      #expect(decode(header).reason == Reason(.proxyBadTLVLength, at: 29))
    }
    let twice = checksummedV2(0x21, 0x11, blockIPv4 + tlv(3, [0, 0, 0, 0]))
    #expect(decode(twice).reason == Reason(.proxyDuplicateCRC, at: 35))
  }

  /// TLV-7: "The TLV of this type should be ignored when parsed. The value is zero or more bytes."
  @Test func noop() throws {
    #expect(try kinds(proxied(tlv(4, []) + tlv(4, [3, 3, 3]))) == [4, 4])
  }

  /// TLV-8: "an opaque byte sequence of up to 128 bytes".
  @Test func uniqueID() {
    #expect(decode(proxied(tlv(5, Array(repeating: 0xff, count: 128)))).consumed == 159)
    let long = proxied(tlv(5, Array(repeating: 0xff, count: 129)))
    #expect(decode(long).reason == Reason(.proxyBadTLVLength, at: 29))
  }

  /// TLV-9: "The <verify> field will be zero if the client presented a certificate and it was
  /// successfully verified, and non-zero otherwise." TLV-10 to TLV-14 and TLV-19: "It is thus
  /// possible to find multiple TLV values after this field", of types that exist only there.
  @Test func ssl() throws {
    let inner =
      tlv(0x21, Array("TLSv1.3".utf8)) + tlv(0x22, Array("example.com".utf8))
      + tlv(0x23, Array("ECDHE-RSA-AES128-GCM-SHA256".utf8)) + tlv(0x24, Array("RSA-SHA256".utf8))
      + tlv(0x25, Array("RSA2048".utf8)) + tlv(0x26, Array("secp256r1".utf8))
      + tlv(0x27, Array("rsa_pss_rsae_sha256".utf8)) + tlv(0x28, [0x30, 0x03, 2, 1, 0])
    let header = proxied(tlv(0x20, [0x05, 0x01, 0x02, 0x03, 0x04] + inner) + tlv(1, [1]))
    let area = try #require(decode(header).value?.tlvs)
    let outer = try #require(ProxyTLV.first(.ssl, of: area, in: header))
    let ssl = try #require(ProxySSL(outer, in: header))
    #expect(ssl.client == 5 && ssl.verify == 0x0102_0304)
    #expect(ssl.isTLS && !ssl.hasConnectionCertificate && ssl.hasSessionCertificate)
    var texts: [String] = []
    var walk = ProxyTLVWalk(ssl.tlvs)
    while let tlv = try walk.next(in: header) {
      texts.append("\(tlv.kind.name ?? "?")=\(tlv.value.count)")
    }
    #expect(
      texts == [
        "SSL_VERSION=7", "SSL_CN=11", "SSL_CIPHER=27", "SSL_SIG_ALG=10", "SSL_KEY_ALG=7",
        "SSL_GROUP=9", "SSL_SIG_SCHEME=19", "SSL_CLIENT_CERT=5",
      ])
    let cipher = try #require(ProxyTLV.first(.sslCipher, of: ssl.tlvs, in: header))
    #expect(Array(header[cipher.value]) == Array("ECDHE-RSA-AES128-GCM-SHA256".utf8))
    #expect(ProxyTLV.first(.sslVersion, of: area, in: header) == nil)
    #expect(ProxySSL(ProxyTLV(kind: .alpn, value: outer.value), in: header) == nil)
  }

  @Test func malformedSSL() {
    let short = proxied(tlv(0x20, [1, 0, 0, 0]))
    #expect(decode(short).reason == Reason(.proxyBadTLVLength, at: 29))
    let past = proxied(
      tlv(0x20, [1, 0, 0, 0, 0] + [0x21, 0, 9, 1]) + tlv(4, Array(repeating: 0, count: 9)))
    #expect(decode(past).reason == Reason(.proxyBadTLV, at: 37))
    let second = proxied(tlv(0x20, [1, 0, 0, 0, 0] + tlv(0x21, [7]) + [0x22, 0, 2, 1]))
    #expect(decode(second).reason == Reason(.proxyBadTLV, at: 41))
    let left = proxied(tlv(0x20, [1, 0, 0, 0, 0, 0x21]))
    #expect(decode(left).reason == Reason(.proxyBadTLV, at: 37))
    #expect(decode(proxied(tlv(0x20, [0, 0, 0, 0, 1]))).consumed == 36)
  }

  /// TLV-16, TLV-17, TLV-18: "reserved for application-specific data and will be never used by the
  /// PROXY Protocol", "reserved for temporary experimental use", "reserved for future use".
  @Test(arguments: [
    (UInt8(0x01), ProxyTLV.Kind.Space.registered), (0x05, .registered), (0x20, .registered),
    (0x28, .registered), (0x30, .registered), (0x00, .unassigned), (0x06, .unassigned),
    (0x29, .unassigned), (0xdf, .unassigned), (0xe0, .custom), (0xef, .custom),
    (0xf0, .experimental), (0xf7, .experimental), (0xf8, .future), (0xff, .future),
  ])
  func spaces(type: UInt8, space: ProxyTLV.Kind.Space) {
    #expect(ProxyTLV.Kind(rawValue: type).space == space)
  }

  /// The registered names, as the specification defines them behind `PP2_TYPE_` and `PP2_SUBTYPE_`.
  @Test func names() {
    let named = (0...255).compactMap { type in
      ProxyTLV.Kind(rawValue: UInt8(type)).name.map { "\(type) \($0)" }
    }
    #expect(
      named == [
        "1 ALPN", "2 AUTHORITY", "3 CRC32C", "4 NOOP", "5 UNIQUE_ID", "32 SSL", "33 SSL_VERSION",
        "34 SSL_CN", "35 SSL_CIPHER", "36 SSL_SIG_ALG", "37 SSL_KEY_ALG", "38 SSL_GROUP",
        "39 SSL_SIG_SCHEME", "40 SSL_CLIENT_CERT", "48 NETNS", "224 GCP", "234 AWS", "238 AZURE",
      ])
  }

  /// TLV-16: the identifiers the clouds send.
  @Test func clouds() throws {
    let aws = proxied(tlv(0xea, [1] + Array("vpce-08d2bf15fac5001c9".utf8)))
    let awsTLV = try #require(ProxyTLV.first(.aws, of: 28..<aws.count, in: aws))
    let id = try #require(awsTLV.awsEndpointID(in: aws))
    #expect(String(decoding: aws[id], as: UTF8.self) == "vpce-08d2bf15fac5001c9")

    let azure = proxied(tlv(0xee, [1, 0x04, 0x03, 0x02, 0x01]))
    let azureTLV = try #require(ProxyTLV.first(.azure, of: 28..<azure.count, in: azure))
    #expect(azureTLV.azureLinkID(in: azure) == 0x0102_0304)

    let gcp = proxied(tlv(0xe0, [0, 1, 2, 3, 4, 5, 6, 7]))
    let gcpTLV = try #require(ProxyTLV.first(.gcp, of: 28..<gcp.count, in: gcp))
    #expect(gcpTLV.gcpConnectionID(in: gcp) == 0x0001_0203_0405_0607)
    #expect(gcpTLV.azureLinkID(in: gcp) == nil && gcpTLV.awsEndpointID(in: gcp) == nil)
  }

  @Test(arguments: [
    tlv(0xea, []), tlv(0xea, [1]), tlv(0xea, [2, 0x61]), tlv(0xea, [1, 0x61, 0x0a]),
    tlv(0xee, [1, 0, 0, 0]), tlv(0xee, [1, 0, 0, 0, 0, 0]), tlv(0xee, [2, 0, 0, 0, 0]),
    tlv(0xee, []),
    tlv(0xe0, []), tlv(0xe0, [1, 2, 3, 4, 5, 6, 7]), tlv(0xe1, [0, 1, 2, 3, 4, 5, 6, 7]),
  ])
  func otherThanClouds(bytes: [UInt8]) throws {
    var walk = ProxyTLVWalk(0..<bytes.count)
    let tlv = try #require(try walk.next(in: bytes))
    #expect(tlv.awsEndpointID(in: bytes) == nil)
    #expect(tlv.azureLinkID(in: bytes) == nil)
    #expect(tlv.gcpConnectionID(in: bytes) == nil)
  }
}

struct CRC32CTests {
  /// RFC 4960 appendix B; the vectors are those of RFC 3720 appendix B.4 and the check value.
  static let vectors: [(bytes: [UInt8], value: UInt32)] = [
    (Array("123456789".utf8), 0xe306_9283), ([], 0),
    ([UInt8](repeating: 0, count: 32), 0x8a91_36aa),
    ([UInt8](repeating: 0xff, count: 32), 0x62a8_ab43),
    ([UInt8](0..<32), 0x46dd_794e), ([UInt8]((0..<32).reversed()), 0x113f_db5c),
  ]

  @Test(arguments: vectors)
  func knownValues(bytes: [UInt8], value: UInt32) {
    var crc = CRC32C()
    crc.update(bytes.span)
    #expect(crc.value == value)
    #expect(plainCRC32C(bytes) == value)
    let whole = CRC32C.checksum(bytes.span, field: 0..<0)
    #expect(whole == value)
  }

  @Test func aFieldCountsAsZeroes() {
    let bytes: [UInt8] = [1, 2, 9, 9, 9, 9, 3]
    let zeroed: [UInt8] = [1, 2, 0, 0, 0, 0, 3]
    let sum = CRC32C.checksum(bytes.span, field: 2..<6)
    #expect(sum == plainCRC32C(zeroed))
  }
}
