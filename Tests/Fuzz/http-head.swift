/// Any bytes as the head of a request and of a response, in one piece and byte by byte; what is
/// taken is written, and read again as the same.
func fuzzHTTPHead(_ bytes: Span<UInt8>) {
  let limits = HTTPLimits(head: 400, fields: 12)
  let whole = HTTPTalk(bytes, segment: bytes.count, limits)
  let pieces = HTTPTalk(bytes, segment: 1, limits)
  demand(whole == pieces, "\(pieces) in pieces, \(whole) in one")
  if case .done(let head, let consumed) = whole.request {
    demand(consumed <= bytes.count && head.fields.upperBound + 2 == consumed, "ends elsewhere")
    demand(head.host.lowerBound == head.authority.lowerBound && !head.host.isEmpty, "no host")
    demand(head.contentLength == nil || !head.isChunked, "two lengths")
    fuzzForward(head, bytes)
  }
  if case .done(let head, let consumed) = whole.response {
    demand(consumed <= bytes.count && (100...599).contains(head.status), "no status")
    let written = [UInt8](capacity: bytes.count + 256) { output in
      head.write(bytes, via: [], isLast: false, into: &output)
    }
    var scan = HTTPHeadScan()
    guard case .done(let again, written.count) = HTTPResponseHead.parse(written.span, &scan) else {
      fatalError("our own response is refused: \(String(decoding: written, as: UTF8.self))")
    }
    demand(again.status == head.status, "another status")
    demand(
      again.body(answersHead: false) == head.body(answersHead: false), "another body")
  }
}

private func fuzzForward(_ head: HTTPRequestHead, _ bytes: Span<UInt8>) {
  guard head.form == .absolute else { return }
  var onward = HTTPOnward()
  onward.isForProxy = true
  let written = [UInt8](capacity: bytes.count + onward.room()) { output in
    head.write(bytes, as: onward, into: &output)
  }
  var scan = HTTPHeadScan()
  guard case .done(let again, written.count) = HTTPRequestHead.parse(written.span, &scan) else {
    fatalError("our own request is refused: \(String(decoding: written, as: UTF8.self))")
  }
  demand(again.port == head.port && again.host.count == head.host.count, "another host")
  demand(
    again.contentLength == head.contentLength && again.isChunked == head.isChunked,
    "another length")
  demand(again.credentials == nil, "credentials go on")
}

private struct HTTPTalk: Equatable {
  var request = HTTPParse<HTTPRequestHead>.more
  var response = HTTPParse<HTTPResponseHead>.more

  init(_ bytes: Span<UInt8>, segment: Int, _ limits: HTTPLimits) {
    var scans = (HTTPHeadScan(), HTTPHeadScan())
    var end = 0
    repeat {
      end = min(bytes.count, end + max(segment, 1))
      let held = bytes.extracting(0..<end)
      if request == .more { request = HTTPRequestHead.parse(held, &scans.0, limits) }
      if response == .more { response = HTTPResponseHead.parse(held, &scans.1, limits) }
    } while end < bytes.count
  }
}
