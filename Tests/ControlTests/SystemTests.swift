import Testing
import Wire

@testable import System

@Suite struct ClockTests {
  @Test(
    arguments: [
      (0, "1970-01-01T00:00:00.000Z"),
      (951_782_400_000, "2000-02-29T00:00:00.000Z"),
      (1_795_224_225_678, "2026-11-21T01:23:45.678Z"),
      (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
      (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
      (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
      (UInt64.max, "9999-12-31T23:59:59.999Z"),
    ] as [(UInt64, String)])
  func timestampIsRFC3339(wallMs: UInt64, text: String) {
    var bytes: [UInt8] = []
    Clock.appendTimestamp(wallMs: wallMs, to: &bytes)
    #expect(String(decoding: bytes, as: UTF8.self) == text)
  }

  @Test func monotonicTimeAscends() {
    let before = Clock.monotonicNs
    Thread.sleep(ms: 2)
    #expect(Clock.monotonicNs - before >= 2_000_000)
  }
}

@Suite struct UniqueIDTests {
  @Test func textIsTheNumberInCrockfordsBase32() {
    #expect(UniqueID(high: 0, low: 0).description == "00000000000000000000000000")
    #expect(UniqueID(high: 0, low: 31).description == "0000000000000000000000000Z")
    #expect(UniqueID(high: 0, low: 1 << 60).description == "00000000000001000000000000")
    #expect(UniqueID(high: 1, low: 0).description == "0000000000000G000000000000")
    #expect(
      UniqueID(high: .max, low: .max).description == "7ZZZZZZZZZZZZZZZZZZZZZZZZZ")
  }

  @Test func eachDigitOfTheAlphabetComesOut() {
    let alphabet = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
    for digit in 0..<32 {
      #expect(UniqueID(high: 0, low: UInt64(digit)).description.last == alphabet[digit])
    }
  }

  /// Every digit at every place, beside what a division would give.
  @Test func everyPlaceHasItsDigit() {
    let alphabet = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)
    for place in 0..<26 {
      for digit in 0..<(place == 25 ? 8 : 32) as Range<UInt128> {
        let bits = digit << (5 * UInt128(place))
        let id = UniqueID(
          high: UInt64(truncatingIfNeeded: bits >> 64), low: UInt64(truncatingIfNeeded: bits))
        var wanted = Array(repeating: alphabet[0], count: 26)
        wanted[25 - place] = alphabet[Int(digit)]
        #expect(Array(id.description.utf8) == wanted)
      }
    }
  }

  @Test func idsOfOneWorkerAscendWhateverTheClockDoes() {
    var source = UniqueIDSource(worker: 3, seed: 1)
    var last = source.next(wallMs: 1000)
    for wallMs in [1000, 1000, 999, 1001, 5, 1002] as [UInt64] {
      let next = source.next(wallMs: wallMs)
      #expect(last < next)
      #expect(last.description < next.description)
      last = next
    }
    for _ in 0..<70_000 {
      let next = source.next(wallMs: 1002)
      #expect(last < next)
      last = next
    }
  }

  @Test func workersDoNotMeet() {
    var a = UniqueIDSource(worker: 0, seed: 7)
    var b = UniqueIDSource(worker: 1, seed: 7)
    #expect(a.next(wallMs: 1) != b.next(wallMs: 1))
  }
}

@Suite struct CPUTests {
  @Test func quotaOfTheUnifiedHierarchy() {
    #expect(CPUs.quota(v2: "max 100000") == nil)
    #expect(CPUs.quota(v2: "150000 100000") == 1.5)
    #expect(CPUs.quota(v2: "") == nil)
    #expect(CPUs.quota(v2: "100000 0") == nil)
  }

  @Test func quotaOfTheFirstHierarchy() {
    #expect(CPUs.quota(v1Quota: "-1", period: "100000") == nil)
    #expect(CPUs.quota(v1Quota: "50000", period: "100000") == 0.5)
    #expect(CPUs.quota(v1Quota: nil, period: "100000") == nil)
  }

  @Test(
    arguments: [
      (8, nil, 8), (8, 2.0, 2), (8, 1.5, 2), (8, 0.2, 1), (2, 16.0, 2), (0, nil, 1),
    ] as [(Int, Double?, Int)])
  func workersFollowMaskAndQuota(allowed: Int, quota: Double?, workers: Int) {
    #expect(CPUs.workers(allowed: allowed, quota: quota) == workers)
  }

  @Test func groupsOfBothHierarchies() {
    let paths = CgroupPaths(
      membership: "4:memory:/m\n2:cpuacct,cpu:/legacy\n1:cpuset:/c\n0::/user.slice/a:b\n")
    #expect(paths.unified == "/user.slice/a:b")
    #expect(paths.cpuController == "/legacy")
  }

  @Test func thisProcessHasAProcessor() {
    #expect(!CPUs.allowed().isEmpty)
    #expect(CPUs.workers() >= 1)
  }
}

@Suite struct PrivilegeTests {
  @Test func capabilityBitsAreRead() {
    let status = "Name:\tx\nCapPrm:\tffffffffffffffff\nCapEff:\t0000000000000400\n"
    #expect(Privileges.effectiveCapabilities(status: status) == 1 << 10)
    #expect(Privileges.effectiveCapabilities(status: "Name:\tx\n") == nil)
  }
}

@Suite struct DescriptorTests {
  @Test func closedAtTheEndOfItsLifeAndNotBefore() throws {
    let listener = try Sockets.listen(at: .ipv4(0x7f00_0001, port: 0))
    let client = try Sockets.connect(to: Sockets.localAddress(of: listener), timeoutMs: 2000)
    let accepted = try Sockets.accept(listener)
    let copy = Descriptor(owning: try Descriptor.duplicate(of: client.number).release())
    do {
      let owner = consume client
      _ = owner.number
    }
    #expect(try Readiness.reading(accepted.descriptor.number, waitingAtMostMs: 20) == [])
    do {
      let owner = consume copy
      _ = owner.number
    }
    #expect(try Readiness.reading(accepted.descriptor.number, waitingAtMostMs: 2000) == .first)
    var bytes: [UInt8] = []
    #expect(try accepted.descriptor.read(atMost: 1, appendingTo: &bytes) == 0)
  }

  @Test func aFileIsReadWholeOrRefused() throws {
    #expect(try Files.read("/proc/self/status", atMost: 65536).starts(with: Array("Name:".utf8)))
    #expect(throws: Files.ReadError.self) { try Files.read("/proc/self/status", atMost: 10) }
    let error = #expect(throws: Files.ReadError.self) {
      try Files.read("/nonexistent", atMost: 10)
    }
    #expect(error?.description == "open: No such file or directory")
  }

  @Test func openDescriptorsAreCounted() throws {
    let before = try DescriptorLimit.open()
    #expect(before >= 3)
    let kept = try (0..<50).map { _ in try Descriptor.duplicate(of: 2).release() }
    // Other tests open and close some at the same time, but not fifty.
    #expect(try DescriptorLimit.open() > before + 10)
    for number in kept { _ = Descriptor(owning: number) }
  }

  @Test func anEventIsSeenOnceAndCleared() throws {
    let counter = try EventCounter()
    #expect(try Readiness.reading(counter.number, waitingAtMostMs: 0) == [])
    counter.signal()
    counter.signal()
    #expect(try Readiness.reading(counter.number, waitingAtMostMs: 0) == .first)
    counter.clear()
    #expect(try Readiness.reading(counter.number, waitingAtMostMs: 0) == [])
  }

  @Test func threadsRunAndAreJoined() throws {
    let shared = Shared()
    let threads = try (1...4).map { number in
      try Thread(name: "adder-\(number)") { shared.total.withLock { $0 += number } }
    }
    for thread in threads {
      thread.join()
      thread.join()
    }
    #expect(shared.total.withLock { $0 } == 10)
  }

  private final class Shared: Sendable {
    let total = Guarded(0)
  }
}

@Suite struct SocketTests {
  @Test func bytesGoBothWaysOverLoopback() throws {
    let listener = try Sockets.listen(at: .ipv4(0x7f00_0001, port: 0))
    let address = try Sockets.localAddress(of: listener)
    let client = try Sockets.connect(to: address, timeoutMs: 2000)
    let accepted = try Sockets.accept(listener)
    #expect(try Sockets.localAddress(of: client) == accepted.client)
    #expect(try Sockets.remoteAddress(of: client) == address)
    try client.writeAll(Array("ping".utf8).span)
    try Sockets.finishWriting(client)
    var bytes: [UInt8] = []
    while try accepted.descriptor.read(atMost: 3, appendingTo: &bytes) > 0 {}
    #expect(String(decoding: bytes, as: UTF8.self) == "ping")
  }

  @Test func obstaclesAreNamed() throws {
    let listener = try Sockets.listen(at: .ipv4(0x7f00_0001, port: 0))
    let address = try Sockets.localAddress(of: listener)
    #expect(Sockets.obstacle(to: address) == .inUse)
    #expect(Sockets.obstacle(to: .ipv4(0x7f00_0001, port: 0)) == nil)
    // 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
    #expect(Sockets.obstacle(to: .ipv4(0xc000_0201, port: 1025)) == .notLocal)
  }

  @Test func aSocketFileIsStaleWhenNobodyListens() throws {
    let path = "/tmp/sluice-test-\(Privileges.processID)-\(Clock.monotonicNs).sock"
    #expect(Sockets.obstacle(to: .unix(path: path)) == nil)
    do {
      let listener = try Sockets.listen(at: .unix(path: path))
      #expect(Sockets.obstacle(to: .unix(path: path)) == .inUse)
      #expect(try Sockets.removeStaleSocket(at: path) == false)
      // Asking is no visit: nobody waits to be accepted.
      #expect(try Readiness.reading(listener.number, waitingAtMostMs: 20) == [])
    }
    #expect(Sockets.obstacle(to: .unix(path: path)) == nil)
    #expect(try Sockets.removeStaleSocket(at: path) == true)
    #expect(try Sockets.removeStaleSocket(at: path) == false)
  }

  @Test func pathsOfUnixSocketsHaveALimit() throws {
    let error = #expect(throws: SystemError.self) {
      _ = try Sockets.rawAddress(.unix(path: String(repeating: "x", count: 108)))
    }
    #expect(error?.code == .nameTooLong)
    let abstract = SocketAddress.unix(path: "\0sluice")
    #expect(Sockets.socketAddress(try Sockets.rawAddress(abstract)) == abstract)
  }
}
