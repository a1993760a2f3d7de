import Testing

@testable import Wire

/// The SSL TLV that we make; the quotations are of section 2.2.6 of haproxy's
/// doc/proxy-protocol.txt.
@Suite struct ProxySSLReportTests {
  private static let plain = ProxySSLReport(
    version: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384", signatureAlgorithm: "RSA-SHA256",
    keyAlgorithm: "RSA2048", group: "secp256r1", signatureScheme: "rsa_pss_rsae_sha256")

  private static func presented(_ fault: UInt32, isOfSession: Bool = false) -> ProxySSLReport {
    var report = plain
    report.client = .presented(
      name: Array("Zoë".utf8), certificate: [0x30, 0x03, 1, 2, 3], fault: fault,
      isOfSession: isOfSession)
    return report
  }

  private func read(_ bytes: [UInt8]) throws -> (ssl: ProxySSL, inner: [UInt8: [UInt8]]) {
    var walk = ProxyTLVWalk(0..<bytes.count)
    let (first, second) = (try walk.next(in: bytes.span), try walk.next(in: bytes.span))
    let tlv = try #require(first)
    #expect(second == nil)
    let found = ProxySSL(tlv, in: bytes.span)
    let ssl = try #require(found)
    var inside = ProxyTLVWalk(ssl.tlvs)
    var inner: [UInt8: [UInt8]] = [:]
    while let tlv = try inside.next(in: bytes.span) {
      #expect(inner[tlv.kind.rawValue] == nil)
      inner[tlv.kind.rawValue] = Array(bytes[tlv.value])
    }
    return (ssl, inner)
  }

  /// "The PP2_CLIENT_SSL flag indicates that the client connected over SSL/TLS. When this field is
  /// present, the US-ASCII string representation of the TLS version is appended".
  @Test func withoutACertificate() throws {
    let (ssl, inner) = try read(try #require(Self.plain.bytes(withCertificate: true)))
    #expect(ssl.client == 1 && ssl.verify != 0)
    #expect(
      inner.mapValues { String(decoding: $0, as: UTF8.self) } == [
        0x21: "TLSv1.3", 0x23: "TLS_AES_256_GCM_SHA384", 0x24: "RSA-SHA256", 0x25: "RSA2048",
        0x26: "secp256r1", 0x27: "rsa_pss_rsae_sha256",
      ])
  }

  /// "The <verify> field will be zero if the client presented a certificate and it was successfully
  /// verified, and non-zero otherwise."
  @Test(arguments: [
    (0, false, 0x07), (0, true, 0x05), (18, false, 0x07), (10, true, 0x05),
  ] as [(UInt32, Bool, UInt8)])
  func withACertificate(fault: UInt32, isOfSession: Bool, bits: UInt8) throws {
    let report = Self.presented(fault, isOfSession: isOfSession)
    let (ssl, inner) = try read(try #require(report.bytes(withCertificate: false)))
    #expect(ssl.client == bits && ssl.verify == fault)
    #expect(ssl.hasSessionCertificate && ssl.hasConnectionCertificate == !isOfSession)
    // "the string representation (in UTF8) of the Common Name field (OID: 2.5.4.3) of the client
    // certificate's Distinguished Name": only of one that verified.
    #expect(inner[0x22] == (fault == 0 ? Array("Zoë".utf8) : nil))
    #expect(inner[0x28] == nil)
    let (_, whole) = try read(try #require(report.bytes(withCertificate: true)))
    #expect(whole[0x28] == [0x30, 0x03, 1, 2, 3])
  }

  @Test func whatIsEmptyIsLeftOut() throws {
    let report = ProxySSLReport(version: "TLSv1.2", cipher: "")
    let (_, inner) = try read(try #require(report.bytes(withCertificate: true)))
    #expect(Array(inner.keys) == [0x21])
  }

  @Test func tooLong() throws {
    var report = Self.plain
    report.client = .presented(
      name: [], certificate: Array(repeating: 7, count: 65_500), fault: 0, isOfSession: false)
    #expect(report.bytes(withCertificate: true) == nil)
    #expect(report.bytes(withCertificate: false) != nil)
  }
}
