import CSluice
import Glibc
import Synchronization
import System
import TestSupport
import Testing

/// Halves that are set one by one: limits, dialogues, lanes, pools.
@Suite struct RelayTests {
  /// As an HTTP body of known length: so many bytes, then the next question.
  @Test(arguments: Source.available)
  func aLimitAsksAgainAfterExactlyThatMany(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint)
    let limits: [UInt64] = [5, 1, 10]
    let step = Atomic(0)
    let worker = try ScriptedWorker(source) { hands, seen in
      let at = step.wrappingAdd(1, ordering: .relaxed).oldValue
      let up = at < limits.count ? Half.relay(limit: limits[at]) : .relay()
      hands.answer(seen.id, Answer(up: up, down: .relay(), route: at == 0 ? route : nil))
    }
    let client = try StreamSocket.connect(to: worker.listen())
    try client.write("0123456789abcdef+the rest")
    let upstream = try backend.accept()
    #expect(try upstream.readExactly(25) == Array("0123456789abcdef+the rest".utf8))
    try worker.event("the third limit's ask") { $0.number == 3 }
    // Each question came with nothing read beyond the limit, and none after the last answer.
    #expect(worker.seen.map(\.bytes.count) == [0, 0, 0, 0])
    client.finish()
    #expect(try upstream.readToEnd().bytes.isEmpty)
    upstream.close()
    #expect(try worker.closed().summary?.bytes_up == 25)
    #expect(worker.seen.count { $0.kind == .ask } == 4)
  }

  /// Nothing beyond the limit reaches the upstream before the answer.
  @Test(arguments: Source.available)
  func beyondTheLimitNothingIsSent(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source) { hands, seen in
      if seen.number == 0 {
        hands.answer(
          seen.id, Answer(up: .relay(limit: 4), down: .relay(), route: route))
      } else if seen.text == "rest" {
        hands.answer(
          seen.id, Answer(up: .relay(), consumed: 2, sendUpstream: Array("<inserted>".utf8)))
      } else {
        hands.answer(seen.id, Answer(up: .hold(100), holdMs: 5000))
      }
    }
    let client = try StreamSocket.connect(to: worker.listen())
    try client.write("bodyrest")
    let upstream = try backend.accept()
    #expect(try upstream.readExactly(16) == Array("body<inserted>st".utf8))
  }

  /// Held bytes count against the limit, too.
  @Test(arguments: Source.available)
  func heldBytesAreReleasedUpToTheLimit(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source) { hands, seen in
      if seen.text == "abcdefgh" {
        hands.answer(seen.id, Answer(up: .relay(limit: 3), down: .relay(), route: route))
      } else if seen.text == "defgh" {
        hands.answer(seen.id, Answer(up: .relay(limit: 2), consumed: 1))
      } else if seen.text == "gh" {
        hands.answer(seen.id, Answer(up: .relay()))
      } else {
        hands.answer(seen.id, .hold())
      }
    }
    let client = try StreamSocket.connect(to: worker.listen())
    try client.write("abcdefgh")
    let upstream = try backend.accept()
    #expect(try upstream.readExactly(7) == Array("abcefgh".utf8))
  }

  /// We greet, hold the client's line, dial, drop the upstream's greeting, say our own line, drop
  /// its reply, and only then is the client's line let through and everything after it.
  @Test(arguments: Source.available)
  func aDialogueOnBothSides(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source) { hands, seen in
      switch (seen.side, seen.text) {
      case (.client, ""):
        var greeting = Answer.hold()
        greeting.sendClient = Array("220 proxy\r\n".utf8)
        hands.answer(seen.id, greeting)
      case (.client, "EHLO me\r\n"):
        hands.answer(seen.id, Answer(up: .hold(4096), down: .hold(4096), route: route))
      case (.upstream, "220 backend\r\n"):
        hands.answer(
          seen.id,
          Answer(
            side: .upstream, consumed: UInt32(seen.bytes.count),
            sendUpstream: Array("XCLIENT ADDR=1\r\n".utf8)))
      case (.upstream, "220 ok\r\n"):
        hands.answer(
          seen.id,
          Answer(
            up: .relay(), down: .relay(), side: .upstream, consumed: UInt32(seen.bytes.count)))
      default:
        hands.answer(seen.id, Answer(side: seen.side))
      }
    }
    let client = try StreamSocket.connect(to: worker.listen())
    #expect(try client.readExactly(11) == Array("220 proxy\r\n".utf8))
    try client.write("EHLO me\r\n")
    let upstream = try backend.accept()
    try upstream.write("220 backend\r\n")
    #expect(try upstream.readExactly(16) == Array("XCLIENT ADDR=1\r\n".utf8))
    #expect(try upstream.receive(withinMs: 30) == nil)
    try upstream.write("220 ok\r\n")
    #expect(try upstream.readExactly(9) == Array("EHLO me\r\n".utf8))
    try upstream.write("250 hello\r\n")
    #expect(try client.readExactly(11) == Array("250 hello\r\n".utf8))
    try client.write("QUIT\r\n")
    #expect(try upstream.readExactly(6) == Array("QUIT\r\n".utf8))
    upstream.close()
    #expect(try client.readToEnd().bytes.isEmpty)
    client.close()
    #expect(try worker.closed().ends.first == .upstream_fin)
  }

  /// What the caller sends never overtakes relayed bytes that still stand in a pipe: here the
  /// upstream's large body to a client that does not read, then the caller's own words.
  @Test(arguments: Source.available, [sluice_splice.inline, .ring, .off])
  func sentBytesStayBehindRelayedOnes(_ source: Source, _ splice: sluice_splice) throws {
    let backend = try ListeningSocket()
    let size = 4_000_000
    let route = Route(to: backend.endpoint, splice: splice)
    let worker = try ScriptedWorker(source) { hands, seen in
      if seen.number == 0 {
        hands.answer(
          seen.id, Answer(up: .relay(), down: .relay(limit: UInt64(size)), route: route))
      } else {
        hands.answer(
          seen.id,
          Answer(
            down: .relay(), side: .upstream, sendClient: Array("<between>".utf8)))
      }
    }
    let client = try StreamSocket.connect(to: worker.listen(), receiveBuffer: 8192)
    let upstream = try backend.accept()
    let pattern = Pattern(seed: 1)
    let writing = Job("upstream") {
      try upstream.send(pattern, count: size)
      try upstream.write("after")
      upstream.close()
    }
    pause(ms: 30)
    try client.expect(pattern, limit: size)
    let (tail, ending) = try client.readToEnd()
    #expect(String(decoding: tail, as: UTF8.self) == "<between>after")
    #expect(ending == .fin)
    try writing.value()
    client.close()
    let summary = try #require(try worker.closed().summary)
    #expect(summary.bytes_down == UInt64(size + 5))
    if splice == .off { #expect(summary.spliced_down == 0) }
  }

  /// The same from the other direction: words for the client while the pipe to it is full.
  @Test(arguments: Source.available, [sluice_splice.inline, .ring])
  func sentBytesWaitForThePipe(_ source: Source, _ splice: sluice_splice) throws {
    let backend = try ListeningSocket()
    let size = 6_000_000
    let route = Route(to: backend.endpoint, splice: splice)
    let worker = try ScriptedWorker(source) { hands, seen in
      if seen.number == 0 {
        hands.answer(seen.id, Answer(up: .hold(10), down: .relay(), holdMs: 9000, route: route))
      } else {
        hands.reject(seen.id, Array("<goodbye>".utf8))
      }
    }
    let client = try StreamSocket.connect(to: worker.listen(), receiveBuffer: 8192)
    let upstream = try backend.accept()
    let pattern = Pattern(seed: 2)
    let writing = Job("upstream") { try? upstream.send(pattern, count: size) }
    // The client reads nothing until the pipe has bytes that its socket does not take.
    try until("a pipe in use") { try worker.stats.pipes == 1 }
    pause(ms: 50)
    try client.write("stop")
    try worker.event("the client's word") { $0.text == "stop" }
    let (said, ending) = try client.readToEnd()
    client.close()
    try writing.value()
    #expect(ending == .fin)
    #expect(String(decoding: said.suffix(9), as: UTF8.self) == "<goodbye>")
    try pattern.check(said.dropLast(9).prefix(Pattern.longestChunk).map { $0 }, at: 0)
    // Everything that was read from the upstream came before the farewell.
    #expect(try worker.closed().summary?.bytes_down == UInt64(said.count - 9))
  }

  /// More bulk at once than pipes: the others copy, and every byte is right.
  @Test(arguments: Source.available, [sluice_splice.inline, .ring])
  func onePipeForThree(_ source: Source, _ splice: sluice_splice) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint, splice: splice)
    let worker = try ScriptedWorker(source, WorkerOptions(pipes: 1)) { hands, seen in
      hands.answer(seen.id, .relay(route))
    }
    let listener = try worker.listen()
    let size = 12_000_000
    var jobs: [Job<Void>] = []
    var clients: [StreamSocket] = []
    for number in 0..<3 {
      let client = try StreamSocket.connect(to: listener, receiveBuffer: 16384)
      let upstream = try backend.accept()
      let pattern = Pattern(seed: UInt64(number))
      jobs.append(
        Job("upstream \(number)") {
          try upstream.send(pattern, count: size)
          upstream.close()
        })
      clients.append(client)
    }
    // While nobody reads, the one pipe stays in use.
    try until("a half that got no pipe") { try worker.stats.pipe_misses > 0 }
    for (number, client) in clients.enumerated() {
      let pattern = Pattern(seed: UInt64(number))
      jobs.append(
        Job("client \(number)") {
          let (count, ending) = try client.expect(pattern)
          guard count == size, ending == .fin else {
            throw TestFailure("\(count), \(ending as Any)")
          }
          client.close()
        })
    }
    for job in jobs { try job.value() }
    try worker.closed(count: 3)
    let stats = try worker.stats
    #expect(stats.pipes <= 1)
    #expect(stats.pipe_misses > 0)
    #expect(stats.bytes_spliced > 0)
    #expect(stats.bytes_down == UInt64(3 * size))
    #expect(stats.buffers == 0)
  }

  /// A pipe in use when its connection is ended must not carry those bytes into the next one.
  @Test(arguments: Source.available, [sluice_splice.inline, .ring])
  func aPipeNeverCarriesBytesToAnotherConnection(_ source: Source, _ splice: sluice_splice) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint, splice: splice)
    let worker = try ScriptedWorker(source, WorkerOptions(pipes: 1)) { hands, seen in
      hands.answer(seen.id, .relay(route))
    }
    let listener = try worker.listen()
    for round in 0..<40 {
      let client = try StreamSocket.connect(to: listener, receiveBuffer: 262_144)
      let upstream = try backend.accept()
      let pattern = Pattern(seed: UInt64(round))
      let writing = Job("upstream") { try? upstream.send(pattern, count: 50_000_000) }
      // Ended in the midst of it, at another moment each time.
      try client.expect(pattern, limit: 100_000 + round * 7001)
      let id = try #require(worker.seen.last { $0.kind == .ask }?.id)
      #expect(try worker.perform { sluice_worker_kill($0.worker, id, .killed) } == .done)
      try worker.closed(id)
      client.close()
      try writing.value()
    }
  }

  /// IORING_OP_SPLICE is the ring's; elsewhere the engine is the inline one.
  @Test func theRingEngineOnEpollIsInline() throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint, splice: .ring)
    let worker = try ScriptedWorker(.epoll) { hands, seen in hands.answer(seen.id, .relay(route)) }
    let client = try StreamSocket.connect(to: worker.listen())
    let upstream = try backend.accept()
    let pattern = Pattern(seed: 3)
    let writing = Job("upstream") {
      try upstream.send(pattern, count: 2_000_000)
      upstream.close()
    }
    #expect(try client.expect(pattern).count == 2_000_000)
    try writing.value()
    client.close()
    #expect((try worker.closed().summary?.spliced_down ?? 0) > 0)
  }

  /// An empty pool is an answer's result, and a reject from there on; then all works again.
  @Test(arguments: Source.available)
  func withoutABufferAnAnswerSaysSo(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint, prefix: Array("header ".utf8))
    let results = Guarded<[sluice_result]>([])
    let worker = try ScriptedWorker(source, WorkerOptions(buffers: 1)) { hands, seen in
      switch seen.listener {
      case 1:
        hands.answer(seen.id, .hold())
      default:
        let result = hands.answer(seen.id, .relay(route))
        results.withLock { $0.append(result) }
        if result == .no_buffer { hands.reject(seen.id, reason: 77) }
      }
    }
    let holder = try StreamSocket.connect(to: worker.listen(tag: 1))
    try holder.write("holds the only buffer")
    try worker.event("the held bytes") { $0.text == "holds the only buffer" }
    let listener = try worker.listen(tag: 2)
    let turnedAway = try StreamSocket.connect(to: listener)
    #expect(try turnedAway.readToEnd().bytes.isEmpty)
    #expect(results.withLock { $0 } == [.no_buffer])
    #expect(try worker.closed().summary?.reason == 77)
    #expect(try worker.stats.connections == 1)

    holder.reset()
    try worker.closed(count: 2)
    let client = try StreamSocket.connect(to: listener)
    let upstream = try backend.accept()
    try client.write("works")
    #expect(try upstream.readExactly(12) == Array("header works".utf8))
    #expect(results.withLock { $0 } == [.no_buffer, .done])
  }

  /// What does not fit a buffer is refused before anything begins.
  @Test(arguments: Source.available)
  func whatIsTooLongIsRefused(_ source: Source) throws {
    let backend = try ListeningSocket()
    let results = Guarded<[sluice_result]>([])
    let endpoint = backend.endpoint
    let worker = try ScriptedWorker(source) { hands, seen in
      let route = Route(to: endpoint, prefix: [UInt8](repeating: 1, count: 40_000))
      var answer = Answer.relay(route)
      answer.sendUpstream = [UInt8](repeating: 2, count: 40_000)
      let result = hands.answer(seen.id, answer)
      results.withLock { $0.append(result) }
      results.withLock { $0.append(hands.reject(seen.id)) }
    }
    let client = try StreamSocket.connect(to: worker.listen())
    #expect(try client.readToEnd().bytes.isEmpty)
    #expect(results.withLock { $0 } == [.too_long, .done])
    #expect(try worker.closed().summary?.tries == 0)
    #expect(try backend.accept(withinMs: 20) == nil)
  }

  /// A half that only needs a second buffer to pass on a part of what it holds waits for one.
  @Test(arguments: Source.available)
  func aPartOfHeldBytesWaitsForABuffer(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source, WorkerOptions(buffers: 2)) { hands, seen in
      if seen.listener == 1 || seen.bytes.isEmpty {
        let isSecondHalf = seen.number > 3 && seen.bytes.isEmpty
        hands.answer(seen.id, isSecondHalf ? Answer(up: .relay()) : .hold())
      } else if seen.text == "abcdef" {
        hands.answer(seen.id, Answer(up: .relay(limit: 2), down: .relay(), route: route))
      } else {
        hands.answer(seen.id, Answer(up: .relay()))
      }
    }
    let holder = try StreamSocket.connect(to: worker.listen(tag: 1))
    try holder.write("one buffer")
    try worker.event("the held bytes") { $0.text == "one buffer" }
    let client = try StreamSocket.connect(to: worker.listen(tag: 2))
    try client.write("abcdef")
    let upstream = try backend.accept()
    #expect(try upstream.receive(withinMs: 50) == nil)
    holder.reset()
    #expect(try upstream.readExactly(6) == Array("abcdef".utf8))
  }

  @Test(arguments: Source.available)
  func discardedBytesGoNowhere(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source) { hands, seen in
      hands.answer(seen.id, Answer(up: .discard, down: .relay(), route: route))
    }
    let client = try StreamSocket.connect(to: worker.listen())
    let upstream = try backend.accept()
    try client.send(Pattern(seed: 4), count: 300_000)
    try client.waitUntilAcknowledged()
    try upstream.write("still here")
    #expect(try client.readExactly(10) == Array("still here".utf8))
    #expect(try upstream.receive(withinMs: 30) == nil)
  }

  /// A read stops at urgent data (tcp(7)). What is behind it is read before the FIN counts that
  /// came with it, and with epoll, which tells of urgent data, at once.
  @Test(arguments: Source.available)
  func urgentDataHoldsNothingUp(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source) { hands, seen in
      hands.answer(seen.id, Answer(up: .relay(), down: .relay(), route: route))
    }
    let endpoint = try worker.listen()
    for end in source == .epoll ? [false, true] : [true] {
      let client = try StreamSocket.connect(to: endpoint)
      let upstream = try backend.accept()
      try client.write("before")
      var urgent: UInt8 = 0x21
      #expect(Glibc.send(client.descriptor, &urgent, 1, Int32(MSG_OOB)) == 1)
      try client.write("behind")
      if end { client.finish() }
      #expect(try upstream.readExactly(12) == Array("beforebehind".utf8))
      if end { #expect(try upstream.readToEnd().bytes.isEmpty) }
    }
  }
}
