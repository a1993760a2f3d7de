import AdminAPI
import Routing
import System
import TestSupport
import Testing
import Wire

@testable import Control

@Suite struct BanListTests {
  private func network(_ text: String) throws -> Network { try Network(parsing: text) }

  @Test func bansAreKeptAndReadBack() throws {
    let directory = try TemporaryDirectory()
    let list = BanList(directory: directory.path)
    #expect(list.all.isEmpty && list.table.isEmpty)
    let later = Clock.wallMs + 3_600_000
    _ = try list.add(network("192.0.2.0/24"), untilMs: later, reason: "a\nb \u{1b}[31m")
    _ = try list.add(network("2001:db8::1"), untilMs: nil, reason: nil)
    #expect(list.table.turnsAway(.ipv4(0xc000_0201, port: 1)))
    list.save(now: true)
    let again = BanList(directory: directory.path)
    #expect(again.all.map(\.network) == ["192.0.2.0/24", "2001:db8::1/128"])
    #expect(again.all[0].reason == "a\nb \u{1b}[31m")
    #expect(again.all.map(\.hits) == [1, 0])
    #expect(again.all[0].until != nil && again.all[1].until == nil)
    // Nothing that a terminal obeys is in the file, and each ban has one line.
    let text = contents(of: directory.file("bans"))
    #expect(!text.contains("\u{1b}"))
    #expect(text.split(separator: "\n").count == 2)
    #expect(entries(of: directory.path) == ["bans"])
  }

  @Test func theSameNetworkIsBannedOnce() throws {
    let list = BanList(directory: "/nonexistent")
    _ = try list.add(network("192.0.2.1"), untilMs: nil, reason: "one")
    #expect(list.table.turnsAway(.ipv4(0xc000_0201, port: 1)))
    let ban = try list.add(network("192.0.2.1"), untilMs: Clock.wallMs + 9000, reason: "two")
    #expect(ban.hits == 1 && ban.reason == "two" && ban.until != nil)
    #expect(list.count == 1)
    #expect(list.remove(try network("192.0.2.1")))
    #expect(!list.remove(try network("192.0.2.1")))
    #expect(!list.table.turnsAway(.ipv4(0xc000_0201, port: 1)))
  }

  @Test func bansEndByThemselves() throws {
    let list = BanList(directory: "/nonexistent")
    let now = Clock.wallMs
    _ = try list.add(network("192.0.2.1"), untilMs: now + 5000, reason: nil)
    _ = try list.add(network("192.0.2.2"), untilMs: nil, reason: nil)
    #expect(!list.expire(wallMs: now + 4999))
    #expect(list.expire(wallMs: now + 5000))
    #expect(list.all.map(\.network) == ["192.0.2.2/32"])
    #expect(!list.table.turnsAway(.ipv4(0xc000_0201, port: 1)))
    #expect(!list.expire(wallMs: .max))
  }

  /// The file is written at most once a second, and a clock that is set back does not stop it.
  @Test func aBurstIsWrittenOnce() throws {
    let directory = try TemporaryDirectory()
    let list = BanList(directory: directory.path)
    _ = try list.add(network("192.0.2.1"), untilMs: nil, reason: nil)
    list.save()
    _ = try list.add(network("192.0.2.2"), untilMs: nil, reason: nil)
    list.save()
    #expect(contents(of: directory.file("bans")).split(separator: "\n").count == 1)
    let wait = try #require(list.waitMs(wallMs: Clock.wallMs))
    #expect(wait <= 1000)
    list.save(now: true)
    #expect(contents(of: directory.file("bans")).split(separator: "\n").count == 2)
    #expect(list.waitMs(wallMs: Clock.wallMs) == nil)
  }

  @Test func thereAreNoMoreThanSoMany() throws {
    let directory = try TemporaryDirectory()
    let lines = (0..<BanList.limit).map {
      "{\"network\":\"\(Network.ipv4(0x0a00_0000 + UInt32($0), prefix: 32))\"}\n"
    }
    try writeFile(directory.file("bans"), lines.joined())
    let list = BanList(directory: directory.path)
    #expect(list.count == BanList.limit)
    #expect(throws: Failure.self) {
      try list.add(network("192.0.2.1"), untilMs: nil, reason: nil)
    }
    _ = try list.add(network("10.0.0.0"), untilMs: nil, reason: "again")
  }

  @Test func whatIsNoBanIsLeftOut() throws {
    let directory = try TemporaryDirectory()
    try writeFile(
      directory.file("bans"),
      "{\"network\":\"192.0.2.1\"}\nnonsense\n{\"network\":\"x\"}\n{}\n"
        + "{\"network\":\"192.0.2.2\",\"untilMs\":1}\n")
    #expect(BanList(directory: directory.path).all.map(\.network) == ["192.0.2.1/32"])
  }
}
