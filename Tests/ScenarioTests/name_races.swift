import TestSupport
import Testing

// A name with addresses of both families, one of which is a black hole: who is sent there first
// waits a quarter of a second, not the connect time-out, since a second dial to the other family
// begins beside the first (RFC 8305).

private let both = ["IPv4", "IPv6"]

/// One listener, one backend of one name with both families, on a port of its own.
private struct NamePair {
  let names: NameServer
  let port: UInt16
  let sluice: ReloadedSluice

  var six: Endpoint { .inet("::1", port) }
  var four: Endpoint { .inet("127.0.0.2", port) }

  /// As logs and `ctl backends` name it.
  func name(_ endpoint: Endpoint) -> String { "box.test:\(port)@\(endpoint)" }

  /// Connections at each server, those that are being dialled included.
  func connections() throws -> [String: Int] {
    var found: [String: Int] = [:]
    for server in try sluice.done("backends").all.flatMap({ $0["servers"]?.items ?? [] }) {
      found[server["address"]?.string ?? ""] = Int(server["connections"]?.number ?? -1)
    }
    return found
  }
}

/// - Parameter server: more of what the backend's only server says, as a YAML flow fragment.
private func withPair(
  _ engine: Engine, _ backend: String, server: String = "", port: UInt16,
  _ body: (NamePair) throws -> Void
) throws {
  let names = try NameServer()
  defer { names.stop() }
  names.set("box.test", .a(127, 0, 0, 2), .loopback6())
  let front = Endpoint.loopback(ReservedPort.take())
  let yaml = """
    resolver: { servers: ["\(names.address)"], min-ttl: 100ms, timeout: 5s }
    listeners: { front: { bind: "\(front)", backend: back, type: server-first } }
    backends:
      back: { servers: [{ address: "box.test:\(port)"\(server) }], \(backend) }
    """
  try withReloadedSluice(engine, yaml, at: front, head: "workers: 1") { sluice in
    let pair = NamePair(names: names, port: port, sluice: sluice)
    try wait(for: "both families") { try pair.connections().count == 2 }
    try body(pair)
    try wait(for: "all places to be given back") {
      try pair.connections().values.allSatisfy { $0 == 0 }
    }
  }
}

/// A black hole in one family and a server in the other, on the same port.
private func holeAndServer(_ silent: String) throws -> (BlackHole, ListeningSocket) {
  let server = try ListeningSocket(.inet(silent == "IPv4" ? "::1" : "127.0.0.2", 0))
  let hole = try BlackHole(
    at: .inet(silent == "IPv4" ? "127.0.0.2" : "::1", server.port))
  return (hole, server)
}

@Test(
  "a silent family costs a quarter of a second", .enabled(if: hasIPv6Loopback),
  arguments: Engine.eventSources, both)
func aSilentFamily(engine: Engine, silent: String) throws {
  let (hole, server) = try holeAndServer(silent)
  defer { withExtendedLifetime(hole) {} }
  // Whoever waited for the time-out would not be served within this test's.
  let backend = """
    retries: 1, eject: off, send-proxy: v2, timeouts: { connect: 2m },
    proxy-tlvs: [{ type: 0xE0, value: "${server}" }]
    """
  try withPair(engine, backend, port: server.port) { pair in
    for _ in 0..<6 {
      let client = try pair.sluice.process.connect()
      let upstream = try server.accept()
      // The header is that of the server that got it.
      let header = try upstream.readHeader()
      #expect(
        try TLV.all(in: header) == [TLV(0xe0, Array(pair.name(server.endpoint).utf8))])
      try upstream.write("hello")
      #expect(try client.readExactly(5) == Array("hello".utf8))
      try client.write("to the end")
      #expect(try upstream.readExactly(10) == Array("to the end".utf8))
      let connections = try pair.connections()
      #expect(connections == ["\(server.endpoint)": 1, "\(hole.endpoint)": 0])
      client.close()
      _ = try upstream.readToEnd()
      upstream.close()
    }
    let records = try pair.sluice.process.records(6)
    #expect(records.allSatisfy { $0.server == pair.name(server.endpoint) && $0.reason == nil })
    #expect(records.count { $0.tries == 2 } == 3)
    #expect(records.count { $0.tries == 1 } == 3)
    // The time of the dial that worked, not of both.
    #expect(records.allSatisfy { $0.connectMs < $0.durationMs })
  }
}

@Test("who is always slower is ejected", .enabled(if: hasIPv6Loopback), arguments: both)
func whoIsAlwaysSlower(silent: String) throws {
  let (hole, server) = try holeAndServer(silent)
  defer { withExtendedLifetime(hole) {} }
  let engine = Engine(events: "auto", splice: "auto")
  let backend = "retries: 1, eject: { failures: 2, time: 1m }, timeouts: { connect: 2m }"
  try withPair(engine, backend, port: server.port) { pair in
    let process = pair.sluice.process
    var clients = 0
    try wait(for: "the ejection") {
      let client = try process.connect()
      clients += 1
      try server.accept().close()
      _ = try client.readToEnd()
      return process.saidCount(
        "server back/\(pair.name(hole.endpoint)) is out for 60 s: dials to the other family") == 1
    }
    #expect(clients <= 8)
    // The workers may not have heard of it yet; a few dials later they have.
    for _ in 0..<20 {
      let client = try process.connect()
      try server.accept().close()
      _ = try client.readToEnd()
    }
    #expect(try process.records(clients + 20).suffix(10).allSatisfy { $0.tries == 1 })
  }
}

// Nobody answers in either family: both dials take their time-out, and the client is turned away.
@Test("both are silent", .enabled(if: hasIPv6Loopback), arguments: Engine.eventSources)
func bothAreSilent(engine: Engine) throws {
  let four = try BlackHole(at: .inet("127.0.0.2", 0))
  let six = try BlackHole(at: .inet("::1", four.endpoint.port))
  defer { withExtendedLifetime((four, six)) {} }
  let backend = "retries: 1, eject: off, timeouts: { connect: 600ms }"
  try withPair(engine, backend, port: six.endpoint.port) { pair in
    let process = pair.sluice.process
    let before = process.facts.descriptorCount
    let client = try process.connect()
    try wait(for: "both to be dialled") { try pair.connections().values.allSatisfy { $0 == 1 } }
    #expect(try client.readToEnd().bytes.isEmpty)
    let record = try process.record()
    #expect(record.reason == "dial.timeout" && record.tries == 2)
    try wait(for: "the descriptors to be closed") { process.facts.descriptorCount <= before }
  }
}

// The client goes, or is ended by the operator, while both are dialled.
@Test(
  "gone in the middle of a race", .enabled(if: hasIPv6Loopback), arguments: Engine.eventSources,
  [false, true])
func goneInTheMiddle(engine: Engine, isEnded: Bool) throws {
  let four = try BlackHole(at: .inet("127.0.0.2", 0))
  let six = try BlackHole(at: .inet("::1", four.endpoint.port))
  defer { withExtendedLifetime((four, six)) {} }
  try withPair(engine, "timeouts: { connect: 2m }", port: six.endpoint.port) { pair in
    let process = pair.sluice.process
    let before = process.facts.descriptorCount
    let clients = try (0..<8).map { _ in try process.connect() }
    try wait(for: "both to be dialled") { try pair.connections().values.allSatisfy { $0 == 8 } }
    if isEnded {
      for session in try pair.sluice.done("sessions")["sessions"]?.items ?? [] {
        try pair.sluice.done("kill", try #require(session["id"]?.string))
      }
      for client in clients { #expect(try client.readToEnd().bytes.isEmpty) }
    } else {
      for client in clients { client.reset() }
    }
    #expect(try process.records(8).allSatisfy { $0.tries == 2 })
    try wait(for: "the descriptors to be closed") { process.facts.descriptorCount <= before }
  }
}

// One family refuses while the other hangs: whichever was first, the client hears of it when the
// one that hangs has had its time.
@Test("one refuses, one is silent", .enabled(if: hasIPv6Loopback), arguments: both)
func oneRefuses(silent: String) throws {
  let (hole, server) = try holeAndServer(silent)
  defer { withExtendedLifetime(hole) {} }
  server.close()
  let engine = Engine(events: "auto", splice: "auto")
  let backend = "retries: 1, eject: off, timeouts: { connect: 500ms }"
  try withPair(engine, backend, port: hole.endpoint.port) { pair in
    for _ in 0..<4 { #expect(try pair.sluice.process.connect().readToEnd().bytes.isEmpty) }
    let records = try pair.sluice.process.records(4)
    #expect(records.allSatisfy { $0.reason == "dial.timeout" && $0.tries == 2 })
    #expect(records.allSatisfy { $0.server == pair.name(hole.endpoint) })
  }
}

// A server that has all the connections it may have is not dialled beside a slow one.
@Test("nobody races to a full server", .enabled(if: hasIPv6Loopback))
func nobodyRacesToAFullServer() throws {
  let (hole, server) = try holeAndServer("IPv4")
  defer { withExtendedLifetime(hole) {} }
  let engine = Engine(events: "auto", splice: "auto")
  let backend = "retries: 1, eject: off, timeouts: { connect: 1s }"
  try withPair(engine, backend, server: ", max-connections: 1", port: server.port) { pair in
    let process = pair.sluice.process
    let first = try process.connect()
    let upstream = try server.accept()
    try wait(for: "the other place to be given back") {
      try pair.connections()["\(server.endpoint)"] == 1
        && pair.connections().values.reduce(0, +) == 1
    }
    let second = try process.connect()
    #expect(try second.readToEnd().bytes.isEmpty)
    #expect(try server.accept(withinMs: 0) == nil)
    let record = try process.record()
    #expect(record.reason == "dial.timeout", "\(record)")
    #expect(record.tries == 1)
    first.close()
    upstream.close()
  }
}

// Addresses that the configuration has are no name's: they wait for the time-out as ever.
@Test("addresses do not race", .enabled(if: hasIPv6Loopback))
func addressesDoNotRace() throws {
  let (hole, server) = try holeAndServer("IPv4")
  defer { withExtendedLifetime(hole) {} }
  var setup = Setup(
    Engine(events: "auto", splice: "auto"), servers: [hole.endpoint, server.endpoint])
  setup.listener = "type: server-first"
  setup.backend = "retries: 0, timeouts: { connect: 600ms }"
  try withSluice(setup) { sluice in
    let clients = try [sluice.connect(), sluice.connect()]
    let upstream = try server.accept()
    #expect(try server.accept(withinMs: 500) == nil)
    upstream.close()
    for client in clients {
      _ = try client.readToEnd()
      client.close()
    }
    let records = try sluice.records(2)
    #expect(Set(records.map(\.reason)) == [nil, "dial.timeout"])
    #expect(records.allSatisfy { $0.tries == 1 })
  }
}
