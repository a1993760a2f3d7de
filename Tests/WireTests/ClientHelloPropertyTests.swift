import Testing

@testable import Wire

/// What holds for every hello, tried on real ones and on seeded random ones. A failure names its
/// seed: put it into `seeds` to see it again.
struct ClientHelloPropertyTests {
  static let seeds = (0..<4).map { _ in UInt64.random(in: 0 ... .max) }
  static let captured = [
    CapturedHello.opensslTLS13, CapturedHello.opensslTLS12, CapturedHello.opensslTLS10,
    CapturedHello.opensslNoName, CapturedHello.curl, CapturedHello.python, CapturedHello.gnutls,
    CapturedHello.postQuantum,
  ]

  /// "Handshake messages MAY be [...] fragmented across several records": cut anywhere, it says the
  /// same.
  @Test(arguments: captured) func everyCutOfARealHello(bytes: [UInt8]) throws {
    let whole = try #require(content(bytes))
    #expect(readHello(bytes).consumed == bytes.count)
    let message = withoutRecords(bytes)
    for cut in 1..<message.count {
      let cutBytes = record(Array(message[..<cut])) + record(Array(message[cut...]))
      #expect(content(cutBytes) == whole, "cut at \(cut)")
      #expect(readHello(cutBytes).consumed == cutBytes.count, "cut at \(cut)")
    }
    for size in 1...20 {
      #expect(content(inRecords(message, of: size)) == whole, "records of \(size)")
    }
  }

  /// Byte after byte from the socket, in records of one byte or in one record: nothing is said
  /// before the last byte, and what is asked for is never more than there will be.
  @Test(arguments: captured) func everyPrefixAsksForMore(bytes: [UInt8]) throws {
    let message = withoutRecords(bytes)
    var forms = [bytes, inRecords(message, of: 100)]
    if bytes.count < 600 { forms.append(inRecords(message, of: 1)) }
    for form in forms {
      for count in 0..<form.count {
        let result = ClientHello.decode(form.span.extracting(0..<count))
        let atLeast = try #require(result.missing, "\(count) of \(form.count)")
        #expect(atLeast > count && atLeast <= form.count, "\(count) of \(form.count)")
      }
      #expect(readHello(form).consumed == form.count)
    }
    // In one record all is known from its header on.
    #expect(readHello(Array(bytes.prefix(5))).missing == bytes.count)
  }

  @Test(arguments: seeds) func recordsDoNotMatter(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    for _ in 0..<400 {
      let message = random.helloMessage()
      let plain = inRecords(message, of: 1 << 14)
      let whole = try #require(content(plain), "seed \(seed)")
      let cut = random.records(message)
      #expect(content(cut) == whole, "seed \(seed), bytes \(cut)")
      // What follows is not looked at.
      let tail = random.bytes(atMost: 9)
      #expect(readHello(cut + tail) == readHello(cut), "seed \(seed), bytes \(cut)")
      #expect(readHello(cut).consumed == cut.count, "seed \(seed), bytes \(cut)")
    }
  }

  /// Asked again after each segment, the parser says in the end what it says of the whole, and
  /// takes back no verdict, whatever the bytes.
  @Test(arguments: seeds) func segmentsDoNotMatter(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    for _ in 0..<400 {
      let bytes = random.nearlyHello()
      let whole = readHello(bytes)
      var held = 0
      var result = readHello([])
      while held < bytes.count, case .needMore(let atLeast) = result {
        #expect(atLeast > held, "seed \(seed)")
        held = min(bytes.count, held + 1 + random.below(random.below(4) == 0 ? 200 : 3))
        result = ClientHello.decode(bytes.span.extracting(0..<held))
        if held < atLeast, result.value != nil {
          Issue.record("asked for \(atLeast), needed \(held); seed \(seed), bytes \(bytes)")
        }
      }
      #expect(result == whole, "seed \(seed), bytes \(bytes)")
    }
  }

  /// Every prefix of a hello in any records may still become one.
  @Test(arguments: seeds) func prefixesOfValidHellosAreNeverInvalid(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    for _ in 0..<20 {
      let bytes = random.records(random.helloMessage())
      for count in bytes.indices {
        let result = ClientHello.decode(bytes.span.extracting(0..<count))
        let atLeast = try #require(result.missing, "seed \(seed), \(count) of \(bytes)")
        #expect(atLeast > count && atLeast <= bytes.count, "seed \(seed), \(count) of \(bytes)")
      }
    }
  }

  /// Changed bytes are refused with a place inside them, or read without leaving them: a span traps
  /// on the first byte beyond its end.
  @Test(arguments: seeds) func mutationsStayInside(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    var accepted = 0
    var refused: Set<Reason.Code> = []
    for _ in 0..<3_000 {
      let bytes = random.nearlyHello()
      switch readHello(bytes, ended: true) {
      case .needMore: Issue.record("waits after the end; seed \(seed), bytes \(bytes)")
      case .invalid(let reason):
        #expect((0...bytes.count).contains(reason.offset), "seed \(seed), bytes \(bytes)")
        refused.insert(reason.code)
      case .done(let hello, let consumed):
        accepted += 1
        #expect((1...bytes.count).contains(consumed))
        // All accessors on no more than the records that held the hello.
        let content = HelloContent(hello, in: Array(bytes[..<consumed]))
        #expect((content.hostName != nil) == [.hostName, .trailingDot].contains(content.form))
        #expect(hello.serverName?.comparable(in: bytes) == content.hostName.map { Array($0.utf8) })
      }
    }
    #expect(accepted > 300, "too few sound hellos to show anything; seed \(seed)")
    #expect(refused.isSuperset(of: [.tlsBadRecord, .tlsBadHello, .tlsBadExtension, .tlsTruncated]))
  }
}

extension SeededGenerator {
  /// The message of a sound hello.
  mutating func helloMessage() -> [UInt8] {
    if below(8) == 0 {
      return withoutRecords(ClientHelloPropertyTests.captured[below(8)])
    }
    var builder = HelloBuilder(below(10) == 0 ? nil : [])
    builder.version = [0x0301, 0x0303, 0x0304].randomElement(using: &self)!
    builder.sessionID = bytes(atMost: 32)
    builder.suites = (0...below(20)).map { _ in UInt16(truncatingIfNeeded: next()) }
    guard builder.extensions != nil else { return builder.message }
    var extensions: [HelloExtension] = (0..<below(6)).map {
      (UInt16(100 + $0 * 7), bytes(atMost: 50))
    }
    let names = ["a.example", "Mail.Example.com.", "1.2.3.4", "", "a b", "-", "::1", "x"]
    if below(4) > 0 { extensions.append(serverName(names.randomElement(using: &self)!)) }
    if below(2) == 0 { extensions.append(protocols(["h2", "imap", "\n\n", "x"])) }
    if below(2) == 0 { extensions.append(versions([0x7a7a, 0x0304, 0x0303])) }
    if below(4) == 0 { extensions.append((0xfe0d, [0] + bytes(atMost: 60))) }
    extensions.shuffle(using: &self)
    builder.extensions = extensions
    return builder.message
  }

  /// In records of any length, some of them empty.
  mutating func records(_ message: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    var at = 0
    var empties = 0
    let longest = [1, 3, 40, 400, 16384].randomElement(using: &self)!
    while at < message.count {
      if empties < 32, below(10) == 0 {
        bytes += record([])
        empties += 1
      }
      let end = min(message.count, at + 1 + below(longest))
      bytes += record(Array(message[at..<end]), version: 0x0300 | UInt16(below(5)))
      at = end
    }
    return bytes
  }

  /// A hello with up to three bytes changed, dropped or added, before or after it is cut into
  /// records.
  mutating func nearlyHello() -> [UInt8] {
    var bytes = helloMessage()
    if below(2) == 0 {
      mutate(&bytes)
      // Most of the time the length is made right again, to get further.
      if bytes.count > 4, below(4) > 0 { bytes = handshake(Array(bytes.dropFirst(4))) }
    }
    bytes = records(bytes)
    if below(3) == 0 { mutate(&bytes) }
    return bytes
  }

  private mutating func mutate(_ bytes: inout [UInt8]) {
    for _ in 0...below(3) {
      // Mostly near the front or the back, where the lengths are.
      let near = below(2) == 0 ? below(min(bytes.count, 60) + 1) : below(bytes.count + 1)
      let at = below(2) == 0 ? near : bytes.count - near
      switch below(3) {
      case 0 where at < bytes.count: bytes[at] ^= 1 << UInt8(below(8))
      case 1 where at < bytes.count: bytes.remove(at: at)
      default: bytes.insert([0, 1, 10, 22, 46, 64, 128, 255].randomElement(using: &self)!, at: at)
      }
    }
  }
}
