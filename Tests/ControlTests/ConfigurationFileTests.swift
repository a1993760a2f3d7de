import Config
import Glibc
import System
import Testing

@testable import Control

@Suite struct ConfigurationFileTests {
  private func file(_ text: String) throws -> (path: String, remove: () -> Void) {
    let path = "/tmp/sluice-test-\(getpid())-\(Clock.monotonicNs).yaml"
    let file = try Files.openAppending(path)
    try file.writeAll(Array(text.utf8).span)
    return (path, { unlink(path) })
  }

  @Test func aGoodFileIsASnapshot() throws {
    let (path, remove) = try file(
      """
      listeners: { smtp: { bind: "127.0.0.1:2525", backend: postfix } }
      backends: { postfix: { servers: ["127.0.0.1:10025", "127.0.0.1:10026"] } }
      """)
    defer { remove() }
    let snapshot = try ConfigurationFile(path).snapshot
    #expect(snapshot.listeners.map(\.name) == ["smtp"])
    let table = snapshot.routeTable(hasRing: true)
    #expect(table.backends[0].servers == 0..<2)
    #expect(table.servers.map(\.name) == ["127.0.0.1:10025", "127.0.0.1:10026"])
  }

  @Test func aBadFileIsLinesWithPlaces() throws {
    let (path, remove) = try file("listeners: { smtp: { bnd: \"127.0.0.1:2525\" } }\n")
    defer { remove() }
    let error = #expect(throws: ConfigurationFile.Unusable.self) {
      _ = try ConfigurationFile(path)
    }
    let lines = try #require(error).lines
    #expect(lines.contains { $0.hasPrefix("\(path):1:22: ") && $0.contains("bind") })
  }

  @Test func aMissingFileIsOneLine() throws {
    let error = #expect(throws: ConfigurationFile.Unusable.self) {
      _ = try ConfigurationFile("/nonexistent.yaml")
    }
    #expect(
      try #require(error).lines
        == ["sluice: /nonexistent.yaml: open: No such file or directory"])
  }

  @Test func theRingsSpliceEngineNeedsTheRing() {
    let snapshot = Snapshot(
      listeners: [],
      backends: [
        Backend(
          name: "b", servers: [Server(name: "s", address: .ipv4(1, port: 1))], splice: .ring)
      ])
    #expect(snapshot.routeTable(hasRing: true).backends[0].splice == .ring)
    #expect(snapshot.routeTable(hasRing: false).backends[0].splice == .inline)
  }
}

/// What a configuration reads besides its own file, from this machine.
@Suite struct SurroundingsTests {
  private func directory() throws -> (path: String, remove: () -> Void) {
    let path = "/tmp/sluice-test-\(getpid())-\(Clock.monotonicNs).d"
    try #require(mkdir(path, 0o755) == 0)
    return (
      path,
      {
        for name in (try? Files.names(in: path)) ?? [] { unlink("\(path)/\(name)") }
        rmdir(path)
      }
    )
  }

  private func write(_ text: String, to path: String) throws {
    try Files.openAppending(path).writeAll(Array(text.utf8).span)
  }

  @Test func aDirectoryIsIncludedAndTheEnvironmentRead() throws {
    let (path, remove) = try directory()
    defer { remove() }
    try write(
      "include: [.]\nlisteners: { a: { bind: 127.0.0.1:25, backend: b } }\n", to: "\(path)/main")
    try write("backends: { b: { servers: [127.0.0.1:1] } }\n", to: "\(path)/b.yaml")
    try write("state-directory: ${HOME}/${SLUICE_NOT_SET:-x}\n", to: "\(path)/c.yaml")
    try write("no yaml: [", to: "\(path)/d.yaml.old")
    let home = try #require(Environment.variable("HOME"))
    let snapshot = try ConfigurationFile("\(path)/main").snapshot
    #expect(snapshot.backends.map(\.name) == ["b"])
    #expect(snapshot.stateDirectory == "\(home)/x")

    try write("workers: 0\n", to: "\(path)/e.yaml")
    let error = #expect(throws: ConfigurationFile.Unusable.self) {
      _ = try ConfigurationFile("\(path)/main")
    }
    #expect(
      try #require(error).lines == ["\(path)/./e.yaml:1:10: workers: 0 is out of range 1 to 1024"])
  }

  /// Opening a FIFO would wait for whoever writes to it.
  @Test func onlyRegularFilesAndDirectoriesAreRead() throws {
    let (path, remove) = try directory()
    defer { remove() }
    try #require(mkfifo("\(path)/fifo", 0o600) == 0)
    let contents = Surroundings.system.contents
    #expect(contents("\(path)/fifo", 10) == .failure(.init("not a regular file")))
    #expect(contents("\(path)/gone", 10) == .failure(.init("stat: No such file or directory")))
    #expect(contents(path, 0) == .success(.directory(["fifo"])))
    try write("12345678901", to: "\(path)/long")
    #expect(contents("\(path)/long", 10) == .failure(.init("larger than 10 bytes")))
    #expect(contents("\(path)/long", 11) == .success(.file(Array("12345678901".utf8))))
  }
}
