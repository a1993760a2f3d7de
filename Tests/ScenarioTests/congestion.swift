import TestSupport
import Testing

// `congestion` of a listener is what its clients' connections get, and that of a backend what those
// to its servers get, whatever the system's is; the kernel says so (ss). After a reload new ones
// get what the new file says, by the same listening socket, and old ones keep what they have.

@Test("congestion control of both sides", arguments: Engine.eventSources)
func congestionOfBothSides(engine: Engine) throws {
  let known = contents(of: "/proc/sys/net/ipv4/tcp_available_congestion_control")
    .split { $0 == " " || $0 == "\n" }.map(String.init)
  let other = try #require(known.first { $0 != "reno" }, "there is nothing but reno")
  let server = try ListeningSocket()
  let front = Endpoint.loopback(ReservedPort.take())
  try withReloadedSluice(
    engine, configuration(front, server.endpoint, "reno", other), at: front
  ) { sluice in
    let first = (try sluice.process.connect(), try server.accept())
    #expect(try controls("sport", front.port) == ["reno"])
    #expect(try controls("dport", server.port) == [other])

    try sluice.write(configuration(front, server.endpoint, other, "reno"))
    #expect(try sluice.hangUp().contains("reloaded: generation 2"))
    let second = (try sluice.process.connect(), try server.accept())
    #expect(try controls("sport", front.port) == [other, "reno"].sorted())
    #expect(try controls("dport", server.port) == [other, "reno"].sorted())
    for socket in [first.0, first.1, second.0, second.1] { socket.close() }
  }
}

private func configuration(
  _ front: Endpoint, _ server: Endpoint, _ listener: String, _ backend: String
) -> String {
  """
  listeners:
    front: { bind: "\(front)", type: server-first, backend: back, congestion: \(listener) }
  backends: { back: { servers: ["\(server)"], congestion: \(backend) } }
  """
}

/// What each established connection with this port at that end has, in order. `sport` is the
/// daemon's own for its clients, `dport` is the server's for the daemon's dials. ss(8), `-i`
private func controls(_ end: String, _ port: UInt16) throws -> [String] {
  let (exit, output, error) = try ChildProcess.run(
    "ss", ["-HtinO", "state", "established", "\(end) = :\(port)"])
  guard exit == .code(0) else { throw TestFailure("ss: \(exit) \(error)") }
  let known = contents(of: "/proc/sys/net/ipv4/tcp_available_congestion_control")
    .split { $0 == " " || $0 == "\n" }
  return output.split(separator: "\n").compactMap { line in
    line.split { $0 == " " || $0 == "\t" }.first { known.contains($0) }.map(String.init)
  }.sorted()
}
