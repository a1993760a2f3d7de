package import Wire

extension RejectReason {
  /// What a client whose ClientHello was read is told; nil when nothing is, because it is about the
  /// client itself or it was no hello.
  ///
  /// HAProxy (`strict-sni`) and nginx (`ssl_reject_handshake`) have the same alert for names they
  /// do not know; what they do not terminate, both close without one. Faults of our own and of
  /// servers are OpenSSL's word for what has nothing to do with the client.
  package var alert: TLSAlert? {
    switch self {
    case .ruleRejected, .noRoute, .helloMisnamed: .unrecognizedName
    case .helloUnnamed: .missingExtension
    case .noServer, .backendFull, .listenerFull, .sourceFull, .sourceRate, .queueFull,
      .queueTimeout, .dialRefused, .dialTimeout, .dialUnreachable, .dialNoLocalAddress, .dialReset,
      .dialFailed, .noBuffers, .consentTimeout, .noConsent, .consent, .dialTLS,
      .parent:
      .internalError
    case .ruleClosed, .banned, .proxyNoAddress, .clientGone, .headerTimeout, .headerUntrusted,
      .headerUnknown, .helloProbe, .helloTimeout, .preambleTimeout, .preambleQuit, .preamble,
      .tlsTimeout, .tlsFailed, .egress, .http, .requestTimeout, .badResponse, .responseTimeout,
      .parser:
      nil
    }
  }
}
