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
