import Glibc
import TestSupport
import Testing

// Fail2Ban itself reads a log in which an address fails to log in three times, and runs the action.

/// A Fail2Ban in a directory of its own, with one jail whose action is ours.
private final class Fail2Ban {
  let directory: TemporaryDirectory
  private let server: ChildProcess

  init(sluice: String, bantime: String) throws {
    directory = try TemporaryDirectory("sluice-fail2ban")
    for place in ["action.d", "filter.d"] { mkdir(directory.file(place), 0o755) }
    try writeFile(
      directory.file("action.d/sluice.conf"),
      contents(of: "\(sourceTree)/docs/fail2ban/action.d/sluice.conf"))
    try writeFile(
      directory.file("filter.d/logins.conf"),
      "[Definition]\nfailregex = ^login of <HOST> failed$\n")
    try writeFile(directory.file("log"), "")
    try writeFile(
      directory.file("fail2ban.conf"),
      """
      [Definition]
      loglevel = INFO
      logtarget = \(directory.file("said"))
      syslogsocket = auto
      socket = \(directory.file("socket"))
      pidfile = \(directory.file("pid"))
      dbfile = None
      """)
    try writeFile(
      directory.file("jail.conf"),
      """
      [mail]
      enabled = true
      backend = polling
      filter = logins
      datepattern = {NONE}
      logpath = \(directory.file("log"))
      maxretry = 3
      bantime = \(bantime)
      ignoreself = false
      action = sluice[sluice="\(sluice)"]
      """)
    server = try ChildProcess("fail2ban-server", ["-c", directory.path, "-f", "start"])
    try wait(for: "Fail2Ban to start: \(said)") { said.contains("Jail 'mail' started") }
  }

  var said: String { contents(of: directory.file("said")) + server.standardError }

  func fail(_ address: String) throws {
    let line = "login of \(address) failed\n"
    let log = try #require(fopen(directory.file("log"), "a"))
    fputs(line + line + line, log)
    fclose(log)
  }

  func unban(_ address: String) throws {
    try succeed("fail2ban-client", ["-c", directory.path, "unban", address])
  }

  func stop() throws {
    server.signal(SIGTERM)
    _ = try server.waitForExit()
  }
}

@Suite struct Fail2BanTests {
  /// What Fail2Ban runs, written down by a program in the place of Sluice.
  @Test(arguments: [("1h", " --for 3660s"), ("-1", "")])
  func whatTheActionRuns(bantime: String, lasting: String) throws {
    let directory = try TemporaryDirectory()
    let ran = directory.file("ran")
    try writeFile(
      directory.file("note"), "#!/bin/sh\nprintf '%s|' \"$@\" >>\(ran)\necho >>\(ran)\n")
    chmod(directory.file("note"), 0o755)
    let fail2ban = try Fail2Ban(sluice: directory.file("note"), bantime: bantime)
    let expected = lasting.replacing(" ", with: "|")
    for address in ["192.0.2.7", "2001:db8::7"] {
      try fail2ban.fail(address)
      try wait(for: "the ban of \(address): \(fail2ban.said)") {
        contents(of: ran).contains("ctl|ban|\(address)\(expected)|--reason|fail2ban mail|\n")
      }
    }
    try fail2ban.unban("192.0.2.7")
    try wait(for: "the unban: \(fail2ban.said)") {
      contents(of: ran).contains("ctl|unban|192.0.2.7|\n")
    }
    #expect(!contents(of: ran).contains("ctl|unban|2001"))
    // It ends what it began.
    try fail2ban.stop()
    #expect(contents(of: ran).contains("ctl|unban|2001:db8::7|\n"))
  }

  /// The whole way: logins that fail in the log of a server behind the daemon, a ban that Fail2Ban
  /// has the daemon keep, a connection that is turned away and counted, and the end of the ban.
  @Test func whoFailsToLogInIsTurnedAway() throws {
    let server = try ListeningSocket()
    let directory = try TemporaryDirectory()
    let bind = Endpoint.loopback(ReservedPort.take())
    let sluice = try SluiceProcess(
      yaml: """
        admin: { socket: "\(directory.file("admin"))" }
        state-directory: "\(directory.path)"
        log: { connections: "\(directory.file("connections"))" }
        listeners: { front: { bind: "\(bind)", type: server-first, backend: back } }
        backends: { back: { servers: ["\(server.endpoint)"] } }
        """, in: directory, at: bind)
    let admin = ["--socket", directory.file("admin"), "--json"]
    func bans() throws -> JSONValue {
      try JSONValue(try succeed(SluiceBinary.path, ["ctl", "bans"] + admin))
    }
    func serves(_ client: String) throws {
      let socket = try sluice.connect(from: client)
      try server.accept().write("220 hello\r\n")
      #expect(try socket.readExactly(11) == Array("220 hello\r\n".utf8))
    }
    let fail2ban = try Fail2Ban(
      sluice: "env SLUICE_ADMIN=\(directory.file("admin")) \(SluiceBinary.path)", bantime: "1h")
    try serves("127.0.0.9")
    try fail2ban.fail("127.0.0.9")
    try wait(for: "the ban: \(fail2ban.said)") { try "\(bans())".contains("127.0.0.9/32") }
    #expect(try "\(bans())".contains("fail2ban mail"))

    #expect(try sluice.connect(from: "127.0.0.9").readToEnd().bytes.isEmpty)
    #expect(try server.accept(withinMs: 100) == nil)
    try serves("127.0.0.8")
    guard case .array(let kept) = try bans() else { throw TestFailure("no list") }
    #expect(kept.map { $0["hits"]?.number } == [1])
    let metrics = try succeed(
      SluiceBinary.path, ["ctl", "metrics", "--socket", directory.file("admin")])
    let counted = metrics.split(separator: "\n").filter { $0.contains("source.banned") }
    #expect(counted.contains { $0.hasSuffix(" 1") }, "\(counted)")

    try fail2ban.unban("127.0.0.9")
    try wait(for: "the end of the ban: \(fail2ban.said)") {
      try !"\(bans())".contains("127.0.0.9")
    }
    try serves("127.0.0.9")
    try fail2ban.stop()
    try sluice.stop()
    #expect(try sluice.records.count { $0.reason == "source.banned" } == 1)
  }
}
