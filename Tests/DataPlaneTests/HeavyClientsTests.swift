import Testing
import Wire

@testable import DataPlane

@Suite struct HeavyClientsTests {
  private func client(_ word: UInt32) -> SocketAddress { .ipv4(word, port: UInt16(word & 0xffff)) }

  private func weight(_ heavy: HeavyClients, _ word: UInt32) -> Int {
    Int(heavy.clients.first { $0.address == .ipv4(word, port: 0) }?.weight ?? 0)
  }

  /// "the count of any element … is never underestimated", and who has more than the error is
  /// always there, whoever else comes.
  @Test(arguments: [1, 7, 42] as [UInt64])
  func theHeaviestAreAmongAHundredThousandOthers(seed: UInt64) throws {
    var heavy = HeavyClients(shown: 20, seed: seed)
    for round in 0..<1000 as Range<UInt32> {
      for busy in 1...10 as ClosedRange<UInt32> {
        for _ in 0..<11 - busy { heavy.add(client(busy), 1, wallMs: 1000) }
      }
      for other in 0..<100 as Range<UInt32> {
        heavy.add(client(1_000_000 + round * 100 + other), 1, wallMs: 1000)
      }
    }
    #expect(heavy.clients.count <= 128)
    for busy in 1...3 as ClosedRange<UInt32> {
      let found = weight(heavy, busy)
      #expect(found >= UInt64(11 - busy) * 1000)
    }
    let heaviest = try #require(heavy.clients.max { $0.weight < $1.weight })
    #expect(heaviest.weight < 20_000)
  }

  @Test func countsHalveEveryMinute() {
    var heavy = HeavyClients(shown: 1, seed: 3)
    heavy.add(client(1), 1000, wallMs: 1)
    heavy.halve(wallMs: 60_000)
    var weights = [weight(heavy, 1)]
    heavy.halve(wallMs: 60_002)
    weights.append(weight(heavy, 1))
    heavy.add(client(1), 4, wallMs: 60_002 + 2 * 60_000)
    weights.append(weight(heavy, 1))
    #expect(weights == [1000, 500, 500 / 4 + 4])
    heavy.halve(wallMs: 100 * 60_000)
    #expect(heavy.clients.isEmpty)
  }

  @Test func addressesAreTold() {
    var heavy = HeavyClients(shown: 10, seed: 3)
    heavy.add(.ipv4(0xcb00_7107, port: 5), 1, wallMs: 1)
    heavy.add(.ipv6(high: 0x2001_0db8_0000_0001, low: 77, port: 5, scope: 0), 2, wallMs: 1)
    heavy.add(.ipv6(high: 0x2001_0db8_0000_0001, low: 78, port: 6, scope: 0), 3, wallMs: 1)
    heavy.add(.unix(path: "/run/x"), 9, wallMs: 1)
    let told = Dictionary(
      uniqueKeysWithValues: heavy.clients.map { ($0.address.hostDescription, $0.weight) })
    #expect(told == ["203.0.113.7": 1, "2001:db8:0:1::": 5])
  }

  @Test func whoIsOffKeepsNothing() {
    var heavy = HeavyClients(shown: 0, seed: 3)
    heavy.add(client(1), 1, wallMs: 1)
    #expect(!heavy.isOn && heavy.clients.isEmpty)
  }
}
