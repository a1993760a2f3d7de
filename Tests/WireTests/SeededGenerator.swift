@testable import Wire

/// SplitMix64: the same seed gives the same values on every machine, so a failure can be repeated.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
    return word ^ word >> 31
  }

  mutating func below(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &self) }

  mutating func bytes(atMost limit: Int) -> [UInt8] {
    (0..<below(limit + 1)).map { _ in UInt8(truncatingIfNeeded: next()) }
  }

  /// An IPv6 word in which runs of zero groups are common.
  mutating func sparseWord() -> UInt64 {
    var word = next()
    for group in 0..<4 where below(2) == 0 { word &= ~(0xffff << UInt64(16 * group)) }
    return word
  }

  mutating func socketAddress(unix: Bool) -> SocketAddress {
    let port = UInt16(truncatingIfNeeded: next())
    switch below(unix ? 4 : 3) {
    case 0: return .ipv4(UInt32(truncatingIfNeeded: next()), port: port)
    case 1: return .ipv6(high: sparseWord(), low: sparseWord(), port: port, scope: 0)
    case 2: return SocketAddress.ipv4(UInt32(truncatingIfNeeded: next()), port: port).mapped()
    default:
      let name = (0..<1 + below(100)).map { _ in "abcdefgh/-_.".randomElement(using: &self)! }
      return .unix(path: (below(4) == 0 ? "\0" : "/") + String(name))
    }
  }
}
