/// Why an HTTP message is refused. The raw value is the word in log lines, metric labels and
/// documentation.
package enum HTTPFault: String, Error, CaseIterable, Sendable {
  /// No request line, or no status line: RFC 9112 sections 3 and 4.
  case badLine = "http.bad-line"
  /// Neither HTTP/1.0 nor HTTP/1.1.
  case badVersion = "http.bad-version"
  /// A target that is none of the forms of RFC 9112 section 3.2, or not that of its method.
  case badTarget = "http.bad-target"
  /// A target for an origin server: this is a proxy.
  case notForProxy = "http.not-for-proxy"
  /// CR without LF, LF without CR.
  case badLineEnd = "http.bad-line-end"
  /// A line that goes on in the next one: RFC 9112 section 5.2.
  case folded = "http.obs-fold"
  /// A field name that is no token; a blank before the colon: RFC 9112 section 5.1.
  case badName = "http.bad-name"
  /// A control byte in a field value or a reason phrase.
  case badValue = "http.bad-value"
  /// NUL, anywhere.
  case nul = "http.nul"
  /// HTTP/1.1 without a Host field, or with more than one: RFC 9112 section 3.2.
  case noHost = "http.no-host"
  case manyHosts = "http.many-hosts"
  /// A Host field that is no host with a port.
  case badHost = "http.bad-host"
  /// A Content-Length that is no number, or more than can be counted.
  case badLength = "http.bad-length"
  /// Two that differ.
  case manyLengths = "http.many-lengths"
  /// Content-Length beside Transfer-Encoding: RFC 9112 section 6.1.
  case bothLengths = "http.both-lengths"
  /// A transfer coding other than chunked, chunked twice, or any in HTTP/1.0.
  case badCoding = "http.bad-coding"
  /// More than one Proxy-Authorization.
  case manyCredentials = "http.many-credentials"
  /// A head longer than the receiver's limit, or with more fields.
  case headTooLong = "http.head-too-long"
  case manyFields = "http.many-fields"
  /// A chunk whose size is no hexadecimal number, or more than can be counted, or whose line is
  /// too long; one without CRLF behind it: RFC 9112 section 7.1.
  case badChunk = "http.bad-chunk"
  /// A trailer field that would change what the message is: RFC 9110 section 6.5.1.
  case badTrailer = "http.bad-trailer"
  /// The stream ended inside a head or a body.
  case truncated = "http.truncated"
}

/// What a parser of heads says about the bytes held so far.
package enum HTTPParse<Head> {
  /// More bytes are needed.
  case more
  /// The head, and how many bytes from the start it took, empty lines before it included.
  case done(Head, consumed: Int)
  case invalid(HTTPFault)
}

extension HTTPParse: Equatable where Head: Equatable {}
extension HTTPParse: Sendable where Head: Sendable {}

/// How much of a head is taken.
package struct HTTPLimits: Hashable, Sendable {
  /// Bytes, the empty line at the end included.
  package var head: Int
  package var fields: Int

  package init(head: Int = 16384, fields: Int = 100) {
    self.head = head
    self.fields = fields
  }
}

/// Characters and words of HTTP.
enum HTTPText {
  /// RFC 9110 section 5.6.2: tchar.
  static func isToken(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "!"), UInt8(ascii: "#"),
      UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"), UInt8(ascii: "'"),
      UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
      UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"),
      UInt8(ascii: "~"):
      true
    default: false
    }
  }

  static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

  /// RFC 9110 section 5.5: field-vchar and blanks, obs-text included.
  static func isValue(_ byte: UInt8) -> Bool { byte >= 0x20 && byte != 0x7f || byte == 0x09 }

  /// Whether the bytes are this word, whatever their case.
  ///
  /// - Parameter word: in lower case.
  static func equals(_ word: String, _ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
    range.count == word.utf8.count && begins(word, bytes, range)
  }

  /// Whether they begin with it.
  static func begins(_ word: String, _ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
    guard range.count >= word.utf8.count else { return false }
    var index = range.lowerBound
    for expected in word.utf8 {
      if lowered(bytes[index]) != expected { return false }
      index += 1
    }
    return true
  }

  /// Whether both are the same word, whatever their case.
  static func equals(_ bytes: Span<UInt8>, _ one: Range<Int>, _ other: Range<Int>) -> Bool {
    guard one.count == other.count else { return false }
    for offset in 0..<one.count
    where lowered(bytes[one.lowerBound + offset]) != lowered(bytes[other.lowerBound + offset]) {
      return false
    }
    return true
  }

  static func lowered(_ byte: UInt8) -> UInt8 {
    UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte ? byte | 0x20 : byte
  }

  /// Without the blanks at both ends.
  static func trimmed(_ range: Range<Int>, _ bytes: Span<UInt8>) -> Range<Int> {
    var (start, end) = (range.lowerBound, range.upperBound)
    while start < end, isBlank(bytes[start]) { start += 1 }
    while end > start, isBlank(bytes[end - 1]) { end -= 1 }
    return start..<end
  }

  /// A decimal number of at most 18 digits: everything that fits, and far more than anybody sends.
  static func number(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt64? {
    guard !range.isEmpty, range.count <= 18 else { return nil }
    var value: UInt64 = 0
    for index in range {
      let digit = bytes[index] &- UInt8(ascii: "0")
      guard digit <= 9 else { return nil }
      value = value * 10 + UInt64(digit)
    }
    return value
  }
}
