import DataPlane
import Glibc
import Routing
import System
import TestSupport
import Testing
import Wire

/// Two workers and what the control plane asks of them.
@Suite struct WorkerPoolTests {
  /// One listener with this port, and these servers behind it.
  private func table(
    _ name: String, _ servers: [Endpoint], retries: Int = 2,
    header: ProxyHeaderVersion = .none
  ) -> RouteTable {
    RouteTable(
      listeners: [
        ListenerEntry(
          name: "listener-\(name)", backend: 0, connectMs: 3000, idleMs: 0, halfClosedMs: 0,
          maxAgeMs: 0)
      ],
      backends: [
        BackendEntry(
          name: "backend-\(name)", servers: 0..<servers.count, retries: retries, header: header,
          splice: .inline, source: nil, congestion: "")
      ],
      servers: servers.enumerated().map { index, endpoint in
        ServerEntry(name: "\(name)-\(index)", address: SocketAddress("\(endpoint)")!)
      })
  }

  private func pool(
    _ source: Source, _ table: RouteTable, port: UInt16, sink: Records? = nil
  ) throws -> WorkerPool {
    let settings = PoolSettings(
      events: source == .ring ? .ring : .epoll, workers: 2, maxConnections: 10_000,
      descriptors: 40_000)
    let address = ListenAddress(
      tag: 0, address: .ipv4(0x7f00_0001, port: port), backlog: 512)
    guard let sink else {
      return try WorkerPool(settings, table: table, listening: [address], sink: nil)
    }
    return try WorkerPool(
      settings, table: table, listening: [address], sink: { _ in RecordSinkOf(sink) })
  }

  @Test(arguments: Source.available)
  func aNewTableIsForNewConnections(_ source: Source) throws {
    let old = try ListeningSocket()
    let new = try ListeningSocket()
    let records = Records()
    let port = ReservedPort.take()
    let oldTable = table("old", [old.endpoint])
    let newTable = table("new", [new.endpoint, new.endpoint])
    let pool = try pool(source, oldTable, port: port, sink: records)
    defer { pool.stopAndJoin() }
    #expect(pool.source == (source == .ring ? .ring : .epoll))
    let early = try StreamSocket.connect(to: .loopback(port))
    let earlyUpstream = try old.accept()

    #expect(pool.install(newTable).isEmpty)
    var late: [StreamSocket] = []
    for _ in 0..<8 { late.append(try StreamSocket.connect(to: .loopback(port))) }
    var lateUpstreams: [StreamSocket] = []
    for _ in 0..<8 { lateUpstreams.append(try new.accept()) }
    // The old one goes on, and keeps its names.
    try early.write("x")
    #expect(try earlyUpstream.readExactly(1) == [120])
    #expect(oldTable.inFlight(server: 0) == 1)
    #expect(newTable.inFlight(server: 0) + newTable.inFlight(server: 1) == 8)
    #expect(pool.liveConnections == 9)
    early.close()
    earlyUpstream.close()
    for socket in late + lateUpstreams { socket.close() }
    try until("all records") { records.all.count == 9 }
    let first = try #require(records.all.first { $0.backend == "backend-old" })
    #expect(first.listener == "listener-old")
    #expect(first.server == "old-0")
    #expect(first.bytesUp == 1)
    #expect(first.client == SocketAddress("\(early.local)"))
    #expect(records.all.count { $0.backend == "backend-new" } == 8)
    #expect(Set(records.all.map(\.id)).count == 9)
    try until("nothing in flight") {
      oldTable.inFlight(server: 0) + newTable.inFlight(server: 0)
        + newTable.inFlight(server: 1) == 0
    }
  }

  /// Somebody who waits for a table to be in force is told which worker has not taken it within a
  /// second, and is not kept any longer; it takes it when it can.
  @Test(arguments: Source.available)
  func aWorkerThatIsStuckIsNamed(_ source: Source) throws {
    let (old, new) = (try ListeningSocket(), try ListeningSocket())
    let port = ReservedPort.take()
    let settings = PoolSettings(
      events: source == .ring ? .ring : .epoll, workers: 2, maxConnections: 100,
      descriptors: 1000)
    let address = ListenAddress(tag: 0, address: .ipv4(0x7f00_0001, port: port), backlog: 64)
    let (stuck, isFree) = (Guarded<Int?>(nil), Guarded(false))
    let pool = try WorkerPool(
      settings, table: table("old", [old.endpoint]), listening: [address],
      sink: { StickySink(worker: $0, stuck, isFree) })
    defer { pool.stopAndJoin() }
    try StreamSocket.connect(to: .loopback(port)).reset()
    try until("a worker to be stuck") { stuck.withLock { $0 } != nil }
    let newTable = table("new", [new.endpoint])
    #expect(pool.install(newTable) == stuck.withLock { $0 }.map { [$0] })
    isFree.withLock { $0 = true }
    try until("both to have it") { pool.install(newTable).isEmpty }
    for _ in 0..<8 {
      let client = try StreamSocket.connect(to: .loopback(port))
      try new.accept().close()
      client.close()
    }
  }

  /// The next server of a connection is looked for in the table that routed it.
  @Test(arguments: Source.available)
  func aRetryAfterAnInstallStaysInItsTable(_ source: Source) throws {
    let hole = try BlackHole()
    let second = try ListeningSocket()
    let other = try ListeningSocket()
    let records = Records()
    let port = ReservedPort.take()
    let old = table("old", [hole.endpoint, second.endpoint], header: .v2)
    let pool = try pool(source, old, port: port, sink: records)
    defer { pool.stopAndJoin() }
    // Enough that both workers start at both servers.
    let clients = try (0..<8).map { _ in try StreamSocket.connect(to: .loopback(port)) }
    try until("all routed by the old table") {
      old.inFlight(server: 0) + old.inFlight(server: 1) == 8
    }
    #expect(old.inFlight(server: 0) >= 2)
    #expect(pool.install(table("new", [other.endpoint])).isEmpty)
    // The connect deadline of 3 s sends them to the second server.
    try until("all at the second server") { old.inFlight(server: 1) == 8 }
    #expect(old.inFlight(server: 0) == 0)
    for client in clients { client.reset() }
    try until("all records") { records.all.count == 8 }
    #expect(records.all.allSatisfy { $0.backend == "backend-old" && $0.server == "old-1" })
    #expect(records.all.contains { $0.tries == 2 })
    #expect(try other.accept(withinMs: 10) == nil)
  }

  /// Listeners come and go between tables; an address that stays keeps its socket, and nobody who
  /// connected before is lost.
  @Test(arguments: Source.available)
  func socketsComeAndGo(_ source: Source) throws {
    let backend = try ListeningSocket()
    let records = Records()
    let first = ReservedPort.take()
    let second = ReservedPort.take()
    let pool = try pool(source, table("a", [backend.endpoint]), port: first, sink: records)
    defer { pool.stopAndJoin() }
    let opened = try pool.open([
      ListenAddress(tag: 9, address: .ipv4(0x7f00_0001, port: second), backlog: 64)
    ])
    #expect(pool.openAddresses.count == 2)
    let both = RouteTable(
      listeners: table("a", [backend.endpoint]).listeners
        + table("b", [backend.endpoint]).listeners,
      backends: table("b", [backend.endpoint]).backends,
      servers: table("b", [backend.endpoint]).servers,
      sockets: [SocketEntry(tag: 9, listener: 1), SocketEntry(tag: 0, listener: 0)])
    #expect(pool.install(both, opening: opened).isEmpty)
    let early = try (0..<10).map { _ in try StreamSocket.connect(to: .loopback(first)) }
    let late = try (0..<10).map { _ in try StreamSocket.connect(to: .loopback(second)) }
    // The first address goes, at once and without asking who is on the way.
    let only = RouteTable(
      listeners: table("c", [backend.endpoint]).listeners,
      backends: table("c", [backend.endpoint]).backends,
      servers: table("c", [backend.endpoint]).servers,
      sockets: [SocketEntry(tag: 9, listener: 0)])
    #expect(pool.install(only, retiring: [0]).isEmpty)
    var upstreams: [StreamSocket] = []
    for _ in 0..<20 { upstreams.append(try backend.accept()) }
    try until("the first address to be closed") {
      // `opened` still holds the others, which are open anyway.
      pool.openAddresses == [.ipv4(0x7f00_0001, port: second)]
    }
    #expect(throws: StreamSocket.ConnectFailure.self) {
      try StreamSocket.connect(to: .loopback(first))
    }
    let last = try StreamSocket.connect(to: .loopback(second))
    upstreams.append(try backend.accept())
    for socket in early + late + [last] { socket.close() }
    for socket in upstreams { socket.close() }
    try until("all records") { records.all.count == 21 }
    #expect(records.all.count { $0.listener == "listener-a" } == 10)
    let rest = records.all.filter { $0.listener != "listener-a" }
    #expect(rest.allSatisfy { $0.listener == "listener-b" || $0.listener == "listener-c" })
    let newest = try #require(rest.first { $0.client == SocketAddress("\(last.local)") })
    #expect(newest.backend == "backend-c")
    #expect(pool.tablesLive >= 1)
  }

  @Test(arguments: Source.available)
  func killAndSessions(_ source: Source) throws {
    let backend = try ListeningSocket()
    let records = Records()
    let port = ReservedPort.take()
    let pool = try pool(source, table("t", [backend.endpoint]), port: port, sink: records)
    defer { pool.stopAndJoin() }
    let clients = try (0..<20).map { _ in try StreamSocket.connect(to: .loopback(port)) }
    let upstreams = try (0..<20).map { _ in try backend.accept() }
    try until("all dialled") { try sessions(pool, page: 3).filter(\.isDialled).count == 20 }
    #expect(Set(try sessions(pool, page: 7).map(\.id)).count == 20)
    #expect(pool.sessions(worker: 2, from: 0, limit: 10) == nil)

    let victim = try #require(try sessions(pool, page: 100).first)
    #expect(pool.kill(victim.id))
    #expect(!pool.kill(victim.id))
    try until("its record") { records.all.count == 1 }
    #expect(records.all[0].end == .killed)
    #expect(try sessions(pool, page: 100).count == 19)
    let stats = pool.stats().compactMap { $0 }
    #expect(stats.count == 2)
    #expect(stats.map { Int($0.accepted) }.reduce(0, +) == 20)
    #expect(stats.map { Int($0.connections) }.reduce(0, +) == 19)
    for socket in clients + upstreams { socket.close() }
  }

  private func sessions(_ pool: WorkerPool, page: Int) throws -> [Session] {
    try (0..<2).flatMap { worker -> [Session] in
      var all: [Session] = []
      var cursor: UInt32? = 0
      while let from = cursor {
        guard let found = pool.sessions(worker: worker, from: from, limit: page) else {
          throw TestFailure("worker \(worker) did not answer")
        }
        all += found.sessions
        cursor = found.next
      }
      return all
    }
  }

  @Test(arguments: Source.available)
  func drainThenEndAll(_ source: Source) throws {
    let backend = try ListeningSocket()
    let records = Records()
    let port = ReservedPort.take()
    let table = table("t", [backend.endpoint])
    let pool = try pool(source, table, port: port, sink: records)
    defer { pool.stopAndJoin() }
    let clients = try (0..<600).map { _ in try StreamSocket.connect(to: .loopback(port)) }
    let upstreams = try (0..<600).map { _ in try backend.accept() }
    #expect(pool.drain())
    // Refused from now on, though nothing else happens that would wake a worker.
    try until("connects to be refused") {
      do {
        try StreamSocket.connect(to: .loopback(port)).close()
        return false
      } catch is StreamSocket.ConnectFailure { return true }
    }
    try clients[0].write("lives")
    try until("the live one's bytes") {
      try sessions(pool, page: 100).contains { $0.bytesUp == 5 }
    }
    #expect(pool.endAll(.drainDeadline))
    try until("none") { pool.liveConnections == 0 }
    // Connects that came before the sockets were closed may be among them.
    let addresses = Set(clients.map { SocketAddress("\($0.local)") })
    let ended = records.all.filter { $0.end == .drainDeadline && addresses.contains($0.client) }
    #expect(ended.count == 600)
    #expect(table.inFlight(server: 0) == 0)
    for socket in clients + upstreams { socket.close() }
  }

  /// An address in use is an error with its name, and nothing is left running.
  @Test func anAddressInUse() throws {
    let taken = try ListeningSocket()
    #expect(throws: WorkerPool.Failure.self) {
      try pool(.epoll, table("t", [taken.endpoint]), port: taken.port)
    }
  }
}

/// What the workers' sinks were given.
private final class Records: Sendable {
  private let records = Guarded<[DataPlane.ConnectionRecord]>([])
  var all: [DataPlane.ConnectionRecord] { records.withLock { $0 } }
  func append(_ record: DataPlane.ConnectionRecord) { records.withLock { $0.append(record) } }
}

private final class RecordSinkOf: RecordSink {
  private let records: Records
  init(_ records: Records) { self.records = records }
  func add(_ record: DataPlane.ConnectionRecord) { records.append(record) }
  func flush() {}
}

/// Keeps the worker that brings it the first record, until it is free.
private final class StickySink: RecordSink {
  private let worker: Int
  private let stuck: Guarded<Int?>
  private let isFree: Guarded<Bool>

  init(worker: Int, _ stuck: Guarded<Int?>, _ isFree: Guarded<Bool>) {
    self.worker = worker
    self.stuck = stuck
    self.isFree = isFree
  }

  func add(_ record: DataPlane.ConnectionRecord) {
    stuck.withLock { $0 = $0 ?? worker }
    while !isFree.withLock({ $0 }) { pause(ms: 1) }
  }

  func flush() {}
}
