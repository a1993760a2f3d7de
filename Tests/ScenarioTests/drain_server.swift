import TestSupport
import Testing

// A server is drained: new connections go to the others, live ones go on. With all of a backend's
// servers drained there is nobody to serve. Weights share out new connections. A server that is
// removed has until the drain's deadline.

@Test("drain a server", arguments: Engine.eventSources)
func drainAServer(engine: Engine) throws {
  let backends = [try EchoServer(), try EchoServer()]
  let names = backends.map { "\($0.endpoint)" }
  let front = Endpoint.loopback(ReservedPort.take())
  try withReloadedSluice(engine, yaml(front, names), at: front) { sluice in
    let pattern = Pattern(seed: 3)
    let clients = try exchange(sluice, 8, pattern)
    #expect(try dials(sluice) == [names[0]: 4, names[1]: 4])
    try sluice.done("drain", "server", "back", names[0])
    _ = try exchange(sluice, 6, pattern)
    #expect(try dials(sluice) == [names[0]: 4, names[1]: 10])
    for client in clients { try roundTrip(client, pattern, at: 50, count: 50) }

    try sluice.done("drain", "backend", "back")
    let turnedAway = try sluice.process.connect()
    _ = try turnedAway.readToEnd()
    try wait(for: "its line") {
      try sluice.process.records.contains { $0.reason == "backend.no-server" }
    }
    try sluice.done("resume", "backend", "back")
    try sluice.done("resume", "server", "back", names[0])
    // Three times as many, worker by worker, however the kernel shares them out.
    try sluice.done("weight", "back", names[0], "3")
    _ = try exchange(sluice, 8, pattern)
    let after = try dials(sluice)
    #expect(after.values.reduce(0, +) == 22)
    #expect((9...11).contains(after[names[0]] ?? 0), "\(after)")
    #expect(try sluice.ctl("drain", "server", "back", "nobody").exit != .code(0))
    #expect(try sluice.ctl("weight", "back", names[0], "257").exit != .code(0))
  }
  for backend in backends { try backend.stop() }
}

@Test("a removed server drains", arguments: Engine.eventSources)
func aRemovedServerDrains(engine: Engine) throws {
  let backends = [try EchoServer(), try EchoServer()]
  let names = backends.map { "\($0.endpoint)" }
  let front = Endpoint.loopback(ReservedPort.take())
  try withReloadedSluice(engine, yaml(front, names), at: front) { sluice in
    let pattern = Pattern(seed: 4)
    let clients = try exchange(sluice, 4, pattern)
    try sluice.write(yaml(front, [names[1]], drain: "400ms"))
    try sluice.done("reload")
    var cut = 0
    for client in clients {
      // Those of the other server are still there after the deadline.
      let isCut = try (client.receive(withinMs: 3000)) != nil
      if isCut { cut += 1 } else { try roundTrip(client, pattern, at: 50, count: 50) }
      if cut == 2, !isCut { break }
    }
    #expect(cut >= 1)
    try wait(for: "their lines") {
      try sluice.process.records.count { $0.end == "deadline.drain" && $0.server == names[0] } == 2
    }
    #expect(try sluice.process.records.count == 2)
  }
  for backend in backends { try backend.stop() }
}

/// Connections that have exchanged 50 bytes each.
private func exchange(
  _ sluice: ReloadedSluice, _ count: Int, _ pattern: Pattern
) throws -> [StreamSocket] {
  try (0..<count).map { _ in
    let client = try sluice.process.connect()
    try roundTrip(client, pattern, at: 0, count: 50)
    return client
  }
}

private func dials(_ sluice: ReloadedSluice) throws -> [String: Double] {
  var dials: [String: Double] = [:]
  for backend in try sluice.done("backends").all {
    for server in backend["servers"]?.items ?? [] {
      dials[server["name"]?.string ?? ""] = server["dials"]?.number
    }
  }
  return dials
}

private func yaml(_ front: Endpoint, _ names: [String], drain: String = "5s") -> String {
  """
  timeouts: { drain: \(drain) }
  listeners: { front: { bind: "\(front)", type: server-first, backend: back } }
  backends: { back: { servers: [\(names.map { "\"\($0)\"" }.joined(separator: ", "))] } }
  """
}
