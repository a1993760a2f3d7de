import CSluice
import Glibc
import System
import TestSupport
import Testing

/// One client, and one upstream after the other: each is let go of between two exchanges.
@Suite struct ReleaseTests {
  /// A route whose upstream is asked about as soon as it is reached, and may break off by itself.
  private static func route(_ to: Endpoint, prefix: String = "") -> Answer {
    var route = Route(to: to, prefix: Array(prefix.utf8))
    route.asksOpen = true
    route.isOutlived = true
    return Answer(up: .hold(100), down: .hold(100), route: route)
  }

  /// Requests are single lines that begin with the server's digit; so are the responses.
  private static func exchange(
    _ hands: Hands, _ seen: Seen, _ servers: [Endpoint], _ current: Guarded<Int?>
  ) {
    switch (seen.kind, seen.side) {
    case (.ask, .client) where seen.text.hasSuffix("\n"):
      let wanted = Int(String(seen.text.prefix(1)))!
      if current.withLock({ $0 }) == wanted {
        hands.answer(
          seen.id,
          Answer(up: .hold(100), consumed: UInt32(seen.bytes.count), sendUpstream: seen.bytes))
      } else if current.withLock({ $0 }) == nil {
        current.withLock { $0 = wanted }
        var answer = Self.route(servers[wanted], prefix: seen.text)
        answer.consumed = UInt32(seen.bytes.count)
        hands.answer(seen.id, answer)
      } else {
        #expect(hands.release(seen.id) == .done)
        // Questions about it are over.
        #expect(hands.answer(seen.id, Answer()) == .stale)
      }
    case (.ask, .client) where seen.final == .no:
      hands.answer(seen.id, .hold(100, ms: 10_000))
    case (.ask, .client): hands.answer(seen.id, Answer(up: .relay(), down: .relay()))
    case (.ask, .upstream) where seen.text.hasSuffix("\n"):
      let count = UInt32(seen.bytes.count)
      hands.answer(
        seen.id,
        Answer(down: .hold(100), side: .upstream, consumed: count, sendClient: seen.bytes))
    case (.redial, _):
      current.withLock { $0 = nil }
      hands.answer(seen.id, Answer(up: .hold(100), holdMs: 10_000, park: true))
      _ = sluice_worker_fact(hands.worker, seen.id)
    case (.ask, _), (.closed, _), (.slow, _), (.raced, _): break
    }
  }

  @Test(arguments: Source.available)
  func requestsGoToOneServerAfterTheOther(_ source: Source) throws {
    let listeners = [try ListeningSocket(), try ListeningSocket()]
    let servers = listeners.map(\.endpoint)
    let current = Guarded<Int?>(nil)
    let worker = try ScriptedWorker(source) { hands, seen in
      Self.exchange(hands, seen, servers, current)
    }
    let client = try StreamSocket.connect(to: worker.listen())
    try client.write("0 first\n")
    let first = try listeners[0].accept()
    #expect(try first.readExactly(8) == Array("0 first\n".utf8))
    try first.write("0 answer\n")
    #expect(try client.readExactly(9) == Array("0 answer\n".utf8))
    try client.write("1 second\n")
    #expect(try first.readToEnd().ending == .fin)
    let second = try listeners[1].accept()
    #expect(try second.readExactly(9) == Array("1 second\n".utf8))
    try second.write("1 answer\n")
    #expect(try client.readExactly(9) == Array("1 answer\n".utf8))
    // What it goes on to say is dropped with it.
    try second.write("more")
    try worker.event("more") { $0.text == "more" }
    try client.write("0 third\n")
    let third = try listeners[0].accept()
    #expect(try third.readExactly(8) == Array("0 third\n".utf8))
    try third.write("0 answer\n")
    #expect(try client.readExactly(9) == Array("0 answer\n".utf8))
    client.close()
    #expect(try third.readToEnd().ending == .fin)
    third.close()
    let closed = try worker.closed()
    #expect(closed.ends == [.client_fin, .upstream_fin])
    #expect(closed.summary?.tries == 3)
    #expect(try worker.stats.buffers == 0)
  }

  /// It is asked about before it has said anything.
  @Test(arguments: Source.available)
  func beingReachedIsAskedAbout(_ source: Source) throws {
    let listening = try ListeningSocket()
    let to = listening.endpoint
    let worker = try ScriptedWorker(source) { hands, seen in
      switch (seen.kind, seen.side) {
      case (.ask, .client) where seen.bytes.isEmpty: hands.answer(seen.id, Self.route(to))
      case (.ask, .upstream) where seen.bytes.isEmpty:
        hands.answer(
          seen.id,
          Answer(up: .relay(), side: .upstream, sendClient: Array("reached\n".utf8)))
      case (.ask, .upstream):
        hands.answer(seen.id, Answer(down: .relay(), side: .upstream))
      default: break
      }
    }
    let client = try StreamSocket.connect(to: worker.listen())
    #expect(try client.readExactly(8) == Array("reached\n".utf8))
    let server = try listening.accept()
    try client.write("hello")
    #expect(try server.readExactly(5) == Array("hello".utf8))
    try server.write("answer")
    #expect(try client.readExactly(6) == Array("answer".utf8))
  }

  /// A reset between two exchanges is not passed on: the client learns of nothing.
  @Test(arguments: Source.available)
  func anUpstreamThatBreaksOffEndsAlone(_ source: Source) throws {
    let listening = try ListeningSocket()
    let current = Guarded<Int?>(nil)
    let servers = [listening.endpoint]
    let worker = try ScriptedWorker(source) { hands, seen in
      Self.exchange(hands, seen, servers, current)
    }
    let client = try StreamSocket.connect(to: worker.listen())
    for number in 0..<3 {
      try client.write("0 request\n")
      let server = try listening.accept()
      #expect(try server.readExactly(10) == Array("0 request\n".utf8))
      try server.write("0 response\n")
      #expect(try client.readExactly(11) == Array("0 response\n".utf8))
      server.reset()
      try until("the redial") {
        worker.seen.count(where: { $0.kind == .redial && $0.error == ECONNRESET }) > number
      }
    }
    client.close()
    try worker.closed()
  }

  @Test(arguments: Source.available)
  func whatIsRelayedIsNotLetGoOf(_ source: Source) throws {
    let listening = try ListeningSocket()
    let to = listening.endpoint
    let worker = try ScriptedWorker(source) { hands, seen in
      guard seen.kind == .ask else { return }
      hands.answer(seen.id, .relay(Route(to: to)))
    }
    let client = try StreamSocket.connect(to: worker.listen())
    let server = try listening.accept()
    try server.write("x")
    #expect(try client.readExactly(1) == Array("x".utf8))
    let id = try worker.event("the ask") { $0.kind == .ask }.id
    #expect(try worker.perform { hands in hands.release(id) } == .stale)
  }
}
