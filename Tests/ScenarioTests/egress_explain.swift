import TestSupport
import Testing

// An operator asks the running process what would become of a request: by which rule, to which
// addresses, by its own resolver, before and after a reload; and then a client makes that request.

@Test("explain --egress of a running process")
func explainEgressOfARunningProcess() throws {
  let names = try NameServer()
  names.set("here.example", .a(127, 0, 0, 1), .a(127, 0, 0, 2))
  names.set("inside.example", .a(10, 0, 0, 1))
  let origin = try ListeningSocket()
  let bind = Endpoint.loopback(ReservedPort.take())
  func yaml(_ rules: String) -> String {
    """
    resolver: { servers: ["\(names.address)"], min-ttl: 100ms }
    listeners:
      out: { bind: "\(bind)", type: http-proxy, egress: office }
    egress:
      office:
        rules: [\(rules)]
        guard: { allow: [127.0.0.1] }
        connect-ports: [1-65535]
    """
  }
  let all = "{ name: all, action: allow }"
  let sluice = try ReloadedSluice(Engine.eventSources[0], yaml(all), at: bind)
  func explain(
    _ arguments: String...
  ) throws -> (exit: ChildProcess.Exit, output: String, error: String) {
    try SluiceBinary.run(["explain", "--socket", sluice.socket] + arguments)
  }
  func told(_ url: String) throws -> JSONValue {
    let result = try explain("--json", "--egress", url)
    #expect(result.exit == .code(0), "\(result.error)")
    return try JSONValue(result.output)
  }
  let url = "https://here.example:\(origin.endpoint.port)"
  let first = try told(url)
  #expect(first["rule"]?.string == "all" && first["reason"] == nil, "\(first)")
  let addresses = first["egress"]?["addresses"]?.items ?? []
  #expect(addresses.map { $0["address"]?.string?.hasPrefix("127.0.0.") } == [true, true])
  #expect(addresses.filter { $0["why"] == nil }.count == 1, "\(first)")
  #expect(try told("https://inside.example")["reason"]?.string == "egress.guard")
  #expect(try told("https://nowhere.example")["reason"]?.string == "egress.unresolved")
  let text = try explain("--egress", url)
  #expect(text.output.contains("rule all: takes it"), "\(text.output)")
  #expect(text.output.contains("goes directly: there are no parents"), "\(text.output)")

  let client = try StreamSocket.connect(to: bind)
  try client.openTunnel(to: "here.example:\(origin.endpoint.port)")
  try origin.accept().close()
  client.close()
  _ = try sluice.process.record()
  let line = try JSONValue(try #require(sluice.process.lines.records.last))
  #expect(line["rule"]?.string == "all")

  // What the process does is told, and not what the file says.
  try sluice.write(yaml("{ name: never, host: here.example, action: deny }, \(all)"))
  #expect(try told(url)["rule"]?.string == "all")
  _ = try sluice.hangUp()
  let second = try told(url)
  #expect(second["rule"]?.string == "never" && second["reason"]?.string == "egress.rule")
  #expect(second["egress"]?["action"]?.string == "deny")
  let refused = try explain("--egress", "ftp://here.example")
  #expect(refused.exit != .code(0) && !refused.error.isEmpty)
  try sluice.process.stop()
  names.stop()
}
