internal import Routing
internal import Synchronization
internal import System

/// What other threads may ask of a worker: a bounded queue of values, looked at once per turn.
///
/// Posting wakes the worker. The worker pays one atomic exchange per turn and takes the lock only
/// when there is mail.
final class Mailbox: Sendable {
  /// Commands that may wait; more is an error to whoever posts.
  static let limit = 1024

  private struct State: ~Copyable {
    var commands: [Command] = []
    var waker: Waker?
  }

  private let state = Guarded(State())
  private let hasMail = Atomic(false)

  /// From now on posts wake this worker, until `close`.
  func open(_ waker: Waker) { state.withLock { $0.waker = waker } }

  /// The worker is about to go; nobody may wake it any more.
  func close() { state.withLock { $0.waker = nil } }

  /// - Returns: false when the mailbox is full or the worker has gone. There is always room for
  ///   a stop: whoever posts it waits for the worker's end.
  func post(_ command: Command) -> Bool {
    var hasRoom = false
    if case .stop = command { hasRoom = true }
    return state.withLock { state in
      guard let waker = state.waker, hasRoom || state.commands.count < Mailbox.limit else {
        return false
      }
      state.commands.append(command)
      // Set under the lock, so that a worker which sees the flag finds the command.
      hasMail.store(true, ordering: .releasing)
      waker.wake()
      return true
    }
  }

  /// Takes at most `most` commands, the oldest first.
  func take(atMost most: Int) -> [Command] {
    guard hasMail.exchange(false, ordering: .acquiringAndReleasing) else { return [] }
    return state.withLock { state in
      let count = min(most, state.commands.count)
      let taken = Array(state.commands[..<count])
      state.commands.removeFirst(count)
      if !state.commands.isEmpty { hasMail.store(true, ordering: .releasing) }
      return taken
    }
  }

  var isWaiting: Bool { hasMail.load(ordering: .acquiring) }
}

/// Names a live connection of one worker.
package struct ConnectionID: Hashable, Sendable {
  package let worker: Int
  package let slot: UInt32
  package let generation: UInt32
}

/// One live connection.
package struct Session: Sendable {
  package let id: ConnectionID
  package let listener: Int
  package let ageUs: UInt64
  package let idleUs: UInt64
  package let bytesUp: UInt64
  package let bytesDown: UInt64
  /// Whether its upstream was reached.
  package let isDialled: Bool
}

/// A part of the live connections of one worker, in the order of slots.
package struct SessionPage: Sendable {
  package let sessions: [Session]
  /// Where the next page begins; nil after the last.
  package let next: UInt32?
}

/// Counts of one worker since its start, and what it has now. See `sluice_stats`.
package struct WorkerStats: Sendable {
  package var accepted: UInt64 = 0
  package var closed: UInt64 = 0
  package var dialled: UInt64 = 0
  package var dialFailures: UInt64 = 0
  package var bytesUp: UInt64 = 0
  package var bytesDown: UInt64 = 0
  package var bytesSpliced: UInt64 = 0
  package var turns: UInt64 = 0
  package var promotions: UInt64 = 0
  package var demotions: UInt64 = 0
  package var pipeMisses: UInt64 = 0
  package var acceptPauses: UInt64 = 0
  package var overflows: UInt64 = 0
  package var connections: UInt32 = 0
  package var buffers: UInt32 = 0
  package var pipes: UInt32 = 0
  package var isAcceptPaused = false

  package init() {}
}

enum Command: Sendable {
  case install(RouteTable)
  case kill(ConnectionID, reply: Reply<Bool>)
  case list(from: UInt32, limit: Int, reply: Reply<SessionPage>)
  case stats(reply: Reply<WorkerStats>)
  case counts(reply: Reply<WorkerCounts>)
  /// Stop accepting on every listener.
  case drain
  /// End every live connection.
  case endAll(EndAll)
  case stop
}

/// Why everything ends.
package enum EndAll: Sendable {
  case drainDeadline
  case killed
}
