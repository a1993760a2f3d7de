internal import CSluice
internal import Routing

/// A connection that waits for a place.
struct Waiting {
  /// What is tried again when it is called.
  enum Stage: Equatable {
    /// To come in at its listener.
    case admission
    /// To come in at its source, and at this backend.
    case seat(Int)
  }

  var place: WaitingRoom.Place
  /// What it leaves the room by.
  var number: UInt64
  var stage: Stage
  /// The listener's series.
  let listener: Int
  let untilNs: UInt64
}

/// Connections that wait where they met a limit, each until it is called, leaves, or has waited
/// long enough. `WaitingRoom` says whose turn it is.
extension WorkerLoop {
  /// Whether others wait for the same, so that this one has to line up behind them.
  func mayHaveToWait(
    for place: WaitingRoom.Place, _ event: sluice_event, _ table: RouteTable, isLimited: Bool
  ) -> Bool {
    guard isLimited, !room.isEmpty, waits[event.id.slot]?.place != place,
      table.listeners[table.listener(ofSocket: event.listener)].queue != nil
    else { return false }
    return room.isWaited(for: place)
  }

  /// Lets a connection wait for a place, or turns it away for the reason when it may not.
  mutating func wait(
    for place: WaitingRoom.Place, _ reason: RejectReason, _ stage: Waiting.Stage,
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable,
    consuming consumed: Int = 0
  ) {
    worker.remember(memory, of: event.id)
    let index = table.listener(ofSocket: event.listener)
    guard let rule = table.listeners[index].queue else { return reject(event, reason, table) }
    let id = ConnectionID(
      worker: self.index, slot: event.id.slot, generation: event.id.generation)
    var waiting: Waiting
    if let former = waits[event.id.slot], former.place == place {
      waiting = former
      // Called again before it was back in its place: that call must not be lost.
      if !room.putBack(former.number, for: place) { mailbox.call(id) }
    } else {
      let listener = table.series.listeners[index]
      let former = waits.removeValue(forKey: event.id.slot)
      let untilNs = former?.untilNs ?? nowNs + UInt64(rule.timeoutMs) * 1_000_000
      if let former { end(former, isSeated: true) }
      let number = room.join(
        place, .init(worker: mailbox, id: id, listener: listener),
        from: memory.client.flatMap { Identity(source: $0) }, most: rule.length
      ) { seemsFree(place, stage, memory, table, index) }
      guard let number else { return reject(event, .queueFull, table) }
      waiting = Waiting(
        place: place, number: number, stage: stage, listener: listener, untilNs: untilNs)
      counts.beganToWait(listener: listener)
    }
    waiting.stage = stage
    waits[event.id.slot] = waiting
    memory.phase = .waiting
    worker.remember(memory, of: event.id)
    let leftNs = waiting.untilNs > nowNs ? waiting.untilNs - nowNs : 0
    worker.park(
      event.id, withinMs: UInt32(clamping: leftNs / 1_000_000 + 1), consuming: consumed)
  }

  private func seemsFree(
    _ place: WaitingRoom.Place, _ stage: Waiting.Stage, _ memory: ConnectionMemory,
    _ table: RouteTable, _ listener: Int
  ) -> Bool {
    switch place {
    case .listener(let number):
      return table.load.listeners.count(number) < Int(table.listeners[listener].maxConnections)
    case .backend:
      guard case .seat(let backend) = stage else { return false }
      return table.seemsFree(backend: backend, isCounted: memory.isInBackend)
    case .source(let source):
      guard let client = memory.client else { return false }
      return identities.inFlight(source) < table.sources.limit(for: client).atOnce
    }
  }

  /// A connection that waits is asked about: it was called, or its time is over.
  mutating func called(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable,
    _ ending: Ending
  ) {
    guard let waiting = waits[event.id.slot] else {
      return reject(event, .queueTimeout, table)
    }
    guard ending != .timedOut, nowNs < waiting.untilNs else {
      return reject(event, .queueTimeout, table)
    }
    switch waiting.stage {
    case .admission:
      guard let socket = table.socket(tag: event.listener) else {
        return reject(event, .noRoute, table)
      }
      guard enter(socket.listener, &memory, table, isCalled: true) else {
        return wait(
          for: waiting.place, .listenerFull, .admission, event, &memory, table)
      }
      seated(event)
      memory.phase = .none
      admitted(by: socket, event, &memory, table)
    case .seat(let backend):
      let answer = router.choose(backend, for: memory.client, under: table)
      settle(answer, event, &memory, table, ending, behind: 0)
    }
  }

  /// It waits no longer, if it did: it has what it waited for.
  mutating func seated(_ event: sluice_event) {
    guard !waits.isEmpty, let waiting = waits.removeValue(forKey: event.id.slot) else { return }
    end(waiting, isSeated: true)
  }

  mutating func end(_ waiting: Waiting, isSeated: Bool) {
    counts.endedToWait(listener: waiting.listener)
    room.leave(
      waiting.number, for: waiting.place, listener: waiting.listener, isSeated: isSeated)
  }

  /// A place at a backend or one of its servers was given back.
  func freed(backend: Int, _ table: RouteTable) {
    room.freed(.backend(table.series.backends[backend]))
  }

  /// A connection is over, and has given all its places back.
  func passOn(
    _ memory: ConnectionMemory, _ table: RouteTable, listener: Int?, backend: Int?
  ) {
    if let listener, memory.isInListener, table.listeners[listener].maxConnections > 0 {
      room.freed(.listener(table.series.listeners[listener]))
    }
    if memory.entry != nil, let client = memory.client, let source = Identity(source: client) {
      room.freed(.source(source))
    }
    if let backend { return freed(backend: backend, table) }
    if memory.isInBackend, let server = memory.server {
      let backend = table.backend(ofServer: server)
      if table.isLimited(backend: backend) { freed(backend: backend, table) }
    }
  }
}
