import TestSupport
import Testing

// With `queue` on the listener a client that meets a limit waits for a place: until it is its
// turn, until it has waited long enough, or until it leaves, which makes room for another at once.
// Sources take turns, so that a greedy one is in nobody's way.

private struct QueueStage {
  let server: ListeningSocket
  let page = ReservedPort.take()
  var setup: Setup

  init(_ engine: Engine, _ queue: String, type: String = "server-first") throws {
    server = try ListeningSocket()
    setup = Setup(engine, servers: [server.endpoint])
    setup.workers = 2
    setup.listener = "type: \(type), protocol: smtp, queue: { \(queue) }"
    setup.backend = "max-connections: 1"
    setup.extra = "metrics: { bind: \"127.0.0.1:\(page)\" }"
  }

  /// Waits until so many wait.
  func wait(for count: Int) throws {
    try TestSupport.wait(for: "\(count) that wait") {
      let got = try ChildProcess.run(
        "curl", ["-s", "--max-time", "5", "http://127.0.0.1:\(page)/metrics"]
      ).output
      return got.contains("sluice_listener_queue{listener=\"front\"} \(count)\n")
    }
  }
}

@Test("a queue, one after the other", arguments: Engine.eventSources)
func queueOneAfterTheOther(engine: Engine) throws {
  let stage = try QueueStage(engine, "length: 2, timeout: 60s")
  try withSluice(stage.setup) { sluice in
    var clients = [try sluice.connect(from: "127.0.0.2")]
    let first = try stage.server.accept()
    for count in 1...2 {
      clients.append(try sluice.connect(from: "127.0.0.\(2 + count)"))
      try stage.wait(for: count)
    }
    // The queue is full.
    let late = try sluice.connect()
    let heard = String(decoding: try late.readToEnd().bytes, as: UTF8.self)
    #expect(heard.hasPrefix("421 4.3.2 "))
    late.close()
    #expect(try sluice.record().reason == "queue.full")
    for (index, client) in clients.enumerated() {
      let upstream = index == 0 ? first : try stage.server.accept()
      #expect(try stage.server.accept(withinMs: 50) == nil)
      // In the order in which they came.
      try client.write("\(index)")
      #expect(try upstream.readExactly(1) == Array("\(index)".utf8))
      try upstream.write("220")
      upstream.close()
      #expect(try client.readToEnd().bytes == Array("220".utf8))
      client.close()
      try stage.wait(for: max(0, 1 - index))
    }
    let served = try sluice.records(4).suffix(3)
    #expect(served.allSatisfy { $0.reason == nil })
    let order = served.map { $0.client.split(separator: ":").first.map(String.init) }
    #expect(order == ["127.0.0.2", "127.0.0.3", "127.0.0.4"])
  }
}

@Test("a queue has a deadline", arguments: Engine.eventSources)
func queueHasADeadline(engine: Engine) throws {
  let stage = try QueueStage(engine, "length: 100, timeout: 300ms")
  try withSluice(stage.setup) { sluice in
    let first = try sluice.connect()
    let upstream = try stage.server.accept()
    let waiting = try (0..<20).map { _ in try sluice.connect() }
    for client in waiting {
      let heard = String(decoding: try client.readToEnd().bytes, as: UTF8.self)
      #expect(heard.hasPrefix("421 4.3.2 "))
      client.close()
    }
    // Some of so many rejections have a line of their own.
    try TestSupport.wait(for: "their lines") { try sluice.endedCount == 20 }
    let lines = try sluice.records
    #expect(Set(lines.map(\.reason)) == ["queue.timeout"])
    #expect(lines.allSatisfy { $0.durationMs >= 300 && $0.tries == 0 })
    #expect(try stage.server.accept(withinMs: 20) == nil)
    try stage.wait(for: 0)
    // Nothing of it is left: the place is free for the next.
    first.close()
    upstream.close()
    let next = try sluice.connect()
    try stage.server.accept().close()
    #expect(try next.readToEnd().bytes.isEmpty)
    next.close()
  }
}

@Test("who leaves a queue frees a place", arguments: Engine.eventSources, [false, true])
func whoLeavesAQueueFreesAPlace(engine: Engine, byReset: Bool) throws {
  let stage = try QueueStage(engine, "length: 1, timeout: 60s")
  try withSluice(stage.setup) { sluice in
    let first = try sluice.connect()
    let upstream = try stage.server.accept()
    let leaver = try sluice.connect()
    try stage.wait(for: 1)
    if byReset { leaver.reset() } else { leaver.close() }
    try stage.wait(for: 0)
    let record = try sluice.record()
    #expect(record.end == (byReset ? "client.rst" : "client.fin") && record.reason == nil)
    let next = try sluice.connect()
    try stage.wait(for: 1)
    first.close()
    upstream.close()
    try stage.server.accept().close()
    #expect(try next.readToEnd().bytes.isEmpty)
    next.close()
  }
}

/// With its request sent it may half-close: it waits for the reply, and for its turn.
@Test("who has said all waits on", arguments: Engine.eventSources)
func whoHasSaidAllWaitsOn(engine: Engine) throws {
  let stage = try QueueStage(engine, "length: 5, timeout: 60s", type: "tcp")
  try withSluice(stage.setup) { sluice in
    let first = try sluice.connect()
    let upstream = try stage.server.accept()
    let client = try sluice.connect()
    try client.write("request")
    client.finish()
    try stage.wait(for: 1)
    first.close()
    upstream.close()
    let served = try stage.server.accept()
    #expect(try served.readToEnd().bytes == Array("request".utf8))
    try served.write("reply")
    served.close()
    #expect(try client.readToEnd().bytes == Array("reply".utf8))
    client.close()
  }
}

@Test("a greedy source and a hundred polite ones", arguments: Engine.eventSources)
func aGreedySourceAndAHundredPoliteOnes(engine: Engine) throws {
  var stage = try QueueStage(engine, "length: 1000, timeout: 60s")
  stage.setup.backend += ", send-proxy: v1"
  try withSluice(stage.setup) { sluice in
    let first = try sluice.connect()
    let upstream = try stage.server.accept()
    let greedy = try (0..<300).map { _ in try sluice.connect(from: "127.0.0.2") }
    try stage.wait(for: 300)
    let polite = try (0..<100).map { try sluice.connect(from: "127.0.1.\(1 + $0)") }
    try stage.wait(for: 400)
    first.close()
    upstream.close()
    var order: [String] = []
    for _ in 0..<400 {
      let served = try stage.server.accept()
      let header = try served.readExactly("PROXY TCP4 127.0.1.".utf8.count)
      order.append(header == Array("PROXY TCP4 127.0.1.".utf8) ? "polite" : "greedy")
      // Over at once, whatever the client does.
      try served.write("x")
      served.reset()
    }
    let last = try #require(order.lastIndex(of: "polite"))
    #expect(order.count { $0 == "polite" } == 100)
    // One of the greedy one's before all of them; each worker may call one more.
    #expect(last <= 103, "\(last)")
    for client in greedy + polite { client.close() }
  }
}
