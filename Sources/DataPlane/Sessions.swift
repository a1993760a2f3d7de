internal import CSluice
internal import Routing
package import System
package import Wire

/// Names a live connection of one worker.
package struct ConnectionID: Hashable, Sendable {
  package let worker: Int
  package let slot: UInt32
  package let generation: UInt32

  package init(worker: Int, slot: UInt32, generation: UInt32) {
    self.worker = worker
    self.slot = slot
    self.generation = generation
  }
}

/// Which connections are meant: all that fit everything that is not nil.
package struct SessionFilter: Hashable, Sendable {
  /// Names, as of the table that took the connection.
  package var listener: String?
  package var backend: String?
  package var server: String?
  /// Holds the real client.
  package var client: Network?
  package var olderThanUs: UInt64

  package init(
    listener: String? = nil, backend: String? = nil, server: String? = nil,
    client: Network? = nil, olderThanUs: UInt64 = 0
  ) {
    self.listener = listener
    self.backend = backend
    self.server = server
    self.client = client
    self.olderThanUs = olderThanUs
  }
}

/// One live connection. Names are those of the table that took it.
package struct Session: Sendable {
  package let id: ConnectionID
  /// Nil before it was asked about.
  package let uniqueID: UniqueID?
  package let listener: String
  /// The real client; nil when it has left, or where nobody had a use for it so far and the kernel
  /// does not know it any more.
  package let client: SocketAddress?
  /// The address that really connected, where it spoke for the client.
  package let sender: SocketAddress?
  package let backend: String?
  package let server: String?
  package let rule: String?
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

/// Connections that are being ended, some each turn.
struct EndingOrder {
  /// Nil: all.
  let filter: SessionFilter?
  let end: sluice_end
  let reply: Reply<Int>?
  var cursor: UInt32 = 0
  var ended = 0
}

/// What is asked about live connections, and ending those that are meant.
extension WorkerLoop {
  /// Connections ended or looked at per turn; as many as a batch of events holds.
  private static let looksPerTurn = 256

  /// Finds up to `limit` of those that are meant, and goes no further than a turn may take.
  func page(from start: UInt32, limit: Int, _ filter: SessionFilter) -> SessionPage {
    var cursor = start
    let looked = worker.sessions(cursor: &cursor, most: WorkerLoop.looksPerTurn)
    var sessions: [Session] = []
    for raw in looked {
      guard sessions.count < limit else {
        return SessionPage(sessions: sessions, next: raw.id.slot)
      }
      if let session = session(raw, filter) { sessions.append(session) }
    }
    return SessionPage(
      sessions: sessions, next: looked.count == WorkerLoop.looksPerTurn ? cursor : nil)
  }

  mutating func goOnEnding() {
    guard var order = endings.first else { return }
    let isOver: Bool
    if let filter = order.filter {
      isOver = endSome(filter, &order)
    } else {
      let most = UInt32(WorkerLoop.looksPerTurn)
      let ended = worker.killAll(order.end, cursor: &order.cursor, most: most)
      order.ended += ended
      isOver = ended < Int(most)
    }
    if isOver {
      order.reply?.send(order.ended)
      endings.removeFirst()
    } else {
      endings[0] = order
    }
  }

  private func endSome(_ filter: SessionFilter, _ order: inout EndingOrder) -> Bool {
    let found = worker.sessions(cursor: &order.cursor, most: WorkerLoop.looksPerTurn)
    for session in found where self.session(session, filter) != nil {
      if worker.kill(session.id, order.end) { order.ended += 1 }
    }
    return found.count < WorkerLoop.looksPerTurn
  }

  /// Nil when it is not meant.
  private func session(_ raw: sluice_session, _ filter: SessionFilter) -> Session? {
    guard raw.age_us >= filter.olderThanUs, let memory = worker.memory(raw.id) else { return nil }
    let table = memory.isAsked ? generations.table(memory.generation) : router.table
    guard let table, let socket = table.socket(tag: raw.listener) else { return nil }
    let listener = table.listeners[socket.listener].name
    let server = memory.server.map { table.servers[$0].name }
    let backend = memory.server.map { table.backends[table.backend(ofServer: $0)].name }
    if let wanted = filter.listener, wanted != listener { return nil }
    if let wanted = filter.backend, wanted != backend { return nil }
    if let wanted = filter.server, wanted != server { return nil }
    let client = memory.client ?? worker.endpoints(raw.id)?.client
    if let network = filter.client {
      guard let client, network.contains(client) else { return nil }
    }
    let notes = notes[raw.id.slot]
    let rule = rules[raw.id.slot].map { table.listeners[socket.listener].rules[$0].name }
    return Session(
      id: ConnectionID(worker: index, slot: raw.id.slot, generation: raw.id.generation),
      uniqueID: memory.isAsked ? memory.id : nil, listener: listener, client: client,
      sender: notes?.header == nil ? nil : notes?.sender, backend: backend, server: server,
      rule: rule, ageUs: raw.age_us, idleUs: raw.idle_us, bytesUp: raw.bytes_up,
      bytesDown: raw.bytes_down, isDialled: raw.dialled)
  }
}
