import Glibc
import TestSupport
import Testing

// Two reloads at once: one is done, the other is told that somebody is at it. The file is a FIFO
// here, so that the first reload reads for as long as we like.

@Test("two reloads at once")
func twoReloadsAtOnce() throws {
  let backend = try EchoServer()
  let front = Endpoint.loopback(ReservedPort.take())
  let yaml = """
    timeouts: { drain: 5s }
    listeners: { front: { bind: "\(front)", type: server-first, backend: back } }
    backends: { back: { servers: ["\(backend.endpoint)"], retries: 1 } }
    """
  try withReloadedSluice(Engine.eventSources[0], yaml, at: front) { sluice in
    unlink(sluice.configuration)
    #expect(mkfifo(sluice.configuration, 0o600) == 0)
    let first = Job("first") { try sluice.done("reload") }
    // A FIFO can be opened for writing without waiting only while somebody reads it. open(2)
    var writer: Int32 = -1
    try wait(for: "the first reload to read") {
      writer = open(sluice.configuration, O_WRONLY | O_NONBLOCK)
      return writer >= 0
    }
    let second = try SluiceBinary.run(
      ["ctl", "reload", "--socket", sluice.directory.file("admin")])
    #expect(second.exit != .code(0))
    #expect(second.error.contains("under way"), "\(second.error)")
    // Status and traffic do not wait for it.
    #expect(try sluice.done("status")["generation"]?.number == 1)
    try roundTrip(sluice.process.connect(), Pattern(seed: 9), at: 0, count: 10)

    let whole = Array(sluice.text(yaml + "\n# the same").utf8)
    #expect(write(writer, whole, whole.count) == whole.count)
    close(writer)
    #expect(try first.value()["outcome"]?.string == "unchanged")
    unlink(sluice.configuration)
    try sluice.write(yaml.replacingRetries)
    #expect(try sluice.done("reload")["outcome"]?.string == "applied")
  }
  try backend.stop()
}

extension String {
  fileprivate var replacingRetries: String {
    split(separator: "retries: 1", omittingEmptySubsequences: false).joined(separator: "retries: 2")
  }
}
