import Glibc

/// SplitMix64: small, seeded, the same everywhere.
package struct SeededGenerator: RandomNumberGenerator, Sendable {
  private var state: UInt64
  package init(seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}

/// An endless stream of seeded random bytes whose period is prime, so that a block lost, doubled or
/// swapped, whose size is bound to be a multiple of something rounder, never goes unnoticed.
package final class Pattern: Sendable {
  private static let period = 65_521
  /// The most that can be lent or checked at once.
  package static let longestChunk = 131_072

  private let table: [UInt8]

  package init(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Self.period + Self.longestChunk + 8)
    while bytes.count < Self.period {
      withUnsafeBytes(of: generator.next()) { bytes += $0 }
    }
    bytes.removeLast(bytes.count - Self.period)
    while bytes.count < Self.period + Self.longestChunk {
      bytes += bytes.prefix(Self.period + Self.longestChunk - bytes.count)
    }
    table = bytes
  }

  package func bytes(at offset: Int, count: Int) -> [UInt8] {
    let start = offset % Self.period
    return Array(table[start..<start + count])
  }

  func withBytes<Result>(
    at offset: Int, count: Int, _ body: (UnsafeRawBufferPointer) throws -> Result
  ) rethrows -> Result {
    let start = offset % Self.period
    return try table.withUnsafeBytes { try body(.init(rebasing: $0[start..<start + count])) }
  }

  /// Throws when `received`, which begins `offset` bytes into the stream, differs anywhere.
  package func check(_ received: [UInt8], at offset: Int) throws {
    let start = offset % Self.period
    let same = table.withUnsafeBytes { expected in
      received.withUnsafeBytes { got in
        guard let left = expected.baseAddress, let right = got.baseAddress else { return true }
        return memcmp(left + start, right, got.count) == 0
      }
    }
    guard !same else { return }
    let first = received.indices.first { received[$0] != table[start + $0] } ?? 0
    throw TestFailure(
      "wrong byte at offset \(offset + first) (received up to \(offset + received.count))")
  }
}

/// How an end of a connection writes or reads.
package enum Pace: Sendable, Hashable, CustomStringConvertible {
  /// As fast as it goes, in large chunks.
  case fast
  /// Chunks of 1 to 40,000 bytes (many small, some large) with short pauses now and then.
  case uneven(seed: UInt64)
  /// So many bytes, then so many milliseconds of rest.
  case slow(bytes: Int, restMs: Int)

  package var description: String {
    switch self {
    case .fast: "fast"
    case .uneven(let seed): "uneven(\(seed))"
    case .slow(let bytes, let restMs): "\(bytes) bytes per \(restMs) ms"
    }
  }

  /// Calls `body` with the size of each next chunk until it returns false.
  func run(_ body: (Int) throws -> Bool) rethrows {
    switch self {
    case .fast:
      while try body(65536) {}
    case .uneven(let seed):
      var generator = SeededGenerator(seed: seed)
      let ranges = [1...16, 1...1500, 1000...9000, 15_000...40_000]
      while try body(.random(in: ranges[.random(in: 0..<4, using: &generator)], using: &generator))
      {
        if Int.random(in: 0..<24, using: &generator) == 0 {
          pause(ms: .random(in: 1...6, using: &generator))
        }
      }
    case .slow(let bytes, let restMs):
      while try body(bytes) { pause(ms: restMs) }
    }
  }
}

extension StreamSocket {
  /// Writes the first `count` bytes of the pattern, or those from `offset` on.
  package func send(
    _ pattern: Pattern, from offset: Int = 0, count: Int, pace: Pace = .fast,
    until deadline: Deadline = Deadline(inMs: 60_000)
  ) throws {
    var sent = 0
    try pace.run { wanted in
      guard sent < count else { return false }
      let chunk = min(wanted, count - sent, Pattern.longestChunk)
      try pattern.withBytes(at: offset + sent, count: chunk) { try write($0, until: deadline) }
      sent += chunk
      return sent < count
    }
  }

  /// Reads to the end of the stream or up to `limit` bytes, and checks every byte.
  /// `ending` is nil when the limit ended it.
  @discardableResult
  package func expect(
    _ pattern: Pattern, from offset: Int = 0, limit: Int = .max, pace: Pace = .fast,
    until deadline: Deadline = Deadline(inMs: 60_000)
  ) throws -> (count: Int, ending: Ending?) {
    var count = 0
    var ending: Ending?
    try pace.run { wanted in
      guard count < limit else { return false }
      switch try receive(atMost: min(wanted, limit - count, Pattern.longestChunk), until: deadline)
      {
      case .bytes(let bytes):
        try pattern.check(bytes, at: offset + count)
        count += bytes.count
        return count < limit
      case .ended(let how):
        ending = how
        return false
      }
    }
    return (count, ending)
  }
}
