import TestSupport
import Testing

// Plain HTTP through the forward proxy: one connection of a client carries requests to different
// hosts, one after the other. Each origin gets a request as if from a client of its own, without
// what was meant for the proxy, and the client gets each response whole and in order.

private func request(
  _ origin: ListeningSocket, _ path: String, _ fields: String = "", body: String = ""
) -> String {
  request("GET", origin, path, fields, body: body)
}

private func request(
  _ method: String, _ origin: ListeningSocket, _ path: String, _ fields: String = "",
  body: String = ""
) -> String {
  "\(method) http://127.0.0.1:\(origin.endpoint.port)\(path) HTTP/1.1\r\nHost: other\r\n"
    + "\(fields)\r\n\(body)"
}

private let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

@Test("requests to one host after the other", arguments: Engine.all)
func hostsTakeTurns(engine: Engine) throws {
  let proxy = try ForwardProxy(engine)
  let origins = [try ListeningSocket(), try ListeningSocket()]
  let client = try proxy.connect()
  var servers: [Int: StreamSocket] = [:]
  for (number, place) in [0, 0, 1, 1, 0].enumerated() {
    try client.write(
      request(
        origins[place], "/\(number)",
        "Proxy-Authorization: Basic YTpi\r\nProxy-Connection: keep-alive\r\nX: y\r\n"))
    // The one before has gone.
    if number == 2 || number == 4 { #expect(try servers[1 - place]?.readRest() == "") }
    let isNew = number != 1 && number != 3
    let server = try isNew ? origins[place].accept() : servers[place]!
    servers[place] = server
    let head = try server.readHead()
    #expect(head.line == "GET /\(number) HTTP/1.1")
    #expect(head["host"] == "127.0.0.1:\(origins[place].endpoint.port)" && head["x"] == "y")
    #expect(head.names == ["host", "x", "via"])
    try server.write(answer)
    let response = try client.readHead()
    #expect(response.line == "HTTP/1.1 200 OK" && response["via"] == "1.1 sluice")
    #expect(try client.readText(2) == "ok")
  }
  client.close()
  #expect(try servers[0]!.readRest() == "")
  servers[0]!.close()
  let record = try proxy.record()
  #expect(record["requests"]?.number == 5 && record["status"]?.number == 200)
  #expect(record["tries"]?.number == 3 && record["user"] == nil)
  // Each of the others has a line of its own.
  let others = try proxy.sluice.lines.requests.map { try JSONValue($0) }
  #expect(others.map { $0["requests"]?.number } == [1, 2, 3, 4])
  #expect(
    others.map { $0["target"]?.string } == [0, 0, 1, 1].map { "\(origins[$0].endpoint)" })
  for line in others {
    #expect(line["id"]?.string == record["id"]?.string && line["status"]?.number == 200)
    #expect(line["rule"]?.string == "all" && line["method"]?.string == "GET")
    #expect(line["bytes_up"] == nil && line["end"] == nil && line["tries"] == nil, "\(line)")
  }
  try proxy.sluice.stop()
}

@Test("requests that do not wait for responses", arguments: Engine.eventSources, [false, true])
func pipelined(engine: Engine, endsAtOnce: Bool) throws {
  let proxy = try ForwardProxy(engine)
  let origins = [try ListeningSocket(), try ListeningSocket()]
  let client = try proxy.connect()
  try client.write(
    request(origins[0], "/1")
      + request("POST", origins[0], "/2", "Content-Length: 5\r\n", body: "12345")
      + request(origins[1], "/3") + request(origins[0], "/4"))
  if endsAtOnce { client.finish() }
  let first = try origins[0].accept()
  #expect(try first.readHead().line == "GET /1 HTTP/1.1")
  try first.write(answer)
  #expect(try first.readHead()["content-length"] == "5")
  #expect(try first.readText(5) == "12345")
  try first.write("HTTP/1.1 204 None\r\n\r\n")
  let second = try origins[1].accept()
  #expect(try second.readHead().line == "GET /3 HTTP/1.1")
  try second.write(answer)
  let third = try origins[0].accept()
  #expect(try third.readHead().line == "GET /4 HTTP/1.1")
  try third.write("HTTP/1.1 200 Last\r\nContent-Length: 4\r\n\r\nlast")
  for expected in ["200 OK", "204 None", "200 OK", "200 Last"] {
    let head = try client.readHead()
    #expect(head.line == "HTTP/1.1 \(expected)")
    _ = try client.readText(Int(head["content-length"] ?? "0")!)
  }
  if !endsAtOnce { client.finish() }
  #expect(try third.readRest() == "")
  third.close()
  #expect(try client.readRest() == "")
  try proxy.sluice.stop()
}

/// What each response is, and what the client gets of it; the connection goes on behind those that
/// have an end of their own.
@Test("responses of every length", arguments: Engine.all)
func responses(engine: Engine) throws {
  let proxy = try ForwardProxy(engine)
  let origin = try ListeningSocket()
  let long = String(repeating: "0123456789abcdef", count: 20_000)
  let size = String(long.utf8.count, radix: 16)
  let chunks = "5;x=y\r\nabcde\r\n\(size)\r\n\(long)\r\n0\r\nT: u\r\n\r\n"
  let cases: [(method: String, response: String, body: String)] = [
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: \(long.utf8.count)\r\n\r\n\(long)", long),
    ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\(chunks)", chunks),
    ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", ""),
    ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""),
    ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", ""),
    ("GET", "HTTP/1.1 204 None\r\n\r\n", ""),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
    ("OPTIONS", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
    ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
    ("GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "ok"),
    ("GET", "HTTP/1.1 200 OK\r\n\r\n\(long)", long),
  ]
  let client = try proxy.connect()
  var server: StreamSocket?
  for (number, one) in cases.enumerated() {
    try client.write(request(one.method, origin, "/\(number)"))
    // What says that it is the last one is.
    if number == 9 || number == 10 {
      #expect(try server?.readRest() == "")
      server = nil
    }
    let from = try server ?? origin.accept()
    server = from
    #expect(try from.readHead().line == "\(one.method) /\(number) HTTP/1.1")
    let writer = Job("origin") { [from] in try from.write(one.response) }
    let head = try client.readHead()
    #expect(head.line.hasPrefix("HTTP/1.1 "), "\(number)")
    let isToEnd = number == cases.count - 1
    #expect(head["connection"] == (isToEnd ? "close" : nil), "\(number)")
    #expect(try client.readText(one.body.utf8.count) == one.body, "\(number)")
    try writer.value()
    if isToEnd { from.close() }
  }
  #expect(try client.readRest() == "")
  try proxy.sluice.stop()
}

@Test("bodies of requests", arguments: Engine.all)
func requestBodies(engine: Engine) throws {
  let proxy = try ForwardProxy(engine)
  let origin = try ListeningSocket()
  let long = String(repeating: "0123456789abcdef", count: 20_000)
  let chunks = "5\r\nabcde\r\n\(String(long.utf8.count, radix: 16))\r\n\(long)\r\n0\r\n\r\n"
  let client = try proxy.connect()
  var server: StreamSocket?
  for (field, body) in [
    ("Content-Length: \(long.utf8.count)", long), ("Transfer-Encoding: chunked", chunks),
    ("Content-Length: 0", ""), ("Transfer-Encoding: chunked", "0\r\nT: u\r\n\r\n"),
  ] {
    let text = request("POST", origin, "/", field + "\r\n", body: body)
    let writer = Job("client") { try client.write(text) }
    let from = try server ?? origin.accept()
    server = from
    let head = try from.readHead()
    #expect(head.names == ["host", field.split(separator: ":")[0].lowercased(), "via"])
    #expect(try from.readText(body.utf8.count) == body)
    try writer.value()
    try from.write(answer)
    #expect(try client.readHead().line == "HTTP/1.1 200 OK")
    #expect(try client.readText(2) == "ok")
  }
  try proxy.sluice.stop()
}

/// The client sends its body only when it is told to go on; or gets its answer without.
@Test("Expect: 100-continue and other interim responses", arguments: Engine.eventSources)
func interimResponses(engine: Engine) throws {
  let proxy = try ForwardProxy(engine)
  let origin = try ListeningSocket()
  let client = try proxy.connect()
  let expecting = request("PUT", origin, "/", "Content-Length: 4\r\nExpect: 100-continue\r\n")
  try client.write(expecting)
  let server = try origin.accept()
  #expect(try server.readHead()["expect"] == "100-continue")
  try server.write("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
  let hints = try client.readHead()
  #expect(hints.line == "HTTP/1.1 103 Early Hints" && hints["link"] == "x")
  #expect(try client.readHead().line == "HTTP/1.1 100 Continue")
  try client.write("body")
  #expect(try server.readText(4) == "body")
  try server.write("HTTP/1.1 102 Wait\r\n\r\n" + answer)
  #expect(try client.readHead().line == "HTTP/1.1 102 Wait")
  #expect(try client.readHead().line == "HTTP/1.1 200 OK")
  #expect(try client.readText(2) == "ok")
  try client.write(expecting)
  #expect(try server.readHead().line == "PUT / HTTP/1.1")
  try server.write("HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno")
  let refusal = try client.readHead()
  // Whether the body comes is not known, so nothing can follow.
  #expect(refusal.line == "HTTP/1.1 417 No" && refusal["connection"] == "close")
  #expect(try client.readText(2) == "no")
  client.close()
  server.close()
  try proxy.sluice.stop()
}

@Test("101 makes a tunnel of it", arguments: Engine.eventSources)
func upgrades(engine: Engine) throws {
  let proxy = try ForwardProxy(engine)
  let origin = try ListeningSocket()
  let client = try proxy.connect()
  try client.write(request(origin, "/", "Connection: Upgrade\r\nUpgrade: websocket\r\n"))
  let server = try origin.accept()
  let head = try server.readHead()
  #expect(head["upgrade"] == "websocket" && head["connection"] == "upgrade")
  try server.write(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nframe")
  let reply = try client.readHead()
  #expect(reply["upgrade"] == "websocket" && reply["connection"] == "upgrade")
  #expect(try client.readText(5) == "frame")
  try client.write("GET http://10.0.0.1/ HTTP/1.1\r\n\r\n")
  #expect(try server.readText(33) == "GET http://10.0.0.1/ HTTP/1.1\r\n\r\n")
  client.finish()
  #expect(try server.readRest() == "")
  server.close()
  #expect(try client.readRest() == "")
  // A switch that nobody has asked for is none.
  let other = try proxy.connect()
  try other.write(request(origin, "/"))
  let wrong = try origin.accept()
  _ = try wrong.readHead()
  try wrong.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
  #expect(try other.readHead().line.hasPrefix("HTTP/1.1 502 "))
  try proxy.sluice.stop()
}

/// An origin may give up a connection that it has kept, at the moment of the next request. One that
/// may be repeated is, and others are not.
@Test("upstreams that are gone", arguments: Engine.eventSources, ["fin", "reset", "late"])
func keptUpstreamsThatEnd(engine: Engine, how: String) throws {
  let proxy = try ForwardProxy(engine)
  let origin = try ListeningSocket()
  let client = try proxy.connect()
  for number in 0..<3 {
    try client.write(request(origin, "/\(number)"))
    var server = try origin.accept()
    #expect(try server.readHead().line == "GET /\(number) HTTP/1.1")
    try server.write(answer)
    #expect(try client.readHead().line == "HTTP/1.1 200 OK")
    #expect(try client.readText(2) == "ok")
    switch how {
    case "fin": server.close()
    case "reset": server.reset()
    default:
      // It ends with the next request in its hands.
      try client.write(request(origin, "/again"))
      #expect(try server.readHead().line == "GET /again HTTP/1.1")
      server.close()
      server = try origin.accept()
      #expect(try server.readHead().line == "GET /again HTTP/1.1")
      try server.write(answer)
      #expect(try client.readHead().line == "HTTP/1.1 200 OK")
      #expect(try client.readText(2) == "ok")
      server.close()
    }
    pause(ms: 20)
  }
  try client.write(request("POST", origin, "/", "Content-Length: 1\r\n", body: "x"))
  let server = try origin.accept()
  #expect(try server.readHead().line == "POST / HTTP/1.1")
  server.close()
  let head = try client.readHead()
  #expect(head.line.hasPrefix("HTTP/1.1 502 "), "\(head)")
  #expect(try client.readRest().hasSuffix("http.bad-response\n"))
  try proxy.sluice.stop()
}

/// A response that is not whole never looks as if it were.
@Test("responses that break off", arguments: Engine.eventSources)
func brokenResponses(engine: Engine) throws {
  let proxy = try ForwardProxy(engine)
  let origin = try ListeningSocket()
  for (response, status, rest) in [
    ("", 502, nil), ("HTTP/1.1 200", 502, nil), ("SSH-2.0-x\r\n", 502, nil),
    ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 502, nil),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", 200, "abc"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 200, "3\r\nabc\r\n"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", 200, "5\r\nabc"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 502, nil),
  ] as [(String, Int, String?)] {
    let client = try proxy.connect()
    try client.write(request(origin, "/"))
    let server = try origin.accept()
    _ = try server.readHead()
    try server.write(response)
    server.close()
    #expect(try client.readHead().line.hasPrefix("HTTP/1.1 \(status) "), "\(response)")
    let got = String(decoding: try client.readToEnd().bytes, as: UTF8.self)
    if let rest { #expect(got == rest) }
    client.close()
  }
  try proxy.sluice.stop()
}

/// Requests that two readers may take for different ones, behind one that is good: none of them
/// reaches an origin.
@Test("smuggled requests")
func smuggledRequests() throws {
  let proxy = try ForwardProxy()
  let origin = try ListeningSocket()
  for (fields, body) in [
    ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ("Content-Length: 5\r\nContent-Length: 6\r\n", "123456"),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), ("X: y\r\n z\r\n", ""),
    ("X: y\nContent-Length: 5\r\n", "12345"), ("Transfer-Encoding: chunked\r\n", "5\n12345"),
    ("Transfer-Encoding: chunked\r\n", "-1\r\n"), ("Host: b\r\n", ""),
  ] {
    let client = try proxy.connect()
    try client.write(request(origin, "/good"))
    let server = try origin.accept()
    _ = try server.readHead()
    try server.write(answer)
    _ = try client.readHead()
    _ = try client.readText(2)
    let smuggled = request(origin, "/smuggled")
    try client.write(request("POST", origin, "/bad", fields, body: body + smuggled))
    #expect(try client.readHead().line.hasPrefix("HTTP/1.1 400 "), "\(fields)")
    _ = try client.readRest()
    #expect(try server.readRest() == "")
    #expect(try origin.accept(withinMs: 10) == nil)
  }
  try proxy.sluice.stop()
}
