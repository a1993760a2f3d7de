import TestSupport
import Testing

// A listener is drained: it takes no new connections, those it has go on, and resuming binds it
// again, or says why not. A listener that is removed from the configuration has until the drain's
// deadline; its connections are counted in the status, and those that are left then are cut.

@Test("drain and resume a listener", arguments: Engine.eventSources)
func drainAndResumeAListener(engine: Engine) throws {
  let backend = try EchoServer()
  let front = Endpoint.loopback(ReservedPort.take())
  let other = Endpoint.loopback(ReservedPort.take())
  try withReloadedSluice(engine, yaml(front, other, backend), at: front) { sluice in
    let pattern = Pattern(seed: 1)
    let client = try StreamSocket.connect(to: other)
    try roundTrip(client, pattern, at: 0, count: 100)
    try sluice.done("drain", "listener", "other")
    try expectRefused(other)
    try roundTrip(client, pattern, at: 100, count: 100)
    try roundTrip(sluice.process.connect(), pattern, at: 0, count: 10)
    #expect(try state(sluice) == "drained")

    let thief = try ListeningSocket(other)
    let refused = try sluice.ctl("resume", "listener", "other")
    #expect(refused.exit != .code(0))
    #expect(try state(sluice) == "drained")
    thief.close()
    try sluice.done("resume", "listener", "other")
    try roundTrip(StreamSocket.connect(to: other), pattern, at: 0, count: 10)
    try roundTrip(client, pattern, at: 200, count: 100)
    #expect(try state(sluice) == "serving")
  }
  try backend.stop()
}

@Test("a removed listener drains", arguments: Engine.eventSources)
func aRemovedListenerDrains(engine: Engine) throws {
  let backend = try EchoServer()
  let front = Endpoint.loopback(ReservedPort.take())
  let other = Endpoint.loopback(ReservedPort.take())
  try withReloadedSluice(engine, yaml(front, other, backend), at: front) { sluice in
    let pattern = Pattern(seed: 2)
    let stays = try sluice.process.connect()
    let ends = try StreamSocket.connect(to: other)
    let cut = try StreamSocket.connect(to: other)
    for client in [stays, ends, cut] { try roundTrip(client, pattern, at: 0, count: 100) }
    // Back within its time: nothing is cut.
    try sluice.write(yaml(front, nil, backend, drain: "5s"))
    let result = try sluice.done("reload")
    #expect(changes(result).contains("removed listener other"))
    try expectRefused(other)
    let progress = try #require(try sluice.done("status")["drains"]?.items.first)
    #expect(progress["what"]?.string == "listener other")
    #expect(progress["connections"]?.number == 2)
    #expect((progress["remainingSeconds"]?.number ?? 9) <= 5)
    try sluice.write(yaml(front, other, backend, drain: "600ms"))
    try sluice.done("reload")
    #expect(try sluice.done("status")["drains"]?.items.isEmpty == true)
    pause(ms: 5200)
    for client in [stays, ends, cut] { try roundTrip(client, pattern, at: 100, count: 100) }

    // Time enough for two calls of ctl, of which a sanitizer makes long ones.
    try sluice.write(yaml(front, nil, backend, drain: "3s"))
    let again = Job("reload") { try sluice.done("reload", "--wait-drained", "20s") }
    try wait(for: "the drain") { try sluice.done("status")["drains"]?.items.isEmpty == false }
    try roundTrip(ends, pattern, at: 200, count: 100)
    ends.finish()
    #expect(try ends.readToEnd().ending == .fin)
    _ = try cut.readToEnd()
    #expect(try again.value()["undrained"]?.number == 0)
    try roundTrip(stays, pattern, at: 200, count: 100)
    let records = try sluice.process.records.filter { $0.listener == "other" }
    #expect(records.map(\.end).sorted() == ["client.fin", "deadline.drain"])
    #expect(sluice.process.child.standardError.contains("its time is over: 1 connection ended"))
    #expect(try sluice.done("status")["drains"]?.items.isEmpty == true)
  }
  try backend.stop()
}

private func expectRefused(_ endpoint: Endpoint) throws {
  try wait(for: "\(endpoint) to be closed") {
    do {
      // Whoever gets in meanwhile is served.
      try StreamSocket.connect(to: endpoint).close()
      return false
    } catch is StreamSocket.ConnectFailure { return true }
  }
}

private func state(_ sluice: ReloadedSluice) throws -> String? {
  try sluice.done("listeners").all.first { $0["name"]?.string == "other" }?["state"]?.string
}

private func yaml(
  _ front: Endpoint, _ other: Endpoint?, _ backend: EchoServer, drain: String = "5s"
) -> String {
  """
  timeouts: { drain: \(drain) }
  listeners:
    front: { bind: "\(front)", type: server-first, backend: back }
    \(other.map { "other: { bind: \"\($0)\", type: server-first, backend: back }" } ?? "")
  backends: { back: { servers: ["\(backend.endpoint)"] } }
  """
}

/// The changes that a reload tells of, `removed listener other`.
private func changes(_ result: JSONValue) -> [String] {
  (result["changes"]?.items ?? []).map {
    "\($0["kind"]?.string ?? "") \($0["what"]?.string ?? "")"
  }
}
