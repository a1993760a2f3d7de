/// SipHash-2-4 with 128 bits of output (Aumasson, Bernstein: "SipHash: a fast short-input PRF", and
/// the authors' reference in C): what is kept of a secret to know it again, for as long as the key
/// lives.
package struct KeyedHash: Sendable {
  private let key0: UInt64
  private let key1: UInt64

  package init(key: (UInt64, UInt64)) { (key0, key1) = key }

  package struct Value: Hashable, Sendable {
    package let low: UInt64
    package let high: UInt64
  }

  package func hash(_ bytes: Span<UInt8>) -> Value {
    var state = State(key0, key1)
    var at = 0
    while bytes.count - at >= 8 {
      state.take(KeyedHash.word(bytes, from: at, count: 8))
      at += 8
    }
    let rest = KeyedHash.word(bytes, from: at, count: bytes.count - at)
    state.take(rest | UInt64(truncatingIfNeeded: bytes.count) << 56)
    return state.finish()
  }

  /// Little-endian.
  private static func word(_ bytes: Span<UInt8>, from start: Int, count: Int) -> UInt64 {
    var word: UInt64 = 0
    for index in 0..<count { word |= UInt64(bytes[start + index]) << UInt64(8 * index) }
    return word
  }

  private struct State {
    var v0: UInt64
    var v1: UInt64
    var v2: UInt64
    var v3: UInt64

    init(_ key0: UInt64, _ key1: UInt64) {
      v0 = key0 ^ 0x736f_6d65_7073_6575
      v1 = key1 ^ 0x646f_7261_6e64_6f6d ^ 0xee
      v2 = key0 ^ 0x6c79_6765_6e65_7261
      v3 = key1 ^ 0x7465_6462_7974_6573
    }

    mutating func take(_ word: UInt64) {
      v3 ^= word
      rounds(2)
      v0 ^= word
    }

    mutating func finish() -> Value {
      v2 ^= 0xee
      rounds(4)
      let low = v0 ^ v1 ^ v2 ^ v3
      v1 ^= 0xdd
      rounds(4)
      return Value(low: low, high: v0 ^ v1 ^ v2 ^ v3)
    }

    private mutating func rounds(_ count: Int) {
      for _ in 0..<count {
        v0 &+= v1
        v1 = v1.rotated(13) ^ v0
        v0 = v0.rotated(32)
        v2 &+= v3
        v3 = v3.rotated(16) ^ v2
        v0 &+= v3
        v3 = v3.rotated(21) ^ v0
        v2 &+= v1
        v1 = v1.rotated(17) ^ v2
        v2 = v2.rotated(32)
      }
    }
  }
}

extension UInt64 {
  fileprivate func rotated(_ bits: UInt64) -> UInt64 { self << bits | self >> (64 - bits) }
}
