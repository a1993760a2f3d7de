import Glibc
import TestSupport
import Testing

// `latency: low`: a worker looks for events before it sleeps. Round trips, bulk and ends are what
// they are without it, the metrics say that looking found some, an idle server costs nothing
// although a connection is open, and a reload turns it off.

@Test("latency: low", arguments: Engine.eventSources)
func latencyLow(engine: Engine) throws {
  let server = try ListeningSocket()
  let directory = try TemporaryDirectory()
  let page = ReservedPort.take()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.extra = "latency: low\nmetrics: { bind: \"127.0.0.1:\(page)\" }"
  let sluice = try SluiceProcess(
    yaml: setup.yaml(log: directory.file("log")), in: directory, at: setup.bind)
  let client = try sluice.connect()
  let upstream = try server.accept()

  try wait(for: "a look that found something") {
    for round in 0..<100 { try roundTrip(client, upstream, round) }
    return try counter("spin_hits", page) > 0
  }
  let spins = try counter("spins", page)
  #expect(try counter("spin_hits", page) <= spins)

  let before = ticks(sluice)
  pause(ms: 1000)
  #expect(ticks(sluice) - before < 5, "it is idle, and busy")

  setup.extra = "latency: balanced\nmetrics: { bind: \"127.0.0.1:\(page)\" }"
  try writeFile(directory.file("sluice.yaml"), setup.yaml(log: directory.file("log")))
  sluice.child.signal(SIGHUP)
  try wait(for: "the reload") {
    try scrape(page).contains("sluice_reloads_total{outcome=\"applied\"} 1\n")
  }
  let last = try counter("spins", page)
  for round in 0..<100 { try roundTrip(client, upstream, round) }
  #expect(try counter("spins", page) == last)

  let pattern = Pattern(seed: 9)
  let writer = Job("client") {
    try client.send(pattern, count: 3_000_000)
    client.finish()
  }
  let read = try upstream.expect(pattern)
  try writer.value()
  #expect(read.count == 3_000_000 && read.ending == .fin)
  upstream.close()
  #expect(try client.readToEnd().ending == .fin)
  try sluice.stop()
}

/// What is relayed while workers look for events: bulk both ways at once, among round trips.
@Test("latency: low, bulk beside round trips", arguments: Engine.all)
func latencyLowBulk(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "type: server-first"
  setup.extra = "latency: low"
  setup.workers = 2
  try withSluice(setup) { sluice in
    let talker = try sluice.connect()
    let listener = try server.accept()
    let bulk = try (0..<2).map { index in
      let client = try sluice.connect()
      let upstream = try server.accept()
      let pattern = Pattern(seed: UInt64(index))
      return [(client, upstream), (upstream, client)].map { from, to in
        (
          Job("sender") {
            try from.send(pattern, count: 4_000_000)
            from.finish()
          },
          Job("receiver") { try to.expect(pattern) }
        )
      }
    }.joined()
    for round in 0..<200 { try roundTrip(talker, listener, round) }
    for (sender, receiver) in bulk {
      try sender.value()
      let read = try receiver.value()
      #expect(read.count == 4_000_000 && read.ending == .fin)
    }
    talker.close()
    listener.close()
    let records = try sluice.records(3)
    #expect(records.count { $0.bytesUp == 4_000_000 && $0.bytesDown == 4_000_000 } == 2)
  }
}

private func roundTrip(_ client: StreamSocket, _ upstream: StreamSocket, _ round: Int) throws {
  let text = "round \(round % 10)"
  try client.write(text)
  _ = try upstream.readExactly(7)
  try upstream.write("and \(round % 10)")
  _ = try client.readExactly(5)
}

private func ticks(_ sluice: SluiceProcess) -> Int {
  sluice.facts.threads.reduce(0) { $0 + sluice.facts.cpuTicks(thread: $1) }
}

private func counter(_ name: String, _ port: UInt16) throws -> Int {
  let start = "sluice_worker_\(name)_total{worker=\"0\"} "
  let line = try scrape(port).split(separator: "\n").first { $0.hasPrefix(start) }
  guard let line, let value = Int(line.dropFirst(start.count)) else {
    throw TestFailure("no \(start)")
  }
  return value
}

private func scrape(_ port: UInt16) throws -> String { try httpGet(port, "/metrics").body }
