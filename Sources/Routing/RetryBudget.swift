/// What keeps retries from making a flood of the failure of a whole backend: a share of the new
/// connections of the last ten to twenty seconds, and a few, so that a quiet backend has some too.
/// Each worker has its own; their sum is the same share.
package struct RetryBudget: Sendable {
  /// Retries that need no connections to be a share of.
  package static let reserve = 10
  package static let windowMs: UInt64 = 10_000

  private struct Window {
    var connections = 0
    var retries = 0
  }

  private var older = Window()
  private var newer = Window()
  private var endsMs: UInt64 = 0

  package init() {}

  /// A connection that is no retry.
  package mutating func note(nowMs: UInt64) {
    roll(nowMs)
    newer.connections += 1
  }

  /// Whether one more retry stays within `percent` of the connections; then it counts as one.
  package mutating func take(percent: Int, nowMs: UInt64) -> Bool {
    roll(nowMs)
    let allowed =
      RetryBudget.reserve + (older.connections + newer.connections) * percent / 100
    guard percent > 0, older.retries + newer.retries < allowed else { return false }
    newer.retries += 1
    return true
  }

  private mutating func roll(_ nowMs: UInt64) {
    guard nowMs >= endsMs else { return }
    older = nowMs < endsMs + RetryBudget.windowMs ? newer : Window()
    newer = Window()
    endsMs = nowMs + RetryBudget.windowMs
  }
}
