import CSluice
import Glibc
import System
import TestSupport
import Testing

/// Workers that hand new connections to each other. All come in by the first one's socket.
@Suite struct HandoverTests {
  /// Workers with the same totals, each with a place of its own.
  private func workers(
    _ count: UInt32, _ source: Source, versions: [UInt64]
  ) throws -> [ScriptedWorker] {
    let shared = SharedTotals()
    return try (0..<count).map { place in
      let worker = try ScriptedWorker(source, WorkerOptions(workers: count), shared: shared) {
        hands, seen in hands.answer(seen.id, .hold())
      }
      let version = versions[Int(place)]
      try worker.perform { hands in sluice_worker_share(hands.worker, place, version) }
      return worker
    }
  }

  private func live(_ workers: [ScriptedWorker]) throws -> [UInt32] {
    try workers.map { try $0.stats.connections }
  }

  @Test(arguments: Source.available, [2, 4] as [UInt32])
  func allHaveAboutAsMany(_ source: Source, _ count: UInt32) throws {
    let workers = try workers(count, source, versions: Array(repeating: 1, count: Int(count)))
    let listener = try workers[0].listen(tag: 3)
    let each: UInt32 = 50
    let clients = try (0..<each * count).map { _ in try StreamSocket.connect(to: listener) }
    try until("all to be there") { try live(workers).reduce(0, +) == each * count }
    #expect(workers[0].shared.connections == each * count)
    // A fifth more or less than an even share.
    for number in try live(workers) { #expect((each * 4 / 5...each * 6 / 5).contains(number)) }
    let stats = try workers.map { try $0.stats }
    #expect(stats[0].accepted == UInt64(each * count) && stats[0].received == 0)
    #expect(stats[0].handed_over == stats.dropFirst().reduce(0) { $0 + $1.received })
    #expect(stats.dropFirst().allSatisfy { $0.handed_over == 0 && $0.accepted == 0 })
    for worker in workers { #expect(worker.seen.allSatisfy { $0.listener == 3 }) }
    for client in clients { client.reset() }
    try until("all to be gone") { workers[0].shared.connections == 0 }
  }

  /// Few connections stay where they came in, however unevenly.
  @Test(arguments: Source.available)
  func fewStay(_ source: Source) throws {
    let workers = try workers(2, source, versions: [1, 1])
    let listener = try workers[0].listen()
    let clients = try (0..<4).map { _ in try StreamSocket.connect(to: listener) }
    try until("all to be there") { try live(workers) == [4, 0] }
    for client in clients { client.close() }
  }

  /// Who has another table, or takes no part any more, gets none.
  @Test(arguments: Source.available, [0, 2] as [UInt64])
  func othersGetNone(_ source: Source, _ version: UInt64) throws {
    let workers = try workers(2, source, versions: [1, 1])
    try workers[1].perform { hands in sluice_worker_share(hands.worker, 1, version) }
    let listener = try workers[0].listen()
    let clients = try (0..<40).map { _ in try StreamSocket.connect(to: listener) }
    try until("all to be there") { try live(workers) == [40, 0] }
    #expect(try workers[0].stats.handed_over == 0)
    for client in clients { client.close() }
  }

  /// What comes in by a socket that is given up is asked about where it came in.
  @Test(arguments: Source.available)
  func aSocketThatIsGivenUpKeepsItsOwn(_ source: Source) throws {
    let workers = try workers(2, source, versions: [1, 1])
    let open = try OpenListener()
    // Nobody accepts yet; then they are all in the queue when it is given up.
    let clients = try (0..<40).map { _ in try StreamSocket.connect(to: open.endpoint) }
    let descriptor = open.descriptor
    try workers[0].perform { hands in
      _ = sluice_worker_listen(hands.worker, descriptor, 5, true)
      sluice_worker_unlisten(hands.worker, 5)
    }
    try until("all to be there") { try live(workers) == [40, 0] }
    #expect(try workers[0].stats.handed_over == 0)
    for client in clients { client.close() }
  }

  /// A worker that ends takes with it what it was given and had not looked at.
  @Test(arguments: Source.available)
  func nothingStaysInAnInbox(_ source: Source) throws {
    let workers = try workers(2, source, versions: [1, 1])
    let listener = try workers[0].listen()
    let isFree = Guarded(false)
    let blocked = Job("blocked worker") {
      try workers[1].perform { _ in while !isFree.withLock({ $0 }) { usleep(1000) } }
    }
    let clients = try (0..<40).map { _ in try StreamSocket.connect(to: listener) }
    try until("some to be handed over") { try workers[0].stats.handed_over > 0 }
    try until("all to be accepted") { try workers[0].stats.accepted == 40 }
    let ending = Job("stop") { workers[1].stop() }
    usleep(20_000)
    isFree.withLock { $0 = true }
    try ending.value()
    try? blocked.value()
    let kept = try workers[0].stats.connections
    #expect(workers[0].shared.connections == kept && kept < 40)
    // Nobody is given to it any more.
    let late = try (0..<40).map { _ in try StreamSocket.connect(to: listener) }
    try until("them to be there") { try workers[0].stats.connections == kept + 40 }
    try until("those that it had to end") {
      let ended = clients.count { client in
        var ready = pollfd(fd: client.descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&ready, 1, 0) > 0
      }
      return ended == 40 - Int(kept)
    }
    for client in clients + late { client.close() }
  }
}
