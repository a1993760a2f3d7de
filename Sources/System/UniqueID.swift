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
    // 130 bits in 26 groups of five; the first group has only the top three of the 128, and the
    // last one of the first half has one bit of `high` at its end.
    UniqueID.append(high >> 1, first: UInt8(truncatingIfNeeded: high >> 61), to: &text)
    UniqueID.append(low, first: UInt8(high & 1) << 4 | UInt8(low >> 60), to: &text)
  }

  /// Appends 13 characters: one for the digit `first`, and those of the lowest 60 bits.
  private static func append(
    _ bits: UInt64, first: UInt8, to text: inout OutputSpan<UInt8>
  ) {
    var digits = SIMD16<UInt8>()
    digits[0] = first
    for place in 1...12 {
      digits[place] = UInt8(truncatingIfNeeded: bits >> UInt64(60 - 5 * place) & 31)
    }
    // Crockford's alphabet: digits, then letters without I, L, O and U.
    var characters = digits &+ UInt8(ascii: "0")
    characters.replace(
      with: characters &+ (UInt8(ascii: "A") - UInt8(ascii: "0") - 10), where: digits .> 9)
    for last: UInt8 in [17, 19, 21, 26] {
      characters.replace(with: characters &+ 1, where: digits .> last)
    }
    for place in 0...12 { text.append(characters[place]) }
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
