internal import Config
internal import System

/// The log thread's own side of the connection log: the open file and what was lost.
struct ConnectionLogWriter: ~Copyable {
  /// Lines that could not be written since the last count that could.
  var lost: UInt64 = 0

  private let line: ConnectionLogLine
  private var descriptor: Descriptor
  private var kind: Kind
  /// Of a file that has a name to follow.
  private let path: String?
  private var identity: Files.Identity?
  private var lookedNs = Clock.monotonicNs
  /// The last write ended within a line; the next one begins with a line feed.
  private var isWithinLine = false
  private var writesFail = false
  private var opensFail = false

  /// What takes the lines, as far as it makes a difference.
  private enum Kind {
    /// Takes everything at once, or fails.
    case file
    /// A pipe, a terminal: takes what its reader has made room for.
    case stream
    /// A socket that takes one entry at a time.
    case journal

    init(_ kind: Files.Kind) {
      switch kind {
      case .regular: self = .file
      case .pipe, .socket, .directory, .other: self = .stream
      }
    }
  }

  init(path: String, _ line: ConnectionLogLine) throws(SystemError) {
    let file = try Files.openAppending(path)
    identity = try Files.identity(of: file.number)
    kind = Kind(try Files.kind(of: file.number))
    self.path = path
    self.line = line
    descriptor = consume file
  }

  init(_ open: consuming Descriptor, _ line: ConnectionLogLine) throws(SystemError) {
    kind = Kind(try Files.kind(of: open.number))
    path = nil
    identity = nil
    self.line = line
    descriptor = consume open
  }

  init(journal path: String, _ line: ConnectionLogLine) throws(SystemError) {
    descriptor = try JournalSocket.connect(path)
    kind = .journal
    self.path = path
    identity = nil
    self.line = line
  }

  /// Opens the file again when asked to, and when its name has come to mean another file or none.
  /// The old file is better than none, so it stays in use until the new one is open.
  mutating func followFile(reopens: Bool) {
    guard let path, kind != .journal else { return }
    let now = Clock.monotonicNs
    guard reopens || now - lookedNs >= 1_000_000_000 else { return }
    lookedNs = now
    if !reopens, identity == (try? Files.identity(at: path)) { return }
    do throws(SystemError) {
      let file = try Files.openAppending(path)
      identity = try Files.identity(of: file.number)
      kind = Kind(try Files.kind(of: file.number))
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

  /// Writes whole lines, `count` of them, and the count of lost ones when there are any. Waits for
  /// a reader who is slow until `isOver` says to give up; what fails is counted as lost.
  mutating func write(
    _ lines: [UInt8], count: UInt64, until isOver: () -> Bool
  ) -> (written: UInt64, lost: UInt64) {
    let before = lost
    guard writeAll(lines.span, until: isOver) else {
      return (count - min(count, lost - before), lost - before)
    }
    if lost > 0 { writeLost(until: isOver) }
    if writesFail, !lines.isEmpty { writesFail = false }
    return (count, 0)
  }

  private mutating func writeLost(until isOver: () -> Bool) {
    let count = lost
    var text: [UInt8] = []
    line.append(event: .dropped(lines: count), to: &text)
    if writeAll(text.span, until: isOver) {
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
      if isWithinLine, !lines.isEmpty, kind != .journal {
        let lineFeed: [1 of UInt8] = [UInt8(ascii: "\n")]
        isWithinLine = try writeSome(lineFeed.span) == 0
      }
      while done < lines.count {
        let written = try writeSome(next(lines.extracting(done..<lines.count)))
        done += written
        if written > 0 { isWithinLine = !line.isEnd(done - 1, lines) }
        if written == 0 {
          if isOver() { throw SystemError("write", .timedOut) }
          _ = try isReady(waitingAtMostMs: ConnectionLogWriter.patienceMs)
        }
      }
      return true
    } catch {
      lost += line.count(lines.extracting(done..<lines.count))
      noteFailure(error)
      return false
    }
  }

  /// How many bytes went out; 0 when a reader has to make room first.
  private mutating func writeSome(_ bytes: Span<UInt8>) throws(SystemError) -> Int {
    do throws(SystemError) {
      switch kind {
      case .file: return try descriptor.write(bytes)
      case .stream:
        return try isReady(waitingAtMostMs: 0) ? try descriptor.write(bytes) : 0
      case .journal: return try sendToJournal(bytes)
      }
    } catch {
      if error.code == .tryAgain { return 0 }
      throw error
    }
  }

  /// A journal that was restarted has a new socket under the old name.
  private mutating func sendToJournal(_ entry: Span<UInt8>) throws(SystemError) -> Int {
    do throws(SystemError) {
      return try JournalSocket.send(entry, to: descriptor)
    } catch {
      guard let path, error.code != .tryAgain else { throw error }
      descriptor = try JournalSocket.connect(path)
      return try JournalSocket.send(entry, to: descriptor)
    }
  }

  private func isReady(waitingAtMostMs timeoutMs: Int32) throws(SystemError) -> Bool {
    try Readiness.writing(descriptor.number, waitingAtMostMs: timeoutMs).contains(.first)
  }

  /// A file takes everything at once. A pipe that poll(2) calls writable has room for PIPE_BUF
  /// bytes, so that many never block, and whole lines of that size are never torn apart by
  /// another writer (pipe(7)).
  ///
  /// The journal takes one entry at a time.
  @_lifetime(copy lines)
  private func next(_ lines: Span<UInt8>) -> Span<UInt8> {
    switch kind {
    case .file: return lines
    case .stream:
      guard lines.count > ConnectionLogWriter.pipeBuffer else { return lines }
      var end = ConnectionLogWriter.pipeBuffer
      while end > 0, !line.isEnd(end - 1, lines) { end -= 1 }
      return lines.extracting(0..<(end > 0 ? end : ConnectionLogWriter.pipeBuffer))
    case .journal:
      var end = 0
      while end < lines.count, !line.isEnd(end, lines) { end += 1 }
      return lines.extracting(0..<min(end + 1, lines.count))
    }
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
