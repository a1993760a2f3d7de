package import AdminAPI
package import DataPlane
package import Routing
internal import Wire

/// What all workers have counted since the start, merged by name. Workers are asked one after the
/// other, so the whole is no picture of one instant; each count by itself never goes back.
package struct Counts: Sendable {
  /// Those that are configured, and those that are not any more but still have connections.
  package private(set) var listeners: [Listener] = []
  package private(set) var backends: [Backend] = []
  package private(set) var servers: [Server] = []
  /// Those that have taken a connection: of a hundred thousand, most never do.
  package private(set) var rules: [Rule] = []
  /// By worker; nil for one that did not answer in time, whose counts are missing then.
  package let workers: [WorkerStats?]
  private let clients: [(byConnections: HeavyClients, byBytes: HeavyClients)]

  package init(_ workers: [WorkerCounts?], _ book: SeriesBook) {
    self.workers = workers.map { $0?.stats }
    let answers = workers.compactMap { $0 }
    clients = answers.map { ($0.clientsByConnections, $0.clientsByBytes) }
    listeners = Counts.merge(book.listeners, answers, \.listeners).map { Listener(row: $0) }
      .filter { $0.row.isConfigured || $0.live > 0 }
    backends = Counts.merge(book.backends, answers, \.backends).map { Backend(row: $0) }
      .filter { $0.row.isConfigured || $0.live > 0 }
    servers = Counts.merge(book.servers, answers, \.servers).map { Server(row: $0) }
      .filter { $0.row.isConfigured || $0.live > 0 }
    rules = Counts.rules(book, answers)
  }

  /// The workers' own counts together; flags are true when they are of any of them.
  package var total: WorkerStats {
    workers.reduce(into: WorkerStats()) { sum, stats in if let stats { sum.add(stats) } }
  }

  package func listener(_ name: String) -> Listener? {
    listeners.first { $0.row.name == name }
  }

  package func backend(_ name: String) -> Backend? { backends.first { $0.row.name == name } }

  package func server(_ name: String, of backend: String) -> Server? {
    let name = ServerName(backend: backend, server: name)
    return servers.first { $0.row.name == name }
  }

  /// The busiest clients of the last minute or so, by whichever share is larger: of connections or
  /// of bytes.
  package func topClients(_ most: Int) -> [ClientUse] {
    var uses: [SocketAddress: ClientUse] = [:]
    for (byConnections, byBytes) in clients {
      for client in byConnections.clients {
        let connections = Double(client.weight) / Double(WorkerCounts.connectionWeight)
        uses[client.address, default: ClientUse(client.address)].connections += connections
      }
      for client in byBytes.clients {
        uses[client.address, default: ClientUse(client.address)].bytes &+= client.weight
      }
    }
    let connections = max(1, uses.values.reduce(0) { $0 + $1.connections })
    let bytes = max(1, uses.values.reduce(0) { $0 + Double($1.bytes) })
    func share(_ use: ClientUse) -> Double {
      max(use.connections / connections, Double(use.bytes) / bytes)
    }
    let busiest = uses.values.sorted { (share($1), $0.address) < (share($0), $1.address) }
    return busiest.prefix(most).map { use in
      var use = use
      use.connections = (use.connections * 10).rounded() / 10
      return use
    }
  }

  /// The sum of all workers' rows of one series.
  package struct Row<Name: Sendable>: Sendable {
    package let name: Name
    package let isConfigured: Bool
    fileprivate let cells: [UInt64]

    subscript(column: Int) -> UInt64 { cells[column] }

    func histogram(_ columns: HistogramColumns) -> Histogram {
      Histogram(
        boundsUs: columns.boundsUs,
        buckets: Array(cells[columns.start...columns.start + columns.boundsUs.count]),
        sumUs: cells[columns.sum])
    }
  }

  /// A worker that has not taken the table that gave a number its name counts the former name's
  /// connections there, so it is left out.
  private static func merge<Name>(
    _ shelf: SeriesBook.Shelf<Name>, _ workers: [WorkerCounts],
    _ rows: KeyPath<WorkerCounts, CounterRows>
  ) -> [Row<Name>] {
    guard let width = workers.first?[keyPath: rows].width else { return [] }
    return shelf.entries.enumerated().compactMap { number, entry in
      guard let entry else { return nil }
      var cells = [UInt64](repeating: 0, count: width)
      for worker in workers where worker.serial >= entry.since {
        for column in 0..<width { cells[column] &+= worker[keyPath: rows][number, column] }
      }
      return Row(name: entry.name, isConfigured: entry.goneSince == nil, cells: cells)
    }
  }
}

extension Counts {
  /// Few of very many rules take anything, so the names of the others are not touched.
  private static func rules(_ book: SeriesBook, _ workers: [WorkerCounts]) -> [Rule] {
    book.rules.entries.indices.compactMap { number in
      guard workers.contains(where: { $0.rules[number, RuleColumns.taken] > 0 }),
        let entry = book.rules.entries[number], entry.goneSince == nil
      else { return nil }
      let taken = workers.lazy.filter { $0.serial >= entry.since }
        .reduce(UInt64(0)) { $0 &+ $1.rules[number, RuleColumns.taken] }
      return taken > 0
        ? Rule(listener: entry.name.listener, name: entry.name.rule, taken: taken) : nil
    }
  }
}

/// How many values fell into each bucket, and their sum.
package struct Histogram: Hashable, Sendable {
  /// Upper bounds in microseconds, inclusive.
  package let boundsUs: [UInt64]
  /// One more than bounds: the last is what is above all of them.
  package let buckets: [UInt64]
  package let sumUs: UInt64

  package var count: UInt64 { buckets.reduce(0, &+) }
}

extension Counts {
  package struct Listener: Sendable {
    package let row: Row<String>

    package var accepted: UInt64 { row[ListenerColumns.accepted] }
    package var live: UInt64 { accepted - min(row[ListenerColumns.ended], accepted) }
    /// Connections that began to wait for a place.
    package var queued: UInt64 { row[ListenerColumns.queued] }
    package var waiting: UInt64 { queued - min(row[ListenerColumns.dequeued], queued) }
    package var bytesUp: UInt64 { row[ListenerColumns.bytesUp] }
    package var bytesDown: UInt64 { row[ListenerColumns.bytesDown] }
    package var splicedUp: UInt64 { row[ListenerColumns.splicedUp] }
    package var splicedDown: UInt64 { row[ListenerColumns.splicedDown] }
    package var duration: Histogram { row.histogram(ListenerColumns.duration) }

    package func headers(_ kind: HeaderKind) -> UInt64 {
      row[ListenerColumns.headers + kind.rawValue]
    }

    package func handshakes(_ result: HandshakeResult) -> UInt64 {
      row[ListenerColumns.handshakes + result.rawValue]
    }

    package func ends(_ end: ConnectionEnd) -> UInt64 { row[ListenerColumns.ends + end.position] }

    /// Connections that came and went without a byte where a header or a ClientHello had to come.
    package var silentProbes: UInt64 {
      ended(for: .parser(.proxyProbe)) + ended(for: .helloProbe)
    }

    /// Why connections were turned away, and how many; the common reasons of none are not here,
    /// and probes are not either, since nothing is wrong with them.
    package var rejected: [(reason: RejectReason, count: UInt64)] {
      RejectReason.all.enumerated().compactMap { position, reason in
        let count = row[ListenerColumns.reasons + position]
        return count > 0 && !reason.isProbe ? (reason, count) : nil
      }
    }

    private func ended(for reason: RejectReason) -> UInt64 {
      RejectReason.position(ofNumber: reason.number).map { row[ListenerColumns.reasons + $0] } ?? 0
    }
  }

  package struct Backend: Sendable {
    package let row: Row<String>

    package var live: UInt64 {
      let arrived = row[BackendColumns.arrived]
      return arrived - min(row[BackendColumns.left], arrived)
    }
    package var dials: UInt64 { row[BackendColumns.dials] }
    package var bytesUp: UInt64 { row[BackendColumns.bytesUp] }
    package var bytesDown: UInt64 { row[BackendColumns.bytesDown] }
    package var connect: Histogram { row.histogram(BackendColumns.connect) }
    package var firstByte: Histogram { row.histogram(BackendColumns.firstByte) }

    package func dialFailures(_ error: DialError) -> UInt64 {
      row[BackendColumns.dialFailures + error.rawValue]
    }
  }

  package struct Server: Sendable {
    package let row: Row<ServerName>

    package var live: UInt64 {
      let arrived = row[ServerColumns.arrived]
      return arrived - min(row[ServerColumns.left], arrived)
    }
    package var dials: UInt64 { row[ServerColumns.dials] }
    package var connects: UInt64 { row[ServerColumns.connects] }
    package var connectUs: UInt64 { row[ServerColumns.connectUs] }
    package var bytesUp: UInt64 { row[ServerColumns.bytesUp] }
    package var bytesDown: UInt64 { row[ServerColumns.bytesDown] }

    package var dialFailures: UInt64 {
      DialError.allCases.map { dialFailures($0) }.reduce(0, &+)
    }

    package func dialFailures(_ error: DialError) -> UInt64 {
      row[ServerColumns.dialFailures + error.rawValue]
    }
  }
}

extension Counts {
  package struct Rule: Sendable {
    package let listener: String
    package let name: String
    /// Connections.
    package let taken: UInt64
  }
}

extension ClientUse {
  fileprivate init(_ address: SocketAddress) {
    let text =
      switch address {
      case .ipv4, .unix: address.hostDescription
      case .ipv6: address.hostDescription + "/64"
      }
    self.init(address: text, connections: 0, bytes: 0)
  }
}

extension WorkerStats {
  fileprivate mutating func add(_ other: WorkerStats) {
    accepted += other.accepted
    closed += other.closed
    dialled += other.dialled
    dialFailures += other.dialFailures
    bytesUp += other.bytesUp
    bytesDown += other.bytesDown
    bytesSpliced += other.bytesSpliced
    turns += other.turns
    promotions += other.promotions
    demotions += other.demotions
    pipeMisses += other.pipeMisses
    acceptPauses += other.acceptPauses
    overflows += other.overflows
    handedOver += other.handedOver
    received += other.received
    spins += other.spins
    spinHits += other.spinHits
    connections += other.connections
    buffers += other.buffers
    pipes += other.pipes
    isAcceptPaused = isAcceptPaused || other.isAcceptPaused
  }
}
