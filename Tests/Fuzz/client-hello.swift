/// Any bytes as records in any segments, then as the body of a hello in one record and in many.
func fuzzClientHello(_ bytes: Span<UInt8>) {
  var hash: UInt64 = 0xcbf2_9ce4_8422_2325
  for index in bytes.indices { hash = (hash ^ UInt64(bytes[index])) &* 0x100_0000_01b3 }
  demandSameInSegments(bytes, &hash)

  var body: [UInt8] = []
  for index in bytes.indices { body.append(bytes[index]) }
  let message = [1, 0, UInt8(body.count >> 8), UInt8(body.count & 255)] + body
  let plain = inRecords(message) { _ in message.count }
  let cut = inRecords(message) { left in
    min(left, 1 + Int(next(&hash) & (hash & 256 == 0 ? 3 : 63)))
  }
  let whole = ClientHello.decode(plain.span)
  let pieces = ClientHello.decode(cut.span)
  demandSound(whole, of: plain.span)
  demandSameInSegments(cut.span, &hash)
  switch (whole, pieces) {
  case (.done(let one, plain.count), .done(let other, cut.count)):
    let (content, otherContent) = (Content(one, in: plain.span), Content(other, in: cut.span))
    demand(content == otherContent, "\(content) in one record, \(otherContent) in many")
  case (.invalid(let reason), .invalid(let other)):
    demand(reason.code == other.code, "\(reason) in one record, \(other) in many")
  default: fatalError("\(whole) in one record, \(pieces) in many")
  }
}

private func next(_ hash: inout UInt64) -> UInt64 {
  hash = (hash ^ hash >> 29) &* 0xbf58_476d_1ce4_e5b9
  return hash >> 24
}

private func inRecords(_ message: [UInt8], _ length: (Int) -> Int) -> [UInt8] {
  var bytes: [UInt8] = []
  var at = 0
  while at < message.count {
    let count = length(message.count - at)
    bytes += [22, 3, 1, UInt8(count >> 8), UInt8(count & 255)] + message[at..<(at + count)]
    at += count
  }
  return bytes
}

/// The verdict is that on one piece, and none is ever taken back.
private func demandSameInSegments(_ bytes: Span<UInt8>, _ hash: inout UInt64) {
  let whole = ClientHello.decode(bytes)
  demandSound(whole, of: bytes)
  var held = 0
  var verdict = ClientHello.decode(bytes.extracting(0..<0))
  while held < bytes.count {
    // Mostly single bytes, now and then a piece; larger ones where there are many bytes.
    let longest = UInt64(1 + bytes.count / 8)
    held = min(bytes.count, held + 1 + (next(&hash) & 3 == 0 ? Int(next(&hash) % longest) : 0))
    let later = ClientHello.decode(bytes.extracting(0..<held))
    if case .needMore(let asked) = verdict {
      if held < asked, case .done = later { fatalError("asked for more than was needed") }
    } else {
      demand(later == verdict, "took back \(verdict) for \(later)")
    }
    verdict = later
  }
  demand(verdict == whole, "\(verdict) in segments, \(whole) in one piece")
  let ended = ClientHello.decode(bytes, ended: true)
  if case .needMore = whole {
    demand(ended == .invalid(Reason(.tlsTruncated, at: bytes.count)), "no end at the end")
  } else {
    demand(ended == whole, "the end changes a verdict")
  }
}

/// What holds for every answer, whatever the bytes.
private func demandSound(_ result: Parse<ClientHello>, of bytes: Span<UInt8>) {
  switch result {
  case .needMore(let atLeast):
    demand(atLeast > bytes.count, "asks for bytes it has")
  case .invalid(let reason):
    demand((0...bytes.count).contains(reason.offset), "offset outside the input")
  case .done(let hello, let consumed):
    demand((1...bytes.count).contains(consumed), "consumed outside the input")
    // The records that held it are enough to read all of it.
    let held = bytes.extracting(0..<consumed)
    demand(ClientHello.decode(held) == result, "looked at what follows")
    let content = Content(hello, in: held)
    let isName = content.form == .hostName || content.form == .trailingDot
    demand(isName == (content.hostName != nil), "\(content)")
    demand(content.hostName.map { Array($0.utf8) } == content.lowered, "\(content)")
    demand(!content.protocols.contains([]), "an empty protocol")
  }
}

/// All that a hello says, without where it said it.
private struct Content: Equatable {
  var numbers: [Int]
  var form: ClientHello.ServerName.Form?
  var name: [UInt8]?
  var hostName: String?
  var lowered: [UInt8]?
  var protocols: [[UInt8]] = []

  init(_ hello: ClientHello, in bytes: Span<UInt8>) {
    numbers = [
      Int(hello.legacyVersion), Int(hello.highestVersion ?? 0), hello.sessionIDLength,
      hello.cipherCount, hello.offersECH ? 1 : 0,
    ]
    if let found = hello.serverName {
      form = found.form
      name = copy(found.bytes, from: bytes)
      hostName = found.hostName(in: bytes)?.text
      var isHostName = false
      let text = [UInt8](capacity: 253) { output in
        isHostName = found.appendHostName(to: &output, from: bytes)
      }
      lowered = isHostName ? text : nil
    }
    var walk = hello.protocols
    while let name = walk.next(in: bytes) { protocols.append(copy(name, from: bytes)) }
  }
}

private func copy(_ run: RecordBytes, from bytes: Span<UInt8>) -> [UInt8] {
  let copied = [UInt8](capacity: run.count) { output in
    demand(run.append(to: &output, from: bytes), "no room for as much as was asked for")
  }
  demand(run.equals(copied.span, in: bytes), "the copy is another")
  if let range = run.range { demand(range.map { bytes[$0] } == copied, "the range is another") }
  return copied
}
