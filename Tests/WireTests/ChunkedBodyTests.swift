import Testing

@testable import Wire

/// Chunked bodies as they pass: RFC 9112 section 7.1.
struct ChunkedBodyTests {
  struct Passed: Equatable {
    /// Bytes passed on, and those of them that a step announced before they came.
    var count = 0
    var end: ChunkedBody.Step?
  }

  /// Gives what has come to the body in segments, as a relay does: what is passed on is not shown
  /// again, and what was announced is not shown at all.
  static func pass(_ text: String, segment: Int = .max, ended: Bool = true) -> Passed {
    let bytes = Array(text.utf8)
    var body = ChunkedBody()
    var passed = Passed()
    var announced = 0
    var arrived = 0
    while true {
      arrived = segment > bytes.count - arrived ? bytes.count : arrived + segment
      let isLast = arrived == bytes.count
      while true {
        let skipped = min(announced, arrived - passed.count)
        passed.count += skipped
        announced -= skipped
        if announced > 0 { break }
        let held = Array(bytes[passed.count..<arrived])
        switch body.take(held.span, ended: ended && isLast) {
        case .more: announced = -1
        case .pass(let count): announced = Int(count)
        case .end(let count):
          passed.count += count
          passed.end = .end(0)
          return passed
        case .invalid(let fault):
          passed.end = .invalid(fault)
          return passed
        }
        if announced < 0 { break }
      }
      announced = max(announced, 0)
      if isLast { return passed }
    }
  }

  static let bodies = [
    "0\r\n\r\n", "5\r\nabcde\r\n0\r\n\r\n", "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
    "5\r\n\r\n0\r\n\r\n0\r\n\r\n",
    "A\r\n0123456789\r\n00\r\n\r\n", "a;x=y\r\n0123456789\r\n0;z\r\n\r\n",
    "1;x=\"a;b\"\r\n\0\r\n0\r\n\r\n", "0\r\nX: y\r\nSignature:\r\n\r\n",
    "000000000000005\r\nabcde\r\n000000000000000\r\n\r\n",
  ]

  @Test(arguments: bodies)
  func whatFollowsTheGrammarPasses(text: String) {
    for segment in 1...text.utf8.count + 1 {
      let passed = Self.pass(text, segment: segment)
      #expect(passed == Passed(count: text.utf8.count, end: .end(0)))
      // What follows is not the body's.
      let followed = Self.pass(text + "GET http://b/ HTTP/1.1\r\n", segment: segment)
      #expect(followed == Passed(count: text.utf8.count, end: .end(0)))
    }
  }

  /// Data is announced as soon as its size is known, so that it can be relayed without being held.
  @Test func dataNeedNotBeHeld() {
    var body = ChunkedBody()
    let steps = ["10000\r\nab", "\r\n", "0", "0\r\n\r\n"].map { text in
      let held = Array(text.utf8)
      return body.take(held.span)
    }
    #expect(steps == [.pass(7 + 65536), .pass(2), .more, .end(5)])
  }

  @Test(arguments: SmugglingShapes.chunks)
  func whatCanBeTakenInTwoWaysIsRefused(shape: SmugglingShapes.Shape) {
    for segment in [Int.max, 1, 2, 3] {
      let fault = HTTPFault(rawValue: shape.fault)!
      let passed = Self.pass(shape.text, segment: segment)
      #expect(passed.end == .invalid(fault), "in segments of \(segment): \(passed)")
      #expect(passed.count < shape.text.utf8.count)
    }
  }

  @Test func everythingHasALimit() {
    let long = String(repeating: "x", count: ChunkedBody.lineLimit)
    #expect(Self.pass("5;" + long).end == .invalid(.badChunk))
    #expect(Self.pass("0\r\nX: " + long).end == .invalid(.badChunk))
    let line = "X: " + String(repeating: "y", count: 1000) + "\r\n"
    let many = "0\r\n" + String(repeating: line, count: 17) + "\r\n"
    for segment in [Int.max, 100] {
      #expect(Self.pass(many, segment: segment).end == .invalid(.headTooLong))
    }
  }

  @Test(arguments: bodies)
  func anEndWithinABodyIsSeen(text: String) {
    for count in 0..<text.utf8.count {
      let part = String(decoding: Array(text.utf8.prefix(count)), as: UTF8.self)
      let end = Self.pass(part).end
      // Within data it is the relay that sees it.
      #expect(end == nil || end == .invalid(.truncated))
      #expect(Self.pass(part, ended: false).end == nil)
    }
  }
}
