import TestSupport
import Testing

// What the kernel measured on both ways is in the log line of a connection that lasted, and is not
// asked of one that was hardly more than a handshake.

@Test("paths in the connection log", arguments: Engine.eventSources)
func pathsInTheConnectionLog(engine: Engine) throws {
  let server = try ListeningSocket()
  try withSluice(Setup(engine, servers: [server.endpoint])) { sluice in
    for lastsMs in [0, 150] {
      let client = try sluice.connect()
      try client.write("hello")
      let upstream = try server.accept()
      #expect(try upstream.readExactly(5) == Array("hello".utf8))
      pause(ms: lastsMs)
      upstream.close()
      #expect(try client.readToEnd().ending == .fin)
    }
    let records = try sluice.records(2)
    let brief = try #require(records.first { $0.durationMs < 100 })
    #expect(brief.clientRttMs == nil && brief.upstreamRttMs == nil)
    let lasting = try #require(records.first { $0.durationMs >= 100 })
    let ways = try [#require(lasting.clientRttMs), #require(lasting.upstreamRttMs)]
    #expect(ways.allSatisfy { $0 > 0 && $0 < 1000 })
  }
}
