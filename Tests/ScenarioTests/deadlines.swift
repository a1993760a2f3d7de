import TestSupport
import Testing

// Connections in which nothing happens, or which are never going to end, are ended by a deadline of
// their own kind: idle, half-closed, maximum age. Traffic puts the idle deadline off and nothing
// else; the log says which deadline it was. (The connect deadline is in backend_black_holes.)

@Test("idle deadline", arguments: Engine.all)
func idleDeadline(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  setup.timeouts = "idle: 500ms, drain: 5s"
  try withSluice(setup) { sluice in
    let client = try sluice.connect()
    let upstream = try server.accept()
    // Either direction counts as life; together they outlast the deadline several times.
    for round in 0..<8 {
      pause(ms: 200)
      let (from, to) = round % 2 == 0 ? (client, upstream) : (upstream, client)
      try from.write("still here")
      _ = try to.readExactly(10)
    }
    let (end, ms) = try timed { try client.readToEnd() }
    #expect(end.bytes.isEmpty)
    #expect(ms > 300 && ms < 3000, "ended after \(ms) ms")
    _ = try upstream.readToEnd()
    let record = try sluice.record()
    #expect(record.end == "deadline.idle")
    #expect(record.bytesUp == 40 && record.bytesDown == 40)
  }
}

@Test("half-closed deadline", arguments: Engine.all, [Conversation.Closer.client, .server])
func halfClosedDeadline(engine: Engine, closer: Conversation.Closer) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  setup.timeouts = "half-closed: 400ms, idle: 60s, drain: 5s"
  try withSluice(setup) { sluice in
    let client = try sluice.connect()
    let upstream = try server.accept()
    try client.write("request")
    _ = try upstream.readExactly(7)
    let (first, second) = closer == .client ? (client, upstream) : (upstream, client)
    first.finish()
    #expect(try second.readToEnd().ending == .fin)
    // The second never ends its half; both are let go.
    let (_, ms) = try timed { try first.readToEnd() }
    #expect(ms > 200 && ms < 3000, "ended after \(ms) ms")
    let record = try sluice.record()
    #expect(record.end == "deadline.half-closed")
    #expect(record.halfClosedMs >= 300)
  }
}

@Test("maximum age", arguments: Engine.all)
func maximumAge(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  setup.timeouts = "max-age: 700ms, drain: 5s"
  try withSluice(setup) { sluice in
    let client = try sluice.connect()
    let upstream = try server.accept()
    let start = monotonicUs()
    let writer = Job("client") {
      // Traffic doesn't put this deadline off.
      while true {
        try client.write("busy")
        pause(ms: 20)
      }
    }
    _ = try upstream.readToEnd()
    let ms = Double(monotonicUs() - start) / 1000
    #expect(ms > 500 && ms < 3000, "ended after \(ms) ms")
    #expect(throws: (any Error).self) { try writer.value() }
    #expect(try sluice.record().end == "deadline.max-age")
  }
}

// A deadline given with the backend wins over the global one.
@Test("a backend's own deadline", arguments: Engine.eventSources)
func backendsOwnDeadline(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first, timeouts: { idle: 20s }"
  setup.backend = "timeouts: { idle: 300ms }"
  try withSluice(setup) { sluice in
    let client = try sluice.connect()
    let upstream = try server.accept()
    let (_, ms) = try timed { try client.readToEnd() }
    #expect(ms > 150 && ms < 3000, "ended after \(ms) ms")
    _ = try upstream.readToEnd()
    #expect(try sluice.record().end == "deadline.idle")
  }
}
