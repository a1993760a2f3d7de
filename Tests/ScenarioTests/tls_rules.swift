import TestSupport
import Testing

// One address, several backends: the rules of a TLS listener choose by the name and the protocols
// of the ClientHello, and by where the client comes from. Each server gets the hello as it was,
// with a PROXY header of its own kind; the log and the metrics say which rule it was; whom a rule
// turns away hears it in TLS.

/// A daemon with two backends behind rules, and one for the rest.
private func setup(_ engine: Engine, _ servers: [ListeningSocket]) -> TrustSetup {
  var setup = TrustSetup.tls(engine, [servers[0].endpoint])
  setup.backend = "send-proxy: v2"
  setup.backends = [
    "a: { servers: [\"\(servers[1].endpoint)\"], send-proxy: v1 }",
    "b: { servers: [\"\(servers[2].endpoint)\"], send-proxy: v2, proxy-tlvs: [authority] }",
  ]
  setup.listener =
    "rules: [{ name: lab, from: 127.0.0.9, action: close }, "
    + "{ name: by-name, sni: [mail.a.example, \"*.a.example\"], backend: a }, "
    + "{ name: by-alpn, sni: .b.example, alpn: [imap, h2], backend: b }, "
    + "{ name: gone, sni: gone.example, action: reject }]"
  return setup
}

/// The alert in place of a ServerHello: a record of its own, fatal.
private func alert(_ description: UInt8) -> [UInt8] { [21, 3, 3, 0, 2, 2, description] }

@Test("rules choose the backend", arguments: Engine.eventSources, HelloArrival.allCases)
func rulesChoose(engine: Engine, arrival: HelloArrival) throws {
  let servers = try (0..<3).map { _ in try ListeningSocket() }
  try withTrust(setup(engine, servers)) { proxy in
    let cases: [(TLSHello, server: Int, rule: String?, backend: String)] = [
      (TLSHello("mail.a.example"), 1, "by-name", "a"),
      (TLSHello("X.A.example.", alpn: ["imap"]), 1, "by-name", "a"),
      (TLSHello("x.y.a.example"), 0, nil, "back"),
      (TLSHello("x.y.b.example", alpn: ["smtp", "imap"], ech: true), 2, "by-alpn", "b"),
      (TLSHello("x.b.example", alpn: ["smtp"]), 0, nil, "back"),
      (TLSHello(nil, alpn: ["imap"]), 0, nil, "back"),
      (TLSHello("192.0.2.1"), 0, nil, "back"),
    ]
    for (index, (hello, place, rule, backend)) in cases.enumerated() {
      let client = try proxy.connect()
      for piece in arrival.pieces(of: hello) { try client.write(piece) }
      let upstream = try servers[place].accept()
      let header = try upstream.readHeader()
      let received = try ReceivedProxyHeader(header)
      #expect(received.version == (place == 1 ? 1 : 2) && received.source == client.local)
      let whole = arrival.pieces(of: hello).flatMap { $0 }
      let rest = Array(header.dropFirst(received.length))
      #expect(rest + (try upstream.readExactly(whole.count - rest.count)) == whole)
      try expectGreeting(from: upstream, at: client)
      client.close()
      upstream.close()
      let record = try proxy.record(index + 1)
      #expect(record.rule == rule && record.connection.backend == backend, "\(hello)")
      #expect(record.offersECH == hello.offersECH)
    }
  }
}

@Test("rules turn away in TLS", arguments: Engine.eventSources)
func rulesTurnAway(engine: Engine) throws {
  let servers = try (0..<3).map { _ in try ListeningSocket() }
  var setup = setup(engine, servers)
  setup.hasFallback = false
  setup.listener += ", no-sni: reject"
  try withTrust(setup) { proxy in
    let cases: [(String?, from: String?, [UInt8], reason: String, rule: String?)] = [
      ("gone.example", nil, alert(112), "route.rejected", "gone"),
      ("other.example", nil, alert(112), "route.no-match", nil),
      (nil, nil, alert(109), "tls.no-sni", nil),
      ("192.0.2.1", nil, alert(112), "tls.bad-sni", nil),
      ("mail.a.example", "127.0.0.9", [], "route.closed", "lab"),
    ]
    for (index, (name, source, wanted, reason, rule)) in cases.enumerated() {
      let client = try proxy.connect(from: source)
      try client.write(TLSHello(name).bytes)
      #expect(try client.readToEnd().bytes == wanted, "\(reason)")
      client.close()
      let record = try proxy.record(index + 1)
      #expect(record.reason == reason && record.rule == rule)
      #expect(record.end == "rejected" && record.connection.backend == nil)
    }
    for server in servers { try expectUntouched(server) }
  }
}

// A server that cannot be reached is no fault of the client's: internal_error.
@Test("no server behind a rule", arguments: Engine.eventSources)
func noServerBehindARule(engine: Engine) throws {
  let servers = try (0..<3).map { _ in try ListeningSocket() }
  let setup = setup(engine, servers)
  servers[1].close()
  try withTrust(setup) { proxy in
    let client = try proxy.connect()
    try client.write(TLSHello("mail.a.example").bytes)
    #expect(try client.readToEnd().bytes == alert(80))
    let record = try proxy.record()
    #expect(record.reason == "dial.refused" && record.rule == "by-name")
    #expect(record.connection.backend == "a")
  }
}

// Listeners that wait for nothing have rules too: by the address of the real client, whom a trusted
// proxy in front speaks for, and by the address that client reached.
@Test("rules where the server greets", arguments: Engine.eventSources)
func rulesOfServerFirst(engine: Engine) throws {
  let servers = try (0..<3).map { _ in try ListeningSocket() }
  var setup = TrustSetup(engine, servers: [servers[0].endpoint])
  setup.backends = [
    "a: { servers: [\"\(servers[1].endpoint)\"], send-proxy: v2, relay-tlvs: [0xE1] }"
  ]
  setup.backend = "send-proxy: v2, relay-tlvs: [0xE0]"
  setup.listener =
    "protocol: smtp, trusted-networks: [127.0.0.2], "
    + "rules: [{ name: far, from: [203.0.113.0/24], to-port: 25, backend: a }, "
    + "{ name: foe, from: 198.51.100.0/24, action: reject }]"
  try withTrust(setup) { proxy in
    let client = Endpoint.inet("203.0.113.7", 40_001)
    for (port, place) in [(25, 1), (26, 0)] as [(UInt16, Int)] {
      let front = try proxy.connect(from: "127.0.0.2")
      let tlvs = [TLV(0xe0, "zero"), TLV(0xe1, "one")]
      try front.write(Header.v2(client, to: .inet("192.0.2.25", port), tlvs: tlvs))
      let upstream = try servers[place].accept()
      let header = try upstream.readHeader()
      #expect(try ReceivedProxyHeader(header).source == client)
      // Each backend gets what it is to get, whatever the other one would have got.
      #expect(try TLV.all(in: header) == [place == 1 ? TLV(0xe1, "one") : TLV(0xe0, "zero")])
      try expectGreeting(from: upstream, at: front)
      front.close()
      upstream.close()
    }
    let foe = try proxy.connect(from: "127.0.0.2")
    try foe.write(Header.v2(.inet("198.51.100.1", 1), to: .inet("192.0.2.25", 25)))
    #expect(try foe.readToEnd().bytes == Array("421 4.7.1 Not served here\r\n".utf8))
    let records = try proxy.records(3)
    #expect(records.map(\.rule) == ["far", nil, "foe"])
    #expect(records.map(\.reason) == [nil, nil, "route.rejected"])
  }
}

// However a hello is cut, into segments or records, the same rule takes it and the server gets the
// same bytes.
@Test("a rule and a hello cut anywhere", arguments: Engine.eventSources)
func ruleForCutHello(engine: Engine) throws {
  let servers = try (0..<3).map { _ in try ListeningSocket() }
  try withTrust(setup(engine, servers)) { proxy in
    let hello = TLSHello("x.y.b.example", alpn: ["smtp", "imap"])
    let whole = hello.bytes
    var arrivals = (1..<whole.count).map { [Array(whole[..<$0]), Array(whole[$0...])] }
    for count in 2...20 {
      let size = (hello.message.count + count - 1) / count
      arrivals.append([hello.bytes(inRecordsOf: size)])
    }
    for pieces in arrivals {
      let client = try proxy.connect()
      for piece in pieces {
        try client.write(piece)
        // The next one is a segment of its own.
        if pieces.count > 1 { pause(ms: 1) }
      }
      let upstream = try servers[2].accept()
      let sent = pieces.flatMap { $0 }
      let length = try ReceivedProxyHeader(upstream.readExactly(28 + 3 + 13)).length
      #expect(length == 28 + 3 + 13)
      #expect(try upstream.readExactly(sent.count) == sent)
      client.close()
      upstream.close()
    }
    let records = try proxy.records(arrivals.count)
    #expect(records.allSatisfy { $0.rule == "by-alpn" && $0.connection.backend == "b" })
  }
}

// The running server explains itself over its admin socket, and counts what its rules took; another
// configuration takes the rules along.
@Test("rules explained, counted and reloaded")
func rulesExplained() throws {
  let servers = try (0..<2).map { _ in try ListeningSocket() }
  let bind = Endpoint.loopback(ReservedPort.take())
  let metrics = Endpoint.loopback(ReservedPort.take())
  func yaml(_ name: String) -> String {
    """
    metrics: { bind: "127.0.0.1:\(metrics.port)" }
    listeners:
      front:
        bind: "\(bind)"
        type: tls
        rules:
          - { name: a, sni: \(name), backend: a }
          - { name: near, from: 127.0.0.0/8, backend: b }
    backends:
      a: { servers: ["\(servers[0].endpoint)"], send-proxy: v2 }
      b: { servers: ["\(servers[1].endpoint)"], send-proxy: v2 }
    """
  }
  let sluice = try ReloadedSluice(Engine.eventSources[0], yaml("a.example"), at: bind)
  func explain(_ arguments: String...) throws -> JSONValue {
    let result = try SluiceBinary.run(
      ["explain", "--socket", sluice.socket, "--json", "--listener", "front"] + arguments)
    #expect(result.exit == .code(0), "\(result.error)")
    return try JSONValue(result.output)
  }
  let first = try explain("--from", "127.0.0.1", "--sni", "A.example")
  #expect(first["rule"]?.string == "a" && first["backend"]?["name"]?.string == "a")
  #expect(first["backend"]?["servers"]?.items.first?["state"]?.string == "up")
  let far = try explain("--from", "192.0.2.1", "--sni", "b.example")
  #expect(far["reason"]?.string == "route.no-match")

  func connect(_ name: String, to place: Int) throws {
    let client = try StreamSocket.connect(to: bind)
    try client.write(TLSHello(name).bytes)
    let upstream = try servers[place].accept()
    _ = try upstream.readHeader()
    let sessions = try sluice.done("sessions")["sessions"]?.items
    #expect(sessions?.first?["rule"]?.string == (place == 0 ? "a" : "near"))
    client.close()
    upstream.close()
    try wait(for: "no session", until: .generous) {
      try sluice.done("sessions")["sessions"]?.items.isEmpty == true
    }
  }
  try connect("a.example", to: 0)
  try connect("b.example", to: 1)
  try sluice.write(yaml("[a.example, b.example]"))
  let reload = try sluice.done("reload")
  #expect(reload["outcome"]?.string == "applied")
  try connect("b.example", to: 0)
  let counted = try SluiceBinary.run(["ctl", "metrics", "--socket", sluice.socket]).output
  #expect(counted.contains("sluice_rule_taken_total{listener=\"front\",rule=\"a\"} 2\n"))
  #expect(counted.contains("sluice_rule_taken_total{listener=\"front\",rule=\"near\"} 1\n"))
  try sluice.process.stop()
}
