package import Config
package import DataPlane
internal import System

/// Sees to it that the process stops accepting before its memory is spent, and says whenever
/// workers stop and go on: clients wait in the kernel's queues then, and whoever operates this
/// should know. Looked at about once a second; it asks no worker.
package struct Overload: Sendable {
  package struct Reading: Sendable {
    package var pauses: AcceptPauses
    package var connections: Int
    package var connectionsMax: Int
    package var residentBytes: UInt64
    /// Nil is no limit.
    package var memoryBytes: UInt64?

    package init(
      pauses: AcceptPauses, connections: Int, connectionsMax: Int, residentBytes: UInt64,
      memoryBytes: UInt64?
    ) {
      self.pauses = pauses
      self.connections = connections
      self.connectionsMax = connectionsMax
      self.residentBytes = residentBytes
      self.memoryBytes = memoryBytes
    }
  }

  private static let lookEveryNs: UInt64 = 1_000_000_000
  /// While it goes on and off, it is told of no more often.
  private static let tellEveryNs: UInt64 = 60_000_000_000
  /// It is over when nobody has paused for so long.
  private static let quietNs: UInt64 = 3_000_000_000
  /// With fewer connections memory is never waited for: there is nothing to end that would free it.
  package static let connectionsLeast = 100

  private var nextNs: UInt64 = 0
  private var seen = AcceptPauses()
  private var toldNs: UInt64?
  private var pausedNs: UInt64 = 0
  /// Whether memory is scarce.
  package private(set) var pausesForMemory = false

  package init() {}

  package func waitMs(nowNs: UInt64) -> Int32 {
    Int32(clamping: nextNs <= nowNs ? 0 : (nextNs - nowNs + 999_999) / 1_000_000)
  }

  package func isDue(nowNs: UInt64) -> Bool { nowNs >= nextNs }

  /// Whether the next look will ask how much memory is in use and may be.
  package func needsMemory(_ pauses: AcceptPauses, connections: Int) -> Bool {
    connections >= Overload.connectionsLeast || pauses.memory > seen.memory
  }

  /// - Returns: what is to be told the operator, if anything.
  package mutating func look(_ reading: Reading, nowNs: UInt64) -> String? {
    nextNs = nowNs + Overload.lookEveryNs
    lookAtMemory(reading)
    let reason = reason(reading)
    seen = reading.pauses
    if reason != nil || reading.pauses.workers > 0 { pausedNs = nowNs }
    guard let toldNs else {
      guard let reason else { return nil }
      self.toldNs = nowNs
      return "accepting pauses, clients wait: \(reason)"
    }
    if let reason, nowNs >= toldNs + Overload.tellEveryNs {
      self.toldNs = nowNs
      return "accepting pauses still or again, clients wait: \(reason)"
    }
    guard nowNs >= pausedNs + Overload.quietNs else { return nil }
    self.toldNs = nil
    return "accepting goes on"
  }

  private mutating func lookAtMemory(_ reading: Reading) {
    guard let limit = reading.memoryBytes, reading.connections >= Overload.connectionsLeast else {
      pausesForMemory = false
      return
    }
    // Once scarce, it is so until a sixteenth is free again.
    let bound = pausesForMemory ? limit - limit / 16 : limit
    pausesForMemory = reading.residentBytes > bound
  }

  /// Why workers paused since the last look; nil when none did.
  private func reason(_ reading: Reading) -> String? {
    let now = reading.pauses
    if pausesForMemory || now.memory > seen.memory {
      let resident = reading.residentBytes >> 20
      let limit = reading.memoryBytes.map { ", of \($0 >> 20) MiB that it may have" } ?? ""
      return "\(resident) MiB are in memory\(limit) (limits.memory)"
    }
    if now.descriptors > seen.descriptors {
      return "no descriptors are left for more connections (RLIMIT_NOFILE)"
    }
    if now.buffers > seen.buffers {
      return "nearly all buffers are in use, for bytes of slow clients and servers"
    }
    if now.connections > seen.connections {
      return "there are as many connections as there may be, \(reading.connectionsMax) "
        + "(limits.max-connections)"
    }
    return nil
  }
}

extension MemoryLimit {
  /// In bytes; nil is none.
  package var bytes: UInt64? {
    switch self {
    case .off: nil
    case .bytes(let bytes): bytes
    case .auto: ProcessUse.memoryAllowed().map { $0 / 10 * 9 }
    }
  }
}

extension Server {
  /// Called by the main loop whenever it goes round.
  func look(at overload: inout Overload, nowNs: UInt64) {
    guard overload.isDue(nowNs: nowNs) else { return }
    let limits = inForce.withLock { $0.snapshot.limits }
    let connections = pool.liveConnections
    let pauses = pool.acceptPauses
    // Files below /proc and of the control group are read only where it matters.
    let needsMemory = overload.needsMemory(pauses, connections: connections)
    let reading = Overload.Reading(
      pauses: pauses, connections: connections, connectionsMax: limits.maxConnections,
      residentBytes: needsMemory ? ProcessUse.resident() ?? 0 : 0,
      memoryBytes: needsMemory ? limits.memory.bytes : nil)
    let sentence = overload.look(reading, nowNs: nowNs)
    pool.pauseAccepting(overload.pausesForMemory)
    guard let sentence else { return }
    Notice.write(sentence, .warning)
    events.post("overload", sentence)
  }
}
