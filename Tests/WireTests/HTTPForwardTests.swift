import Testing

@testable import Wire

/// Heads as they go on: RFC 9110 section 7.6, RFC 9112 section 3.2.2.
struct HTTPForwardTests {
  private static func onward(
    via: String = "", isForProxy: Bool = false, credentials: String = "", isLast: Bool = false
  ) -> HTTPOnward {
    var onward = HTTPOnward()
    onward.via = Array(via.utf8)
    onward.isForProxy = isForProxy
    onward.credentials = Array(credentials.utf8)
    onward.isLast = isLast
    return onward
  }

  private static func request(_ text: String, _ onward: HTTPOnward = HTTPOnward()) -> String {
    let bytes = Array(text.utf8)
    guard case .done(let head, _) = HTTPRequestHeadTests.parse(text) else { return "refused" }
    let written = [UInt8](capacity: bytes.count + onward.room()) { output in
      head.write(bytes.span, as: onward, into: &output)
    }
    return String(decoding: written, as: UTF8.self)
  }

  private static func response(_ text: String, via: String = "", isLast: Bool = false) -> String {
    let bytes = Array(text.utf8)
    var scan = HTTPHeadScan()
    guard case .done(let head, _) = HTTPResponseHead.parse(bytes.span, &scan) else {
      return "refused"
    }
    let written = [UInt8](capacity: bytes.count + via.utf8.count + 256) { output in
      head.write(bytes.span, via: Array(via.utf8), isLast: isLast, into: &output)
    }
    return String(decoding: written, as: UTF8.self)
  }

  /// "a proxy MUST ignore the received Host header field [...] and instead replace it with the host
  /// information of the request-target".
  @Test func theTargetsHostIsTheHost() {
    #expect(
      Self.request("GET http://a.example:81/x?y HTTP/1.1\r\nX: 1\r\nHost: b\r\n\r\n")
        == "GET /x?y HTTP/1.1\r\nHost: a.example:81\r\nX: 1\r\n\r\n")
    #expect(
      Self.request("GET http://a.example?y HTTP/1.1\r\nHost: b\r\n\r\n")
        == "GET /?y HTTP/1.1\r\nHost: a.example\r\n\r\n")
    #expect(
      Self.request("OPTIONS http://a.example HTTP/1.1\r\nHost: b\r\n\r\n")
        == "OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n")
    #expect(
      Self.request("GET http://a.example HTTP/1.0\r\n\r\n")
        == "GET / HTTP/1.0\r\nHost: a.example\r\n\r\n")
  }

  /// "Intermediaries MUST [...] remove or replace the Connection header field itself", what it
  /// names, and what is known to be of one hop.
  @Test func whatIsOfOneHopStays() {
    let text =
      "GET http://a/ HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop\r\nConnection: x-two\r\n"
      + "x-hop: 1\r\nX-Two: 2\r\nX-Stays: 3\r\nKeep-Alive: 5\r\nTE: trailers\r\nTrailer: X\r\n"
      + "Proxy-Authorization: Basic YQ==\r\nProxy-Connection: keep-alive\r\nProxy-Features: x\r\n"
      + "Upgrade: h2c\r\nAuthorization: Basic Yg==\r\n\r\n"
    #expect(
      Self.request(text)
        == "GET / HTTP/1.1\r\nHost: a\r\nX-Stays: 3\r\nTrailer: X\r\n"
        + "Authorization: Basic Yg==\r\n\r\n")
  }

  /// A client cannot have the framing or the host taken away by naming them.
  @Test func framingIsOurs() {
    #expect(
      Self.request(
        "POST http://a/ HTTP/1.1\r\nHost: a\r\nConnection: content-length, host\r\n"
          + "content-length: 05\r\nContent-Length: 5\r\n\r\n")
        == "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    #expect(
      Self.request(
        "POST http://a/ HTTP/1.1\r\nHost: a\r\nConnection: Transfer-Encoding\r\n"
          + "transfer-encoding: CHUNKED\r\n\r\n")
        == "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
  }

  @Test func upgradesAreOfferedOnlyAsSuch() {
    let text =
      "GET http://a/ HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    #expect(
      Self.request(text + "Expect: 100-continue\r\n\r\n")
        == "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nUpgrade: websocket\r\n"
        + "Connection: upgrade\r\n\r\n")
    #expect(
      Self.response("HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        == "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
    #expect(
      Self.response("HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n")
        == "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
  }

  @Test func viaIsAdded() {
    #expect(
      Self.request(
        "GET http://a/ HTTP/1.1\r\nHost: a\r\nVia: 1.0 before\r\n\r\n", Self.onward(via: "sluice"))
        == "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 before\r\nVia: 1.1 sluice\r\n\r\n")
    #expect(
      Self.response("HTTP/1.0 200 OK\r\n\r\n", via: "sluice", isLast: true)
        == "HTTP/1.1 200 OK\r\nVia: 1.0 sluice\r\nConnection: close\r\n\r\n")
  }

  /// To another proxy the target goes whole, and with our own credentials, never the client's.
  @Test func parentsGetTheWholeTarget() {
    let onward = Self.onward(isForProxy: true, credentials: "Basic b3Vycw==", isLast: true)
    #expect(
      Self.request(
        "GET http://a:81?x HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Basic YQ==\r\n\r\n", onward)
        == "GET http://a:81/?x HTTP/1.1\r\nHost: a:81\r\nProxy-Authorization: Basic b3Vycw==\r\n"
        + "Connection: close\r\n\r\n")
  }

  @Test func responsesKeepTheirOwn() {
    #expect(
      Self.response(
        "HTTP/1.1 200 \r\nConnection: close, x-hop\r\nX-Hop: 1\r\nSet-Cookie: a\r\n"
          + "Proxy-Authenticate: Basic\r\nTransfer-Encoding: chunked\r\nSet-Cookie: b\r\n\r\n")
        == "HTTP/1.1 200 \r\nSet-Cookie: a\r\nSet-Cookie: b\r\nTransfer-Encoding: chunked\r\n\r\n")
    #expect(
      Self.response("HTTP/1.1 100 Continue\r\n\r\n", isLast: true)
        == "HTTP/1.1 100 Continue\r\n\r\n")
  }

  /// What goes on is read by the next receiver as it was by us.
  @Test func whatIsWrittenIsReadTheSame() throws {
    let onward = Self.onward(via: "x", isForProxy: true)
    let once = Self.request(
      "POST http://a.example:81/x HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\nX:  y \r\n\r\n",
      onward)
    guard case .done(let head, once.utf8.count) = HTTPRequestHeadTests.parse(once) else {
      Issue.record("\(once)")
      return
    }
    #expect(head.contentLength == 3 && head.port == 81 && !head.isLast)
  }
}
