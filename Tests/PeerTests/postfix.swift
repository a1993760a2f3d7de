import TestSupport
import Testing

// Mail is handed in through the proxy from several addresses, with and without TLS, with and
// without a login. Postfix delivers it, and its log names the client's own address and port, which
// are those that the proxy logged and the client really had.

private func swaks(
  _ extra: [String], _ path: Path, to service: Service
) throws {
  try require(["swaks": "swaks libio-socket-ssl-perl libauthen-sasl-perl"])
  try withMailProxy(path, to: service) { peers, sluice in
    let subject = "swaks \(service) \(extra) \(path) \(monotonicUs())"
    try runClient(
      "swaks",
      [
        "--server", path.host, "--port", "\(sluice.endpoint.port)", "--local-interface",
        path.source, "--from", "bob@example.test", "--to", "alice@example.test", "--timeout", "20",
        "--header", "Subject: \(subject)",
      ] + extra)
    try expectInLog(service, path, peers, sluice)
    try peers.expectDelivered(subject)
  }
}

private let login = [
  "--auth", "PLAIN", "--auth-user", "alice@example.test", "--auth-password", "secret",
]

func expectInLog(
  _ service: Service, _ path: Path, _ peers: MailPeers, _ sluice: SluiceProcess
) throws {
  let record = try sluice.record()
  let start = path.source.contains(":") ? "[\(path.source)]:" : "\(path.source):"
  guard record.client.hasPrefix(start) else {
    throw TestFailure("the client is \(record.client), not \(path.source)")
  }
  let port = record.client.dropFirst(start.count)
  let program = service == .postscreen ? "after-postscreen" : "\(service)"
  try peers.expectLine(
    in: peers.postfixLog,
    with: ["postfix/\(program)/smtpd", " connect from unknown[\(path.source)]:\(port)"])
}

@Test("swaks to smtp", arguments: Path.overIPv4)
func swaksPlain(path: Path) throws { try swaks([], path, to: .smtp) }

@Test("swaks to smtp with STARTTLS", arguments: Path.overIPv4)
func swaksStartTLS(path: Path) throws { try swaks(["--tls"], path, to: .smtp) }

@Test("swaks to submission with STARTTLS and AUTH", arguments: Path.overIPv4)
func swaksSubmission(path: Path) throws { try swaks(["--tls"] + login, path, to: .submission) }

@Test("swaks to submissions with implicit TLS and AUTH", arguments: Path.overIPv4)
func swaksSubmissions(path: Path) throws {
  try swaks(["--tls-on-connect"] + login, path, to: .submissions)
}

@Test("swaks through postscreen", arguments: Path.overIPv4)
func swaksPostscreen(path: Path) throws { try swaks([], path, to: .postscreen) }

struct Submission: Sendable, CustomStringConvertible {
  let name: String
  let service: Service
  var description: String { name }
  static let all = [
    Submission(name: "smtp", service: .smtp), Submission(name: "smtp-starttls", service: .smtp),
    Submission(name: "submission", service: .submission),
    Submission(name: "submissions", service: .submissions),
    Submission(name: "smtp", service: .postscreen),
  ]
}

@Test("Python's smtplib", arguments: Path.all)
func smtplib(path: Path) throws {
  let sessions = Submission.all.map { submission in
    Job("\(submission) to \(submission.service)") { try submit(submission, path) }
  }
  for session in sessions { try session.value() }
}

private func submit(_ submission: Submission, _ path: Path) throws {
  try withMailProxy(path, to: submission.service) { peers, sluice in
    let subject = "smtplib \(submission) \(path) \(monotonicUs())"
    try runMailClient(submission.name, path, peers, sluice, subject: subject)
    try expectInLog(submission.service, path, peers, sluice)
    if submission.service == .postscreen {
      let record = try sluice.record()
      let host = path.source
      let port = record.client.split(separator: ":").last ?? ""
      try peers.expectLine(
        in: peers.postfixLog,
        with: ["CONNECT from [\(host)]:\(port) to [\(path.host)]:\(sluice.endpoint.port)"])
    }
    try peers.expectDelivered(subject)
  }
}
