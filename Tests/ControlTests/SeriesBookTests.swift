import Config
import Testing
import Wire

@testable import Control

@Suite struct SeriesBookTests {
  private func snapshot(_ names: [String], servers: [String] = ["s"]) -> Snapshot {
    Snapshot(
      listeners: names.map {
        Listener(name: $0, binds: [.ipv4(0x7f00_0001, port: 1)], backend: 0)
      },
      backends: [
        Backend(
          name: "b",
          servers: servers.map { Server(name: $0, address: .ipv4(0x7f00_0001, port: 2)) })
      ])
  }

  @Test func aNameKeepsItsNumberWhereverItStands() {
    var book = SeriesBook()
    let first = book.plan(for: snapshot(["a", "b"], servers: ["x", "y"]))
    #expect(first.listeners == [0, 1] && first.fresh.listeners == [0, 1])
    #expect(first.servers == [0, 1] && first.backends == [0])
    let second = book.plan(for: snapshot(["c", "b", "a"], servers: ["y", "x"]))
    #expect(second.listeners == [2, 1, 0] && second.fresh.listeners == [2])
    #expect(second.servers == [1, 0] && second.fresh.servers == [])
    #expect(second.serial > first.serial)
  }

  @Test func aNumberWaitsForItsLastTable() {
    var book = SeriesBook()
    let first = book.plan(for: snapshot(["a"]))
    let second = book.plan(for: snapshot(["b"]))
    // A connection of the first table is still there.
    book.settle(oldestSerial: first.serial)
    #expect(book.plan(for: snapshot(["b", "c"])).listeners == [1, 2])
    book.settle(oldestSerial: second.serial)
    let plan = book.plan(for: snapshot(["b", "c", "d"]))
    #expect(plan.listeners == [1, 2, 0] && plan.fresh.listeners == [0])
    #expect(book.listeners.entries.map { $0?.name } == ["d", "b", "c"])
  }

  @Test func aNameThatComesBackInTimeGoesOnCounting() {
    var book = SeriesBook()
    _ = book.plan(for: snapshot(["a", "b"]))
    _ = book.plan(for: snapshot(["b"]))
    #expect(book.listeners.entries.map { $0?.goneSince == nil } == [false, true])
    let plan = book.plan(for: snapshot(["a", "b"]))
    #expect(plan.listeners == [0, 1] && plan.fresh.listeners == [])
    #expect(book.listeners.entries.allSatisfy { $0?.goneSince == nil })
  }

  @Test func aPlanThatIsGivenUpLeavesNoTrace() {
    var book = SeriesBook()
    _ = book.plan(for: snapshot(["a"]))
    var copy = book
    _ = copy.plan(for: snapshot(["z"]))
    let plan = book.plan(for: snapshot(["a", "b"]))
    #expect(plan.listeners == [0, 1])
    #expect(book.listeners.entries.map { $0?.name } == ["a", "b"])
  }

  @Test func aThousandReloadsNeedNoMoreNumbersThanTwo() {
    var book = SeriesBook()
    for round in 0..<1000 {
      let plan = book.plan(for: snapshot(["always", "round-\(round)"], servers: ["s\(round)"]))
      #expect(plan.listeners[0] == 0)
      book.settle(oldestSerial: plan.serial)
    }
    #expect(book.listeners.entries.count <= 3)
    #expect(book.servers.entries.count <= 2)
  }
}
