import Routing
import System
import TestSupport
import Testing
import Wire

@testable import DataPlane

/// What workers count by series number, over real connections.
@Suite struct WorkerCountsTests {
  private func table(
    _ servers: [Endpoint], retries: Int = 0, series: SeriesPlan? = nil,
    trust: TrustTable = TrustTable()
  ) -> RouteTable {
    RouteTable(
      listeners: [
        ListenerEntry(
          name: "l", backend: 0, connectMs: 3000, idleMs: 0, halfClosedMs: 0, maxAgeMs: 0,
          trust: trust)
      ],
      backends: [
        BackendEntry(
          name: "b", servers: 0..<servers.count, retries: retries, header: .none,
          splice: .inline, source: nil, congestion: "")
      ],
      servers: servers.enumerated().map { index, endpoint in
        ServerEntry(name: "s\(index)", address: SocketAddress("\(endpoint)")!)
      }, series: series)
  }

  private func pool(
    _ source: Source, _ table: RouteTable, port: UInt16, workers: Int = 1
  ) throws -> WorkerPool {
    try WorkerPool(
      PoolSettings(
        events: source == .ring ? .ring : .epoll, workers: workers, maxConnections: 1000,
        descriptors: 4000),
      table: table,
      listening: [
        ListenAddress(tag: 0, address: .ipv4(0x7f00_0001, port: port), backlog: 128)
      ], sink: nil)
  }

  private func counts(_ pool: WorkerPool) throws -> WorkerCounts {
    try #require(pool.counts()[0])
  }

  @Test(arguments: Source.available)
  func aConnectionIsCountedWhereItWas(_ source: Source) throws {
    let backend = try ListeningSocket()
    let port = ReservedPort.take()
    let pool = try pool(source, table([backend.endpoint]), port: port)
    defer { pool.stopAndJoin() }
    let client = try StreamSocket.connect(to: .loopback(port))
    let upstream = try backend.accept()
    try client.write("12345")
    #expect(try upstream.readExactly(5).count == 5)
    try upstream.write("123")
    #expect(try client.readExactly(3).count == 3)
    var now = try counts(pool)
    #expect(now.listeners[0, ListenerColumns.accepted] == 1)
    #expect(now.listeners[0, ListenerColumns.ended] == 0)
    #expect(now.backends[0, BackendColumns.arrived] == 1)
    #expect(now.servers[0, ServerColumns.arrived] == 1)
    #expect(now.servers[0, ServerColumns.left] == 0)
    #expect(now.servers[0, ServerColumns.dials] == 1)
    // Bytes count while it lives, and once.
    #expect(now.listeners[0, ListenerColumns.bytesUp] == 5)
    #expect(now.servers[0, ServerColumns.bytesDown] == 3)
    try client.write("67")
    #expect(try upstream.readExactly(2).count == 2)
    now = try counts(pool)
    #expect(now.backends[0, BackendColumns.bytesUp] == 7)
    #expect(now.stats.bytesUp == 7 && now.stats.bytesDown == 3)
    client.close()
    upstream.close()
    try until("the end") {
      now = try counts(pool)
      return now.listeners[0, ListenerColumns.ended] == 1
    }
    #expect(now.listeners[0, ListenerColumns.bytesUp] == 7)
    #expect(now.listeners[0, ListenerColumns.bytesDown] == 3)
    #expect(now.listeners[0, ListenerColumns.ends + ConnectionEnd.clientFIN.position] == 1)
    #expect(now.backends[0, BackendColumns.left] == 1)
    #expect(now.backends[0, BackendColumns.bytesUp] == 7)
    #expect(now.servers[0, ServerColumns.left] == 1)
    #expect(now.servers[0, ServerColumns.connects] == 1)
    #expect(now.servers[0, ServerColumns.bytesDown] == 3)
    #expect(sum(now.listeners, ListenerColumns.duration) == 1)
    #expect(sum(now.backends, BackendColumns.connect) == 1)
    #expect(sum(now.backends, BackendColumns.firstByte) == 1)
  }

  /// More live connections than are looked at in one turn, and some that end between two looks.
  @Test(arguments: Source.available)
  func bytesOfLiveConnectionsNeverCountTwice(_ source: Source) throws {
    let backend = try ListeningSocket()
    let port = ReservedPort.take()
    let pool = try pool(source, table([backend.endpoint]), port: port)
    defer { pool.stopAndJoin() }
    var clients: [StreamSocket] = []
    var upstreams: [StreamSocket] = []
    for _ in 0..<700 {
      clients.append(try StreamSocket.connect(to: .loopback(port)))
      upstreams.append(try backend.accept())
    }
    for round in 1...3 {
      for client in clients { try client.write("x") }
      for upstream in upstreams { #expect(try upstream.readExactly(1).count == 1) }
      let now = try counts(pool)
      #expect(now.listeners[0, ListenerColumns.bytesUp] == UInt64(700 + 350 * (round - 1)))
      #expect(now.stats.bytesUp == now.listeners[0, ListenerColumns.bytesUp])
      guard round == 1 else { continue }
      for socket in clients[350...] + upstreams[350...] { socket.close() }
      (clients, upstreams) = (Array(clients[..<350]), Array(upstreams[..<350]))
    }
    for socket in clients + upstreams { socket.close() }
    try until("the ends") { try counts(pool).listeners[0, ListenerColumns.ended] == 700 }
    #expect(try counts(pool).listeners[0, ListenerColumns.bytesUp] == 1400)
  }

  private func sum(_ rows: CounterRows, _ columns: HistogramColumns) -> UInt64 {
    (columns.start..<columns.sum).map { rows[0, $0] }.reduce(0, +)
  }

  @Test(arguments: Source.available)
  func aServerThatRefusesIsLeft(_ source: Source) throws {
    let backend = try ListeningSocket()
    let port = ReservedPort.take()
    let pool = try pool(
      source, table([.loopback(ReservedPort.take()), backend.endpoint], retries: 1), port: port)
    defer { pool.stopAndJoin() }
    // Round robin: the first begins at the refusing one, the second at the other.
    for _ in 0..<2 {
      let client = try StreamSocket.connect(to: .loopback(port))
      let upstream = try backend.accept()
      client.close()
      upstream.close()
    }
    var now = try counts(pool)
    try until("the ends") {
      now = try counts(pool)
      return now.listeners[0, ListenerColumns.ended] == 2
    }
    #expect(now.servers[0, ServerColumns.dials] == 1)
    #expect(now.servers[0, ServerColumns.dialFailures + DialError.refused.rawValue] == 1)
    #expect(now.servers[0, ServerColumns.arrived] == 1)
    #expect(now.servers[0, ServerColumns.left] == 1)
    #expect(now.servers[0, ServerColumns.connects] == 0)
    #expect(now.servers[1, ServerColumns.connects] == 2)
    #expect(now.backends[0, BackendColumns.dials] == 3)
    #expect(now.backends[0, BackendColumns.arrived] == 3)
    #expect(now.backends[0, BackendColumns.left] == 3)
    #expect(now.backends[0, BackendColumns.dialFailures + DialError.refused.rawValue] == 1)
  }

  @Test(arguments: Source.available)
  func whoIsTurnedAwayIsCountedByReason(_ source: Source) throws {
    let port = ReservedPort.take()
    let pool = try pool(source, table([.loopback(ReservedPort.take())], retries: 2), port: port)
    defer { pool.stopAndJoin() }
    let client = try StreamSocket.connect(to: .loopback(port))
    defer { client.close() }
    var now = try counts(pool)
    try until("the end") {
      now = try counts(pool)
      return now.listeners[0, ListenerColumns.ended] == 1
    }
    let refused = try #require(RejectReason.all.firstIndex(of: .dialRefused))
    #expect(now.listeners[0, ListenerColumns.reasons + refused] == 1)
    #expect(now.listeners[0, ListenerColumns.ends + ConnectionEnd.rejected.position] == 1)
    #expect(now.servers[0, ServerColumns.dials] == 3)
    #expect(now.servers[0, ServerColumns.dialFailures + DialError.refused.rawValue] == 3)
    #expect(now.servers[0, ServerColumns.arrived] == now.servers[0, ServerColumns.left])
    #expect(now.backends[0, BackendColumns.arrived] == now.backends[0, BackendColumns.left])
  }

  @Test(arguments: Source.available)
  func headersAreCountedByKindAndProbesAreNoErrors(_ source: Source) throws {
    let backend = try ListeningSocket()
    let port = ReservedPort.take()
    let all = try Network(parsing: "127.0.0.0/8")
    let pool = try pool(
      source, table([backend.endpoint], trust: TrustTable([(all, .require)])), port: port)
    defer { pool.stopAndJoin() }
    try StreamSocket.connect(to: .loopback(port)).close()
    let client = try StreamSocket.connect(to: .loopback(port))
    try client.write("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
    try backend.accept().close()
    client.close()
    var now = try counts(pool)
    try until("the ends") {
      now = try counts(pool)
      return now.listeners[0, ListenerColumns.ended] == 2
    }
    #expect(now.listeners[0, ListenerColumns.headers + HeaderKind.v1.rawValue] == 1)
    let probe = try #require(RejectReason.all.firstIndex(of: .parser(.proxyProbe)))
    #expect(now.listeners[0, ListenerColumns.reasons + probe] == 1)
  }

  /// A table that numbers things anew: who came before is counted where it was, a fresh number
  /// begins at zero, and the oldest table stays until its last connection is gone.
  @Test(arguments: Source.available)
  func numbersOutliveTables(_ source: Source) throws {
    let backend = try ListeningSocket()
    let port = ReservedPort.take()
    let first = SeriesPlan(serial: 1, listeners: [0], backends: [0], servers: [0])
    let pool = try pool(source, table([backend.endpoint], series: first), port: port)
    defer { pool.stopAndJoin() }
    let early = try StreamSocket.connect(to: .loopback(port))
    let earlyUpstream = try backend.accept()
    let second = SeriesPlan(
      serial: 2, listeners: [3], backends: [1], servers: [2],
      fresh: .init(listeners: [3], backends: [1], servers: [2]))
    #expect(pool.install(table([backend.endpoint], series: second)).isEmpty)
    var now = try counts(pool)
    #expect(now.serial == 2 && now.oldestSerial == 1)
    let late = try StreamSocket.connect(to: .loopback(port))
    let lateUpstream = try backend.accept()
    for socket in [early, earlyUpstream, late, lateUpstream] { socket.close() }
    try until("the ends") {
      now = try counts(pool)
      return now.listeners[0, ListenerColumns.ended] == 1
        && now.listeners[3, ListenerColumns.ended] == 1
    }
    #expect(now.oldestSerial == 2)
    #expect(now.servers[0, ServerColumns.left] == 1 && now.servers[2, ServerColumns.left] == 1)
    let third = SeriesPlan(
      serial: 3, listeners: [0], backends: [1], servers: [2], fresh: .init(listeners: [0]))
    #expect(pool.install(table([backend.endpoint], series: third)).isEmpty)
    now = try counts(pool)
    #expect(now.listeners[0, ListenerColumns.accepted] == 0)
    #expect(now.listeners[3, ListenerColumns.accepted] == 1)
    #expect(now.listeners[99, ListenerColumns.accepted] == 0)
  }

  @Test func positionsAreThoseOfTheLists() {
    #expect(ConnectionEnd.allCases.map(\.position) == Array(0..<ConnectionEnd.allCases.count))
    #expect(
      RejectReason.all.map { RejectReason.position(ofNumber: $0.number) }
        == Array(0..<RejectReason.count))
    #expect(RejectReason.position(ofNumber: 0) == nil)
    #expect(RejectReason.position(ofNumber: 999) == nil)
    #expect(RejectReason.position(ofNumber: .max) == nil)
    #expect(DialError.allCases.map(\.rawValue) == Array(0..<DialError.allCases.count))
  }

  @Test func valuesFallIntoTheBucketThatBoundsThem() {
    let columns = HistogramColumns(start: 1, boundsUs: [10, 100])
    var rows = CounterRows(width: columns.end)
    rows.prepare(for: [1], fresh: [])
    for us in [0, 10, 11, 100, 101, 1_000_000] as [UInt64] { columns.note(us, in: &rows, 1) }
    #expect((1...3).map { rows[1, $0] } == [2, 2, 2])
    #expect(rows[1, columns.sum] == 1_000_222)
    #expect(rows[0, columns.sum] == 0)
  }
}
