package import AdminAPI
internal import System

/// What happens, for whoever follows it: a bounded history and bounded readers. A reader that is
/// too slow loses events and is told how many.
package final class EventHub: Sendable {
  /// Events kept for a reader that falls behind.
  package static let kept = 1024

  private struct State {
    var events: [Event] = []
    /// The number of the first of `events`.
    var first: UInt64 = 0
    var readers: [Int: @Sendable () -> Void] = [:]
    var nextReader = 0
  }

  private let state = Guarded(State())

  package init() {}

  /// Tells all readers. Never blocks on any of them.
  package func post(_ kind: String, _ message: String, _ fields: [String: String] = [:]) {
    var time: [UInt8] = []
    Clock.appendTimestamp(wallMs: Clock.wallMs, to: &time)
    let event = Event(
      time: String(decoding: time, as: UTF8.self), kind: kind, message: message, fields: fields)
    let wakes = state.withLock { state in
      state.events.append(event)
      if state.events.count > EventHub.kept {
        state.events.removeFirst()
        state.first += 1
      }
      return Array(state.readers.values)
    }
    for wake in wakes { wake() }
  }

  /// Where a reader that starts now begins.
  package var next: UInt64 { state.withLock { $0.first + UInt64($0.events.count) } }

  /// Events from `number` on, where to go on, and how many were lost because they are no longer
  /// kept.
  package func events(from number: UInt64) -> (events: [Event], next: UInt64, lost: UInt64) {
    state.withLock { state in
      let next = state.first + UInt64(state.events.count)
      let from = min(max(number, state.first), next)
      return (Array(state.events[Int(from - state.first)...]), next, from - min(number, from))
    }
  }

  /// - Parameter wake: called after each event, on the thread that posted it; must not block.
  /// - Returns: what `unsubscribe` takes.
  package func subscribe(_ wake: @escaping @Sendable () -> Void) -> Int {
    state.withLock { state in
      state.nextReader += 1
      state.readers[state.nextReader] = wake
      return state.nextReader
    }
  }

  package func unsubscribe(_ reader: Int) { state.withLock { $0.readers[reader] = nil } }
}
