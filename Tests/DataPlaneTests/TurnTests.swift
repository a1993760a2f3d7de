import CSluice
import Glibc
import TestSupport
import Testing

/// The one call that blocks, and what ends its wait.
@Suite struct TurnTests {
  /// A turn of this thread's own worker; nothing else to do.
  private func withWorker(_ source: Source, _ body: (OpaquePointer) throws -> Void) throws {
    let shared = SharedTotals()
    var options = sluice_options(
      shared: shared.raw, slots: 16, buffers: 4, pipes: 1, workers: 1, events: source.raw)
    var error = sluice_error()
    let worker = try #require(sluice_worker_create(&options, &error))
    defer { sluice_worker_destroy(worker) }
    #expect(sluice_worker_source(worker) == source.raw)
    try body(worker)
  }

  @Test(arguments: Source.available)
  func aTurnEndsWhenItsTimeIsOver(_ source: Source) throws {
    try withWorker(source) { worker in
      for wanted in [0, 20, 60] {
        let (count, ms) = timed { sluice_worker_turn(worker, Int32(wanted)) }
        #expect(count == 0)
        #expect(ms >= Double(wanted) - 1)
        #expect(ms < Double(wanted) + 2000)
      }
    }
  }

  @Test(arguments: Source.available)
  func anotherThreadEndsTheWait(_ source: Source) throws {
    struct Pointer: @unchecked Sendable { let raw: OpaquePointer }
    try withWorker(source) { worker in
      let pointer = Pointer(raw: worker)
      for _ in 0..<5 {
        let waking = Job("waker") {
          pause(ms: 30)
          sluice_worker_wake(pointer.raw)
        }
        let (_, ms) = timed { sluice_worker_turn(worker, 15_000) }
        #expect(ms >= 20)
        #expect(ms < 10_000)
        try waking.value()
      }
      // A wake between two turns ends the next one, and only that one.
      sluice_worker_wake(worker)
      sluice_worker_wake(worker)
      let (_, woken) = timed { sluice_worker_turn(worker, 15_000) }
      #expect(woken < 10_000)
      let (_, quiet) = timed { sluice_worker_turn(worker, 50) }
      #expect(quiet >= 49)
    }
  }

  /// A worker that goes takes its connections with it, and gives back what they counted for.
  @Test(arguments: Source.available)
  func destroyingAWorkerEndsWhatLives(_ source: Source) throws {
    let backend = try ListeningSocket()
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source) { hands, seen in
      hands.answer(seen.id, seen.listener == 1 ? .relay(route) : .hold())
    }
    let relayed = try StreamSocket.connect(to: worker.listen(tag: 1))
    let upstream = try backend.accept()
    let held = try StreamSocket.connect(to: worker.listen(tag: 2))
    try held.write("held")
    try worker.event("held bytes") { $0.text == "held" }
    #expect(worker.shared.connections == 2)
    worker.stop()
    #expect(worker.shared.connections == 0)
    _ = try relayed.readToEnd()
    _ = try upstream.readToEnd()
    _ = try held.readToEnd()
  }

  /// More connections than slots: they wait in the kernel, and are served when others have gone.
  @Test(arguments: Source.available)
  func moreConnectionsThanSlots(_ source: Source) throws {
    let worker = try ScriptedWorker(source, WorkerOptions(slots: 4)) { hands, seen in
      hands.answer(seen.id, .hold())
    }
    let listener = try worker.listen()
    let clients = try (0..<6).map { _ in try StreamSocket.connect(to: listener) }
    try until("four") { worker.seen.count == 4 }
    try until("a pause") { try worker.stats.accept_paused }
    pause(ms: 60)
    #expect(worker.seen.count == 4)
    for client in clients.prefix(3) { client.reset() }
    try worker.event("the sixth", { $0.kind == .ask && $0.number >= 4 + 2 })
    try until("no pause any more") { try !worker.stats.accept_paused }
    #expect(worker.seen.count { $0.kind == .ask } == 6)
  }

  /// More to say than fits one batch: the rest comes with the next turns, and nothing is lost.
  @Test(arguments: Source.available)
  func moreEventsThanOneBatchHolds(_ source: Source) throws {
    try makeRoom(forDescriptors: 1500)
    let worker = try ScriptedWorker(source) { hands, seen in hands.answer(seen.id, .hold()) }
    let listener = try worker.listen()
    let clients = try (0..<600).map { _ in try StreamSocket.connect(to: listener) }
    try until("all asks") { worker.seen.count { $0.kind == .ask } == 600 }
    let ended = try worker.perform { hands -> UInt32 in
      var cursor: UInt32 = 0
      return sluice_worker_kill_all(hands.worker, .max, .killed, &cursor, 1000)
    }
    #expect(ended == 600)
    try worker.closed(count: 600)
    try until("the slots to be free") { worker.shared.connections == 0 }
    for client in clients { client.close() }
  }
}
