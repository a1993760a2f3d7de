import TestSupport
import Testing

/// Two byte streams of known content crossing each other through the proxy, each end at its own
/// pace. Every byte is checked at both ends.
struct Conversation: Sendable {
  enum Closer: Sendable { case client, server }

  var seed: UInt64
  var bytesUp: Int
  var bytesDown: Int
  var clientWrites = Pace.fast
  var clientReads = Pace.fast
  var serverWrites = Pace.fast
  var serverReads = Pace.fast

  /// Sizes on both sides of every threshold: nothing, less than a segment, just about a full read
  /// of 16 KiB, more than a scratch buffer, and enough for any lane to be promoted.
  static func mixture(seed: UInt64) -> [Conversation] {
    var generator = SeededGenerator(seed: seed)
    let sizes = [
      0, 1, Int.random(in: 2...1000, using: &generator), 16_384,
      Int.random(in: 15_000...90_000, using: &generator),
      Int.random(in: 300_000...1_500_000, using: &generator),
      Int.random(in: 3_000_000...6_000_000, using: &generator),
    ]
    let replies = sizes.shuffled(using: &generator)
    return zip(sizes, replies).enumerated().map { index, pair in
      let paces: [Pace] = [
        .fast, .uneven(seed: generator.next()), .uneven(seed: generator.next()),
        .slow(bytes: max(1, max(pair.0, pair.1) / 40), restMs: 3),
      ].shuffled(using: &generator)
      return Conversation(
        seed: seed &* 1000 &+ UInt64(index), bytesUp: pair.0, bytesDown: pair.1,
        clientWrites: paces[0], clientReads: paces[1], serverWrites: paces[2],
        serverReads: paces[3])
    }
  }

  /// Starts both ends. The closer sends FIN after its last byte; the other end keeps back half of
  /// what it has to say until it has seen that FIN, and closes after its own last byte.
  func start(client: StreamSocket, upstream: StreamSocket, closer: Closer) -> [Job<Void>] {
    let up = Pattern(seed: seed)
    let down = Pattern(seed: ~seed)
    let (first, second) = closer == .client ? (client, upstream) : (upstream, client)
    let (sent, answered) = closer == .client ? (up, down) : (down, up)
    let (sentBytes, answerBytes) = closer == .client ? (bytesUp, bytesDown) : (bytesDown, bytesUp)
    let early = answerBytes / 2
    let (writePace, readPace) =
      closer == .client ? (clientWrites, clientReads) : (serverWrites, serverReads)
    let (answerPace, listenPace) =
      closer == .client ? (serverWrites, serverReads) : (clientWrites, clientReads)
    return [
      Job("\(self): first writer") {
        try first.send(sent, count: sentBytes, pace: writePace)
        first.finish()
      },
      Job("\(self): first reader") {
        let read = try first.expect(answered, pace: readPace)
        guard read.count == answerBytes, read.ending == .fin else {
          throw TestFailure("\(self): answer of \(read) instead of \(answerBytes) and a FIN")
        }
      },
      Job("\(self): second") {
        let earlyWriter = Job("\(self): early half of the answer") {
          try second.send(answered, count: early, pace: answerPace)
        }
        let read = try second.expect(sent, pace: listenPace)
        guard read.count == sentBytes, read.ending == .fin else {
          throw TestFailure("\(self): \(read) arrived instead of \(sentBytes) and a FIN")
        }
        try earlyWriter.value()
        try second.send(answered, from: early, count: answerBytes - early, pace: answerPace)
        second.finish()
      },
    ]
  }

  /// Runs all of `conversations` at once through one daemon and compares the log with them.
  static func run(_ conversations: [Conversation], closer: Closer, engine: Engine) throws {
    let server = try ListeningSocket()
    var setup = Setup(engine, servers: [server.endpoint])
    setup.listener = "type: server-first"
    try withSluice(setup) { sluice in
      var jobs: [Job<Void>] = []
      var pairs: [(client: StreamSocket, upstream: StreamSocket)] = []
      for conversation in conversations {
        let client = try sluice.connect()
        pairs.append((client, try server.accept()))
        jobs += conversation.start(
          client: client, upstream: pairs[pairs.count - 1].upstream, closer: closer)
      }
      for job in jobs { try job.value() }
      let records = try sluice.records(conversations.count)
      for (conversation, pair) in zip(conversations, pairs) {
        let record = try #require(
          records.first { $0.client == pair.client.local.description })
        #expect(record.bytesUp == conversation.bytesUp, "\(conversation)")
        #expect(record.bytesDown == conversation.bytesDown, "\(conversation)")
        #expect(record.end == (closer == .client ? "client.fin" : "upstream.fin"))
        #expect(record.splicedUp <= record.bytesUp && record.splicedDown <= record.bytesDown)
        #expect(record.reason == nil)
      }
      let spliced = records.reduce(0) { $0 + $1.splicedUp + $1.splicedDown }
      // Megabytes go by the splice lane unless it is off; the first reads and short ones never do.
      #expect((spliced > 0) == (engine.splice != "off"), "\(spliced) bytes spliced")
      let total = records.reduce(0) { $0 + $1.bytesUp + $1.bytesDown }
      #expect(spliced < total)
    }
  }
}
