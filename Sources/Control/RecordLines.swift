internal import DataPlane

/// A worker's way into the connection log: records become lines, and the lines of one turn go
/// out together.
final class RecordLines: RecordSink {
  private let log: ConnectionLog
  private var lines: [UInt8] = []

  init(_ log: ConnectionLog) { self.log = log }

  func add(_ record: ConnectionRecord) {
    ConnectionLogLine.append(record, to: &lines)
  }

  func flush() {
    guard !lines.isEmpty else { return }
    log.append(lines)
    lines.removeAll(keepingCapacity: true)
  }
}
