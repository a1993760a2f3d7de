import TestSupport
import Testing

// `limits.max-connections` are in. Those who come now wait in the kernel's queue, unharmed, and are
// served as soon as others have gone.

@Test("connection limit", arguments: Engine.eventSources, [1, 2])
func connectionLimit(engine: Engine, workers: Int) throws {
  let limit = 10
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  setup.workers = workers
  setup.extra = "limits: { max-connections: \(limit) }"
  try withSluice(setup) { sluice in
    let clients = try (0..<limit + 15).map { _ in try sluice.connect() }
    for client in clients { try client.write("ping") }
    var upstreams: [StreamSocket] = []
    while let upstream = try server.accept(withinMs: 400) { upstreams.append(upstream) }
    #expect(upstreams.count == limit)

    var served = 0
    while served < clients.count {
      let upstream = try upstreams.isEmpty ? server.accept() : upstreams.removeFirst()
      #expect(try upstream.readExactly(4) == Array("ping".utf8))
      upstream.reset()
      served += 1
    }
    for client in clients { #expect(try client.readToEnd().ending == .reset) }
    _ = try sluice.records(clients.count)
  }
}
