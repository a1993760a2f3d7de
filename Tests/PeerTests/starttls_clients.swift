import TestSupport
import Testing

// Real clients ask a STARTTLS listener for TLS, and the TLS they get is that of a real Postfix or
// Dovecot which takes our PROXY header: the certificate is the server's, its log names the client's
// own address, and what was said before TLS is spoken twice.

/// A service that is reached by STARTTLS, what openssl says inside TLS, and what it then hears.
struct Asking: Sendable, CustomStringConvertible {
  let service: Service
  let mail: String
  let dialogue: String
  let success: String
  var description: String { "\(service)" }

  var listener: String {
    "type: starttls, protocol: \(mail), starttls: { name: edge.example.test, plaintext: reject }"
  }

  private static let smtp = "EHLO client.example.test\nNOOP\nQUIT\n"
  static let all = [
    Asking(service: .smtp, mail: "smtp", dialogue: smtp, success: "221 2.0.0"),
    Asking(service: .postscreen, mail: "smtp", dialogue: smtp, success: "221 2.0.0"),
    Asking(service: .submission, mail: "smtp", dialogue: smtp, success: "221 2.0.0"),
    Asking(
      service: .imap, mail: "imap", dialogue: "a LOGIN alice@example.test secret\nb LOGOUT\n",
      success: "b OK"),
    Asking(
      service: .pop3, mail: "pop3",
      dialogue: "USER alice@example.test\nPASS secret\nQUIT\n", success: "+OK Logged in."),
    Asking(service: .sieve, mail: "sieve", dialogue: "LOGOUT\n", success: "OK \"Logout"),
  ]
}

/// Runs `body` with a STARTTLS listener between a client and one service.
private func withStartTLS(
  _ asking: Asking, _ path: Path, _ body: (MailPeers, SluiceProcess) throws -> Void
) throws {
  try withMailProxy(path, to: asking.service, asking.listener, body)
}

/// Options of openssl that make a difference to the hello.
private let hellos: [[String]] = [
  ["-servername", "mail.example.test", "-tls1_3"], ["-servername", "mail.example.test", "-tls1_2"],
  ["-noservername"],
]

@Test("openssl s_client -starttls", arguments: Asking.all, Path.all)
func opensslAsksForTLS(asking: Asking, path: Path) throws {
  try require(["openssl": "openssl"])
  let sessions = hellos.map { options in
    Job("\(asking) \(options)") {
      try withStartTLS(asking, path) { peers, sluice in
        let bind = path.source.contains(":") ? "[\(path.source)]" : path.source
        let output = try runClient(
          "openssl",
          [
            "s_client", "-connect", "\(sluice.endpoint)", "-bind", "\(bind):0", "-CAfile",
            peers.certificate, "-verify_return_error", "-verify_hostname", "mail.example.test",
            "-crlf", "-quiet", "-ign_eof", "-starttls", asking.mail,
          ] + options, input: asking.dialogue)
        #expect(output.contains(asking.success), "said: \(output)")
        let record = try sluice.record()
        #expect(record.reason == nil && record.backend == "back")
        #expect(record.client.contains(path.source))
      }
    }
  }
  for session in sessions { try session.value() }
}

@Test("Python's clients ask for TLS", arguments: Path.all)
func pythonAsksForTLS(path: Path) throws {
  let reading = Reading.all.filter { [.imap, .pop3, .sieve].contains($0.service) }.map { reading in
    Job("\(reading)") {
      let asking = try #require(Asking.all.first { $0.service == reading.service })
      try withStartTLS(asking, path) { peers, sluice in
        try runMailClient("\(reading.service)", path, peers, sluice)
        try expectLogin(reading.program, path, peers, sluice)
      }
    }
  }
  let services = [("smtp-starttls", Service.smtp), ("submission", .submission)]
  let sending = services.map { name, service in
    Job(name) {
      let asking = try #require(Asking.all.first { $0.service == service })
      try withStartTLS(asking, path) { peers, sluice in
        let subject = "starttls \(name) \(path) \(monotonicUs())"
        try runMailClient(name, path, peers, sluice, subject: subject)
        try expectInLog(service, path, peers, sluice)
        try peers.expectDelivered(subject)
      }
    }
  }
  for session in reading + sending { try session.value() }
}

@Test("swaks --tls --tls-sni", arguments: [Service.smtp, .postscreen, .submission], [1, 2])
func swaksAsksForTLS(service: Service, version: Int) throws {
  try require(["swaks": "swaks libio-socket-ssl-perl libauthen-sasl-perl"])
  let path = Path(version: version, source: "127.0.0.3")
  let asking = try #require(Asking.all.first { $0.service == service })
  try withStartTLS(asking, path) { peers, sluice in
    let subject = "swaks starttls \(service) \(monotonicUs())"
    var arguments = [
      "--server", path.host, "--port", "\(sluice.endpoint.port)", "--local-interface",
      path.source, "--from", "bob@example.test", "--to", "alice@example.test", "--timeout", "30",
      "--header", "Subject: \(subject)", "--tls", "--tls-sni", "mail.example.test",
      "--tls-verify", "--tls-ca-path", peers.certificate,
    ]
    if service == .submission {
      arguments += [
        "--auth", "PLAIN", "--auth-user", "alice@example.test", "--auth-password", "secret",
      ]
    }
    try runClient("swaks", arguments)
    try expectInLog(service, path, peers, sluice)
    try peers.expectDelivered(subject)
  }
}

@Test("curl --ssl-reqd", arguments: [Service.smtp, .imap, .pop3])
func curlAsksForTLS(service: Service) throws {
  try require(["curl": "curl"])
  let path = Path(version: 2, source: "127.0.0.2")
  let asking = try #require(Asking.all.first { $0.service == service })
  try withStartTLS(asking, path) { peers, sluice in
    let port = sluice.endpoint.port
    let subject = "curl \(monotonicUs())"
    let (url, more, input) =
      service == .smtp
      ? (
        "smtp://mail.example.test:\(port)",
        ["--mail-from", "bob@example.test", "--mail-rcpt", "alice@example.test", "-T", "-"],
        "Subject: \(subject)\r\n\r\nHello.\r\n"
      )
      : (
        "\(service)://mail.example.test:\(port)/", ["--user", "alice@example.test:secret"], ""
      )
    try runClient(
      "curl",
      [
        "-sS", "--noproxy", "*", "--max-time", "20", "--ssl-reqd", "--cacert", peers.certificate,
        "--interface", path.source, "--resolve", "mail.example.test:\(port):\(path.host)",
      ] + more + [url], input: input)
    if service == .smtp {
      try expectInLog(service, path, peers, sluice)
      try peers.expectDelivered(subject)
    } else {
      try expectLogin("\(service)-login", path, peers, sluice)
    }
  }
}

// Clients that do not ask for TLS go to a server that speaks with them without: all of a message,
// and a login where the server allows it.
@Test("mail without TLS by way of a STARTTLS listener", arguments: [Service.smtp, .postscreen])
func plaintextMail(service: Service) throws {
  try require(["swaks": "swaks libio-socket-ssl-perl libauthen-sasl-perl"])
  let path = Path(version: 2, source: "127.0.0.2")
  try withMailProxy(path, to: service, "type: starttls, protocol: smtp") { peers, sluice in
    let subject = "no TLS \(service) \(monotonicUs())"
    try runClient(
      "swaks",
      [
        "--server", path.host, "--port", "\(sluice.endpoint.port)", "--local-interface",
        path.source, "--from", "bob@example.test", "--to", "alice@example.test", "--timeout", "30",
        "--header", "Subject: \(subject)",
      ])
    try expectInLog(service, path, peers, sluice)
    try peers.expectDelivered(subject)
  }
}

@Test("a login without TLS by way of a STARTTLS listener", arguments: ["imap", "pop3"])
func plaintextLogin(mail: String) throws {
  // The one source that Dovecot lets log in without TLS.
  let path = Path(version: 2, source: "127.0.0.9")
  let service = mail == "imap" ? Service.imap : .pop3
  let listener = "type: starttls, protocol: \(mail), starttls: { name: edge.example.test }"
  let dialogue =
    mail == "imap"
    ? [
      ("", "edge.example.test ready\r\n"), ("a NOOP\r\n", "a OK"),
      ("b LOGIN alice@example.test secret\r\n", "b OK"), ("c LOGOUT\r\n", "c OK"),
    ]
    : [
      ("", "edge.example.test ready\r\n"), ("CAPA\r\n", ".\r\n"),
      ("USER alice@example.test\r\n", "+OK"), ("PASS secret\r\n", "+OK Logged in"),
      ("QUIT\r\n", "+OK Logging out"),
    ]
  try withMailProxy(path, to: service, listener) { peers, sluice in
    let client = try StreamSocket.connect(to: sluice.endpoint, from: path.source)
    for (says, answer) in dialogue {
      try client.write(says)
      var heard = ""
      while !heard.contains(answer) {
        heard += String(decoding: try client.readExactly(1), as: UTF8.self)
      }
    }
    client.close()
    let record = try sluice.record()
    let port = record.client.split(separator: ":").last ?? ""
    try peers.expectLine(
      in: peers.dovecotLog,
      with: [
        "\(mail)-login: Info: Login: user=<alice@example.test>", " rip=127.0.0.9, rport=\(port),",
      ])
  }
}
