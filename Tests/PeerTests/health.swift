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
private func withNginx(
  takingHeaders: Bool, _ body: (_ port: UInt16, TemporaryDirectory) throws -> Void
) throws {
  try require(["nginx": "nginx"])
  let directory = try TemporaryDirectory()
  let port = ReservedPort.take()
  try writeFile(
    directory.file("nginx.conf"),
    """
    daemon off; worker_processes 1; pid \(directory.file("pid"));
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
        location / { return 503; }
      }
    }
    """)
  let nginx = try ChildProcess("nginx", ["-c", directory.file("nginx.conf")])
  try wait(for: "nginx to listen: \(nginx.standardError)") {
    (try? StreamSocket.connect(to: .loopback(port))) != nil
  }
  try body(port, directory)
  nginx.signal(15)
  _ = try nginx.waitForExit()
}

private func passedChecks(in directory: TemporaryDirectory) -> Int {
  contents(of: directory.file("access")).split(separator: "\n").count {
    $0.contains("\"GET /health HTTP/1.0\" 204")
  }
}

@Test("checks of nginx", arguments: ["none", "v1", "v2"])
func checksOfNginx(header: String) throws {
  try withNginx(takingHeaders: header != "none") { port, directory in
    let check = "send-proxy: \(header), check: { type: http, interval: 100ms, path: "
    try withChecks(of: .loopback(port), check + "/health, status: 204 }") { _ in
      passedChecks(in: directory) >= 4
    }
    var setup = Setup(Engine(events: "auto", splice: "auto"), servers: [.loopback(port)])
    setup.backend = check + "/ }"
    try withSluice(setup) { sluice in
      try wait(for: "the status to be told") {
        sluice.child.standardError.contains("is down: HTTP status 503")
      }
    }
    let errors = contents(of: directory.file("error")).split(separator: "\n").filter {
      $0.contains("[error]") || $0.contains("[warn]") || $0.contains("prematurely")
    }
    #expect(errors.isEmpty)
  }
}

// Where connections begin with a header, checks do too, unless the backend says otherwise: a server
// that requires it passes with it alone, and one that knows nothing of it without it alone.
@Test("the header of checks is switched per backend", arguments: ["v1", "v2"], [true, false])
func theHeaderIsSwitched(header: String, isRequired: Bool) throws {
  try withNginx(takingHeaders: isRequired) { port, directory in
    for sendsHeader in [true, false] {
      let backend =
        "send-proxy: \(header), "
        + "check: { type: http, path: /health, interval: 100ms, proxy: \(sendsHeader) }"
      if sendsHeader == isRequired {
        let before = passedChecks(in: directory)
        try withChecks(of: .loopback(port), backend) { _ in
          passedChecks(in: directory) >= before + 4
        }
        continue
      }
      var setup = Setup(Engine(events: "auto", splice: "auto"), servers: [.loopback(port)])
      setup.backend = backend
      try withSluice(setup) { sluice in
        try wait(for: "it to be down") { sluice.child.standardError.contains("is down: ") }
      }
    }
  }
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
