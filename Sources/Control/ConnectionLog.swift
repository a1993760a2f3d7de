internal import DataPlane
package import System

/// Writes the lines of ended connections on a thread of its own, so that a full disk or a reader
/// who stands still never holds up a worker.
///
/// Workers append to a bounded queue; what does not fit is dropped and counted, and the count is
/// written as a line of its own as soon as lines can be written again.
package final class ConnectionLog: Sendable {
  /// Bytes of lines waiting to be written: several seconds of a busy proxy's lines (about 400
  /// bytes each), and little enough to be spent without a thought.
  package static let queueLimit = 4 << 20

  private let queue: Guarded<Queue>
  private let wake: EventCounter
  private let writer: Guarded<ConnectionLogWriter>
  private let limit: Int
  private let tally = ConnectionLogTally()
  private let thread: Guarded<Thread?> = Guarded(nil)

  private struct Queue {
    var lines: [UInt8] = []
    var lost: UInt64 = 0
    var reopens = false
    /// Monotonic nanoseconds after which the thread gives up on what is still waiting.
    var closingUntilNs: UInt64?
  }

  /// Appends to the file at `path`, which is opened again when somebody renames or removes it,
  /// and on `reopen()`. [open(2)]
  package convenience init(path: String, queueLimit: Int = queueLimit) throws(SystemError) {
    try self.init(ConnectionLogWriter(path: path), queueLimit)
  }

  /// Writes to an open descriptor: standard output, or a pipe.
  package convenience init(
    _ descriptor: consuming Descriptor, queueLimit: Int = queueLimit
  ) throws(SystemError) {
    try self.init(ConnectionLogWriter(descriptor), queueLimit)
  }

  private init(_ writer: consuming ConnectionLogWriter, _ limit: Int) throws(SystemError) {
    queue = Guarded(Queue())
    wake = try EventCounter()
    self.writer = Guarded(writer)
    self.limit = limit
    let started = try Thread(name: "log") { [self] in
      self.writer.withLock { run(&$0) }
    }
    thread.withLock { $0 = started }
  }

  /// Queues whole lines, each with its line feed; any thread may call it and none ever waits for
  /// the disk. Lines that do not fit together are dropped together.
  package func append(_ lines: [UInt8]) {
    guard !lines.isEmpty else { return }
    let wasEmpty = queue.withLock { queue in
      guard queue.lines.count + lines.count <= limit else {
        let count = lineCount(lines.span)
        queue.lost += count
        tally.drop(count)
        return false
      }
      let wasEmpty = queue.lines.isEmpty
      queue.lines.append(contentsOf: lines)
      return wasEmpty
    }
    if wasEmpty { wake.signal() }
  }

  package var counts: ConnectionLogCounts { tally.counts }

  /// Opens the file anew before the next line, for whoever renamed it.
  package func reopen() {
    queue.withLock { $0.reopens = true }
    wake.signal()
  }

  /// Writes what waits, for as long as that takes but at most `graceMs`, and ends the thread.
  /// Later lines go nowhere.
  package func close(waitingAtMostMs graceMs: UInt32) {
    let until = Clock.monotonicNs + UInt64(graceMs) * 1_000_000
    queue.withLock { $0.closingUntilNs = until }
    wake.signal()
    thread.withLock { $0 }?.join()
  }

  // ---- on the log's thread -----------------------------------------------------------------

  private func run(_ writer: inout ConnectionLogWriter) {
    var batch: [UInt8] = []
    while true {
      _ = try? Readiness.reading(wake.number, waitingAtMostMs: ConnectionLog.lookEveryMs)
      wake.clear()
      Thread.sleep(ms: ConnectionLog.gatherMs)
      let (lost, reopens, closing) = take(&batch)
      writer.lost += lost
      writer.followFile(reopens: reopens)
      let (before, lines) = (writer.lost, lineCount(batch.span))
      writer.write(batch) { [self] in isPastClosing }
      let failed = writer.lost - min(before, writer.lost)
      tally.drop(min(failed, lines))
      tally.wrote(lines - min(failed, lines))
      // A burst's memory goes back; an everyday batch keeps its own.
      if batch.capacity > ConnectionLog.keptCapacity {
        batch = []
      } else {
        batch.removeAll(keepingCapacity: true)
      }
      if closing { return }
    }
  }

  /// The file's name is looked at this often, so a rename is noticed within a second.
  private static let lookEveryMs: Int32 = 1000
  /// What a batch of lines keeps for the next one: 5 ms of 30,000 connections a second.
  private static let keptCapacity = 64 * 1024
  /// Lines gather this long before they are taken: at most 200 wakes and writes a second.
  private static let gatherMs: UInt32 = 5

  private func take(_ batch: inout [UInt8]) -> (lost: UInt64, reopens: Bool, closing: Bool) {
    queue.withLock { queue in
      swap(&batch, &queue.lines)
      defer { (queue.lost, queue.reopens) = (0, false) }
      return (queue.lost, queue.reopens, queue.closingUntilNs != nil)
    }
  }

  private var isPastClosing: Bool {
    queue.withLock { queue in
      queue.closingUntilNs.map { Clock.monotonicNs >= $0 } ?? false
    }
  }
}

func lineCount(_ lines: Span<UInt8>) -> UInt64 {
  var count: UInt64 = 0
  for index in lines.indices where lines[index] == UInt8(ascii: "\n") { count += 1 }
  return count
}
