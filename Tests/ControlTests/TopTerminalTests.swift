import Glibc
import System
import TestSupport
import Testing

@testable import Control

/// `sluice ctl top` in a terminal of tmux: what is on the screen, and what keys do.
private final class Screen {
  private let name: String
  private let directory: TemporaryDirectory
  private var raw: String { directory.file("raw") }

  /// Runs `sluice ctl ARGUMENTS`, then says how it ended and what the terminal is like.
  init(_ arguments: [String], columns: Int = 100, rows: Int = 24) throws {
    directory = try TemporaryDirectory()
    name = "\(directory.path)/tmux"
    let command = "\(SluiceBinary.path) ctl \(arguments.joined(separator: " "))"
    let script = "sleep 0.3; \(command); echo ENDED $?; stty -a; cat"
    try tmux([
      "-f", "/dev/null", "new-session", "-d", "-x", "\(columns)", "-y", "\(rows)", script,
    ])
    try tmux(["pipe-pane", "cat > \(raw)"])
  }

  deinit { _ = try? tmux(["kill-server"]) }

  @discardableResult
  private func tmux(_ arguments: [String]) throws -> String {
    // A server of this test's own, and a terminal that needs no description on this machine.
    let result = try ChildProcess.run(
      "tmux", ["-S", name] + arguments,
      environment: ["TERM": "xterm", "TMUX": "", "SHELL": "/bin/sh"])
    guard result.exit == .code(0) else { throw TestFailure("tmux \(arguments): \(result.error)") }
    return result.output
  }

  var text: String { get throws { try tmux(["capture-pane", "-p"]) } }

  /// What the program wrote, byte by byte.
  var written: String { contents(of: raw) }

  func press(_ keys: String...) throws { try tmux(["send-keys"] + keys) }

  func resize(columns: Int, rows: Int) throws {
    try tmux(["resize-window", "-x", "\(columns)", "-y", "\(rows)"])
  }

  func wait(for words: String...) throws {
    var shown = ""
    try TestSupport.wait(for: "\(words) in: \(shown)") {
      shown = try text
      return words.allSatisfy(shown.contains)
    }
  }

  /// The process id of the command.
  func command() throws -> pid_t {
    let shell = try tmux(["display-message", "-p", "#{pane_pid}"]).prefix { $0.isNumber }
    let children = contents(of: "/proc/\(shell)/task/\(shell)/children")
    guard let pid = children.split(separator: " ").first.flatMap({ pid_t($0) }) else {
      throw TestFailure("no command under \(shell)")
    }
    return pid
  }

  /// The terminal is as it was, and the screen that was there before is back.
  func expectRestored(exit: Int) throws {
    try wait(for: "ENDED \(exit)")
    var settings: [Substring] = []
    try TestSupport.wait(for: "echo and line editing in \(settings)") {
      settings = try text.split { $0 == " " || $0 == "\n" }
      return ["echo", "icanon", "isig", "opost"].allSatisfy { settings.contains($0[...]) }
    }
    #expect(try !text.contains("q quit"))
    #expect(written.contains("\u{1b}[?25h") && written.contains("\u{1b}[?1049l"))
  }
}

@Suite struct TopTerminalTests {
  @Test func keysSortSelectAndEnd() throws {
    let admin = try RunningAdmin()
    let screen = try Screen(["top", "--socket", admin.path])
    try screen.wait(for: "0-0-1", "0-1-1", "sort by bytes", "generation 1")
    try screen.press("s")
    try screen.wait(for: "sort by rate", "*RATE/s")
    try screen.press("Down")
    try screen.press("k")
    try screen.wait(for: "end 0-1-1 of 192.0.2.1:5? y or n")
    try screen.press("n")
    try screen.wait(for: "q quit")
    #expect(!admin.operations.noted.withLock { $0.contains { $0.hasPrefix("kill") } })
    try screen.press("k")
    try screen.wait(for: "y or n")
    try screen.press("y")
    try screen.wait(for: "0-1-1 was ended")
    #expect(admin.operations.noted.withLock { $0.contains("kill 0-1-1") })
    try screen.press("q")
    try screen.expectRestored(exit: 0)
  }

  @Test func aResizedTerminalIsFilled() throws {
    let admin = try RunningAdmin()
    admin.operations.sessionCount.withLock { $0 = 50 }
    let screen = try Screen(["top", "--socket", admin.path], columns: 120, rows: 30)
    try screen.wait(for: "0-10-1", "q quit")
    try screen.resize(columns: 40, rows: 8)
    try wait(for: "eight lines: \((try? screen.text) ?? "")") {
      let lines = try screen.text.split(separator: "\n")
      return lines.count == 8 && lines.last?.hasPrefix("q quit") == true
        && lines.first?.hasPrefix("sluice 1") == true
    }
    try screen.resize(columns: 120, rows: 30)
    try wait(for: "thirty lines: \((try? screen.text) ?? "")") {
      try screen.text.split(separator: "\n").count == 30
    }
    try screen.press("C-c")
    try screen.expectRestored(exit: 0)
  }

  @Test func whatComesFromOutsideIsNotObeyed() throws {
    let admin = try RunningAdmin()
    admin.operations.client.withLock { $0 = "\u{1b}]0;owned\u{7}\n\u{9b}31m\u{7f}" }
    let screen = try Screen(["top", "--socket", admin.path])
    try screen.wait(for: #"\x1b]0;owned\x07\n\xc2\x9b31m\x7f"#)
    try screen.press("q")
    try screen.expectRestored(exit: 0)
    // After our own commands are taken away, only carriage returns and line feeds are left.
    var left = screen.written
    for own in ["[?1049h", "[?25l", "[2J", "[H", "[7m", "[0m", "[K", "[J", "[?25h", "[?1049l"] {
      left.replace("\u{1b}" + own, with: "")
    }
    let controls = left.unicodeScalars.filter {
      $0.properties.generalCategory == .control && $0 != "\r" && $0 != "\n"
    }
    #expect(controls.isEmpty, "\(left.debugDescription)")
  }

  @Test(arguments: [SIGTERM, SIGHUP, SIGINT])
  func aSignalLeavesTheTerminalAsItWas(signal: Int32) throws {
    let admin = try RunningAdmin()
    let screen = try Screen(["top", "--socket", admin.path])
    try screen.wait(for: "q quit")
    kill(try screen.command(), signal)
    try screen.expectRestored(exit: 0)
  }

  @Test func aServerThatEndsIsSaidSo() throws {
    let admin = try RunningAdmin()
    let screen = try Screen(["top", "--socket", admin.path])
    try screen.wait(for: "q quit")
    admin.server.stop()
    try screen.wait(for: "there is no socket at")
    try screen.press("q")
    try screen.expectRestored(exit: 0)
  }

  @Test func withoutATerminalItSaysSo() throws {
    let admin = try RunningAdmin()
    let result = try SluiceBinary.run(["ctl", "top", "--socket", admin.path])
    #expect(result.exit == .code(1) && result.error.contains("needs a terminal"))
    let json = try SluiceBinary.run(["ctl", "top", "--json", "--socket", admin.path])
    #expect(json.exit == .code(0))
    #expect(try JSONValue(json.output)["status"]?["generation"]?.number == 1)
  }
}
