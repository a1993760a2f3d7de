import Config
import Control
import System
import TestSupport
import Testing
import Wire

/// Names resolved by a name server of the test's own, which changes its mind.
@Suite struct NamesTests {
  /// What the names said, for a test to wait for.
  private final class Heard: Sendable {
    private let state = Guarded<(notes: [String], changes: Int)>(([], 0))
    func note(_ note: NameBook.Note) { state.withLock { $0.notes.append(note.sentence) } }
    func change() { state.withLock { $0.changes += 1 } }
    var notes: [String] { state.withLock { $0.notes } }
    var changes: Int { state.withLock { $0.changes } }
  }

  private func withNames(
    minTTLMs: UInt32 = 100, timeoutMs: UInt32 = 5000,
    _ body: (NameServer, Names, Heard) throws -> Void
  ) throws {
    let server = try NameServer()
    defer { server.stop() }
    let heard = Heard()
    let settings = ResolverSettings(
      servers: [SocketAddress(server.address)!], minTTLMs: minTTLMs, timeoutMs: timeoutMs)
    let names = try Names(
      settings, onNote: { heard.note($0) }, onChange: { heard.change() })
    defer { names.stop() }
    try body(server, names, heard)
  }

  private let target = ServerTarget.host(HostName("mail.test")!, port: 25)

  private func addresses(_ names: Names, _ target: ServerTarget? = nil) -> [String] {
    (names.resolution[target ?? self.target] ?? []).map { "\($0.address)" }
  }

  private func expect(_ names: Names, _ wanted: [String], _ target: ServerTarget? = nil) throws {
    try wait(for: "\(wanted) instead of \(addresses(names, target))") {
      addresses(names, target) == wanted
    }
  }

  @Test func answersThatChange() throws {
    try withNames { server, names, heard in
      server.set("mail.test", .a(127, 0, 0, 2, ttl: 0), .a(127, 0, 0, 3, ttl: 0))
      names.want([target])
      names.settle([target], atMostMs: 10_000)
      #expect(addresses(names) == ["127.0.0.2:25", "127.0.0.3:25"])
      #expect(heard.notes == ["server name mail.test resolves to 127.0.0.2, 127.0.0.3"])
      server.set("mail.test", .a(127, 0, 0, 3, ttl: 0), .a(127, 0, 0, 4, ttl: 0))
      try expect(names, ["127.0.0.3:25", "127.0.0.4:25"])
      #expect(heard.changes >= 2)
      try wait(for: "the note of it") {
        heard.notes.last
          == "server name mail.test has changed: 127.0.0.4 is new, 127.0.0.2 is gone"
      }
    }
  }

  @Test func bothFamiliesAlternate() throws {
    try withNames { server, names, _ in
      server.set("mail.test", .a(127, 0, 0, 2), .a(127, 0, 0, 3), .loopback6())
      names.want([target])
      try expect(names, ["[::1]:25", "127.0.0.2:25", "127.0.0.3:25"])
    }
  }

  /// A name server that denies the name, fails, refuses, says nothing or talks nonsense: the last
  /// good answer stays, and is replaced by the next good one.
  @Test(arguments: [
    (NameServer.Answer.code(3), "no such name"), (.code(2), "every name server failed or refused"),
    (.code(5), "every name server failed or refused"),
    (.silence, "no name server answered in time"), (.records([]), "it has no address"),
    (.bytes([0x81]), "no name server answered in time"),
  ])
  func liesAndSilence(answer: NameServer.Answer, reason: String) throws {
    // Where an answer comes, a busy machine is no reason to go without it.
    let isSilent = reason == "no name server answered in time"
    try withNames(timeoutMs: isSilent ? 200 : 5000) { server, names, heard in
      server.set("mail.test", .a(127, 0, 0, 2, ttl: 0))
      names.want([target])
      try expect(names, ["127.0.0.2:25"])
      server.set("mail.test", answer)
      try wait(for: "the trouble to be told: \(heard.notes)") { heard.notes.count >= 2 }
      let asked = server.count(1, "mail.test")
      try wait(for: "more questions") { server.count(1, "mail.test") >= asked + 2 }
      #expect(addresses(names) == ["127.0.0.2:25"])
      #expect(heard.notes[1] == "server name mail.test: \(reason); its last address is kept")
      #expect(heard.notes.count == 2)
      server.set("mail.test", .a(127, 0, 0, 5, ttl: 60))
      try expect(names, ["127.0.0.5:25"])
    }
  }

  @Test func nothingFirst() throws {
    try withNames { server, names, heard in
      names.want([target])
      names.settle([target], atMostMs: 10_000)
      #expect(addresses(names) == [])
      #expect(
        heard.notes == ["server name mail.test: no such name; it has no servers until it resolves"])
      server.set("mail.test", .a(127, 0, 0, 2))
      try expect(names, ["127.0.0.2:25"])
    }
  }

  /// RFC 1035, section 4.2.1: what does not fit is truncated, and asked for again by TCP.
  @Test func truncatedRepliesComeByTCP() throws {
    try withNames { server, names, _ in
      let many = (1...60).map { NameServer.Record.a(127, 0, 1, UInt8($0)) }
      server.set("mail.test", type: 1, .truncated(many))
      names.want([target])
      try wait(for: "60 servers") { addresses(names).count == 60 }
      #expect(server.count(1, "mail.test") == 2)
    }
  }

  /// Far more than a backend can have servers, by UDP in one piece and by TCP.
  @Test func oversizedReplies() throws {
    try withNames { server, names, _ in
      let many = (0..<3000).map { NameServer.Record.a(127, 2, UInt8($0 >> 8), UInt8($0 & 255)) }
      server.set("mail.test", type: 1, .truncated(many))
      names.want([target])
      try wait(for: "as many servers as may be") {
        addresses(names).count == NameBook.valuesLimit
      }
    }
  }

  @Test func aliases() throws {
    try withNames { server, names, _ in
      server.set(
        "mail.test", type: 1, .records([.alias("real.test"), .a(127, 0, 0, 7).of("real.test")]))
      names.want([target])
      try expect(names, ["127.0.0.7:25"])
    }
  }

  /// A TTL of 0 asks as often as the floor allows, and not more often.
  @Test func floor() throws {
    try withNames(minTTLMs: 250) { server, names, _ in
      server.set("mail.test", .a(127, 0, 0, 2, ttl: 0))
      let startUs = monotonicUs()
      names.want([target])
      try wait(for: "the fourth question") { server.count(1, "mail.test") >= 4 }
      // Three floors lie between four questions, whatever else this machine does.
      #expect(monotonicUs() - startUs >= 740_000)
    }
  }

  @Test func hurry() throws {
    try withNames { server, names, _ in
      server.set("mail.test", .a(127, 0, 0, 2, ttl: 3600))
      names.want([target])
      try expect(names, ["127.0.0.2:25"])
      server.set("mail.test", .a(127, 0, 0, 3, ttl: 3600))
      names.hurry(target)
      try expect(names, ["127.0.0.3:25"])
    }
  }

  @Test func services() throws {
    try withNames { server, names, _ in
      let service = ServerTarget.service(HostName("_imap._tcp.test")!)
      server.set(
        "_imap._tcp.test", .service(10, 3, 143, "a.test"), .service(10, 1, 143, "b.test"),
        .service(20, 0, 1143, "c.test"))
      server.set("a.test", .a(127, 0, 0, 2))
      server.set("b.test", .a(127, 0, 0, 3))
      server.set("c.test", .a(127, 0, 0, 4))
      names.want([service])
      names.settle([service], atMostMs: 10_000)
      let found = names.resolution[service] ?? []
      #expect(
        found.map { "\($0.address) \($0.weight ?? 0) \($0.isBackup)" } == [
          "127.0.0.2:143 256 false", "127.0.0.3:143 85 false", "127.0.0.4:1143 1 true",
        ])
    }
  }

  @Test func localNamesNeedNoServer() throws {
    try withNames { server, names, _ in
      let local = ServerTarget.host(HostName("localhost")!, port: 25)
      names.want([local])
      names.settle([local], atMostMs: 10_000)
      #expect(addresses(names, local).contains("127.0.0.1:25"))
      #expect(server.count(1, "localhost") == 0)
    }
  }

  @Test func stopsWithQuestionsUnderWay() throws {
    try withNames(timeoutMs: 60_000) { server, names, _ in
      server.set("mail.test", .silence)
      names.want([target])
      try wait(for: "the question") { server.count(1, "mail.test") > 0 }
    }
  }
}
