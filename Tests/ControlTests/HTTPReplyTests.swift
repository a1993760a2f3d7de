import Testing

@testable import Control

@Suite struct HTTPReplyTests {
  private func read(
    _ text: String, pieces: Int = .max, ends: Bool = false
  ) throws -> (Int, String) {
    var reply = HTTPReply()
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      try reply.feed(Array(rest.prefix(pieces)))
      rest = rest.dropFirst(pieces)
    }
    if ends { try reply.end() }
    guard reply.isComplete else { throw HTTPReply.Fault.malformed }
    return (reply.status, String(decoding: reply.takeBody(), as: UTF8.self))
  }

  // RFC 9112 section 6.3: the length of a message.
  @Test(
    arguments: [
      ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
      ("HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n", 200, ""),
      (
        "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
          + "5;x=1\r\nhello\r\nA\r\n, world 12\r\n0\r\nx: y\r\n\r\n", 404, "hello, world 12"
      ),
      (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, "ok"
      ),
      ("HTTP/1.1 200 OK\n\ncontent", 200, "content"),
    ])
  func aReplyIsReadInPiecesOfAnySize(text: String, status: Int, body: String) throws {
    for pieces in [1, 2, 3, 7, .max] {
      #expect(try read(text, pieces: pieces, ends: true) == (status, body))
    }
  }

  @Test(
    arguments: [
      "SSH-2.0-x\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
      "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n", "\r\n\r\n",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
      "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell", "HTTP/1.1 200",
    ])
  func whatIsNoReplyIsAFault(text: String) {
    #expect(throws: HTTPReply.Fault.malformed) { try read(text, ends: true) }
  }

  @Test(
    arguments: [
      "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7fffffffff\r\n",
      String(repeating: "x", count: 20_000),
      "HTTP/1.1 200 OK\r\n" + String(repeating: "a: b\r\n", count: 5000),
    ])
  func whatIsTooLongIsAFault(text: String) {
    #expect(throws: HTTPReply.Fault.tooLong) { try read(text) }
  }
}

@Suite struct VisibleTests {
  @Test(
    arguments: [
      ("plain äöü 你好", "plain äöü 你好"), ("a\nb\tc\r", #"a\u{a}b\u{9}c\u{d}"#),
      ("\u{1b}[2J", #"\u{1b}[2J"#), ("\u{9b}1m\u{7f}\u{0}", #"\u{9b}1m\u{7f}\u{0}"#),
      ("\u{202e}evil\u{2028}\u{200b}", #"\u{202e}evil\u{2028}\u{200b}"#),
      ("\u{a0}\u{feff}\u{e000}", #"\u{a0}\u{feff}\u{e000}"#),
      (#"C:\x"#, #"C:\\x"#),
    ])
  func nothingThatATerminalObeys(text: String, shown: String) {
    #expect(Visible.text(text) == shown)
  }

  @Test(
    arguments: [
      (0, "0"), (999, "999"), (1000, "1.0K"), (1536, "1.5K"), (10_240, "10K"), (1_023_000, "999K"),
      (1_023_500, "1.0M"), (5 << 30, "5.0G"), (.max, "16E"),
    ] as [(UInt64, String)])
  func bytesAreThreeFigures(count: UInt64, shown: String) {
    #expect(Visible.bytes(count) == shown)
  }

  @Test(
    arguments: [
      (0, "0.0s"), (0.44, "0.4s"), (9.94, "9.9s"), (9.96, "10s"), (59.4, "59s"), (60, "1m"),
      (80, "1m20s"), (3600, "1h"), (3900, "1h5m"), (90_000, "1d1h"), (86_400 * 400, "400d"),
      (-1, "?"), (.infinity, "?"), (.nan, "?"),
    ] as [(Double, String)])
  func durationsHaveTwoUnits(seconds: Double, shown: String) {
    #expect(Visible.duration(seconds: seconds) == shown)
  }

  @Test func aTableIsAligned() {
    var table = TextTable(["NAME": .left, "COUNT": .right, "WHY": .left])
    #expect(table.text == "")
    table.add(["a", "1", ""])
    table.add(["long", "12345", "x\ny"])
    #expect(
      table.text == """
        NAME  COUNT  WHY
        a         1
        long  12345  x\\u{a}y

        """)
  }
}
