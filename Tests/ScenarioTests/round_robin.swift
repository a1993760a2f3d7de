import TestSupport
import Testing

// Three servers take turns; when one is down its turns go to the others, and each connection is
// served.

@Test("round robin", arguments: Engine.eventSources)
func roundRobin(engine: Engine) throws {
  let servers = try (0..<3).map { _ in try ListeningSocket() }
  var setup = Setup(engine, servers: servers.map(\.endpoint))
  setup.listener = "type: server-first"
  setup.backend = "balance: round-robin"
  try withSluice(setup) { sluice in
    for _ in 0..<4 {
      let clients = try (0..<3).map { _ in try sluice.connect() }
      for server in servers {
        let upstream = try server.accept()
        upstream.close()
      }
      for client in clients { #expect(try client.readToEnd().ending == .fin) }
    }
    let served = Dictionary(grouping: try sluice.records(12), by: { $0.server ?? "" })
    #expect(
      served.mapValues(\.count)
        == Dictionary(
          uniqueKeysWithValues: servers.map { ($0.endpoint.description, 4) }))

    servers[1].close()
    for _ in 0..<6 {
      let client = try sluice.connect()
      let either = try servers[0].accept(withinMs: 200) ?? servers[2].accept()
      either.close()
      #expect(try client.readToEnd().ending == .fin)
    }
    let last = try sluice.records(18).suffix(6)
    #expect(last.allSatisfy { $0.server != servers[1].endpoint.description && $0.reason == nil })
    #expect(last.contains { $0.tries == 2 })
  }
}
