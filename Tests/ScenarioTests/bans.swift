import TestSupport
import Testing

// A banned client is turned away at once, whoever it wants to reach, and others are served. For a
// client that a trusted proxy speaks for, the ban is looked up under the client's own address.
// Bans are counted, end by themselves, and outlive the process.

@Test("bans", arguments: Engine.eventSources)
func bans(engine: Engine) throws {
  let backend = try EchoServer()
  let front = Endpoint.loopback(ReservedPort.take())
  let proxied = Endpoint.loopback(ReservedPort.take())
  let yaml = """
    timeouts: { drain: 5s }
    listeners:
      front: { bind: "\(front)", backend: back }
      proxied: { bind: "\(proxied)", backend: back, trusted-networks: [127.0.0.1] }
    backends: { back: { servers: ["\(backend.endpoint)"] } }
    """
  let pattern = Pattern(seed: 8)
  try withReloadedSluice(engine, yaml, at: front) { sluice in
    let early = try sluice.process.connect(from: "127.0.0.2")
    try roundTrip(early, pattern, at: 0, count: 10)
    try sluice.done("ban", "127.0.0.2", "--reason", "a \"test\"")
    try sluice.done("ban", "203.0.113.0/24", "--for", "1h")
    let banned = try sluice.process.connect(from: "127.0.0.2")
    #expect(try banned.readToEnd().bytes.isEmpty)
    try roundTrip(sluice.process.connect(from: "127.0.0.3"), pattern, at: 0, count: 10)
    try roundTrip(early, pattern, at: 10, count: 10)

    for (client, isBanned) in [("203.0.113.77", true), ("198.51.100.1", false)] {
      let introduced = try StreamSocket.connect(to: proxied)
      try introduced.write("PROXY TCP4 \(client) 192.0.2.1 40000 25\r\n")
      if isBanned {
        #expect(try introduced.readToEnd().bytes.isEmpty)
      } else {
        try roundTrip(introduced, pattern, at: 0, count: 10)
      }
    }
    try wait(for: "the lines of both") {
      try sluice.process.records.count { $0.reason == "source.banned" } == 2
    }
    let listed = try sluice.done("bans").all
    #expect(listed.map { $0["network"]?.string } == ["127.0.0.2/32", "203.0.113.0/24"])
    #expect(listed.map { $0["hits"]?.number } == [1, 1])
    #expect(listed[0]["reason"]?.string == "a \"test\"")
    #expect(listed[0]["until"]?.string == nil && listed[1]["until"]?.string != nil)

    try sluice.done("unban", "127.0.0.2")
    try roundTrip(sluice.process.connect(from: "127.0.0.2"), pattern, at: 0, count: 10)
    #expect(try sluice.ctl("unban", "127.0.0.2").exit != .code(0))
    #expect(try sluice.ctl("ban", "127.0.0.999").exit != .code(0))
    #expect(try sluice.ctl("ban", "192.0.2.1/24").exit != .code(0))
    // One that ends by itself.
    try sluice.done("ban", "127.0.0.4", "--for", "1s")
    #expect(try sluice.process.connect(from: "127.0.0.4").readToEnd().bytes.isEmpty)
    try wait(for: "its end") { try sluice.done("bans").all.count == 1 }
    try roundTrip(sluice.process.connect(from: "127.0.0.4"), pattern, at: 0, count: 10)
  }
  try backend.stop()
}

@Test("bans outlive the process")
func bansOutliveTheProcess() throws {
  let backend = try EchoServer()
  let front = Endpoint.loopback(ReservedPort.take())
  let state = try TemporaryDirectory()
  let yaml = """
    timeouts: { drain: 5s }
    listeners: { front: { bind: "\(front)", backend: back } }
    backends: { back: { servers: ["\(backend.endpoint)"] } }
    """
  let head = "workers: 1"
  let engine = Engine.eventSources[0]
  func start() throws -> ReloadedSluice {
    try ReloadedSluice(engine, yaml, at: front, head: head, state: state.path)
  }
  let first = try start()
  try first.done("ban", "127.0.0.5", "--reason", "kept")
  _ = try first.process.connect(from: "127.0.0.5").readToEnd()
  try first.process.stop()
  #expect(contents(of: state.file("bans")).contains("127.0.0.5/32"))
  #expect(entries(of: state.path) == ["bans"])

  try writeFile(state.file("bans"), contents(of: state.file("bans")) + "no ban\n")
  let second = try start()
  #expect(second.process.child.standardError.contains("1 line of no ban"))
  #expect(try second.process.connect(from: "127.0.0.5").readToEnd().bytes.isEmpty)
  let ban = try #require(try second.done("bans").all.first)
  #expect(ban["reason"]?.string == "kept")
  try second.done("unban", "127.0.0.5")
  try second.process.stop()
  #expect(contents(of: state.file("bans")).isEmpty)
  try backend.stop()
}
