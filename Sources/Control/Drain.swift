/// How the daemon ends: it stops accepting, lets live connections finish until a deadline, ends
/// what is left, and stops. A second wish to end skips the waiting, a third everything. Pure: times
/// and counts come in, steps go out.
package struct Drain: Sendable, Equatable {
  package enum Step: Sendable, Equatable {
    /// Stop accepting; live connections go on.
    case startDraining
    /// End every live connection, because the drain's deadline has passed.
    case endAll
    /// End every live connection, because somebody does not want to wait.
    case killAll
    /// Stop the workers now, whatever they still hold.
    case stop
  }

  private enum Phase: Sendable, Equatable {
    case serving
    case draining(untilNs: UInt64)
    /// Connections were told to end; this long they may take to say their last.
    case ending(untilNs: UInt64)
    case stopped
  }

  private var phase = Phase.serving
  private var drainNs: UInt64

  /// How long connections that were told to end may take: a reset and a log line, so a second
  /// would do on a machine that is not overloaded.
  package static let endingNs: UInt64 = 3_000_000_000
  /// The same when somebody is in a hurry.
  package static let killingNs: UInt64 = 500_000_000

  package init(drainMs: UInt32) {
    drainNs = UInt64(drainMs) * 1_000_000
  }

  /// For drains that begin from now on.
  package mutating func setDrain(ms: UInt32) { drainNs = UInt64(ms) * 1_000_000 }

  package var isServing: Bool { phase == .serving }

  /// Until live connections are ended, or given up; nil while serving and when it is over.
  package func remainingNs(nowNs: UInt64) -> UInt64? {
    switch phase {
    case .serving, .stopped: nil
    case .draining(let untilNs), .ending(let untilNs): untilNs - min(nowNs, untilNs)
    }
  }

  /// Somebody wants an end (SIGTERM, SIGINT).
  package mutating func endWanted(nowNs: UInt64) -> Step? {
    switch phase {
    case .serving:
      phase = .draining(untilNs: nowNs + drainNs)
      return .startDraining
    case .draining:
      phase = .ending(untilNs: nowNs + Drain.killingNs)
      return .killAll
    case .ending:
      return stop()
    case .stopped:
      return nil
    }
  }

  /// To be asked again and again: does the time or the number of live connections change anything?
  package mutating func look(nowNs: UInt64, liveConnections: Int) -> Step? {
    switch phase {
    case .serving, .stopped:
      return nil
    case .draining(let untilNs):
      if liveConnections == 0 { return stop() }
      guard nowNs >= untilNs else { return nil }
      phase = .ending(untilNs: nowNs + Drain.endingNs)
      return .endAll
    case .ending(let untilNs):
      return liveConnections == 0 || nowNs >= untilNs ? stop() : nil
    }
  }

  private mutating func stop() -> Step {
    phase = .stopped
    return .stop
  }
}
