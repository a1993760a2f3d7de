import Config
import System
import Testing
import Wire

@testable import Control

@Suite struct ActivationTests {
  private func snapshot(_ listeners: (String, [String])...) -> Snapshot {
    Snapshot(
      listeners: listeners.map { name, binds in
        Listener(name: name, binds: binds.compactMap { SocketAddress($0) }, backend: 0)
      },
      backends: [Backend(name: "back", servers: [])])
  }

  private func socket(
    _ descriptor: Int32, _ address: String, _ name: String? = nil, dual: Bool = false
  ) throws -> InheritedSocket {
    InheritedSocket(
      descriptor: descriptor, address: try #require(SocketAddress(address)), takesIPv4: dual,
      name: name)
  }

  @Test func nothingHandedOverChangesNothing() {
    let configured = snapshot(("smtp", ["0.0.0.0:25"]))
    let activation = Activation(configured, InheritedSockets())
    #expect(activation.snapshot == configured)
    #expect(activation.notes + activation.warnings + activation.errors == [])
  }

  @Test func aSocketUnderAListenersNameIsTheListeners() throws {
    let activation = Activation(
      snapshot(("smtp", ["0.0.0.0:25"]), ("imap", ["127.0.0.1:143"])),
      InheritedSockets(listening: [try socket(3, "127.0.0.1:4025", "smtp")]))
    #expect(activation.snapshot.listeners[0].binds.map { "\($0)" } == ["127.0.0.1:4025"])
    #expect(activation.snapshot.listeners[1].binds.map { "\($0)" } == ["127.0.0.1:143"])
    #expect(
      activation.notes == [
        "listener smtp: 127.0.0.1:4025, handed over under its name, instead of 0.0.0.0:25"
      ])
    #expect(activation.warnings + activation.errors == [])
  }

  // systemd.socket(5): several ListenStream= lines of one unit have one FileDescriptorName=.
  @Test func severalSocketsMayHaveOneName() throws {
    let activation = Activation(
      snapshot(("smtp", ["0.0.0.0:25", "[::]:25"])),
      InheritedSockets(listening: [
        try socket(3, "[::]:25", "smtp", dual: true), try socket(4, "unix:/run/s.sock", "smtp"),
      ]))
    #expect(
      activation.snapshot.listeners[0].binds.map { "\($0)" } == ["[::]:25", "unix:/run/s.sock"])
    #expect(activation.notes + activation.warnings + activation.errors == [])
  }

  @Test func otherNamesGoByAddress() throws {
    let configured = snapshot(("smtp", ["127.0.0.1:25"]))
    for name in ["sluice.socket", "unknown", nil] {
      let activation = Activation(
        configured, InheritedSockets(listening: [try socket(3, "127.0.0.1:25", name)]))
      #expect(activation.snapshot == configured)
      #expect(activation.notes + activation.warnings + activation.errors == [])
    }
  }

  @Test func whatNobodyUsesIsNamed() throws {
    let activation = Activation(
      snapshot(("smtp", ["127.0.0.1:25"])),
      InheritedSockets(
        listening: [try socket(3, "127.0.0.1:26", "smpt"), try socket(4, "127.0.0.1:27")],
        others: [.init(descriptor: 5, name: "dns")]))
    #expect(activation.errors == [])
    #expect(activation.warnings.count == 3)
    #expect(activation.warnings[0].hasPrefix("descriptor 3 (\"smpt\"), 127.0.0.1:26, was handed"))
    #expect(activation.warnings[1].hasPrefix("descriptor 4, 127.0.0.1:27, was handed"))
    #expect(
      activation.warnings[2]
        == "descriptor 5 (\"dns\") was handed over, but is no listening stream socket")
  }

  @Test func oneSocketCannotServeTwoListeners() throws {
    let activation = Activation(
      snapshot(("smtp", ["127.0.0.1:25"]), ("other", ["127.0.0.1:26"])),
      InheritedSockets(listening: [try socket(3, "127.0.0.1:25", "other")]))
    #expect(
      activation.errors == [
        "listener smtp: 127.0.0.1:25 was handed over under the name of another listener, other"
      ])
  }
}
