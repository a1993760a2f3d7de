import TestSupport
import Testing

// A forward proxy with a file of users: who logs in with a good password is let out and stands in
// the log by name; who does not hears 407, and how to. Passwords are nowhere in the log. Users and
// sources have so many tunnels at once, and no more.

private func users(in directory: TemporaryDirectory) throws -> String {
  var lines = ""
  for (user, password) in [("ann", "secret"), ("bob", "pa:ss")] {
    let made = try ChildProcess.run("openssl", ["passwd", "-6", password])
    guard made.exit == .code(0) else { throw TestFailure("openssl passwd: \(made.error)") }
    lines += "\(user):\(made.output)"
  }
  let path = directory.file("users")
  try writeFile(path, lines)
  return path
}

private let rules = """
  [{ name: bobs, user: bob, host: bob.example, action: allow },
    { name: all, user: [ann, bob], action: allow }]
  """

/// Basic of `ann:secret`, `bob:pa:ss`, `ann:wrong` and `eve:secret`.
private let (ann, bob) = ("YW5uOnNlY3JldA==", "Ym9iOnBhOnNz")
private let (wrong, eve) = ("YW5uOndyb25n", "ZXZlOnNlY3JldA==")

@Test("users of a forward proxy", arguments: Engine.eventSources)
func egressUsers(engine: Engine) throws {
  let directory = try TemporaryDirectory()
  let file = try users(in: directory)
  let proxy = try ForwardProxy(
    engine, rules: rules, settings: ["users: \(file)", "realm: Office"])
  let origin = try ListeningSocket()
  let target = "127.0.0.1:\(origin.endpoint.port)"
  for credentials in [nil, wrong, eve, "Zm9v", "Basic"] as [String?] {
    let client = try proxy.connect()
    let field = credentials.map { "Proxy-Authorization: Basic \($0)\r\n" } ?? ""
    try client.write("CONNECT \(target) HTTP/1.1\r\nHost: a\r\n\(field)\r\n")
    let head = try client.readHead()
    #expect(head.line.hasPrefix("HTTP/1.1 407 "), "\(head)")
    #expect(head["proxy-authenticate"]?.hasPrefix("Basic realm=\"Office\"") == true)
    _ = try client.readRest()
  }
  for credentials in [ann, bob, ann] {
    let client = try proxy.connect()
    try client.write(
      "CONNECT \(target) HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Basic \(credentials)\r\n\r\n")
    #expect(try client.readHead().line.hasPrefix("HTTP/1.1 200 "))
    let server = try origin.accept()
    client.close()
    #expect(try server.readRest() == "")
    server.close()
  }
  // Each request of a connection brings its own.
  let client = try proxy.connect()
  try client.write(
    "GET http://\(target)/ HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Basic \(ann)\r\n\r\n")
  let server = try origin.accept()
  #expect(try server.readHead().names == ["host", "via"])
  try server.write("HTTP/1.1 204 None\r\n\r\n")
  #expect(try client.readHead().line == "HTTP/1.1 204 None")
  try client.write("GET http://\(target)/ HTTP/1.1\r\nHost: a\r\n\r\n")
  #expect(try client.readHead().line.hasPrefix("HTTP/1.1 407 "))
  client.close()
  _ = try proxy.sluice.records(9)
  let lines = try proxy.sluice.lines.records
  let told = try lines.map { try JSONValue($0) }
  let named = told.prefix(8).map { $0["user"]?.string }
  #expect(named == [nil, nil, nil, nil, nil, "ann", "bob", "ann"])
  #expect(
    told.prefix(3).map { $0["reason"]?.string }
      == ["egress.no-credentials", "egress.bad-credentials", "egress.bad-credentials"])
  for secret in ["secret", "pa:ss", ann, bob, wrong] {
    #expect(!lines.contains { $0.contains(secret) })
  }
  try proxy.sluice.stop()
}

@Test("so many tunnels and no more", arguments: ["per-user", "per-source"])
func egressLimits(limit: String) throws {
  let directory = try TemporaryDirectory()
  let file = try users(in: directory)
  let proxy = try ForwardProxy(
    rules: rules, settings: ["users: \(file)", "limits: { \(limit): 2 }"])
  let origin = try ListeningSocket()
  let target = "127.0.0.1:\(origin.endpoint.port)"
  func open(_ credentials: String) throws -> (StreamSocket, String) {
    let client = try proxy.connect()
    try client.write(
      "CONNECT \(target) HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Basic \(credentials)\r\n\r\n")
    return (client, String(try client.readHead().line.dropFirst(9).prefix(3)))
  }
  let first = try open(ann)
  let second = try open(ann)
  #expect(first.1 == "200" && second.1 == "200")
  #expect(try open(ann).1 == "429")
  #expect(try open(bob).1 == (limit == "per-user" ? "200" : "429"))
  // One goes, and one may come.
  let servers = [try origin.accept(), try origin.accept()]
  first.0.close()
  #expect(try servers[0].readRest() == "")
  servers[0].close()
  _ = try proxy.sluice.records(limit == "per-user" ? 2 : 3)
  #expect(try open(ann).1 == "200")
  try proxy.sluice.stop()
}
