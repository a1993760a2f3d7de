import TestSupport
import Testing

// What holds for every client of the process holds for those of a forward proxy: how many
// connections a source may have, and bans, which end a kept connection at its next request.

private let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

@Test("a ban between two requests", arguments: Engine.eventSources)
func banBetweenRequests(engine: Engine) throws {
  let origin = try ListeningSocket()
  let bind = Endpoint.loopback(ReservedPort.take())
  let yaml = """
    timeouts: { drain: 1s }
    listeners:
      out: { bind: "\(bind)", type: http-proxy, egress: office }
    egress:
      office:
        rules: [{ name: all, action: allow }]
        guard: { allow: [127.0.0.1] }
        ports: [1-65535]
    """
  let sluice = try ReloadedSluice(engine, yaml, at: bind, head: "workers: 1")
  let client = try sluice.process.connect(from: "127.0.0.2")
  let request = "GET http://\(origin.endpoint)/ HTTP/1.1\r\nHost: x\r\n\r\n"
  try client.write(request)
  let server = try origin.accept()
  _ = try server.readHead()
  try server.write(answer)
  #expect(try client.readHead().line == "HTTP/1.1 200 OK")
  #expect(try client.readText(2) == "ok")
  try sluice.done("ban", "127.0.0.2")
  try client.write(request)
  #expect(try client.readHead().line.hasPrefix("HTTP/1.1 403 "))
  #expect(try client.readRest().hasSuffix("\nsource.banned\n"))
  _ = try server.readToEnd()
  #expect(try sluice.process.record().reason == "source.banned")
  // What was served before has its own line.
  let served = try JSONValue(try #require(sluice.process.lines.requests.first))
  #expect(served["status"]?.number == 200 && served["requests"]?.number == 1)
  try sluice.process.stop()
}

@Test("connections of one source", arguments: Engine.eventSources)
func connectionsOfOneSource(engine: Engine) throws {
  let origin = try ListeningSocket()
  let proxy = try ForwardProxy(engine, extra: "limits: { per-source: 2 }")
  func open(_ source: String) throws -> StreamSocket {
    let client = try proxy.sluice.connect(from: source)
    try client.openTunnel(to: "\(origin.endpoint)")
    return client
  }
  let first = try open("127.0.0.2")
  let (second, other) = (try open("127.0.0.2"), try open("127.0.0.3"))
  let third = try proxy.sluice.connect(from: "127.0.0.2")
  #expect(try third.readHead().line.hasPrefix("HTTP/1.1 503 "))
  #expect(try third.readRest().hasSuffix("\nlimit.source\n"))
  for client in [first, second, other] {
    client.close()
    try origin.accept().close()
  }
  _ = try proxy.sluice.records(4)
  try open("127.0.0.2").close()
  try origin.accept().close()
  #expect(try proxy.sluice.records(5).filter { $0.reason == "limit.source" }.count == 1)
  try proxy.sluice.stop()
}
