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
  /// By slot, of connections that came with a PROXY header or were turned away for one.
  private var notes: [UInt32: HeaderNotes] = [:]
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
    case .ask: asked(event)
    case .redial: dialFailed(event)
    case .closed: closed(event)
    }
  }

  private mutating func asked(_ event: sluice_event) {
    guard var memory = worker.memory(event.id), memory.phase != .none else {
      return accepted(event)
    }
    guard let table = generations.table(memory.generation) else { return }
    let ending = Ending(event.final)
    let bytes = event.heldBytes
    if memory.phase == .forgery {
      switch ForgeryVerdict(bytes, ending) {
      case .needMore: worker.hold(event.id, limit: Signature.length, withinMs: nil)
      case .clean: worker.relayUp(event.id)
      case .forged: refuse(event, memory, .headerUntrusted)
      }
      return
    }
    let listener = table.listeners[Int(event.listener)]
    let intake = HeaderIntake(limit: listener.headerLimit, acceptsUnknown: listener.acceptsUnknown)
    switch intake.decide(bytes, ending, required: memory.phase == .requiredHeader) {
    case .needMore:
      worker.hold(event.id, limit: listener.holdLimit, withinMs: nil)
    case .noHeader:
      memory.phase = .none
      follow(router.decide(.accepted(listener: Int(event.listener))), event, &memory, table)
    case .header(let found, let consumed):
      introduced(event, &memory, found, consumed, table)
    case .reject(let reason, _):
      refuse(event, memory, reason)
    }
  }

  private mutating func accepted(_ event: sluice_event) {
    var memory = ConnectionMemory()
    memory.id = ids.next(wallMs: wallMs)
    memory.generation = generations.enter()
    let listener = router.table.listeners[Int(event.listener)]
    guard needsAddresses(listener) else {
      return follow(
        router.decide(.accepted(listener: Int(event.listener))), event, &memory, router.table)
    }
    guard let endpoints = worker.endpoints(event.id) else {
      return follow(.reject(.clientGone), event, &memory, router.table)
    }
    memory.client = endpoints.client
    memory.local = endpoints.local
    switch listener.trust.rule(for: endpoints.client) {
    case .forbid:
      follow(
        router.decide(.accepted(listener: Int(event.listener))), event, &memory, router.table)
    case .require: awaitHeader(event, &memory, .requiredHeader, listener)
    case .accept: awaitHeader(event, &memory, .optionalHeader, listener)
    }
  }

  private func awaitHeader(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ phase: ConnectionMemory.Phase,
    _ listener: ListenerEntry
  ) {
    memory.phase = phase
    worker.remember(memory, of: event.id)
    worker.hold(event.id, limit: listener.holdLimit, withinMs: listener.headerMs)
  }

  /// Two system calls per connection, which a relay without log, header and trust does not need.
  private func needsAddresses(_ listener: ListenerEntry) -> Bool {
    sink != nil || !listener.trust.entries.isEmpty
      || router.table.backends[listener.backend].header != .none
  }

  /// A header is in: from here on its client is the client. LOCAL, UNKNOWN and the like leave the
  /// real addresses standing.
  private mutating func introduced(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ found: ProxyHeader,
    _ consumed: Int, _ table: RouteTable
  ) {
    var kept = HeaderNotes(found, in: event.heldBytes, sender: memory.client)
    if let addresses = found.streamAddresses {
      memory.client = addresses.source.unmapped()
      memory.local = addresses.destination.unmapped()
    }
    let answer = router.decide(.accepted(listener: Int(event.listener)))
    // LOCAL is the source's own connection; what its block says is about no client.
    let mayRelay = memory.phase == .requiredHeader && found.command == .proxy
    if mayRelay, case .route(let backend, _) = answer {
      kept.keep(found, in: event.heldBytes, for: table.backends[backend].tlvs)
    }
    notes[event.id.slot] = kept
    memory.phase = .none
    follow(answer, event, &memory, table, consuming: consumed, isIntroduced: true)
  }

  /// Turns a connection away for the bytes it sent, which the log will show.
  private mutating func refuse(
    _ event: sluice_event, _ memory: ConnectionMemory, _ reason: RejectReason
  ) {
    notes[event.id.slot] = HeaderNotes(refused: event.heldBytes, sender: memory.client)
    worker.reject(event.id, reason: reason.number)
  }

  private mutating func dialFailed(_ event: sluice_event) {
    guard var memory = worker.memory(event.id), let server = memory.server,
      let table = generations.table(memory.generation)
    else { return worker.reject(event.id, reason: RejectReason.noRoute.number) }
    let failure = DialFailure(
      backend: table.backend(ofServer: server), server: server, tries: memory.tries,
      error: DialError(event.error))
    follow(router.decide(failure, under: table), event, &memory, table)
  }

  private mutating func follow(
    _ answer: Answer, _ event: sluice_event, _ memory: inout ConnectionMemory,
    _ table: RouteTable, consuming consumed: Int = 0, isIntroduced: Bool = false
  ) {
    var reason: RejectReason?
    giveBack(&memory)
    switch answer {
    case .route(let backend, let server):
      memory.server = server
      memory.entry = countIn(generations.identity(memory.generation, server))
      memory.tries += 1
      let entry = table.backends[backend]
      // Without a header of ours the server would believe one that the client made up.
      let isOpen = entry.header == .none && !entry.passesClientHeader && !isIntroduced
      if isOpen, notes[event.id.slot]?.header == nil { memory.phase = .forgery }
      worker.remember(memory, of: event.id)
      reason = route(
        event, memory, table.listeners[Int(event.listener)], entry, table.servers[server],
        consuming: consumed)
    case .reject(let why):
      worker.remember(memory, of: event.id)
      reason = why
    }
    if let reason { worker.reject(event.id, reason: reason.number) }
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
  private mutating func route(
    _ event: sluice_event, _ memory: ConnectionMemory, _ listener: ListenerEntry,
    _ entry: BackendEntry, _ server: ServerEntry, consuming consumed: Int
  ) -> RejectReason? {
    let slot = event.id.slot
    let written = header.encode(
      entry.header, entry.tlvs, client: memory.client, local: memory.local,
      HeaderBuffer.Facts(
        id: memory.id, listener: listener.name, backend: entry.name, server: server.name,
        relayed: notes[slot]?.relayed ?? []))
    guard let (length, dropped) = written else { return .proxyNoAddress }
    if dropped > 0 { notes[slot, default: HeaderNotes()].dropped = dropped }
    let holding = memory.phase == .forgery ? Signature.length : nil
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
        guard let source = entry.source else {
          return worker.relay(event.id, by: &route, consuming: consumed, holding: holding)
        }
        return source.withEndpoint { source in
          route.source = source
          return worker.relay(event.id, by: &route, consuming: consumed, holding: holding)
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
      if let kept = notes[event.id.slot] { record.introduction = .init(kept) }
      sink.add(record)
    }
    if !notes.isEmpty { notes[event.id.slot] = nil }
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
