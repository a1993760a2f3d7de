import Glibc
import Routing
import System
import TestSupport
import Testing
import Wire

@testable import DataPlane

/// Listeners that end TLS, with their certificates chosen by name, and backends that are spoken to
/// in TLS, in the loop of real workers.
@Suite(.serialized) struct TLSListenerTests {
  private let fixture = TLSFixture.shared

  private func pool(
    _ source: Source, _ port: UInt16, _ servers: [Endpoint], tls: TLSPlan?,
    upstream: BackendTLS? = nil, hello: HelloPolicy? = nil, startTLS: StartTLSPlan? = nil,
    spoken: SpokenProtocol? = nil, sources: SourceLimits = SourceLimits(),
    records: Guarded<[DataPlane.ConnectionRecord]>
  ) throws -> WorkerPool {
    let table = RouteTable(
      listeners: [
        ListenerEntry(
          name: "listener", backend: 0, connectMs: 3000, idleMs: 0, halfClosedMs: 0, maxAgeMs: 0,
          hello: hello, prefaceMs: 2000, spoken: spoken, startTLS: startTLS, tls: tls)
      ],
      backends: [
        BackendEntry(
          name: "backend", servers: 0..<servers.count, retries: servers.count - 1, header: .v1,
          splice: .inline, source: nil, congestion: "", tls: upstream)
      ],
      servers: servers.enumerated().map { index, endpoint in
        ServerEntry(name: "server-\(index)", address: SocketAddress("\(endpoint)")!)
      }, sources: sources)
    let settings = PoolSettings(
      events: source == .ring ? .ring : .epoll, workers: 1, maxConnections: 1000,
      descriptors: 4000)
    let address = ListenAddress(tag: 0, address: .ipv4(0x7f00_0001, port: port), backlog: 512)
    return try WorkerPool(
      settings, table: table, listening: [address], sink: { _ in Sink(records) })
  }

  private final class Sink: RecordSink {
    private let records: Guarded<[DataPlane.ConnectionRecord]>
    init(_ records: Guarded<[DataPlane.ConnectionRecord]>) { self.records = records }
    var needs: RecordNeeds { .records }
    func add(_ record: DataPlane.ConnectionRecord) { records.withLock { $0.append(record) } }
    func flush() {}
  }

  /// A line that ends with a line feed, byte by byte.
  private func line(_ socket: StreamSocket) throws -> String {
    var bytes: [UInt8] = []
    while bytes.last != 10 { bytes += try socket.readExactly(1) }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Each name gets its certificate, whoever names none the default's, and the server gets the
  /// header and plaintext.
  @Test(arguments: Source.available)
  func certificatesAreChosenByName(_ source: Source) throws {
    let backend = try ListeningSocket()
    let records = Guarded<[DataPlane.ConnectionRecord]>([])
    let port = ReservedPort.take()
    let fallback = try fixture.serverSetup { $0.identities = [TLSFixture.identity(fixture.rsa)] }
    let named = try fixture.serverSetup(tickets: TicketKeys())
    let plan = TLSPlan(
      fallback: fallback,
      named: [
        (patterns: [NamePattern("*.b.example")!, NamePattern("127.example")!], setup: named)
      ])
    let pool = try pool(source, port, [backend.endpoint], tls: plan, records: records)
    defer { pool.stopAndJoin() }
    let setup = try fixture.clientSetup { $0.verifies = false }
    for (name, key) in [
      ("x.b.example", "EC256"), ("a.example", "RSA2048"), ("127.0.0.1", "RSA2048"),
    ] {
      let client = try SecureSocket(
        StreamSocket.connect(to: .loopback(port)), setup, name: name)
      #expect(client.facts.keyAlgorithm == key)
      try client.write("hello")
      let upstream = try backend.accept()
      #expect(try line(upstream).hasPrefix("PROXY TCP4 127.0.0.1 127.0.0.1 "))
      #expect(try upstream.readExactly(5) == Array("hello".utf8))
      try upstream.write("answer")
      upstream.finish()
      #expect(try client.readToEnd().bytes == Array("answer".utf8))
      try client.finish()
    }
    try until("all records") { records.withLock { $0.count } == 3 }
    let all = records.withLock { $0 }
    #expect(all.allSatisfy { $0.end == .upstreamFIN && $0.bytesUp == 5 && $0.bytesDown == 6 })
    #expect(all.map { String(decoding: $0.hello?.serverName ?? [], as: UTF8.self) }
      == ["x.b.example", "a.example", ""])
  }

  /// What is no TLS is told so by OpenSSL, and logged as what our parser found; what is too slow is
  /// ended; what may not come in is turned away before TLS begins.
  @Test(arguments: Source.available)
  func clientsThatAreNotServed(_ source: Source) throws {
    let backend = try ListeningSocket()
    let records = Guarded<[DataPlane.ConnectionRecord]>([])
    let port = ReservedPort.take()
    let plan = TLSPlan(fallback: try fixture.serverSetup { $0.alpn = ["imap"] })
    let pool = try pool(
      source, port, [backend.endpoint], tls: plan,
      hello: HelloPolicy(withoutName: .reject), records: records)
    defer { pool.stopAndJoin() }
    let plaintext = try StreamSocket.connect(to: .loopback(port))
    try plaintext.write("a1 NOOP\r\n")
    #expect(try plaintext.readToEnd().ending == .fin)
    let others = try fixture.clientSetup { $0.alpn = ["h2"] }
    #expect(throws: TestFailure.self) {
      try SecureSocket(StreamSocket.connect(to: .loopback(port)), others)
    }
    let unnamed = try fixture.clientSetup { $0.verifies = false }
    #expect(throws: TestFailure.self) {
      try SecureSocket(StreamSocket.connect(to: .loopback(port)), unnamed, name: "")
    }
    let slow = try StreamSocket.connect(to: .loopback(port))
    var stream = try TLSStream(client: unnamed, name: "a.example")
    try slow.write(stream.takeOutput())
    while case .bytes = try slow.receive(atMost: 65536) {}
    try until("all records") { records.withLock { $0.count } == 4 }
    #expect(
      Set(records.withLock { $0 }.map(\.reason))
        == ["tls.not-tls", "tls.handshake", "tls.no-sni", "tls.handshake-timeout"])
  }

  /// Who comes too fast is turned away before its handshake, and with what it has is counted once.
  @Test(arguments: Source.available)
  func handshakesArePacedBySource(_ source: Source) throws {
    let backend = try ListeningSocket()
    let records = Guarded<[DataPlane.ConnectionRecord]>([])
    let port = ReservedPort.take()
    let sources = SourceLimits(SourceLimit(atOnce: 100, perSecond: 3))
    let pool = try pool(
      source, port, [backend.endpoint], tls: TLSPlan(fallback: fixture.serverSetup()),
      sources: sources, records: records)
    defer { pool.stopAndJoin() }
    let setup = try fixture.clientSetup()
    var served = 0
    for _ in 0..<12 {
      let socket = try StreamSocket.connect(to: .loopback(port))
      guard let client = try? SecureSocket(socket, setup) else { continue }
      served += 1
      try client.finish()
      try backend.accept().close()
      _ = try client.readToEnd()
    }
    try until("all records") { records.withLock { $0.count } == 12 }
    let refused = records.withLock { $0 }.filter { $0.reason == "limit.source-rate" }
    #expect(refused.count == 12 - served && refused.allSatisfy { $0.tls == nil })
    // A burst, and as many more as the time allows.
    #expect(served >= 3)
    #expect(!refused.isEmpty)
  }

  /// A server whose certificate is not the right one is a failed dial, and the next one is tried.
  @Test(arguments: Source.available)
  func serversAreVerified(_ source: Source) throws {
    let servers = [try ListeningSocket(), try ListeningSocket()]
    let records = Guarded<[DataPlane.ConnectionRecord]>([])
    let port = ReservedPort.take()
    let upstream = BackendTLS(
      setup: try fixture.clientSetup(), names: ["a.example", "other.example"])
    let pool = try pool(
      source, port, servers.map(\.endpoint), tls: nil, upstream: upstream, records: records)
    defer { pool.stopAndJoin() }
    let setup = try fixture.serverSetup(tickets: TicketKeys())
    let good = Job("good") {
      var resumed: [Bool] = []
      for _ in 0..<3 {
        let socket = try servers[0].accept()
        while try socket.readExactly(1) != [10] {}
        let secure = try SecureSocket(socket, server: setup)
        #expect(try secure.readExactly(2) == Array("hi".utf8))
        resumed.append(secure.facts.isResumed)
        try secure.write("yes")
        try secure.finish()
      }
      return resumed
    }
    let wrong = Job("wrong") {
      for _ in 0..<1 {
        let socket = try servers[1].accept()
        while try socket.readExactly(1) != [10] {}
        #expect(throws: TestFailure.self) { try SecureSocket(socket, server: setup) }
      }
    }
    for _ in 0..<3 {
      let client = try StreamSocket.connect(to: .loopback(port))
      try client.write("hi")
      #expect(try client.readExactly(3) == Array("yes".utf8))
      client.finish()
      _ = try client.readToEnd()
    }
    try wrong.value()
    // Sessions are kept by server.
    #expect(try good.value().last == true)
  }

  /// A mail server in plaintext behind a listener that speaks STARTTLS and ends TLS.
  @Test(arguments: Source.available)
  func startTLSEndsHere(_ source: Source) throws {
    let backend = try ListeningSocket()
    let records = Guarded<[DataPlane.ConnectionRecord]>([])
    let port = ReservedPort.take()
    let words = StartTLSWords(.smtp, name: HostName("mx.example")!, plaintext: .refused)!
    let pool = try pool(
      source, port, [backend.endpoint], tls: TLSPlan(fallback: fixture.serverSetup()),
      hello: HelloPolicy(), startTLS: StartTLSPlan(words: words, serverMs: 3000), spoken: .smtp,
      records: records)
    defer { pool.stopAndJoin() }
    let server = Job("server") {
      let socket = try backend.accept()
      #expect(try line(socket).hasPrefix("PROXY "))
      try socket.write("220 inside.example ESMTP\r\n")
      #expect(try line(socket) == "EHLO client.example\r\n")
      try socket.write("250-inside.example\r\n250 SIZE\r\n")
      #expect(try line(socket) == "EHLO again.example\r\n")
      try socket.write("250 really\r\n")
      #expect(try socket.readToEnd().bytes.isEmpty)
    }
    let socket = try StreamSocket.connect(to: .loopback(port))
    #expect(try line(socket).hasPrefix("220 mx.example"))
    try socket.write("EHLO client.example\r\n")
    while try !line(socket).hasPrefix("250 ") {}
    try socket.write("STARTTLS\r\n")
    #expect(try line(socket).hasPrefix("220 "))
    let client = try SecureSocket(socket, fixture.clientSetup())
    try client.write("EHLO again.example\r\n")
    #expect(try client.readExactly(12) == Array("250 really\r\n".utf8))
    try client.finish()
    #expect(try client.readToEnd().ending == .ended)
    try server.value()
  }
}
