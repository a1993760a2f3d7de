import Config
import Control
import DataPlane
import Routing
import Testing

/// When connections of servers that are down are ended, by a clock of the test's own.
@Suite struct DownServersTests {
  private static func name(_ server: String) -> ServerName {
    ServerName(backend: "b", server: server)
  }

  private let one = name("1")
  private let two = name("2")

  @Test func kept() {
    var downs = DownServers()
    downs.follow([one: .keep], nowNs: 0)
    #expect(downs.nextNs == nil && downs.due(nowNs: .max) == [])
  }

  @Test func atOnceAndOnce() {
    var downs = DownServers()
    downs.follow([one: .close(afterMs: 0), two: .close(afterMs: 0)], nowNs: 5)
    #expect(downs.due(nowNs: 5) == [one, two])
    downs.follow([one: .close(afterMs: 0), two: .close(afterMs: 0)], nowNs: 6)
    #expect(downs.nextNs == nil && downs.due(nowNs: 7) == [])
    // Up, and down again.
    downs.follow([one: .close(afterMs: 0)], nowNs: 8)
    downs.follow([one: .close(afterMs: 0), two: .close(afterMs: 0)], nowNs: 9)
    #expect(downs.due(nowNs: 9) == [two])
  }

  @Test func afterADeadline() {
    var downs = DownServers()
    downs.follow([one: .close(afterMs: 1000)], nowNs: 0)
    downs.follow([one: .close(afterMs: 1000), two: .close(afterMs: 1000)], nowNs: 500_000_000)
    #expect(downs.nextNs == 1_000_000_000)
    #expect(downs.due(nowNs: 999_999_999) == [])
    #expect(downs.due(nowNs: 1_000_000_000) == [one])
    // Up in time.
    downs.follow([one: .close(afterMs: 1000)], nowNs: 1_100_000_000)
    #expect(downs.nextNs == nil && downs.due(nowNs: 2_000_000_000) == [])
  }
}
