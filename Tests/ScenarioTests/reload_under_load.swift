import TestSupport
import Testing

// The configuration is reloaded again and again (SLUICE_RELOADS times; 100 in the normal run, 1,000
// in the gate): listeners come and go, backends change places, trust lists of 10,000 networks are
// replaced. Meanwhile 500 connections exchange checked bytes, and new ones come all the time. No
// connection fails, no byte differs, and neither descriptors nor memory grow.

private let rounds = environment("SLUICE_RELOADS").flatMap { Int($0) } ?? 100
private let connections = 500

@Test("reload under load", arguments: Engine.eventSources)
func reloadUnderLoad(engine: Engine) throws {
  try makeRoom(forDescriptors: 4 * connections)
  let backends = [try EchoServer(), try EchoServer()]
  let front = Endpoint.loopback(ReservedPort.take())
  let extras = (0..<3).map { _ in Endpoint.loopback(ReservedPort.take()) }
  let first = configuration(0, front, extras, backends)
  try withReloadedSluice(engine, first, at: front) { sluice in
    let load = CheckedLoad(sluice.process, connections: connections)
    try wait(for: "all to be connected") {
      sluice.process.facts.descriptorCount >= 2 * connections
    }
    var memory = 0
    for round in 1...rounds {
      try sluice.write(configuration(round, front, extras, backends))
      let outcome = try sluice.hangUp()
      #expect(outcome.hasPrefix("sluice: reloaded: generation \(round + 1),"), "\(outcome)")
      if round == min(50, rounds / 2) { memory = sluice.process.facts.privateMemory }
    }
    let grown = sluice.process.facts.privateMemory - memory
    let count = try load.stop()
    // What each table keeps for a connection that it took is small; a table has a megabyte.
    if !SluiceBinary.isSanitized { #expect(grown < 24 << 20, "grown by \(grown) bytes") }
    try sluice.expectAllWhole(count)
    #expect(try sluice.done("status")["generation"]?.number == Double(rounds + 1))
  }
  for backend in backends { try backend.stop() }
}

private func configuration(
  _ round: Int, _ front: Endpoint, _ extras: [Endpoint], _ backends: [EchoServer]
) -> String {
  // Parsing takes its time in a debug build, so the normal run has few long lists.
  let networks = (rounds >= 1000 || round % 20 == 0) ? 10_000 : 100
  let first = round * 7919
  let trusted = (0..<networks).map { index in
    let number = (first + index) & 0xffff
    return "\(10 + (first >> 16) % 100).\(number >> 8).\(number & 0xff).0/24"
  }.joined(separator: ", ")
  let servers = [round, round + 1].map { "\"\(backends[$0 % 2].endpoint)\"" }
  let extra = extras[round % 3]
  return """
    timeouts: { drain: 10m }
    listeners:
      front:
        { bind: "\(front)", type: server-first, backend: \(round % 4 < 2 ? "one" : "two"),
          trusted-networks: [\(trusted)] }
      extra-\(round % 5): { bind: "\(extra)", backend: two }
    backends:
      one: { servers: [\(servers[0])], splice: \(round % 6 < 3 ? "auto" : "off") }
      two: { servers: [\(servers.joined(separator: ", "))], retries: \(round % 3) }
    """
}
