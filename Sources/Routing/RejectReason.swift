package import Wire

/// Why a connection was turned away. `code` is the same word in the log, metrics and docs;
/// `number` is what the data plane carries.
package enum RejectReason: Error, Hashable, Sendable {
  /// No rule takes it, and its listener has no backend of its own.
  case noRoute
  /// A rule says `reject`, or `close`.
  case ruleRejected
  case ruleClosed
  /// None of the backend's servers may get connections: drained, or without weight.
  case noServer
  /// An operator has banned the client.
  case banned
  /// The backend, or each of its servers, has as many connections as it may.
  case backendFull
  /// The listener has as many connections as it may.
  case listenerFull
  /// The source has as many connections as it may.
  case sourceFull
  /// The source opens connections faster than it may.
  case sourceRate
  /// It met a limit, and as many wait for a place already as may.
  case queueFull
  /// It has waited for a place as long as it may.
  case queueTimeout
  case dialRefused
  case dialTimeout
  case dialUnreachable
  case dialNoLocalAddress
  /// The server reset the connection before it had said a byte or got one.
  case dialReset
  case dialFailed
  case noBuffers
  /// The client has no address that the backend's header version can tell.
  case proxyNoAddress
  /// It had left before it could be asked for its address.
  case clientGone
  /// A header that had to come did not come in time.
  case headerTimeout
  /// A header from a source that may not send one.
  case headerUntrusted
  /// A version 1 UNKNOWN where the listener does not take it.
  case headerUnknown
  /// A client of a TLS listener that left without a byte: a health probe rather than an error.
  case helloProbe
  /// Its ClientHello was not whole in time.
  case helloTimeout
  /// No host name in the ClientHello, where one must be.
  case helloUnnamed
  /// An address literal or no host name at all in its place.
  case helloMisnamed
  /// A client of a STARTTLS listener that did not come to STARTTLS in time.
  case preambleTimeout
  /// One that took its leave before: nothing is wrong with it.
  case preambleQuit
  /// What was wrong with what it said before TLS.
  case preamble(StartTLSServer.Fault)
  /// A server did not agree to TLS in time.
  case consentTimeout
  /// It did not agree, for any of the reasons below: what its dial is counted for.
  case noConsent
  /// What was wrong with what a server said before TLS.
  case consent(StartTLSClient.Fault)
  /// A request of a forward proxy's client was not whole in time.
  case requestTimeout
  /// An origin server made no sense, or ended without a response.
  case badResponse
  /// It did not begin to respond in time.
  case responseTimeout
  /// What was wrong with a request.
  case http(HTTPFault)
  /// Why a forward proxy turned a client away.
  case egress(EgressReason)
  /// A client whose TLS is ended here did not come to the end of its handshake in time.
  case tlsTimeout
  /// Or not at all; OpenSSL says why.
  case tlsFailed
  /// A server's handshake failed.
  case dialTLS
  /// The parent that a backend is reached through made no tunnel to its server.
  case parent(ParentFault)
  /// What the parser of a header or a ClientHello found.
  case parser(Reason.Code)

  private static let plain: [RejectReason] =
    simple + StartTLSServer.Fault.allCases.map { .preamble($0) }
    + StartTLSClient.Fault.allCases.map { .consent($0) }
    + EgressReason.allCases.map { .egress($0) } + HTTPFault.allCases.map { .http($0) }
    + ParentFault.allCases.map { .parent($0) }
  private static let simple: [RejectReason] = [
    .noRoute, .dialRefused, .dialTimeout, .dialUnreachable, .dialNoLocalAddress, .dialFailed,
    .noBuffers, .proxyNoAddress, .clientGone, .headerTimeout, .headerUntrusted, .headerUnknown,
    .helloProbe, .helloTimeout, .helloUnnamed, .helloMisnamed,
    .noServer, .banned, .backendFull, .listenerFull, .sourceFull, .sourceRate, .queueFull,
    .queueTimeout, .dialReset, .ruleRejected, .ruleClosed, .preambleTimeout, .preambleQuit,
    .consentTimeout, .noConsent, .tlsTimeout, .tlsFailed, .dialTLS, .requestTimeout,
    .badResponse, .responseTimeout,
  ]
  /// Parser codes begin here, by their position in `Reason.Code.allCases`.
  private static let firstParserNumber: UInt32 = 1000

  /// From 1 on; 0 is no reason.
  package var number: UInt32 {
    if case .parser(let code) = self {
      let position = Reason.Code.allCases.firstIndex(of: code) ?? 0
      return RejectReason.firstParserNumber + UInt32(position)
    }
    return UInt32((RejectReason.plain.firstIndex(of: self) ?? 0) + 1)
  }

  package init?(number: UInt32) {
    if number >= RejectReason.firstParserNumber {
      let position = Int(number - RejectReason.firstParserNumber)
      guard Reason.Code.allCases.indices.contains(position) else { return nil }
      self = .parser(Reason.Code.allCases[position])
    } else {
      guard number > 0, Int(number) <= RejectReason.plain.count else { return nil }
      self = RejectReason.plain[Int(number) - 1]
    }
  }

  package static var all: [RejectReason] {
    plain + Reason.Code.allCases.map { .parser($0) }
  }

  /// Nothing is wrong with it: somebody looked whether we are there.
  package var isProbe: Bool {
    self == .helloProbe || self == .parser(.proxyProbe) || self == .preambleQuit
  }

  package static let count = all.count

  /// The position in `all` of the reason with this number; nil for no reason.
  package static func position(ofNumber number: UInt32) -> Int? {
    let position =
      number < firstParserNumber
      ? Int(number) - 1 : plain.count + Int(number - firstParserNumber)
    return position >= 0 && position < count ? position : nil
  }

  package var code: String {
    switch self {
    case .noRoute: "route.no-match"
    case .ruleRejected: "route.rejected"
    case .ruleClosed: "route.closed"
    case .noServer: "backend.no-server"
    case .banned: "source.banned"
    case .backendFull: "limit.backend"
    case .listenerFull: "limit.listener"
    case .sourceFull: "limit.source"
    case .sourceRate: "limit.source-rate"
    case .dialRefused: "dial.refused"
    case .dialTimeout: "dial.timeout"
    case .dialUnreachable: "dial.unreachable"
    case .dialNoLocalAddress: "dial.no-local-address"
    case .dialReset: "dial.reset"
    case .dialFailed: "dial.failed"
    case .queueFull: "queue.full"
    case .queueTimeout: "queue.timeout"
    case .noBuffers: "limit.buffers"
    case .proxyNoAddress: "proxy.no-address"
    case .clientGone: "client.gone"
    case .headerTimeout: "proxy.timeout"
    case .headerUntrusted: "proxy.untrusted"
    case .headerUnknown: "proxy.unknown"
    case .helloProbe: "tls.probe"
    case .helloTimeout: "tls.timeout"
    case .helloUnnamed: "tls.no-sni"
    case .helloMisnamed: "tls.bad-sni"
    case .preambleTimeout: "starttls.timeout"
    case .preambleQuit: "starttls.quit"
    case .preamble(let fault): fault.rawValue
    case .consentTimeout: "starttls.server-timeout"
    case .noConsent: "starttls.no-consent"
    case .consent(let fault): fault.rawValue
    case .requestTimeout: "http.request-timeout"
    case .badResponse: "http.bad-response"
    case .responseTimeout: "http.response-timeout"
    case .http(let fault): fault.rawValue
    case .egress(let reason): reason.rawValue
    case .tlsTimeout: "tls.handshake-timeout"
    case .tlsFailed: "tls.handshake"
    case .dialTLS: "dial.tls"
    case .parent(let fault): fault.rawValue
    case .parser(let code): code.rawValue
    }
  }
}
