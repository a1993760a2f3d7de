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
  var bans: BanTable
  var sockets: [ListeningSocket]
  var header: HeaderBuffer
  /// By slot, of connections that came with a PROXY header or were turned away for one.
  var notes: [UInt32: HeaderNotes] = [:]
  /// By slot, of connections whose ClientHello was read.
  var hellos: [UInt32: HelloNotes] = [:]
  /// By slot, of connections of which a side speaks TLS with us.
  var transports: [UInt32: TransportNotes] = [:]
  /// By slot, of connections that a rule took: its place in their listener.
  var rules: [UInt32: Int] = [:]
  /// By slot, of connections of STARTTLS listeners until their server has begun TLS.
  var preambles: [UInt32: Preamble] = [:]
  /// By slot, of connections whose server is reached through a parent.
  var passages: [UInt32: Passage] = [:]
  /// Those of which that stands.
  var passed: [UInt32: Passed] = [:]
  var speech = Speech()
  /// By slot, of connections that wait for a place.
  var waits: [UInt32: Waiting] = [:]
  /// By slot, of connections that were dialled to both families of a name.
  var families: [UInt32: FamilyDials] = [:]
  /// By slot, of connections of forward proxies.
  var exchanges: [UInt32: Exchange] = [:]
  /// Those that are tunnels by now.
  var tunnels: [UInt32: Tunnel] = [:]
  let names: (any NameLookup)?
  let desk: CredentialDesk
  let room: WaitingRoom
  var counts = WorkerCounts()
  var liveBytes = LiveBytes()
  /// Sockets that were given up, until all that came in by them is known.
  var retiring: [RetiringSocket] = []
  let index: Int
  let mailbox: Mailbox
  let identities: SharedTable
  let sink: (any RecordSink)?
  let failures: FailureBoard?
  var needs: RecordNeeds = []
  var wallMs: UInt64 = 0
  var nowNs: UInt64 = 0
  var isStopping = false
  var endings: [EndingOrder] = []

  /// Commands per turn: a burst of them must not keep connections waiting.
  private static let commandsPerTurn = 16

  init(
    _ worker: consuming Worker, _ outfit: Outfit, index: Int, mailbox: Mailbox,
    identities: SharedTable, room: WaitingRoom, sink: (any RecordSink)?, failures: FailureBoard?,
    names: (any NameLookup)?, desk: CredentialDesk
  ) throws(SystemError) {
    // More would run into the memory of the next slot.
    precondition(MemoryLayout<ConnectionMemory>.size <= ConnectionMemory.bytesPerSlot)
    ids = try UniqueIDSource(worker: index)
    router = Router(outfit.table, seed: index)
    generations = Generations(outfit.table)
    bans = outfit.bans
    header = HeaderBuffer()
    counts.prepare(for: outfit.table.series)
    self.worker = worker
    sockets = outfit.sockets
    self.index = index
    self.mailbox = mailbox
    self.identities = identities
    self.room = room
    self.sink = sink
    self.failures = failures
    self.names = names
    self.desk = desk
    lookAtNeeds()
    mailbox.open(self.worker.waker)
    for socket in sockets { listen(socket) }
    share(0)
  }

  var source: EventSource { worker.source }

  mutating func lookAtNeeds() {
    needs = sink?.needs ?? []
    worker.measure(needs.contains(.paths))
  }

  /// Until told to stop. Connections that still live then end with the worker.
  mutating func run() {
    while !isStopping {
      let hasWork = mailbox.isWaiting || !endings.isEmpty || liveBytes.isUnderWay
      // C does not end a wait when it has given up a socket, so it is asked soon.
      let count = worker.turn(waitingAtMostMs: hasWork ? 0 : retiring.isEmpty ? -1 : 1)
      if count > 0 {
        wallMs = Clock.wallMs
        nowNs = Clock.monotonicNs
        router.nowMs = nowNs / 1_000_000
        for position in 0..<count { take(event(position, of: count)) }
        sink?.flush()
      }
      if !retiring.isEmpty { closeRetired(after: count) }
      if let installation = mailbox.takeInstallation() { install(installation) }
      let mail = mailbox.take(atMost: WorkerLoop.commandsPerTurn)
      for command in mail.commands { carryOut(command) }
      for id in mail.calls { worker.fact(sluice_id(slot: id.slot, generation: id.generation)) }
      goOnEnding()
      goOnCounting()
    }
    mailbox.close()
  }

  // ---- sockets and tables ------------------------------------------------------------------

  /// Between two turns, so no decision ever sees half of it.
  mutating func install(_ installation: Installation) {
    // What others gave under the former table is known here only while its sockets are.
    worker.share(as: index, version: 0)
    if let bans = installation.bans { self.bans = bans }
    retire { installation.retired.contains($0.tag) }
    if let table = installation.table {
      // More tables than can be told apart: `WorkerPool.tablesLive` says so beforehand.
      guard generations.install(table) else { return }
      router.install(table, seed: index)
      counts.prepare(for: installation.series(of: table))
    }
    lookAtNeeds()
    for socket in installation.opened {
      sockets.append(socket)
      listen(socket)
    }
    share(installation.number)
    mailbox.acknowledge(installation.number, tables: generations.live)
  }

  /// There is room in C for every socket that `WorkerPool.open` lets pass.
  private func listen(_ socket: ListeningSocket) {
    _ = worker.listen(socket.descriptor, tag: socket.tag, exclusive: socket.isExclusive)
  }

  /// With workers that have the same installation, which know the same listeners.
  private func share(_ installation: UInt64) {
    worker.share(as: index, version: installation + 1)
  }

  mutating func retire(where isRetired: (ListeningSocket) -> Bool) {
    for socket in sockets where isRetired(socket) {
      worker.unlisten(tag: socket.tag)
      retiring.append(
        RetiringSocket(tag: socket.tag, generation: generations.hold(), socket: socket))
    }
    sockets.removeAll(where: isRetired)
  }

  /// A listening socket may be closed when C has given up accepting from it. What C accepted last
  /// is asked about in the next turn that has room for it.
  mutating func closeRetired(after count: Int) {
    var kept: [RetiringSocket] = []
    for var entry in retiring {
      if entry.socket == nil, count < Int(SLUICE_EVENTS_PER_TURN) {
        generations.letGo(entry.generation)
        continue
      }
      if !worker.isListening(tag: entry.tag) { entry.socket = nil }
      kept.append(entry)
    }
    retiring = kept
  }

  func event(_ position: Int, of count: Int) -> sluice_event {
    worker.events(count)[position]
  }

  // ---- mail --------------------------------------------------------------------------------

  mutating func carryOut(_ command: Command) {
    switch command {
    case .kill(let id, let reply):
      reply.send(
        worker.kill(sluice_id(slot: id.slot, generation: id.generation), .killed))
    case .list(let cursor, let limit, let filter, let reply):
      reply.send(page(from: cursor, limit: limit, filter))
    case .stats(let reply):
      reply.send(WorkerStats(worker.stats))
    case .counts(let reply):
      liveBytes.wait(reply)
    case .drain:
      worker.share(as: index, version: 0)
      retire { _ in true }
    case .end(let filter, let why, let reply):
      endings.append(EndingOrder(filter: filter, end: sluice_end(why), reply: reply))
    case .stop:
      isStopping = true
    }
  }
}

/// A listening socket that was given up.
struct RetiringSocket {
  let tag: UInt32
  /// Of the last table that had it.
  let generation: UInt16
  /// Nil once it was let go of.
  var socket: ListeningSocket?
}
