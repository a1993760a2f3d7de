import TestSupport
import Testing

// The set-up that only a proxy that ends TLS can serve: 993 in front of a Dovecot on 143, and 465
// in front of a Postfix on 587, neither of which sees TLS. The servers learn of the client's
// address from the PROXY header, and Dovecot of its TLS from the SSL TLV: it calls the connection
// secured and takes a password, and without the TLV, or without TLS at the edge, it refuses one.

/// How the edge is set, and whether a password is taken behind it.
struct Edge: Sendable, CustomStringConvertible {
  let hasTLS: Bool
  let tlvs: String
  var isSecured: Bool { tlvs.contains("ssl") }
  var description: String { "\(hasTLS ? "TLS" : "plain"), TLVs \(tlvs)" }

  static let all = [
    Edge(hasTLS: true, tlvs: "[ssl]"),
    Edge(hasTLS: true, tlvs: "[ssl, alpn, authority, unique-id]"),
    Edge(hasTLS: true, tlvs: "[unique-id]"), Edge(hasTLS: false, tlvs: "[unique-id]"),
  ]
}

/// Runs `body` with the daemon between a client and one service, TLS ending at the daemon with a
/// certificate of its own for `mail.example.test`.
private func withEdge(
  _ edge: Edge, to service: Service, type: String = "server-first",
  _ body: (MailPeers, SluiceProcess, _ authority: String) throws -> Void
) throws {
  let (peers, directory) = (try MailPeers.shared(), try TemporaryDirectory())
  let certificate = try TestCertificate("edge", ["DNS:mail.example.test"], in: directory)
  var setup = Setup(
    Engine(events: "auto", splice: "auto"), servers: [peers.address(of: service)])
  setup.listener = "type: \(type)"
  if edge.hasTLS { setup.listener += ", tls: { certificates: \(certificate.both) }" }
  setup.backend = "send-proxy: v2, proxy-tlvs: \(edge.tlvs)"
  try withSluice(setup) { try body(peers, $0, certificate.chain) }
}

private let source = "127.0.0.2"

@Test("IMAP: Dovecot believes the SSL TLV", arguments: Edge.all)
func dovecotBehindTheEdge(edge: Edge) throws {
  try require(["openssl": "openssl", "socat": "socat"])
  try withEdge(edge, to: .imap) { peers, sluice, authority in
    let dialogue = "a CAPABILITY\nb LOGIN alice@example.test secret\nc LOGOUT\n"
    let output =
      edge.hasTLS
      ? try runClient(
        "openssl",
        [
          "s_client", "-connect", "\(sluice.endpoint)", "-bind", "\(source):0", "-CAfile",
          authority, "-verify_return_error", "-verify_hostname", "mail.example.test", "-servername",
          "mail.example.test", "-crlf", "-quiet", "-ign_eof",
        ], input: dialogue)
      : try runClient(
        "socat", ["-t", "10", "-", "TCP:\(sluice.endpoint),bind=\(source),crlf"], input: dialogue)
    #expect(output.contains("c OK"), "said: \(output)")
    #expect(output.contains(edge.isSecured ? "b OK" : "b NO [PRIVACYREQUIRED]"), "said: \(output)")
    #expect(output.contains("LOGINDISABLED") == !edge.isSecured, "said: \(output)")
    let record = try sluice.record()
    #expect(record.client.hasPrefix("\(source):") && record.reason == nil)
    guard edge.isSecured else { return }
    let port = record.client.dropFirst(source.count + 1)
    try peers.expectLine(
      in: peers.dovecotLog,
      with: [
        "imap-login: Info: Login: user=<alice@example.test>", " rip=\(source), rport=\(port),",
        " lport=\(sluice.endpoint.port),", " secured",
      ])
  }
}

/// Python's own clients verify the edge's certificate, log in and read or hand in mail.
@Test("Python's clients", arguments: [("imaps", Service.imap), ("pop3s", .pop3)])
func pythonReadsBehindTheEdge(name: String, service: Service) throws {
  try withEdge(Edge(hasTLS: true, tlvs: "[ssl]"), to: service) { peers, sluice, authority in
    let output = try runClient(
      "python3",
      [
        "\(packageDirectory)/Tests/PeerTests/peers/mail_client.py", name, "127.0.0.1",
        "\(sluice.endpoint.port)", source, authority,
      ])
    #expect(output.hasPrefix("ok"), "said: \(output)")
    let record = try sluice.record()
    #expect(record.client.hasPrefix("\(source):"))
    let port = record.client.dropFirst(source.count + 1)
    try peers.expectLine(
      in: peers.dovecotLog,
      with: ["\(service)-login: Info: Login:", " rport=\(port),", " secured"])
  }
}

@Test("swaks --tls-on-connect to a Postfix that sees no TLS")
func swaksBehindTheEdge() throws {
  try require(["swaks": "swaks libio-socket-ssl-perl libauthen-sasl-perl"])
  try withEdge(Edge(hasTLS: true, tlvs: "[ssl]"), to: .edge) { peers, sluice, authority in
    let subject = "swaks edge \(monotonicUs())"
    try runClient(
      "swaks",
      [
        "--server", "127.0.0.1", "--port", "\(sluice.endpoint.port)", "--local-interface", source,
        "--from", "bob@example.test", "--to", "alice@example.test", "--timeout", "20",
        "--header", "Subject: \(subject)", "--tls-on-connect", "--tls-verify", "--tls-ca-path",
        authority, "--tls-sni", "mail.example.test", "--auth", "PLAIN", "--auth-user",
        "alice@example.test", "--auth-password", "secret",
      ])
    try expectInLog(.edge, Path(version: 2, source: source), peers, sluice)
    try peers.expectDelivered(subject)
  }
}

@Test("Python's smtplib to a Postfix that sees no TLS")
func smtplibBehindTheEdge() throws {
  try withEdge(Edge(hasTLS: true, tlvs: "[ssl]"), to: .edge) { peers, sluice, authority in
    let subject = "smtplib edge \(monotonicUs())"
    let output = try runClient(
      "python3",
      [
        "\(packageDirectory)/Tests/PeerTests/peers/mail_client.py", "submissions", "127.0.0.1",
        "\(sluice.endpoint.port)", source, authority, subject,
      ])
    #expect(output.hasPrefix("ok"), "said: \(output)")
    try expectInLog(.edge, Path(version: 2, source: source), peers, sluice)
    try peers.expectDelivered(subject)
  }
}

// STARTTLS is asked of the edge, which says the words itself; the servers see none of it.

@Test("STARTTLS that ends here: Dovecot", arguments: [("imap", Service.imap), ("pop3", .pop3)])
func startTLSBehindTheEdge(name: String, service: Service) throws {
  try require(["openssl": "openssl"])
  try withEdge(
    Edge(hasTLS: true, tlvs: "[ssl]"), to: service, type: "starttls, protocol: \(name)"
  ) { peers, sluice, authority in
    let dialogue =
      service == .imap
      ? "b LOGIN alice@example.test secret\nc LOGOUT\n"
      : "USER alice@example.test\nPASS secret\nQUIT\n"
    let output = try runClient(
      "openssl",
      [
        "s_client", "-connect", "\(sluice.endpoint)", "-bind", "\(source):0", "-starttls", name,
        "-CAfile", authority, "-verify_return_error", "-verify_hostname", "mail.example.test",
        "-servername", "mail.example.test", "-crlf", "-quiet", "-ign_eof",
      ], input: dialogue)
    #expect(output.contains(service == .imap ? "b OK" : "+OK Logged in"), "said: \(output)")
    let record = try sluice.record()
    #expect(record.client.hasPrefix("\(source):") && record.reason == nil)
    let port = record.client.dropFirst(source.count + 1)
    try peers.expectLine(
      in: peers.dovecotLog,
      with: ["\(service)-login: Info: Login:", " rport=\(port),", " secured"])
  }
}

@Test("STARTTLS that ends here: swaks to Postfix")
func swaksStartTLSBehindTheEdge() throws {
  try require(["swaks": "swaks libio-socket-ssl-perl libauthen-sasl-perl"])
  try withEdge(
    Edge(hasTLS: true, tlvs: "[ssl]"), to: .edge, type: "starttls, protocol: smtp"
  ) { peers, sluice, authority in
    let subject = "swaks edge STARTTLS \(monotonicUs())"
    try runClient(
      "swaks",
      [
        "--server", "127.0.0.1", "--port", "\(sluice.endpoint.port)", "--local-interface", source,
        "--from", "bob@example.test", "--to", "alice@example.test", "--timeout", "20",
        "--header", "Subject: \(subject)", "--tls", "--tls-verify", "--tls-ca-path", authority,
        "--tls-sni", "mail.example.test", "--auth", "PLAIN", "--auth-user", "alice@example.test",
        "--auth-password", "secret",
      ])
    try expectInLog(.edge, Path(version: 2, source: source), peers, sluice)
    try peers.expectDelivered(subject)
  }
}

/// The response of the authority's own stands beside the certificate, and a client that asks gets
/// it. RFC 6066 section 8.
@Test("an OCSP response is stapled", arguments: ["-tls1_2", "-tls1_3"])
func stapledBehindTheEdge(version: String) throws {
  try require(["openssl": "openssl"])
  let (peers, directory) = (try MailPeers.shared(), try TemporaryDirectory())
  let authority = try TestCertificate("authority", [], in: directory)
  let certificate = try TestCertificate(
    "edge", ["DNS:mail.example.test"], by: authority, in: directory)
  try writeFile(directory.file("index"), "")
  for arguments in [
    ["-issuer", authority.chain, "-cert", certificate.chain, "-reqout", directory.file("request")],
    [
      "-index", directory.file("index"), "-rsigner", authority.chain, "-rkey", authority.key, "-CA",
      authority.chain, "-reqin", directory.file("request"), "-respout", directory.file("edge.ocsp"),
      "-ndays", "7",
    ],
  ] { try runClient("openssl", ["ocsp"] + arguments) }
  var setup = Setup(
    Engine(events: "auto", splice: "auto"), servers: [peers.address(of: .imap)])
  setup.listener = "type: server-first, tls: { certificates: \(certificate.both) }"
  setup.backend = "send-proxy: v2, proxy-tlvs: [ssl]"
  try withSluice(setup) { sluice in
    let output = try runClient(
      "openssl",
      [
        "s_client", "-connect", "\(sluice.endpoint)", version, "-status", "-CAfile",
        authority.chain, "-servername", "mail.example.test", "-crlf", "-ign_eof",
      ], input: "a LOGOUT\n")
    #expect(output.contains("OCSP Response Status: successful (0x0)"), "\(output)")
    #expect(output.contains("a OK"), "\(output)")
  }
}
