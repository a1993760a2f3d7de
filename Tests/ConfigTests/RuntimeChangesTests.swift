import Routing
import Testing
import Wire

@testable import Config

@Suite struct RuntimeChangesTests {
  private func snapshot(weight: Int = 1, listeners: [String] = ["a", "b"]) -> Snapshot {
    Snapshot(
      listeners: listeners.map {
        Listener(name: $0, binds: [.ipv4(0x7f00_0001, port: 25)], backend: 0)
      },
      backends: [
        Backend(
          name: "x",
          servers: [
            Server(name: "1", address: .ipv4(1, port: 1), weight: weight),
            Server(name: "2", address: .ipv4(2, port: 2)),
          ]),
        Backend(name: "y", servers: [Server(name: "1", address: .ipv4(3, port: 3))]),
      ])
  }

  private var changes: RuntimeChanges {
    var changes = RuntimeChanges()
    changes.drainedListeners = ["b"]
    changes.drainedBackends = ["y"]
    changes.drainedServers = [.init(backend: "x", server: "2")]
    changes.weights[.init(backend: "x", server: "1")] = .init(weight: 9, configured: 1)
    return changes
  }

  @Test func theyAreLaidOverTheSnapshot() {
    let applied = changes.applied(to: snapshot())
    #expect(applied.listeners.map(\.binds.count) == [1, 0])
    #expect(applied.backends[0].servers.map(\.weight) == [9, 0])
    #expect(applied.backends[1].servers.map(\.weight) == [0])
    #expect(RuntimeChanges().applied(to: snapshot()) == snapshot())
    #expect(changes.sentences.count == 4)
  }

  @Test func theySurviveWhatDoesNotTouchThem() {
    let (kept, lost) = changes.surviving(snapshot())
    #expect(kept == changes)
    #expect(lost.isEmpty)
  }

  /// A weight that the file changes is the file's from then on, and what is gone is gone.
  @Test func whatDoesNotSurviveIsTold() {
    var next = snapshot(weight: 2, listeners: ["a"])
    next.backends[0].servers.removeLast()
    next.backends.removeLast()
    let (kept, lost) = changes.surviving(next)
    #expect(kept.isEmpty)
    #expect(lost.count == 4)
    #expect(lost.contains { $0.hasPrefix("server x/1 had weight 9") && $0.contains("from 1 to 2") })
    #expect(lost.contains("server x/2 was drained and is gone"))
  }

  @Test func placesAreThoseOfTheFile() {
    let text = Array("workers: 2\nlimits:\n  max-connections: 5\n".utf8)
    func place(_ keys: String...) -> String { Snapshot.place(of: keys, in: text, file: "f") }
    #expect(place("workers") == "f:1:10")
    #expect(place("limits", "max-connections") == "f:3:20")
    // The nearest that is there.
    #expect(place("limits", "other") == "f:3:3")
    #expect(place("admin", "socket") == "f:1:1")
    #expect(Snapshot.place(of: ["a"], in: Array("[".utf8), file: "f") == "f")
  }
}
