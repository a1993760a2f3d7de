import TestSupport
import Testing

// Mail is read through the proxy: IMAP, POP3 and ManageSieve, with STARTTLS and over TLS from the
// first byte. Dovecot's log names the client's own address and port.

func expectLogin(
  _ program: String, _ path: Path, _ peers: MailPeers, _ sluice: SluiceProcess
) throws {
  let record = try sluice.record()
  let start = path.source.contains(":") ? "[\(path.source)]:" : "\(path.source):"
  guard record.client.hasPrefix(start) else {
    throw TestFailure("the client is \(record.client), not \(path.source)")
  }
  let port = record.client.dropFirst(start.count)
  try peers.expectLine(
    in: peers.dovecotLog,
    with: [
      "\(program): Info: Login: user=<alice@example.test>", " rip=\(path.source), rport=\(port),",
      " lip=\(path.host), lport=\(sluice.endpoint.port),", " TLS",
    ])
}

struct Reading: Sendable, CustomStringConvertible {
  let service: Service
  let program: String
  var description: String { "\(service)" }
  static let all = [
    Reading(service: .imap, program: "imap-login"), Reading(service: .imaps, program: "imap-login"),
    Reading(service: .pop3, program: "pop3-login"), Reading(service: .pop3s, program: "pop3-login"),
    Reading(service: .sieve, program: "managesieve-login"),
  ]
}

@Test("Python's imaplib and poplib, and a ManageSieve client", arguments: Path.all)
func pythonClients(path: Path) throws {
  // All at once: what takes time is five times the start of Python.
  let sessions = Reading.all.map { reading in
    Job("\(reading)") {
      try withMailProxy(path, to: reading.service) { peers, sluice in
        try runMailClient("\(reading.service)", path, peers, sluice)
        try expectLogin(reading.program, path, peers, sluice)
      }
    }
  }
  for session in sessions { try session.value() }
}

struct OpenSSLSession: Sendable, CustomStringConvertible {
  let service: Service
  let program: String
  let options: [String]
  let dialogue: String
  let success: String
  var description: String { "\(service)" }

  private static let imap = "a LOGIN alice@example.test secret\nb LOGOUT\n"
  private static let pop3 = "USER alice@example.test\nPASS secret\nQUIT\n"
  static let all = [
    OpenSSLSession(
      service: .imap, program: "imap-login", options: ["-starttls", "imap"], dialogue: imap,
      success: "b OK"),
    OpenSSLSession(
      service: .imaps, program: "imap-login", options: [], dialogue: imap, success: "b OK"),
    OpenSSLSession(
      service: .pop3, program: "pop3-login", options: ["-starttls", "pop3"], dialogue: pop3,
      success: "+OK Logged in."),
    OpenSSLSession(
      service: .pop3s, program: "pop3-login", options: [], dialogue: pop3,
      success: "+OK Logged in."),
  ]
}

@Test("openssl s_client", arguments: Path.all, OpenSSLSession.all)
func opensslClient(path: Path, session: OpenSSLSession) throws {
  try require(["openssl": "openssl"])
  try withMailProxy(path, to: session.service) { peers, sluice in
    let bind = path.source.contains(":") ? "[\(path.source)]" : path.source
    // -ign_eof: stay until the server has answered and closed, although the input has ended.
    let output = try runClient(
      "openssl",
      [
        "s_client", "-connect", "\(sluice.endpoint)", "-bind", "\(bind):0", "-CAfile",
        peers.certificate, "-verify_return_error", "-verify_hostname", "mail.example.test",
        "-servername", "mail.example.test", "-crlf", "-quiet", "-ign_eof",
      ] + session.options, input: session.dialogue)
    #expect(output.contains(session.success), "said: \(output)")
    try expectLogin(session.program, path, peers, sluice)
  }
}
