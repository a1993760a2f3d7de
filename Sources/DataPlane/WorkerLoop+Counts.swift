internal import CSluice
internal import Routing
internal import System

/// Bytes of connections that still live. C reports them when a connection is over, which may be
/// in a day, so whoever asks for the counts has the live ones looked at: what came since the last
/// look is added then, and the rest at the end.
struct LiveBytes {
  struct Bytes: Equatable {
    var up: UInt64 = 0
    var down: UInt64 = 0
  }

  /// By slot: what is counted already. As long as the highest slot that was ever looked at.
  private var told: [Bytes] = []
  /// The sum of `told`.
  private(set) var total = Bytes()
  /// Who waits for the look that is under way.
  private var waiting: [Reply<WorkerCounts>] = []
  /// Where the look under way goes on.
  var cursor: UInt32 = 0

  var isUnderWay: Bool { !waiting.isEmpty }

  /// What came since the last look at this slot's connection.
  mutating func rise(of slot: UInt32, to bytes: Bytes) -> Bytes {
    let slot = Int(slot)
    if slot >= told.count {
      told.append(contentsOf: repeatElement(Bytes(), count: slot + 1 - told.count))
    }
    let before = told[slot]
    told[slot] = Bytes(up: max(before.up, bytes.up), down: max(before.down, bytes.down))
    let rise = Bytes(up: told[slot].up - before.up, down: told[slot].down - before.down)
    total.up += rise.up
    total.down += rise.down
    return rise
  }

  /// The same of a connection that is over; the slot is the next one's.
  mutating func rest(of slot: UInt32, upTo bytes: Bytes) -> Bytes {
    let slot = Int(slot)
    guard slot < told.count else { return bytes }
    let before = told[slot]
    told[slot] = Bytes()
    total.up -= before.up
    total.down -= before.down
    return Bytes(
      up: bytes.up - min(before.up, bytes.up), down: bytes.down - min(before.down, bytes.down))
  }

  mutating func wait(_ reply: Reply<WorkerCounts>) {
    // Whoever asks during a look waits for the rest of it: what it has passed is recent enough.
    if waiting.isEmpty { cursor = 0 }
    waiting.append(reply)
  }

  mutating func end() -> [Reply<WorkerCounts>] {
    defer { waiting = [] }
    return waiting
  }
}

extension WorkerLoop {
  /// Connections looked at per turn: a tenth of a millisecond, so that others need not wait.
  private static let looksPerTurn = 512

  /// A part of the look at live connections, and the answers at its end.
  mutating func goOnCounting() {
    guard liveBytes.isUnderWay else { return }
    var cursor = liveBytes.cursor
    let sessions = worker.sessions(cursor: &cursor, most: WorkerLoop.looksPerTurn)
    liveBytes.cursor = cursor
    for session in sessions { look(at: session) }
    guard sessions.count < WorkerLoop.looksPerTurn else { return }
    counts.stats = WorkerStats(worker.stats)
    // C adds a connection's bytes when it is over.
    counts.stats.bytesUp += liveBytes.total.up
    counts.stats.bytesDown += liveBytes.total.down
    counts.oldestSerial = generations.oldestSerial
    counts.clientsByConnections.halve(wallMs: Clock.wallMs)
    counts.clientsByBytes.halve(wallMs: Clock.wallMs)
    for reply in liveBytes.end() { reply.send(counts) }
  }

  private mutating func look(at session: sluice_session) {
    guard let memory = worker.memory(session.id), memory.isAsked,
      let table = generations.table(memory.generation),
      let listener = table.socket(tag: session.listener)?.listener
    else { return }
    let bytes = liveBytes.rise(
      of: session.id.slot, to: .init(up: session.bytes_up, down: session.bytes_down))
    guard bytes != LiveBytes.Bytes() else { return }
    counts.moved(bytes, listener: listener, server: memory.server, in: table)
  }
}
