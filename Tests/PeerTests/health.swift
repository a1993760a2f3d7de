import Glibc
import TestSupport
import Testing

// Checks of real servers, which pass, and of which the servers have nothing to say: no header that
// could not be read, no connection that was lost, no command that was not understood.

/// The checks of one service come from an address of their own, which marks them in the logs.
struct CheckedService: Sendable, CustomStringConvertible {
  let service: Service
  let type: String
  let header: String
  let source: String
  var description: String { "\(service), \(header)" }

  static let all: [CheckedService] = {
    let services: [(Service, String)] = [
      (.smtp, "smtp"), (.submission, "smtp"), (.postscreen, "smtp"), (.imap, "imap"),
      (.pop3, "pop3"), (.sieve, "sieve"),
    ]
    return services.enumerated().flatMap { index, pair in
      ["v1", "v2"].enumerated().map { version, header in
        CheckedService(
          service: pair.0, type: pair.1, header: header,
          source: "127.0.7.\(10 * (index + 1) + version)")
      }
    }
  }()
}

/// Starts the daemon with one backend that is checked, until `isEnough`.
private func withChecks(
  of server: Endpoint, _ backend: String, until isEnough: (SluiceProcess) throws -> Bool
) throws {
  var setup = Setup(Engine(events: "auto", splice: "auto"), servers: [server])
  setup.backend = backend
  try withSluice(setup) { sluice in
    try wait(for: "enough checks: \(sluice.child.standardError)") { try isEnough(sluice) }
    #expect(!sluice.child.standardError.contains("is down"))
  }
}

@Test("checks of mail servers leave clean logs", arguments: CheckedService.all)
func checksOfMailServers(checked: CheckedService) throws {
  let peers = try MailPeers.shared()
  let isPostfix = checked.type == "smtp"
  let log = isPostfix ? peers.postfixLog : peers.dovecotLog
  func lines() -> [Substring] {
    contents(of: log).split(separator: "\n").filter {
      $0.contains("[\(checked.source)]") || $0.contains("rip=\(checked.source),")
    }
  }
  let good =
    isPostfix ? "disconnect from unknown[\(checked.source)]" : "Aborted login by logging out"
  let backend =
    "send-proxy: \(checked.header), source: \(checked.source), "
    + "check: { type: \(checked.type), interval: 200ms, timeout: 15s }"
  try withChecks(of: peers.address(of: checked.service), backend) { _ in
    lines().count { $0.contains(good) } >= 4
  }
  let noise = lines().filter { line in
    let isUsual =
      isPostfix
      ? line.contains(" connect from ") || line.contains(" PASS ") || line.contains("CONNECT from")
        || line.contains("ehlo=1 quit=1 commands=2") : line.contains(good)
    return !isUsual
  }
  #expect(noise.isEmpty)
  // What Postfix cannot read it complains of before it knows of whom: in the line before, of the
  // same process.
  var last: [Substring: Substring] = [:]
  for line in contents(of: log).split(separator: "\n") {
    let process = line.split(separator: ":", omittingEmptySubsequences: false)[2]
    let before = last.updateValue(line, forKey: process) ?? ""
    let isOurs = line.contains("connect from unknown[\(checked.source)]")
    #expect(!(isOurs && before.contains("haproxy read")))
  }
}

/// nginx on a port of its own, which takes PROXY headers and nothing else, or none.
private final class Nginx {
  let port = ReservedPort.take()
  let directory: TemporaryDirectory
  private(set) var process: ChildProcess

  init(takingHeaders: Bool) throws {
    try require(["nginx": "nginx"])
    directory = try TemporaryDirectory()
    try writeFile(
      directory.file("nginx.conf"),
      """
      daemon off; master_process off; pid \(directory.file("pid"));
      error_log \(directory.file("error")) info;
      events { }
      http {
        access_log \(directory.file("access"));
        client_body_temp_path \(directory.file("b")); proxy_temp_path \(directory.file("p"));
        fastcgi_temp_path \(directory.file("f")); uwsgi_temp_path \(directory.file("u"));
        scgi_temp_path \(directory.file("s"));
        server {
          listen 127.0.0.1:\(port)\(takingHeaders ? " proxy_protocol" : "");
          location = /health { return 204; }
          location = /page { return 200 "page"; }
          location / { return 503; }
        }
      }
      """)
    process = try ChildProcess("nginx", ["-c", directory.file("nginx.conf")])
    try listens()
  }

  func start() throws {
    process = try ChildProcess("nginx", ["-c", directory.file("nginx.conf")])
    try listens()
  }

  private func listens() throws {
    try wait(for: "nginx to listen: \(process.standardError)") {
      (try? StreamSocket.connect(to: .loopback(port))) != nil
    }
  }

  func end(with signal: Int32 = SIGTERM) throws {
    process.signal(signal)
    _ = try process.waitForExit()
  }

  func answered(_ request: String) -> Int {
    contents(of: directory.file("access")).split(separator: "\n").count { $0.contains(request) }
  }

  var passedChecks: Int { answered("\"GET /health HTTP/1.0\" 204") }
}

private func withNginx(takingHeaders: Bool, _ body: (Nginx) throws -> Void) throws {
  let nginx = try Nginx(takingHeaders: takingHeaders)
  try body(nginx)
  try nginx.end()
}

@Test("checks of nginx", arguments: ["none", "v1", "v2"])
func checksOfNginx(header: String) throws {
  try withNginx(takingHeaders: header != "none") { nginx in
    let check = "send-proxy: \(header), check: { type: http, interval: 100ms, path: "
    try withChecks(of: .loopback(nginx.port), check + "/health, status: 204 }") { _ in
      nginx.passedChecks >= 4
    }
    var setup = Setup(Engine(events: "auto", splice: "auto"), servers: [.loopback(nginx.port)])
    setup.backend = check + "/ }"
    try withSluice(setup) { sluice in
      try wait(for: "the status to be told") {
        sluice.child.standardError.contains("is down: HTTP status 503")
      }
    }
    let errors = contents(of: nginx.directory.file("error")).split(separator: "\n").filter {
      $0.contains("[error]") || $0.contains("[warn]") || $0.contains("prematurely")
    }
    #expect(errors.isEmpty)
  }
}

// Where connections begin with a header, checks do too, unless the backend says otherwise: a server
// that requires it passes with it alone, and one that knows nothing of it without it alone.
@Test("the header of checks is switched per backend", arguments: ["v1", "v2"], [true, false])
func theHeaderIsSwitched(header: String, isRequired: Bool) throws {
  try withNginx(takingHeaders: isRequired) { nginx in
    for sendsHeader in [true, false] {
      let backend =
        "send-proxy: \(header), "
        + "check: { type: http, path: /health, interval: 100ms, proxy: \(sendsHeader) }"
      if sendsHeader == isRequired {
        let before = nginx.passedChecks
        try withChecks(of: .loopback(nginx.port), backend) { _ in
          nginx.passedChecks >= before + 4
        }
        continue
      }
      var setup = Setup(Engine(events: "auto", splice: "auto"), servers: [.loopback(nginx.port)])
      setup.backend = backend
      try withSluice(setup) { sluice in
        try wait(for: "it to be down") { sluice.child.standardError.contains("is down: ") }
      }
    }
  }
}

/// What one client gets.
private func page(
  _ sluice: SluiceProcess, until deadline: Deadline = .generous
) throws -> String {
  let client = try sluice.connect()
  defer { client.close() }
  try client.write("GET /page HTTP/1.0\r\n\r\n")
  return String(decoding: try client.readToEnd(until: deadline).bytes.suffix(4), as: UTF8.self)
}

// One of two servers hangs: once its check has run out of time nobody notices. It goes on, and is
// used again. It is killed under load: nobody notices at all. It is started, and is used again.
@Test("a server hangs, dies and comes back")
func aServerHangsAndDies() throws {
  let (good, bad) = (try Nginx(takingHeaders: true), try Nginx(takingHeaders: true))
  var setup = Setup(
    Engine(events: "auto", splice: "auto"), servers: [.loopback(good.port), .loopback(bad.port)])
  setup.backend =
    "send-proxy: v2, check: { type: http, path: /health, interval: 200ms, timeout: 2s, rise: 1, "
    + "fall: 1, on-down: close }"
  try withSluice(setup) { sluice in
    func said(_ what: String) -> Int {
      sluice.child.standardError.split(separator: "\n").count {
        $0.contains("server back/127.0.0.1:\(bad.port) \(what)")
      }
    }
    func isUsed() throws {
      let before = bad.answered("GET /page")
      try wait(for: "it to be used again") {
        let heard = try page(sluice)
        #expect(heard == "page")
        return bad.answered("GET /page") > before
      }
    }
    try isUsed()
    bad.process.signal(SIGSTOP)
    let hanging = [try sluice.connect(), try sluice.connect()]
    try wait(for: "the check to fail") {
      said("is down: timed out waiting for an HTTP answer") == 1
    }
    try wait(for: "clients to be sent to the other") {
      let heard = (0..<4).map { _ in try? page(sluice, until: Deadline(inMs: 1000)) }
      return heard.allSatisfy { $0 == "page" }
    }
    for _ in 0..<40 { #expect(try page(sluice) == "page") }
    for client in hanging { client.close() }
    bad.process.signal(SIGCONT)
    try wait(for: "it to be up") { said("is up") == 1 }
    try isUsed()

    try bad.end(with: SIGKILL)
    try wait(for: "the check to fail") {
      let heard = try page(sluice)
      #expect(heard == "page")
      return said("is down: connection re") == 1
    }
    for _ in 0..<40 { #expect(try page(sluice) == "page") }
    try bad.start()
    try wait(for: "it to be up") { said("is up") == 2 }
    try isUsed()
  }
  for nginx in [good, bad] { try nginx.end() }
}

@Test("checks of TLS services")
func checksOfTLSServices() throws {
  let peers = try MailPeers.shared()
  for service in [Service.submissions, .imaps] {
    let source = service == .imaps ? "127.0.7.201" : "127.0.7.202"
    let log = service == .imaps ? peers.dovecotLog : peers.postfixLog
    try withChecks(
      of: peers.address(of: service),
      "send-proxy: v2, source: \(source), check: { type: tls, interval: 200ms, timeout: 15s }"
    ) { _ in
      contents(of: log).split(separator: "\n").count { $0.contains(source) } >= 4
    }
  }
}
