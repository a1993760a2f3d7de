internal import Config
internal import System

/// The log thread's own side of the connection log: the open file and what was lost.
struct ConnectionLogWriter: ~Copyable {
  /// Lines that could not be written since the last count that could.
  var lost: UInt64 = 0

  private var descriptor: Descriptor
  private var kind: Files.Kind
  /// Of a file that has a name to follow.
  private let path: String?
  private var identity: Files.Identity?
  private var lookedNs = Clock.monotonicNs
  /// The last write ended within a line; the next one begins with a line feed.
  private var isWithinLine = false
  private var writesFail = false
  private var opensFail = false

  init(path: String) throws(SystemError) {
    let file = try Files.openAppending(path)
    identity = try Files.identity(of: file.number)
    kind = try Files.kind(of: file.number)
    self.path = path
    descriptor = consume file
  }

  init(_ open: consuming Descriptor) throws(SystemError) {
    kind = try Files.kind(of: open.number)
    path = nil
    identity = nil
    descriptor = consume open
  }

  /// Opens the file again when asked to, and when its name has come to mean another file or none.
  /// The old file is better than none, so it stays in use until the new one is open.
  mutating func followFile(reopens: Bool) {
    guard let path else { return }
    let now = Clock.monotonicNs
    guard reopens || now - lookedNs >= 1_000_000_000 else { return }
    lookedNs = now
    if !reopens, identity == (try? Files.identity(at: path)) { return }
    do throws(SystemError) {
      let file = try Files.openAppending(path)
      identity = try Files.identity(of: file.number)
      kind = try Files.kind(of: file.number)
      descriptor = consume file
      isWithinLine = false
      opensFail = false
    } catch {
      if !opensFail {
        Notice.write("the connection log \(path) cannot be opened again (\(error))", .error)
      }
      opensFail = true
    }
  }

  /// Writes whole lines, and the count of lost ones when there are any. Waits for a reader who is
  /// slow until `isOver` says to give up; what fails is counted as lost.
  mutating func write(_ lines: [UInt8], until isOver: () -> Bool) {
    guard writeAll(lines.span, until: isOver) else { return }
    if lost > 0 { writeLost(until: isOver) }
    if writesFail, !lines.isEmpty { writesFail = false }
  }

  private mutating func writeLost(until isOver: () -> Bool) {
    let count = lost
    var line: [UInt8] = []
    line.append(text: "{\"time\":\"")
    Clock.appendTimestamp(wallMs: Clock.wallMs, to: &line)
    line.append(text: "\",\"event\":\"log.dropped\",\"lines\":")
    line.append(decimal: count)
    line.append(text: "}\n")
    if writeAll(line.span, until: isOver) {
      lost = 0
      writesFail = false
      Notice.write("the connection log is written again; \(count) lines were lost", .warning)
    } else {
      lost = count  // the line about them is no connection's line
    }
  }

  private mutating func writeAll(_ lines: Span<UInt8>, until isOver: () -> Bool) -> Bool {
    var done = 0
    do throws(SystemError) {
      if isWithinLine, !lines.isEmpty {
        let lineFeed: [1 of UInt8] = [UInt8(ascii: "\n")]
        isWithinLine = try writeSome(lineFeed.span) == 0
      }
      while done < lines.count {
        let written = try writeSome(next(lines.extracting(done..<lines.count)))
        done += written
        if written > 0 { isWithinLine = lines[done - 1] != UInt8(ascii: "\n") }
        if written == 0 {
          if isOver() { throw SystemError("write", .timedOut) }
          _ = try isReady(waitingAtMostMs: ConnectionLogWriter.patienceMs)
        }
      }
      return true
    } catch {
      lost += lineCount(lines.extracting(done..<lines.count))
      noteFailure(error)
      return false
    }
  }

  /// How many bytes went out; 0 when a reader has to make room first.
  private func writeSome(_ bytes: Span<UInt8>) throws(SystemError) -> Int {
    if kind != .regular, try !isReady(waitingAtMostMs: 0) { return 0 }
    do throws(SystemError) {
      return try descriptor.write(bytes)
    } catch {
      if error.code == .tryAgain { return 0 }
      throw error
    }
  }

  private func isReady(waitingAtMostMs timeoutMs: Int32) throws(SystemError) -> Bool {
    try Readiness.writing(descriptor.number, waitingAtMostMs: timeoutMs).contains(.first)
  }

  /// A file takes everything at once. A pipe that poll(2) calls writable has room for PIPE_BUF
  /// bytes, so that many never block, and whole lines of that size are never torn apart by
  /// another writer (pipe(7)).
  @_lifetime(copy lines)
  private func next(_ lines: Span<UInt8>) -> Span<UInt8> {
    guard kind != .regular, lines.count > ConnectionLogWriter.pipeBuffer else { return lines }
    var end = ConnectionLogWriter.pipeBuffer
    while end > 0, lines[end - 1] != UInt8(ascii: "\n") { end -= 1 }
    return lines.extracting(0..<(end > 0 ? end : ConnectionLogWriter.pipeBuffer))
  }

  private mutating func noteFailure(_ error: SystemError) {
    if !writesFail {
      let text = "the connection log cannot be written (\(error)); lines are dropped until it can"
      Notice.write(text, .error)
    }
    writesFail = true
  }

  private static let pipeBuffer = 4096
  /// Between two looks at whether the server is about to end.
  private static let patienceMs: Int32 = 100
}
