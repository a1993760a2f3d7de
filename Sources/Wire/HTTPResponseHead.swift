/// The head of a response: RFC 9112 section 4. It carries ranges of the bytes that it was read
/// from, counted from their start.
package struct HTTPResponseHead: Equatable, Sendable {
  /// 100 ... 599.
  package let status: Int
  /// May be empty.
  package let phrase: Range<Int>
  /// HTTP/1.1, not 1.0.
  package let isCurrent: Bool
  /// The field lines.
  package let fields: Range<Int>
  let framing: HTTPFraming

  /// What follows the head.
  package enum Body: Equatable, Sendable {
    case none
    case length(UInt64)
    case chunked
    /// To the end of the connection.
    case toEnd
  }

  package var isChunked: Bool { framing.isChunked }
  package var contentLength: UInt64? { framing.contentLength }
  /// One of those that a final one follows; 101 is the end of HTTP on the connection.
  package var isInterim: Bool { status < 200 && status != 101 }
  /// The server will take nothing further on this connection, or does not say that it may.
  package var isLast: Bool { framing.isClose || !isCurrent && !framing.isKeepAlive }

  /// RFC 9112 section 6.3.
  ///
  /// - Parameter answersHead: the request's method was HEAD.
  package func body(answersHead: Bool) -> Body {
    if answersHead || status < 200 || status == 204 || status == 304 { return .none }
    if framing.isChunked { return .chunked }
    guard let length = framing.contentLength else { return .toEnd }
    return length == 0 ? .none : .length(length)
  }

  /// Takes the head at the start of a stream.
  ///
  /// - Parameters:
  ///   - scan: new for each head, and the same at each call about it.
  ///   - ended: no more will come.
  package static func parse(
    _ bytes: Span<UInt8>, _ scan: inout HTTPHeadScan, _ limits: HTTPLimits = HTTPLimits(),
    ended: Bool = false
  ) -> HTTPParse<HTTPResponseHead> {
    switch scan.look(at: bytes, limits, ended: ended) {
    case .more: return .more
    case .invalid(let fault): return .invalid(fault)
    case .end(let whole):
      do throws(HTTPFault) {
        return .done(try HTTPResponseHead(bytes, whole), consumed: whole.upperBound)
      } catch { return .invalid(error) }
    }
  }

  private init(_ bytes: Span<UInt8>, _ whole: Range<Int>) throws(HTTPFault) {
    let start = whole.lowerBound
    var lineEnd = start
    while bytes[lineEnd] != 0x0d { lineEnd += 1 }
    // "HTTP/1.1 200", and where a phrase follows a blank.
    guard lineEnd - start >= 12, bytes[start + 8] == 0x20 else { throw .badLine }
    isCurrent = try HTTPRequestHead.version(bytes, start..<start + 8)
    guard let status = HTTPText.number(bytes, start + 9..<start + 12), 100...599 ~= status,
      lineEnd == start + 12 || bytes[start + 12] == 0x20
    else { throw .badLine }
    self.status = Int(status)
    phrase = min(start + 13, lineEnd)..<lineEnd
    for index in phrase where !HTTPText.isValue(bytes[index]) { throw .badValue }
    fields = lineEnd + 2..<whole.upperBound - 2
    framing = try HTTPFraming.read(bytes, fields, isCurrent: isCurrent)
  }
}
