import TestSupport
import Testing

// What real clients begin TLS with today: Chromium's and OpenSSL 3.5's ClientHellos with key shares
// of ML-KEM, longer than a segment, and Chromium's with GREASE everywhere and an Encrypted
// ClientHello that it only pretends to have. A plain socket takes them from the clients themselves.
// They go through a TLS listener cut at every byte, in many records, byte by byte, and with a
// ticket of 16 KiB in them: the same rule takes them each time, and the server gets every byte as
// it was sent.

/// A ClientHello as a client sent it, taken apart by code of the tests' own. RFC 8446, 4.1.2.
struct SeenHello: Sendable {
  /// Of the handshake message all between its length and the extensions.
  private let fixed: [UInt8]
  let ciphers: [UInt16]
  var extensions: [(type: UInt16, value: [UInt8])]

  init(records: [UInt8]) throws {
    var message: [UInt8] = []
    var at = 0
    while at + 5 <= records.count {
      guard records[at] == 22 else { throw TestFailure("no handshake record: \(records[at])") }
      let end = at + 5 + Int(word(records, at + 3))
      message += records[(at + 5)..<end]
      at = end
    }
    guard message.count > 50, message[0] == 1 else { throw TestFailure("no ClientHello") }
    // Type, length, version, random, session; then two lists.
    let list = 4 + 2 + 32 + 1 + Int(message[38])
    let compressions = list + 2 + Int(word(message, list))
    let end = compressions + 1 + Int(message[compressions])
    fixed = Array(message[4..<end])
    ciphers = stride(from: list + 2, to: compressions, by: 2).map { word(message, $0) }
    extensions = []
    at = end + 2
    while at + 4 <= message.count {
      let size = Int(word(message, at + 2))
      extensions.append((word(message, at), Array(message[(at + 4)..<(at + 4 + size)])))
      at += 4 + size
    }
    guard at == message.count else { throw TestFailure("extensions past the end: \(message)") }
  }

  var message: [UInt8] {
    let list = extensions.flatMap { bigEndian($0.type) + vector($0.value) }
    let body = fixed + vector(list)
    return [1, UInt8(body.count >> 16)] + bigEndian(UInt16(body.count & 0xffff)) + body
  }

  /// In so many records of one size, but for the last. No more than 2^14 bytes fit into one.
  func bytes(inRecords count: Int) -> [UInt8] {
    let message = message
    let size = (message.count + count - 1) / count
    precondition(size <= 1 << 14)
    return stride(from: 0, to: message.count, by: size).flatMap {
      [22, 3, 1] + vector(Array(message[$0..<min($0 + size, message.count)]))
    }
  }

  /// In as few records as can hold it.
  var bytes: [UInt8] { bytes(inRecords: (message.count - 1) / (1 << 14) + 1) }

  subscript(type: UInt16) -> [UInt8]? { extensions.first { $0.type == type }?.value }

  /// encrypted_client_hello, pretended or not. RFC 9849.
  var offersECH: Bool { self[0xfe0d] != nil }

  /// Whether there are values that mean nothing among the ciphers and the extensions. RFC 8701.
  var hasGREASE: Bool {
    let isGREASE = { (word: UInt16) in word & 0x0f0f == 0x0a0a && word >> 8 == word & 0xff }
    return ciphers.contains(where: isGREASE) && extensions.contains { isGREASE($0.type) }
  }

  /// The lengths of the key shares by their groups. RFC 8446 section 4.2.8.
  var keyShares: [UInt16: Int] {
    var found: [UInt16: Int] = [:]
    guard let shares = self[51] else { return found }
    var at = 2
    while at + 4 <= shares.count {
      found[word(shares, at)] = Int(word(shares, at + 2))
      at += 4 + Int(word(shares, at + 2))
    }
    return found
  }

  /// Where a client puts what its server gave it to resume with.
  enum TicketPlace: CaseIterable, Sendable { case sessionTicket, preSharedKey }

  /// The same of a client that has a ticket of so many bytes: of TLS 1.2 in front of all other
  /// extensions (RFC 5077), or of TLS 1.3, which must be the last (RFC 8446 section 4.2.11).
  func holding(ticket size: Int, in place: TicketPlace) -> SeenHello {
    let ticket = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    var hello = self
    switch place {
    case .sessionTicket:
      hello.extensions.removeAll { $0.type == 35 }
      hello.extensions.insert((35, ticket), at: 0)
    case .preSharedKey:
      let identity = vector(ticket) + [0, 0, 0, 0]
      let binder: [UInt8] = [32] + [UInt8](repeating: 7, count: 32)
      hello.extensions.append((41, vector(identity) + vector(binder)))
    }
    return hello
  }
}

private func word(_ bytes: [UInt8], _ at: Int) -> UInt16 {
  UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1])
}

private func bigEndian(_ word: UInt16) -> [UInt8] { [UInt8(word >> 8), UInt8(word & 0xff)] }

private func vector(_ content: [UInt8]) -> [UInt8] { bigEndian(UInt16(content.count)) + content }

// MARK: Through a listener

/// A daemon with a rule by name and protocol, and two servers of the test's own.
private struct TwoServers {
  static let name = "mail.a.example"
  let chosen: ListeningSocket
  let other: ListeningSocket
  let sluice: SluiceProcess
  private let log: String

  init(_ engine: Engine) throws {
    chosen = try ListeningSocket()
    other = try ListeningSocket()
    let directory = try TemporaryDirectory()
    let bind = Endpoint.loopback(ReservedPort.take())
    log = directory.file("connections")
    // The preface's time is for 2000 segments with pauses between them, on a busy machine.
    sluice = try SluiceProcess(
      yaml: """
        workers: 1
        events: \(engine.events)
        log: { connections: "\(log)" }
        timeouts: { preface: 2m }
        listeners:
          front:
            bind: "\(bind)"
            type: tls
            rules:
              - { name: wrong, sni: [a.example, "*.b.example"], backend: other }
              - { name: right, sni: "*.a.example", alpn: http/1.1, backend: chosen }
            backend: other
        backends:
          chosen: { servers: ["\(chosen.endpoint)"], send-proxy: v2 }
          other: { servers: ["\(other.endpoint)"], send-proxy: v2 }

        """, in: directory, at: bind)
  }

  /// Sends the pieces, the next one some time after the last, and reads all of them at the server.
  func pass(_ pieces: [[UInt8]], pauseMs: Int, _ what: String) throws {
    let client = try sluice.connect()
    for piece in pieces {
      try client.write(piece)
      pause(ms: pauseMs)
    }
    let upstream = try chosen.accept()
    let header = try ReceivedProxyHeader(upstream.readExactly(28))
    #expect(header.length == 28 && header.source == client.local, "\(what)")
    let sent = pieces.flatMap { $0 }
    #expect(try upstream.readExactly(sent.count) == sent, "\(what)")
    client.close()
    upstream.close()
  }

  /// The log says the same of all the connections, and there have been no others.
  func expectRecords(_ count: Int, of hello: SeenHello, from kind: RealClient) throws {
    _ = try sluice.records(count)
    for line in contents(of: log).split(separator: "\n") {
      let record = try PeerRecord(line: String(line))
      #expect(record.rule == "right" && record.connection.backend == "chosen", "\(line)")
      #expect(record.sni == Self.name && record.alpn == kind.protocols, "\(line)")
      #expect(record.offersECH == hello.offersECH && record.connection.reason == nil, "\(line)")
    }
    #expect(try other.accept(withinMs: 0) == nil)
    try sluice.stop()
  }
}

@Test("what real clients begin with", arguments: RealClient.allCases)
func realHello(client: RealClient) throws {
  let sent = try client.hello(for: TwoServers.name)
  let hello = try SeenHello(records: sent)
  // Our reader loses nothing.
  #expect(hello.bytes == sent)
  // With an ML-KEM-768 key (1184 bytes, FIPS 203) it needs more than a segment of Ethernet's size.
  #expect(hello.keyShares[0x11ec] == 1184 + 32, "\(hello.keyShares)")
  #expect(sent.count > 1400, "\(sent.count)")
  #expect(hello.offersECH == (client == .chromium))
  #expect(hello.hasGREASE == (client == .chromium))
}

@Test(
  "real hellos, cut anywhere", arguments: zip(RealClient.allCases, Engine.eventSources))
func realHelloCut(client: RealClient, engine: Engine) throws {
  let servers = try TwoServers(engine)
  let whole = try client.hello(for: TwoServers.name)
  let hello = try SeenHello(records: whole)
  var count = 0
  func pass(_ pieces: [[UInt8]], pauseMs: Int, _ what: String) throws {
    try servers.pass(pieces, pauseMs: pauseMs, what)
    count += 1
  }
  for at in 1..<whole.count {
    try pass([Array(whole[..<at]), Array(whole[at...])], pauseMs: 1, "cut at \(at)")
  }
  for records in 1...20 {
    try pass([hello.bytes(inRecords: records)], pauseMs: 0, "\(records) records")
  }
  try pass(whole.map { [$0] }, pauseMs: 1, "byte by byte")
  // A record of one byte each is six bytes.
  let tiny = hello.bytes(inRecords: hello.message.count)
  try pass([tiny], pauseMs: 0, "a record for each byte")
  let records = stride(from: 0, to: tiny.count, by: 6).map { Array(tiny[$0..<($0 + 6)]) }
  try pass(records, pauseMs: 1, "a record and a segment for each byte")
  try servers.expectRecords(count, of: hello, from: client)
}

@Test(
  "real hellos with a ticket of 16 KiB", arguments: RealClient.allCases,
  SeenHello.TicketPlace.allCases)
func realHelloWithTicket(client: RealClient, place: SeenHello.TicketPlace) throws {
  let servers = try TwoServers(Engine.eventSources[0])
  let hello = try SeenHello(records: client.hello(for: TwoServers.name)).holding(
    ticket: 1 << 14, in: place)
  let whole = hello.bytes
  // No record holds as much.
  #expect(hello.message.count > 1 << 14 && whole.count == hello.message.count + 10)
  // Around the records' heads and the ends every byte, elsewhere every 97th.
  let middle = 5 + (hello.message.count + 1) / 2
  let near = [0, middle, whole.count].flatMap { Array(($0 - 12)...($0 + 12)) }
  let cuts = Set(near.filter { (1..<whole.count).contains($0) })
    .union(stride(from: 97, to: whole.count, by: 97))
  var count = 0
  for at in cuts.sorted() {
    try servers.pass(
      [Array(whole[..<at]), Array(whole[at...])], pauseMs: 1, "cut at \(at)")
    count += 1
  }
  for records in 2...20 {
    try servers.pass([hello.bytes(inRecords: records)], pauseMs: 0, "\(records) records")
    count += 1
  }
  try servers.pass(whole.map { [$0] }, pauseMs: 0, "byte by byte")
  // Not far from the 4096 records that are let in.
  try servers.pass([hello.bytes(inRecords: 4000)], pauseMs: 0, "4000 records")
  try servers.expectRecords(count + 2, of: hello, from: client)
}
