import TestSupport
import Testing

// The default profiles of container engines deny io_uring_setup(2). With `events: auto` the daemon
// works all the same, on epoll, and says so in one line; whoever insists on `events: ring` gets one
// clear sentence and exit code 1.

@Test("io_uring denied: epoll takes over")
func ringDenied() throws {
  let server = try ListeningSocket()
  var setup = Setup(Engine(events: "auto", splice: "auto"), servers: [server.endpoint])
  setup.listener = "type: server-first"
  setup.limits.denyRing = true
  try withSluice(setup) { sluice in
    let lines = sluice.child.standardError.split(separator: "\n")
    #expect(lines.contains { $0.contains("serving") && $0.contains("events: epoll") })
    #expect(
      lines.count { $0.contains("io_uring") && $0.contains("epoll") } == 1,
      "said: \(sluice.child.standardError)")
    let pattern = Pattern(seed: 61)
    let client = try sluice.connect()
    let upstream = try server.accept()
    let writer = Job("client") {
      try client.send(pattern, count: 2_000_000)
      client.finish()
    }
    #expect(try upstream.expect(pattern).count == 2_000_000)
    try writer.value()
    upstream.close()
    #expect(try client.readToEnd().ending == .fin)
  }
}

@Test("io_uring denied: asking for it is an error")
func ringDeniedButWanted() throws {
  let setup = Setup(
    Engine(events: "ring", splice: "auto"), servers: [.loopback(ReservedPort.take())])
  let directory = try TemporaryDirectory()
  try writeFile(directory.file("sluice.yaml"), setup.yaml(log: directory.file("connections")))
  var limits = ChildProcess.Limits()
  limits.denyRing = true
  let (exit, _, said) = try SluiceBinary.run(
    ["run", "-c", directory.file("sluice.yaml")], limits: limits)
  #expect(exit == .code(1))
  #expect(said.contains("io_uring") && said.contains("epoll"), "said: \(said)")
  #expect(said.split(separator: "\n").count == 1, "said: \(said)")
}

// With the ring at hand `auto` uses it.
@Test("io_uring allowed: auto takes it")
func ringAllowed() throws {
  let setup = Setup(
    Engine(events: "auto", splice: "auto"), servers: [.loopback(ReservedPort.take())])
  try withSluice(setup) { sluice in
    #expect(sluice.child.standardError.contains("events: ring"))
  }
}
