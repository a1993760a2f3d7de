import CSluice
import Glibc
import Synchronization
import TestSupport
import Testing

/// An upstream that is spoken with before it gets anything of the client's, and may be given up for
/// another one as long as it has not.
@Suite struct DialogueTests {
  private static let hello = "hello"

  /// Holds the client's first bytes; then dials, and holds what either side says.
  private static func converse(_ to: Endpoint, prefix: String = "", holdMs: UInt32 = 5000) -> Answer
  {
    var route = Route(to: to, prefix: Array(prefix.utf8))
    route.redialsReset = true
    route.holdMs = holdMs
    return Answer(up: .hold(0), down: .hold(100), route: route)
  }

  /// What the first upstream does with the conversation before it is given up.
  enum Failing: CaseIterable, Sendable { case speaks, ends, resets, silent }

  @Test(arguments: Source.available, Failing.allCases)
  func anotherUpstreamGetsAll(_ source: Source, _ failing: Failing) throws {
    let (first, second) = (try ListeningSocket(), try ListeningSocket())
    let (one, two) = (first.endpoint, second.endpoint)
    let worker = try ScriptedWorker(source) { hands, seen in
      switch (seen.kind, seen.side) {
      case (.closed, _), (.slow, _), (.raced, _): break
      case (.redial, _): hands.answer(seen.id, Self.converse(two, prefix: "second "))
      case (_, .client) where seen.bytes.isEmpty: hands.answer(seen.id, .hold())
      case (_, .client) where seen.final == .no:
        hands.answer(seen.id, Self.converse(one, prefix: "first ", holdMs: 300))
      // The time is over for both sides, and the client is asked about first.
      case (_, .client): break
      case (_, .upstream) where seen.text == "good":
        hands.answer(
          seen.id, Answer(up: .relay(), down: .relay(), side: .upstream, consumed: 4))
      case (_, .upstream) where seen.text == "bad" || seen.final != .no:
        #expect(hands.redial(seen.id, EPROTO) == .done)
        // Its questions are over.
        #expect(hands.answer(seen.id, Answer()) == .stale)
      case (_, .upstream):
        hands.answer(seen.id, Answer(side: .upstream, sendUpstream: Array("asked ".utf8)))
      }
    }
    let client = try StreamSocket.connect(to: worker.listen())
    try client.write(Self.hello)
    let bad = try first.accept()
    #expect(try bad.readExactly(6) == Array("first ".utf8))
    switch failing {
    case .speaks: try bad.write("bad")
    case .silent: break
    case .ends, .resets:
      try bad.write("maybe")
      #expect(try bad.readExactly(6) == Array("asked ".utf8))
      if failing == .ends { bad.finish() } else { bad.reset() }
    }
    let redial = try worker.event("the redial") { $0.kind == .redial }
    #expect(redial.error == (failing == .resets ? ECONNRESET : EPROTO))
    let good = try second.accept()
    #expect(try good.readExactly(7) == Array("second ".utf8))
    try good.write("good")
    #expect(try good.readExactly(5) == Array(Self.hello.utf8))
    try good.write("answer")
    #expect(try client.readExactly(6) == Array("answer".utf8))
    client.close()
    #expect(try good.readToEnd().bytes == [])
    good.close()
    let closed = try worker.closed()
    #expect(closed.ends == [.client_fin, .upstream_fin])
    #expect(closed.summary?.tries == 2)
    #expect(closed.summary?.bytes_up == 5 && closed.summary?.bytes_down == 6)
    #expect(try worker.stats.buffers == 0)
  }

  /// The deadline is counted from when the upstream is reached, and not from the route.
  @Test(arguments: Source.available)
  func theTimeBeginsWhenItIsReached(_ source: Source) throws {
    let hole = try BlackHole()
    let to = hole.endpoint
    let worker = try ScriptedWorker(source) { hands, seen in
      switch seen.kind {
      case .closed, .slow, .raced: break
      case .redial: hands.reject(seen.id)
      case .ask where seen.side == .upstream: hands.redial(seen.id, EPROTO)
      case .ask where seen.final == .timed_out: break
      case .ask where seen.bytes.isEmpty: hands.answer(seen.id, .hold(ms: 400))
      case .ask: hands.answer(seen.id, Self.converse(to, holdMs: 300))
      }
    }
    let client = try StreamSocket.connect(to: worker.listen())
    try client.write(Self.hello)
    pause(ms: 600)
    #expect(worker.seen.allSatisfy { $0.final == .no })
    let server = hole.open()
    _ = try server.accept()
    try worker.event("the time-out") { $0.side == .upstream && $0.final == .timed_out }
    let redial = try worker.event("the redial") { $0.kind == .redial }
    #expect(redial.error == EPROTO)
    #expect(try worker.closed().ends == [.rejected])
  }

  /// Bytes of the client's, once they were let go, are not sent to another one.
  @Test(arguments: Source.available)
  func anUpstreamWithBytesOfTheClientsIsKept(_ source: Source) throws {
    let backend = try ListeningSocket()
    let to = backend.endpoint
    let worker = try ScriptedWorker(source) { hands, seen in
      switch (seen.kind, seen.side) {
      case (.ask, .client) where seen.bytes.isEmpty: hands.answer(seen.id, .hold())
      case (.ask, .client): hands.answer(seen.id, Self.converse(to))
      case (.ask, .upstream) where seen.text == "go":
        hands.answer(seen.id, Answer(up: .relay(), down: .hold(100), side: .upstream))
      case (.ask, .upstream):
        #expect(hands.redial(seen.id, EPROTO) == .stale)
        hands.reject(seen.id, Array("no".utf8))
      default: break
      }
    }
    let client = try StreamSocket.connect(to: worker.listen())
    try client.write(Self.hello)
    let upstream = try backend.accept()
    try upstream.write("go")
    #expect(try upstream.readExactly(5) == Array(Self.hello.utf8))
    try upstream.write("more")
    #expect(try client.readToEnd().bytes == Array("no".utf8))
    client.close()
    #expect(try worker.closed().ends.first == .rejected)
  }
}
