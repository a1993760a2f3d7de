import Routing
import Wire

/// Who ends TLS, and who speaks it to servers, held against everything else.
extension Checks {
  mutating func checkTLS(_ listener: ListenerDraft) {
    guard let tls = listener.tls else { return }
    switch listener.type {
    case .tcp, .serverFirst, .startTLS: break
    case .httpProxy:
      guard !["", "http/1.1"].contains(tls.value.alpn.joined(separator: ", ")) else { break }
      diagnostics.error(
        tls.position,
        "tls: alpn: a forward proxy speaks http/1.1 with its clients and nothing else; leave alpn "
          + "out")
    case .tls:
      diagnostics.error(
        tls.position,
        "tls ends TLS here, and \"type: tls\" passes it on as it is; to end it, say \"type: "
          + "server-first\" or tcp, whichever is spoken inside")
    }
    checkClientCertificates(tls)
  }

  private mutating func checkClientCertificates(_ tls: ListenerTLSDraft) {
    let rule = tls.value.clientCertificate
    if let clientCA = tls.clientCA, rule == .none {
      diagnostics.warn(
        clientCA.position,
        "client-ca: no client is asked for a certificate; \"client-certificate: require\" or "
          + "request does that")
    }
    guard let place = tls.rule?.position, rule != .none, tls.clientCA == nil, !tls.isClientCALost
    else { return }
    diagnostics.error(
      place, "client-certificate: \(rule.word) needs client-ca, by which certificates are verified")
  }

  /// A rule about a certificate that nobody is asked for would never have its turn.
  mutating func checkCertificateRule(_ rule: RuleDraft, _ listener: ListenerDraft) {
    guard let certificates = rule.certificates else { return }
    guard let tls = listener.tls else {
      return diagnostics.error(
        certificates.position,
        "client-certificate: a client's certificate is seen only where its TLS ends, and listener "
          + "\"\(listener.name.value)\" ends none; see tls")
    }
    guard tls.value.clientCertificate == .none else { return }
    diagnostics.error(
      certificates.position,
      "client-certificate: listener \"\(listener.name.value)\" asks no client for one; its tls "
        + "needs \"client-certificate: request\" or require")
  }

  // MARK: Backends

  mutating func checkTLS(of backend: BackendDraft, at index: Int) {
    let users = users[index].map { listeners[$0] }
    checkToldOfTLS(backend, users)
    guard let tls = backend.tls else { return }
    let nameless = backend.servers.first { server in
      if case .unix? = server.value.address { true } else { false }
    }
    if let nameless, tls.value.name == nil, tls.value.verify == .full {
      diagnostics.error(
        tls.position,
        "tls: server \(nameless.value.name) at \(nameless.position) has no name that its "
          + "certificate could be verified by; add name")
    }
    guard let passing = users.first(where: { $0.passesTLS }) else { return }
    diagnostics.warn(
      tls.position,
      "tls: listener \"\(passing.name.value)\" passes its clients' TLS on, which goes to this "
        + "backend inside a second one")
  }

  /// SSL tells of TLS that ended here: of a listener that ends none there is never anything to
  /// tell.
  private mutating func checkToldOfTLS(_ backend: BackendDraft, _ users: [ListenerDraft]) {
    guard !users.isEmpty, !users.contains(where: { $0.tls != nil }) else { return }
    for tlv in backend.tlvs?.value ?? [] {
      guard tlv.value == .ssl || tlv.value == .clientCertificate else { continue }
      diagnostics.error(
        tlv.position,
        "proxy-tlvs: \(tlv.value == .ssl ? "ssl" : "client-certificate") tells of TLS that ended "
          + "here, and no listener of backend \"\(backend.name.value)\" ends any; relay-tlvs "
          + "passes on what a trusted source says")
      return
    }
  }
}

extension ListenerDraft {
  /// Whether it looks at its clients' ClientHello.
  var readsClientHello: Bool { type.readsClientHello || tls != nil }

  /// Whether its clients speak first, whatever the server does.
  var isClientFirst: Bool {
    switch type {
    case .tcp, .serverFirst: tls != nil
    case .startTLS: false
    case .tls, .httpProxy: true
    }
  }

  fileprivate var passesTLS: Bool { type.readsClientHello && tls == nil }
}
