/// Lets only so many lines about rejections for one reason through in a second: a flood of
/// connections that are turned away must not become a flood of lines. One per worker.
struct RejectionGate {
  /// For one reason, in each worker.
  static let linesPerSecond = 10

  private struct Second {
    var number: UInt64 = 0
    var lines = 0
  }

  private var seconds: [String: Second] = [:]
  /// By reason: lines that were left out since they were last taken.
  private(set) var suppressed: [String: UInt64] = [:]

  mutating func admits(reason: String, wallMs: UInt64) -> Bool {
    let number = wallMs / 1000
    // No more entries than there are reasons.
    var second = seconds[reason] ?? Second()
    if second.number != number { second = Second(number: number) }
    second.lines += 1
    seconds[reason] = second
    if second.lines <= RejectionGate.linesPerSecond { return true }
    suppressed[reason, default: 0] += 1
    return false
  }

  mutating func takeSuppressed() -> [String: UInt64] {
    defer { suppressed = [:] }
    return suppressed
  }
}
