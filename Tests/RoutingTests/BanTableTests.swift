import Routing
import Testing
import Wire

@Suite struct BanTableTests {
  private func entry(_ network: String, _ hits: BanHits = BanHits()) throws -> BanTable.Entry {
    BanTable.Entry(network: try Network(parsing: network), hits: hits)
  }

  /// Whoever lies in several is counted at the narrowest.
  @Test func theNarrowestBanCounts() throws {
    let (wide, narrow, six) = (BanHits(), BanHits(7), BanHits())
    let table = BanTable([
      try entry("192.0.2.0/24", wide), try entry("192.0.2.8/32", narrow),
      try entry("2001:db8::/48", six),
    ])
    for (client, isBanned) in [
      ("192.0.2.7:1", true), ("192.0.2.8:65535", true), ("192.0.3.8:1", false),
      ("[2001:db8:0:5::1]:9", true), ("[2001:db8:1::]:9", false), ("[::ffff:192.0.2.8]:1", true),
    ] {
      #expect(table.turnsAway(try #require(SocketAddress(client))) == isBanned, "\(client)")
    }
    #expect(!table.turnsAway(.unix(path: "")))
    #expect(wide.count == 1 && narrow.count == 9 && six.count == 1)
  }

  /// Counts belong to the ban, not to the table.
  @Test func countsOutliveATable() throws {
    let hits = BanHits()
    let client = try #require(SocketAddress("192.0.2.1:1"))
    #expect(BanTable([try entry("192.0.2.1", hits)]).turnsAway(client))
    #expect(BanTable([try entry("0.0.0.0/0", hits), try entry("::/0")]).turnsAway(client))
    #expect(hits.count == 2)
    #expect(!BanTable().turnsAway(client))
    #expect(BanTable().isEmpty)
  }

  /// As many as there may be are looked up all the same.
  @Test func aHundredThousandBans() throws {
    let entries = (0..<100_000).map {
      BanTable.Entry(network: .ipv4(0x0a00_0000 + UInt32($0) * 4, prefix: 32), hits: BanHits())
    }
    let table = BanTable(entries)
    #expect(table.turnsAway(.ipv4(0x0a00_0000 + 4 * 99_999, port: 1)))
    #expect(!table.turnsAway(.ipv4(0x0a00_0001, port: 1)))
    #expect(entries[99_999].hits.count == 1)
  }
}
