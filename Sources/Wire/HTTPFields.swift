/// Looks for the end of a head in bytes that come in pieces, each looked at once: where lines end,
/// and that nothing stands there which one receiver may read otherwise than another.
package struct HTTPHeadScan: Equatable, Sendable {
  package enum Step: Equatable, Sendable {
    case more
    /// The head, its empty line included; what stands before it is empty lines.
    case end(Range<Int>)
    case invalid(HTTPFault)
  }

  /// RFC 9112 section 2.2: "at least one empty line (CRLF) received prior to the request-line" is
  /// ignored.
  private static let blankLinesLimit = 2

  private var position = 0
  private var start = 0
  private var lines = 0
  private var isAtLineStart = true

  package init() {}

  /// - Parameters:
  ///   - bytes: all that are held, those of earlier calls in front.
  ///   - ended: no more will come.
  package mutating func look(
    at bytes: Span<UInt8>, _ limits: HTTPLimits, ended: Bool = false
  ) -> Step {
    while position < bytes.count, position - start < limits.head {
      let byte = bytes[position]
      if isAtLineStart, lines == 0, byte != 0x0d, !HTTPText.isToken(byte) {
        return .invalid(byte == 0 ? .nul : .badLine)
      }
      if byte == 0 { return .invalid(.nul) }
      if byte == 0x0a { return .invalid(.badLineEnd) }
      guard byte == 0x0d else {
        isAtLineStart = false
        position += 1
        continue
      }
      guard position + 1 < bytes.count else { break }
      guard bytes[position + 1] == 0x0a else { return .invalid(.badLineEnd) }
      position += 2
      if !isAtLineStart {
        lines += 1
        // The first line is no field.
        if lines > limits.fields + 1 { return .invalid(.manyFields) }
        isAtLineStart = true
      } else if lines > 0 {
        return position - start > limits.head ? .invalid(.headTooLong) : .end(start..<position)
      } else {
        start = position
        if start > 2 * HTTPHeadScan.blankLinesLimit { return .invalid(.badLine) }
      }
    }
    if position - start >= limits.head { return .invalid(.headTooLong) }
    return ended && bytes.count > start ? .invalid(.truncated) : .more
  }
}

/// Field lines of a head that was found to be valid, one after the other.
package struct HTTPFieldWalk: Sendable {
  package struct Field: Equatable, Sendable {
    package let name: Range<Int>
    /// Without the blanks at its ends.
    package let value: Range<Int>
  }

  private var rest: Range<Int>

  /// - Parameter fields: whole lines, each with its CRLF.
  package init(_ fields: Range<Int>) { rest = fields }

  package mutating func next(in bytes: Span<UInt8>) -> Field? {
    guard !rest.isEmpty else { return nil }
    var colon = rest.lowerBound
    while bytes[colon] != UInt8(ascii: ":") { colon += 1 }
    var end = colon + 1
    while bytes[end] != 0x0d { end += 1 }
    defer { rest = end + 2..<rest.upperBound }
    return Field(
      name: rest.lowerBound..<colon, value: HTTPText.trimmed(colon + 1..<end, bytes))
  }
}

/// What the fields of a head say about the message and the connection; the same for requests and
/// responses.
struct HTTPFraming: Equatable, Sendable {
  var contentLength: UInt64?
  var isChunked = false
  /// What Connection says. Any other name there is a field that goes no further.
  var isClose = false
  var isKeepAlive = false
  var isUpgrade = false
  var namesFields = false
  /// The Upgrade field is there.
  var hasUpgrade = false
  var expectsContinue = false
  var hosts = 0
  var host = 0..<0
  var credentials: Range<Int>?

  /// Takes the fields of a head.
  ///
  /// - Parameter isCurrent: HTTP/1.1, which knows transfer codings.
  static func read(
    _ bytes: Span<UInt8>, _ fields: Range<Int>, isCurrent: Bool
  ) throws(HTTPFault) -> HTTPFraming {
    var framing = HTTPFraming()
    var hasLength = false
    var start = fields.lowerBound
    while start < fields.upperBound {
      let (field, next) = try HTTPFraming.field(bytes, start)
      start = next
      try framing.take(field, bytes, &hasLength)
    }
    if framing.isChunked {
      if hasLength { throw .bothLengths }
      if !isCurrent { throw .badCoding }
    }
    return framing
  }

  /// One line. RFC 9112 section 5.
  static func field(
    _ bytes: Span<UInt8>, _ start: Int
  ) throws(HTTPFault) -> (HTTPFieldWalk.Field, next: Int) {
    var end = start
    while bytes[end] != 0x0d { end += 1 }
    if HTTPText.isBlank(bytes[start]) { throw .folded }
    var colon = start
    while colon < end, HTTPText.isToken(bytes[colon]) { colon += 1 }
    guard colon > start, colon < end, bytes[colon] == UInt8(ascii: ":") else { throw .badName }
    for index in colon + 1..<end where !HTTPText.isValue(bytes[index]) { throw .badValue }
    let value = HTTPText.trimmed(colon + 1..<end, bytes)
    return (HTTPFieldWalk.Field(name: start..<colon, value: value), end + 2)
  }

  private mutating func take(
    _ field: HTTPFieldWalk.Field, _ bytes: Span<UInt8>, _ hasLength: inout Bool
  ) throws(HTTPFault) {
    let (name, value) = (field.name, field.value)
    switch HTTPText.lowered(bytes[name.lowerBound]) {
    case UInt8(ascii: "c"):
      if HTTPText.equals("content-length", bytes, name) {
        guard let length = HTTPText.number(bytes, value) else { throw .badLength }
        if hasLength, contentLength != length { throw .manyLengths }
        hasLength = true
        contentLength = length
      } else if HTTPText.equals("connection", bytes, name) {
        readConnection(bytes, value)
      }
    case UInt8(ascii: "t"):
      guard HTTPText.equals("transfer-encoding", bytes, name) else { return }
      // Nobody here has asked for any other: RFC 9112 section 7.4.
      guard !isChunked, HTTPText.equals("chunked", bytes, value) else { throw .badCoding }
      isChunked = true
    case UInt8(ascii: "h"):
      guard HTTPText.equals("host", bytes, name) else { return }
      hosts += 1
      host = value
    case UInt8(ascii: "u"):
      if HTTPText.equals("upgrade", bytes, name) { hasUpgrade = true }
    case UInt8(ascii: "e"):
      guard HTTPText.equals("expect", bytes, name) else { return }
      expectsContinue = HTTPText.equals("100-continue", bytes, value)
    case UInt8(ascii: "p"):
      if HTTPText.equals("proxy-authorization", bytes, name) {
        if credentials != nil { throw .manyCredentials }
        credentials = value
      } else if HTTPText.equals("proxy-connection", bytes, name) {
        // Of clients that take it for Connection. What else it says is not looked at.
        if HTTPText.equals("close", bytes, value) { isClose = true }
        if HTTPText.equals("keep-alive", bytes, value) { isKeepAlive = true }
      }
    default: break
    }
  }

  private mutating func readConnection(_ bytes: Span<UInt8>, _ value: Range<Int>) {
    var walk = HTTPListWalk(value)
    while let option = walk.next(in: bytes) {
      if HTTPText.equals("close", bytes, option) {
        isClose = true
      } else if HTTPText.equals("keep-alive", bytes, option) {
        isKeepAlive = true
      } else if HTTPText.equals("upgrade", bytes, option) {
        isUpgrade = true
      } else {
        namesFields = true
      }
    }
  }
}

/// The elements of a comma-separated list, empty ones left out. RFC 9110 section 5.6.1.
struct HTTPListWalk {
  private var rest: Range<Int>

  init(_ value: Range<Int>) { rest = value }

  mutating func next(in bytes: Span<UInt8>) -> Range<Int>? {
    while !rest.isEmpty {
      var end = rest.lowerBound
      while end < rest.upperBound, bytes[end] != UInt8(ascii: ",") { end += 1 }
      let element = HTTPText.trimmed(rest.lowerBound..<end, bytes)
      rest = min(end + 1, rest.upperBound)..<rest.upperBound
      if !element.isEmpty { return element }
    }
    return nil
  }
}
