import Routing
import Testing
import Wire

@Suite struct TrustTableTests {
  private static func table(_ rules: (String, HeaderRule)...) throws -> TrustTable {
    TrustTable(try rules.map { (try Network(parsing: $0.0), $0.1) })
  }

  private static func address(_ host: String) throws -> SocketAddress {
    try #require(SocketAddress(host: host, port: 4711))
  }

  @Test func nobodyIsTrustedUnlessNamed() throws {
    let empty = TrustTable()
    #expect(empty.entries.isEmpty)
    for host in ["0.0.0.0", "127.0.0.1", "255.255.255.255", "[::]", "[::1]", "[::ffff:127.0.0.1]"] {
      #expect(empty.rule(for: try TrustTableTests.address(host)) == .forbid)
    }
    #expect(empty.rule(for: .unix(path: "")) == .forbid)
  }

  @Test(
    arguments: [
      ("9.255.255.255", .forbid), ("10.0.0.0", .require), ("10.0.255.255", .require),
      ("10.1.0.0", .forbid), ("10.1.1.255", .forbid), ("10.1.2.0", .accept),
      ("10.1.2.3", .require), ("10.1.2.4", .accept), ("10.1.2.255", .accept),
      ("10.1.3.0", .forbid), ("10.1.255.255", .forbid), ("10.2.0.0", .require),
      ("10.255.255.255", .require), ("11.0.0.0", .forbid), ("255.255.255.255", .require),
      ("255.255.255.254", .forbid), ("[2001:db8::1]", .require), ("[2001:db8:0:1::]", .accept),
      ("[2001:db8:0:1:ffff:ffff:ffff:ffff]", .accept), ("[2001:db8:0:2::]", .require),
      ("[2001:db9::]", .forbid), ("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", .accept),
      ("[::ffff:10.1.2.3]", .require), ("[::ffff:10.1.2.4]", .accept), ("[::10.1.2.3]", .forbid),
    ] as [(String, HeaderRule)])
  func longestPrefixWins(host: String, rule: HeaderRule) throws {
    let table = try TrustTableTests.table(
      ("10.1.2.0/24", .accept), ("10.0.0.0/8", .require), ("10.1.2.3", .require),
      ("10.1.0.0/16", .forbid), ("255.255.255.255", .require), ("2001:db8::/32", .require),
      ("2001:db8:0:1::/64", .accept), ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", .accept))
    #expect(table.rule(for: try TrustTableTests.address(host)) == rule)
  }

  /// An IPv6 network holds no IPv4 client, mapped or not; a mapped network is an IPv4 one.
  @Test func familiesAreApart() throws {
    let all6 = try TrustTableTests.table(("::/0", .require))
    #expect(all6.rule(for: try TrustTableTests.address("[2001:db8::1]")) == .require)
    #expect(all6.rule(for: try TrustTableTests.address("192.0.2.1")) == .forbid)
    #expect(all6.rule(for: try TrustTableTests.address("[::ffff:192.0.2.1]")) == .forbid)
    let all4 = try TrustTableTests.table(("0.0.0.0/0", .require))
    #expect(all4.rule(for: try TrustTableTests.address("192.0.2.1")) == .require)
    #expect(all4.rule(for: try TrustTableTests.address("[::ffff:192.0.2.1]")) == .require)
    #expect(all4.rule(for: try TrustTableTests.address("[::1]")) == .forbid)
    #expect(all4.rule(for: .unix(path: "/run/x")) == .forbid)
    let mapped = try TrustTableTests.table(("::ffff:192.0.2.0/120", .require))
    #expect(mapped.rule(for: try TrustTableTests.address("192.0.2.255")) == .require)
  }

  /// The last range of a family ends where its numbers do.
  @Test func lastAddresses() throws {
    let last6 = "ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    let table = try TrustTableTests.table(
      ("255.255.255.254", .require), ("\(last6):fffe", .accept), ("ffff::/16", .require))
    #expect(table.rule(for: try TrustTableTests.address("255.255.255.253")) == .forbid)
    #expect(table.rule(for: try TrustTableTests.address("255.255.255.254")) == .require)
    #expect(table.rule(for: try TrustTableTests.address("255.255.255.255")) == .forbid)
    #expect(table.rule(for: try TrustTableTests.address("[\(last6):fffd]")) == .require)
    #expect(table.rule(for: try TrustTableTests.address("[\(last6):fffe]")) == .accept)
    #expect(table.rule(for: try TrustTableTests.address("[\(last6):ffff]")) == .require)
  }

  @Test func unixSources() throws {
    let table = try TrustTableTests.table(("unix", .require), ("127.0.0.0/8", .forbid))
    #expect(table.rule(for: .unix(path: "")) == .require)
    #expect(table.rule(for: .unix(path: "\0name")) == .require)
    #expect(table.rule(for: try TrustTableTests.address("127.0.0.1")) == .forbid)
  }

  @Test func portAndZoneDoNotMatter() throws {
    let table = try TrustTableTests.table(("fe80::/10", .require))
    #expect(table.rule(for: .ipv6(high: 0xfe80 << 48, low: 1, port: 1, scope: 1)) == .require)
    #expect(table.rule(for: .ipv6(high: 0xfe80 << 48, low: 1, port: 2, scope: 9)) == .require)
  }

  @Test func entriesAreWidestFirstAndEachOnce() throws {
    let table = try TrustTableTests.table(
      ("unix", .require), ("2001:db8::/32", .require), ("192.0.2.1", .require),
      ("10.0.0.0/8", .forbid), ("192.0.2.0/24", .accept), ("10.0.0.0/8", .require),
      ("2001::/16", .forbid), ("172.16.0.0/24", .require))
    #expect(
      table.entries.map { "\($0.network) \($0.rule)" } == [
        "10.0.0.0/8 forbid", "172.16.0.0/24 require", "192.0.2.0/24 accept",
        "192.0.2.1/32 require", "2001::/16 forbid", "2001:db8::/32 require", "unix require",
      ])
    // Of two for the same network the first counts.
    #expect(table.rule(for: try TrustTableTests.address("10.1.1.1")) == .forbid)
  }

  /// What the table says is what a look at every network says, for addresses at and beside the
  /// edges of networks that are nested, neighbours, equal or apart.
  @Test(arguments: 1...60) func agreesWithAScan(seed: UInt64) {
    var random = Random(state: seed)
    let entries = (0..<random.below(seed < 57 ? 40 : 2_000)).map { _ in
      (network: random.network(), rule: HeaderRule.allCases[random.below(3)])
    }
    let table = TrustTable(entries)
    var found: [HeaderRule: Int] = [:]
    for run in 0..<2_000 {
      let source = random.address(near: entries.map(\.network))
      let expected = TrustTableTests.scan(entries, source)
      let rule = table.rule(for: source)
      #expect(rule == expected, "seed \(seed), run \(run): \(source)")
      found[rule, default: 0] += 1
    }
    // Were all addresses in no network, or all in one, nothing would be shown.
    if entries.count >= 10 { #expect(found.count == 3, "seed \(seed): \(found)") }
  }

  private static func scan(
    _ entries: [(network: Network, rule: HeaderRule)], _ source: SocketAddress
  ) -> HeaderRule {
    var best: (prefix: Int, rule: HeaderRule) = (-1, .forbid)
    for (network, rule) in entries where network.contains(source) {
      let prefix =
        switch network {
        case .ipv4(_, let prefix), .ipv6(_, _, let prefix): Int(prefix)
        case .unix: 0
        }
      if prefix > best.prefix { best = (prefix, rule) }
    }
    return best.rule
  }
}

/// SplitMix64: the seed alone names a run.
private struct Random {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
    return word ^ word >> 31
  }

  mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }

  /// Few values for each byte, so that networks nest and touch.
  private mutating func crowded(_ bytes: Int) -> UInt64 {
    (0..<bytes).reduce(0) { word, _ in word << 8 | [0, 1, 0x7f, 0x80, 0xfe, 0xff][below(6)] }
  }

  mutating func network() -> Network {
    switch below(20) {
    case 0: return .unix
    case 1..<11:
      let prefix = below(33)
      let mask = UInt32.max << UInt32(32 - prefix)
      return .ipv4(UInt32(crowded(4)) & mask, prefix: UInt8(prefix))
    default:
      let prefix = below(129)
      let mask = UInt128.max << UInt128(128 - prefix)
      let word = (UInt128(crowded(8)) << 64 | UInt128(crowded(8))) & mask
      return .ipv6(
        high: UInt64(truncatingIfNeeded: word >> 64), low: UInt64(truncatingIfNeeded: word),
        prefix: UInt8(prefix))
    }
  }

  /// The first or last address of one of `networks`, or the one before or after, or any other.
  mutating func address(near networks: [Network]) -> SocketAddress {
    let port = UInt16(truncatingIfNeeded: next())
    let network = networks.isEmpty || below(5) == 0 ? network() : networks[below(networks.count)]
    switch network {
    case .unix: return .unix(path: below(2) == 0 ? "" : "/run/x")
    case .ipv4(let base, let prefix):
      let last = base | ~(UInt32.max << UInt32(32 - prefix))
      let word = [base, last, base &- 1, last &+ 1, base ^ UInt32(truncatingIfNeeded: next())]
      let address = SocketAddress.ipv4(word[below(word.count)], port: port)
      return below(2) == 0 ? address : address.mapped()
    case .ipv6(let high, let low, let prefix):
      let base = UInt128(high) << 64 | UInt128(low)
      let last = base | ~(UInt128.max << UInt128(128 - Int(prefix)))
      let any = UInt128(next()) << 64 | UInt128(next())
      let word = [base, last, base &- 1, last &+ 1, base ^ any][below(5)]
      return .ipv6(
        high: UInt64(truncatingIfNeeded: word >> 64), low: UInt64(truncatingIfNeeded: word),
        port: port, scope: 0)
    }
  }
}
