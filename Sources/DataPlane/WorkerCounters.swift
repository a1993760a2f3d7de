internal import CSluice
internal import Routing
internal import Wire

/// What one worker has counted since its start, by series number. Read as a copy through
/// `WorkerPool.counts()`; merged by name in Control.
package struct WorkerCounts: Sendable {
  /// The serial of the newest table the worker has taken.
  package internal(set) var serial: UInt64 = 0
  /// The serial of the oldest table that a live connection of it still refers to.
  package internal(set) var oldestSerial: UInt64 = 0
  package internal(set) var stats = WorkerStats()
  package internal(set) var listeners = CounterRows(width: ListenerColumns.count)
  package internal(set) var backends = CounterRows(width: BackendColumns.count)
  package internal(set) var servers = CounterRows(width: ServerColumns.count)
  package internal(set) var rules = CounterRows(width: RuleColumns.count)
  /// The clients with the most connections lately, in 1024ths of one, so that halves count.
  package internal(set) var clientsByConnections = HeavyClients(shown: 0, seed: 0)
  package internal(set) var clientsByBytes = HeavyClients(shown: 0, seed: 0)
  private var topClients = 0

  package static let connectionWeight: UInt64 = 1024
}

/// What is counted for each listener.
package enum ListenerColumns {
  package static let accepted = 0
  /// Those that are gone; live is the difference.
  package static let ended = 1
  package static let bytesUp = 2
  package static let bytesDown = 3
  package static let splicedUp = 4
  package static let splicedDown = 5
  /// By `HeaderKind`.
  package static let headers = 6
  /// By position in `ConnectionEnd.allCases`.
  package static let ends = headers + HeaderKind.allCases.count
  /// By position in `RejectReason.all`.
  package static let reasons = ends + ConnectionEnd.allCases.count
  /// Connections that began to wait for a place, and those that wait no longer.
  package static let queued = reasons + RejectReason.count
  package static let dequeued = queued + 1
  /// By `HandshakeResult`.
  package static let handshakes = dequeued + 1
  package static let duration = HistogramColumns(
    start: handshakes + HandshakeResult.allCases.count, boundsUs: HistogramColumns.lifetimeUs)
  static let count = duration.end
}

/// What is counted for each backend.
package enum BackendColumns {
  /// Connections that were sent to it or dialled to it, and those that left it again.
  package static let arrived = 0
  package static let left = 1
  package static let dials = 2
  package static let bytesUp = 3
  package static let bytesDown = 4
  /// By `DialError`.
  package static let dialFailures = 5
  /// Of the dials that worked.
  package static let connect = HistogramColumns(
    start: dialFailures + DialError.allCases.count, boundsUs: HistogramColumns.latencyUs)
  /// From accept to the server's first byte.
  package static let firstByte = HistogramColumns(
    start: connect.end, boundsUs: HistogramColumns.latencyUs)
  static let count = firstByte.end
}

/// What is counted for each server of each backend.
package enum ServerColumns {
  package static let arrived = 0
  package static let left = 1
  package static let dials = 2
  package static let bytesUp = 3
  package static let bytesDown = 4
  /// Dials that worked, and the microseconds they took together.
  package static let connects = 5
  package static let connectUs = 6
  /// By `DialError`.
  package static let dialFailures = 7
  static let count = dialFailures + DialError.allCases.count
}

/// What is counted for each rule of each listener.
package enum RuleColumns {
  /// Connections that it took.
  package static let taken = 0
  static let count = 1
}

/// What a source that must or may send a PROXY header sent. The raw value is its column.
package enum HeaderKind: Int, Sendable, CaseIterable {
  /// Nothing, where it may.
  case absent
  case v1
  case v1Unknown
  case v2
  /// A connection of the sender's own, a health probe for one.
  case v2Local
  case v2Unspec

  /// As in the log and the metrics.
  package var word: String {
    switch self {
    case .absent: "none"
    case .v1: "v1"
    case .v1Unknown: "v1-unknown"
    case .v2: "v2"
    case .v2Local: "v2-local"
    case .v2Unspec: "v2-unspec"
    }
  }
}

/// What came of a client's TLS handshake. The raw value is its column.
package enum HandshakeResult: Int, Sendable, CaseIterable {
  case full
  /// By a ticket.
  case resumed
  case failed

  /// As in the metrics.
  package var word: String {
    switch self {
    case .full: "full"
    case .resumed: "resumed"
    case .failed: "failed"
    }
  }
}

/// The events of a connection's life that are counted. Each is a few additions: no allocation,
/// no lock, no text.
extension WorkerCounts {
  /// Makes room for the series of a table, whose connections may come from now on.
  mutating func prepare(for plan: SeriesPlan) {
    listeners.prepare(for: plan.listeners, fresh: plan.fresh.listeners)
    backends.prepare(for: plan.backends, fresh: plan.fresh.backends)
    servers.prepare(for: plan.servers, fresh: plan.fresh.servers)
    rules.prepare(for: plan.rules.flatMap { $0 }, fresh: plan.fresh.rules)
    serial = plan.serial
    guard plan.topClients != topClients else { return }
    topClients = plan.topClients
    let seed = UInt64.random(in: .min ... .max)
    clientsByConnections = HeavyClients(shown: topClients, seed: seed)
    clientsByBytes = HeavyClients(shown: topClients, seed: seed)
  }

  mutating func closed(_ summary: sluice_summary, of client: SocketAddress, wallMs: UInt64) {
    clientsByConnections.add(client, WorkerCounts.connectionWeight, wallMs: wallMs)
    clientsByBytes.add(client, summary.bytes_up + summary.bytes_down, wallMs: wallMs)
  }

  mutating func accepted(listener: Int) { listeners.add(listener, ListenerColumns.accepted) }

  mutating func came(with header: HeaderKind, listener: Int) {
    listeners.add(listener, ListenerColumns.headers + header.rawValue)
  }

  mutating func shookHands(_ result: HandshakeResult, listener: Int) {
    listeners.add(listener, ListenerColumns.handshakes + result.rawValue)
  }

  /// By series, as below.
  mutating func took(rule: Int) { rules.add(rule, RuleColumns.taken) }

  mutating func beganToWait(listener: Int) { listeners.add(listener, ListenerColumns.queued) }

  mutating func endedToWait(listener: Int) { listeners.add(listener, ListenerColumns.dequeued) }

  /// It is the server's from now on: dialled or about to be. Servers are given by their place in
  /// a table, as all below.
  mutating func arrived(at server: Int, in table: RouteTable) {
    let (backend, server) = table.seriesOf(server: server)
    backends.add(backend, BackendColumns.arrived)
    servers.add(server, ServerColumns.arrived)
  }

  /// It is no longer the server's.
  mutating func left(_ server: Int, in table: RouteTable) {
    let (backend, server) = table.seriesOf(server: server)
    backends.add(backend, BackendColumns.left)
    servers.add(server, ServerColumns.left)
  }

  mutating func dialled(_ server: Int, in table: RouteTable) {
    let (backend, server) = table.seriesOf(server: server)
    backends.add(backend, BackendColumns.dials)
    servers.add(server, ServerColumns.dials)
  }

  mutating func dialFailed(_ error: DialError, at server: Int, in table: RouteTable) {
    let (backend, server) = table.seriesOf(server: server)
    backends.add(backend, BackendColumns.dialFailures + error.rawValue)
    servers.add(server, ServerColumns.dialFailures + error.rawValue)
  }

  /// Bytes that were not counted before.
  mutating func moved(
    _ bytes: LiveBytes.Bytes, listener: Int, server: Int?, in table: RouteTable
  ) {
    let listener = table.series.listeners[listener]
    listeners.add(listener, ListenerColumns.bytesUp, bytes.up)
    listeners.add(listener, ListenerColumns.bytesDown, bytes.down)
    guard let server else { return }
    let (backend, place) = table.seriesOf(server: server)
    backends.add(backend, BackendColumns.bytesUp, bytes.up)
    backends.add(backend, BackendColumns.bytesDown, bytes.down)
    servers.add(place, ServerColumns.bytesUp, bytes.up)
    servers.add(place, ServerColumns.bytesDown, bytes.down)
  }

  /// - Parameters:
  ///   - bytes: those that were not counted while it lived.
  ///   - server: the last one that was dialled.
  mutating func closed(
    _ summary: sluice_summary, _ bytes: LiveBytes.Bytes, listener: Int, server: Int?,
    in table: RouteTable
  ) {
    moved(bytes, listener: listener, server: server, in: table)
    let listener = table.series.listeners[listener]
    listeners.add(listener, ListenerColumns.ended)
    listeners.add(listener, ListenerColumns.splicedUp, summary.spliced_up)
    listeners.add(listener, ListenerColumns.splicedDown, summary.spliced_down)
    ListenerColumns.duration.note(summary.duration_us, in: &listeners, listener)
    let end = ConnectionEnd(of: summary)
    listeners.add(listener, ListenerColumns.ends + end.position)
    if let reason = RejectReason.position(ofNumber: summary.reason) {
      listeners.add(listener, ListenerColumns.reasons + reason)
    }
    if let server, summary.connect_us > 0 { served(summary, table.seriesOf(server: server)) }
  }

  private mutating func served(
    _ summary: sluice_summary, _ series: (backend: Int, server: Int)
  ) {
    let (backend, server) = series
    BackendColumns.connect.note(summary.connect_us, in: &backends, backend)
    servers.add(server, ServerColumns.connects)
    servers.add(server, ServerColumns.connectUs, summary.connect_us)
    guard summary.first_byte_us > 0 else { return }
    BackendColumns.firstByte.note(summary.first_byte_us, in: &backends, backend)
  }
}

extension RouteTable {
  fileprivate func seriesOf(server: Int) -> (backend: Int, server: Int) {
    (series.backends[backend(ofServer: server)], series.servers[server])
  }
}

extension ConnectionEnd {
  /// In `allCases`.
  package var position: Int {
    switch self {
    case .clientFIN: 0
    case .clientReset: 1
    case .clientError: 2
    case .upstreamFIN: 3
    case .upstreamReset: 4
    case .upstreamError: 5
    case .prefaceDeadline: 6
    case .connectDeadline: 7
    case .idleDeadline: 8
    case .halfClosedDeadline: 9
    case .maxAgeDeadline: 10
    case .drainDeadline: 11
    case .killed: 12
    case .rejected: 13
    case .serverDown: 14
    case .clientTruncated: 15
    case .upstreamTruncated: 16
    }
  }
}
