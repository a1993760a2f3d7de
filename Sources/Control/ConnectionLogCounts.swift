internal import Synchronization

/// What became of the lines of the connection log since the start.
package struct ConnectionLogCounts: Hashable, Sendable {
  package var written: UInt64 = 0
  /// Lost: the disk is full, or whoever reads them is too slow.
  package var dropped: UInt64 = 0
  /// Left out on purpose: too many rejections for one reason.
  package var suppressed: UInt64 = 0

  package init() {}
}

/// The counts while they grow: workers and the log's thread add, anybody reads.
final class ConnectionLogTally: Sendable {
  private let written = Atomic<UInt64>(0)
  private let dropped = Atomic<UInt64>(0)
  private let suppressed = Atomic<UInt64>(0)

  func wrote(_ lines: UInt64) { written.add(lines, ordering: .relaxed) }
  func drop(_ lines: UInt64) { dropped.add(lines, ordering: .relaxed) }
  func suppress(_ lines: UInt64) { suppressed.add(lines, ordering: .relaxed) }

  var counts: ConnectionLogCounts {
    var counts = ConnectionLogCounts()
    counts.written = written.load(ordering: .relaxed)
    counts.dropped = dropped.load(ordering: .relaxed)
    counts.suppressed = suppressed.load(ordering: .relaxed)
    return counts
  }
}
