/// What the SSL TLV of a version 2 header says of a connection whose TLS ended with its sender
/// (haproxy `doc/proxy-protocol.txt`, section 2.2.6). Texts are US-ASCII; one that is empty is left
/// out.
package struct ProxySSLReport: Hashable, Sendable {
  /// `TLSv1.3`
  package var version: String
  /// OpenSSL's name: `ECDHE-RSA-AES128-GCM-SHA256`.
  package var cipher: String
  /// Of the server's certificate: `RSA-SHA256`.
  package var signatureAlgorithm: String
  /// Of the server's certificate: `RSA2048`.
  package var keyAlgorithm: String
  /// `secp256r1`
  package var group: String
  /// `rsa_pss_rsae_sha256`
  package var signatureScheme: String
  package var client: Client

  /// The client's own certificate.
  package enum Client: Hashable, Sendable {
    case none
    /// - Parameters:
    ///   - name: its common name, UTF-8; empty without one.
    ///   - certificate: DER.
    ///   - fault: why it does not verify, as OpenSSL counts reasons (`X509_V_ERR_…`); 0 when it
    ///     does.
    ///   - isOfSession: it was presented earlier in the session that this connection resumes, and
    ///     not on this connection.
    case presented(name: [UInt8], certificate: [UInt8], fault: UInt32, isOfSession: Bool)
  }

  package init(
    version: String, cipher: String, signatureAlgorithm: String = "", keyAlgorithm: String = "",
    group: String = "", signatureScheme: String = "", client: Client = .none
  ) {
    self.version = version
    self.cipher = cipher
    self.signatureAlgorithm = signatureAlgorithm
    self.keyAlgorithm = keyAlgorithm
    self.group = group
    self.signatureScheme = signatureScheme
    self.client = client
  }

  /// PP2_CLIENT_SSL, PP2_CLIENT_CERT_CONN and PP2_CLIENT_CERT_SESS.
  package var bits: UInt8 {
    switch client {
    case .none: 0x01
    case .presented(_, _, _, isOfSession: false): 0x01 | 0x02 | 0x04
    case .presented(_, _, _, isOfSession: true): 0x01 | 0x04
    }
  }

  /// "zero if the client presented a certificate and it was successfully verified, and non-zero
  /// otherwise": without a certificate it is X509_V_ERR_UNSPECIFIED.
  package var verify: UInt32 {
    switch client {
    case .none: 1
    case .presented(_, _, let fault, _): fault
    }
  }

  /// The whole TLV. The common name is there only of a certificate that verified: a receiver may
  /// take it for the client without a look at `verify`.
  ///
  /// - Parameter withCertificate: whether the certificate itself is in it. It proves nothing but
  ///   that the client has its key, which is what who asks for it wants, so it need not verify.
  /// - Returns: nil for a certificate that is too long for a TLV.
  package func bytes(withCertificate: Bool) -> [UInt8]? {
    var inner: [UInt8] = []
    ProxySSLReport.append(.sslVersion, Array(version.utf8), to: &inner)
    if case .presented(let name, _, fault: 0, _) = client {
      ProxySSLReport.append(.sslCommonName, name, to: &inner)
    }
    ProxySSLReport.append(.sslCipher, Array(cipher.utf8), to: &inner)
    ProxySSLReport.append(.sslSignatureAlgorithm, Array(signatureAlgorithm.utf8), to: &inner)
    ProxySSLReport.append(.sslKeyAlgorithm, Array(keyAlgorithm.utf8), to: &inner)
    ProxySSLReport.append(.sslGroup, Array(group.utf8), to: &inner)
    ProxySSLReport.append(.sslSignatureScheme, Array(signatureScheme.utf8), to: &inner)
    if withCertificate, case .presented(_, let certificate, _, _) = client {
      guard certificate.count <= Int(UInt16.max) - ProxyTLV.overhead else { return nil }
      ProxySSLReport.append(.sslClientCertificate, certificate, to: &inner)
    }
    let length = ProxyTLV.overhead + ProxyTLV.sslPrefix + inner.count
    guard length - ProxyTLV.overhead <= Int(UInt16.max) else { return nil }
    return [UInt8](capacity: length) { area in
      _ = try? ProxyTLV.appendSSL(client: bits, verify: verify, tlvs: inner.span, into: &area)
    }
  }

  private static func append(_ kind: ProxyTLV.Kind, _ value: [UInt8], to area: inout [UInt8]) {
    guard !value.isEmpty else { return }
    area.append(kind.rawValue)
    area.append(UInt8(truncatingIfNeeded: value.count >> 8))
    area.append(UInt8(truncatingIfNeeded: value.count))
    area += value
  }
}
