import CSluice
import Glibc
import Synchronization
import System
import TestSupport
import Testing

/// Parking, rejecting, redialling, killing, listing: a connection's life as its caller sees it.
@Suite struct LifeTests {
  @Test(arguments: Source.available)
  func aParkedConnectionIsAskedAboutAfterItsFact(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source) { hands, seen in
      switch (seen.number, seen.bytes.count) {
      case (0, _): hands.answer(seen.id, .hold())
      case (1, _): hands.answer(seen.id, Answer(holdMs: 9000, park: true))
      default: hands.answer(seen.id, .relay(route))
      }
    }
    let client = try StreamSocket.connect(to: worker.listen())
    try client.write("user")
    let asked = try worker.event("the first bytes") { $0.text == "user" }
    // Parked: neither new bytes nor time bring a question.
    try client.write(" pass")
    pause(ms: 40)
    #expect(worker.seen.count == 2)
    #expect(try worker.perform { sluice_worker_fact($0.worker, asked.id) } == .done)
    try worker.event("the ask after the fact") { $0.number == 2 }
    let upstream = try backend.accept()
    #expect(try upstream.readExactly(9) == Array("user pass".utf8))
    // Nobody waits for a second one.
    #expect(try worker.perform { sluice_worker_fact($0.worker, asked.id) } == .stale)
  }

  @Test(arguments: Source.available)
  func aFactThatNeverComesIsATimeOut(_ source: Source) throws {
    let worker = try ScriptedWorker(source) { hands, seen in
      if seen.number == 0 {
        hands.answer(seen.id, Answer(holdMs: 60, park: true))
      } else {
        hands.reject(seen.id, Array("too slow".utf8), reason: 5)
      }
    }
    let client = try StreamSocket.connect(to: worker.listen())
    #expect(try client.readToEnd().bytes == Array("too slow".utf8))
    client.close()
    #expect(try worker.closed().summary?.reason == 5)
  }

  /// A reset by the kernel would destroy the reply; input that is unread at close causes one.
  @Test(arguments: Source.available)
  func aRejectedClientGetsTheWholeReplyDespiteItsUnreadInput(_ source: Source) throws {
    let reply = Pattern(seed: 5).bytes(at: 0, count: 60_000)
    let worker = try ScriptedWorker(source) { hands, seen in
      if seen.bytes.isEmpty {
        hands.answer(seen.id, .hold(16))
      } else {
        hands.reject(seen.id, reply, reason: 3)
      }
    }
    let client = try StreamSocket.connect(to: worker.listen(), receiveBuffer: 4096)
    // Far more than the hold reads; the worker has to drop it.
    try client.send(Pattern(seed: 6), count: 200_000)
    try worker.event("the full ask") { $0.final == .full }
    try client.send(Pattern(seed: 6), count: 50_000)
    pause(ms: 50)
    let (said, ending) = try client.readToEnd()
    #expect(said == reply)
    #expect(ending == .fin)
    client.close()
    let closed = try worker.closed()
    #expect(closed.ends.first == .rejected)
    #expect(closed.summary?.reason == 3)
    #expect(try worker.stats.buffers == 0)
  }

  /// One that never closes its side is let go of in time.
  @Test(arguments: Source.available)
  func aRejectedClientThatStaysIsClosed(_ source: Source) throws {
    let worker = try ScriptedWorker(source) { hands, seen in
      hands.reject(seen.id, Array("421 no\r\n".utf8))
    }
    let client = try StreamSocket.connect(to: worker.listen())
    #expect(try client.readToEnd().bytes == Array("421 no\r\n".utf8))
    let closed = try worker.closed()
    #expect((closed.summary?.duration_us ?? 0) >= 900_000)
  }

  @Test(arguments: Source.available)
  func aFailedDialAsksForAnotherServer(_ source: Source) throws {
    let backend = try ListeningSocket()
    let gone = try ListeningSocket()
    let refusing = Route(to: gone.endpoint, prefix: Array("stale ".utf8))
    let working = Route(to: backend.endpoint, prefix: Array("fresh ".utf8))
    gone.close()
    let worker = try ScriptedWorker(source) { hands, seen in
      switch seen.kind {
      case .redial: hands.answer(seen.id, .relay(working))
      default: hands.answer(seen.id, seen.bytes.isEmpty ? .hold() : .relay(refusing))
      }
    }
    let client = try StreamSocket.connect(to: worker.listen())
    try client.write("hello")
    let redial = try worker.event("a redial") { $0.kind == .redial }
    #expect(redial.error == ECONNREFUSED)
    let upstream = try backend.accept()
    #expect(try upstream.readExactly(11) == Array("fresh hello".utf8))
    client.close()
    upstream.close()
    let summary = try #require(try worker.closed().summary)
    #expect(summary.tries == 2)
    #expect(summary.connect_us > 0)
    #expect(summary.connect_us < 5_000_000)
    #expect(try worker.stats.dial_failures == 1)
  }

  @Test(arguments: Source.available)
  func aDialThatTimesOut(_ source: Source) throws {
    let hole = try BlackHole()
    let route = Route(to: hole.endpoint, connectMs: 70)
    let worker = try ScriptedWorker(source) { hands, seen in
      if seen.kind == .redial {
        hands.reject(seen.id, reason: 8)
      } else {
        hands.answer(seen.id, .relay(route))
      }
    }
    let client = try StreamSocket.connect(to: worker.listen())
    let redial = try worker.event("a redial") { $0.kind == .redial }
    #expect(redial.error == ETIMEDOUT)
    #expect(try client.readToEnd().bytes.isEmpty)
    let closed = try worker.closed()
    #expect(closed.summary?.reason == 8)
    #expect(closed.summary?.error == ETIMEDOUT)
  }

  /// A Unix socket that is not there fails at once, and is a redial all the same.
  @Test(arguments: Source.available)
  func aDialThatFailsAtOnce(_ source: Source) throws {
    let route = Route(to: .unix("/nonexistent/socket"))
    let results = Guarded<[sluice_result]>([])
    let worker = try ScriptedWorker(source) { hands, seen in
      if seen.kind == .redial {
        hands.reject(seen.id)
      } else {
        let result = hands.answer(seen.id, .relay(route))
        results.withLock { $0.append(result) }
      }
    }
    let client = try StreamSocket.connect(to: worker.listen())
    #expect(try client.readToEnd().bytes.isEmpty)
    #expect(worker.seen.first { $0.kind == .redial }?.error == ENOENT)
    #expect(results.withLock { $0 } == [.not_dialled])
  }

  @Test(arguments: Source.available)
  func killWhileDialling(_ source: Source) throws {
    let hole = try BlackHole()
    let route = Route(to: hole.endpoint, connectMs: 60_000)
    let worker = try ScriptedWorker(source) { hands, seen in hands.answer(seen.id, .relay(route)) }
    let client = try StreamSocket.connect(to: worker.listen())
    let id = try worker.event("an ask") { $0.kind == .ask }.id
    #expect(try worker.perform { sluice_worker_kill($0.worker, id, .killed) } == .done)
    let closed = try worker.closed()
    #expect(closed.ends == [.killed])
    // A dial that was given up took no time to connect.
    #expect(closed.summary?.connect_us == 0)
    #expect(closed.summary?.tries == 1)
    #expect(try client.readToEnd().bytes.isEmpty)
  }

  @Test(arguments: Source.available)
  func killKillAllAndList(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source) { hands, seen in
      hands.answer(seen.id, seen.listener == 1 ? .relay(route) : .hold())
    }
    let first = try worker.listen(tag: 1)
    let second = try worker.listen(tag: 2)
    var clients: [StreamSocket] = []
    for number in 0..<7 {
      clients.append(try StreamSocket.connect(to: number < 4 ? first : second))
    }
    var upstreams: [StreamSocket] = []
    for _ in 0..<4 { upstreams.append(try backend.accept()) }
    try until("four that are dialled") {
      try list(worker, page: 100).filter(\.dialled).count == 4
    }
    // A cursor walks all of them once, whatever the size of a page.
    for page in [1, 2, 3, 7, 100] {
      let sessions = try list(worker, page: page)
      #expect(sessions.count == 7)
      #expect(Set(sessions.map(\.id.slot)).count == 7)
      #expect(sessions.filter { $0.listener == 1 }.count == 4)
    }
    try clients[0].write("12345")
    try until("its bytes in the list") {
      try list(worker, page: 10).contains { $0.bytes_up == 5 }
    }
    let one = try #require(try list(worker, page: 10).first { $0.bytes_up == 5 })
    #expect(try worker.perform { sluice_worker_kill($0.worker, one.id, .killed) } == .done)
    try worker.closed(one.id)
    #expect(try worker.perform { sluice_worker_kill($0.worker, one.id, .killed) } == .stale)
    #expect(try list(worker, page: 10).count == 6)

    // Two per call, of one listener only.
    let ended = try worker.perform { hands -> [UInt32] in
      var cursor: UInt32 = 0
      return (0..<4).map { _ in
        sluice_worker_kill_all(hands.worker, 2, .deadline_drain, &cursor, 2)
      }
    }
    #expect(ended == [2, 1, 0, 0])
    try worker.closed(count: 4)
    #expect(worker.seen.count { $0.ends == [.deadline_drain] } == 3)
    let rest = try worker.perform { hands -> UInt32 in
      var cursor: UInt32 = 0
      return sluice_worker_kill_all(hands.worker, .max, .killed, &cursor, 100)
    }
    #expect(rest == 3)
    try worker.closed(count: 7)
    #expect(worker.shared.connections == 0)
    #expect(try list(worker, page: 10).isEmpty)
    for upstream in upstreams { upstream.close() }
  }

  private func list(_ worker: ScriptedWorker, page: Int) throws -> [Session] {
    try worker.perform { hands in
      var cursor: UInt32 = 0
      var all: [Session] = []
      while true {
        var sessions = [sluice_session](repeating: sluice_session(), count: page)
        let count = sluice_worker_list(hands.worker, &cursor, &sessions, UInt32(page))
        all += sessions.prefix(Int(count)).map(Session.init)
        if count == 0 { return all }
      }
    }
  }

  private struct Session: @unchecked Sendable {
    let id: sluice_id
    let listener: UInt32
    let dialled: Bool
    let bytes_up: UInt64
    init(_ raw: sluice_session) {
      (id, listener, dialled, bytes_up) = (raw.id, raw.listener, raw.dialled, raw.bytes_up)
    }
  }

  /// 64 bytes of the caller's per slot, zero at accept, apart from its neighbours'.
  @Test(arguments: Source.available)
  func recordsAreZeroAtAcceptAndApart(_ source: Source) throws {
    let dirty = Atomic(0)
    let worker = try ScriptedWorker(source) { hands, seen in
      guard let record = sluice_worker_record(hands.worker, seen.id) else { return }
      let bytes = UnsafeMutableRawBufferPointer(start: record, count: 64)
      let mark = UInt8(truncatingIfNeeded: seen.id.slot &+ seen.id.generation &* 16 | 1)
      if seen.bytes.isEmpty {
        if bytes.contains(where: { $0 != 0 }) { dirty.add(1, ordering: .relaxed) }
        bytes.initializeMemory(as: UInt8.self, repeating: mark)
        hands.answer(seen.id, .hold())
      } else {
        if bytes.contains(where: { $0 != mark }) { dirty.add(1, ordering: .relaxed) }
        hands.reject(seen.id)
      }
    }
    let listener = try worker.listen()
    for round in 1...3 {
      let clients = try (0..<5).map { _ in try StreamSocket.connect(to: listener) }
      for client in clients { try client.write("look") }
      try worker.closed(count: 5 * round)
      for client in clients { client.close() }
    }
    #expect(dirty.load(ordering: .relaxed) == 0)
    // The slots were used again, under other generations.
    let ids = worker.seen.filter { $0.kind == .closed }.map(\.id)
    #expect(Set(ids.map(\.slot)).count == 5)
    #expect(Set(ids.map { "\($0.slot).\($0.generation)" }).count == 15)
  }

  @Test(arguments: Source.available)
  func staleIdsAreRefused(_ source: Source) throws {
    let worker = try ScriptedWorker(source) { hands, seen in hands.answer(seen.id, .hold()) }
    let listener = try worker.listen()
    let first = try StreamSocket.connect(to: listener)
    let old = try worker.event("an ask") { $0.kind == .ask }.id
    first.reset()
    try worker.closed(old)
    #expect(try refusals(worker, old) == 6)
    // Its slot lives again, under a new name.
    let second = try StreamSocket.connect(to: listener)
    let new = try worker.event("another ask") {
      $0.kind == .ask && $0.id.generation != old.generation
    }
    #expect(new.id.slot == old.slot)
    #expect(try refusals(worker, old) == 6)
    #expect(try refusals(worker, sluice_id(slot: 19_999, generation: 1)) == 6)
    #expect(try refusals(worker, sluice_id(slot: .max, generation: 1)) == 6)
    // The new one did not notice.
    try second.write("still here")
    try worker.event("its bytes") { $0.text == "still here" }
  }

  private func refusals(_ worker: ScriptedWorker, _ id: sluice_id) throws -> Int {
    try worker.perform { hands in
      var client = sluice_endpoint()
      var local = sluice_endpoint()
      let results = [
        hands.answer(id, .hold()), hands.reject(id), sluice_worker_fact(hands.worker, id),
        sluice_worker_kill(hands.worker, id, .killed),
        sluice_worker_endpoints(hands.worker, id, &client, &local),
      ]
      let record = sluice_worker_record(hands.worker, id)
      return results.count { $0 == .stale } + (record == nil ? 1 : 0)
    }
  }

  @Test(arguments: Source.available)
  func endpointsOfBothEnds(_ source: Source) throws {
    let worker = try ScriptedWorker(source) { hands, seen in hands.answer(seen.id, .hold()) }
    let client = try StreamSocket.connect(to: worker.listen(), from: "127.0.0.9")
    let id = try worker.event("an ask") { $0.kind == .ask }.id
    let found = try worker.perform { hands -> [UInt64] in
      var client = sluice_endpoint()
      var local = sluice_endpoint()
      let result = sluice_worker_endpoints(hands.worker, id, &client, &local)
      guard result == .done, client.family == .ipv4, local.family == .ipv4 else { return [] }
      return [client.low, UInt64(client.port), local.low, UInt64(local.port)]
    }
    #expect(
      found == [
        0x7f00_0009, UInt64(client.local.port), 0x7f00_0001, UInt64(client.remote.port),
      ])
  }

  @Test(arguments: Source.available)
  func statsAddUp(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source) { hands, seen in hands.answer(seen.id, .relay(route)) }
    let listener = try worker.listen()
    for _ in 0..<3 {
      let client = try StreamSocket.connect(to: listener)
      let upstream = try backend.accept()
      try client.write("up")
      #expect(try upstream.readExactly(2).count == 2)
      try upstream.write("down")
      #expect(try client.readExactly(4).count == 4)
      #expect(try worker.stats.connections == 1)
      client.close()
      upstream.close()
      try until("the slot to be free") { try worker.stats.connections == 0 }
    }
    let stats = try worker.stats
    #expect(stats.accepted == 3)
    #expect(stats.closed == 3)
    #expect(stats.dialled == 3)
    #expect(stats.dial_failures == 0)
    #expect(stats.bytes_up == 6)
    #expect(stats.bytes_down == 12)
    #expect(stats.bytes_spliced == 0)
    #expect(stats.turns > 0)
    #expect(!stats.accept_paused)
    #expect(worker.shared.connections == 0)
  }

  @Test(arguments: Source.available)
  func deadlinesOfARoute(_ source: Source) throws {
    let backend = try ListeningSocket()
    let idle = Route(to: backend.endpoint, idleMs: 100)
    let old = Route(to: backend.endpoint, idleMs: 9000, maxAgeMs: 150)
    let halfClosed = Route(to: backend.endpoint, idleMs: 9000, halfClosedMs: 100)
    let worker = try ScriptedWorker(source) { hands, seen in
      hands.answer(seen.id, .relay([1: idle, 2: old, 3: halfClosed][seen.listener]))
    }
    let expected: [UInt32: [sluice_end]] = [
      1: [.deadline_idle], 2: [.deadline_max_age], 3: [.client_fin, .deadline_half_closed],
    ]
    for (tag, ends) in expected {
      let client = try StreamSocket.connect(to: worker.listen(tag: tag))
      let upstream = try backend.accept()
      if tag == 3 { client.finish() }
      let closed = try worker.event("the deadline of \(tag)") {
        $0.kind == .closed && $0.listener == tag
      }
      #expect(closed.ends == ends)
      _ = try client.readToEnd()
      _ = try upstream.readToEnd()
    }
  }
}
