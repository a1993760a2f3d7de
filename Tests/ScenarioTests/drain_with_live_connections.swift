import Glibc
import TestSupport
import Testing

// The daemon is asked to stop (SIGTERM) while people are connected. It takes no new connections,
// lets those it has go on until they end or the drain deadline comes, and then exits. A second
// SIGTERM means now.

@Test("drain with live connections", arguments: Engine.eventSources)
func drainWithLiveConnections(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  setup.timeouts = "drain: 30s"
  let sluice = try SluiceProcess(setup)
  let client = try sluice.connect()
  let upstream = try server.accept()
  sluice.child.signal(SIGTERM)
  try wait(for: "the listener to be closed") {
    do {
      // One accepted just before the signal took effect is served; it is not what we ask about.
      try sluice.connect().reset()
      return false
    } catch is StreamSocket.ConnectFailure { return true }
  }
  let pattern = Pattern(seed: 71)
  let writer = Job("client") {
    try client.send(pattern, count: 1_000_000)
    client.finish()
  }
  #expect(try upstream.expect(pattern).count == 1_000_000)
  try writer.value()
  try upstream.write("done")
  pause(ms: 300)
  #expect(sluice.child.poll() == nil)
  upstream.close()
  #expect(try client.readToEnd().bytes == Array("done".utf8))
  // Long before the deadline, since nobody is left.
  try sluice.expectExit(.code(0), until: Deadline(inMs: 5000))
  let record = try #require(try sluice.records.first { $0.bytesUp == 1_000_000 })
  #expect(record.end == "client.fin")
}

// Meanwhile an operator may ask how far it is.
@Test("how far a drain is", arguments: Engine.eventSources)
func drainProgress(engine: Engine) throws {
  let backend = try EchoServer()
  let front = Endpoint.loopback(ReservedPort.take())
  let sluice = try ReloadedSluice(
    engine,
    """
    timeouts: { drain: 10m }
    listeners: { front: { bind: "\(front)", type: server-first, backend: back } }
    backends: { back: { servers: ["\(backend.endpoint)"] } }
    """, at: front)
  let pattern = Pattern(seed: 72)
  let clients = try (0..<2).map { _ in try sluice.process.connect() }
  for client in clients { try roundTrip(client, pattern, at: 0, count: 100) }
  #expect(try sluice.done("status")["phase"]?.string == "serving")
  sluice.process.child.signal(SIGTERM)
  try wait(for: "the drain") { try sluice.done("status")["phase"]?.string == "draining" }
  let progress = try #require(try sluice.done("status")["drains"]?.items.first)
  #expect(progress["what"]?.string == "process" && progress["connections"]?.number == 2)
  let remaining = try #require(progress["remainingSeconds"]?.number)
  #expect(remaining > 0 && remaining < 600)
  // No change is of any use now.
  #expect(try sluice.ctl("reload").exit == .code(1))
  for (left, client) in [(1.0, clients[0]), (0.0, clients[1])] {
    try roundTrip(client, pattern, at: 100, count: 100)
    client.finish()
    #expect(try client.readToEnd().ending == .fin)
    guard left > 0 else { break }
    try wait(for: "one to be left") {
      try sluice.done("status")["drains"]?.items.first?["connections"]?.number == left
    }
  }
  try sluice.process.expectExit(.code(0))
  let records = try sluice.process.records(2)
  #expect(records.allSatisfy { $0.end == "client.fin" && $0.bytesDown == 200 })
  try backend.stop()
}

@Test("drain deadline", arguments: Engine.eventSources)
func drainDeadline(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  setup.timeouts = "drain: 600ms"
  let sluice = try SluiceProcess(setup)
  let client = try sluice.connect()
  let upstream = try server.accept()
  let (_, ms) = try timed {
    sluice.child.signal(SIGTERM)
    _ = try client.readToEnd()
    _ = try upstream.readToEnd()
    try sluice.expectExit(.code(0))
  }
  #expect(ms > 400 && ms < 5000, "ended after \(ms) ms")
  #expect(try sluice.record().end == "deadline.drain")
}

@Test("second SIGTERM", arguments: Engine.eventSources)
func secondTerminate(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  setup.timeouts = "drain: 30s"
  let sluice = try SluiceProcess(setup)
  let client = try sluice.connect()
  let upstream = try server.accept()
  sluice.child.signal(SIGTERM)
  // Two signals that nobody has looked at yet are one, signal(7).
  try wait(for: "the drain") { sluice.child.standardError.contains("draining") }
  pause(ms: 300)
  #expect(sluice.child.poll() == nil)
  let (exit, ms) = try timed {
    sluice.child.signal(SIGTERM)
    return try sluice.child.waitForExit()
  }
  #expect(ms < 2000)
  if case .signal(let number) = exit { Issue.record("ended by signal \(number)") }
  _ = try client.readToEnd()
  _ = try upstream.readToEnd()
}

// A connection that is still being dialled doesn't keep the daemon beyond the deadline either.
@Test("drain while dialling", arguments: Engine.eventSources)
func drainWhileDialling(engine: Engine) throws {
  let hole = try BlackHole()
  var setup = Setup(engine, servers: [hole.endpoint])
  setup.listener = "type: server-first"
  setup.timeouts = "connect: 30s, drain: 500ms"
  let sluice = try SluiceProcess(setup)
  let before = sluice.facts.descriptorCount
  let client = try sluice.connect()
  try wait(for: "the dial") { sluice.facts.descriptorCount >= before + 2 }
  let (_, ms) = try timed {
    sluice.child.signal(SIGTERM)
    try sluice.expectExit(.code(0))
  }
  #expect(ms > 300 && ms < 5000, "ended after \(ms) ms")
  _ = try client.readToEnd()
  #expect(try sluice.record().end == "deadline.drain")
}

// SIGINT, as from a terminal, is the same as SIGTERM; with nobody connected the end is at once.
@Test("SIGINT without connections")
func interruptWhenIdle() throws {
  let setup = Setup(Engine.eventSources[0], servers: [.loopback(ReservedPort.take())])
  let sluice = try SluiceProcess(setup)
  let (_, ms) = try timed {
    sluice.child.signal(SIGINT)
    try sluice.expectExit(.code(0))
  }
  #expect(ms < 2000)
}
