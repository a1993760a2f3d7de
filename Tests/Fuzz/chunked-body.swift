/// Any bytes as a chunked body, in one piece, byte by byte, and in pieces of any length: the same
/// bytes pass, and the end is the same.
func fuzzChunkedBody(_ bytes: Span<UInt8>) {
  let whole = Passage(bytes, segment: bytes.count)
  demand(whole.passed <= bytes.count, "passes more than there is")
  for segment in [1, 2, 3, 7] {
    let pieces = Passage(bytes, segment: segment)
    demand(pieces.end == whole.end, "\(pieces) in pieces of \(segment), \(whole) in one")
    // What is wrong may be seen before all that is right has passed.
    demand(pieces.end == .fault || pieces.passed == whole.passed, "\(pieces), \(whole)")
  }
}

private struct Passage: Equatable {
  enum End: Equatable { case open, whole, fault }

  var passed = 0
  var end = End.open

  init(_ bytes: Span<UInt8>, segment: Int) {
    var body = ChunkedBody()
    var arrived = 0
    var announced: UInt64 = 0
    while arrived < bytes.count {
      arrived = min(bytes.count, arrived + segment)
      while end == .open {
        let skipped = min(announced, UInt64(arrived - passed))
        passed += Int(skipped)
        announced -= skipped
        if announced > 0 { break }
        let step = body.take(bytes.extracting(passed..<arrived))
        guard case .pass(let count) = step else {
          finish(step, arrived)
          break
        }
        demand(count > 0, "passes nothing")
        announced = count
      }
      if end != .open { return }
    }
  }

  private mutating func finish(_ step: ChunkedBody.Step, _ arrived: Int) {
    switch step {
    case .more, .pass: break
    case .end(let count):
      demand(count <= arrived - passed, "ends beyond what is there")
      passed += count
      end = .whole
    case .invalid: end = .fault
    }
  }
}
