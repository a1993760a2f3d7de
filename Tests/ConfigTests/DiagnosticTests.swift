import Config
import Testing

@Suite struct DiagnosticTests {
  /// The file prints the lines of its fault, at its marks, and nothing else.
  @Test(
    arguments: Faults.keys + Faults.names + Faults.addresses + Faults.values + Faults.limits
      + Faults.clashes)
  func names(fault: Case) { expectItsLines(fault) }

  @Test(arguments: AdminFaults.values + AdminFaults.clashes)
  func namesOfTheProcess(fault: Case) { expectItsLines(fault) }

  @Test(arguments: BackendFaults.names + BackendFaults.checks)
  func namesOfBackends(fault: Case) { expectItsLines(fault) }

  @Test(
    arguments: ProxyFaults.networks + ProxyFaults.listeners + ProxyFaults.clashes
      + ProxyFaults.tlvs + ProxyFaults.relayed + ProxyFaults.headers)
  func namesOfTheProxyProtocol(fault: Case) { expectItsLines(fault) }

  private func expectItsLines(_ fault: Case) {
    let (snapshot, diagnostics) = Snapshot.parse(fault.text, file: "f.yaml")
    #expect(diagnostics.lines == fault.expected)
    let hasErrors = fault.messages.contains { !$0.hasPrefix("warning: ") }
    #expect((snapshot == nil) == hasErrors)
    #expect(diagnostics.hasErrors == hasErrors)
  }

  @Test func tooManyOfAThing() {
    let servers = (1...1025).map { "1.2.3.4:\($0)" }.joined(separator: ",")
    #expect(
      parse(File.servers("[\(servers)]")).diagnostics.lines.map { $0.drop { $0 != " " } }
        == [" servers has more than 1024 items; the rest is not read"])
    let binds = (1...65).map { "1.2.3.4:\($0)" }.joined(separator: ",")
    #expect(
      parse(File.bind("[\(binds)]")).diagnostics.lines.map { $0.drop { $0 != " " } }
        == [" bind has more than 64 items; the rest is not read"])
    let listeners = (1...1001).map { "  l\($0): { bind: \":\($0)\", backend: b }\n" }.joined()
    #expect(
      parse("listeners:\n\(listeners)backends: { b: { servers: [1.2.3.4:5] } }").diagnostics.lines
        == ["f.yaml:1002:3: more than 1000 listeners; the rest is not read"])
    let backends = (1...4097).map { "  b\($0): { servers: [1.2.3.4:5] }\n" }.joined()
    #expect(
      parse("listeners: { a: { bind: \":1\", backend: b1 } }\nbackends:\n\(backends)")
        .diagnostics.items.filter { $0.severity == .error }.map { $0.line(file: "f") }
        == ["f:4099:3: more than 4096 backends; the rest is not read"])
  }

  /// A thousand names that are each nearly four thousand others cost no noticeable time.
  @Test(.timeLimit(.minutes(1))) func nearestOfMany() {
    let stem = String(repeating: "x", count: 58)
    let listeners = (0..<1000).map {
      "  l\($0): { bind: \":\($0 + 1)\", backend: y\(stem)\($0) }\n"
    }
    let backends = (0..<4096).map { "  \(stem)\($0): { servers: [1.2.3.4:5] }\n" }
    let text = "listeners:\n\(listeners.joined())backends:\n\(backends.joined())"
    let (snapshot, diagnostics) = parse(text)
    #expect(snapshot == nil)
    #expect(diagnostics.lines[0].contains("did you mean \"\(stem)0\"?"))
    #expect(diagnostics.lines.last == "f.yaml: and 800 more")
  }
}
