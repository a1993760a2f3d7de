import TestSupport
import Testing

// Both sides may be Unix sockets: a listener for programs on the same machine, a server behind a
// path. Splicing, half-close and the log work as over TCP; the socket file is gone after the end.

@Test("Unix listener and Unix server", arguments: Engine.all)
func unixSockets(engine: Engine) throws {
  let directory = try TemporaryDirectory()
  let path = directory.file("front.sock")
  let server = try ListeningSocket(.unix(directory.file("back.sock")))
  var setup = Setup(engine, servers: [server.endpoint], bind: .unix(path))
  setup.listener = "type: server-first"
  try withSluice(setup) { sluice in
    let pattern = Pattern(seed: 81)
    for size in [10, 100_000, 3_000_000] {
      let client = try sluice.connect()
      let upstream = try server.accept()
      let writer = Job("client") {
        try client.send(pattern, count: size)
        client.finish()
      }
      let read = try upstream.expect(pattern)
      #expect(read.count == size && read.ending == .fin)
      try writer.value()
      let answer = Job("server") {
        try upstream.send(pattern, count: size)
        upstream.close()
      }
      let back = try client.expect(pattern)
      #expect(back.count == size && back.ending == .fin)
      try answer.value()
    }
    for record in try sluice.records(3) {
      #expect(record.bytesUp == record.bytesDown)
      #expect(record.server == server.endpoint.description)
      #expect(record.local == "unix:\(path)")
    }
  }
  #expect(!fileExists(path))
}

// A mixture: TCP clients, a Unix server that wants PROXY v2, and the header has their addresses.
@Test("TCP listener, Unix server with PROXY v2", arguments: Engine.eventSources)
func unixServerWithHeader(engine: Engine) throws {
  let directory = try TemporaryDirectory()
  let server = try ListeningSocket(.unix(directory.file("back.sock")))
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  setup.backend = "send-proxy: v2"
  try withSluice(setup) { sluice in
    let client = try sluice.connect(from: "127.0.0.3")
    let upstream = try server.accept()
    guard case .bytes(let bytes) = try upstream.receive(withinMs: 1000) else {
      throw TestFailure("no header within a second of the connection")
    }
    #expect(try ReceivedProxyHeader(bytes).source == client.local)
    #expect(try ReceivedProxyHeader(bytes).destination == sluice.endpoint)
    client.close()
    upstream.close()
  }
}

// A client of a Unix listener has no address to tell: version 2 says LOCAL, and version 1, which
// has no word for that but UNKNOWN, is not spoken at all.
@Test("Unix listener, server with a PROXY header", arguments: Engine.eventSources)
func unixClientWithHeader(engine: Engine) throws {
  let directory = try TemporaryDirectory()
  let server = try ListeningSocket()
  var setup = Setup(
    engine, servers: [server.endpoint], bind: .unix(directory.file("front.sock")))
  setup.listener = "type: server-first"
  setup.backend = "send-proxy: v2"
  try withSluice(setup) { sluice in
    let client = try sluice.connect()
    let upstream = try server.accept()
    guard case .bytes(let bytes) = try upstream.receive(withinMs: 1000) else {
      throw TestFailure("no header within a second of the connection")
    }
    #expect(try ReceivedProxyHeader(bytes).isLocal && bytes.count == 16)
    client.close()
    upstream.close()
  }
  setup.backend = "send-proxy: v1"
  try withSluice(setup) { sluice in
    let client = try sluice.connect()
    #expect(try client.readToEnd().bytes.isEmpty)
    #expect(try sluice.record().reason == "proxy.no-address")
  }
}

// A socket file that a killed instance left behind is no obstacle; one that is served is.
@Test("stale Unix socket file")
func staleSocketFile() throws {
  let directory = try TemporaryDirectory()
  let path = directory.file("front.sock")
  let server = try ListeningSocket()
  var setup = Setup(Engine.eventSources[0], servers: [server.endpoint], bind: .unix(path))
  setup.listener = "type: server-first"
  do {
    let killed = try SluiceProcess(setup)
    killed.child.signal(9)
    _ = try killed.child.waitForExit()
  }
  #expect(fileExists(path))
  try withSluice(setup) { sluice in
    let client = try sluice.connect()
    let upstream = try server.accept()
    let second = try TemporaryDirectory()
    try writeFile(second.file("sluice.yaml"), setup.yaml(log: "off"))
    let (exit, _, said) = try SluiceBinary.run(["run", "-c", second.file("sluice.yaml")])
    #expect(exit == .code(1))
    #expect(said.contains(path), "said: \(said)")
    // And the first has not noticed.
    try client.write("still")
    #expect(try upstream.readExactly(5) == Array("still".utf8))
  }
}
