import TestSupport
import Testing

// Memory is scarce: accepting pauses and the log says so. Who comes waits in the kernel's queue,
// unharmed, and is served once there are fewer connections.

@Test("memory limit", arguments: Engine.eventSources, [1, 2])
func memoryLimit(engine: Engine, workers: Int) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  setup.workers = workers
  setup.extra = "limits: { memory: 1MiB }"
  try withSluice(setup) { sluice in
    var clients: [StreamSocket] = []
    var upstreams: [StreamSocket] = []
    // With fewer it would not pause.
    for _ in 0..<100 {
      clients.append(try sluice.connect())
      upstreams.append(try server.accept())
    }
    try wait(for: "the pause") {
      sluice.child.standardError.contains("accepting pauses, clients wait: ")
        && sluice.child.standardError.contains("limits.memory")
    }
    // The workers hear of it in a moment.
    var late = try sluice.connect()
    for _ in 0..<5 {
      guard let upstream = try server.accept(withinMs: 300) else { break }
      clients.append(late)
      upstreams.append(upstream)
      late = try sluice.connect()
    }
    #expect(try server.accept(withinMs: 100) == nil && clients.count < 105)
    for socket in clients.prefix(60) + upstreams.prefix(60) { socket.close() }
    let served = try server.accept()
    try served.write("hello")
    #expect(try late.readExactly(5) == Array("hello".utf8))
    try wait(for: "the end of the pause") {
      sluice.child.standardError.contains("accepting goes on")
    }
    for socket in clients + upstreams + [late, served] { socket.close() }
  }
}
