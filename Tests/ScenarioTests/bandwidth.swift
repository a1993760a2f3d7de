import TestSupport
import Testing

// A listener's bandwidth, of each connection and of all together: what is sent arrives whole and
// takes the time that the rate allows, on every lane. That it is no slower than that is for
// benchmarks to say.

private let rate = 1 << 20
private let size = 1_300_000

/// A bucket begins full, with an eighth of a second's bytes, and its time is counted in wheels of
/// 8 ms.
private func leastMs(_ bytes: Int, buckets: Int = 1) -> Double {
  Double(bytes - buckets * (rate / 8)) / Double(rate) * 1000 - 20
}

private func transfer(
  _ client: StreamSocket, _ upstream: StreamSocket, up: Bool
) throws {
  let pattern = Pattern(seed: 7)
  let (from, to) = up ? (client, upstream) : (upstream, client)
  let reader = Job("reader") { try to.expect(pattern) }
  try from.send(pattern, count: size)
  from.finish()
  let read = try reader.value()
  #expect(read.count == size && read.ending == .fin)
  client.close()
  upstream.close()
}

@Test("bandwidth of a connection", arguments: Engine.all, [false, true])
func bandwidthOfAConnection(engine: Engine, up: Bool) throws {
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.listener = "bandwidth-per-connection: 1MiB"
  try withSluice(setup) { sluice in
    let client = try sluice.connect()
    let upstream = try server.accept()
    let (_, ms) = try timed { try transfer(client, upstream, up: up) }
    #expect(ms >= leastMs(size), "\(ms)")
    let record = try sluice.record()
    #expect((up ? record.bytesUp : record.bytesDown) == size)
    let spliced = up ? record.splicedUp : record.splicedDown
    #expect(engine.splice == "off" ? spliced == 0 : spliced > size / 2)
  }
}

@Test("bandwidth of a listener", arguments: Engine.eventSources)
func bandwidthOfAListener(engine: Engine) throws {
  // Three connections over two workers share one rate; each direction has its own.
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.workers = 2
  setup.listener = "bandwidth: 1MiB"
  try withSluice(setup) { sluice in
    let pairs = try (0..<3).map { _ in (try sluice.connect(), try server.accept()) }
    let (_, ms) = try timed {
      let jobs = pairs.map { client, upstream in
        Job("transfer") { try transfer(client, upstream, up: false) }
      }
      for job in jobs { try job.value() }
    }
    // What workers read at the same moment may be twice what the bucket holds, once.
    #expect(ms >= leastMs(3 * size, buckets: 3), "\(ms)")
  }
}
