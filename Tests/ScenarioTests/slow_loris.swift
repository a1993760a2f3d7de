import Glibc
import System
import TestSupport
import Testing

// 2,000 connections from an address that is trusted, or has got hold of it, send a header byte by
// byte and never finish it. Each costs what is documented: 64 KiB of address space set aside, of
// which one page of 4 KiB is used, as long as the longest header taken is no longer than that.
// They are closed at the deadline, which their bytes don't put off, and all the while others are
// served.

@Test("slow loris", .serialized, arguments: Engine.eventSources)
func slowLoris(engine: Engine) throws {
  let count = 2000
  let deadlineMs = 5000
  try makeRoom(forDescriptors: count + 200)
  let server = try ListeningSocket()
  let trusted = TrustedSource(engine: engine, source: "127.0.0.2", scope: .global)
  var setup = trusted.setup([server.endpoint])
  setup.top += "\nlimits: { max-connections: 6000 }"
  setup.timeouts = "drain: 5s, proxy-header: \(deadlineMs)ms"
  try withTrust(setup) { proxy in
    // A header of 4,096 bytes, the longest taken. All but a few bytes come at once, so that the
    // memory is used as far as it can be; these come one by one.
    let slow = Header.v2(
      trusted.client, to: trusted.reached,
      tlvs: [TLV(0x04, [UInt8](repeating: 0, count: 4096 - 28 - 3))])
    // What is paid once is paid before measuring.
    var served = 0
    for _ in 0..<20 { served += try serve(proxy, server, trusted) }
    let facts = proxy.sluice.facts
    let (memory, space) = (facts.privateMemory, try #require(facts.status("VmSize")))

    var slowOnes: [StreamSocket] = []
    for _ in 0..<count {
      let client = try proxy.connect(from: trusted.source)
      try client.write(Array(slow.prefix(4000)))
      slowOnes.append(client)
    }
    let ends = slowOnes
    let isOver = Guarded(false)
    let dribbler = Job("dribbler") {
      for byte in slow[4000..<4080] {
        // Those that were closed meanwhile take no more; the log will tell why.
        for client in ends { try? client.write([byte]) }
        if isOver.withLock({ $0 }) { break }
        pause(ms: 100)
      }
    }

    try expectLittleMemory(facts, since: memory, space, per: count, engine)

    // Others are served at once, until all the slow ones are gone.
    var slowest = 0.0
    while try proxy.sluice.endedCount < count + served {
      let (done, ms) = try timed { try serve(proxy, server, trusted) }
      served += done
      slowest = max(slowest, ms)
      pause(ms: 50)
    }
    isOver.withLock { $0 = true }
    #expect(slowest < 1000, "one client in the crowd waited \(slowest) ms")
    #expect(served > 20 + 10)

    try expectTimeouts(try proxy.records(of: count + served), count, deadlineMs, slow)
    try dribbler.value()
    for client in ends { client.close() }
    // No slow one was ever heard of by the server.
    try expectUntouched(server)
    try wait(for: "the descriptors to be closed") { facts.descriptorCount < 100 }
  }
}

/// A page each, and what an idle connection costs; less than a page would mean that not all of them
/// were there. `memory` is bytes, `space` KiB, both before they came.
private func expectLittleMemory(
  _ facts: ProcessFacts, since memory: Int, _ space: Int, per count: Int, _ engine: Engine
) throws {
  // The daemon reads while we look: the most it ever has counts.
  var most = 0
  for _ in 0..<10 {
    most = max(most, facts.privateMemory)
    pause(ms: 100)
  }
  let perConnection = (most - memory) / count
  let spacePerConnection = (try #require(facts.status("VmSize")) - space) * 1024 / count
  print(
    "slow_loris, \(engine): \(perConnection) bytes of memory and \(spacePerConnection) bytes of "
      + "new address space for each of \(count) slow headers")
  guard !SluiceBinary.isSanitized else { return }
  #expect(perConnection >= 4000 && perConnection <= 4096 + 1024)
  #expect(spacePerConnection <= 65_536)
}

/// All slow ones, and nobody else, ended at the deadline. Of so many the log tells of a few.
private func expectTimeouts(
  _ ended: (records: [HeaderRecord], leftOut: Int), _ count: Int, _ deadlineMs: Int,
  _ slow: [UInt8]
) throws {
  let turnedAway = ended.records.filter { $0.reason != nil }
  #expect(turnedAway.count + ended.leftOut == count && turnedAway.count >= 10)
  for record in turnedAway {
    #expect(record.reason == "proxy.timeout")
    let ms = record.connection.durationMs
    #expect(ms > Double(deadlineMs) - 100 && ms < Double(deadlineMs) + 1500, "\(ms) ms")
    #expect(record.firstBytes == hexadecimal(slow.prefix(16)))
  }
}

/// A client behind the trusted source, and one who comes directly; both are greeted. Returns how
/// many connections these were.
private func serve(
  _ proxy: TrustProcess, _ server: ListeningSocket, _ trusted: TrustedSource
) throws -> Int {
  for source in [trusted.source, "127.0.0.3"] {
    let client = try proxy.connect(from: source)
    if source == trusted.source {
      try client.write(Header.v1(trusted.client, to: trusted.reached))
    }
    let upstream = try server.accept()
    let ours = try ReceivedProxyHeader(upstream.readHeader())
    #expect(ours.source == (source == trusted.source ? trusted.client : client.local))
    try upstream.write("220 hello\r\n")
    #expect(try client.readExactly(11) == Array("220 hello\r\n".utf8))
    client.close()
    upstream.close()
  }
  return 2
}
