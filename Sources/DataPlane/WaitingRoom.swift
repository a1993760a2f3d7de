internal import Routing
internal import Synchronization
internal import System

/// Connections that met a limit and wait for a place, of all workers: places are counted for the
/// whole process, and so it is said whose turn it is.
///
/// Nobody pays for it before somebody waits: until then it is one load. Who waits is *called* when
/// a place may be free; the worker that has it then tries to take one, and is put back when another
/// was quicker. No call is lost: whoever joins looks at the places again, having been counted, and
/// whoever gives a place back looks at that count afterwards; a call that finds all waiting ones
/// called already is kept for the one that will be put back.
final class WaitingRoom: Sendable {
  /// What there are places of. Listeners and backends by their series.
  enum Place: Hashable, Sendable {
    case listener(Int)
    case backend(Int)
    case source(Identity)
  }

  struct Ticket: Sendable {
    let worker: Mailbox
    let id: ConnectionID
    /// Whose queue it is in: the listener's series.
    let listener: Int
  }

  fileprivate typealias Line = FairLine<Identity?, Ticket>

  fileprivate struct Lane {
    var line = Line()
    /// Called, and neither seated nor put back.
    var called: [UInt64: Line.Entry] = [:]
    /// Calls that came while nobody was left to be called.
    var missed = 0
  }

  private struct State {
    var lanes: [Place: Lane] = [:]
    /// By listener's series: how many of its connections wait.
    var listeners: [Int: Int] = [:]
  }

  private let state = Guarded(State())
  private let waiting = Atomic(0)

  /// Whether nobody waits for anything.
  var isEmpty: Bool { waiting.load(ordering: .relaxed) == 0 }

  /// Whether somebody waits for this: who comes now must not overtake.
  func isWaited(for place: Place) -> Bool {
    guard !isEmpty else { return false }
    return state.withLock { $0.lanes[place] != nil }
  }

  /// - Parameters:
  ///   - most: as many connections of the ticket's listener may wait.
  ///   - isFree: whether there seems to be a place after all; asked once it is counted.
  /// - Returns: what it leaves by; nil when the queue is full.
  func join(
    _ place: Place, _ ticket: Ticket, from source: Identity?, most: Int, isFree: () -> Bool
  ) -> UInt64? {
    let number: UInt64? = state.withLock { state in
      guard state.listeners[ticket.listener, default: 0] < most else { return nil }
      state.listeners[ticket.listener, default: 0] += 1
      waiting.add(1, ordering: .sequentiallyConsistent)
      return state.lanes[place, default: Lane()].line.add(ticket, from: source)
    }
    guard number != nil else { return nil }
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    if isFree() { call(place) }
    return number
  }

  /// A place was given back.
  func freed(_ place: Place) {
    // Before this the place was counted as free; see `join`.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    if !isEmpty { call(place) }
  }

  private func call(_ place: Place) {
    let ticket: Ticket? = state.withLock { state in state.lanes[place]?.next() }
    if let ticket { ticket.worker.call(ticket.id) }
  }

  /// One that was called found no place.
  ///
  /// - Returns: false when there has been a call meanwhile, and it had better try once more.
  func putBack(_ number: UInt64, for place: Place) -> Bool {
    state.withLock { state in
      guard var lane = state.lanes[place], let entry = lane.called[number] else { return true }
      defer { state.lanes[place] = lane }
      guard lane.missed == 0 else {
        lane.missed -= 1
        return false
      }
      lane.called[number] = nil
      lane.line.putBack(entry)
      return true
    }
  }

  /// It waits no longer: it has its place, or does without.
  func leave(_ number: UInt64, for place: Place, listener: Int, isSeated: Bool) {
    let ticket: Ticket? = state.withLock { state in
      guard var lane = state.lanes[place] else { return nil }
      waiting.subtract(1, ordering: .sequentiallyConsistent)
      state.listeners[listener, default: 1] -= 1
      if state.listeners[listener] == 0 { state.listeners[listener] = nil }
      let wasCalled = lane.called.removeValue(forKey: number) != nil
      if !wasCalled { lane.line.leave(number) }
      // It was called for a place that the next one may have.
      let passesOn = (wasCalled && !isSeated) || (isSeated && lane.missed > 0)
      if passesOn, lane.missed > 0 { lane.missed -= 1 }
      let ticket = passesOn ? lane.next() : nil
      state.lanes[place] = lane.line.count == 0 && lane.called.isEmpty ? nil : lane
      return ticket
    }
    if let ticket { ticket.worker.call(ticket.id) }
  }
}

extension WaitingRoom.Lane {
  fileprivate mutating func next() -> WaitingRoom.Ticket? {
    guard let entry = line.next() else {
      // Each of the called may find its place taken once.
      missed = min(missed + 1, called.count)
      return nil
    }
    called[entry.number] = entry
    return entry.ticket
  }
}
