import AdminAPI
import Glibc
import System
import TestSupport
import Testing

@testable import Control

// `sluice ctl` as it is started, against the admin server of this process.
@Suite struct CtlTests {
  private func ctl(
    _ admin: RunningAdmin, _ arguments: String...
  ) throws -> (exit: ChildProcess.Exit, output: String, error: String) {
    try SluiceBinary.run(["ctl"] + arguments + ["--socket", admin.path])
  }

  @Test(
    arguments: [
      (["status"], ["generation 1", "server a/b is drained", "listener smtp: 1 connections"]),
      (["listeners"], ["LISTENER", "smtp", "127.0.0.1:25"]),
      (["backends"], ["postfix", "down", "refused"]),
      (["sessions"], ["0-0-1", "192.0.2.1:5"]), (["bans"], ["192.0.2.0/24", "spam"]),
      (["config"], ["workers: 2"]), (["config", "--defaults"], ["workers: auto"]),
      (["metrics"], ["sluice_up 1"]), (["drain", "listener", "smtp"], ["no new connections"]),
      (["resume", "server", "a", "b"], ["server a/b"]), (["weight", "a", "b", "7"], ["weight 7"]),
      (["kill", "0-1-2"], ["1 connection ended"]), (["log-level", "debug"], ["debug"]),
      (["ban", "192.0.2.7", "--for", "1h", "--reason", "spam"], ["192.0.2.7/32"]),
      (["unban", "192.0.2.7"], ["no longer"]), (["reload", "--dry-run"], ["~ egress", "dry run"]),
    ])
  func verbsPrintForPeople(arguments: [String], words: [String]) throws {
    let admin = try RunningAdmin()
    let result = try SluiceBinary.run(["ctl"] + arguments + ["--socket", admin.path])
    #expect(result.exit == .code(0), "\(result.error)")
    for word in words { #expect(result.output.contains(word), "\(result.output)") }
  }

  @Test(
    arguments: [
      ["status"], ["listeners"], ["backends"], ["sessions"], ["bans"], ["config"], ["metrics"],
      ["drain", "listener", "smtp"], ["resume", "backend", "a"], ["weight", "a", "b", "7"],
      ["kill", "--listener", "smtp"], ["log-level", "debug"], ["ban", "192.0.2.7"],
      ["unban", "192.0.2.7"], ["reload", "--dry-run"],
    ])
  func verbsPrintJSON(arguments: [String]) throws {
    let admin = try RunningAdmin()
    let result = try SluiceBinary.run(["ctl"] + arguments + ["--json", "--socket", admin.path])
    #expect(result.exit == .code(0), "\(result.error)")
    #expect(result.error == "")
    _ = try JSONValue(result.output)
  }

  @Test func whatIsAskedForIsWhatArrives() throws {
    let admin = try RunningAdmin()
    _ = try ctl(
      admin, "sessions", "--listener", "a b&c", "--client", "2001:db8::/32", "--older-than", "90s",
      "--limit", "3", "--after", "x/y")
    _ = try ctl(admin, "kill", "--listener", "smtp")
    _ = try ctl(admin, "drain", "server", "postfix", "192.0.2.1:25")
    let query = SessionQuery(
      listener: "a b&c", client: "2001:db8::/32", olderThanSeconds: 90, limit: 3, after: "x/y")
    #expect(
      admin.operations.noted.withLock { $0 } == [
        "sessions \(query)", "kill matching smtp", "drain server postfix/192.0.2.1:25",
      ])
  }

  @Test func aRefusalIsAFailure() throws {
    let admin = try RunningAdmin()
    admin.operations.problem.withLock { $0 = Failure(.notFound, "there is no listener x") }
    let result = try ctl(admin, "drain", "listener", "x")
    #expect(result.exit == .code(1) && result.error == "sluice: there is no listener x\n")
    let json = try ctl(admin, "drain", "listener", "x", "--json")
    #expect(json.exit == .code(1))
    #expect(try JSONValue(json.output)["error"]?["code"]?.string == "not-found")
  }

  @Test func aRefusedReloadIsAFailure() throws {
    let admin = try RunningAdmin()
    let result = try ctl(admin, "reload")
    #expect(result.exit == .code(1))
    #expect(result.error.contains("f:1:1: http://***@p:1 is no proxy"))
    #expect(result.error.contains("not reloaded"))
    #expect(try ctl(admin, "reload", "--json").exit == .code(1))
  }

  @Test(
    arguments: [
      ["drain", "listener"], ["drain", "server", "a"], ["drain", "listener", "a", "b"],
      ["drain", "pod", "a"], ["kill"], ["kill", "0-1-2", "--listener", "a"],
      ["weight", "a", "b", "257"], ["log-level", "loud"], ["ban", "192.0.2.1", "--for", "1"],
      ["sessions", "--limit", "0"], ["no-such-verb"], ["reload", "--wait-drained", "soon"],
    ])
  func aCallThatMakesNoSenseIsAUsageError(arguments: [String]) throws {
    #expect(try SluiceBinary.run(["ctl"] + arguments).exit == .code(64))
  }

  @Test func nobodyThere() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("admin.sock")
    let absent = try SluiceBinary.run(["ctl", "status", "--socket", path])
    #expect(absent.exit == .code(3) && absent.error.contains("no socket at \(path)"))
    do { _ = try LocalSockets.listen(at: path, mode: 0o600, group: nil) }
    let dead = try SluiceBinary.run(["ctl", "status", "--socket", path])
    #expect(dead.exit == .code(3) && dead.error.contains("nobody serves"))
  }

  @Test func whatAnswersIsNoSluice() throws {
    let directory = try TemporaryDirectory()
    let server = try ListeningSocket(.unix(directory.file("admin.sock")))
    let answer = Job("answer") {
      let socket = try server.accept()
      try socket.write("220 mail.example ESMTP\r\n\r\n")
      _ = try socket.receive(atMost: 4096)
      socket.close()
    }
    let result = try SluiceBinary.run([
      "ctl", "status", "--socket", directory.file("admin.sock"),
    ])
    #expect(result.exit == .code(1) && result.error.contains("no admin socket"))
    try answer.value()
  }

  @Test func theSocketIsFoundByTheEnvironment() throws {
    let admin = try RunningAdmin()
    let result = try ChildProcess.run(
      SluiceBinary.path, ["ctl", "config"], environment: ["SLUICE_ADMIN": admin.path])
    #expect(result.exit == .code(0) && result.output == "workers: 2\n")
  }

  // The same for names that came from outside: a terminal that reads them must not obey.
  @Test func eventsAreFollowed() throws {
    let admin = try RunningAdmin()
    let people = try ChildProcess(SluiceBinary.path, ["ctl", "events", "--socket", admin.path])
    let machine = try ChildProcess(
      SluiceBinary.path, ["ctl", "events", "--json", "--socket", admin.path])
    try wait(for: "the stream: \(machine.standardError)") {
      machine.standardOutput.contains("heartbeat")
    }
    // The other has no line yet that would show that it follows.
    try wait(for: "an event") {
      admin.operations.events.post("ban", "\u{1b}[2J\u{9b}1mx\ny", ["reason": "\u{7f}\u{1b}]0;x"])
      return people.standardOutput.contains("ban: ") && machine.standardOutput.contains("\"ban\"")
    }
    let shown = people.standardOutput + machine.standardOutput
    let controls = shown.unicodeScalars.filter {
      $0.properties.generalCategory == .control && $0 != "\n"
    }
    #expect(controls.isEmpty)
    #expect(people.standardOutput.contains(#"ban: \u{1b}[2J\u{9b}1mx\u{a}y"#))
    admin.server.stop()
    #expect(try people.waitForExit() == .code(1))
    #expect(people.standardError.contains("ended"))
  }

  @Test(.enabled(if: geteuid() == 0, "only root may become somebody else"))
  func whoMayNotIsTold() throws {
    let admin = try RunningAdmin(mode: 0o666, view: ["1"])
    let looker = ["--reuid", "1", "--regid", "1", "--clear-groups", SluiceBinary.path, "ctl"]
    let stranger = ["--reuid", "2", "--regid", "2", "--clear-groups", SluiceBinary.path, "ctl"]
    let socket = ["--socket", admin.path]
    func run(_ arguments: [String]) throws -> ChildProcess.Exit {
      try ChildProcess.run("setpriv", arguments + socket).exit
    }
    #expect(try run(looker + ["config"]) == .code(0))
    #expect(try run(looker + ["drain", "listener", "a"]) == .code(4))
    #expect(try run(stranger + ["config"]) == .code(4))
    let closed = try RunningAdmin(mode: 0o600)
    #expect(
      try ChildProcess.run("setpriv", looker + ["status", "--socket", closed.path]).exit
        == .code(4))
    #expect(admin.operations.noted.withLock { $0 } == [])
    let denials = admin.operations.events.events(from: 0).events
    #expect(denials.count == 2 && denials.allSatisfy { $0.message.contains("denied") })
  }
}
