internal import DataPlane

/// A worker's way into the connection log: records become lines, and the lines of one turn go
/// out together.
final class RecordLines: RecordSink {
  private let log: ConnectionLog
  private let queue: ConnectionLogQueue
  private var lines: [UInt8] = []
  private var count: UInt64 = 0
  private var gate = RejectionGate()

  init(_ log: ConnectionLog) {
    self.log = log
    queue = log.makeQueue()
  }

  var needs: RecordNeeds { log.line.needs }

  func add(_ record: ConnectionRecord) {
    if let reason = record.reason, !gate.admits(reason: reason, wallMs: record.endedWallMs) {
      return
    }
    log.line.append(record, to: &lines)
    count += 1
  }

  func flush() {
    if !gate.suppressed.isEmpty { log.suppress(gate.takeSuppressed(), in: queue) }
    guard count > 0 else { return }
    log.append(lines, count: count, to: queue)
    lines.removeAll(keepingCapacity: true)
    count = 0
  }
}
