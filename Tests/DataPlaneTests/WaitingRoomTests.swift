import CSluice
import Routing
import TestSupport
import Testing
import Wire

@testable import DataPlane

/// Who is called, and that no call and no count is lost.
@Suite struct WaitingRoomTests {
  private let room = WaitingRoom()

  private func source(_ number: UInt32) -> Identity? {
    Identity(source: .ipv4(number, port: 1))
  }

  private func id(_ slot: Int) -> ConnectionID {
    ConnectionID(worker: 0, slot: UInt32(slot), generation: 1)
  }

  /// A mailbox whose calls can be read.
  private func withMailbox(_ body: (Mailbox) throws -> Void) throws {
    let shared = try SharedCounts(descriptors: 100, connections: 100)
    let worker = try Worker(
      sluice_options(
        shared: shared.raw, slots: 16, buffers: 16, pipes: 1, workers: 1, events: .epoll))
    let mailbox = Mailbox(try Acknowledgements())
    mailbox.open(worker.waker)
    try body(mailbox)
    mailbox.close()
    withExtendedLifetime(shared) {}
  }

  private func join(
    _ mailbox: Mailbox, _ slot: Int, _ place: WaitingRoom.Place = .backend(3),
    from number: UInt32 = 1, listener: Int = 0, most: Int = 100, isFree: Bool = false
  ) -> UInt64? {
    room.join(
      place, .init(worker: mailbox, id: id(slot), listener: listener), from: source(number),
      most: most
    ) { isFree }
  }

  private func calls(_ mailbox: Mailbox) -> [Int] {
    mailbox.take(atMost: 0).calls.map { Int($0.slot) }
  }

  @Test func oneCallForEachPlaceThatIsFreed() throws {
    try withMailbox { mailbox in
      #expect(room.isEmpty && !room.isWaited(for: .backend(3)))
      room.freed(.backend(3))
      let first = try #require(join(mailbox, 1))
      let second = try #require(join(mailbox, 2))
      #expect(!room.isEmpty && room.isWaited(for: .backend(3)) && !room.isWaited(for: .backend(4)))
      room.freed(.backend(4))
      #expect(calls(mailbox) == [])
      room.freed(.backend(3))
      #expect(calls(mailbox) == [1])
      room.leave(first, for: .backend(3), listener: 0, isSeated: true)
      #expect(calls(mailbox) == [])
      room.freed(.backend(3))
      #expect(calls(mailbox) == [2])
      room.leave(second, for: .backend(3), listener: 0, isSeated: true)
      #expect(room.isEmpty && !room.isWaited(for: .backend(3)))
    }
  }

  /// The place was given back between the look at it and the counting: nobody else will call.
  @Test func whoJoinsLooksAgain() throws {
    try withMailbox { mailbox in
      _ = join(mailbox, 1, isFree: true)
      #expect(calls(mailbox) == [1])
    }
  }

  /// Its call was for a place that somebody else took: it is the next to be called all the same.
  @Test func putBackAndCalledAgain() throws {
    try withMailbox { mailbox in
      let first = try #require(join(mailbox, 1))
      _ = join(mailbox, 2, from: 2)
      room.freed(.backend(3))
      #expect(calls(mailbox) == [1])
      #expect(room.putBack(first, for: .backend(3)))
      room.freed(.backend(3))
      room.freed(.backend(3))
      #expect(calls(mailbox) == [1, 2])
    }
  }

  /// While all that wait were called, another place becomes free.
  @Test func aCallThatFindsNobodyIsKept() throws {
    try withMailbox { mailbox in
      let only = try #require(join(mailbox, 1))
      room.freed(.backend(3))
      room.freed(.backend(3))
      #expect(calls(mailbox) == [1])
      // It tried before the second place was free: once more.
      #expect(!room.putBack(only, for: .backend(3)))
      #expect(room.putBack(only, for: .backend(3)))
      // Nobody needed the second one when the first did.
      room.freed(.backend(3))
      room.leave(only, for: .backend(3), listener: 0, isSeated: true)
      #expect(room.isEmpty)
    }
  }

  /// Called, it left instead, or was turned away: the place is the next one's.
  @Test func whoLeavesPassesItsCallOn() throws {
    try withMailbox { mailbox in
      let first = try #require(join(mailbox, 1))
      let second = try #require(join(mailbox, 2))
      _ = join(mailbox, 3)
      room.leave(second, for: .backend(3), listener: 0, isSeated: false)
      #expect(calls(mailbox) == [])
      room.freed(.backend(3))
      #expect(calls(mailbox) == [1])
      room.leave(first, for: .backend(3), listener: 0, isSeated: false)
      #expect(calls(mailbox) == [3])
    }
  }

  @Test func boundedByListener() throws {
    try withMailbox { mailbox in
      let first = try #require(join(mailbox, 1, most: 2))
      #expect(join(mailbox, 2, .source(source(9)!), most: 2) != nil)
      #expect(join(mailbox, 3, most: 2) == nil)
      #expect(join(mailbox, 4, listener: 1, most: 2) != nil)
      room.leave(first, for: .backend(3), listener: 0, isSeated: false)
      #expect(join(mailbox, 5, most: 2) != nil)
    }
  }

  /// Each place is its own line, and in each sources take turns.
  @Test func sourcesTakeTurns() throws {
    try withMailbox { mailbox in
      for slot in 0..<6 { _ = join(mailbox, slot, from: 1) }
      for slot in 10..<13 { _ = join(mailbox, slot, from: UInt32(slot)) }
      for slot in 20..<22 { _ = join(mailbox, slot, .listener(3), from: 5) }
      for _ in 0..<5 { room.freed(.backend(3)) }
      #expect(calls(mailbox) == [0, 10, 11, 12, 1])
      room.freed(.listener(3))
      #expect(calls(mailbox) == [20])
    }
  }
}
