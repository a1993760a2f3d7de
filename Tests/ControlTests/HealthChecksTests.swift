import Config
import Control
import System
import TestSupport
import Testing
import Wire

/// Checks of real sockets, whose servers behave in every way that servers do.
@Suite(.serialized) struct HealthChecksTests {
  private final class Heard: Sendable {
    private let state = Guarded<[String]>([])
    func note(_ report: CheckReport) {
      state.withLock { $0.append(report.isUp ? "up" : "down: \(report.trouble ?? "")") }
    }
    var all: [String] { state.withLock { $0 } }
  }

  private func target(
    _ endpoint: Endpoint, _ kind: CheckKind, intervalMs: UInt32 = 40, timeoutMs: UInt32 = 10_000,
    header: CheckTarget.Header = .none, rise: Int = 2, fall: Int = 2
  ) -> CheckTarget {
    CheckTarget(
      address: SocketAddress("\(endpoint)")!, source: nil, header: header,
      settings: CheckSettings(
        kind: kind, intervalMs: intervalMs, timeoutMs: timeoutMs, rise: rise, fall: fall))
  }

  private func withChecks(
    _ targets: Set<CheckTarget>, _ body: (HealthChecks, Heard) throws -> Void
  ) throws {
    let heard = Heard()
    let checks = try HealthChecks { _, report in heard.note(report) }
    defer { checks.stop() }
    checks.install(targets)
    try body(checks, heard)
  }

  /// A server that greets each client as SMTP servers do, a few bytes at a time if it is told so.
  private func serveSMTP(_ listener: ListeningSocket, count: Int, dribbling: Bool = false) -> Job<
    Int
  > {
    Job("smtp") {
      for _ in 0..<count {
        let client = try listener.accept()
        func say(_ text: String) throws {
          for piece in dribbling ? text.map(String.init) : [text] {
            try client.write(piece)
            if dribbling { pause(ms: 1) }
          }
        }
        try say("220-mx wait\r\n220 mx\r\n")
        #expect(try client.readExactly(18) == Array("EHLO [127.0.0.1]\r\n".utf8))
        try say("250-mx\r\n250 SIZE\r\n")
        #expect(try client.readExactly(6) == Array("QUIT\r\n".utf8))
        try say("221 bye\r\n")
        client.close()
      }
      return count
    }
  }

  @Test(arguments: [false, true]) func wholeDialogues(dribbling: Bool) throws {
    let listener = try ListeningSocket()
    let server = serveSMTP(listener, count: 3, dribbling: dribbling)
    try withChecks([target(listener.endpoint, .smtp)]) { checks, heard in
      try server.value()
      #expect(heard.all.isEmpty)
      #expect(checks.reports.values.allSatisfy { $0.isUp })
    }
  }

  @Test func refusedFromTheStart() throws {
    let closed = Endpoint.loopback(ReservedPort.take())
    try withChecks([target(closed, .connect)]) { checks, heard in
      try wait(for: "it to be down") { heard.all == ["down: connection refused"] }
      #expect(
        checks.reports.values.first == CheckReport(isUp: false, trouble: "connection refused"))
      let listener = try ListeningSocket(closed)
      try wait(for: "it to be up") { heard.all.last == "up" }
      listener.close()
      try wait(for: "it to be down again") { heard.all.count == 3 }
      #expect(heard.all.last == "down: connection refused")
    }
  }

  @Test func blackHole() throws {
    let hole = try BlackHole()
    try withChecks([target(hole.endpoint, .connect, timeoutMs: 100)]) { _, heard in
      try wait(for: "it to be down") { heard.all == ["down: timed out while connecting"] }
    }
  }

  /// It accepts, and then nothing.
  @Test func hangs() throws {
    let listener = try ListeningSocket()
    try withChecks([target(listener.endpoint, .imap, timeoutMs: 100)]) { _, heard in
      try wait(for: "it to be down") { heard.all == ["down: timed out waiting for a greeting"] }
    }
  }

  @Test func resetsAndCloses() throws {
    let listener = try ListeningSocket()
    let server = Job("resets") {
      for index in 0..<4 {
        let client = try listener.accept()
        if index % 2 == 0 { client.reset() } else { client.close() }
      }
    }
    try withChecks([target(listener.endpoint, .pop3, fall: 1)]) { checks, heard in
      try wait(for: "it to be down") { heard.all.count == 1 }
      #expect(heard.all[0].hasPrefix("down: connection reset"))
      try wait(for: "the other failure") {
        checks.reports.values.first?.trouble == "closed without a greeting"
      }
      try server.value()
    }
  }

  @Test func unixSockets() throws {
    let directory = try TemporaryDirectory()
    let listener = try ListeningSocket(.unix(directory.file("s")))
    try withChecks([target(listener.endpoint, .exchange(send: [], expect: [5]))]) { checks, heard in
      try listener.accept().write([1, 5])
      try listener.accept().write([5])
      #expect(heard.all.isEmpty)
      listener.close()
      try wait(for: "it to be down") { heard.all.first?.hasPrefix("down: No such file") ?? false }
    }
  }

  /// Section 2.2 of the specification: LOCAL for "connections established … for health checks".
  @Test func headersFirst() throws {
    let listener = try ListeningSocket()
    let local = target(listener.endpoint, .pop3, header: .local)
    try withChecks([local]) { _, _ in
      let client = try listener.accept()
      #expect(
        try client.readExactly(16) == [
          0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x20, 0, 0, 0,
        ])
    }
    let own = target(listener.endpoint, .pop3, header: .own)
    try withChecks([own]) { _, _ in
      let client = try listener.accept()
      let ports = "\(client.remote.port) \(listener.port)"
      let line = "PROXY TCP4 127.0.0.1 127.0.0.1 \(ports)\r\n"
      #expect(try client.readExactly(line.utf8.count) == Array(line.utf8))
    }
    var settings = own.settings
    settings.sendsHeader = false
    let off = CheckTarget(address: own.address, source: nil, header: .own, settings: settings)
    #expect(off.header == .none)
  }

  /// What stays keeps its state; what goes is let go of.
  @Test func changes() throws {
    let closed = target(.loopback(ReservedPort.take()), .connect)
    let listener = try ListeningSocket()
    let open = target(listener.endpoint, .connect)
    try withChecks([closed]) { checks, heard in
      try wait(for: "it to be down") { heard.all.count == 1 }
      checks.install([closed, open])
      try wait(for: "the other to be checked") { try listener.accept(withinMs: 10) != nil }
      #expect(checks.reports[closed]?.isUp == false)
      #expect(heard.all.count == 1)
      checks.install([open])
      try wait(for: "it to be gone") { checks.reports[closed] == nil }
      #expect(checks.reports[open]?.isUp == true)
    }
  }

  /// Five hundred servers on one thread, each checked again and again.
  @Test func manyServers() throws {
    let listener = try ListeningSocket()
    var targets: Set<CheckTarget> = []
    for last in 1...250 {
      for second in 0..<2 {
        targets.insert(target(.inet("127.0.\(second).\(last)", listener.port), .connect))
      }
    }
    // Only one of the addresses has a listener.
    try withChecks(targets) { checks, heard in
      try wait(for: "all but one to be down, not \(heard.all.count)") { heard.all.count >= 499 }
      #expect(checks.reports.values.count { $0.isUp } == 1)
      #expect(heard.all.count == 499)
    }
  }
}
