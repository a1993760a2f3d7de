import Testing

@testable import Wire

/// Heads of requests to a proxy: RFC 9110, RFC 9112.
struct HTTPRequestHeadTests {
  typealias Result = HTTPParse<HTTPRequestHead>

  /// `cuts`: where the bytes are cut into segments.
  static func parse(
    _ text: String, _ limits: HTTPLimits = HTTPLimits(), ended: Bool = false, cuts: [Int] = []
  ) -> Result {
    let bytes = Array(text.utf8)
    var scan = HTTPHeadScan()
    var result = Result.more
    for end in cuts + [bytes.count] {
      let held = Array(bytes.prefix(end))
      result = HTTPRequestHead.parse(
        held.span, &scan, limits, ended: ended && end == bytes.count)
      if result != .more { break }
    }
    return result
  }

  private static func text(_ range: Range<Int>, of text: String) -> String {
    String(decoding: Array(text.utf8)[range], as: UTF8.self)
  }

  private static func head(_ text: String) throws -> HTTPRequestHead {
    guard case .done(let head, let consumed) = parse(text) else {
      throw Refused(description: "\(parse(text))")
    }
    #expect(consumed == text.utf8.count)
    return head
  }

  struct Refused: Error, CustomStringConvertible { let description: String }

  static let tunnels: [(String, String, UInt16)] = [
    ("a.example:443", "a.example", 443), ("A.Example:443", "A.Example", 443),
    ("192.0.2.1:1", "192.0.2.1", 1), ("[2001:db8::1]:65535", "[2001:db8::1]", 65535),
    ("a_b.example:25", "a_b.example", 25), ("a.example.:443", "a.example.", 443),
    ("[fe80::1%eth0]:443", "[fe80::1%eth0]", 443),
  ]

  /// RFC 9112 section 3.2.3: the authority-form.
  @Test(arguments: tunnels)
  func tunnelsAreAskedForByHostAndPort(target: String, host: String, port: UInt16) throws {
    for version in ["1.0", "1.1"] {
      let text = "CONNECT \(target) HTTP/\(version)\r\nHost: \(target)\r\n\r\n"
      let head = try Self.head(text)
      #expect(head.form == .authority && head.port == port)
      #expect(Self.text(head.host, of: text) == host)
      #expect(Self.text(head.authority, of: text) == target)
      #expect(head.isCurrent == (version == "1.1"))
      let isConnect = head.isMethod("CONNECT", in: Array(text.utf8).span)
      #expect(isConnect)
    }
  }

  /// The authority, the host, the port, and what is asked of that host.
  static let targets: [(String, String, UInt16?, String)] = [
    ("http://a.example", "a.example", nil, ""), ("http://a.example/", "a.example", nil, "/"),
    ("HTTP://a.example/x", "a.example", nil, "/x"),
    ("http://a.example:8080/x?y=z", "a.example", 8080, "/x?y=z"),
    ("http://a.example?y", "a.example", nil, "?y"),
    ("http://a.example:/x", "a.example", nil, "/x"),
    ("http://[::1]/x", "[::1]", nil, "/x"), ("http://[::1]:80", "[::1]", 80, ""),
    ("http://a.example/http://b/", "a.example", nil, "/http://b/"),
    ("http://a.example/?u@b:80", "a.example", nil, "/?u@b:80"),
    ("http://a.example/{x}|\"", "a.example", nil, "/{x}|\""),
  ]

  /// RFC 9112 section 3.2.2: the absolute-form.
  @Test(arguments: targets)
  func plainRequestsNameTheHostInTheirTarget(
    target: String, host: String, port: UInt16?, path: String
  ) throws {
    let text = "GET \(target) HTTP/1.1\r\nHost: other.example\r\n\r\n"
    let head = try Self.head(text)
    #expect(head.form == .absolute && head.port == port)
    #expect(Self.text(head.host, of: text) == host)
    #expect(Self.text(head.path, of: text) == path)
  }

  @Test func whatTheFieldsSayIsKept() throws {
    let text =
      "POST http://a.example/ HTTP/1.1\r\nhOST:a.example\r\nContent-Length: 007\r\n"
      + "Content-Length: 7\r\nExpect: 100-Continue\r\nUpgrade: websocket\r\n"
      + "Connection: Upgrade , , X-Own\r\nProxy-Authorization:\t Basic YQ==\t \r\n\r\n"
    let head = try Self.head(text)
    #expect(head.contentLength == 7 && !head.isChunked)
    #expect(head.expectsContinue && head.offersUpgrade && !head.isLast)
    #expect(head.credentials.map { Self.text($0, of: text) } == "Basic YQ==")
    let chunked = try Self.head(
      "POST http://a/ HTTP/1.1\r\nHost:\r\nTransfer-Encoding:  Chunked \r\n\r\n")
    #expect(chunked.isChunked && chunked.contentLength == nil)
  }

  /// RFC 9112 section 9.3.
  @Test(arguments: [
    ("1.1", "", false), ("1.1", "Connection: close\r\n", true),
    ("1.1", "Connection: X, CLOSE\r\n", true), ("1.1", "Proxy-Connection: close\r\n", true),
    ("1.0", "", true), ("1.0", "Connection: keep-alive\r\n", false),
    ("1.0", "Proxy-Connection: Keep-Alive\r\n", false),
  ])
  func connectionsGoOnOrNot(version: String, field: String, isLast: Bool) throws {
    let head = try Self.head("GET http://a/ HTTP/\(version)\r\nHost: a\r\n\(field)\r\n")
    #expect(head.isLast == isLast)
  }

  @Test(arguments: SmugglingShapes.heads)
  func whatCanBeTakenInTwoWaysIsRefused(shape: SmugglingShapes.Shape) {
    let fault = HTTPFault(rawValue: shape.fault)
    #expect(fault != nil)
    let all = Array(0...shape.text.utf8.count)
    for cuts in [[], all] {
      guard case .invalid(let found) = Self.parse(shape.text, cuts: cuts) else {
        Issue.record("\(shape.text.debugDescription) is taken")
        return
      }
      #expect(found == fault)
    }
  }

  /// Empty lines before a request, and what stands behind it, are not its own.
  @Test func segmentsDoNotMatter() {
    let text =
      "\r\n\r\nGET http://a.example/x HTTP/1.1\r\nHost: a.example\r\nX: y\r\n\r\nGET http://b"
    let whole = Self.parse(text)
    guard case .done(_, let consumed) = whole else {
      Issue.record("\(whole)")
      return
    }
    #expect(consumed == text.utf8.count - 12)
    for cut in 0...text.utf8.count { #expect(Self.parse(text, cuts: [cut]) == whole) }
    #expect(Self.parse(text, cuts: Array(0...text.utf8.count)) == whole)
  }

  @Test func everythingHasALimit() {
    let limits = HTTPLimits(head: 100, fields: 3)
    let start = "GET http://a/ HTTP/1.1\r\nHost: a\r\n"
    let rest = 100 - start.utf8.count - 7
    let fits = start + "X: " + String(repeating: "y", count: rest) + "\r\n\r\n"
    #expect(fits.utf8.count == 100)
    if case .done = Self.parse(fits, limits) {} else { Issue.record("too long") }
    #expect(Self.parse("\r\n" + fits, limits) != .invalid(.headTooLong))
    let long = start + "X: " + String(repeating: "y", count: rest + 1) + "\r\n\r\n"
    #expect(Self.parse(long, limits) == .invalid(.headTooLong))
    #expect(Self.parse(String(long.utf8.prefix(99))!, limits) == .more)
    let many = start + "A: b\r\nC: d\r\n"
    if case .done = Self.parse(many + "\r\n", limits) {} else { Issue.record("too many") }
    #expect(Self.parse(many + "E: f\r\n", limits) == .invalid(.manyFields))
  }

  @Test func anEndWithinAHeadIsSeen() {
    let text = "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"
    #expect(Self.parse("", ended: true) == .more)
    for count in 1..<text.utf8.count {
      #expect(Self.parse(String(text.utf8.prefix(count))!, ended: true) == .invalid(.truncated))
    }
    if case .done = Self.parse(text, ended: true) {} else { Issue.record("refused at its end") }
  }
}
