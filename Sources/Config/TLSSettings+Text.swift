import Wire

/// A `tls` as people read it: in the plan, and in a file.
extension ListenerTLS {
  var plan: [String] {
    let request =
      switch clientCertificate {
      case .none: "not asked for"
      case .request: "asked for, by \(clientCA ?? "")"
      case .require: "required, by \(clientCA ?? "")"
      }
    var lines = ["  tls            ended here, \(leastVersion.word) or newer"]
    for (index, path) in certificates.enumerated() {
      lines.append("    \(index == 0 ? "certificates" : "            ") \(path)")
    }
    if !ciphers.isEmpty { lines.append("    ciphers      \(ciphers.joined(separator: ", "))") }
    if !groups.isEmpty { lines.append("    groups       \(groups.joined(separator: ", "))") }
    if !alpn.isEmpty { lines.append("    alpn         \(alpn.joined(separator: ", "))") }
    lines.append("    of clients   \(request)")
    if !hasTickets { lines.append("    tickets      none") }
    return lines
  }
}

extension UpstreamTLS {
  var plan: [String] {
    let terms =
      switch verify {
      case .full: "verified by \(ca ?? "the system's certificates")"
      case .off: "not verified"
      }
    var lines = ["    tls          \(terms)" + (name.map { ", as \($0.text)" } ?? "")]
    if !alpn.isEmpty { lines.append("      alpn       \(alpn.joined(separator: ", "))") }
    if let clientCertificate { lines.append("      with       \(clientCertificate)") }
    return lines
  }
}

extension SnapshotWriter {
  mutating func write(_ tls: ListenerTLS?) {
    guard let tls else { return absent(ListenerKey.tls) }
    section(ListenerKey.tls) {
      $0.list(ListenerTLSKey.certificates, tls.certificates.map { YAMLText.scalar($0) })
      // Unquoted it would be a number to others.
      $0.raw(ListenerTLSKey.minVersion, "\"\(tls.leastVersion.word)\"")
      $0.names(ListenerTLSKey.ciphers, tls.ciphers)
      $0.names(ListenerTLSKey.groups, tls.groups)
      $0.names(ListenerTLSKey.alpn, tls.alpn)
      $0.optional(ListenerTLSKey.clientCA, tls.clientCA)
      $0.pair(ListenerTLSKey.clientCertificate, tls.clientCertificate.word)
      $0.pair(ListenerTLSKey.sessionTickets, "\(tls.hasTickets)")
    }
  }

  mutating func write(_ tls: UpstreamTLS?) {
    guard let tls else { return absent(BackendKey.tls) }
    section(BackendKey.tls, mayBeEmpty: true) {
      $0.optional(BackendTLSKey.ca, tls.ca)
      $0.optional(BackendTLSKey.name, tls.name?.text)
      $0.names(BackendTLSKey.alpn, tls.alpn)
      $0.optional(BackendTLSKey.clientCertificate, tls.clientCertificate)
      $0.pair(BackendTLSKey.verify, tls.verify.word)
    }
  }

  private mutating func names(_ key: some SchemaKey, _ names: [String]) {
    guard !names.isEmpty else { return absent(key) }
    list(key, names.map { YAMLText.scalar($0) })
  }
}
