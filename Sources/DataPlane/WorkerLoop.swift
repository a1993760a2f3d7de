internal import CSluice
internal import Routing
internal import System
internal import Wire

/// Gets the record of each connection that ended. One per worker, called on its thread only.
package protocol RecordSink: AnyObject {
  func add(_ record: ConnectionRecord)
  /// The turn is over: what was added may go out together.
  func flush()
}

/// The loop of one worker thread: turn, answer, mail.
struct WorkerLoop: ~Copyable {
  private var worker: Worker
  private var router: Router
  private var ids: UniqueIDSource
  private var generations: Generations
  private var sockets: [ListeningSocket]
  private var header: HeaderBuffer
  /// By listener: where Unix listeners stand, since a connection's memory has no room for paths.
  private let paths: [Int: SocketAddress]
  private let index: Int
  private let mailbox: Mailbox
  private let identities: SharedTable
  private let sink: (any RecordSink)?
  private var wallMs: UInt64 = 0
  private var isStopping = false
  private var isRetiringSockets = false
  private var ending: (end: sluice_end, cursor: UInt32)?

  /// Commands per turn: a burst of them must not keep connections waiting.
  private static let commandsPerTurn = 16
  /// Connections ended per turn by `endAll`; as many as a batch of events holds.
  private static let endsPerTurn: UInt32 = 256

  init(
    _ worker: consuming Worker, table: RouteTable, sockets: [ListeningSocket], index: Int,
    mailbox: Mailbox, identities: SharedTable, sink: (any RecordSink)?
  ) throws(SystemError) {
    // More would run into the memory of the next slot.
    precondition(MemoryLayout<ConnectionMemory>.size <= ConnectionMemory.bytesPerSlot)
    ids = try UniqueIDSource(worker: index)
    router = Router(table, seed: index)
    generations = Generations(table)
    header = HeaderBuffer()
    self.worker = worker
    self.sockets = sockets
    var paths: [Int: SocketAddress] = [:]
    for socket in sockets {
      if case .unix = socket.address { paths[socket.listener] = socket.address }
    }
    self.paths = paths
    self.index = index
    self.mailbox = mailbox
    self.identities = identities
    self.sink = sink
    mailbox.open(self.worker.waker)
    for socket in sockets {
      _ = self.worker.listen(
        socket.descriptor, tag: socket.listener, exclusive: socket.isExclusive)
    }
  }

  var source: EventSource { worker.source }

  /// Until told to stop. Connections that still live then end with the worker.
  mutating func run() {
    while !isStopping {
      let hasWork = mailbox.isWaiting || ending != nil || isRetiringSockets
      let count = worker.turn(waitingAtMostMs: hasWork ? 0 : -1)
      if count > 0 {
        wallMs = Clock.wallMs
        for position in 0..<count { take(event(position, of: count)) }
        sink?.flush()
      }
      for command in mailbox.take(atMost: WorkerLoop.commandsPerTurn) { carryOut(command) }
      goOnEnding()
      if isRetiringSockets { closeRetiredSockets() }
    }
    mailbox.close()
  }

  /// A listening socket may be closed only when the kernel has given up accepting from it.
  private mutating func closeRetiredSockets() {
    var kept: [ListeningSocket] = []
    for socket in sockets where worker.isListening(tag: socket.listener) { kept.append(socket) }
    sockets = kept
    isRetiringSockets = !kept.isEmpty
  }

  private func event(_ position: Int, of count: Int) -> sluice_event {
    worker.events(count)[position]
  }

  // ---- events ------------------------------------------------------------------------------

  private mutating func take(_ event: sluice_event) {
    switch event.kind {
    case .ask: accepted(event)
    case .redial: dialFailed(event)
    case .closed: closed(event)
    }
  }

  private mutating func accepted(_ event: sluice_event) {
    var memory = ConnectionMemory()
    memory.id = ids.next(wallMs: wallMs)
    memory.generation = generations.enter()
    let answer = router.decide(.accepted(listener: Int(event.listener)))
    if needsAddresses(answer) {
      guard let endpoints = worker.endpoints(event.id) else {
        return follow(.reject(.clientGone), event, &memory, router.table)
      }
      memory.client = endpoints.client
      memory.local = endpoints.local
    }
    follow(answer, event, &memory, router.table)
  }

  /// Two system calls per connection, which a relay without log and header does not need.
  private func needsAddresses(_ answer: Answer) -> Bool {
    guard sink == nil, case .route(let backend, _) = answer else { return true }
    return router.table.backends[backend].header != .none
  }

  private mutating func dialFailed(_ event: sluice_event) {
    guard var memory = worker.memory(event.id), let server = memory.server,
      let table = generations.table(memory.generation)
    else { return worker.reject(event.id, reason: RejectReason.noRoute.rawValue) }
    let failure = DialFailure(
      backend: table.backend(ofServer: server), server: server, tries: memory.tries,
      error: DialError(event.error))
    follow(router.decide(failure, under: table), event, &memory, table)
  }

  private mutating func follow(
    _ answer: Answer, _ event: sluice_event, _ memory: inout ConnectionMemory,
    _ table: RouteTable
  ) {
    var reason: RejectReason?
    giveBack(&memory)
    switch answer {
    case .route(let backend, let server):
      memory.server = server
      memory.entry = countIn(generations.identity(memory.generation, server))
      memory.tries += 1
      worker.remember(memory, of: event.id)
      reason = route(
        event, memory, table.listeners[Int(event.listener)], table.backends[backend],
        table.servers[server])
    case .reject(let why):
      worker.remember(memory, of: event.id)
      reason = why
    }
    if let reason { worker.reject(event.id, reason: reason.rawValue) }
  }

  /// One more in flight. Without a place in the table it goes uncounted.
  private func countIn(_ server: Identity?) -> UInt32? {
    guard let server, case .entry(let entry) = identities.take(server) else { return nil }
    return entry
  }

  private func giveBack(_ memory: inout ConnectionMemory) {
    guard let entry = memory.entry else { return }
    identities.give(entry)
    memory.entry = nil
  }

  /// - Returns: why it could not even be tried.
  private func route(
    _ event: sluice_event, _ memory: ConnectionMemory, _ listener: ListenerEntry,
    _ entry: BackendEntry, _ server: ServerEntry
  ) -> RejectReason? {
    let length = header.encode(entry.header, memory.client, memory.local)
    guard let length else { return .proxyNoAddress }
    let result = server.address.withEndpoint { address in
      entry.congestion.withBytes { congestion in
        var route = sluice_route()
        route.address = address
        route.congestion = congestion
        route.prefix = header.bytes(length)
        route.connect_ms = listener.connectMs
        route.idle_ms = listener.idleMs
        route.half_closed_ms = listener.halfClosedMs
        route.max_age_ms = listener.maxAgeMs
        route.splice = sluice_splice(entry.splice)
        guard let source = entry.source else { return worker.relay(event.id, by: &route) }
        return source.withEndpoint { source in
          route.source = source
          return worker.relay(event.id, by: &route)
        }
      }
    }
    switch result {
    case .done, .stale, .not_dialled: return nil
    case .no_buffer, .too_long: return .noBuffers
    }
  }

  private mutating func closed(_ event: sluice_event) {
    guard let summary = unsafe event.summary?.pointee, var memory = worker.memory(event.id)
    else { return }
    if !memory.isAsked {
      memory.id = ids.next(wallMs: wallMs)
      memory.generation = generations.enter()
    }
    giveBack(&memory)
    if let sink {
      let table = generations.table(memory.generation) ?? router.table
      var record = ConnectionRecord(
        summary, memory, table, listener: Int(event.listener), endedWallMs: wallMs)
      if case .unix = record.local { record.local = paths[Int(event.listener)] ?? record.local }
      sink.add(record)
    }
    generations.leave(memory.generation)
  }

  // ---- mail --------------------------------------------------------------------------------

  private mutating func carryOut(_ command: Command) {
    switch command {
    case .install(let table):
      router.install(table, seed: index)
      generations.install(table)
    case .kill(let id, let reply):
      reply.send(
        worker.kill(sluice_id(slot: id.slot, generation: id.generation), .killed))
    case .list(let cursor, let limit, let reply):
      reply.send(page(from: cursor, limit: limit))
    case .stats(let reply):
      reply.send(WorkerStats(worker.stats))
    case .drain:
      for socket in sockets { worker.unlisten(tag: socket.listener) }
      isRetiringSockets = true
    case .endAll(let why):
      ending = (why == .killed ? .killed : .deadline_drain, 0)
    case .stop:
      isStopping = true
    }
  }

  private func page(from start: UInt32, limit: Int) -> SessionPage {
    var cursor = start
    let found = worker.sessions(cursor: &cursor, most: limit)
    let sessions = found.map { session in
      Session(
        id: ConnectionID(
          worker: index, slot: session.id.slot, generation: session.id.generation),
        listener: Int(session.listener), ageUs: session.age_us, idleUs: session.idle_us,
        bytesUp: session.bytes_up, bytesDown: session.bytes_down, isDialled: session.dialled)
    }
    return SessionPage(sessions: sessions, next: found.count == limit ? cursor : nil)
  }

  private mutating func goOnEnding() {
    guard var now = ending else { return }
    let ended = worker.killAll(now.end, cursor: &now.cursor, most: WorkerLoop.endsPerTurn)
    ending = ended == Int(WorkerLoop.endsPerTurn) ? now : nil
  }
}

/// The route tables that live connections still refer to.
private struct Generations {
  private struct Generation {
    let number: UInt16
    let table: RouteTable
    /// By server: computed once per table, not per connection.
    let identities: [Identity]
    var live = 0

    init(_ number: UInt16, _ table: RouteTable) {
      self.number = number
      self.table = table
      identities = table.servers.map { Identity(server: $0.address) }
    }
  }

  private var all: [Generation]

  init(_ table: RouteTable) { all = [Generation(0, table)] }

  /// A connection is routed by the newest table.
  mutating func enter() -> UInt16 {
    all[all.count - 1].live += 1
    return all[all.count - 1].number
  }

  mutating func leave(_ number: UInt16) {
    guard let position = all.firstIndex(where: { $0.number == number }) else { return }
    all[position].live -= 1
    if all[position].live == 0, position < all.count - 1 { all.remove(at: position) }
  }

  mutating func install(_ table: RouteTable) {
    let next = all[all.count - 1].number &+ 1
    if all[all.count - 1].live == 0 { all.removeLast() }
    all.append(Generation(next, table))
  }

  func table(_ number: UInt16) -> RouteTable? {
    all.first { $0.number == number }?.table
  }

  func identity(_ number: UInt16, _ server: Int) -> Identity? {
    all.first { $0.number == number }?.identities[server]
  }
}
