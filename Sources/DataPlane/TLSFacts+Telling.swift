internal import Routing
internal import Wire

/// What a handshake came to, as others are told of it.
extension TLSFacts {
  /// The names by which rules know the client; nil without a certificate that was verified.
  var verifiedNames: [String]? {
    guard let certificate, verifyResult == 0 else { return nil }
    let names = (certificate.commonName.map { [$0] } ?? []) + certificate.names + certificate.mails
    return names.map { CertificatePattern.lowercased($0) }
  }

  /// For the server, in a PROXY header.
  var report: ProxySSLReport {
    ProxySSLReport(
      version: version, cipher: cipher, signatureAlgorithm: signatureAlgorithm,
      keyAlgorithm: keyAlgorithm, group: group, signatureScheme: signatureScheme,
      client: certificate.map { certificate in
        .presented(
          name: Array((certificate.commonName ?? "").utf8), certificate: certificate.der,
          fault: UInt32(bitPattern: verifyResult), isOfSession: isResumed)
      } ?? .none)
  }
}

extension ConnectionRecord.Ended {
  init(_ facts: TLSFacts) {
    self.init()
    version = facts.version
    cipher = facts.cipher
    alpn = facts.alpn
    isResumed = facts.isResumed
    subject = facts.certificate?.subject ?? ""
    isVerified = facts.certificate != nil && facts.verifyResult == 0
    handshakeUs = facts.handshakeUs
    failure = facts.failure
  }
}

extension TransportNotes {
  /// Nil for a client whose TLS did not end here.
  var ended: ConnectionRecord.Ended? {
    var ended = client.map { ConnectionRecord.Ended($0) }
    if !clientFailure.isEmpty {
      if ended == nil { ended = ConnectionRecord.Ended() }
      ended?.failure = clientFailure
    }
    return ended
  }
}

extension ConnectionRecord {
  mutating func note(_ notes: TransportNotes) {
    tls = notes.ended
    if !notes.upstreamFailure.isEmpty { upstreamTLSFailure = notes.upstreamFailure }
  }
}

extension WorkerLoop {
  /// Of a client whose TLS ended here; nil of all others.
  func ended(_ slot: UInt32) -> TLSFacts? { transports.isEmpty ? nil : transports[slot]?.client }

  /// The names of its certificate, if it was verified.
  func certificate(of slot: UInt32) -> [String]? { ended(slot)?.verifiedNames }
}
