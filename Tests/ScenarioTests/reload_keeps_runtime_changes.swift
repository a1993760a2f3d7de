import TestSupport
import Testing

// What an operator changed while the server ran outlives reloads as long as what it is about is
// there, and the file says of it what it said then. What does not outlive one is told.

@Test("a reload keeps changes made at run time")
func reloadKeepsRuntimeChanges() throws {
  let backends = [try EchoServer(), try EchoServer()]
  let names = backends.map { "\($0.endpoint)" }
  let front = Endpoint.loopback(ReservedPort.take())
  let other = Endpoint.loopback(ReservedPort.take())
  func yaml(weight: Int, idle: String, hasOther: Bool = true) -> String {
    """
    timeouts: { idle: \(idle), drain: 5s }
    listeners:
      front: { bind: "\(front)", backend: back }
      \(hasOther ? "other: { bind: \"\(other)\", backend: back }" : "")
    backends:
      back:
        servers: [{ address: "\(names[0])", weight: \(weight) }, "\(names[1])"]
    """
  }
  let engine = Engine.eventSources[0]
  try withReloadedSluice(engine, yaml(weight: 3, idle: "1m"), at: front) { sluice in
    try sluice.done("weight", "back", names[0], "7")
    try sluice.done("drain", "server", "back", names[1])
    try sluice.done("drain", "listener", "other")
    #expect(try sluice.done("status").texts("runtimeChanges").count == 3)
    #expect(throws: StreamSocket.ConnectFailure.self) { try StreamSocket.connect(to: other) }

    try sluice.write(yaml(weight: 3, idle: "2m"))
    let kept = try sluice.done("reload")
    #expect(kept["outcome"]?.string == "applied")
    #expect(kept.texts("lostRuntimeChanges").isEmpty)
    #expect(try sluice.done("status").texts("runtimeChanges").count == 3)
    #expect(throws: StreamSocket.ConnectFailure.self) { try StreamSocket.connect(to: other) }
    #expect(try weights(sluice) == [names[0]: 7, names[1]: 1])

    // The file's own weight is another now, and the listener is gone.
    try sluice.write(yaml(weight: 4, idle: "2m", hasOther: false))
    let dry = try sluice.done("reload", "--dry-run")
    #expect(dry["outcome"]?.string == "dry-run")
    #expect(dry.texts("lostRuntimeChanges").count == 2)
    #expect(try weights(sluice) == [names[0]: 7, names[1]: 1])
    let lost = try sluice.done("reload")
    #expect(lost.texts("lostRuntimeChanges").contains { $0.contains("from 3 to 4") })
    #expect(lost.texts("lostRuntimeChanges").contains { $0.hasPrefix("listener other") })
    #expect(try weights(sluice) == [names[0]: 4, names[1]: 1])
    let changes = try sluice.done("status").texts("runtimeChanges")
    #expect(changes == ["server back/\(names[1]) is drained"])
    #expect(try sluice.done("reload")["outcome"]?.string == "unchanged")
    #expect(try sluice.done("status")["generation"]?.number == 3)
  }
  for backend in backends { try backend.stop() }
}

private func weights(_ sluice: ReloadedSluice) throws -> [String: Double] {
  var weights: [String: Double] = [:]
  for backend in try sluice.done("backends").all {
    for server in backend["servers"]?.items ?? [] {
      weights[server["name"]?.string ?? ""] = server["weight"]?.number
    }
  }
  return weights
}
