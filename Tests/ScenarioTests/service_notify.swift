import Glibc
import TestSupport
import Testing

// The unit's notify messages, received by a socket of the test's own in the place of systemd:
// ready, a reload, signs of life while nothing happens at all, the end. sd_notify(3)

private func start(
  _ heard: NotifySocket, in directory: TemporaryDirectory, _ extra: [String: String] = [:],
  servers: [Endpoint] = [.loopback(9)]
) throws -> (ChildProcess, Endpoint) {
  var setup = Setup(Engine.eventSources[0], servers: servers)
  setup.workers = 2
  setup.listener = "type: server-first"
  let file = directory.file("sluice.yaml")
  try writeFile(file, setup.yaml(log: directory.file("connections")))
  let child = try ChildProcess(
    SluiceBinary.path, ["run", "-c", file],
    environment: ["NOTIFY_SOCKET": heard.place].merging(extra) { $1 })
  return (child, setup.bind)
}

private func monotonicUs(of lines: [String]) throws -> Int64 {
  let prefix = "MONOTONIC_USEC="
  let line = try #require(lines.first { $0.hasPrefix(prefix) })
  return try #require(Int64(line.dropFirst(prefix.count)))
}

@Test("the service manager hears of start, reload and end, in order")
func notifyMessagesInOrder() throws {
  let directory = try TemporaryDirectory()
  let heard = try NotifySocket(directory.file("notify"))
  let (child, _) = try start(heard, in: directory)
  #expect(try heard.next() == ["READY=1", "STATUS=serving 1 listener with 2 workers"])
  #expect(child.standardError.contains("serving"), "ready before it served")

  let before = TestSupport.monotonicUs()
  child.signal(SIGHUP)
  // Counts may come in between.
  let reloading = try heard.next { $0 == "RELOADING=1" }
  let at = try monotonicUs(of: reloading)
  #expect(before <= at && at <= TestSupport.monotonicUs())
  _ = try heard.next { $0 == "READY=1" }

  child.signal(SIGTERM)
  let stopping = try heard.next { $0 == "STOPPING=1" }
  // The set-up's drain of 5 s, and what the end itself may take.
  #expect(stopping.contains("EXTEND_TIMEOUT_USEC=15000000"))
  #expect(try child.waitForExit() == .code(0))
  while let lines = heard.waiting() { #expect(!lines.contains("READY=1"), "after the end") }
}

@Test("live connections stand in the status")
func statusHasLiveCounts() throws {
  let directory = try TemporaryDirectory()
  let heard = try NotifySocket(directory.file("notify"))
  let server = try ListeningSocket()
  let (child, bind) = try start(heard, in: directory, servers: [server.endpoint])
  _ = try heard.next { $0 == "READY=1" }
  let clients = try (0..<3).map { _ in try StreamSocket.connect(to: bind) }
  let upstreams = try (0..<3).map { _ in try server.accept() }
  _ = try heard.next { $0.hasPrefix("STATUS=serving") && $0.hasSuffix("; 3 connections") }
  for side in clients + upstreams { side.close() }
  _ = try heard.next { $0.hasPrefix("STATUS=serving") && $0.hasSuffix("; 0 connections") }
  child.signal(SIGTERM)
  #expect(try child.waitForExit() == .code(0))
}

// The workers have nothing to do and sleep; the question wakes them.
@Test("signs of life come while all workers are idle, and only where they are wanted")
func watchdogIsFed() throws {
  let directory = try TemporaryDirectory()
  let heard = try NotifySocket(directory.file("notify"))
  let (child, _) = try start(heard, in: directory, ["WATCHDOG_USEC": "600000"])
  #expect(try heard.next().first == "READY=1")
  for _ in 0..<3 { _ = try heard.next { $0 == "WATCHDOG=1" } }
  child.signal(SIGTERM)
  #expect(try child.waitForExit() == .code(0))

  let ofAnother = try NotifySocket(directory.file("another"))
  let (deaf, _) = try start(
    ofAnother, in: directory, ["WATCHDOG_USEC": "600000", "WATCHDOG_PID": "1"])
  // The first counts come with the first look, which would be the first sign of life, too.
  _ = try ofAnother.next { $0.contains("connections") }
  deaf.signal(SIGTERM)
  #expect(try deaf.waitForExit() == .code(0))
  while let lines = ofAnother.waiting() { #expect(!lines.contains("WATCHDOG=1")) }
}

@Test("a service manager that has gone is one warning, and no reason to stop")
func notifyNobodyThere() throws {
  let directory = try TemporaryDirectory()
  let server = try ListeningSocket()
  let gone = directory.file("gone")
  let heard = try NotifySocket(gone)
  let (child, bind) = try start(heard, in: directory, servers: [server.endpoint])
  _ = try heard.next()
  unlink(gone)
  child.signal(SIGHUP)
  try wait(for: "the warning: \(child.standardError)") {
    child.standardError.contains("the service manager cannot be told anything")
  }
  let client = try StreamSocket.connect(to: bind)
  try server.accept().close()
  #expect(try client.readToEnd().ending == .fin)
  child.signal(SIGTERM)
  #expect(try child.waitForExit() == .code(0))
  #expect(
    child.standardError.split(separator: "\n").count { $0.contains("cannot be told") } == 1)
}
