/// The protocols that begin in plaintext and change to TLS when the client asks: RFC 3207 (SMTP),
/// RFC 9051 section 6.2.1 (IMAP), RFC 2595 section 4 (POP3), RFC 5804 section 2.2 (ManageSieve).
package enum MailProtocol: String, CaseIterable, Sendable {
  case smtp, imap, pop3, sieve

  /// The longest command line taken, its end included: RFC 5321 section 4.5.3.1.4 and RFC 2449
  /// section 4 say so; for the other two it is far more than a command before TLS needs.
  package var commandLimit: Int {
    switch self {
    case .smtp: 512
    case .imap, .sieve: 1024
    case .pop3: 255
    }
  }
}

/// Lines of a stream. They end with CRLF; a lone LF ends one too, which nobody can turn to account
/// here, since what follows is read as a command either way.
enum MailLine {
  enum Next: Equatable {
    /// Without its end, and where what follows begins.
    case line(Range<Int>, next: Int)
    case unfinished
    case tooLong
  }

  /// The line that begins at `start`.
  ///
  /// - Parameter limit: the longest that is taken, in bytes with its end.
  static func next(in bytes: Span<UInt8>, at start: Int, limit: Int) -> Next {
    var index = start
    while index < bytes.count {
      guard index - start < limit else { return .tooLong }
      if bytes[index] == 0x0a {
        let hasReturn = index > start && bytes[index - 1] == 0x0d
        return .line(start..<(hasReturn ? index - 1 : index), next: index + 1)
      }
      index += 1
    }
    return index - start < limit ? .unfinished : .tooLong
  }

  /// The word at the front of `line`, up to a blank, and what follows the blanks behind it.
  static func word(
    in bytes: Span<UInt8>, _ line: Range<Int>
  ) -> (word: Range<Int>, rest: Range<Int>) {
    var end = line.lowerBound
    while end < line.upperBound, !isBlank(bytes[end]) { end += 1 }
    var rest = end
    while rest < line.upperBound, isBlank(bytes[rest]) { rest += 1 }
    return (line.lowerBound..<end, rest..<line.upperBound)
  }

  private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

  /// Whether these bytes are `text`, in whatever case; `text` is in capitals.
  static func equals(_ text: String, _ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
    range.count == text.utf8.count && begins(text, bytes, range)
  }

  /// Whether they begin with `text`.
  static func begins(_ text: String, _ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
    guard range.count >= text.utf8.count else { return false }
    var index = range.lowerBound
    for expected in text.utf8 {
      let byte = bytes[index]
      let isSmall = UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte
      if (isSmall ? byte & 0xdf : byte) != expected { return false }
      index += 1
    }
    return true
  }
}
