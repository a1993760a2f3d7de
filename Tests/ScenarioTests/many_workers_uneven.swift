import Glibc
import System
import TestSupport
import Testing

// The kernel gives a connection to a worker by its addresses and ports. Here are thirty clients
// whose ports all lead to the same one of three workers: one by one they stay there, at once they
// are spread. Then they come and go while the configuration is reloaded, and while the server
// drains: each is served completely, or was not taken at all.

@Test("many workers, all clients of one", arguments: Engine.eventSources)
func unevenClients(engine: Engine) throws {
  let backend = try EchoServer()
  let front = Endpoint.loopback(ReservedPort.take())
  let (plain, more) = (configuration(front, backend), configuration(front, backend, more: true))
  let sluice = try ReloadedSluice(engine, plain, at: front, head: "workers: 3")
  let ports = try portsOfOneWorker(30, sluice, front)

  let clients = try ports.map { try connect(to: front, from: $0) }
  try wait(for: "all to be there") { try workers(sluice).count == ports.count }
  let told = try sluice.done("status")["perWorker"]?.items ?? []
  #expect(told.compactMap { $0["connections"]?.number }.reduce(0, +) == Double(ports.count))
  #expect((told.first?["handedOver"]?.number ?? 0) > 0)
  let counts = Dictionary(grouping: try workers(sluice).values, by: { $0 }).mapValues(\.count)
  #expect(counts.count == 3 && counts.values.allSatisfy { (6...16).contains($0) }, "\(counts)")
  let pattern = Pattern(seed: 5)
  for client in clients { try roundTrip(client, pattern, at: 0, count: 300) }
  for client in clients { client.reset() }

  let isEnding = Guarded(false)
  let load = stride(from: 0, to: ports.count, by: 10).map { first in
    Job("clients") {
      try comeAndGo(ports[first..<first + 10], front) { isEnding.withLock { $0 } }
    }
  }
  for round in 0..<10 {
    try sluice.write(round % 2 == 0 ? more : plain, head: "workers: 3")
    #expect(try sluice.hangUp().contains("reloaded: generation"))
  }
  isEnding.withLock { $0 = true }
  sluice.process.child.signal(15)
  let served = try load.reduce(ports.count) { try $0 + $1.value() }
  #expect(served > ports.count)
  try sluice.process.expectExit(.code(0))
  #expect(try sluice.process.records.count { $0.bytesDown == 300 } == served)
  try backend.stop()
}

private func configuration(_ front: Endpoint, _ backend: EchoServer, more: Bool = false) -> String {
  let other = more ? "other: { bind: \"127.0.0.9:\(front.port)\", backend: back }" : ""
  return """
    timeouts: { drain: 20s }
    listeners:
      front: { bind: "\(front)", type: server-first, backend: back }
      \(other)
    backends: { back: { servers: ["\(backend.endpoint)"] } }
    """
}

/// Ports from which the kernel gives connections to the first worker. Five connections at once are
/// too few to be handed over.
private func portsOfOneWorker(
  _ count: Int, _ sluice: ReloadedSluice, _ front: Endpoint
) throws -> [UInt16] {
  var found: [UInt16] = []
  while found.count < count {
    let ports = (0..<5).map { _ in ReservedPort.take() }
    let clients = try ports.map { try connect(to: front, from: $0) }
    try wait(for: "the five") { try workers(sluice).count == ports.count }
    found += try workers(sluice).filter { $0.value == 0 }.keys
    for client in clients { client.reset() }
    try wait(for: "the five to be gone") { try workers(sluice).isEmpty }
  }
  return Array(found.prefix(count))
}

/// By the client's port: the worker that has it.
private func workers(_ sluice: ReloadedSluice) throws -> [UInt16: Int] {
  let sessions = try sluice.done("sessions", "--limit", "1000")["sessions"]?.items ?? []
  let pairs = sessions.compactMap { session -> (UInt16, Int)? in
    guard let port = session["client"]?.string?.split(separator: ":").last.flatMap({ UInt16($0) }),
      let worker = session["id"]?.string?.split(separator: "-").first.flatMap({ Int($0) })
    else { return nil }
    return (port, worker)
  }
  return Dictionary(pairs, uniquingKeysWith: { _, last in last })
}

private func connect(to front: Endpoint, from port: UInt16) throws -> StreamSocket {
  var socket: StreamSocket?
  try wait(for: "the port \(port)") {
    do {
      socket = try StreamSocket.connect(to: front, from: "127.0.0.1", port: port)
    } catch let failure as StreamSocket.ConnectFailure where failure.code == EADDRINUSE {
      // A child of another test has a copy of the closed socket until it executes its program.
    }
    return socket != nil
  }
  return try #require(socket)
}

/// All of them at once, again and again, until the server takes no more; how many were served.
private func comeAndGo(
  _ ports: ArraySlice<UInt16>, _ front: Endpoint, _ isEnding: () -> Bool
) throws -> Int {
  let pattern = Pattern(seed: UInt64(ports[ports.startIndex]))
  var served = 0
  while true {
    do {
      let clients = try ports.map { try connect(to: front, from: $0) }
      for client in clients {
        try roundTrip(client, pattern, at: 0, count: 300)
        served += 1
      }
      for client in clients { client.reset() }
    } catch {
      // Refused, or reset in the queue of a socket that was closed.
      guard isEnding() else { throw error }
      return served
    }
  }
}
