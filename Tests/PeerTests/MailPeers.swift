import TestSupport

/// The services of the mail servers, in the order of their ports.
enum Service: Int, CaseIterable, Sendable, CustomStringConvertible {
  case smtp, postscreen, submission, submissions, imap, imaps, pop3, pop3s, sieve
  /// Submission behind a proxy that has ended TLS.
  case edge

  var description: String {
    switch self {
    case .smtp: "smtp"
    case .postscreen: "postscreen"
    case .submission: "submission"
    case .submissions: "submissions"
    case .imap: "imap"
    case .imaps: "imaps"
    case .pop3: "pop3"
    case .pop3s: "pop3s"
    case .sieve: "sieve"
    case .edge: "edge"
    }
  }
}

/// The directory of the package's sources.
let packageDirectory: String = {
  let parts = #filePath.split(separator: "/").dropLast(3)
  return "/" + parts.joined(separator: "/")
}()

/// Programs that a test can't do without: their absence is a failure, and never skipped over.
func require(_ programs: [String: String]) throws {
  for (program, package) in programs {
    let places = [
      "/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/lib/nginx/modules",
    ]
    guard places.contains(where: { fileExists("\($0)/\(program)") }) else {
      throw TestFailure("\(program) is missing: apt-get install \(package)")
    }
  }
}

/// A real Postfix and a real Dovecot, started once for all tests and gone when the tests are.
final class MailPeers: Sendable {
  let directory: String
  private let base: UInt16
  private let child: ChildProcess

  static func shared() throws -> MailPeers { try started.get() }
  private static let started = Result { try MailPeers(named: "mail.example.test") }

  /// Another pair, with a certificate of its own, for `other.example.test`.
  static func second() throws -> MailPeers { try startedSecond.get() }
  private static let startedSecond = Result { try MailPeers(named: "other.example.test") }

  private init(named name: String) throws {
    base = ReservedPort.takeBlock(UInt16(Service.allCases.count))
    var limits = ChildProcess.Limits()
    limits.killedWithUs = false
    let child = try ChildProcess(
      "\(packageDirectory)/tools/mail-peers/run", ["\(base)", "", name], limits: limits)
    self.child = child
    try wait(
      for: "Postfix and Dovecot to start: \(child.standardError)", until: Deadline(inMs: 60_000)
    ) {
      if let exit = child.poll() {
        throw TestFailure("the mail servers ended with \(exit): \(child.standardError)")
      }
      return child.standardOutput.contains("ready ")
    }
    let line = child.standardOutput.split(separator: "\n").first { $0.hasPrefix("ready ") } ?? ""
    directory = String(line.dropFirst(6))
  }

  func address(of service: Service) -> Endpoint { .loopback(base + UInt16(service.rawValue)) }

  var certificate: String { "\(directory)/certificate.pem" }
  var postfixLog: String { "\(directory)/postfix.log" }
  var dovecotLog: String { "\(directory)/dovecot.log" }

  /// Waits for a line of a log that has all of these in it.
  func expectLine(in log: String, with words: [String]) throws {
    try wait(
      for: "a line with \(words) in \(log):\n\(tail(of: log))", until: Deadline(inMs: 10_000)
    ) {
      contents(of: log).split(separator: "\n").contains { line in
        words.allSatisfy { line.contains($0) }
      }
    }
  }

  /// Waits for the message with this subject in alice's mailbox.
  func expectDelivered(_ subject: String) throws {
    try wait(
      for: "the message \"\(subject)\":\n\(tail(of: postfixLog))", until: Deadline(inMs: 10_000)
    ) {
      ["new", "cur"].contains { folder in
        let path = "\(directory)/mail/alice/Maildir/\(folder)"
        return entries(of: path).contains {
          contents(of: "\(path)/\($0)").contains("Subject: \(subject)\n")
        }
      }
    }
  }

  private func tail(of log: String) -> String {
    contents(of: log).split(separator: "\n").suffix(12).joined(separator: "\n")
  }
}

/// One client address, one version of the header: every service is reached from each.
struct Path: Sendable, CustomStringConvertible {
  let version: Int
  let source: String
  var description: String { "PROXY v\(version), from \(source)" }
  /// The address to connect to: of the client's own family.
  var host: String { source.contains(":") ? "::1" : "127.0.0.1" }

  static let all = [1, 2].flatMap { version in
    ["127.0.0.2", "127.0.0.3", "::1"].filter { $0 != "::1" || hasIPv6Loopback }.map {
      Path(version: version, source: $0)
    }
  }
  /// swaks speaks IPv6 only with a Perl module that Debian's package doesn't depend on.
  static let overIPv4 = all.filter { $0.host == "127.0.0.1" }
}

/// Runs `body` with the daemon between a client and one service of the mail servers.
func withMailProxy(
  _ path: Path, to service: Service, _ listener: String = "type: server-first",
  _ body: (MailPeers, SluiceProcess) throws -> Void
) throws {
  let peers = try MailPeers.shared()
  var setup = Setup(
    Engine(events: "auto", splice: "auto"), servers: [peers.address(of: service)],
    bind: .inet(path.host, ReservedPort.take()))
  setup.listener = listener
  setup.backend = "send-proxy: v\(path.version)"
  try withSluice(setup) { try body(peers, $0) }
}

/// Runs a client program, which must succeed.
@discardableResult
func runClient(_ program: String, _ arguments: [String], input: String = "") throws -> String {
  let result = try ChildProcess.run(
    program, arguments, input: input, until: Deadline(inMs: 40_000))
  guard result.exit == .code(0) else {
    throw TestFailure("\(program) ended with \(result.exit):\n\(result.output)\n\(result.error)")
  }
  return result.output
}

/// One session of the Python client.
func runMailClient(
  _ protocol: String, _ path: Path, _ peers: MailPeers, _ sluice: SluiceProcess,
  subject: String = ""
) throws {
  let output = try runClient(
    "python3",
    [
      "\(packageDirectory)/Tests/PeerTests/peers/mail_client.py", `protocol`, path.host,
      "\(sluice.endpoint.port)", path.source, peers.certificate, subject,
    ])
  guard output.hasPrefix("ok") else { throw TestFailure("the mail client said: \(output)") }
}
