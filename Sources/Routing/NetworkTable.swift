package import Wire

/// A value for each address: that of the network with the longest prefix of those that hold it.
///
/// Networks are nested or apart, never crossed. They are laid flat once, as ranges that do not
/// overlap, so that a look-up is one binary search over first addresses: 15 steps for the 20,001
/// ranges that 10,000 networks can make at most.
package struct NetworkTable<Value: Equatable & Sendable>: Sendable {
  private let ipv4: Ranges<UInt32, Value>
  private let ipv6: Ranges<UInt128, Value>
  private let unix: Value

  /// - Parameters:
  ///   - entries: each network once.
  ///   - otherwise: for addresses in none of them.
  package init(_ entries: [(network: Network, value: Value)], otherwise: Value) {
    var ranges4: [Ranges<UInt32, Value>.Range] = []
    var ranges6: [Ranges<UInt128, Value>.Range] = []
    var unix = otherwise
    for (network, value) in entries {
      switch network {
      case .ipv4(let base, let prefix):
        ranges4.append(.init(base, prefix: Int(prefix), value))
      case .ipv6(let high, let low, let prefix):
        ranges6.append(.init(UInt128(high: high, low: low), prefix: Int(prefix), value))
      case .unix: unix = value
      }
    }
    ipv4 = Ranges(ranges4, otherwise: otherwise)
    ipv6 = Ranges(ranges6, otherwise: otherwise)
    self.unix = unix
  }

  /// An IPv4-mapped address is looked up as the IPv4 address it stands for; port and zone do not
  /// matter. Allocates nothing.
  package func value(for address: SocketAddress) -> Value {
    switch address {
    case .ipv4(let word, _): ipv4.value(for: word)
    // Written out, since `unmapped()` would copy the path of a Unix address.
    case .ipv6(0, let low, _, _) where low >> 32 == 0xffff:
      ipv4.value(for: UInt32(truncatingIfNeeded: low))
    case .ipv6(let high, let low, _, _): ipv6.value(for: UInt128(high: high, low: low))
    case .unix: unix
    }
  }
}

/// The whole space of one address family, cut into ranges with one value each.
private struct Ranges<
  Word: FixedWidthInteger & UnsignedInteger & Sendable, Value: Equatable & Sendable
>: Sendable {
  /// The addresses of one network.
  struct Range {
    let first: Word
    let last: Word
    let value: Value

    init(_ base: Word, prefix: Int, _ value: Value) {
      first = base
      last = base | ~(Word.max << (Word.bitWidth - prefix))
      self.value = value
    }
  }

  /// The first address of each range; ascending, beginning with 0.
  private var firsts: [Word] = [0]
  /// By range; no two neighbours are equal.
  private var values: [Value]
  private let otherwise: Value

  init(_ ranges: [Range], otherwise: Value) {
    values = [otherwise]
    self.otherwise = otherwise
    // Whoever holds others comes before them.
    let sorted = ranges.sorted { ($0.first, $1.last) < ($1.first, $0.last) }
    var holders: [Range] = []
    for range in sorted {
      while let holder = holders.last, holder.last < range.first {
        holders.removeLast()
        leave(holder, to: holders.last)
      }
      cut(at: range.first, range.value)
      holders.append(range)
    }
    while let holder = holders.popLast() { leave(holder, to: holders.last) }
  }

  func value(for word: Word) -> Value {
    // The range begins at or below `low`, and below `high`.
    var (low, high) = (0, firsts.count)
    while high - low > 1 {
      let middle = (low + high) / 2
      if firsts[middle] <= word { low = middle } else { high = middle }
    }
    return values[low]
  }

  /// Beyond the last address of `range`, the network around it decides again.
  private mutating func leave(_ range: Range, to holder: Range?) {
    guard range.last < Word.max else { return }
    cut(at: range.last + 1, holder?.value ?? otherwise)
  }

  /// Everything from `first` on has `value`, until the next cut, which is at or after this one.
  private mutating func cut(at first: Word, _ value: Value) {
    if firsts[firsts.count - 1] == first {
      firsts.removeLast()
      values.removeLast()
    }
    guard values.last != value else { return }
    firsts.append(first)
    values.append(value)
  }
}

extension UInt128 {
  fileprivate init(high: UInt64, low: UInt64) { self = UInt128(high) << 64 | UInt128(low) }
}
