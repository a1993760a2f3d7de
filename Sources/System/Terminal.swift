internal import CLibc

/// The terminal of a full-screen command: keys as they are typed, and a screen of its own. As it
/// was before at the end of its life, whatever ends it.
package struct Terminal: ~Copyable {
  private let saved: system_terminal

  private static let input: Int32 = 0
  private static let output: Int32 = 1

  /// ECMA-48 and xterm: the alternate screen, and no cursor; and back.
  private static let enter = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[2J"
  private static let leave = "\u{1b}[0m\u{1b}[?25h\u{1b}[?1049l"

  /// [ENOTTY: standard input or output is no terminal]
  package init() throws(SystemError) {
    guard Terminal.size != nil else { throw SystemError("ioctl TIOCGWINSZ", .noTerminal) }
    self.init(saved: try Terminal.makeRaw())
    write(Terminal.enter)
  }

  private init(saved: system_terminal) {
    self.saved = saved
  }

  private static func makeRaw() throws(SystemError) -> system_terminal {
    var saved = system_terminal()
    _ = try checked(unsafe system_terminal_raw(input, &saved), "tcsetattr")
    return saved
  }

  deinit {
    write(Terminal.leave)
    var saved = saved
    _ = unsafe system_terminal_restore(Terminal.input, &saved)
  }

  /// Columns and rows of standard output; nil when it is no terminal.
  package static var size: (columns: Int, rows: Int)? {
    var (columns, rows): (UInt16, UInt16) = (0, 0)
    guard unsafe system_terminal_size(output, &columns, &rows) == 0 else { return nil }
    // Some terminals say 0 until somebody tells them how large they are.
    return (columns == 0 ? 80 : Int(columns), rows == 0 ? 24 : Int(rows))
  }

  /// Waits for keys, or for `other` to be readable.
  ///
  /// - Returns: the bytes typed; empty when there are none in time, nil when the terminal is gone.
  package func keys(orReading other: Int32, waitingAtMostMs timeoutMs: Int32) -> [UInt8]? {
    let ready = try? Readiness.reading(Terminal.input, other, waitingAtMostMs: timeoutMs)
    guard ready?.contains(.first) == true else { return [] }
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = unsafe bytes.withUnsafeMutableBufferPointer { buffer -> Int64 in
      guard let start = buffer.baseAddress else { return 0 }
      return unsafe system_read(Terminal.input, start, buffer.count)
    }
    return count > 0 ? Array(bytes.prefix(Int(count))) : nil
  }

  /// Errors have nowhere to go.
  package func write(_ text: String) {
    let bytes = Array(text.utf8)
    var done = 0
    while done < bytes.count {
      let count = unsafe bytes.withUnsafeBufferPointer { buffer -> Int64 in
        guard let start = buffer.baseAddress else { return 0 }
        return unsafe system_write(Terminal.output, start + done, buffer.count - done)
      }
      guard count > 0 else { return }
      done += Int(count)
    }
  }
}
