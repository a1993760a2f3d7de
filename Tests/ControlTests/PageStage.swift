import AdminAPI
import Glibc
import System

@testable import Control

/// A server as the page sees one, with what the test puts on it.
final class PageStage: Operations {
  private let scene: Guarded<Scene>
  let events = EventHub()
  private let readings = Guarded(0)

  struct Scene: Sendable {
    var status = Status(
      version: "0.1.0", pid: 1, uptimeSeconds: 93_784, configuration: "/etc/sluice.yaml",
      generation: 4, phase: .serving, workers: 2, events: "ring", connections: 128,
      maxConnections: 100_000, accepted: 48_211, bytesUp: 8_112_004_211,
      bytesDown: 91_337_020_118, descriptors: 311, descriptorLimit: 524_288)
    var listeners: [ListenerStatus] = []
    var backends: [BackendStatus] = []
    var looks = 0
  }

  init(_ scene: Scene) { self.scene = Guarded(scene) }

  /// How often somebody looked.
  var looks: Int { readings.withLock { $0 } }

  func change(_ body: @Sendable (inout Scene) -> Void) { scene.withLock { body(&$0) } }

  func status() -> Status {
    readings.withLock { $0 += 1 }
    return scene.withLock { $0.status }
  }
  /// Each look finds that more has happened, in waves.
  func listeners() -> [ListenerStatus] {
    scene.withLock { scene in
      scene.looks += 1
      let wave = UInt64(1000 + 900 * sin(Double(scene.looks) / 9))
      for index in scene.listeners.indices {
        scene.listeners[index].connections = 40 + Int(wave) / 40 * (index + 1)
        scene.listeners[index].accepted += wave / 300
        scene.listeners[index].bytesUp += wave * 700
        scene.listeners[index].bytesDown += wave * wave * 4
      }
      return scene.listeners
    }
  }

  /// How often somebody looked at the listeners.
  var steps: Int { scene.withLock { $0.looks } }
  func backends() -> [BackendStatus] { scene.withLock { $0.backends } }
  func metrics() -> [UInt8] { Array("# nothing\n".utf8) }

  // Nothing here is ever asked by the page.
  func sessions(_ query: SessionQuery) throws(Failure) -> SessionList { throw PageStage.refusal }
  func explain(_ query: ExplainQuery) throws(Failure) -> Explanation { throw PageStage.refusal }
  func kill(_ request: KillRequest) throws(Failure) -> KillResult { throw PageStage.refusal }
  func reload(_ request: ReloadRequest) throws(Failure) -> ReloadResult { throw PageStage.refusal }
  func drain(_ target: Target) throws(Failure) { throw PageStage.refusal }
  func resume(_ target: Target) throws(Failure) { throw PageStage.refusal }
  func setWeight(_ request: WeightRequest) throws(Failure) { throw PageStage.refusal }
  func setLogLevel(_ request: LogLevelRequest) throws(Failure) { throw PageStage.refusal }
  func configuration(defaults: Bool) -> String { "" }
  func bans() -> [Ban] { [] }
  func ban(_ request: BanRequest) throws(Failure) -> Ban { throw PageStage.refusal }
  func unban(_ network: String) throws(Failure) { throw PageStage.refusal }

  private static let refusal = Failure(.refused, "the page asked for more than to look")

  /// A mail edge in the middle of its day; `name` goes wherever a text can come from outside.
  static func busy(_ name: String) -> Scene {
    var scene = Scene()
    scene.listeners = [
      ListenerStatus(
        name: "smtp", type: "server-first", binds: ["0.0.0.0:25", "[::]:25"], backend: "postfix",
        state: .serving, connections: 71, accepted: 31_004,
        rejected: ["proxy.untrusted": 17, "dial.refused": 3], bytesUp: 7_100_000_000,
        bytesDown: 300_000_000),
      ListenerStatus(
        name: "imaps", type: "tls", binds: ["0.0.0.0:993"], backend: nil, state: .drained,
        connections: 57, accepted: 17_207, rejected: ["tls.not-tls": 211],
        bytesUp: 1_012_004_211, bytesDown: 91_000_000_000),
    ]
    scene.backends = [
      BackendStatus(
        name: "postfix", balance: "round-robin", state: .serving,
        servers: [
          ServerStatus(
            name: "192.0.2.10:12525", address: "192.0.2.10:12525", state: .up, weight: 2,
            connections: 48, dials: 20_411, dialFailures: 3, bytesUp: 6_000_000_000,
            bytesDown: 200_000_000),
          ServerStatus(
            name: name, address: "192.0.2.11:12525", state: .down, reason: name, weight: 1,
            connections: 23, dials: 10_593, dialFailures: 4, bytesUp: 1_100_000_000,
            bytesDown: 100_000_000),
        ]),
      BackendStatus(
        name: "dovecot", balance: "least-connections", state: .drained,
        servers: [
          ServerStatus(name: "imap.example:10143", address: "192.0.2.12:10143", state: .drained)
        ]),
    ]
    scene.status.drains = [
      DrainProgress(what: "listener \(name)", connections: 57, remainingSeconds: 22)
    ]
    scene.status.runtimeChanges = ["backend dovecot is drained", name]
    scene.status.reloads = [
      ReloadSummary(
        time: "2026-11-21T09:12:44.120Z", outcome: .applied, generation: 4, changes: 3),
      ReloadSummary(
        time: "2026-11-21T11:40:02.901Z", outcome: .refused, generation: 4, changes: 0,
        problem: name),
    ]
    scene.status.logDropped = 12
    return scene
  }
}
