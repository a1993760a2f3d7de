import TestSupport
import Testing

// Two mail servers, each with its own certificate, behind one address and port: a client that asks
// for TLS by STARTTLS gets the one that it names, sees that one's certificate, and is known to it
// by its own address.

/// A mail server and the name that its certificate is for.
private struct Named: Sendable {
  let name: String
  let peers: MailPeers

  static func both() throws -> [Named] {
    [
      Named(name: "mail.example.test", peers: try MailPeers.shared()),
      Named(name: "other.example.test", peers: try MailPeers.second()),
    ]
  }
}

/// Runs `body` with one listener in front of the same service of both.
private func withBoth(
  _ asking: Asking, _ body: ([Named], SluiceProcess) throws -> Void
) throws {
  let both = try Named.both()
  let bind = Endpoint.loopback(ReservedPort.take())
  let directory = try TemporaryDirectory()
  let rules = both.map { "{ name: \($0.name), sni: \($0.name), backend: \($0.name) }" }
  let backends = both.map { named in
    "  \(named.name): { servers: [\"\(named.peers.address(of: asking.service))\"], send-proxy: v2 }"
  }
  let sluice = try SluiceProcess(
    yaml: """
      workers: 1
      log: { connections: "\(directory.file("connections"))" }
      listeners:
        front: { bind: "\(bind)", \(asking.listener), rules: [\(rules.joined(separator: ", "))] }
      backends:
      \(backends.joined(separator: "\n"))

      """, in: directory, at: bind)
  try body(both, sluice)
  try sluice.stop()
}

private func openssl(
  _ asking: Asking, _ named: Named?, _ name: String, _ sluice: SluiceProcess
) throws -> (exit: ChildProcess.Exit, output: String, error: String) {
  let trusted =
    named.map {
      ["-CAfile", $0.peers.certificate, "-verify_return_error", "-verify_hostname", name]
    } ?? []
  return try ChildProcess.run(
    "openssl",
    [
      "s_client", "-connect", "\(sluice.endpoint)", "-bind", "127.0.0.3:0", "-servername", name,
      "-crlf", "-quiet", "-ign_eof", "-starttls", asking.mail,
    ] + trusted, input: asking.dialogue, until: Deadline(inMs: 40_000))
}

@Test("STARTTLS by name", arguments: Asking.all)
func startTLSByName(asking: Asking) throws {
  try require(["openssl": "openssl"])
  try withBoth(asking) { both, sluice in
    for (index, named) in both.enumerated() {
      let result = try openssl(asking, named, named.name, sluice)
      #expect(result.exit == .code(0) && result.output.contains(asking.success), "\(result)")
      let record = try sluice.records(index + 1)[index]
      #expect(record.backend == named.name && record.reason == nil)
      let port = record.client.split(separator: ":").last ?? ""
      let isPostfix = asking.mail == "smtp"
      let log = isPostfix ? named.peers.postfixLog : named.peers.dovecotLog
      switch asking.service {
      case .smtp, .submission, .postscreen:
        try named.peers.expectLine(in: log, with: [" connect from unknown[127.0.0.3]:\(port)"])
      case .imap, .pop3, .sieve, .imaps, .pop3s, .submissions, .edge:
        try named.peers.expectLine(in: log, with: [" rip=127.0.0.3, rport=\(port),"])
      }
    }
    // Whom nobody names is told so inside TLS.
    let stranger = try openssl(asking, nil, "nobody.example.test", sluice)
    #expect(stranger.exit != .code(0))
    #expect(stranger.error.contains("unrecognized name"), "\(stranger)")
    let record = try sluice.records(3)[2]
    #expect(record.reason == "route.no-match" && record.backend == nil)
  }
}

@Test("swaks by name", arguments: [Service.smtp, .submission])
func swaksByName(service: Service) throws {
  try require(["swaks": "swaks libio-socket-ssl-perl libauthen-sasl-perl"])
  let asking = try #require(Asking.all.first { $0.service == service })
  try withBoth(asking) { both, sluice in
    for named in both {
      let subject = "\(named.name) \(service) \(monotonicUs())"
      let login = [
        "--auth", "PLAIN", "--auth-user", "alice@example.test", "--auth-password", "secret",
      ]
      try runClient(
        "swaks",
        [
          "--server", "127.0.0.1", "--port", "\(sluice.endpoint.port)", "--local-interface",
          "127.0.0.2", "--from", "bob@example.test", "--to", "alice@example.test", "--timeout",
          "30", "--header", "Subject: \(subject)", "--tls", "--tls-sni", named.name,
        ] + (service == .submission ? login : []))
      try named.peers.expectDelivered(subject)
    }
  }
}
