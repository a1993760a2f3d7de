internal import Config
internal import Synchronization
internal import System

/// The connection log in force, which a reload may put another one in the place of. Workers look at
/// it when they take a table and when its number has moved on.
final class LogSwitch: Sendable {
  private struct State {
    var log: ConnectionLog?
    /// Of logs that are closed.
    var past = ConnectionLogCounts()
  }

  private let state: Guarded<State>
  private let number = Atomic<UInt64>(1)

  init(_ log: ConnectionLog?) { state = Guarded(State(log: log)) }

  /// Moves on with each change of logs; never 0.
  var version: UInt64 { number.load(ordering: .acquiring) }

  var current: ConnectionLog? { state.withLock { $0.log } }

  var counts: ConnectionLogCounts {
    state.withLock { state in
      guard let now = state.log?.counts else { return state.past }
      return state.past.adding(now)
    }
  }

  /// - Returns: the log that was in force. It is to be closed when no worker writes to it any more.
  func change(to log: ConnectionLog?) -> ConnectionLog? {
    let former = state.withLock { state in
      defer { state.log = log }
      return state.log
    }
    number.wrappingAdd(1, ordering: .releasing)
    return former
  }

  /// Ends a log that `change` returned; its counts stay.
  func close(_ former: ConnectionLog?, waitingAtMostMs graceMs: UInt32) {
    guard let former else { return }
    former.close(waitingAtMostMs: graceMs)
    state.withLock { $0.past = $0.past.adding(former.counts) }
  }
}

extension ConnectionLogCounts {
  fileprivate func adding(_ other: ConnectionLogCounts) -> ConnectionLogCounts {
    var sum = self
    sum.written += other.written
    sum.dropped += other.dropped
    sum.suppressed += other.suppressed
    return sum
  }
}
