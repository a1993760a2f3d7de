import TestSupport
import Testing

// A client that waits for the server's greeting, as every mail client does, gets it at once, in
// every mode: nobody waits for bytes in order to find out whether they are a header, except for the
// header of a source that must send one.

struct WaitingClient: Sendable, CustomStringConvertible {
  let description: String
  let listener: String
  let backend: String
  /// What it sends before it waits.
  let header: [UInt8]

  private static let v1 = Header.v1(.inet("203.0.113.7", 40_001), to: .inet("198.51.100.25", 25))
  private static let required = "trusted-networks: [127.0.0.2, \"::1\"]"
  private static let forbidden =
    "proxy-protocol: { sources: [{ networks: [127.0.0.2, \"::1\"], header: forbid }] }"

  private static func mode(
    _ name: String, _ listener: String, _ backend: String, _ header: [UInt8] = []
  ) -> WaitingClient {
    WaitingClient(description: name, listener: listener, backend: backend, header: header)
  }

  static let all = [
    mode("nobody trusted, no header", "", "send-proxy: none"),
    mode("nobody trusted, v1", "", "send-proxy: v1"),
    mode("nobody trusted, v2", "", "send-proxy: v2"),
    mode(
      "nobody trusted, passed on", "", "send-proxy: none, pass-client-proxy-header: true"),
    mode("forbidden, no header", forbidden, "send-proxy: none"),
    mode("forbidden, v2", forbidden, "send-proxy: v2"),
    mode("proxy-protocol: off", "proxy-protocol: off", "send-proxy: none"),
    mode("another is trusted", "trusted-networks: [192.0.2.1]", "send-proxy: none"),
    mode("required, no header", required, "send-proxy: none", v1),
    mode("required, v1", required, "send-proxy: v1", v1),
    mode("required, v2", required, "send-proxy: v2", v1),
    mode(
      "required, LOCAL", required, "send-proxy: v2", Header.raw(command: 0, family: 0, [])),
  ]
}

@Test(
  "clients that wait are never stalled", arguments: WaitingClient.all,
  Engine.eventSources.flatMap { engine in
    ["tcp", "server-first"].flatMap { type in
      ["127.0.0.2", "::1"].filter { $0 != "::1" || hasIPv6Loopback }.map {
        (engine: engine, type: type, source: $0)
      }
    }
  })
func waitingClients(
  mode: WaitingClient, at place: (engine: Engine, type: String, source: String)
) throws {
  let server = try ListeningSocket()
  let host = place.source == "::1" ? "::1" : "127.0.0.1"
  var setup = TrustSetup(place.engine, servers: [server.endpoint], host: host)
  setup.type = place.type
  setup.listener = mode.listener
  setup.backend = mode.backend
  try withTrust(setup) { proxy in
    let (_, ms) = try timed {
      let client = try proxy.connect(from: place.source)
      if !mode.header.isEmpty { try client.write(mode.header) }
      let upstream = try server.accept()
      try expectGreeting(from: upstream, at: client)
      client.close()
      upstream.close()
    }
    #expect(ms < 1000, "\(ms) ms from connect to greeting")
    #expect(try proxy.record().reason == nil)
  }
}
