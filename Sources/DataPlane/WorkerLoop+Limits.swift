internal import CSluice
internal import Routing

/// Who may come in: the counts that all workers keep together, and their limits. What is over a
/// limit was never counted, so that no limit is ever passed, not even for a moment.
extension WorkerLoop {
  /// Choices that other workers may be quicker at before the backend is taken to be full.
  private static let seatTries = 8

  /// Counts a new connection in at its listener, unless that is full.
  func enter(_ listener: Int, _ memory: inout ConnectionMemory, _ table: RouteTable) -> Bool {
    let limit = table.listeners[listener].maxConnections
    memory.isInListener =
      table.load.listeners.take(table.series.listeners[listener], limit: limit)
    return memory.isInListener
  }

  /// Counts the connection in at its source, the real client's where a header named it.
  ///
  /// - Returns: why it may not come in.
  func admit(_ memory: inout ConnectionMemory, _ table: RouteTable) -> RejectReason? {
    guard !table.sources.isEmpty, let client = memory.client,
      let source = Identity(source: client)
    else { return nil }
    let limit = table.sources.limit(for: client)
    guard limit != SourceLimit() else { return nil }
    // Without a place in the table it could not be held to its limit. That takes more sources at
    // once than there can be connections, or thousands of them in one bucket by chance.
    guard case .entry(let entry) = identities.take(source, limit: UInt32(limit.atOnce)) else {
      return .sourceFull
    }
    if limit.perSecond > 0,
      !identities.isInPace(entry, perSecond: UInt32(limit.perSecond), nowNs: nowNs)
    {
      identities.give(entry)
      return .sourceRate
    }
    memory.entry = entry
    return nil
  }

  /// Counts the connection in at its backend and its server; `full` when there is no place for it.
  mutating func seat(
    _ answer: Answer, _ memory: inout ConnectionMemory, _ table: RouteTable
  ) -> Answer {
    guard case .route(let backend, _) = answer else { return answer }
    if memory.server == nil, memory.entry == nil, let reason = admit(&memory, table) {
      return .reject(reason)
    }
    let number = table.series.backends[backend]
    if !memory.isInBackend {
      let limit = table.backends[backend].maxConnections
      guard table.load.backends.take(number, limit: limit) else { return .full(backend: backend) }
      memory.isInBackend = true
    }
    let seated = seatAtServer(answer, backend, memory, table)
    // Once it has been at a server, it is the backend's until it is closed.
    if memory.server == nil, !seated.isRoute {
      table.load.backends.give(number)
      memory.isInBackend = false
    }
    return seated
  }

  private mutating func seatAtServer(
    _ answer: Answer, _ backend: Int, _ memory: ConnectionMemory, _ table: RouteTable
  ) -> Answer {
    var answer = answer
    for _ in 0..<WorkerLoop.seatTries {
      guard case .route(_, let server) = answer else { return answer }
      let limit = table.servers[server].maxConnections
      if table.load.servers.load.take(table.series.servers[server], limit: limit) { return answer }
      answer = router.choose(backend, for: memory.client, under: table)
    }
    return .full(backend: backend)
  }

  /// Turns a connection away in the words of its listener's protocol.
  func reject(_ event: sluice_event, _ reason: RejectReason, _ table: RouteTable) {
    let spoken = table.socket(tag: event.listener).flatMap { table.listeners[$0.listener].spoken }
    worker.reject(event.id, reason: reason.number, reply: spoken?.reply(to: reason))
  }

  /// It is not at its server any more.
  mutating func giveBack(_ memory: inout ConnectionMemory, _ table: RouteTable) {
    guard memory.isAtServer, let server = memory.server else { return }
    counts.left(server, in: table)
    table.load.servers.load.give(table.series.servers[server])
    memory.isAtServer = false
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

extension Answer {
  fileprivate var isRoute: Bool {
    if case .route = self { true } else { false }
  }
}
