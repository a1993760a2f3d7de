import Routing
import Testing
import Wire

/// Which servers stand in for each other because they are addresses of one name in two families.
@Suite struct NameFamiliesTests {
  private static func six(_ number: UInt64, port: UInt16 = 25) -> SocketAddress {
    .ipv6(high: 0x2001_0db8 << 32, low: number, port: port, scope: 0)
  }
  private static func four(_ number: UInt32, port: UInt16 = 25) -> SocketAddress {
    .ipv4(0xc000_0200 | number, port: port)
  }

  private func table(
    _ servers: [(origin: String?, address: SocketAddress)], retries: Int = 9, limit: UInt32 = 0
  ) -> RouteTable {
    let entries = servers.enumerated().map { index, server in
      ServerEntry(
        name: "\(index)", address: server.address, maxConnections: limit, origin: server.origin)
    }
    let backend = BackendEntry(
      name: "b", servers: 0..<entries.count, retries: retries, header: .none, splice: .inline,
      source: nil, congestion: "")
    let listener = ListenerEntry(
      name: "l", backend: 0, connectMs: 0, idleMs: 0, halfClosedMs: 0, maxAgeMs: 0)
    return RouteTable(listeners: [listener], backends: [backend], servers: entries)
  }

  @Test func onlyOfTheSameNameAndPort() {
    let table = table([
      ("a", Self.six(1)), ("a", Self.four(1)), ("b", Self.four(2)), (nil, Self.six(3)),
      (nil, Self.four(3)), ("c", Self.six(4)), ("c", Self.four(4, port: 26)),
      ("d", .unix(path: "/d")), ("d", Self.six(5)),
    ])
    let families = table.balance.families
    #expect(table.servers.indices.filter { families.haveOther(than: $0) } == [0, 1])
    for spread in 0..<8 {
      let spread = UInt64(spread)
      #expect(table.balance.otherFamily(than: 0, spread: spread) == 1)
      #expect(table.balance.otherFamily(than: 1, spread: spread) == 0)
      #expect(table.balance.otherFamily(than: 2, spread: spread) == nil)
    }
  }

  @Test func whatIsDownOrFullIsLeftOut() {
    let table = table(
      [("a", Self.six(1)), ("a", Self.four(1)), ("a", Self.four(2))], limit: 1)
    let states = table.balance.states
    let numbers = table.series.servers
    func others() -> Set<Int?> {
      Set((0..<8).map { table.balance.otherFamily(than: 0, spread: UInt64($0)) })
    }
    #expect(others() == [1, 2])
    states.mark(numbers[1], .down)
    #expect(others() == [2])
    #expect(states.load.take(numbers[2], limit: 1))
    #expect(others() == [nil])
    states.unmark(numbers[1], .down, nowMs: 0)
    #expect(others() == [1])
    states.mark(numbers[1], .drained)
    #expect(others() == [nil])
  }

  /// First the other family, then everybody else once, whichever of the two has failed last.
  @Test(arguments: [false, true])
  func eachServerOnce(lastIsFirst: Bool) {
    let table = table([
      ("a", Self.six(1)), ("a", Self.six(2)), (nil, Self.four(9)), ("a", Self.four(1)),
      ("a", Self.four(2)), ("a", Self.four(3)), ("b", Self.six(7)),
    ])
    for first in [0, 1, 3, 4, 5] {
      for spread in 0..<60 {
        let spread = UInt64(spread)
        guard case .server(let second) = table.balance.another(
          than: first, of: 0, tries: 1, spread: spread)
        else { return #expect(Bool(false), "nobody after \(first)") }
        #expect((first < 2) == [3, 4, 5].contains(second))
        var (failed, apart) = lastIsFirst ? (first, second) : (second, first)
        var tried = [first, second]
        while tried.count < 7 {
          guard case .server(let next) = table.balance.another(
            than: failed, of: 0, tries: tried.count, spread: spread, apart: apart)
          else { return #expect(Bool(false), "nobody after \(tried)") }
          failed = next
          tried.append(next)
        }
        #expect(Set(tried) == Set(0..<7), "\(tried)")
        apart = failed
      }
    }
  }

  /// With nobody else, the other one of the two is tried again.
  @Test func backAndForth() {
    let table = table([("a", Self.six(1)), ("a", Self.four(1))])
    #expect(table.balance.another(than: 0, of: 0, tries: 1, spread: 5) == .server(1))
    #expect(table.balance.another(than: 1, of: 0, tries: 2, spread: 5, apart: 0) == .server(0))
  }

  /// A second dial is one of the further tries, and the backend's budget pays for it.
  @Test func whoMayRace() {
    let spent = table([("a", Self.six(1)), ("a", Self.four(1))], retries: 1)
    var router = Router(spent, seed: 0)
    #expect(router.rival(of: 0, tries: 1, spread: 0, under: spent) == 1)
    #expect(router.rival(of: 0, tries: 2, spread: 0, under: spent) == nil)
    for _ in 0..<RetryBudget.reserve {
      let mayRace = router.mayRace(0, under: spent)
      #expect(mayRace)
    }
    let mayRace = router.mayRace(0, under: spent)
    #expect(!mayRace)
  }
}
