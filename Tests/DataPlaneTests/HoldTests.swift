import CSluice
import Glibc
import TestSupport
import Testing

/// The first bytes of a client: asked about, held, replayed.
@Suite struct HoldTests {
  @Test(arguments: Source.available)
  func asksWithNothingAtAccept(_ source: Source) throws {
    let worker = try ScriptedWorker(source) { hands, seen in hands.reject(seen.id) }
    let client = try StreamSocket.connect(to: worker.listen(tag: 42))
    try client.write("hello")
    let ask = try worker.event("an ask") { $0.kind == .ask }
    #expect(ask.bytes.isEmpty)
    #expect(ask.side == .client)
    #expect(ask.final == .no)
    #expect(ask.listener == 42)
    let closed = try worker.closed()
    #expect(closed.ends == [.rejected])
    #expect(closed.summary?.reason == 1)
  }

  @Test(arguments: Source.available)
  func asksAgainWithAllBytesHeldSoFar(_ source: Source) throws {
    let worker = try ScriptedWorker(source) { hands, seen in hands.answer(seen.id, .hold()) }
    let client = try StreamSocket.connect(to: worker.listen())
    try worker.event("the first ask") { $0.kind == .ask && $0.bytes.isEmpty }
    try client.write("EHLO")
    try worker.event("the first bytes") { $0.text == "EHLO" && $0.final == .no }
    try client.write(" there")
    let second = try worker.event("more bytes") { $0.text == "EHLO there" }
    #expect(second.final == .no)
    #expect(try worker.stats.buffers == 1)
    client.reset()
    let closed = try worker.closed()
    #expect(closed.ends == [.client_reset])
    // Nothing was decided, so nothing went up.
    #expect(closed.summary?.bytes_up == 0)
    #expect(try worker.stats.buffers == 0)
  }

  /// Bytes beyond the cap stay in the kernel until the cap is raised.
  @Test(arguments: Source.available)
  func aFullHoldIsFinal(_ source: Source) throws {
    let worker = try ScriptedWorker(source) { hands, seen in
      hands.answer(seen.id, seen.final == .full && seen.bytes.count == 8 ? .hold(12) : .hold(8))
    }
    let client = try StreamSocket.connect(to: worker.listen())
    try client.write("0123456789abcdef")
    let full = try worker.event("a full ask") { $0.final == .full }
    #expect(full.text == "01234567")
    try worker.event("a second full ask") { $0.final == .full && $0.text == "0123456789ab" }
  }

  @Test(arguments: Source.available)
  func aHalfClosedHoldIsFinal(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source) { hands, seen in
      hands.answer(seen.id, seen.final == .half_closed ? .relay(route) : .hold())
    }
    let client = try StreamSocket.connect(to: worker.listen())
    try client.write("all I say")
    client.finish()
    try worker.event("the last ask") { $0.final == .half_closed && $0.text == "all I say" }
    let upstream = try backend.accept()
    let (said, ending) = try upstream.readToEnd()
    #expect(String(decoding: said, as: UTF8.self) == "all I say")
    #expect(ending == .fin)
    try upstream.write("answer")
    upstream.close()
    #expect(try client.readToEnd().bytes == Array("answer".utf8))
    #expect(try worker.closed().ends == [.client_fin, .upstream_fin])
  }

  @Test(arguments: Source.available)
  func aTimedOutHoldIsFinalAndThenTheEnd(_ source: Source) throws {
    let worker = try ScriptedWorker(source) { hands, seen in
      // Undecided to the last: what was given as the time is not given again.
      hands.answer(seen.id, seen.bytes.isEmpty ? .hold(ms: 80) : .hold(ms: 0))
    }
    let client = try StreamSocket.connect(to: worker.listen())
    try client.write("half a lin")
    let (last, ms) = try timed {
      try worker.event("the time-out") { $0.final == .timed_out }
    }
    #expect(last.text == "half a lin")
    #expect(ms < 5000)
    let closed = try worker.closed()
    #expect(closed.ends == [.deadline_preface])
    // Deadlines count whole milliseconds.
    #expect((closed.summary?.duration_us ?? 0) >= 79_000)
    #expect(try client.readToEnd().bytes.isEmpty)
  }

  /// A decision at the last moment still counts.
  @Test(arguments: Source.available)
  func aTimedOutHoldMayBeRouted(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source) { hands, seen in
      hands.answer(seen.id, seen.final == .timed_out ? .relay(route) : .hold(ms: 60))
    }
    let client = try StreamSocket.connect(to: worker.listen())
    let upstream = try backend.accept()
    try upstream.write("220 ready")
    #expect(try client.readExactly(9) == Array("220 ready".utf8))
    try client.write("late")
    #expect(try upstream.readExactly(4) == Array("late".utf8))
  }

  @Test(arguments: Source.available)
  func nothingDecidedAtAcceptIsTheEnd(_ source: Source) throws {
    let worker = try ScriptedWorker(source) { hands, seen in hands.answer(seen.id, Answer()) }
    let client = try StreamSocket.connect(to: worker.listen())
    #expect(try client.readToEnd().bytes.isEmpty)
    #expect(try worker.closed().ends == [.deadline_preface])
  }

  @Test(arguments: Source.available)
  func heldBytesAreReplayedBehindWhatWasConsumed(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source) { hands, seen in
      let decided = seen.bytes.count >= 12
      hands.answer(seen.id, decided ? .relay(route, consumed: 6) : .hold())
    }
    let client = try StreamSocket.connect(to: worker.listen())
    try client.write("PROXY ")
    try worker.event("the prefix") { $0.text == "PROXY " }
    try client.write("hello ")
    let upstream = try backend.accept()
    #expect(try upstream.readExactly(6) == Array("hello ".utf8))
    try client.write("world")
    #expect(try upstream.readExactly(5) == Array("world".utf8))
    client.finish()
    #expect(try upstream.readToEnd().bytes.isEmpty)
    upstream.close()
    // What was consumed went nowhere.
    #expect(try worker.closed().summary?.bytes_up == 11)
  }

  /// Bytes can be consumed without a decision: the next ask shows what is left.
  @Test(arguments: Source.available)
  func consumingWhileHolding(_ source: Source) throws {
    let worker = try ScriptedWorker(source) { hands, seen in
      let line = seen.text.hasSuffix("\n") ? seen.bytes.count : 0
      hands.answer(seen.id, .hold(consumed: UInt32(line)))
    }
    let client = try StreamSocket.connect(to: worker.listen())
    try client.write("one\n")
    try worker.event("the first line") { $0.text == "one\n" }
    try client.write("two\n")
    try worker.event("the second line alone") { $0.text == "two\n" }
    #expect(try worker.stats.buffers == 0)
  }

  /// A server that reads once after accept sees the header and the first line together.
  @Test(arguments: Source.available)
  func prefixAndPrefaceGoOutTogether(_ source: Source) throws {
    let backend = try ListeningSocket()
    let header = "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"
    let route = Route(to: backend.endpoint, prefix: Array(header.utf8))
    let worker = try ScriptedWorker(source) { hands, seen in
      hands.answer(seen.id, seen.bytes.isEmpty ? .hold() : .relay(route))
    }
    let client = try StreamSocket.connect(to: worker.listen())
    try client.write("EHLO me\r\n")
    let upstream = try backend.accept()
    guard case .bytes(let first) = try upstream.receive(atMost: 4096) else {
      Issue.record("the stream ended")
      return
    }
    #expect(String(decoding: first, as: UTF8.self) == header + "EHLO me\r\n")
    // One segment: the kernel counts those that carry data. tcp(7)
    #expect(segmentsReceived(upstream) == 1)
    // The header is ours, and no byte of the client's.
    client.close()
    upstream.close()
    #expect(try worker.closed().summary?.bytes_up == 9)
  }

  @Test(arguments: Source.available)
  func thePrefixAloneGoesOutAtOnce(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint, prefix: Array("header".utf8))
    let worker = try ScriptedWorker(source) { hands, seen in hands.answer(seen.id, .relay(route)) }
    let client = try StreamSocket.connect(to: worker.listen())
    let upstream = try backend.accept()
    #expect(try upstream.readExactly(6) == Array("header".utf8))
    client.close()
  }

  /// The upstream may speak while the client's first bytes are still looked at.
  @Test(arguments: Source.available)
  func firstBytesAreCheckedWhileTheUpstreamTalks(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source) { hands, seen in
      if seen.bytes.isEmpty {
        hands.answer(
          seen.id, Answer(up: .hold(100), down: .relay(), holdMs: 5000, route: route))
      } else if seen.text == "good" {
        hands.answer(seen.id, Answer(up: .relay()))
      } else {
        hands.reject(seen.id, Array("no\n".utf8), reason: 9)
      }
    }
    let listener = try worker.listen()
    let good = try StreamSocket.connect(to: listener)
    let first = try backend.accept()
    try first.write("220 hi\n")
    #expect(try good.readExactly(7) == Array("220 hi\n".utf8))
    try good.write("good")
    #expect(try first.readExactly(4) == Array("good".utf8))

    let bad = try StreamSocket.connect(to: listener)
    let second = try backend.accept()
    try second.write("220 hi\n")
    #expect(try bad.readExactly(7) == Array("220 hi\n".utf8))
    try bad.write("evil")
    let (reply, ending) = try bad.readToEnd()
    #expect(String(decoding: reply, as: UTF8.self) == "no\n")
    #expect(ending == .fin)
    bad.close()
    #expect(try second.readToEnd().bytes.isEmpty)
    let closed = try worker.closed()
    #expect(closed.summary?.reason == 9)
    // Nobody got the bytes it was turned away for.
    #expect(closed.summary?.bytes_up == 0)
  }
}

/// Segments with data that a socket has received: tcpi_data_segs_in of TCP_INFO, linux/tcp.h.
private func segmentsReceived(_ socket: StreamSocket) -> UInt32 {
  var info = [UInt8](repeating: 0, count: 256)
  var length = socklen_t(info.count)
  guard getsockopt(socket.descriptor, Int32(IPPROTO_TCP), TCP_INFO, &info, &length) == 0 else {
    return .max
  }
  let offset = 152
  guard Int(length) >= offset + 4 else { return .max }
  return info.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
}
