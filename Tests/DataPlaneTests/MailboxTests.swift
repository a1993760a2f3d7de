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
    let mailbox = Mailbox()
    #expect(!mailbox.post(.drain))
    mailbox.open(worker.waker)
    for number in 0..<40 {
      #expect(
        mailbox.post(.list(from: UInt32(number), limit: 1, reply: try Reply<SessionPage>())))
    }
    #expect(mailbox.isWaiting)
    var taken: [UInt32] = []
    var batches: [Int] = []
    while mailbox.isWaiting {
      let batch = mailbox.take(atMost: 16)
      batches.append(batch.count)
      for case .list(let cursor, _, _) in batch { taken.append(cursor) }
    }
    #expect(taken == Array(0..<40))
    #expect(batches == [16, 16, 8])
    #expect(mailbox.take(atMost: 16).isEmpty)
    // Each post woke the worker: its next turn does not wait.
    #expect(worker.turn(waitingAtMostMs: 10_000) == 0)
    mailbox.close()
    #expect(!mailbox.post(.drain))
    withExtendedLifetime(shared) {}
  }

  @Test func aFullMailboxRefusesAllButTheStop() throws {
    let shared = try SharedCounts(descriptors: 100, connections: 100)
    let worker = try worker(shared)
    let mailbox = Mailbox()
    mailbox.open(worker.waker)
    for _ in 0..<Mailbox.limit { #expect(mailbox.post(.drain)) }
    #expect(!mailbox.post(.drain))
    #expect(!mailbox.post(.install(RouteTable(listeners: [], backends: [], servers: []))))
    #expect(mailbox.post(.stop))
    #expect(mailbox.take(atMost: 1).count == 1)
    // One is out, but the stop has taken its place.
    #expect(!mailbox.post(.drain))
    #expect(mailbox.take(atMost: 1).count == 1)
    #expect(mailbox.post(.drain))
    let rest = mailbox.take(atMost: 2000)
    #expect(rest.count == Mailbox.limit)
    guard case .stop = rest[rest.count - 2] else {
      Issue.record("the stop has lost its place")
      return
    }
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
    memory.entry = UInt32.max - 1
    memory.tries = 300
    memory.generation = .max
    #expect(memory.id == UniqueID(high: 1, low: 2))
    #expect(memory.client == SocketAddress("[2001:db8::1]:65535"))
    #expect(memory.local == SocketAddress("192.0.2.1:25"))
    #expect(memory.server == 70_000)
    #expect(memory.entry == UInt32.max - 1)
    #expect(memory.tries == 255)
    #expect(memory.generation == .max)
    memory.client = nil
    memory.entry = nil
    memory.local = SocketAddress("[::1]:1")
    #expect(memory.client == nil)
    #expect(memory.entry == nil)
    #expect(memory.local == SocketAddress("[::1]:1"))
    #expect(memory.server == 70_000)
  }
}
