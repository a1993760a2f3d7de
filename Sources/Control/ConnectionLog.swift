package import Config
internal import DataPlane
package import System

/// Writes the lines of ended connections on a thread of its own, so that a full disk or a reader
/// who stands still never holds up a worker.
///
/// Each worker appends to a bounded queue of its own; what does not fit is dropped and counted,
/// and the count is written as a line of its own as soon as lines can be written again.
package final class ConnectionLog: Sendable {
  /// Bytes of lines waiting to be written, of all workers together: several seconds of a busy
  /// proxy's lines (about 400 bytes each), and little enough to be spent without a thought.
  package static let queueLimit = 16 << 20

  /// How lines look, and what they need to know.
  package let line: ConnectionLogLine
  private let queues: Guarded<Queues>
  private let wake: EventCounter
  private let writer: Guarded<ConnectionLogWriter>
  private let queueLimit: Int
  private let tally = ConnectionLogTally()
  private let thread: Guarded<Thread?> = Guarded(nil)

  private struct Queues {
    var all: [ConnectionLogQueue] = []
    var reopens = false
    /// Monotonic nanoseconds after which the thread gives up on what is still waiting.
    var closingUntilNs: UInt64?
  }

  /// The log that the configuration asks for; nil when it asks for none.
  ///
  /// - Throws: when the file cannot be opened, or the journal is not there. [open(2), connect(2)]
  package static func open(
    _ settings: LogSettings, workers: Int
  ) throws(SystemError) -> ConnectionLog? {
    let form: ConnectionLogLine.Form =
      switch settings.format {
      case .json: .json
      case .text: .text
      }
    let limit = queueLimit / max(1, workers)
    switch settings.connections {
    case .off: return nil
    case .stdout:
      let output = try Descriptor.duplicate(of: StandardStream.output.rawValue)
      return try ConnectionLog(
        output, ConnectionLogLine(form, settings.fields), queueLimit: limit)
    case .file(let path):
      return try ConnectionLog(
        path: path, ConnectionLogLine(form, settings.fields), queueLimit: limit)
    case .journal:
      return try ConnectionLog(
        journal: JournalSocket.path, ConnectionLogLine(.journal, settings.fields),
        queueLimit: limit)
    }
  }

  /// Appends to the file at `path`, which is opened again when somebody renames or removes it,
  /// and on `reopen()`. [open(2)]
  package convenience init(
    path: String, _ line: ConnectionLogLine = ConnectionLogLine(.json),
    queueLimit: Int = queueLimit
  ) throws(SystemError) {
    try self.init(ConnectionLogWriter(path: path, line), line, queueLimit)
  }

  /// Writes to an open descriptor: standard output, or a pipe.
  package convenience init(
    _ descriptor: consuming Descriptor, _ line: ConnectionLogLine = ConnectionLogLine(.json),
    queueLimit: Int = queueLimit
  ) throws(SystemError) {
    try self.init(ConnectionLogWriter(descriptor, line), line, queueLimit)
  }

  /// Sends entries to the journal's socket at `path`. [connect(2): ENOENT, ECONNREFUSED]
  package convenience init(
    journal path: String, _ line: ConnectionLogLine = ConnectionLogLine(.journal),
    queueLimit: Int = queueLimit
  ) throws(SystemError) {
    try self.init(ConnectionLogWriter(journal: path, line), line, queueLimit)
  }

  private init(
    _ writer: consuming ConnectionLogWriter, _ line: ConnectionLogLine, _ queueLimit: Int
  ) throws(SystemError) {
    self.line = line
    queues = Guarded(Queues())
    wake = try EventCounter()
    self.writer = Guarded(writer)
    self.queueLimit = queueLimit
    let started = try Thread(name: "log") { [self] in
      self.writer.withLock { run(&$0) }
    }
    thread.withLock { $0 = started }
  }

  /// The queue of one worker, for as long as the log lives.
  func makeQueue() -> ConnectionLogQueue {
    let queue = ConnectionLogQueue(limit: queueLimit)
    queues.withLock { $0.all.append(queue) }
    return queue
  }

  /// Queues whole lines, each with its end; never waits for the disk. Lines that do not fit
  /// together are dropped together.
  func append(_ lines: [UInt8], count: UInt64, to queue: ConnectionLogQueue) {
    let (isTaken, wakes) = queue.append(lines, count: count)
    if !isTaken { tally.drop(count) }
    if wakes { wake.signal() }
  }

  /// Counts lines that a worker left out; a line says so within a second or so.
  func suppress(_ lines: [String: UInt64], in queue: ConnectionLogQueue) {
    tally.suppress(lines.values.reduce(0, +))
    queue.noteSuppressed(lines)
  }

  package var counts: ConnectionLogCounts { tally.counts }

  /// Opens the file anew before the next line, for whoever renamed it.
  package func reopen() {
    queues.withLock { $0.reopens = true }
    wake.signal()
  }

  /// Writes what waits, for as long as that takes but at most `graceMs`, and ends the thread.
  /// Later lines are lost.
  package func close(waitingAtMostMs graceMs: UInt32) {
    let until = Clock.monotonicNs + UInt64(graceMs) * 1_000_000
    queues.withLock { $0.closingUntilNs = until }
    wake.signal()
    thread.withLock { $0 }?.join()
  }

  // ---- on the log's thread -----------------------------------------------------------------

  /// The file's name is looked at this often, so a rename is noticed within a second; and lines
  /// about suppressed ones come as often.
  private static let lookEveryMs: Int32 = 1000
  /// What a batch of lines keeps for the next one: 20 ms of 30,000 connections a second.
  private static let keptCapacity = 256 * 1024
  /// Lines gather this long before they are taken: at most 50 wakes and writes a second.
  private static let gatherMs: UInt32 = 20

  private func run(_ writer: inout ConnectionLogWriter) {
    var batch: [UInt8] = []
    var suppressed: [String: UInt64] = [:]
    var toldNs = Clock.monotonicNs
    while true {
      _ = try? Readiness.reading(wake.number, waitingAtMostMs: ConnectionLog.lookEveryMs)
      wake.clear()
      Thread.sleep(ms: ConnectionLog.gatherMs)
      let (all, reopens, closing) = look()
      writer.followFile(reopens: reopens)
      for queue in all {
        if closing { queue.close() }
        let taken = queue.take(&batch)
        suppressed.merge(taken.suppressed, uniquingKeysWith: +)
        write(&batch, count: taken.count, lost: taken.lost, with: &writer)
      }
      let now = Clock.monotonicNs
      if closing || now - toldNs >= UInt64(ConnectionLog.lookEveryMs) * 1_000_000 {
        toldNs = now
        for (reason, lines) in suppressed.sorted(by: { $0.key < $1.key }) {
          line.append(event: .suppressed(reason: reason, lines: lines), to: &batch)
        }
        let count = UInt64(suppressed.count)
        suppressed = [:]
        write(&batch, count: count, lost: 0, with: &writer)
      }
      if closing { return }
    }
  }

  /// Writes and empties the batch.
  private func write(
    _ batch: inout [UInt8], count: UInt64, lost: UInt64,
    with writer: inout ConnectionLogWriter
  ) {
    writer.lost += lost
    let result = writer.write(batch, count: count) { [self] in isPastClosing }
    tally.wrote(result.written)
    tally.drop(result.lost)
    // A burst's memory goes back; an everyday batch keeps its own.
    if batch.capacity > ConnectionLog.keptCapacity {
      batch = []
    } else {
      batch.removeAll(keepingCapacity: true)
    }
  }

  private func look() -> (queues: [ConnectionLogQueue], reopens: Bool, closing: Bool) {
    queues.withLock { queues in
      defer { queues.reopens = false }
      return (queues.all, queues.reopens, queues.closingUntilNs != nil)
    }
  }

  private var isPastClosing: Bool {
    queues.withLock { queues in
      queues.closingUntilNs.map { Clock.monotonicNs >= $0 } ?? false
    }
  }
}
