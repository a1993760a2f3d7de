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
    var installation: Installation?
    /// Connections that were called to their places.
    var calls: [ConnectionID] = []
    var waker: Waker?
  }

  private let state = Guarded(State())
  private let hasMail = Atomic(false)
  private let hasInstallation = Atomic(false)
  private let taken = Atomic<UInt64>(0)
  private let tables = Atomic(1)
  private let acknowledgements: Acknowledgements

  init(_ acknowledgements: Acknowledgements) { self.acknowledgements = acknowledgements }

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

  /// Hands over what the worker is to take at its next turn. There is always room: what still waits
  /// there becomes one with it.
  ///
  /// - Returns: false when the worker has gone.
  func post(_ installation: Installation) -> Bool {
    state.withLock { state in
      guard let waker = state.waker else { return false }
      state.installation = state.installation?.followed(by: installation) ?? installation
      hasInstallation.store(true, ordering: .releasing)
      waker.wake()
      return true
    }
  }

  /// Calls a connection that waits. There is always room: no more are called than wait.
  func call(_ id: ConnectionID) {
    state.withLock { state in
      guard let waker = state.waker else { return }
      state.calls.append(id)
      hasMail.store(true, ordering: .releasing)
      waker.wake()
    }
  }

  /// Has the worker look around.
  func wake() { state.withLock { $0.waker?.wake() } }

  func takeInstallation() -> Installation? {
    guard hasInstallation.exchange(false, ordering: .acquiringAndReleasing) else { return nil }
    return state.withLock { $0.installation.take() }
  }

  /// The worker has carried out this installation, and now has so many tables live.
  func acknowledge(_ number: UInt64, tables count: Int) {
    tables.store(count, ordering: .relaxed)
    taken.store(number, ordering: .releasing)
    acknowledgements.arrived.signal()
  }

  /// The number of the last installation that was carried out.
  var acknowledged: UInt64 { taken.load(ordering: .acquiring) }

  /// How many tables live connections of this worker referred to after the last installation.
  var tablesLive: Int { tables.load(ordering: .relaxed) }

  /// Takes at most `most` commands, the oldest first, and all calls.
  func take(atMost most: Int) -> (commands: [Command], calls: [ConnectionID]) {
    guard hasMail.exchange(false, ordering: .acquiringAndReleasing) else { return ([], []) }
    return state.withLock { state in
      let count = min(most, state.commands.count)
      let taken = Array(state.commands[..<count])
      state.commands.removeFirst(count)
      if !state.commands.isEmpty { hasMail.store(true, ordering: .releasing) }
      let calls = state.calls
      state.calls = []
      return (taken, calls)
    }
  }

  var isWaiting: Bool {
    hasMail.load(ordering: .acquiring) || hasInstallation.load(ordering: .acquiring)
  }
}

/// Where workers say that they have carried something out.
final class Acknowledgements: Sendable {
  let arrived: EventCounter

  init() throws(SystemError) { arrived = try EventCounter() }
}

/// What a worker takes as one, between two turns: no decision sees half of it.
struct Installation: Sendable {
  /// Each one's is greater than those before it.
  let number: UInt64
  /// Nil: the one there is.
  var table: RouteTable?
  var bans: BanTable?
  /// To accept from.
  var opened: [ListeningSocket] = []
  /// Tags of sockets to give up: what waits in them is accepted first, under the former table.
  var retired: [UInt32] = []
  /// Numbers that began anew in tables that were never taken.
  var fresh = SeriesPlan.Fresh()

  /// Both of them as one. A socket that is gone again before it was ever taken is let go of here.
  func followed(by next: Installation) -> Installation {
    var both = Installation(
      number: next.number, table: next.table ?? table, bans: next.bans ?? bans,
      opened: opened.filter { !next.retired.contains($0.tag) } + next.opened,
      retired: retired + next.retired, fresh: fresh)
    if next.table != nil, let skipped = table?.series.fresh {
      both.fresh.listeners += skipped.listeners
      both.fresh.backends += skipped.backends
      both.fresh.servers += skipped.servers
    }
    return both
  }

  /// The table's, with all that has to begin anew.
  func series(of table: RouteTable) -> SeriesPlan {
    var series = table.series
    series.fresh.listeners += fresh.listeners
    series.fresh.backends += fresh.backends
    series.fresh.servers += fresh.servers
    return series
  }
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
  /// Of those accepted, to other workers; and those that came from others.
  package var handedOver: UInt64 = 0
  package var received: UInt64 = 0
  /// Waits that began with a look for events, and those of them that needed no sleep.
  package var spins: UInt64 = 0
  package var spinHits: UInt64 = 0
  package var connections: UInt32 = 0
  package var buffers: UInt32 = 0
  package var pipes: UInt32 = 0
  package var isAcceptPaused = false

  package init() {}
}

enum Command: Sendable {
  case kill(ConnectionID, reply: Reply<Bool>)
  case list(from: UInt32, limit: Int, filter: SessionFilter, reply: Reply<SessionPage>)
  case stats(reply: Reply<WorkerStats>)
  case counts(reply: Reply<WorkerCounts>)
  /// Stop accepting on every listener.
  case drain
  /// End the live connections that are meant; all without a filter. Tells how many.
  case end(SessionFilter?, EndAll, reply: Reply<Int>?)
  case stop
}

/// Why connections are ended.
package enum EndAll: Sendable {
  case drainDeadline
  case killed
  case serverDown
}
