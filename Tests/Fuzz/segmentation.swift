/// Any bytes in any segments: the verdict is that on one piece, and none is ever taken back.
func fuzzSegmentation(_ bytes: Span<UInt8>) {
  var hash: UInt64 = 0xcbf2_9ce4_8422_2325
  for index in bytes.indices { hash = (hash ^ UInt64(bytes[index])) &* 0x100_0000_01b3 }
  let whole = ProxyHeader.decode(bytes)
  var held = 0
  var verdict = ProxyHeader.decode(bytes.extracting(0..<0))
  while held < bytes.count {
    hash = (hash ^ hash >> 29) &* 0xbf58_476d_1ce4_e5b9
    // Mostly single bytes, now and then a piece.
    held = min(bytes.count, held + (hash & 7 == 0 ? 1 + Int(hash >> 32 & 63) : 1))
    let next = ProxyHeader.decode(bytes.extracting(0..<held))
    if case .needMore(let asked) = verdict {
      if held < asked, case .done = next { fatalError("asked for more than was needed") }
    } else {
      demand(next == verdict, "took back \(verdict) for \(next)")
    }
    verdict = next
  }
  demand(verdict == whole, "\(verdict) in segments, \(whole) in one piece")
  let ended = ProxyHeader.decode(bytes, ended: true)
  if case .needMore = whole {
    guard case .invalid(let reason) = ended else { fatalError("still waits at the end") }
    demand(reason.offset == bytes.count, "truncated elsewhere than at the end")
  } else {
    demand(ended == whole, "the end changes a verdict")
  }
}
