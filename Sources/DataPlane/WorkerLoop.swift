internal import CSluice
internal import Routing
internal import System
internal import Wire

/// Gets the record of each connection that ended. One per worker, called on its thread only.
package protocol RecordSink: AnyObject {
  /// What it has a use for; looked at when the worker starts and takes a table.
  var needs: RecordNeeds { get }
  func add(_ record: ConnectionRecord)
  /// The turn is over: what was added may go out together.
  func flush()
}

/// The loop of one worker thread: turn, answer, mail.
struct WorkerLoop: ~Copyable {
  var worker: Worker
  var router: Router
  var ids: UniqueIDSource
  var generations: Generations
  var sockets: [ListeningSocket]
  var header: HeaderBuffer
  /// By slot, of connections that came with a PROXY header or were turned away for one.
  var notes: [UInt32: HeaderNotes] = [:]
  /// By slot, of connections whose ClientHello was read.
  var hellos: [UInt32: HelloNotes] = [:]
  var counts = WorkerCounts()
  var liveBytes = LiveBytes()
  /// By listener: where Unix listeners stand, since a connection's memory has no room for paths.
  let paths: [Int: SocketAddress]
  let index: Int
  let mailbox: Mailbox
  let identities: SharedTable
  let sink: (any RecordSink)?
  var needs: RecordNeeds = []
  var wallMs: UInt64 = 0
  var isStopping = false
  var isRetiringSockets = false
  var ending: (end: sluice_end, cursor: UInt32)?

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
    counts.prepare(for: table.series)
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
    lookAtNeeds()
    mailbox.open(self.worker.waker)
    for socket in sockets {
      _ = self.worker.listen(
        socket.descriptor, tag: socket.listener, exclusive: socket.isExclusive)
    }
  }

  var source: EventSource { worker.source }

  mutating func lookAtNeeds() {
    needs = sink?.needs ?? []
    worker.measure(needs.contains(.paths))
  }

  /// Until told to stop. Connections that still live then end with the worker.
  mutating func run() {
    while !isStopping {
      let hasWork =
        mailbox.isWaiting || ending != nil || isRetiringSockets || liveBytes.isUnderWay
      let count = worker.turn(waitingAtMostMs: hasWork ? 0 : -1)
      if count > 0 {
        wallMs = Clock.wallMs
        for position in 0..<count { take(event(position, of: count)) }
        sink?.flush()
      }
      for command in mailbox.take(atMost: WorkerLoop.commandsPerTurn) { carryOut(command) }
      goOnEnding()
      goOnCounting()
      if isRetiringSockets { closeRetiredSockets() }
    }
    mailbox.close()
  }

  /// A listening socket may be closed only when the kernel has given up accepting from it.
  mutating func closeRetiredSockets() {
    var kept: [ListeningSocket] = []
    for socket in sockets where worker.isListening(tag: socket.listener) { kept.append(socket) }
    sockets = kept
    isRetiringSockets = !kept.isEmpty
  }

  func event(_ position: Int, of count: Int) -> sluice_event {
    worker.events(count)[position]
  }

  // ---- mail --------------------------------------------------------------------------------

  mutating func carryOut(_ command: Command) {
    switch command {
    case .install(let table):
      router.install(table, seed: index)
      generations.install(table)
      counts.prepare(for: table.series)
      lookAtNeeds()
    case .kill(let id, let reply):
      reply.send(
        worker.kill(sluice_id(slot: id.slot, generation: id.generation), .killed))
    case .list(let cursor, let limit, let reply):
      reply.send(page(from: cursor, limit: limit))
    case .stats(let reply):
      reply.send(WorkerStats(worker.stats))
    case .counts(let reply):
      liveBytes.wait(reply)
    case .drain:
      for socket in sockets { worker.unlisten(tag: socket.listener) }
      isRetiringSockets = true
    case .endAll(let why):
      ending = (why == .killed ? .killed : .deadline_drain, 0)
    case .stop:
      isStopping = true
    }
  }

  func page(from start: UInt32, limit: Int) -> SessionPage {
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

  mutating func goOnEnding() {
    guard var now = ending else { return }
    let ended = worker.killAll(now.end, cursor: &now.cursor, most: WorkerLoop.endsPerTurn)
    ending = ended == Int(WorkerLoop.endsPerTurn) ? now : nil
  }
}
