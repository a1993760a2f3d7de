import CSluice
import Glibc
import System
import TestSupport
import Testing

@testable import DataPlane

/// How sides that speak TLS come to their end: properly, cut off, refused, or never.
@Suite(.serialized) struct TLSEndTests {
  private let fixture = TLSFixture.shared

  /// Ends the client's TLS, and then does what `then` says.
  private func worker(
    _ source: Source, _ server: TLSServerSetup, holdMs: UInt32 = 10_000,
    _ then: @escaping @Sendable (Hands, Seen) -> Void
  ) throws -> ScriptedWorker {
    let stages = Guarded<[UInt64: Int]>([:])
    return try ScriptedWorker(source) { hands, seen in
      guard seen.kind == .ask, seen.side == .client else { return then(hands, seen) }
      let stage = stages.withLock { stages in
        stages[seen.id.key, default: 0] += 1
        return stages[seen.id.key] ?? 0
      }
      switch stage {
      case 1: hands.answer(seen.id, .hold(65536, ms: holdMs))
      case 2 where seen.final == .no:
        var answer = Answer.hold(65536, ms: holdMs)
        answer.tls = server
        hands.answer(seen.id, answer)
      default:
        stages.withLock { $0[seen.id.key] = seen.final == .no && stage < 3 ? stage : nil }
        then(hands, seen)
      }
    }
  }

  private func relayed(_ to: Endpoint) -> @Sendable (Hands, Seen) -> Void {
    { hands, seen in
      switch (seen.kind, seen.final) {
      case (.ask, .no): hands.answer(seen.id, .relay(Route(to: to)))
      case (.ask, _), (.redial, _): hands.reject(seen.id)
      default: break
      }
    }
  }

  /// A FIN alone is passed on, and is an end of its own; what the server still says arrives.
  @Test(arguments: Source.available)
  func aFINWithoutItsEndIsTruncation(_ source: Source) throws {
    let backend = try ListeningSocket()
    let worker = try worker(
      source, fixture.serverSetup(tickets: TicketKeys()), relayed(backend.endpoint))
    let client = try SecureSocket(
      StreamSocket.connect(to: worker.listen()), fixture.clientSetup())
    try client.write("half")
    let upstream = try backend.accept()
    #expect(try upstream.readExactly(4) == Array("half".utf8))
    client.socket.finish()
    #expect(try upstream.readToEnd().bytes.isEmpty)
    try upstream.write("answer")
    #expect(try client.readExactly(6) == Array("answer".utf8))
    upstream.finish()
    #expect(try client.readToEnd().ending == .ended)
    #expect(try worker.closed().ends == [.client_truncated, .upstream_fin])
  }

  /// A server that is cut off: the client must not take what it got for all there is.
  @Test(arguments: Source.available)
  func aCutIsPassedOnAsOne(_ source: Source) throws {
    let backend = try ListeningSocket()
    var route = Route(to: backend.endpoint)
    route.tls = try fixture.clientSetup()
    let worker = try worker(source, fixture.serverSetup()) { [route] hands, seen in
      if seen.kind == .ask { hands.answer(seen.id, .relay(route)) }
    }
    let address = try worker.listen()
    let serverSetup = try fixture.serverSetup()
    let job = Job("backend") { try SecureSocket(backend.accept(), server: serverSetup) }
    let client = try SecureSocket(StreamSocket.connect(to: address), fixture.clientSetup())
    let upstream = try job.value()
    try upstream.write("part")
    upstream.socket.finish()
    let (bytes, ending) = try client.readToEnd()
    #expect(bytes == Array("part".utf8) && ending == .truncated)
    try client.finish()
    #expect(try upstream.readToEnd().ending == .ended)
    #expect(try worker.closed().ends == [.upstream_truncated, .client_fin])
  }

  @Test(arguments: Source.available)
  func aRejectedClientHearsWhyInTLS(_ source: Source) throws {
    let worker = try worker(source, fixture.serverSetup()) { hands, seen in
      if seen.kind == .ask { hands.reject(seen.id, Array("421 not now\r\n".utf8)) }
    }
    let client = try SecureSocket(
      StreamSocket.connect(to: worker.listen()), fixture.clientSetup())
    // What it says meanwhile must not destroy the reply.
    try? client.write([UInt8](repeating: 7, count: 20_000))
    let (bytes, ending) = try client.readToEnd()
    #expect(bytes == Array("421 not now\r\n".utf8) && ending == .ended)
    client.socket.close()
    #expect(try worker.closed().ends.first == .rejected)
  }

  /// Its alert arrives, and the facts say why.
  @Test(arguments: Source.available)
  func aFailedHandshakeIsTold(_ source: Source) throws {
    let failure = Guarded("")
    let worker = try worker(
      source, fixture.serverSetup { $0.alpn = ["imap"] }
    ) { hands, seen in
      guard seen.kind == .ask else { return }
      #expect(seen.final == .failed)
      failure.withLock { $0 = hands.facts(seen.id, .client)?.failure ?? "" }
      hands.reject(seen.id)
    }
    let socket = try StreamSocket.connect(to: worker.listen())
    let setup = try fixture.clientSetup { $0.alpn = ["h2"] }
    let error = #expect(throws: TestFailure.self) { try SecureSocket(socket, setup) }
    #expect("\(error as Any)".contains("tlsv1 alert no application protocol"))
    #expect(failure.withLock { $0 } == "no application protocol")
    // The alert is followed by a FIN, not a reset.
    #expect(try socket.readToEnd().ending == .fin)
    socket.close()
    try worker.closed()
  }

  /// The same for a server's handshake: a dial that fails, and another server that does not.
  @Test(arguments: Source.available)
  func aServersFailureIsADials(_ source: Source) throws {
    let (bad, good) = (try ListeningSocket(), try ListeningSocket())
    let failure = Guarded("")
    var route = Route(to: bad.endpoint, prefix: Array("one ".utf8))
    route.tls = try fixture.clientSetup()
    let worker = try ScriptedWorker(source) { [route] hands, seen in
      var route = route
      switch seen.kind {
      case .ask: hands.answer(seen.id, .relay(route))
      case .redial:
        #expect(seen.error == EBADMSG)
        failure.withLock { $0 = hands.facts(seen.id, .upstream)?.failure ?? "" }
        route.to = good.endpoint
        route.prefix = Array("two ".utf8)
        hands.answer(seen.id, .relay(route))
      case .closed, .slow, .raced: break
      }
    }
    let strangers = try fixture.serverSetup {
      $0.identities = [TLSFixture.identity(fixture.stranger)]
    }
    let own = try fixture.serverSetup()
    let refused = Job("stranger") {
      let socket = try bad.accept()
      #expect(try socket.readExactly(4) == Array("one ".utf8))
      #expect(throws: TestFailure.self) { try SecureSocket(socket, server: strangers) }
    }
    let accepted = Job("backend") {
      let socket = try good.accept()
      #expect(try socket.readExactly(4) == Array("two ".utf8))
      return try SecureSocket(socket, server: own)
    }
    let client = try StreamSocket.connect(to: worker.listen())
    try client.write("hello")
    let upstream = try accepted.value()
    try refused.value()
    #expect(
      failure.withLock { $0 } == "certificate verify failed: self-signed certificate")
    #expect(try upstream.readExactly(5) == Array("hello".utf8))
  }

  /// Whatever part of its handshake a client is gone after, it leaves nothing behind.
  @Test(arguments: Source.available)
  func clientsThatLeaveAtAnyByte(_ source: Source) throws {
    let worker = try worker(source, fixture.serverSetup(), holdMs: 2000) { hands, seen in
      if seen.kind == .ask { hands.reject(seen.id) }
    }
    let address = try worker.listen()
    let setup = try fixture.clientSetup()
    var stream = try TLSStream(client: setup, name: "a.example")
    let hello = stream.takeOutput()
    for count in 1...hello.count {
      let socket = try StreamSocket.connect(to: address)
      try socket.write(Array(hello.prefix(count)))
      if count % 3 == 0 { socket.reset() } else { socket.close() }
    }
    // The second flight, which is another one each time.
    for count in 0..<80 {
      let socket = try StreamSocket.connect(to: address)
      var stream = try TLSStream(client: setup, name: "a.example")
      try socket.write(stream.takeOutput())
      var step = TLSStream.Step.more
      while step == .more {
        guard case .bytes(let bytes) = try socket.receive(atMost: 65536) else { break }
        step = stream.receive(bytes.span).step
      }
      #expect(step == .open)
      let flight = stream.takeOutput()
      try? socket.write(Array(flight.prefix(count)))
      if count % 3 == 0 { socket.reset() } else { socket.close() }
    }
    try worker.closed(count: hello.count + 80)
    let stats = try worker.stats
    #expect(stats.connections == 0 && stats.buffers == 0)
    #expect(worker.shared.connections == 0)
  }

  /// Two thousand that begin and do not go on take nobody's turn; their time ends.
  @Test(arguments: Source.available)
  func stalledHandshakesKeepNobodyWaiting(_ source: Source) throws {
    let backend = try ListeningSocket()
    let count = 2000
    let options = WorkerOptions(slots: 20_000, buffers: 4096, pipes: 16)
    let server = try fixture.serverSetup(tickets: TicketKeys())
    let stages = Guarded<[UInt64: Int]>([:])
    let route = Route(to: backend.endpoint)
    let worker = try ScriptedWorker(source, options) { hands, seen in
      guard seen.kind == .ask else { return }
      let stage = stages.withLock { stages in
        stages[seen.id.key, default: 0] += 1
        return stages[seen.id.key] ?? 0
      }
      if seen.final != .no {
        hands.reject(seen.id)
      } else if stage == 1 {
        hands.answer(seen.id, .hold(65536, ms: 8000))
      } else if stage == 2 {
        var answer = Answer.hold(65536, ms: 0)
        answer.tls = server
        hands.answer(seen.id, answer)
      } else {
        hands.answer(seen.id, .relay(route))
      }
    }
    let address = try worker.listen()
    let setup = try fixture.clientSetup()
    var stalled: [StreamSocket] = []
    for _ in 0..<count {
      let socket = try StreamSocket.connect(to: address)
      var stream = try TLSStream(client: setup, name: "a.example")
      try socket.write(stream.takeOutput())
      stalled.append(socket)
    }
    for _ in 0..<5 {
      let client = try SecureSocket(StreamSocket.connect(to: address), setup)
      try client.write("served")
      let upstream = try backend.accept()
      #expect(try upstream.readExactly(6) == Array("served".utf8))
      upstream.close()
      #expect(try client.readToEnd().ending == .ended)
      try client.finish()
    }
    #expect(try worker.stats.connections >= UInt32(count))
    try until("their time to be over", 30_000) { try worker.stats.connections == 0 }
    #expect(try worker.stats.buffers == 0)
  }

  /// Records that are too long, or that nobody could have sealed, end the connection with an alert.
  @Test(arguments: Source.available)
  func recordsThatAreNone(_ source: Source) throws {
    let backend = try ListeningSocket()
    let worker = try worker(source, fixture.serverSetup(), relayed(backend.endpoint))
    let address = try worker.listen()
    // 2^14 + 256 bytes is the most: RFC 8446 section 5.2.
    let tooLong: [UInt8] = [0x17, 3, 3, 0x41, 0x01] + [UInt8](repeating: 1, count: 0x4101)
    let forged: [UInt8] = [0x17, 3, 3, 0, 40] + [UInt8](repeating: 1, count: 40)
    for (record, alert) in [(tooLong, "record overflow"), (forged, "bad record mac")] {
      let client = try SecureSocket(StreamSocket.connect(to: address), fixture.clientSetup())
      let upstream = try backend.accept()
      try? client.socket.write(record)
      guard case .failed(let why) = try client.readToEnd().ending else {
        Issue.record("no alert")
        continue
      }
      #expect(why.contains(alert))
      // The server is not told that this was all.
      #expect(try upstream.readToEnd().ending == .reset)
      client.socket.close()
    }
    try worker.closed(count: 2)
    #expect(worker.seen.filter { $0.kind == .closed }.allSatisfy { $0.ends == [.client_error] })
  }
}
