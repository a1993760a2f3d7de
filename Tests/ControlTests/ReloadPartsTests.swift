import AdminAPI
import Config
import Routing
import System
import Testing
import Wire

@testable import Control

/// The values that a reload is made of.
@Suite struct ReloadPartsTests {
  private let second: UInt64 = 1_000_000_000

  private func binding(
    _ port: UInt16, listener: Int = 0, backlog: Int = 128, inherited: Int32? = nil
  ) -> Binding {
    Binding(
      listener: listener, address: .ipv4(0x7f00_0001, port: port), backlog: backlog,
      congestion: "", inherited: inherited)
  }

  // ---- sockets -----------------------------------------------------------------------------

  /// An address keeps its socket whichever listener has it; a tag is never another socket's.
  @Test func addressesKeepTheirSockets() {
    var book = SocketBook()
    let first = book.step(to: [binding(1), binding(2, listener: 1)])
    #expect(first.opened.map(\.tag) == [0, 1])
    #expect(first.retired.isEmpty)
    let second = book.step(to: [binding(2, listener: 0), binding(3, listener: 1)])
    #expect(second.opened.map(\.tag) == [2])
    #expect(second.retired == [0])
    #expect(second.entries.map(\.tag) == [1, 2])
    #expect(second.entries.map(\.listener) == [0, 1])
    let third = book.step(to: [binding(1), binding(2)])
    #expect(third.opened.map(\.tag) == [3])
    #expect(third.retired == [2])
    #expect(Set(book.addresses) == Set([binding(1), binding(2)].map(\.address)))
  }

  @Test func aKeptSocketIsTuned() {
    var book = SocketBook()
    _ = book.step(to: [binding(1), binding(2)])
    let step = book.step(to: [binding(1, backlog: 5), binding(2)])
    #expect(step.opened.isEmpty && step.retired.isEmpty)
    #expect(step.tuned.map(\.backlog) == [5])
    #expect(step.tuned.map(\.tag) == [0])
  }

  /// A file that we made goes with its socket; one that was handed over is not ours.
  @Test func filesOfRetiredSockets() {
    func unix(_ path: String, inherited: Int32? = nil) -> Binding {
      Binding(
        listener: 0, address: .unix(path: path), backlog: 1, congestion: "", inherited: inherited)
    }
    var book = SocketBook()
    let first = book.step(to: [unix("/a"), unix("/b", inherited: 3), unix("\0abstract")])
    #expect(first.entries.map(\.local?.file) == ["/a", "/b", nil])
    let second = book.step(to: [])
    #expect(second.retiredPaths == ["/a"])
    #expect(second.retiredInherited == [.unix(path: "/b")])
    #expect(second.retired.count == 3)
  }

  // ---- drains ------------------------------------------------------------------------------

  private func snapshot(_ listeners: [String], _ servers: [String]) -> Snapshot {
    Snapshot(
      drainMs: 2000,
      listeners: listeners.map { Listener(name: $0, binds: [.ipv4(1, port: 1)], backend: 0) },
      backends: [
        Backend(
          name: "x", servers: servers.map { Config.Server(name: $0, address: .ipv4(1, port: 1)) })
      ])
  }

  @Test func whatIsGoneDrains() {
    var drains = RemovalDrains()
    let (begun, _) = drains.follow(
      from: snapshot(["a", "b"], ["1", "2"]), to: snapshot(["a"], ["2"]), nowNs: 0)
    #expect(begun.map(\.description) == ["listener b", "server x/1"])
    // Not before those who waited in its queue can have come.
    var look = drains.look(nowNs: 1, live: [begun[0]: 0, begun[1]: 4])
    #expect(look.finished.isEmpty && look.due.isEmpty)
    look = drains.look(nowNs: RemovalDrains.leastNs, live: [begun[0]: 0, begun[1]: 4])
    #expect(look.finished == [begun[0]] && look.due.isEmpty)
    look = drains.look(nowNs: 2 * second, live: [begun[1]: 3])
    #expect(look.finished.isEmpty && look.due == [begun[1]])
    // Told once, and there until they have gone.
    look = drains.look(nowNs: 3 * second, live: [begun[1]: 3])
    #expect(look.due.isEmpty && !drains.isEmpty)
    look = drains.look(nowNs: 3 * second, live: [begun[1]: 0])
    #expect(look.finished == [begun[1]] && drains.isEmpty)
  }

  /// Without an answer from every worker nothing is known to have ended; the deadline holds.
  @Test func whatIsNotKnownHasNotEnded() {
    var drains = RemovalDrains()
    let (begun, _) = drains.follow(
      from: snapshot(["a"], ["1"]), to: snapshot([], ["1"]), nowNs: 0)
    #expect(drains.look(nowNs: second, live: [:]).finished.isEmpty)
    #expect(drains.look(nowNs: 2 * second, live: [:]).due == begun)
  }

  @Test func whatIsBackDrainsNoMore() {
    var drains = RemovalDrains()
    let (with, without) = (snapshot(["a", "b"], ["1"]), snapshot(["a"], ["1"]))
    _ = drains.follow(from: with, to: without, nowNs: 0)
    let (begun, cancelled) = drains.follow(from: without, to: with, nowNs: second)
    #expect(begun.isEmpty)
    #expect(cancelled == [.listener("b")])
    #expect(drains.isEmpty)
    // A second removal has its whole time.
    _ = drains.follow(from: with, to: without, nowNs: 5 * second)
    #expect(drains.look(nowNs: 6 * second, live: [.listener("b"): 1]).due.isEmpty)
  }
}
