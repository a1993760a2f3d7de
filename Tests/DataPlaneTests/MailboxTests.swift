import CSluice
import Routing
import System
import Testing
import Wire

@testable import DataPlane

@Suite struct MailboxTests {
  private func worker(_ shared: SharedCounts) throws -> Worker {
    try Worker(
      sluice_options(
        shared: shared.raw, slots: 16, buffers: 4, pipes: 1, workers: 1, events: .epoll))
  }

  @Test func commandsComeOutInOrderAndABatchAtATime() throws {
    let shared = try SharedCounts(descriptors: 100, connections: 100)
    var worker = try worker(shared)
    let mailbox = Mailbox(try Acknowledgements())
    #expect(!mailbox.post(.drain))
    mailbox.open(worker.waker)
    for number in 0..<40 {
      #expect(
        mailbox.post(.list(
            from: UInt32(number), limit: 1, filter: SessionFilter(),
            reply: try Reply<SessionPage>())))
    }
    #expect(mailbox.isWaiting)
    var taken: [UInt32] = []
    var batches: [Int] = []
    while mailbox.isWaiting {
      let batch = mailbox.take(atMost: 16).commands
      batches.append(batch.count)
      for case .list(let cursor, _, _, _) in batch { taken.append(cursor) }
    }
    #expect(taken == Array(0..<40))
    #expect(batches == [16, 16, 8])
    #expect(mailbox.take(atMost: 16).commands.isEmpty)
    // Each post woke the worker: its next turn does not wait.
    #expect(worker.turn(waitingAtMostMs: 10_000) == 0)
    mailbox.close()
    #expect(!mailbox.post(.drain))
    withExtendedLifetime(shared) {}
  }

  @Test func aFullMailboxRefusesAllButTheStop() throws {
    let shared = try SharedCounts(descriptors: 100, connections: 100)
    let worker = try worker(shared)
    let mailbox = Mailbox(try Acknowledgements())
    mailbox.open(worker.waker)
    for _ in 0..<Mailbox.limit { #expect(mailbox.post(.drain)) }
    #expect(!mailbox.post(.drain))
    #expect(mailbox.post(.stop))
    #expect(mailbox.take(atMost: 1).commands.count == 1)
    // One is out, but the stop has taken its place.
    #expect(!mailbox.post(.drain))
    #expect(mailbox.take(atMost: 1).commands.count == 1)
    #expect(mailbox.post(.drain))
    let rest = mailbox.take(atMost: 2000).commands
    #expect(rest.count == Mailbox.limit)
    guard case .stop = rest[rest.count - 2] else {
      Issue.record("the stop has lost its place")
      return
    }
    mailbox.close()
    withExtendedLifetime(shared) {}
  }

  private func table(_ listeners: Int) -> RouteTable {
    RouteTable(
      listeners: (0..<listeners).map { _ in
        ListenerEntry(
          name: "l", backend: 0, connectMs: 1, idleMs: 0, halfClosedMs: 0, maxAgeMs: 0)
      },
      backends: [
        BackendEntry(
          name: "b", servers: 0..<1, retries: 0, header: .none, splice: .inline, source: nil,
          congestion: "")
      ],
      servers: [ServerEntry(name: "s", address: .ipv4(1, port: 1))])
  }

  /// A new table finds room when nothing else does, and one that was not taken yet is replaced:
  /// only what is wanted in the end is opened and retired.
  @Test func thereIsAlwaysRoomForAnInstallation() throws {
    let shared = try SharedCounts(descriptors: 100, connections: 100)
    let worker = try worker(shared)
    let acknowledgements = try Acknowledgements()
    let mailbox = Mailbox(acknowledgements)
    let register = SocketRegister()
    func opened(_ tag: UInt32) throws -> ListeningSocket {
      let opened = try openListeners(
        [ListenAddress(tag: tag, address: .ipv4(0x7f00_0001, port: 0), backlog: 1)], workers: 1,
        register)
      return opened.sockets[0][0]
    }
    let first = Installation(number: 1, table: table(1), opened: [], retired: [4])
    #expect(!mailbox.post(first))
    mailbox.open(worker.waker)
    for _ in 0..<Mailbox.limit { #expect(mailbox.post(.drain)) }
    #expect(!mailbox.post(.drain))
    #expect(mailbox.post(first))
    #expect(
      mailbox.post(
        Installation(
          number: 2, table: table(2), opened: [try opened(7), try opened(8)], retired: [5])))
    #expect(
      mailbox.post(
        Installation(number: 3, table: table(3), opened: [try opened(9)], retired: [7])))
    #expect(mailbox.isWaiting)
    let taken = try #require(mailbox.takeInstallation())
    #expect(taken.number == 3)
    #expect(taken.table?.listeners.count == 3)
    #expect(taken.retired == [4, 5, 7])
    #expect(taken.opened.map(\.tag) == [8, 9])
    #expect(mailbox.takeInstallation() == nil)
    // The one that was replaced before anybody took it is closed.
    #expect(register.count == 2)
    #expect(mailbox.acknowledged == 0)
    mailbox.acknowledge(3, tables: 17)
    #expect(mailbox.acknowledged == 3)
    #expect(mailbox.tablesLive == 17)
    mailbox.close()
    withExtendedLifetime(shared) {}
  }

  @Test func aReplyWaitsNoLongerThanItsTime() throws {
    let reply = try Reply<Int>()
    #expect(reply.wait(atMostMs: 20) == nil)
    reply.send(5)
    #expect(reply.wait(atMostMs: 10_000) == 5)
  }
}

@Suite struct GenerationsTests {
  private func table(_ name: String, trusting: Bool = true) -> RouteTable {
    RouteTable(
      listeners: [
        ListenerEntry(
          name: name, backend: 0, connectMs: 1, idleMs: 0, halfClosedMs: 0, maxAgeMs: 0,
          trust: trusting ? TrustTable([(.ipv4(0, prefix: 0), .require)]) : TrustTable())
      ],
      backends: [
        BackendEntry(
          name: "b", servers: 0..<1, retries: 0, header: .none, splice: .inline, source: nil,
          congestion: "")
      ],
      servers: [ServerEntry(name: "s", address: .ipv4(1, port: 1))])
  }

  private func expectInstalls(
    _ generations: inout Generations, _ table: RouteTable, _ wanted: Bool = true
  ) {
    let installed = generations.install(table)
    if installed != wanted { Issue.record("install said \(installed)") }
  }

  @Test func aTableLivesAsLongAsItsConnections() {
    var generations = Generations(table("0"))
    let first = generations.enter()
    expectInstalls(&generations, table("1"))
    let second = generations.enter()
    #expect(first != second)
    #expect(generations.table(first)?.listeners[0].name == "0")
    #expect(generations.table(second)?.listeners[0].name == "1")
    generations.leave(first)
    #expect(generations.table(first) == nil)
    #expect(generations.live == 1)
    generations.leave(second)
    // The newest stays, used or not.
    #expect(generations.table(second)?.listeners[0].name == "1")
    expectInstalls(&generations, table("2"))
    #expect(generations.live == 1)
    let third = generations.enter()
    #expect(generations.table(third)?.listeners[0].name == "2")
  }

  /// Most of a table's size is its trust, and only new connections are looked up in it.
  @Test func anOlderTableKeepsNoTrust() {
    var generations = Generations(table("0"))
    let first = generations.enter()
    let socket = generations.hold()
    expectInstalls(&generations, table("1"))
    // What still waits in a socket of it comes in under it.
    #expect(generations.table(first)?.listeners[0].trust.entries.count == 1)
    let waiting = generations.enter(socket)
    #expect(waiting == first)
    generations.letGo(socket)
    #expect(generations.table(first)?.listeners[0].trust.entries.isEmpty == true)
    generations.leave(first)
    #expect(generations.table(first)?.listeners[0].name == "0")
    generations.leave(first)
    #expect(generations.table(first) == nil)
    #expect(table("x", trusting: false).remainder == nil)
  }

  /// However many tables come and go, those of live connections are never mistaken for others.
  @Test func numbersAreNeverUsedTwice() {
    var generations = Generations(table("long"))
    let long = generations.enter()
    let tables = [table("a"), table("b")]
    for round in 0..<140_000 {
      expectInstalls(&generations, tables[round % 2])
      let number = generations.enter()
      if number == long { Issue.record("round \(round) got the number of a live table") }
      generations.leave(number)
    }
    #expect(generations.table(long)?.listeners[0].name == "long")
    #expect(generations.live == 2)
  }

  @Test func whenAllNumbersAreTakenNothingIsInstalled() {
    let table = table("t", trusting: false)
    var generations = Generations(table)
    for _ in 1..<Generations.limit {
      _ = generations.enter()
      expectInstalls(&generations, table)
    }
    let last = generations.enter()
    #expect(generations.live == Generations.limit)
    expectInstalls(&generations, table, false)
    let again = generations.enter()
    #expect(again == last)
    generations.leave(0)
    expectInstalls(&generations, table)
    let reused = generations.enter()
    #expect(reused == 0)
  }
}

@Suite struct ConnectionMemoryTests {
  /// C keeps 64 bytes per slot; one more would be the neighbour's.
  @Test func itFits() {
    #expect(MemoryLayout<ConnectionMemory>.size <= 64)
    #expect(ConnectionMemory.bytesPerSlot == 64)
  }

  @Test func zeroIsEmpty() {
    let memory = withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { bytes in
      _ = bytes.initializeMemory(as: UInt8.self, repeating: 0)
      return bytes.load(as: ConnectionMemory.self)
    }
    #expect(memory.client == nil)
    #expect(memory.local == nil)
    #expect(memory.server == nil)
    #expect(memory.entry == nil)
    #expect(memory.tries == 0)
    #expect(memory.generation == 0)
  }

  @Test func everyFieldIsApart() throws {
    var memory = ConnectionMemory()
    memory.id = UniqueID(high: 1, low: 2)
    memory.client = SocketAddress("[2001:db8::1]:65535")
    memory.local = SocketAddress("192.0.2.1:25")
    memory.server = 70_000
    let entry: UInt32 = 1 << 30 - 2
    memory.entry = entry
    memory.isInListener = true
    memory.isInBackend = true
    memory.tries = 300
    memory.generation = .max
    #expect(memory.id == UniqueID(high: 1, low: 2))
    #expect(memory.client == SocketAddress("[2001:db8::1]:65535"))
    #expect(memory.local == SocketAddress("192.0.2.1:25"))
    #expect(memory.server == 70_000)
    #expect(memory.entry == entry)
    #expect(memory.tries == 127)
    #expect(memory.generation == .max)
    memory.client = nil
    memory.entry = nil
    #expect(memory.isInListener && memory.isInBackend)
    memory.isInListener = false
    #expect(!memory.isInListener && memory.isInBackend)
    memory.local = SocketAddress("[::1]:1")
    #expect(memory.client == nil)
    #expect(memory.entry == nil)
    #expect(memory.local == SocketAddress("[::1]:1"))
    #expect(memory.server == 70_000)
  }
}
