import Routing
import Testing
import Wire

// What a listener makes of the first bytes of a source that must or may send a header. The
// sentences are those of haproxy's doc/proxy-protocol.txt.

private let v1 = Array("PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\r\n".utf8)
private let unknown = Array("PROXY UNKNOWN\r\n".utf8)
private let v2Signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10]
private let v2Local: [UInt8] = v2Signature + [0x20, 0, 0, 0]

private func decide(
  _ bytes: [UInt8], _ ending: Ending = .no, required: Bool = true, limit: Int = 4096,
  unknown: Bool = true
) -> HeaderVerdict {
  HeaderIntake(limit: limit, acceptsUnknown: unknown).decide(
    bytes.span, ending, required: required)
}

@Suite struct HeaderIntakeTests {
  /// "The receiver MUST NOT start processing the connection before it receives a complete and
  /// valid PROXY protocol header."
  @Test func everyPrefixOfAHeaderIsWaitedFor() {
    for header in [v1, unknown, v2Local] {
      for count in 0..<header.count {
        #expect(decide(Array(header[..<count])) == .needMore)
      }
      guard case .header(_, let consumed) = decide(header + [1, 2, 3]) else {
        Issue.record("not taken: \(header)")
        continue
      }
      #expect(consumed == header.count)
    }
  }

  @Test func aHeaderThatDoesNotComeInTimeIsATimeout() {
    #expect(decide([], .timedOut) == .reject(.headerTimeout, offset: 0))
    #expect(decide(Array(v1.prefix(9)), .timedOut) == .reject(.headerTimeout, offset: 9))
  }

  /// Connecting and leaving is what health checks do.
  @Test func anEndBeforeTheFirstByteIsAProbe() {
    #expect(decide([], .halfClosed) == .reject(.parser(.proxyProbe), offset: 0))
    #expect(
      decide(Array(v1.prefix(9)), .halfClosed) == .reject(.parser(.proxyTruncated), offset: 9))
  }

  /// "The receiver MUST be configured to only receive the protocol described in this specification
  /// and MUST not try to guess whether the protocol header is present or not."
  @Test func whateverIsNoHeaderIsRefusedWhereOneIsRequired() {
    #expect(
      decide(Array("EHLO example\r\n".utf8)) == .reject(.parser(.proxyBadSignature), offset: 0))
  }

  @Test func whereAHeaderIsOptionalOtherBytesArePayload() {
    #expect(decide(Array("EHLO example\r\n".utf8), required: false) == .noHeader)
    #expect(decide([0x16, 3, 1], required: false) == .noHeader)
    #expect(decide(Array("PRO".utf8), required: false) == .needMore)
    #expect(decide(Array("PRO".utf8), .timedOut, required: false) == .noHeader)
    #expect(decide([], .halfClosed, required: false) == .noHeader)
    #expect(decide(Array("PROPFIND /".utf8), required: false) == .noHeader)
    guard case .header = decide(v1, required: false) else {
      Issue.record("a header is a header")
      return
    }
    // Once it is one by its signature it must be valid.
    guard case .reject = decide(Array("PROXY TCP9 x\r\n".utf8), required: false) else {
      Issue.record("a broken header was taken for payload")
      return
    }
  }

  @Test func unknownIsServedOrNot() {
    guard case .header = decide(unknown) else {
      Issue.record("UNKNOWN was refused")
      return
    }
    #expect(decide(unknown, unknown: false) == .reject(.headerUnknown, offset: 6))
    guard case .header = decide(v2Local, unknown: false) else {
      Issue.record("LOCAL is not UNKNOWN")
      return
    }
  }

  @Test func theLimitIsHeldAgainstTheLengthField() {
    let long = v2Signature + [0x20, 0, 0x10, 0]
    #expect(decide(long, limit: 4096) == .reject(.parser(.proxyTooLong), offset: 14))
    #expect(decide(long, limit: 4112) == .needMore)
  }
}

@Suite struct ForgeryTests {
  @Test func aSignatureIsForgedAndNothingElse() {
    #expect(ForgeryVerdict(v1.span, .no) == .forged)
    #expect(ForgeryVerdict(v2Local.span, .no) == .forged)
    for text in ["EHLO x\r\n", "PROXYX", "GET / HTTP/1.1", "\r\n\r\nQUIT"] {
      #expect(ForgeryVerdict(Array(text.utf8).span, .no) == .clean, "\(text)")
    }
    for count in 0..<6 { #expect(ForgeryVerdict(Array(v1[..<count]).span, .no) == .needMore) }
    for count in 0..<12 {
      #expect(ForgeryVerdict(Array(v2Local[..<count]).span, .no) == .needMore)
    }
  }

  @Test func aStreamThatEndsBeforeItIsASignatureIsClean() {
    #expect(ForgeryVerdict(Array("PROXY".utf8).span, .halfClosed) == .clean)
    #expect(ForgeryVerdict(Array<UInt8>().span, .halfClosed) == .clean)
  }

  /// A client that waits out some deadline may still send the rest of one.
  @Test func timeMakesNothingClean() {
    #expect(ForgeryVerdict(Array("PROXY".utf8).span, .timedOut) == .needMore)
    #expect(ForgeryVerdict(Array<UInt8>().span, .timedOut) == .needMore)
    #expect(ForgeryVerdict(Array("PROXY ".utf8).span, .timedOut) == .forged)
  }
}
