internal import CSluice

/// What there is to say of a certificate. Texts are from outside.
package struct CertificateFacts: Hashable, Sendable {
  package private(set) var der: [UInt8] = []
  /// RFC 2253.
  package private(set) var subject = ""
  package private(set) var issuer = ""
  package private(set) var commonName: String?
  /// `RSA2048`, `EC256`, `ED25519`.
  package private(set) var keyAlgorithm = ""
  /// `RSA-SHA256`.
  package private(set) var signatureAlgorithm = ""
  /// DNS names of subjectAltName, as they stand there: `*.example.com`.
  package private(set) var names: [String] = []
  package private(set) var mails: [String] = []
  /// 4 or 16 bytes each.
  package private(set) var addresses: [[UInt8]] = []
  /// Seconds since 1970.
  package private(set) var notBefore: Int64 = 0
  package private(set) var notAfter: Int64 = 0
  /// Certificates in the chain that it was read from.
  package private(set) var chainLength = 0

  /// - Parameters:
  ///   - chain: PEM, the leaf first.
  ///   - key: PEM; must be the leaf's.
  package init(chain: [UInt8], key: [UInt8]? = nil) throws(TLSProblem) {
    var problem = sluice_tls_problem()
    let read = unsafe chain.withUnsafeBufferPointer { chain in
      unsafe (key ?? []).withUnsafeBufferPointer { key in
        unsafe sluice_certificate_read(
          sluice_bytes(start: chain.baseAddress, length: UInt32(chain.count)),
          sluice_bytes(start: key.baseAddress, length: UInt32(key.count)), &problem)
      }
    }
    guard let read = unsafe read else { throw TLSProblem(problem) }
    unsafe self.init(read)
    unsafe sluice_certificate_destroy(read)
  }

  init(_ certificate: OpaquePointer) {
    unsafe sluice_certificate_validity(certificate, &notBefore, &notAfter)
    chainLength = Int(unsafe sluice_certificate_chain(certificate))
    var item = sluice_certificate_item.der
    var bytes = sluice_bytes()
    var index: UInt32 = 0
    while unsafe sluice_certificate_next(certificate, index, &item, &bytes) {
      keep(item, bytes)
      index += 1
    }
  }

  private mutating func keep(_ item: sluice_certificate_item, _ bytes: sluice_bytes) {
    let text = { String(decoding: bytes.copied, as: UTF8.self) }
    switch item {
    case .der: der = bytes.copied
    case .subject: subject = text()
    case .issuer: issuer = text()
    case .common_name: commonName = text()
    case .key_algorithm: keyAlgorithm = text()
    case .signature_algorithm: signatureAlgorithm = text()
    case .name: names.append(text())
    case .mail: mails.append(text())
    case .address: addresses.append(bytes.copied)
    }
  }
}

/// What came of one side's TLS.
package struct TLSFacts: Sendable, Equatable {
  /// `TLSv1.3`; empty when the handshake was not done.
  package private(set) var version = ""
  /// OpenSSL's name.
  package private(set) var cipher = ""
  /// The protocol that was agreed on; empty: none.
  package private(set) var alpn: [UInt8] = []
  /// `x25519`, `secp256r1`; empty where none was needed.
  package private(set) var group = ""
  /// Of the server's certificate, whoever the server is: `RSA-SHA256` and `RSA2048`.
  package private(set) var signatureAlgorithm = ""
  package private(set) var keyAlgorithm = ""
  /// `rsa_pss_rsae_sha256`; empty when resumed.
  package private(set) var signatureScheme = ""
  package private(set) var isResumed = false
  package private(set) var handshakeUs: UInt64 = 0
  /// The other end's; nil: it has none.
  package private(set) var certificate: CertificateFacts?
  /// X509_V_*: what OpenSSL says of that certificate; 0 is good, or there is none.
  package private(set) var verifyResult: Int32 = 0
  /// Why it failed, in OpenSSL's words; empty: it did not.
  package private(set) var failure = ""

  init(_ facts: sluice_tls_facts) {
    if let failure = unsafe facts.failure { self.failure = unsafe String(cString: failure) }
    guard facts.done else { return }
    version = unsafe facts.version.map { unsafe String(cString: $0) } ?? ""
    cipher = unsafe facts.cipher.map { unsafe String(cString: $0) } ?? ""
    group = unsafe facts.group.map { unsafe String(cString: $0) } ?? ""
    alpn = facts.alpn.copied
    signatureAlgorithm = String(decoding: facts.signature_algorithm.copied, as: UTF8.self)
    keyAlgorithm = String(decoding: facts.key_algorithm.copied, as: UTF8.self)
    isResumed = facts.resumed
    handshakeUs = facts.handshake_us
    verifyResult = facts.verify
    if let certificate = unsafe facts.certificate {
      self.certificate = unsafe CertificateFacts(certificate)
    }
    var facts = facts
    // The longest is `ecdsa_brainpoolP256r1tls13_sha256`.
    signatureScheme = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { name in
      guard let start = name.baseAddress else { return "" }
      unsafe sluice_tls_scheme(&facts, start, UInt32(name.count))
      return unsafe String(cString: start)
    }
  }

  /// What OpenSSL says of a certificate that it does not take: `certificate has expired`.
  package static func words(for verifyResult: Int32) -> String {
    unsafe String(cString: sluice_tls_verdict(verifyResult))
  }
}

extension sluice_bytes {
  var copied: [UInt8] {
    guard let start = unsafe start else { return [] }
    return unsafe Array(UnsafeBufferPointer(start: start, count: Int(length)))
  }
}
