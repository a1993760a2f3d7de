import TestSupport
import Testing

// Servers by name: the addresses come from a name server of the test's own, which changes its mind.

/// One listener whose backend has one server, by name.
private func withNamed(
  _ engine: Engine = Engine(events: "auto", splice: "auto"), port: UInt16,
  backend: String = "retries: 0", resolver: String = "min-ttl: 100ms, max-ttl: 5m",
  _ body: (NameServer, SluiceProcess) throws -> Void
) throws {
  let names = try NameServer()
  defer { names.stop() }
  let servers = "\"box.test:\(port)\""
  try withNamed(by: names, engine, servers: servers, backend: backend, resolver: resolver) {
    try body(names, $0)
  }
}

private func withNamed(
  by names: NameServer, _ engine: Engine, servers: String, backend: String,
  resolver: String = "min-ttl: 100ms, max-ttl: 5m", _ body: (SluiceProcess) throws -> Void
) throws {
  let directory = try TemporaryDirectory()
  let bind = Endpoint.loopback(ReservedPort.take())
  let yaml = """
    workers: 1
    events: \(engine.events)
    log: { connections: "\(directory.file("connections"))" }
    resolver: { servers: ["\(names.address)"], timeout: 5s, \(resolver) }
    listeners:
      front: { bind: "\(bind)", backend: back, type: server-first }
    backends:
      back: { servers: [\(servers)], \(backend) }

    """
  let sluice = try SluiceProcess(yaml: yaml, in: directory, at: bind)
  try body(sluice)
  try sluice.stop()
}

/// Whether a connection gets through to this server.
private func reaches(
  _ server: ListeningSocket, _ sluice: SluiceProcess, withinMs ms: Int = 50
) throws -> Bool {
  let client = try sluice.connect()
  guard let upstream = try server.accept(withinMs: ms) else {
    client.close()
    return false
  }
  try upstream.write("hello")
  let isGreeted = (try? client.readExactly(5)) == Array("hello".utf8)
  client.close()
  return isGreeted
}

// It starts although nobody knows the name, turns clients away, and serves them as soon as the
// name resolves.
@Test("start before the name resolves")
func startBeforeTheNameResolves() throws {
  let server = try ListeningSocket(.inet("127.0.0.2", 0))
  try withNamed(port: server.port) { names, sluice in
    #expect(sluice.child.standardError.contains("box.test: no such name; it has no servers"))
    #expect(try sluice.connect().readToEnd().bytes.isEmpty)
    #expect(try sluice.record().reason == "backend.no-server")
    names.set("box.test", .a(127, 0, 0, 2))
    try wait(for: "the server to be reached") { try reaches(server, sluice) }
    #expect(sluice.child.standardError.contains("server name box.test resolves to 127.0.0.2"))
  }
}

// The name moves to another address. Who is connected stays where he is, who comes goes to the new
// address; then the name server denies the name, and nothing changes.
@Test("a name moves, and is denied", arguments: Engine.eventSources)
func aNameMoves(engine: Engine) throws {
  let old = try ListeningSocket(.inet("127.0.0.2", 0))
  let new = try ListeningSocket(.inet("127.0.0.3", old.port))
  try withNamed(engine, port: old.port) { names, sluice in
    names.set("box.test", .a(127, 0, 0, 2, ttl: 0))
    try wait(for: "the old server to be reached") { try reaches(old, sluice) }
    let client = try sluice.connect()
    let upstream = try old.accept()
    names.set("box.test", .a(127, 0, 0, 3, ttl: 0))
    try wait(for: "the new server to be reached") { try reaches(new, sluice) }
    while try old.accept(withinMs: 0) != nil {}
    names.set("box.test", .code(3))
    try wait(for: "the denial to be told") {
      sluice.child.standardError.contains("box.test: no such name; its last address is kept")
    }
    #expect(try reaches(new, sluice, withinMs: 5000))
    #expect(try old.accept(withinMs: 0) == nil)
    try client.write("still here")
    #expect(try upstream.readExactly(10) == Array("still here".utf8))
    try upstream.write("me too")
    #expect(try client.readExactly(6) == Array("me too".utf8))
    client.close()
  }
}

// An answer for an hour, and a server that is gone: the failed dial brings the next question
// forward.
@Test("a failed dial asks again")
func aFailedDialAsksAgain() throws {
  let old = try ListeningSocket(.inet("127.0.0.2", 0))
  let new = try ListeningSocket(.inet("127.0.0.3", old.port))
  try withNamed(port: old.port) { names, sluice in
    names.set("box.test", .a(127, 0, 0, 2, ttl: 3600))
    try wait(for: "the old server to be reached") { try reaches(old, sluice) }
    names.set("box.test", .a(127, 0, 0, 3, ttl: 3600))
    old.close()
    try wait(for: "the new server to be reached") { try reaches(new, sluice) }
  }
}

// Both families; the one that is dead costs a client one more dial, to the other family.
@Test("the other family next")
func theOtherFamilyNext() throws {
  let four = try ListeningSocket(.inet("127.0.0.2", 0))
  try withNamed(port: four.port, backend: "retries: 1, eject: off") { names, sluice in
    names.set("box.test", .a(127, 0, 0, 2), .a(127, 0, 0, 3), .loopback6())
    try wait(for: "both families") { sluice.child.standardError.contains("127.0.0.3") }
    var tries: Set<Int> = []
    try wait(for: "a dial that went to IPv6 first") {
      let client = try sluice.connect()
      if let upstream = try four.accept(withinMs: 200) { upstream.close() }
      client.close()
      tries = Set(try sluice.records.filter { $0.reason == nil }.map(\.tries))
      return tries.contains(2)
    }
  }
}

// A service: the first priority is used, with its ports.
@Test("srv records")
func srvRecords() throws {
  let names = try NameServer()
  defer { names.stop() }
  let first = try ListeningSocket(.inet("127.0.0.2", 0))
  let other = try ListeningSocket(.inet("127.0.0.3", 0))
  names.set("_imap._tcp.test", .service(10, 1, first.port, "a.test"))
  names.set("a.test", .a(127, 0, 0, 2))
  names.set("b.test", .a(127, 0, 0, 3))
  try withNamed(
    by: names, Engine(events: "auto", splice: "auto"), servers: "\"srv:_imap._tcp.test\"",
    backend: "retries: 0"
  ) { sluice in
    try wait(for: "the first to be reached") { try reaches(first, sluice) }
    try wait(for: "its name in the log") {
      try sluice.records.contains { $0.server == "srv:_imap._tcp.test@\(first.endpoint)" }
    }
    // A failed dial asks for the service again, and its only target is another one.
    names.set("_imap._tcp.test", .service(10, 1, other.port, "b.test", ttl: 0))
    first.close()
    try wait(for: "the other to be reached") { try reaches(other, sluice) }
  }
}

// Two priorities: the second gets nobody while the first can, takes over at once when it cannot,
// and gives back when it can again.
@Test("srv records of lower priority are backups")
func srvBackups() throws {
  let names = try NameServer()
  defer { names.stop() }
  let first = try ListeningSocket(.inet("127.0.0.2", 0))
  let backup = try ListeningSocket(.inet("127.0.0.3", 0))
  names.set(
    "_imap._tcp.test", .service(10, 1, first.port, "a.test"),
    .service(20, 9, backup.port, "b.test"))
  names.set("a.test", .a(127, 0, 0, 2))
  names.set("b.test", .a(127, 0, 0, 3))
  try withNamed(
    by: names, Engine(events: "auto", splice: "auto"), servers: "\"srv:_imap._tcp.test\"",
    backend: "retries: 1, eject: { failures: 1, time: 300ms, max-time: 300ms }"
  ) { sluice in
    for _ in 0..<20 { #expect(try reaches(first, sluice, withinMs: 5000)) }
    #expect(try backup.accept(withinMs: 0) == nil)
    first.close()
    for _ in 0..<20 { #expect(try reaches(backup, sluice, withinMs: 5000)) }
    let back = try ListeningSocket(first.endpoint)
    try wait(for: "the first to be reached") {
      let isFirst = try reaches(back, sluice)
      while try backup.accept(withinMs: 0) != nil {}
      return isFirst
    }
    for _ in 0..<5 { #expect(try reaches(back, sluice, withinMs: 5000)) }
  }
}

// The name server denies the name for a minute: nobody is turned away. Then it has another address.
// It is a minute by the daemon's measure: with floor and ceiling at a tenth of the default floor of
// a second, sixty rounds of denial, the most that a minute can bring, take six. (NameBookTests has
// the whole minute, by a clock of its own.)
@Test("denied for a minute", arguments: Engine.eventSources)
func deniedForAMinute(engine: Engine) throws {
  let floorMs = 100
  let old = try ListeningSocket(.inet("127.0.0.2", 0))
  let new = try ListeningSocket(.inet("127.0.0.3", old.port))
  let resolver = "min-ttl: \(floorMs)ms, max-ttl: \(floorMs)ms"
  try withNamed(engine, port: old.port, resolver: resolver) { names, sluice in
    names.set("box.test", .a(127, 0, 0, 2))
    try wait(for: "the server to be reached") { try reaches(old, sluice) }
    let staying = try sluice.connect()
    let upstream = try old.accept()
    let begun = monotonicUs()
    let before = names.count(1, "box.test")
    names.set("box.test", .code(3))
    try wait(for: "sixty denials") {
      let isServed = try reaches(old, sluice, withinMs: 5000)
      #expect(isServed)
      return names.count(1, "box.test") >= before + 60
    }
    // However the clock of this test goes, never more often than the floor allows.
    let asked = names.count(1, "box.test") - before
    let mostly = Int(monotonicUs() - begun) / 1000 / floorMs + 1
    #expect(asked <= mostly, "\(asked) questions")
    try upstream.write("still here")
    #expect(try staying.readExactly(10) == Array("still here".utf8))
    staying.close()
    upstream.close()
    let said = sluice.child.standardError
    #expect(said.split(separator: "\n").count { $0.contains("no such name; its last") } == 1)
    names.set("box.test", .a(127, 0, 0, 3))
    try wait(for: "the new server to be reached") { try reaches(new, sluice) }
    // Whoever waits there for the old one is let go.
    old.close()
  }
}

// An address that is gone from a name's answer gets nobody any more; those who are there stay, are
// counted as long as they are, and are then forgotten.
@Test("gone, and counted until nobody is left")
func goneAndCounted() throws {
  let names = try NameServer()
  defer { names.stop() }
  let old = try ListeningSocket(.inet("127.0.0.2", 0))
  let new = try ListeningSocket(.inet("127.0.0.3", old.port))
  names.set("box.test", .a(127, 0, 0, 2, ttl: 0))
  let front = Endpoint.loopback(ReservedPort.take())
  let yaml = """
    resolver: { servers: ["\(names.address)"], min-ttl: 100ms, timeout: 5s }
    listeners: { front: { bind: "\(front)", backend: back, type: server-first } }
    backends: { back: { servers: ["box.test:\(old.port)"] } }
    """
  try withReloadedSluice(Engine(events: "auto", splice: "auto"), yaml, at: front) { sluice in
    func states() throws -> [String: (state: String, connections: Double)] {
      var states: [String: (state: String, connections: Double)] = [:]
      for server in try sluice.done("backends").all.flatMap({ $0["servers"]?.items ?? [] }) {
        states[server["address"]?.string ?? ""] = (
          server["state"]?.string ?? "", server["connections"]?.number ?? -1
        )
      }
      return states
    }
    let client = try sluice.process.connect()
    let upstream = try old.accept()
    names.set("box.test", .a(127, 0, 0, 3, ttl: 0))
    try wait(for: "the new one alone to be up") { try states()["\(new.endpoint)"]?.state == "up" }
    let gone = try states()["\(old.endpoint)"]
    #expect(gone?.state == "drained" && gone?.connections == 1)
    #expect(try reaches(new, sluice.process, withinMs: 5000))
    try upstream.write("still here")
    #expect(try client.readExactly(10) == Array("still here".utf8))
    client.close()
    upstream.close()
    try wait(for: "the old one to be forgotten") { try states()["\(old.endpoint)"] == nil }
  }
}
