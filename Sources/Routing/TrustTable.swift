package import Wire

/// Whether a source sends a PROXY header before its first byte. Section 5 of the specification: the
/// receiver must be told, and "must not try to guess whether the header is present or not".
package enum HeaderRule: Hashable, Sendable, CaseIterable {
  /// It speaks for its clients, and serves nobody without a valid header.
  case require
  /// It may. Outside the specification, and only for listeners whose clients speak first.
  case accept
  /// It is its own client; what it sends is never read as a header.
  case forbid
}

/// Which sources may speak for a client: of the networks that hold an address, the one with the
/// longest prefix decides. An address in none of them is forbidden to.
///
/// Networks are nested or apart, never crossed. They are laid flat once, as ranges that do not
/// overlap, so that a look-up is one binary search over first addresses: 15 steps for the 20,001
/// ranges that 10,000 networks can make at most.
package struct TrustTable: Sendable {
  package struct Entry: Hashable, Sendable {
    package let network: Network
    package let rule: HeaderRule

    package init(network: Network, rule: HeaderRule) {
      self.network = network
      self.rule = rule
    }
  }

  /// For a person to read: IPv4, then IPv6, then `unix`; the widest networks first, equally wide
  /// ones by address. Each network stands here once.
  package let entries: [Entry]
  private let ipv4: RuleRanges<UInt32>
  private let ipv6: RuleRanges<UInt128>
  private let unix: HeaderRule

  /// Of entries for the same network the first counts.
  package init(_ entries: [(network: Network, rule: HeaderRule)] = []) {
    var seen: Set<Network> = []
    seen.reserveCapacity(entries.count)
    var kept: [Entry] = []
    var ranges4: [RuleRanges<UInt32>.Range] = []
    var ranges6: [RuleRanges<UInt128>.Range] = []
    var unix = HeaderRule.forbid
    for (network, rule) in entries where seen.insert(network).inserted {
      kept.append(Entry(network: network, rule: rule))
      switch network {
      case .ipv4(let base, let prefix):
        ranges4.append(.init(base, prefix: Int(prefix), rule))
      case .ipv6(let high, let low, let prefix):
        ranges6.append(.init(UInt128(high: high, low: low), prefix: Int(prefix), rule))
      case .unix: unix = rule
      }
    }
    self.entries = kept.sorted {
      TrustTable.order(of: $0.network) < TrustTable.order(of: $1.network)
    }
    ipv4 = RuleRanges(ranges4)
    ipv6 = RuleRanges(ranges6)
    self.unix = unix
  }

  /// What the real address of a connection's other end says about its header. An IPv4-mapped
  /// address is looked up as the IPv4 address it stands for; port and zone do not matter. Allocates
  /// nothing.
  package func rule(for source: SocketAddress) -> HeaderRule {
    switch source {
    case .ipv4(let word, _): ipv4.rule(for: word)
    // Written out, since `unmapped()` would copy the path of a Unix address.
    case .ipv6(0, let low, _, _) where low >> 32 == 0xffff:
      ipv4.rule(for: UInt32(truncatingIfNeeded: low))
    case .ipv6(let high, let low, _, _): ipv6.rule(for: UInt128(high: high, low: low))
    case .unix: unix
    }
  }

  private static func order(of network: Network) -> (Int, UInt8, UInt128) {
    switch network {
    case .ipv4(let base, let prefix): (0, prefix, UInt128(base))
    case .ipv6(let high, let low, let prefix): (1, prefix, UInt128(high: high, low: low))
    case .unix: (2, 0, 0)
    }
  }
}

/// The whole space of one address family, cut into ranges with one rule each.
private struct RuleRanges<Word: FixedWidthInteger & UnsignedInteger & Sendable>: Sendable {
  /// The addresses of one network.
  struct Range {
    let first: Word
    let last: Word
    let rule: HeaderRule

    init(_ base: Word, prefix: Int, _ rule: HeaderRule) {
      first = base
      last = base | ~(Word.max << (Word.bitWidth - prefix))
      self.rule = rule
    }
  }

  /// The first address of each range; ascending, beginning with 0.
  private var firsts: [Word] = [0]
  /// By range; no two neighbours are equal.
  private var rules: [HeaderRule] = [.forbid]

  init(_ ranges: [Range]) {
    // Whoever holds others comes before them.
    let sorted = ranges.sorted { ($0.first, $1.last) < ($1.first, $0.last) }
    var holders: [Range] = []
    for range in sorted {
      while let holder = holders.last, holder.last < range.first {
        holders.removeLast()
        leave(holder, to: holders.last)
      }
      cut(at: range.first, range.rule)
      holders.append(range)
    }
    while let holder = holders.popLast() { leave(holder, to: holders.last) }
  }

  func rule(for word: Word) -> HeaderRule {
    // The range begins at or below `low`, and below `high`.
    var (low, high) = (0, firsts.count)
    while high - low > 1 {
      let middle = (low + high) / 2
      if firsts[middle] <= word { low = middle } else { high = middle }
    }
    return rules[low]
  }

  /// Beyond the last address of `range`, the network around it decides again.
  private mutating func leave(_ range: Range, to holder: Range?) {
    guard range.last < Word.max else { return }
    cut(at: range.last + 1, holder?.rule ?? .forbid)
  }

  /// Everything from `first` on has `rule`, until the next cut, which is at or after this one.
  private mutating func cut(at first: Word, _ rule: HeaderRule) {
    if firsts[firsts.count - 1] == first {
      firsts.removeLast()
      rules.removeLast()
    }
    guard rules.last != rule else { return }
    firsts.append(first)
    rules.append(rule)
  }
}

extension UInt128 {
  fileprivate init(high: UInt64, low: UInt64) { self = UInt128(high) << 64 | UInt128(low) }
}
