import System
import TestSupport
import Testing

// Clients of a forward proxy try to get at what listens on this machine: by every way to write its
// address, by names that stand for it, and by a name that stands for another address when it is
// looked at. A canary listens there, and nobody ever gets through to it.

/// A forward proxy whose guard makes an exception for 127.0.0.2 alone, which stands for the world.
private struct GuardedProxy {
  let names: NameServer
  let sluice: SluiceProcess
  let canary: ListeningSocket
  let metrics = ReservedPort.take()

  init() throws {
    canary = try ListeningSocket()
    names = try NameServer()
    let directory = try TemporaryDirectory()
    let bind = Endpoint.loopback(ReservedPort.take())
    sluice = try SluiceProcess(
      yaml: """
        workers: 2
        log: { connections: "\(directory.file("connections"))" }
        timeouts: { drain: 1s }
        resolver: { servers: ["\(names.address)"], min-ttl: 100ms }
        metrics: { bind: "127.0.0.1:\(metrics)" }
        listeners:
          out: { bind: "\(bind)", type: http-proxy, egress: office }
        egress:
          office:
            rules: [{ name: all, action: allow }]
            guard: { allow: [127.0.0.2] }
            connect-ports: [1-65535]
            ports: [1-65535]

        """, in: directory, at: bind)
  }

  /// The status line of a refusal or a reply, and what followed it.
  func ask(_ request: String) throws -> String {
    let client = try sluice.connect()
    defer { client.close() }
    try client.write(request)
    client.finish()
    let (bytes, _) = try client.readToEnd()
    return String(decoding: bytes, as: UTF8.self)
  }

  func connect(to target: String) throws -> String {
    try ask("CONNECT \(target) HTTP/1.1\r\nHost: \(target)\r\n\r\n")
  }

  func get(from target: String) throws -> String {
    try ask("GET http://\(target)/ HTTP/1.1\r\nHost: \(target)\r\nConnection: close\r\n\r\n")
  }

  /// Nobody came.
  func expectSilence() throws {
    #expect(try canary.accept(withinMs: 50) == nil)
  }

  func stop() throws {
    try sluice.stop()
    names.stop()
  }
}

private let waysInside = [
  "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7F.1", "0x7f.0.0.0x1",
  "0177.0.0.1", "017700000001", "127.0.0.01", "127.0.0.1.", "0.0.0.0", "0", "0x0", "[::1]", "[::]",
  "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
  "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]",
  "[2002:7f00:1::]", "[2001:0:7f00:1::]", "[2001::80ff:fffe]", "localhost", "LOCALHOST",
  "localhost.", "inside.test", "INSIDE.test.", "inside6.test", "alias.test", "both.test",
  "169.254.169.254", "[fd00:ec2::254]", "[fe80::1%25lo]", "[::1%25lo]",
]

@Test("no way to write an address leads inside")
func noWayInside() throws {
  let proxy = try GuardedProxy()
  proxy.names.set("inside.test", .a(127, 0, 0, 1))
  proxy.names.set("inside6.test", .loopback6())
  proxy.names.set("alias.test", .alias("inside.test"), .a(127, 0, 0, 1).of("inside.test"))
  proxy.names.set("both.test", .a(127, 0, 0, 1), .a(10, 0, 0, 1))
  let port = proxy.canary.port
  for host in waysInside {
    for reply in [
      try proxy.connect(to: "\(host):\(port)"), try proxy.get(from: "\(host):\(port)"),
    ] {
      let status = reply.split(separator: " ").dropFirst().first.map(String.init) ?? reply
      #expect(["400", "403", "502"].contains(status), "\(host): \(reply)")
    }
  }
  try proxy.expectSilence()
  // Each of them is counted, by its reason and the rule that let it through to the guard.
  let counts = try httpGet(proxy.metrics, "/metrics").body
  for series in [
    #"sluice_listener_rejected_total{listener="out",reason="egress.guard"} "#,
    #"sluice_listener_rejected_total{listener="out",reason="egress.numeric-host"} "#,
    #"sluice_rule_taken_total{listener="out",rule="all"} "#,
  ] { #expect(counts.contains("\n\(series)"), "\(series)") }
  try proxy.stop()
}

/// Of a name with several addresses, only those that may be are dialled, in whatever order.
@Test("one good address makes no way for a bad one")
func goodBesideBad() throws {
  let proxy = try GuardedProxy()
  proxy.names.set("mixed.test", .a(127, 0, 0, 1), .a(127, 0, 0, 2))
  proxy.names.set("dixem.test", .a(127, 0, 0, 2), .a(127, 0, 0, 1))
  for name in ["mixed.test", "dixem.test"] {
    // Nobody listens at the good one, so that all that could be tried is tried.
    let reply = try proxy.connect(to: "\(name):\(proxy.canary.port)")
    #expect(reply.hasPrefix("HTTP/1.1 50"), "\(reply)")
  }
  try proxy.expectSilence()
  try proxy.stop()
}

// DNS rebinding: the name stands for an address that may be reached, then for one inside, then
// again for the first, as fast as its name server can say it.
@Test("a name that changes its address leads nowhere else")
func rebinding() throws {
  let proxy = try GuardedProxy()
  let origin = try ListeningSocket(.inet("127.0.0.2", proxy.canary.port))
  let isOver = Guarded(false)
  let job = Job("origin") {
    while !isOver.withLock({ $0 }) {
      guard let client = try? origin.accept(withinMs: 50) else { continue }
      _ = try? client.readHead()
      try? client.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngood")
      client.close()
    }
  }
  var (good, denied) = (0, 0)
  let deadline = Deadline(inMs: 60_000)
  var turn = 0
  while good < 10 || denied < 10 {
    if deadline.hasPassed { throw TestFailure("\(good) good, \(denied) denied") }
    let isInside = turn % 2 == 0
    turn += 1
    proxy.names.set("rebind.test", isInside ? .a(127, 0, 0, 1, ttl: 0) : .a(127, 0, 0, 2, ttl: 0))
    for _ in 0..<4 {
      let reply = try proxy.get(from: "rebind.test:\(proxy.canary.port)")
      if reply.hasPrefix("HTTP/1.1 200 "), reply.hasSuffix("good") {
        good += 1
      } else if reply.hasPrefix("HTTP/1.1 403 Denied by the guard: loopback") {
        denied += 1
      } else {
        throw TestFailure("neither: \(reply)")
      }
      pause(ms: 40)
    }
  }
  try proxy.expectSilence()
  try proxy.stop()
  isOver.withLock { $0 = true }
  _ = try job.value()
}
