import CSluice
import Glibc
import System
import TestSupport
import Testing

@testable import DataPlane

/// Sides that speak TLS with the worker: one, the other, both.
@Suite(.serialized) struct TLSRelayTests {
  private let fixture = TLSFixture.shared

  enum Sides: CaseIterable, Sendable {
    case client, upstream, both

    var hasClient: Bool { self != .upstream }
    var hasUpstream: Bool { self != .client }
  }

  /// A side as the test sees it.
  private enum End: Sendable {
    case plain(StreamSocket)
    case secure(SecureSocket)

    var socket: StreamSocket {
      switch self {
      case .plain(let socket): socket
      case .secure(let secure): secure.socket
      }
    }

    func write(_ bytes: [UInt8]) throws {
      switch self {
      case .plain(let socket): try socket.write(bytes)
      case .secure(let socket): try socket.write(bytes)
      }
    }

    func readExactly(_ count: Int) throws -> [UInt8] {
      switch self {
      case .plain(let socket): try socket.readExactly(count)
      case .secure(let socket): try socket.readExactly(count)
      }
    }

    func finish() throws {
      switch self {
      case .plain(let socket): socket.finish()
      case .secure(let socket): try socket.finish()
      }
    }

    /// Reads to the proper end of its kind.
    func readToEnd() throws -> [UInt8] {
      switch self {
      case .plain(let socket):
        let (bytes, ending) = try socket.readToEnd()
        #expect(ending == .fin)
        return bytes
      case .secure(let socket):
        let (bytes, ending) = try socket.readToEnd()
        #expect(ending == .ended)
        return bytes
      }
    }
  }

  /// A worker whose connections are TLS where `sides` says, with one connection through it.
  private struct Link {
    let worker: ScriptedWorker
    let client: End
    let upstream: End
  }

  /// How far each connection is.
  private enum Stage { case accepted, hello, shaking }

  private func script(_ sides: Sides, _ to: Endpoint) throws -> ScriptedWorker.Script {
    let server = try fixture.serverSetup(tickets: TicketKeys())
    var route = Route(to: to, prefix: Array("prefix ".utf8))
    if sides.hasUpstream { route.tls = try fixture.clientSetup() }
    let stages = Guarded<[UInt64: Stage]>([:])
    return { [route] hands, seen in
      guard seen.kind == .ask else {
        if seen.kind == .redial { hands.reject(seen.id) }
        return
      }
      let stage = stages.withLock { $0[seen.id.key] ?? .accepted }
      switch stage {
      case .accepted where !sides.hasClient: hands.answer(seen.id, .relay(route))
      case .accepted:
        hands.answer(seen.id, .hold(65536))
        stages.withLock { $0[seen.id.key] = .hello }
      case .hello where seen.bytes.isEmpty:
        hands.reject(seen.id)
        stages.withLock { $0[seen.id.key] = nil }
      case .hello:
        var answer = Answer.hold(65536)
        answer.tls = server
        hands.answer(seen.id, answer)
        stages.withLock { $0[seen.id.key] = .shaking }
      case .shaking:
        if seen.final == .no {
          #expect(seen.bytes.isEmpty)
          #expect(hands.facts(seen.id, .client)?.version == "TLSv1.3")
          hands.answer(seen.id, .relay(route))
        } else {
          hands.reject(seen.id)
        }
        stages.withLock { $0[seen.id.key] = nil }
      }
    }
  }

  private func link(_ source: Source, _ sides: Sides) throws -> Link {
    let backend = try ListeningSocket()
    let worker = try ScriptedWorker(source, script: script(sides, backend.endpoint))
    let address = try worker.listen()
    let serverSetup = try fixture.serverSetup(tickets: TicketKeys())
    let accepted = Job("backend") {
      let socket = try backend.accept()
      // In plaintext, before the handshake.
      #expect(try socket.readExactly(7) == Array("prefix ".utf8))
      return sides.hasUpstream
        ? End.secure(try SecureSocket(socket, server: serverSetup)) : .plain(socket)
    }
    let socket = try StreamSocket.connect(to: address)
    let client: End =
      sides.hasClient
      ? .secure(try SecureSocket(socket, fixture.clientSetup())) : .plain(socket)
    return Link(worker: worker, client: client, upstream: try accepted.value())
  }

  static func pattern(_ count: Int, seed: UInt64) -> [UInt8] {
    var state = seed
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(truncatingIfNeeded: state >> 56)
    }
  }

  /// Both directions at once, in bulk, then one half closes before the other.
  @Test(arguments: Source.available, Sides.allCases)
  func everyByteArrivesInBothDirections(_ source: Source, _ sides: Sides) throws {
    let link = try link(source, sides)
    let (up, down) = (Self.pattern(3_000_000, seed: 1), Self.pattern(3_000_000, seed: 2))
    let (client, upstream) = (link.client, link.upstream)
    // Small ones first.
    for count in [1, 2, 100, 1448, 16384, 16385] {
      try client.write(Array(up.prefix(count)))
      #expect(try upstream.readExactly(count) == Array(up.prefix(count)))
      try upstream.write(Array(down.prefix(count)))
      #expect(try client.readExactly(count) == Array(down.prefix(count)))
    }
    let small = [1, 2, 100, 1448, 16384, 16385].reduce(0, +)
    let sending = Job("up") {
      try client.write(up)
      try client.finish()
    }
    let answering = Job("down") {
      try upstream.write(down)
      // The other half has ended by then, or will, whichever comes first.
      try upstream.finish()
    }
    let reading = Job("reading") { try upstream.readToEnd() }
    #expect(try client.readToEnd() == down)
    #expect(try reading.value() == up)
    try sending.value()
    try answering.value()
    let closed = try link.worker.closed()
    #expect(closed.summary?.bytes_up == UInt64(up.count + small))
    #expect(closed.summary?.bytes_down == UInt64(down.count + small))
    #expect(closed.summary?.spliced_up == 0 && closed.summary?.spliced_down == 0)
  }
}
