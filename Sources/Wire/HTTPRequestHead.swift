/// The head of a request to a proxy: RFC 9112 section 3, RFC 9110 section 9.3.6. It carries ranges
/// of the bytes that it was read from, counted from their start.
package struct HTTPRequestHead: Equatable, Sendable {
  /// What is asked for.
  package enum Form: Equatable, Sendable {
    /// `CONNECT host:port`: a tunnel.
    case authority
    /// `GET http://host/path`.
    case absolute
  }

  package let method: Range<Int>
  package let form: Form
  /// The host, with the brackets of an IPv6 address.
  package let host: Range<Int>
  /// Nil where the target names none: the scheme's.
  package let port: UInt16?
  /// Host and port as they were sent.
  package let authority: Range<Int>
  /// Path and query; empty without either, and for tunnels. It may begin with `?`.
  package let path: Range<Int>
  /// HTTP/1.1, not 1.0.
  package let isCurrent: Bool
  /// The field lines.
  package let fields: Range<Int>
  let framing: HTTPFraming

  package var contentLength: UInt64? { framing.contentLength }
  package var isChunked: Bool { framing.isChunked }
  package var expectsContinue: Bool { framing.expectsContinue }
  /// The value of Proxy-Authorization.
  package var credentials: Range<Int>? { framing.credentials }
  /// The client will send nothing further on this connection, or does not say that it may.
  package var isLast: Bool { framing.isClose || !isCurrent && !framing.isKeepAlive }
  /// The client offers another protocol: RFC 9110 section 7.8.
  package var offersUpgrade: Bool { framing.isUpgrade && framing.hasUpgrade && isCurrent }

  /// Whether its method is this one. Methods are case-sensitive.
  package func isMethod(_ name: String, in bytes: Span<UInt8>) -> Bool {
    guard method.count == name.utf8.count else { return false }
    var index = method.lowerBound
    for byte in name.utf8 {
      if bytes[index] != byte { return false }
      index += 1
    }
    return true
  }

  /// Takes the head at the start of a stream.
  ///
  /// - Parameters:
  ///   - scan: new for each head, and the same at each call about it.
  ///   - ended: no more will come.
  package static func parse(
    _ bytes: Span<UInt8>, _ scan: inout HTTPHeadScan, _ limits: HTTPLimits = HTTPLimits(),
    ended: Bool = false
  ) -> HTTPParse<HTTPRequestHead> {
    switch scan.look(at: bytes, limits, ended: ended) {
    case .more: return .more
    case .invalid(let fault): return .invalid(fault)
    case .end(let whole):
      do throws(HTTPFault) {
        return .done(try HTTPRequestHead(bytes, whole), consumed: whole.upperBound)
      } catch { return .invalid(error) }
    }
  }

  private init(_ bytes: Span<UInt8>, _ whole: Range<Int>) throws(HTTPFault) {
    var lineEnd = whole.lowerBound
    while bytes[lineEnd] != 0x0d { lineEnd += 1 }
    method = HTTPRequestHead.word(bytes, whole.lowerBound, lineEnd)
    guard !method.isEmpty, method.upperBound < lineEnd else { throw .badLine }
    for index in method where !HTTPText.isToken(bytes[index]) { throw .badLine }
    let target = HTTPRequestHead.word(bytes, method.upperBound + 1, lineEnd)
    guard !target.isEmpty, target.upperBound < lineEnd else { throw .badLine }
    isCurrent = try HTTPRequestHead.version(bytes, target.upperBound + 1..<lineEnd)
    fields = lineEnd + 2..<whole.upperBound - 2
    framing = try HTTPFraming.read(bytes, fields, isCurrent: isCurrent)
    let isTunnel = HTTPRequestHead.isConnect(bytes, method)
    let found = try HTTPTarget(bytes, target, isTunnel: isTunnel)
    form = isTunnel ? .authority : .absolute
    (host, port, authority, path) = (found.host, found.port, found.authority, found.path)
    guard isCurrent || framing.hosts > 0 else { return }
    if framing.hosts == 0 { throw .noHost }
    if framing.hosts > 1 { throw .manyHosts }
    // What it says does not matter, as long as it is one: RFC 9112 section 3.2.2.
    guard framing.host.isEmpty || HTTPTarget.splits(bytes, framing.host) else { throw .badHost }
    // "A server MUST reject": RFC 9110 section 9.3.6 knows no content of CONNECT.
    if isTunnel, framing.isChunked || framing.contentLength ?? 0 > 0 { throw .badLength }
  }

  /// Up to the next blank or the end.
  private static func word(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Range<Int> {
    var stop = start
    while stop < end, bytes[stop] != 0x20 { stop += 1 }
    return start..<stop
  }

  private static func isConnect(_ bytes: Span<UInt8>, _ method: Range<Int>) -> Bool {
    let name: [7 of UInt8] = [0x43, 0x4f, 0x4e, 0x4e, 0x45, 0x43, 0x54]
    guard method.count == name.count else { return false }
    for index in name.indices where bytes[method.lowerBound + index] != name[index] {
      return false
    }
    return true
  }

  /// Whether it is HTTP/1.1 rather than 1.0. RFC 9110 section 2.5: a later minor version would be
  /// taken as 1.1, if there were one.
  static func version(_ bytes: Span<UInt8>, _ range: Range<Int>) throws(HTTPFault) -> Bool {
    guard range.count == 8, HTTPText.begins("http/1.", bytes, range) else {
      throw .badVersion
    }
    // The name is case-sensitive.
    for index in range.lowerBound..<range.lowerBound + 4 where bytes[index] & 0x20 != 0 {
      throw .badVersion
    }
    switch bytes[range.upperBound - 1] {
    case UInt8(ascii: "0"): return false
    case UInt8(ascii: "1"): return true
    default: throw .badVersion
    }
  }
}

/// A request's target, taken apart.
struct HTTPTarget {
  var host: Range<Int>
  var port: UInt16?
  var authority: Range<Int>
  var path: Range<Int>

  init(_ bytes: Span<UInt8>, _ target: Range<Int>, isTunnel: Bool) throws(HTTPFault) {
    for index in target where bytes[index] < 0x21 || bytes[index] == 0x7f { throw .badTarget }
    if isTunnel {
      authority = target
      path = target.upperBound..<target.upperBound
      (host, port) = try HTTPTarget.split(bytes, target)
      // "There is no default port": RFC 9112 section 3.2.3.
      guard port != nil else { throw .badTarget }
      return
    }
    let first = bytes[target.lowerBound]
    if first == UInt8(ascii: "/") || first == UInt8(ascii: "*") { throw .notForProxy }
    guard HTTPText.begins("http://", bytes, target) else { throw .badTarget }
    let start = target.lowerBound + 7
    var end = start
    while end < target.upperBound, bytes[end] != UInt8(ascii: "/"), bytes[end] != UInt8(ascii: "?")
    {
      end += 1
    }
    // Fragments are not sent: RFC 9110 section 7.1.
    for index in end..<target.upperBound where bytes[index] == UInt8(ascii: "#") {
      throw .badTarget
    }
    authority = start..<end
    path = end..<target.upperBound
    (host, port) = try HTTPTarget.split(bytes, authority)
  }

  static func splits(_ bytes: Span<UInt8>, _ authority: Range<Int>) -> Bool {
    do throws(HTTPFault) {
      _ = try split(bytes, authority)
      return true
    } catch { return false }
  }

  /// Host and port. User names are refused (RFC 9110 section 4.2.4), and percent-encoding, which no
  /// host name has.
  private static func split(
    _ bytes: Span<UInt8>, _ authority: Range<Int>
  ) throws(HTTPFault) -> (host: Range<Int>, port: UInt16?) {
    var end = authority.lowerBound
    if end < authority.upperBound, bytes[end] == UInt8(ascii: "[") {
      while end < authority.upperBound, bytes[end] != UInt8(ascii: "]") {
        guard isAddress(bytes[end]) || end == authority.lowerBound else { throw .badTarget }
        end += 1
      }
      guard end < authority.upperBound else { throw .badTarget }
      end += 1
    } else {
      while end < authority.upperBound, isName(bytes[end]) { end += 1 }
    }
    let host = authority.lowerBound..<end
    guard !host.isEmpty else { throw .badTarget }
    if end == authority.upperBound { return (host, nil) }
    guard bytes[end] == UInt8(ascii: ":") else { throw .badTarget }
    let digits = end + 1..<authority.upperBound
    // "http://host:/": RFC 3986 section 3.2.3.
    if digits.isEmpty { return (host, nil) }
    guard digits.count <= 5, let number = HTTPText.number(bytes, digits), number > 0,
      let port = UInt16(exactly: number)
    else { throw .badTarget }
    return (host, port)
  }

  private static func isName(_ byte: UInt8) -> Bool {
    switch HTTPText.lowered(byte) {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
      UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
      true
    default: false
    }
  }

  /// Of an IPv6 address in brackets, and of a zone behind it, which is refused later by name.
  private static func isAddress(_ byte: UInt8) -> Bool {
    isName(byte) || byte == UInt8(ascii: ":") || byte == UInt8(ascii: "%")
  }
}
