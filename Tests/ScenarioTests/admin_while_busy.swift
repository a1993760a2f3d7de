import System
import TestSupport
import Testing

// Every worker has more bulk to move than it can. Operators are answered all the same, by the
// server and by the workers themselves: status, the connections, an end of one of them, a reload.

@Test("admin while every worker is busy", arguments: Engine.eventSources)
func adminWhileBusy(engine: Engine) throws {
  let server = try ListeningSocket()
  let front = Endpoint.loopback(ReservedPort.take())
  let yaml = """
    listeners: { front: { bind: "\(front)", type: server-first, backend: back } }
    backends: { back: { servers: ["\(server.endpoint)"] } }
    """
  try withReloadedSluice(engine, yaml, at: front) { sluice in
    let isOver = Guarded(false)
    let streams = try (0..<3).map { _ in
      let (client, upstream) = (try sluice.process.connect(), try server.accept())
      return Job("bulk") { try move(from: client, to: upstream) { isOver.withLock { $0 } } }
    }
    for round in 0..<2 {
      #expect(try sluice.done("status")["connections"]?.number == Double(3 - round))
      let sessions = try sluice.done("sessions")["sessions"]?.items ?? []
      #expect(sessions.count == 3 - round)
      try wait(for: "bytes") { try total(sluice) > Double(round + 1) * 1e6 }
      let id = try #require(sessions.first?["id"]?.string)
      #expect(try sluice.done("kill", id)["killed"]?.number == 1)
      try sluice.write("\(yaml)\ntimeouts: { idle: \(round + 1)h }")
      #expect(try sluice.hangUp().contains("reloaded: generation \(round + 2)"))
    }
    isOver.withLock { $0 = true }
    // One was left alone, and the others were ended.
    let whole = try streams.map { try $0.value() }
    #expect(whole.count { $0 } == 1)
  }
}

/// What the connections that live have moved so far.
private func total(_ sluice: ReloadedSluice) throws -> Double {
  try (sluice.done("sessions")["sessions"]?.items ?? [])
    .reduce(0) { $0 + ($1["bytesUp"]?.number ?? 0) }
}

/// As fast as it goes, until it is over; false when it was ended by somebody else.
private func move(
  from client: StreamSocket, to upstream: StreamSocket, until isOver: @escaping @Sendable () -> Bool
) throws -> Bool {
  let writer = Job("writer") {
    let bytes = [UInt8](repeating: 7, count: 1 << 18)
    do {
      while !isOver() { try client.write(bytes) }
      client.finish()
    } catch is StreamSocket.WriteFailure {}
  }
  var ending: Ending?
  while ending == nil {
    if case .ended(let how) = try upstream.receive(atMost: 1 << 20) { ending = how }
  }
  try writer.value()
  let wasOver = isOver()
  upstream.close()
  client.close()
  return wasOver && ending == .fin
}
