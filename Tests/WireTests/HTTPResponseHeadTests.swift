import Testing

@testable import Wire

/// Heads of responses: RFC 9112 sections 4 and 6.
struct HTTPResponseHeadTests {
  private static func parse(_ text: String) -> HTTPParse<HTTPResponseHead> {
    var scan = HTTPHeadScan()
    let bytes = Array(text.utf8)
    return HTTPResponseHead.parse(bytes.span, &scan)
  }

  private static func head(_ text: String) throws -> HTTPResponseHead {
    guard case .done(let head, let consumed) = parse(text) else {
      throw HTTPRequestHeadTests.Refused(description: "\(parse(text))")
    }
    #expect(consumed == text.utf8.count)
    return head
  }

  /// RFC 9112 section 6.3, in its order.
  @Test(arguments: [
    ("200 OK", "", false, HTTPResponseHead.Body.toEnd),
    ("200 OK", "Content-Length: 5\r\n", false, .length(5)),
    ("200 OK", "Content-Length: 0\r\n", false, .none),
    ("200 OK", "Transfer-Encoding: chunked\r\n", false, .chunked),
    ("200 OK", "Content-Length: 5\r\n", true, .none),
    ("200 OK", "Transfer-Encoding: chunked\r\n", true, .none), ("200 OK", "", true, .none),
    ("204 No Content", "", false, .none),
    ("304 Not Modified", "Content-Length: 5\r\n", false, .none),
    ("100 Continue", "", false, .none), ("103 Early Hints", "Link: x\r\n", false, .none),
    ("101 Switching Protocols", "", false, .none), ("205 Reset Content", "", false, .toEnd),
    ("502 Bad Gateway", "Content-Length: 3\r\n", false, .length(3)),
  ])
  func bodiesEndWhereTheSpecificationSays(
    status: String, field: String, answersHead: Bool, body: HTTPResponseHead.Body
  ) throws {
    let head = try Self.head("HTTP/1.1 \(status)\r\n\(field)\r\n")
    #expect(head.body(answersHead: answersHead) == body)
    #expect(head.status == Int(status.prefix(3)))
  }

  /// A phrase may be missing, with or without the blank before it, and may be in any encoding.
  @Test func phrasesDoNotMatter() throws {
    for line in ["HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.1 200 gut \u{fc}ber alles"] {
      let head = try Self.head("\(line)\r\n\r\n")
      #expect(head.status == 200 && head.phrase.count == max(0, line.utf8.count - 13))
    }
  }

  @Test(arguments: [
    ("1.1", "", false), ("1.1", "Connection: close\r\n", true), ("1.0", "", true),
    ("1.0", "Connection: keep-alive\r\n", false),
  ])
  func connectionsGoOnOrNot(version: String, field: String, isLast: Bool) throws {
    #expect(try Self.head("HTTP/\(version) 200 OK\r\n\(field)\r\n").isLast == isLast)
  }

  @Test(arguments: [
    ("HTTP/1.1 20 OK", "http.bad-line"), ("HTTP/1.1 2000 OK", "http.bad-line"),
    ("HTTP/1.1 099 OK", "http.bad-line"), ("HTTP/1.1 600 OK", "http.bad-line"),
    ("HTTP/1.1 abc OK", "http.bad-line"), ("HTTP/1.1  200 OK", "http.bad-line"),
    ("HTTP/1.1", "http.bad-line"), ("HTTP/2 200 OK", "http.bad-line"),
    ("HTTP/2.0 200 OK", "http.bad-version"), ("ICY/1.0 200 OK", "http.bad-line"),
    ("http/1.1 200 OK", "http.bad-version"), ("HTTP/1.1 200 O\u{1}K", "http.bad-value"),
    ("HTTP/1.1 200\tOK", "http.bad-line"),
    ("HTTP/1.1 200 OK\r\nX : y", "http.bad-name"), ("HTTP/1.1 200 OK\r\n X: y", "http.obs-fold"),
    ("HTTP/1.1 200 OK\nX: y", "http.bad-line-end"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", "http.both-lengths"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6", "http.many-lengths"),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", "http.bad-coding"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", "http.bad-coding"),
    ("220 mail.example ESMTP", "http.bad-line"),
  ])
  func whatIsNoneIsRefused(line: String, code: String) {
    #expect(Self.parse("\(line)\r\n\r\n") == .invalid(HTTPFault(rawValue: code)!))
  }
}
