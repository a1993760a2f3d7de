package import DataPlane

/// Whether a server's own connections speak against it: failed dials and early resets, one after
/// the other, take it out for a while, and for twice as long each time. Pure.
package struct Ejection: Hashable, Sendable {
  package struct Terms: Hashable, Sendable {
    /// Failures in a row; a dial that timed out counts as all of them, since a client waited for
    /// the whole time-out.
    package var failures: Int
    package var timeNs: UInt64
    package var longestNs: UInt64

    package init(failures: Int, timeMs: UInt32, longestMs: UInt32) {
      self.failures = failures
      timeNs = UInt64(timeMs) * 1_000_000
      longestNs = UInt64(max(timeMs, longestMs)) * 1_000_000
    }
  }

  package typealias Failure = FailureBoard.Failure

  /// The latest one.
  package private(set) var last: Failure?
  private var count = 0
  private var lastNs: UInt64 = 0
  /// Ejections without a good connection in between.
  private var level: UInt64 = 0
  package private(set) var untilNs: UInt64?
  /// It was let in again, and has not shown yet whether it works.
  private var isOnTrial = false

  /// Failures that are further apart than this have nothing to do with each other.
  package static let windowNs: UInt64 = 30_000_000_000
  private static let mostDoublings: UInt64 = 16

  /// Whether it is of interest that a connection to it works.
  package var isSuspect: Bool { untilNs == nil && (count > 0 || level > 0) }

  package init() {}

  /// - Returns: how long it is out from now on, in nanoseconds, when this ejects it.
  package mutating func failed(_ failure: Failure, _ terms: Terms, nowNs: UInt64) -> UInt64? {
    // Connections from before the ejection end after it.
    guard untilNs == nil else { return nil }
    if nowNs - lastNs > Ejection.windowNs { count = 0 }
    lastNs = nowNs
    last = failure
    count += failure == .timeout ? terms.failures : 1
    guard isOnTrial || count >= terms.failures else { return nil }
    let timeNs = min(terms.timeNs << min(level, Ejection.mostDoublings), terms.longestNs)
    level += 1
    count = 0
    isOnTrial = false
    untilNs = nowNs + timeNs
    return timeNs
  }

  /// A connection to it got its first byte.
  package mutating func worked() {
    guard untilNs == nil else { return }
    count = 0
    level = 0
    isOnTrial = false
  }

  /// - Returns: whether it is let in again now.
  package mutating func look(nowNs: UInt64) -> Bool {
    guard let end = untilNs, nowNs >= end else { return false }
    untilNs = nil
    isOnTrial = true
    return true
  }
}
