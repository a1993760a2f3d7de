import TestSupport
import Testing

// A server takes connections and resets them before it has said a byte. Nothing is lost yet, so
// the client gets another server and notices nothing. Once the server has got one of the
// client's bytes it may have acted on it, and the client learns of the reset instead.

/// Accepts and resets, after it has read a byte or at once, until it is closed.
private func resetter(_ listening: ListeningSocket, reads: Bool) -> Job<Int> {
  Job("resetter") {
    var count = 0
    while let client = try? listening.accept(withinMs: 2000) {
      if reads { _ = try client.readExactly(1) } else { pause(ms: 5) }
      client.reset()
      count += 1
    }
    return count
  }
}

@Test("reset before the first byte, then next", arguments: Engine.eventSources)
func resetBeforeTheFirstByteThenNext(engine: Engine) throws {
  let (bad, good) = (try ListeningSocket(), try ListeningSocket())
  var setup = Setup(engine, servers: [bad.endpoint, good.endpoint])
  setup.listener = "type: server-first"
  setup.backend = "eject: off, send-proxy: v1"
  try withSluice(setup) { sluice in
    let resetting = resetter(bad, reads: false)
    for number in 0..<8 {
      let client = try sluice.connect()
      let upstream = try good.accept()
      try upstream.write("hello")
      upstream.close()
      #expect(try client.readToEnd().bytes == Array("hello".utf8))
      client.close()
      let record = try sluice.records(number + 1)[number]
      #expect(record.server == good.endpoint.description && record.reason == nil)
    }
    let tries = try sluice.records.map(\.tries)
    #expect(Set(tries) == [1, 2])
    #expect(try resetting.value() == tries.count { $0 == 2 })
  }
}

@Test("no second server for what the first one got", arguments: Engine.eventSources)
func noSecondServerForWhatTheFirstOneGot(engine: Engine) throws {
  let (bad, good) = (try ListeningSocket(), try ListeningSocket())
  var setup = Setup(engine, servers: [bad.endpoint, good.endpoint])
  setup.backend = "eject: off"
  try withSluice(setup) { sluice in
    let resetting = resetter(bad, reads: true)
    let serving = Job("server") {
      while let upstream = try good.accept(withinMs: 2000) {
        _ = try upstream.readExactly(7)
        try upstream.write("x")
        upstream.close()
      }
    }
    var resets = 0
    for _ in 0..<8 {
      let client = try sluice.connect()
      try client.write("request")
      if try client.readToEnd().ending == .reset { resets += 1 }
      client.close()
    }
    #expect(resets == 4)
    let records = try sluice.records(8)
    #expect(records.allSatisfy { $0.tries == 1 })
    #expect(records.count { $0.end == "upstream.rst" } == 4)
    #expect(try resetting.value() == 4)
    try serving.value()
  }
}

/// All reset: the tries are spent, and the last reset is the client's.
@Test("every server resets", arguments: Engine.eventSources)
func everyServerResets(engine: Engine) throws {
  let servers = try (0..<3).map { _ in try ListeningSocket() }
  var setup = Setup(engine, servers: servers.map(\.endpoint))
  setup.listener = "type: server-first"
  setup.backend = "eject: off, retries: 1"
  try withSluice(setup) { sluice in
    let resetting = servers.map { resetter($0, reads: false) }
    let client = try sluice.connect()
    #expect(try client.readToEnd().bytes.isEmpty)
    client.close()
    let record = try sluice.record()
    #expect(record.tries == 2)
    #expect(record.end == "upstream.rst" || record.reason == "dial.reset")
    #expect(try resetting.map { try $0.value() }.reduce(0, +) == 2)
  }
}

/// Without a budget nobody gets a second server.
@Test("a retry budget of nothing", arguments: Engine.eventSources)
func aRetryBudgetOfNothing(engine: Engine) throws {
  let good = try ListeningSocket()
  let closed = Endpoint.loopback(ReservedPort.take())
  var setup = Setup(engine, servers: [closed, good.endpoint])
  setup.listener = "type: server-first"
  setup.backend = "eject: off, retry-budget: 0%"
  try withSluice(setup) { sluice in
    for _ in 0..<4 {
      let client = try sluice.connect()
      try good.accept(withinMs: 50)?.close()
      _ = try client.readToEnd()
      client.close()
    }
    let records = try sluice.records(4)
    #expect(records.allSatisfy { $0.tries == 1 })
    #expect(records.count { $0.reason == "dial.refused" } == 2)
  }
}
