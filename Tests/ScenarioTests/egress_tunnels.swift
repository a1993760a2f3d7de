import TestSupport
import Testing

// A client asks the forward proxy for a tunnel with CONNECT. It hears 200 once the origin is
// reached, alone, and from there on each hears the other's bytes and ends, whoever speaks first.
// Who may not have it hears why, and no connection reaches the origin.

@Test("a tunnel by name and by address", arguments: Engine.all)
func tunnels(engine: Engine) throws {
  let proxy = try ForwardProxy(engine)
  for host in ["127.0.0.1", "localhost", "LOCALHOST."] {
    let origin = try ListeningSocket()
    let client = try proxy.connect()
    try client.write(
      "CONNECT \(host):\(origin.endpoint.port) HTTP/1.1\r\nHost: x\r\nUser-Agent: t\r\n\r\n")
    let head = try client.readHead()
    #expect(head.line == "HTTP/1.1 200 Connection established" && head.names == [])
    let server = try origin.accept()
    let up = pattern(seed: 1, count: 300_000)
    let down = pattern(seed: 2, count: 300_000)
    try client.write(Array(up.prefix(10)))
    #expect(try server.readExactly(10) == Array(up.prefix(10)))
    let writer = Job("origin") { try server.write(down) }
    #expect(try client.readExactly(down.count) == down)
    try writer.value()
    try client.write(Array(up.dropFirst(10)))
    client.finish()
    let (rest, ending) = try server.readToEnd()
    #expect(rest == Array(up.dropFirst(10)) && ending == .fin)
    try server.write("bye")
    server.close()
    #expect(try client.readRest() == "bye")
  }
  let records = try proxy.sluice.records(3)
  #expect(records.allSatisfy { $0.bytesUp == 300_000 && $0.bytesDown == 300_003 })
  try proxy.sluice.stop()
}

private func pattern(seed: UInt8, count: Int) -> [UInt8] {
  var value = UInt32(seed)
  return (0..<count).map { _ in
    value = value &* 1_664_525 &+ 1_013_904_223
    return UInt8(truncatingIfNeeded: value >> 24)
  }
}

/// What the origin says at once does not come in one piece with the 200: Go's transport would lose
/// it.
@Test("origins that speak first", arguments: Engine.eventSources)
func tunnelToAnOriginThatSpeaksFirst(engine: Engine) throws {
  let proxy = try ForwardProxy(engine)
  let origin = try ListeningSocket()
  for _ in 0..<20 {
    let client = try proxy.connect()
    try client.write("CONNECT 127.0.0.1:\(origin.endpoint.port) HTTP/1.0\r\n\r\n")
    let server = try origin.accept()
    let reader = Job("client") { try client.receive(atMost: 1000) }
    try server.write("220 ready\r\n")
    guard case .bytes(let first) = try reader.value() else { throw TestFailure("no reply") }
    #expect(String(decoding: first, as: UTF8.self) == "HTTP/1.1 200 Connection established\r\n\r\n")
    #expect(try client.readText(11) == "220 ready\r\n")
    server.close()
    #expect(try client.readRest() == "")
  }
  try proxy.sluice.stop()
}

/// Clients that do not wait for the 200, and some that are slow to ask.
@Test("bytes behind the request", arguments: Engine.eventSources)
func tunnelWithEarlyBytes(engine: Engine) throws {
  let proxy = try ForwardProxy(engine)
  let origin = try ListeningSocket()
  let text = "CONNECT 127.0.0.1:\(origin.endpoint.port) HTTP/1.1\r\nHost: a\r\n\r\nhello"
  for size in [text.utf8.count, 1, 7] {
    let client = try proxy.connect()
    let bytes = Array(text.utf8)
    for start in stride(from: 0, to: bytes.count, by: size) {
      try client.write(Array(bytes[start..<min(start + size, bytes.count)]))
    }
    #expect(try client.readHead().line.hasPrefix("HTTP/1.1 200"))
    let server = try origin.accept()
    #expect(try server.readText(5) == "hello")
    client.reset()
    _ = try server.readToEnd()
  }
  try proxy.sluice.stop()
}

@Test("tunnels that are refused")
func refusedTunnels() throws {
  let canary = try ListeningSocket()
  let gone = ReservedPort.take()
  let port = canary.endpoint.port
  let proxy = try ForwardProxy(settings: ["limits: { head: 4KiB, fields: 10 }"])
  let cases: [(String, Int, String, String)] = [
    ("CONNECT x.social.example:443", 403, "Denied by rule no-social", "egress.rule"),
    ("CONNECT 127.0.0.2:\(port)", 403, "Denied by the guard: loopback, 127.", "egress.guard"),
    ("CONNECT [::ffff:127.0.0.2]:\(port)", 403, "Denied by the guard", "egress.guard"),
    ("CONNECT 2130706433:\(port)", 403, "Denied: a number", "egress.numeric-host"),
    ("CONNECT 0x7f.1:\(port)", 403, "Denied: a number", "egress.numeric-host"),
    ("CONNECT 127.0.0.1:\(gone)", 502, "The origin server refused", "dial.refused"),
    ("CONNECT a..example:443", 400, "Bad request", "http.bad-target"),
    ("CONNECT a.example", 400, "Bad request", "http.bad-target"),
    ("GET /", 400, "Bad request", "http.not-for-proxy"),
  ]
  for (request, status, phrase, reason) in cases {
    let client = try proxy.connect()
    try client.write("\(request) HTTP/1.1\r\nHost: a\r\n\r\n")
    let head = try client.readHead()
    #expect(head.line.hasPrefix("HTTP/1.1 \(status) \(phrase)"), "\(request): \(head)")
    let body = try client.readRest()
    #expect(body.utf8.count == Int(head["content-length"] ?? ""))
    #expect(body.hasSuffix("\n\(reason)\n") && head["connection"] == "close", "\(body)")
  }
  for (more, status) in [
    ("X: \(String(repeating: "y", count: 5000))\r\n", 431),
    (String(repeating: "X: y\r\n", count: 11), 431), ("X : y\r\n", 400),
  ] {
    let client = try proxy.connect()
    try client.write("CONNECT 127.0.0.1:\(port) HTTP/1.1\r\nHost: a\r\n\(more)\r\n")
    #expect(try client.readHead().line.hasPrefix("HTTP/1.1 \(status) "))
  }
  let reasons = try proxy.sluice.records(cases.count + 3).map(\.reason)
  #expect(Array(reasons.prefix(cases.count)) == cases.map { $0.3 })
  #expect(try canary.accept(withinMs: 50) == nil)
  try proxy.sluice.stop()
}

@Test("clients that take their time")
func slowRequests() throws {
  let proxy = try ForwardProxy(settings: ["timeouts: { head: 300ms }"])
  let silent = try proxy.connect()
  let slow = try proxy.connect()
  try slow.write("CONNECT a.example:443 HT")
  #expect(try slow.readHead().line.hasPrefix("HTTP/1.1 408 "))
  #expect(try silent.readRest() == "")
  let left = try proxy.connect()
  left.close()
  let records = try proxy.sluice.records(3)
  #expect(Set(records.map(\.reason)) == ["http.request-timeout", nil])
  try proxy.sluice.stop()
}

/// A name with several addresses: those that the guard denies are left out, and one that refuses is
/// followed by the next.
@Test("names with several addresses", arguments: Engine.eventSources)
func tunnelByName(engine: Engine) throws {
  let names = try NameServer()
  names.set("two.example", .a(127, 0, 0, 2), .a(127, 0, 0, 1), .loopback6())
  names.set("inside.example", .a(127, 0, 0, 3), .a(10, 0, 0, 1))
  let proxy = try ForwardProxy(
    engine, extra: "resolver: { servers: [\"\(names.address)\"], timeout: 300ms, attempts: 1 }")
  let origin = try ListeningSocket()
  let client = try proxy.connect()
  try client.openTunnel(to: "two.example:\(origin.endpoint.port)")
  let server = try origin.accept()
  try server.write("x")
  #expect(try client.readText(1) == "x")
  client.close()
  server.close()
  let record = try proxy.record()
  #expect(record["address"]?.string == "127.0.0.1:\(origin.endpoint.port)")
  #expect(record["target"]?.string == "two.example:\(origin.endpoint.port)")
  #expect(record["rule"]?.string == "all" && record["method"]?.string == "CONNECT")
  for (name, status, reason) in [
    ("inside.example", 403, "egress.guard"), ("none.example", 502, "egress.unresolved"),
  ] {
    for _ in 0..<2 {
      let client = try proxy.connect()
      try client.write("CONNECT \(name):443 HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.readHead().line.hasPrefix("HTTP/1.1 \(status) "))
      #expect(try client.readRest().hasSuffix("\(reason)\n"))
    }
  }
  #expect(names.count(1, "inside.example") == 1)
  names.stop()
  try proxy.sluice.stop()
}
