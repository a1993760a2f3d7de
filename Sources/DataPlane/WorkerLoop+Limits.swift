internal import CSluice
internal import Routing
internal import Wire

/// Who may come in: the counts that all workers keep together, and their limits. What is over a
/// limit was never counted, so that no limit is ever passed, not even for a moment.
extension WorkerLoop {
  /// Choices that other workers may be quicker at before the backend is taken to be full.
  private static let seatTries = 8

  /// Counts a new connection in at its listener, unless that is full.
  ///
  /// - Parameter isCalled: it has waited, and it is its turn.
  func enter(
    _ listener: Int, _ memory: inout ConnectionMemory, _ table: RouteTable, isCalled: Bool = false
  ) -> Bool {
    let limit = table.listeners[listener].maxConnections
    let number = table.series.listeners[listener]
    if limit > 0, !isCalled, table.listeners[listener].queue != nil,
      room.isWaited(for: .listener(number))
    {
      return false
    }
    memory.isInListener = table.load.listeners.take(number, limit: limit)
    return memory.isInListener
  }

  /// What a connection came to that was to be counted in.
  enum Seating {
    case route(backend: Int, server: Int)
    /// There is no place; for the reason, unless it waits for one.
    case full(WaitingRoom.Place, RejectReason, backend: Int)
    case reject(RejectReason)
  }

  /// Counts the connection in at its source, its backend and its server.
  mutating func seat(
    _ answer: Answer, _ event: sluice_event, _ memory: inout ConnectionMemory,
    _ table: RouteTable
  ) -> Seating {
    let backend: Int
    switch answer {
    case .route(let index, _), .full(let index): backend = index
    case .reject(let reason): return .reject(reason)
    }
    let place = WaitingRoom.Place.backend(table.series.backends[backend])
    if memory.server == nil, memory.entry == nil, !table.sources.isEmpty,
      let refused = admit(event, &memory, backend, table)
    {
      return refused
    }
    // Another try keeps the place that it has at the backend.
    if !memory.isInBackend,
      mayHaveToWait(for: place, event, table, isLimited: table.isLimited(backend: backend))
    {
      return .full(place, .backendFull, backend: backend)
    }
    let number = table.series.backends[backend]
    if !memory.isInBackend {
      let limit = table.backends[backend].maxConnections
      guard table.load.backends.take(number, limit: limit) else {
        return .full(place, .backendFull, backend: backend)
      }
      memory.isInBackend = true
    }
    if let server = seatAtServer(answer, backend, memory, table) {
      return .route(backend: backend, server: server)
    }
    // Once it has been at a server, it is the backend's until it is closed.
    if memory.server == nil {
      table.load.backends.give(number)
      memory.isInBackend = false
      // For that moment somebody else may have found the backend full.
      if table.isLimited(backend: backend), table.seemsFree(backend: backend) {
        room.freed(place)
      }
    }
    return .full(place, .backendFull, backend: backend)
  }

  /// Counts the connection in at its source, the real client's where a header named it.
  ///
  /// - Returns: nil when it may come in.
  private func admit(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ backend: Int,
    _ table: RouteTable, mayWait: Bool = true
  ) -> Seating? {
    guard let client = memory.client, let source = Identity(source: client) else { return nil }
    let limit = table.sources.limit(for: client)
    guard limit != SourceLimit() else { return nil }
    let place = WaitingRoom.Place.source(source)
    if mayWait, mayHaveToWait(for: place, event, table, isLimited: limit.atOnce > 0) {
      return .full(place, .sourceFull, backend: backend)
    }
    switch identities.take(source, limit: UInt32(limit.atOnce)) {
    case .overLimit: return .full(place, .sourceFull, backend: backend)
    // Without a place in the table it could not be held to its limit. That takes more sources at
    // once than there can be connections, or thousands of them in one bucket by chance.
    case .full: return .reject(.sourceFull)
    case .entry(let entry):
      if limit.perSecond > 0,
        !identities.isInPace(entry, perSecond: UInt32(limit.perSecond), nowNs: nowNs)
      {
        identities.give(entry)
        return .reject(.sourceRate)
      }
      memory.entry = entry
      return nil
    }
  }

  /// The same of a client that is no backend's, and waits for no place.
  ///
  /// - Returns: why it may not come in; nil when it may.
  mutating func countIn(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable
  ) -> RejectReason? {
    guard memory.entry == nil, !table.sources.isEmpty else { return nil }
    defer { worker.remember(memory, of: event.id) }
    switch admit(event, &memory, 0, table, mayWait: false) {
    case .reject(let reason)?, .full(_, let reason, _)?: return reason
    case .route?, nil: return nil
    }
  }

  /// A server with a place for it; nil when there is none.
  private mutating func seatAtServer(
    _ answer: Answer, _ backend: Int, _ memory: ConnectionMemory, _ table: RouteTable
  ) -> Int? {
    var answer = answer
    for _ in 0..<WorkerLoop.seatTries {
      guard case .route(_, let server) = answer else { return nil }
      let limit = table.servers[server].maxConnections
      if table.load.servers.load.take(table.series.servers[server], limit: limit) { return server }
      answer = router.choose(backend, for: memory.client, under: table)
    }
    return nil
  }

  /// Turns a connection away in the words of its listener's protocol, or in those of TLS once its
  /// ClientHello was read.
  mutating func reject(_ event: sluice_event, _ reason: RejectReason, _ table: RouteTable) {
    if !waits.isEmpty, let wait = waits.removeValue(forKey: event.id.slot) {
      end(wait, isSeated: false)
    }
    if let listener = table.socket(tag: event.listener).map({ table.listeners[$0.listener] }),
      let plan = listener.egress, listener.tls == nil || exchanges[event.id.slot] != nil
    {
      return refuse(event, plan, reason)
    }
    if rejectSecured(event, reason, table) { return }
    if !hellos.isEmpty, let hello = hellos[event.id.slot] {
      guard let alert = reason.alert else {
        return worker.reject(event.id, reason: reason.number)
      }
      let record = alert.record(for: hello.legacyVersion)
      return worker.reject(event.id, reason: reason.number, sending: record.span)
    }
    // Its hello is not there yet, and in plaintext it must not hear any more.
    if worker.memory(event.id)?.didStartTLS ?? false {
      return worker.reject(event.id, reason: reason.number)
    }
    let spoken = table.socket(tag: event.listener).flatMap { table.listeners[$0.listener].spoken }
    worker.reject(event.id, reason: reason.number, reply: spoken?.reply(to: reason))
  }

  /// It is not at its server any more.
  ///
  /// - Returns: the backend of which somebody may now have that place.
  mutating func giveBack(_ memory: inout ConnectionMemory, _ table: RouteTable) -> Int? {
    guard memory.isAtServer, let server = memory.server else { return nil }
    counts.left(server, in: table)
    table.load.servers.load.give(table.series.servers[server])
    memory.isAtServer = false
    let backend = table.backend(ofServer: server)
    return table.isLimited(backend: backend) ? backend : nil
  }

  /// The connection is over.
  func leave(_ memory: ConnectionMemory, _ table: RouteTable, listener: Int?) {
    if memory.isInListener, let listener {
      table.load.listeners.give(table.series.listeners[listener])
    }
    if let entry = memory.entry { identities.give(entry) }
    if memory.isInBackend, let server = memory.server {
      table.load.backends.give(table.series.backends[table.backend(ofServer: server)])
    }
  }
}

