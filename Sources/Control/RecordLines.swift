internal import DataPlane

/// A worker's way into the connection log: records become lines, and the lines of one turn go
/// out together.
final class RecordLines: RecordSink {
  private let logs: LogSwitch
  private var version: UInt64 = 0
  private var target: (log: ConnectionLog, queue: ConnectionLogQueue)?
  private var lines: [UInt8] = []
  private var count: UInt64 = 0
  private var gate = RejectionGate()

  init(_ logs: LogSwitch) { self.logs = logs }

  convenience init(_ log: ConnectionLog) { self.init(LogSwitch(log)) }

  var needs: RecordNeeds {
    follow()
    return target?.log.line.needs ?? []
  }

  func add(_ record: ConnectionRecord) {
    if count == 0 { follow() }
    guard let target else { return }
    if let reason = record.reason, !gate.admits(reason: reason, wallMs: record.endedWallMs) {
      return
    }
    target.log.line.append(record, to: &lines)
    count += 1
  }

  func flush() {
    guard let target else { return }
    if !gate.suppressed.isEmpty { target.log.suppress(gate.takeSuppressed(), in: target.queue) }
    guard count > 0 else { return }
    target.log.append(lines, count: count, to: target.queue)
    lines.removeAll(keepingCapacity: true)
    count = 0
  }

  /// Whether another log is in force; what was gathered still goes to the one it was made for.
  private func follow() {
    let now = logs.version
    guard now != version else { return }
    flush()
    version = now
    target = logs.current.map { ($0, $0.makeQueue()) }
  }
}
