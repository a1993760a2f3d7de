import Testing

/// Requests that two receivers may take for different ones, or in which one may see more requests
/// than another: collected from what RFC 9112 sections 2.2, 5, 6 and 11.2 warn of, and from the
/// published classes of request smuggling (CL.TE, TE.CL, TE.TE, CL.0, 0.CL, chunk sizes, line ends,
/// targets). `\r\n` ends a line here only where it is written.
enum SmugglingShapes {
  struct Shape: Sendable, CustomTestStringConvertible {
    let text: String
    let fault: String
    var testDescription: String { text.debugDescription }
  }

  private static func shape(_ text: String, _ fault: String) -> Shape {
    Shape(text: text, fault: fault)
  }

  /// Within an otherwise good request.
  private static func fields(_ lines: String, _ fault: String) -> Shape {
    Shape(text: "POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\(lines)\r\n", fault: fault)
  }

  static let heads: [Shape] = [
    // Both lengths, in either order and spelling.
    fields("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "http.both-lengths"),
    fields("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "http.both-lengths"),
    fields("transfer-encoding:chunked\r\ncontent-length:0\r\n", "http.both-lengths"),
    fields("Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n", "http.both-lengths"),
    // Lengths that differ, or that are none.
    fields("Content-Length: 5\r\nContent-Length: 6\r\n", "http.many-lengths"),
    fields("Content-Length: 0\r\nContent-Length: 44\r\n", "http.many-lengths"),
    fields("Content-Length: 5, 5\r\n", "http.bad-length"),
    fields("Content-Length: 5,6\r\n", "http.bad-length"),
    fields("Content-Length: +5\r\n", "http.bad-length"),
    fields("Content-Length: -5\r\n", "http.bad-length"),
    fields("Content-Length: 5 5\r\n", "http.bad-length"),
    fields("Content-Length: 0x5\r\n", "http.bad-length"),
    fields("Content-Length: 5;\r\n", "http.bad-length"),
    fields("Content-Length: \"5\"\r\n", "http.bad-length"),
    fields("Content-Length: 5.0\r\n", "http.bad-length"),
    fields("Content-Length: 1e1\r\n", "http.bad-length"),
    fields("Content-Length: \r\n", "http.bad-length"),
    fields("Content-Length: 18446744073709551621\r\n", "http.bad-length"),
    fields("Content-Length: 9999999999999999999999\r\n", "http.bad-length"),
    fields("Content-Length: \u{663}\r\n", "http.bad-length"),
    // Codings that some see and others do not.
    fields("Transfer-Encoding: xchunked\r\n", "http.bad-coding"),
    fields("Transfer-Encoding: chunked, chunked\r\n", "http.bad-coding"),
    fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "http.bad-coding"),
    fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", "http.bad-coding"),
    fields("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", "http.bad-coding"),
    fields("Transfer-Encoding: identity\r\n", "http.bad-coding"),
    fields("Transfer-Encoding: identity, chunked\r\n", "http.bad-coding"),
    fields("Transfer-Encoding: gzip, chunked\r\n", "http.bad-coding"),
    fields("Transfer-Encoding: chunked, identity\r\n", "http.bad-coding"),
    fields("Transfer-Encoding: chunked,\r\n", "http.bad-coding"),
    fields("Transfer-Encoding: ,chunked\r\n", "http.bad-coding"),
    fields("Transfer-Encoding: chunked;q=1\r\n", "http.bad-coding"),
    fields("Transfer-Encoding: \"chunked\"\r\n", "http.bad-coding"),
    fields("Transfer-Encoding: 'chunked'\r\n", "http.bad-coding"),
    fields("Transfer-Encoding: c h u n k e d\r\n", "http.bad-coding"),
    fields("Transfer-Encoding: \u{e9}chunked\r\n", "http.bad-coding"),
    fields("Transfer-Encoding: \r\n", "http.bad-coding"),
    fields("Transfer-Encoding: \u{b}chunked\r\n", "http.bad-value"),
    fields("Transfer-Encoding: chunked\u{c}\r\n", "http.bad-value"),
    fields("Transfer-Encoding: chunked\u{0}\r\n", "http.nul"),
    shape(
      "POST http://a.example/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "http.bad-coding"),
    // Names that some repair.
    fields("Transfer-Encoding : chunked\r\n", "http.bad-name"),
    fields("Content-Length : 5\r\n", "http.bad-name"),
    fields("Content-Length\t: 5\r\n", "http.bad-name"),
    fields("Transfer-Encoding\u{b}: chunked\r\n", "http.bad-name"),
    fields("Transfer\u{e9}Encoding: chunked\r\n", "http.bad-name"),
    fields("[Content-Length]: 5\r\n", "http.bad-name"),
    fields("Content-Length;: 5\r\n", "http.bad-name"),
    fields("(x): y\r\n", "http.bad-name"),
    fields("Content Length: 5\r\n", "http.bad-name"),
    fields(": 5\r\n", "http.bad-name"),
    fields("Content-Length\r\n", "http.bad-name"),
    fields("Content-Length 5\r\n", "http.bad-name"),
    fields("\u{0}Content-Length: 5\r\n", "http.nul"),
    // Lines that go on, also at once behind the first one.
    fields("X: a\r\n b\r\n", "http.obs-fold"),
    fields("X: a\r\n\tTransfer-Encoding: chunked\r\n", "http.obs-fold"),
    fields("Transfer-Encoding:\r\n chunked\r\n", "http.bad-coding"),
    fields("X:\r\n Transfer-Encoding: chunked\r\n", "http.obs-fold"),
    fields(" Content-Length: 5\r\n", "http.obs-fold"),
    shape(
      "GET http://a.example/ HTTP/1.1\r\n Host: a.example\r\n\r\n", "http.obs-fold"),
    shape(
      "GET http://a.example/ HTTP/1.1\r\n\tX: y\r\nHost: a.example\r\n\r\n", "http.obs-fold"),
    // Line ends of others.
    fields("X: y\n", "http.bad-line-end"),
    fields("X: y\nTransfer-Encoding: chunked\r\n", "http.bad-line-end"),
    fields("X: y\rTransfer-Encoding: chunked\r\n", "http.bad-line-end"),
    fields("X: y\r\rTransfer-Encoding: chunked\r\n", "http.bad-line-end"),
    fields("X: \r\r\n", "http.bad-line-end"),
    shape("GET http://a.example/ HTTP/1.1\nHost: a.example\n\n", "http.bad-line-end"),
    shape("GET http://a.example/ HTTP/1.1\rHost: a.example\r\r", "http.bad-line-end"),
    shape("\nGET http://a.example/ HTTP/1.1\r\n", "http.bad-line"),
    shape("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\n", "http.bad-line-end"),
    shape("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\r\n", "http.bad-line-end"),
    // Values with bytes that somebody takes for an end.
    fields("X: a\u{1}b\r\n", "http.bad-value"),
    fields("X: a\u{7f}b\r\n", "http.bad-value"),
    fields("X: a\u{1b}[2J\r\n", "http.bad-value"),
    fields("X: a\u{0}b\r\n", "http.nul"),
    // Hosts.
    shape("GET http://a.example/ HTTP/1.1\r\n\r\n", "http.no-host"),
    shape("GET http://a.example/ HTTP/1.1\r\nX: y\r\n\r\n", "http.no-host"),
    fields("Host: b.example\r\n", "http.many-hosts"),
    fields("Host: a.example\r\n", "http.many-hosts"),
    fields("HOST: a.example\r\n", "http.many-hosts"),
    shape(
      "GET http://a.example/ HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "http.many-hosts"),
    shape("GET http://a.example/ HTTP/1.1\r\nHost: a b\r\n\r\n", "http.bad-host"),
    shape("GET http://a.example/ HTTP/1.1\r\nHost: a.example, b\r\n\r\n", "http.bad-host"),
    shape("GET http://a.example/ HTTP/1.1\r\nHost: u@a.example\r\n\r\n", "http.bad-host"),
    shape("GET http://a.example/ HTTP/1.1\r\nHost: a.example/x\r\n\r\n", "http.bad-host"),
    shape("GET http://a.example/ HTTP/1.1\r\nHost: a.example:x\r\n\r\n", "http.bad-host"),
    shape("GET http://a.example/ HTTP/1.1\r\nHost: a:80:80\r\n\r\n", "http.bad-host"),
    // Request lines.
    shape("GET http://a.example/\r\nHost: a.example\r\n\r\n", "http.bad-line"),
    shape("GET\r\nHost: a.example\r\n\r\n", "http.bad-line"),
    shape("GET  http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-line"),
    shape("GET http://a.example/  HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-version"),
    shape("GET http://a.example/ HTTP/1.1 \r\nHost: a.example\r\n\r\n", "http.bad-version"),
    shape("GET http://a.example/ HTTP/1.1 x\r\nHost: a.example\r\n\r\n", "http.bad-version"),
    shape("GET\thttp://a.example/\tHTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-line"),
    shape("GET http://a.example/a b HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-version"),
    shape("GET http://a.example/ HTTP/1.2\r\nHost: a.example\r\n\r\n", "http.bad-version"),
    shape("GET http://a.example/ HTTP/2.0\r\nHost: a.example\r\n\r\n", "http.bad-version"),
    shape("GET http://a.example/ HTTP/0.9\r\nHost: a.example\r\n\r\n", "http.bad-version"),
    shape("GET http://a.example/ HTTP/1.10\r\nHost: a.example\r\n\r\n", "http.bad-version"),
    shape("GET http://a.example/ HTTP/01.1\r\nHost: a.example\r\n\r\n", "http.bad-version"),
    shape("GET http://a.example/ http/1.1\r\nHost: a.example\r\n\r\n", "http.bad-version"),
    shape("GET http://a.example/ HTTP/1,1\r\nHost: a.example\r\n\r\n", "http.bad-version"),
    shape("G(T http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-line"),
    shape(" GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-line"),
    shape("\r\n\r\n\r\nGET http://a.example/ HTTP/1.1\r\n", "http.bad-line"),
    shape("\u{16}\u{3}\u{1}\u{2}", "http.bad-line"),
    shape("\u{5}\u{1}\u{0}", "http.bad-line"),
    shape("\u{0}", "http.nul"),
    // Targets.
    shape("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.not-for-proxy"),
    shape("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.not-for-proxy"),
    shape("GET //a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.not-for-proxy"),
    shape("GET a.example:80 HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET https://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET ftp://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http:a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http:///x HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http:// HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http://:80/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http://u@a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http://u:p@a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http://a.example\\@b/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http://a.example#@b/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http://a.example/#x HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http://a%2eexample/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http://a.example:0/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http://a.example:65536/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http://a.example:+80/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http://a.example:80:80/ HTTP/1.1\r\nHost: a\r\n\r\n", "http.bad-target"),
    shape("GET http://[::1/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http://[::1]x/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http://[[::1]]/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http://::1/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("GET http://a,b/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("CONNECT a.example HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("CONNECT a.example: HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("CONNECT a.example:443/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("CONNECT https://a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n", "http.bad-target"),
    shape("CONNECT u@a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("CONNECT :443 HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("CONNECT /x HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("CONNECT ::1:443 HTTP/1.1\r\nHost: a.example\r\n\r\n", "http.bad-target"),
    shape("CONNECT a.example:443 HTTP/1.1\r\n\r\n", "http.no-host"),
    shape(
      "CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "http.bad-length"),
    shape(
      "CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
      "http.bad-length"),
    // Credentials that we and a log may read differently.
    fields(
      "Proxy-Authorization: Basic YQ==\r\nProxy-Authorization: Basic Yg==\r\n",
      "http.many-credentials"),
  ]

  static let chunks: [Shape] = [
    shape("x\r\n", "http.bad-chunk"), shape("\r\n", "http.bad-chunk"),
    shape("0x5\r\nabcde\r\n0\r\n\r\n", "http.bad-chunk"),
    shape("+5\r\nabcde\r\n0\r\n\r\n", "http.bad-chunk"),
    shape("-5\r\nabcde\r\n0\r\n\r\n", "http.bad-chunk"),
    shape(" 5\r\nabcde\r\n0\r\n\r\n", "http.bad-chunk"),
    shape("5 \r\nabcde\r\n0\r\n\r\n", "http.bad-chunk"),
    shape("5\t;x\r\nabcde\r\n0\r\n\r\n", "http.bad-chunk"),
    shape("5 5\r\nabcde\r\n0\r\n\r\n", "http.bad-chunk"),
    shape("5,\r\nabcde\r\n0\r\n\r\n", "http.bad-chunk"),
    shape("5_0\r\nabcde\r\n0\r\n\r\n", "http.bad-chunk"),
    shape("\u{0}5\r\nabcde\r\n0\r\n\r\n", "http.nul"),
    shape("5\nabcde\r\n0\r\n\r\n", "http.bad-line-end"),
    shape("5\rabcde\r\n0\r\n\r\n", "http.bad-line-end"),
    shape("5;x\ny\r\nabcde\r\n0\r\n\r\n", "http.bad-line-end"),
    shape("5;x\ry\r\nabcde\r\n0\r\n\r\n", "http.bad-line-end"),
    shape("5;x\u{1}\r\nabcde\r\n0\r\n\r\n", "http.bad-chunk"),
    shape("5\r\nabcdef\r\n0\r\n\r\n", "http.bad-chunk"),
    shape("5\r\nabcde\n0\r\n\r\n", "http.bad-chunk"),
    shape("5\r\nabcde\r0\r\n\r\n", "http.bad-chunk"),
    shape("5\r\nabcde0\r\n\r\n", "http.bad-chunk"),
    shape("5\r\nabc\r\n0\r\n\r\n", "http.bad-chunk"),
    shape("10000000000000000\r\n", "http.bad-chunk"),
    shape("ffffffffffffffff\r\n", "http.bad-chunk"),
    shape("0000000000000000\r\n\r\n", "http.bad-chunk"),
    shape("8000000000000005\r\nabcde\r\n", "http.bad-chunk"),
    shape("\u{ff15}\r\nabcde\r\n", "http.bad-chunk"),
    shape("0\r\nX : y\r\n\r\n", "http.bad-name"), shape("0\r\nX\r\n\r\n", "http.bad-name"),
    shape("0\r\n X: y\r\n\r\n", "http.obs-fold"),
    shape("0\r\nX: y\r\n z\r\n\r\n", "http.obs-fold"),
    shape("0\r\nX: y\n\r\n", "http.bad-line-end"),
    shape("0\r\nX: \u{1}\r\n\r\n", "http.bad-value"),
    shape("0\r\nContent-Length: 5\r\n\r\n", "http.bad-trailer"),
    shape("0\r\nTransfer-Encoding: chunked\r\n\r\n", "http.bad-trailer"),
    shape("0\r\nHost: b\r\n\r\n", "http.bad-trailer"),
    shape("0\r\nGET http://b/ HTTP/1.1\r\n\r\n", "http.bad-name"),
  ]
}
