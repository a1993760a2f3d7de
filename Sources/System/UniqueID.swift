internal import CLibc

/// A name for one connection that sorts by time, in every log it appears in: 48 bits of wall-clock
/// milliseconds, 16 bits that count within the millisecond, 10 bits of the worker's number, 54
/// random bits. Written as 26 characters of Crockford's base 32, as ULIDs are.
///
/// Ids of one worker always ascend; those of several workers do to the millisecond. They are
/// names and no secrets: whoever sees some can guess others.
package struct UniqueID: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let high: UInt64
  package let low: UInt64

  package init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  package static func < (a: UniqueID, b: UniqueID) -> Bool {
    (a.high, a.low) < (b.high, b.low)
  }

  package static let characters = 26

  /// Appends the 26 characters, without allocating when `text` has the room.
  package func append(to text: inout [UInt8]) {
    text.append(addingCapacity: UniqueID.characters) { append(to: &$0) }
  }

  /// Appends the 26 characters to `text`, which has the room.
  package func append(to text: inout OutputSpan<UInt8>) {
    // 130 bits in 26 groups of five, the first two of them zero: two groups, and three times eight.
    let top = UniqueID.characters(of: high >> 56)
    for place: UInt64 in [8, 0] { text.append(UInt8(truncatingIfNeeded: top >> place)) }
    for bits in [high >> 16, high << 24 | low >> 40, low] {
      let eight = UniqueID.characters(of: bits)
      for place: UInt64 in [56, 48, 40, 32, 24, 16, 8, 0] {
        text.append(UInt8(truncatingIfNeeded: eight >> place))
      }
    }
  }

  /// The characters of the lowest 40 bits, eight bytes in one word: a line of the log for every
  /// connection has an id, and one byte after the other took four times as long.
  private static func characters(of bits: UInt64) -> UInt64 {
    let halves = (bits & 0xff_fff0_0000) << 12 | bits & 0xf_ffff
    let quarters = (halves & 0x000f_fc00_000f_fc00) << 6 | halves & 0x0000_03ff_0000_03ff
    let digits = (quarters & 0x03e0_03e0_03e0_03e0) << 3 | quarters & 0x001f_001f_001f_001f
    let ones: UInt64 = 0x0101_0101_0101_0101
    // Crockford's alphabet: digits, then letters without I, L, O and U. No sum leaves its byte.
    var characters = digits &+ ones &* UInt64(UInt8(ascii: "0"))
    for (last, step) in [(9, 7), (17, 1), (19, 1), (21, 1), (26, 1)] as [(UInt64, UInt64)] {
      characters &+= ((digits &+ ones &* (127 - last)) >> 7 & ones) &* step
    }
    return characters
  }

  package var description: String {
    var text: [UInt8] = []
    append(to: &text)
    return String(decoding: text, as: UTF8.self)
  }
}

/// Makes the ids of one worker; no locks, no system calls after its start.
package struct UniqueIDSource: Sendable {
  private let worker: UInt64
  private var lastMs: UInt64 = 0
  private var count: UInt64 = 0
  private var random: UInt64

  /// - Parameter worker: its index; above 1023 numbers repeat, and the random bits tell apart.
  package init(worker: Int) throws(SystemError) {
    var seed: UInt64 = 0
    var bytes = [UInt8](repeating: 0, count: 8)
    _ = try checked(unsafe system_random(&bytes, bytes.count), "getrandom")
    for byte in bytes { seed = seed << 8 | UInt64(byte) }
    self.init(worker: worker, seed: seed)
  }

  /// With a known seed, for tests.
  package init(worker: Int, seed: UInt64) {
    self.worker = UInt64(truncatingIfNeeded: worker) & 0x3ff
    random = seed
  }

  /// The next id. A clock that stands or goes back takes nothing from the order: the last
  /// millisecond is used on, and when its 65,536 numbers are spent, the one after it.
  package mutating func next(wallMs: UInt64) -> UniqueID {
    let now = wallMs & 0xffff_ffff_ffff
    if now > lastMs {
      lastMs = now
      count = 0
    } else if count == 0xffff {
      lastMs += 1
      count = 0
    } else {
      count += 1
    }
    return UniqueID(
      high: lastMs << 16 | count, low: worker << 54 | nextRandom() >> 10)
  }

  /// SplitMix64: one addition and two rounds of mixing; its period is 2^64.
  private mutating func nextRandom() -> UInt64 {
    random &+= 0x9e37_79b9_7f4a_7c15
    var mixed = random
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }
}
