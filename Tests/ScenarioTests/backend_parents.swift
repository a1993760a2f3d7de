import TestSupport
import Testing

// A backend's servers can only be reached through a proxy: each connection asks that for a tunnel,
// and what the server hears first goes through it. The proxy is another Sluice where it does what
// proxies do, and one written down here where it does what few do.

/// A daemon whose backend has parents.
private func reaching(
  _ servers: [String], through parents: [String], _ backend: String = "", listener: String = "",
  engine: Engine = Engine.eventSources[0], timeouts: String = "drain: 1s"
) -> Setup {
  var setup = Setup(engine, servers: [])
  setup.listener = listener.isEmpty ? "type: server-first" : listener
  let list = parents.map { "\"\($0)\"" }.joined(separator: ", ")
  setup.backend = "parents: [\(list)]\(backend.isEmpty ? "" : ", ")\(backend)"
  setup.serverTexts = servers
  setup.timeouts = timeouts
  return setup
}

/// A parent that is played by the test.
private struct ScriptedParent {
  let socket: ListeningSocket
  var url: String { "http://\(socket.endpoint)" }

  init() throws { socket = try ListeningSocket() }

  /// The next connection's request; then `reply` is said in one piece.
  func answer(_ reply: String) throws -> (head: ReceivedHead, tunnel: StreamSocket) {
    let tunnel = try socket.accept()
    let head = try tunnel.readHead()
    try tunnel.write(reply)
    return (head, tunnel)
  }
}

private let established = "HTTP/1.1 200 OK\r\nVia: 1.1 somebody\r\n\r\n"

extension StreamSocket {
  fileprivate func readProxyHeader() throws -> ReceivedProxyHeader {
    let head = try readExactly(16)
    return try ReceivedProxyHeader(
      head + (try readExactly(Int(head[14]) << 8 | Int(head[15]))))
  }
}

extension SluiceProcess {
  fileprivate func line(_ count: Int) throws -> JSONValue {
    _ = try records(count)
    return try JSONValue(try #require(lines.records.last))
  }
}

/// Another Sluice as the parent; the header is the first thing that the server hears, and the
/// server, which speaks first, is heard whole.
@Test("through another proxy", arguments: Engine.all)
func backendThroughParent(engine: Engine) throws {
  let server = try ListeningSocket()
  let proxy = try ForwardProxy()
  let setup = reaching(
    ["\(server.endpoint)"], through: ["http://\(proxy.sluice.endpoint)"], "send-proxy: v2",
    engine: engine)
  try withSluice(setup) { sluice in
    for count in 1...3 {
      let client = try sluice.connect(from: "127.0.0.2")
      let upstream = try server.accept()
      #expect(try upstream.readProxyHeader().source == client.local)
      try upstream.write("220 ready\r\n")
      #expect(try client.readText(11) == "220 ready\r\n")
      let bulk = [UInt8](repeating: 7, count: 400_000)
      let writer = Job("client") { try client.write(bulk) }
      #expect(try upstream.readExactly(bulk.count) == bulk)
      try writer.value()
      client.finish()
      #expect(try upstream.readToEnd().ending == .fin)
      try upstream.write("221 bye\r\n")
      upstream.close()
      #expect(try client.readRest() == "221 bye\r\n")
      let line = try sluice.line(count)
      #expect(line["parent"]?.string == "\(proxy.sluice.endpoint)")
      #expect(line["server"]?.string == "\(server.endpoint)")
      #expect(line["bytes_up"]?.number == 400_000 && line["bytes_down"]?.number == 20)
      #expect(line["reason"] == nil && line["tries"]?.number == 1)
    }
  }
  try proxy.sluice.stop()
}

/// The parent's answer and the server's greeting in one segment, and byte by byte; the name goes to
/// the parent as it is written, with credentials of ours.
@Test("the server's first bytes behind the parent's", arguments: Engine.eventSources)
func bannerBehindTheReply(engine: Engine) throws {
  let parent = try ScriptedParent()
  let url = "http://sluice:pass%20word@\(parent.socket.endpoint)"
  let setup = reaching(["mail.example:993"], through: [url], engine: engine)
  try withSluice(setup) { sluice in
    let client = try sluice.connect()
    let (head, tunnel) = try parent.answer(established + "220 ready\r\n")
    #expect(head.line == "CONNECT mail.example:993 HTTP/1.1")
    #expect(head["host"] == "mail.example:993")
    #expect(head["proxy-authorization"] == "Basic c2x1aWNlOnBhc3Mgd29yZA==")
    #expect(try client.readText(11) == "220 ready\r\n")
    try client.write("QUIT\r\n")
    #expect(try tunnel.readText(6) == "QUIT\r\n")
    tunnel.close()
    #expect(try client.readRest() == "")
    client.close()

    let slow = try sluice.connect()
    try slow.write("early")
    let piecemeal = try parent.socket.accept()
    _ = try piecemeal.readHead()
    for byte in Array((established + "220 x\r\n").utf8) { try piecemeal.write([byte]) }
    #expect(try slow.readText(7) == "220 x\r\n")
    #expect(try piecemeal.readText(5) == "early")
    slow.close()
    piecemeal.close()
    let records = try sluice.records(2)
    #expect(records.map(\.bytesDown) == [11, 7] && records.map(\.bytesUp) == [6, 5])
  }
}

/// What a client makes up is no header of ours, however early it says it.
@Test("forged headers in front of a tunnel", arguments: Engine.eventSources)
func forgedHeaderInFrontOfTunnel(engine: Engine) throws {
  let parent = try ScriptedParent()
  let setup = reaching(["a.example:1"], through: [parent.url], engine: engine)
  try withSluice(setup) { sluice in
    let forged = "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"
    // While the parent is waited for, behind it, and cut in two by its answer.
    for (before, behind) in [(forged, ""), ("", forged), ("PROX", "Y TCP4 1.2.3.4 5.6.7.8 1 2\r\n")]
    {
      let client = try sluice.connect()
      let tunnel = try parent.socket.accept()
      _ = try tunnel.readHead()
      if !before.isEmpty {
        try client.write(before)
        try client.waitUntilAcknowledged()
        pause(ms: 30)
      }
      try? tunnel.write(established)
      pause(ms: 30)
      if !behind.isEmpty { try client.write(behind) }
      #expect(try tunnel.readToEnd().bytes == [])
      _ = try client.readToEnd()
    }
    let harmless = try sluice.connect()
    try harmless.write("PROX")
    let (_, tunnel) = try parent.answer(established)
    try tunnel.write("hello")
    #expect(try harmless.readText(5) == "hello")
    try harmless.write("IMITY")
    #expect(try tunnel.readText(9) == "PROXIMITY")
    harmless.close()
    tunnel.close()
    let reasons = try sluice.records(4).map(\.reason)
    #expect(reasons == ["proxy.untrusted", "proxy.untrusted", "proxy.untrusted", nil])
  }
}

private struct Refusal: Sendable, CustomStringConvertible {
  let reply: String
  let reason: String
  var description: String { reason }

  static let all = [
    Refusal(reply: "HTTP/1.1 403 No\r\n\r\n", reason: "parent.refused"),
    Refusal(reply: "HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n", reason: "parent.credentials"),
    Refusal(reply: "HTTP/1.1 502 Bad\r\nContent-Length: 3\r\n\r\nxyz", reason: "parent.unreached"),
    Refusal(reply: "220 mail.example ESMTP\r\n", reason: "parent.nonsense"),
    Refusal(reply: "", reason: "parent.timeout"),
  ]
}

@Test("a parent that makes no tunnel", arguments: Engine.eventSources, Refusal.all)
private func parentThatRefuses(engine: Engine, refusal: Refusal) throws {
  let parent = try ScriptedParent()
  let setup = reaching(
    ["a.example:1"], through: [parent.url], "retries: 0",
    listener: "type: server-first, protocol: smtp", engine: engine,
    timeouts: "drain: 1s, connect: 300ms")
  try withSluice(setup) { sluice in
    let client = try sluice.connect()
    let (_, tunnel) = try parent.answer(refusal.reply)
    #expect(try client.readRest().hasPrefix("421 "))
    _ = try tunnel.readToEnd()
    let line = try sluice.line(1)
    #expect(line["reason"]?.string == refusal.reason)
    #expect(line["parent"]?.string == "\(parent.socket.endpoint)")
    #expect(line["bytes_down"]?.number == 0)
  }
}

/// The first parent is not there, the second cannot get to the first server; the second server is
/// then asked of it. One dial's time is enough for a parent that takes no connections, too.
@Test("parents and servers in turn", arguments: Engine.eventSources)
func parentsAndServersInTurn(engine: Engine) throws {
  let hole = try BlackHole()
  let gone = Endpoint.loopback(ReservedPort.take())
  let parent = try ScriptedParent()
  for first in [gone, hole.endpoint] {
    let setup = reaching(
      ["a.example:1", "b.example:2"], through: ["http://\(first)", parent.url], "retries: 1",
      engine: engine, timeouts: "drain: 1s, connect: 2s")
    try withSluice(setup) { sluice in
      let client = try sluice.connect()
      let (refused, _) = try parent.answer("HTTP/1.1 503 Not now\r\n\r\n")
      let (taken, tunnel) = try parent.answer(established)
      #expect(Set([refused.line, taken.line]).count == 2, "\(refused.line)")
      try tunnel.write("hello")
      #expect(try client.readText(5) == "hello")
      client.close()
      tunnel.close()
      let line = try sluice.line(1)
      #expect(line["parent"]?.string == "\(parent.socket.endpoint)")
      #expect(line["tries"]?.number ?? 0 >= 3)
    }
  }
}

/// A tunnel that breaks off before the server has said a word is a server that was not there.
@Test("a tunnel that breaks off", arguments: Engine.eventSources)
func tunnelThatBreaksOff(engine: Engine) throws {
  let parent = try ScriptedParent()
  let setup = reaching(
    ["a.example:1", "b.example:2"], through: [parent.url], "retries: 1, send-proxy: v2",
    engine: engine)
  try withSluice(setup) { sluice in
    let client = try sluice.connect()
    let (_, broken) = try parent.answer(established)
    _ = try broken.readProxyHeader()
    broken.reset()
    let (_, tunnel) = try parent.answer(established)
    _ = try tunnel.readProxyHeader()
    try tunnel.write("hello")
    #expect(try client.readText(5) == "hello")
    client.close()
    tunnel.close()
    // A parent that resets in place of an answer is no reason to give up either.
    let second = try sluice.connect()
    let rude = try parent.socket.accept()
    _ = try rude.readHead()
    rude.reset()
    #expect(try second.readRest() == "")
    #expect(try sluice.records(2)[1].reason == "dial.reset")
  }
}

/// TLS with the server inside of the tunnel, behind the header; a client that has half-closed
/// already is heard to its end.
@Test("TLS inside of a tunnel", arguments: Engine.eventSources)
func tlsInsideOfATunnel(engine: Engine) throws {
  let directory = try TemporaryDirectory()
  let certificate = try TestCertificate("far", ["DNS:far.example"], in: directory)
  // A Sluice that ends the TLS stands in front of the server.
  let server = try ListeningSocket()
  var inner = Setup(engine, servers: [server.endpoint])
  inner.listener =
    "type: server-first, tls: { certificates: \(certificate.both) }, "
    + "proxy-protocol: { sources: [{ networks: [127.0.0.0/8], header: require }] }"
  inner.backend = "send-proxy: v2"
  let names = try NameServer()
  names.set("far.example", .a(127, 0, 0, 1))
  let proxy = try ForwardProxy(extra: "resolver: { servers: [\"\(names.address)\"] }")
  try withSluice(inner) { far in
    let trusted = "tls: { ca: \(certificate.chain) }, send-proxy: v2, retries: 0"
    let target = "far.example:\(far.endpoint.port)"
    let setup = reaching(
      [target], through: ["http://\(proxy.sluice.endpoint)"], trusted, engine: engine)
    try withSluice(setup) { sluice in
      let client = try sluice.connect(from: "127.0.0.3")
      try client.write("last words")
      client.finish()
      let upstream = try server.accept()
      #expect(try upstream.readProxyHeader().source == client.local)
      #expect(try upstream.readRest() == "last words")
      try upstream.write("220 ready\r\n")
      upstream.close()
      #expect(try client.readRest() == "220 ready\r\n")
      let record = try sluice.record()
      #expect(record.bytesUp == 10 && record.bytesDown == 11 && record.reason == nil)
    }
    // Whose certificate nobody vouches for gets no byte.
    let wary = reaching(
      [target], through: ["http://\(proxy.sluice.endpoint)"],
      "tls: {}, send-proxy: v2, retries: 0", engine: engine)
    try withSluice(wary) { sluice in
      let client = try sluice.connect()
      #expect(try client.readRest() == "")
      #expect(try sluice.record().reason == "dial.tls")
      #expect(try sluice.line(1)["upstream_tls_failure"]?.string?.isEmpty == false)
    }
  }
  try proxy.sluice.stop()
  names.stop()
}

/// A STARTTLS listener speaks with the server through the tunnel, whose greeting may come in one
/// piece with the parent's answer.
@Test("STARTTLS through a tunnel", arguments: Engine.eventSources, [false, true])
func startTLSThroughATunnel(engine: Engine, atOnce: Bool) throws {
  let parent = try ScriptedParent()
  let setup = reaching(
    ["mail.example:143"], through: [parent.url], "send-proxy: v2",
    listener: "type: starttls, protocol: imap", engine: engine)
  try withSluice(setup) { sluice in
    let client = try sluice.connect()
    try client.askForTLS(.imap)
    let hello = TLSHello("mail.example").bytes
    try client.write(hello)
    let greeting = "* OK ready\r\n"
    let (_, tunnel) = try parent.answer(established + (atOnce ? greeting : ""))
    _ = try tunnel.readProxyHeader()
    if !atOnce { try tunnel.write(greeting) }
    #expect(try tunnel.readText(13) == "S1 STARTTLS\r\n")
    try tunnel.write("S1 OK go\r\n")
    #expect(try tunnel.readExactly(hello.count) == hello)
    try tunnel.write(serverRecord)
    #expect(try client.readExactly(serverRecord.count) == serverRecord)
    client.close()
    tunnel.close()
    #expect(try sluice.record().reason == nil)
  }
}

/// Checks see the server through the parents, past one that is not there, and a server that has
/// gone behind one.
@Test("checks through parents")
func checksThroughParents() throws {
  let gone = Endpoint.loopback(ReservedPort.take())
  let proxy = try ForwardProxy()
  let server = try Greeter(.greets("220 far\r\n"))
  let setup = reaching(
    ["\(server.endpoint)"], through: ["http://\(gone)", "http://\(proxy.sluice.endpoint)"],
    "check: { type: smtp, interval: 100ms, rise: 1, fall: 1 }")
  try withSluice(setup) { sluice in
    try wait(for: "checks at the server") { server.accepted > 3 }
    #expect(!sluice.child.standardError.contains("is down"), "\(sluice.child.standardError)")
    try server.stop()
    try wait(for: "the server to be down: \(sluice.child.standardError)") {
      sluice.child.standardError.contains(
        "server back/\(server.endpoint) is down: parent \(proxy.sluice.endpoint): cannot reach it")
    }
    let again = try Greeter(.greets("220 far\r\n"), at: server.endpoint)
    try wait(for: "it to be up again") { sluice.child.standardError.contains("is up") }
    try again.stop()
  }
  try proxy.sluice.stop()
}
