import TestSupport
import Testing

// More clients come than the descriptor limit allows. The daemon stops accepting in time: 64
// descriptors stay free for logs, reload and administration. Those it has are served; the rest wait
// in the kernel's queue and are served as soon as others have gone. Nothing leaks.

@Test("descriptors exhausted", arguments: Engine.eventSources)
func descriptorsExhausted(engine: Engine) throws {
  let limit = 320
  let keptBack = 64
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  setup.timeouts = "connect: 20s, drain: 5s"
  setup.limits.descriptors = UInt64(limit)
  try withSluice(setup) { sluice in
    let baseline = sluice.facts.descriptorCount
    let room = (limit - keptBack - baseline) / 2
    try #require(room > 50)

    let clients = try (0..<room + 60).map { _ in try sluice.connect() }
    for client in clients { try client.write("ping") }
    var upstreams: [StreamSocket] = []
    while let upstream = try server.accept(withinMs: 700) { upstreams.append(upstream) }
    // A few may be lost to rounding, none gained.
    #expect(upstreams.count <= room && upstreams.count >= room - 8)
    let descriptors = sluice.facts.descriptorCount
    #expect(descriptors <= limit - keptBack, "\(descriptors) of \(limit) in use")
    for upstream in upstreams {
      #expect(try upstream.readExactly(4) == Array("ping".utf8))
      try upstream.write("pong")
    }

    // Ten leave; ten of those who wait take their places.
    for upstream in upstreams.prefix(10) { upstream.reset() }
    for _ in 0..<10 {
      let upstream = try server.accept()
      #expect(try upstream.readExactly(4) == Array("ping".utf8))
      try upstream.write("pong")
      upstreams.append(upstream)
    }
    #expect(sluice.facts.descriptorCount <= limit - keptBack)

    // All leave; everyone still waiting is served in turn. (A server's FIN alone would leave the
    // connections half-closed, and their descriptors in use.)
    for upstream in upstreams { upstream.reset() }
    for _ in upstreams.count..<clients.count {
      let upstream = try server.accept()
      #expect(try upstream.readExactly(4) == Array("ping".utf8))
      try upstream.write("pong")
      upstream.reset()
    }
    for client in clients { client.close() }
    try wait(for: "the descriptors to be closed") { sluice.facts.descriptorCount <= baseline }
    _ = try sluice.records(clients.count)
  }
}
