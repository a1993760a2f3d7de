import TestSupport
import Testing

// A client of a TLS listener begins with its ClientHello. Sluice waits until it has all of it,
// however it comes, ends no TLS, and hands the server every byte as it was; what the hello names
// goes into our header and the log. The server is not dialled before.

/// How the bytes of a hello come.
enum HelloArrival: Sendable, CaseIterable, CustomStringConvertible {
  case whole
  /// Every byte in a segment of its own.
  case dribbled
  /// Two segments, cut in the middle.
  case halves
  /// In records of 16 bytes.
  case records
  /// In records of one byte, each in a segment of its own.
  case tinyRecords

  var description: String {
    switch self {
    case .whole: "whole"
    case .dribbled: "dribbled"
    case .halves: "in two segments"
    case .records: "in records of 16 bytes"
    case .tinyRecords: "in records of one byte"
    }
  }

  /// The pieces it is sent in.
  func pieces(of hello: TLSHello) -> [[UInt8]] {
    let whole = hello.bytes
    switch self {
    case .whole: return [whole]
    case .dribbled: return whole.map { [$0] }
    case .halves: return [Array(whole[..<(whole.count / 2)]), Array(whole[(whole.count / 2)...])]
    case .records: return [hello.bytes(inRecordsOf: 16)]
    case .tinyRecords:
      let all = hello.bytes(inRecordsOf: 1)
      return stride(from: 0, to: all.count, by: 6).map { Array(all[$0..<($0 + 6)]) }
    }
  }
}

extension TrustSetup {
  /// A daemon with a TLS listener.
  static func tls(
    _ engine: Engine, _ servers: [Endpoint], host: String = "127.0.0.1", _ listener: String = ""
  ) -> TrustSetup {
    var setup = TrustSetup(engine, servers: servers, host: host)
    setup.type = "tls"
    setup.listener = listener
    return setup
  }
}

@Test("a hello is routed", arguments: Engine.eventSources, HelloArrival.allCases)
func helloRouted(engine: Engine, arrival: HelloArrival) throws {
  let server = try ListeningSocket()
  var setup = TrustSetup.tls(engine, [server.endpoint])
  setup.backend = "send-proxy: v2, proxy-tlvs: [authority, alpn, crc32c]"
  try withTrust(setup) { proxy in
    let hellos = [
      TLSHello("mail.example.test", alpn: ["imap"]),
      TLSHello("Mail.Example.TEST.", alpn: ["h2", "http/1.1"], ech: true),
      // Post-quantum key shares make it longer than a segment.
      TLSHello("pq.example.test", padding: arrival == .whole ? 1700 : 300),
      TLSHello(nil),
    ]
    for (index, hello) in hellos.enumerated() {
      let client = try proxy.connect(from: "127.0.0.3")
      let pieces = arrival.pieces(of: hello)
      for piece in pieces.dropLast() {
        try client.write(piece)
        pause(ms: pieces.count < 10 ? 50 : 0)
      }
      if pieces.count > 1 { #expect(try server.accept(withinMs: 50) == nil) }
      try client.write(pieces[pieces.count - 1])

      let upstream = try server.accept()
      let whole = pieces.flatMap { $0 }
      let head = try upstream.readExactly(16)
      let length = Int(head[14]) << 8 | Int(head[15])
      let ours = head + (try upstream.readExactly(length))
      #expect(try ReceivedProxyHeader(ours).source == client.local)
      #expect(try TLV.checksumIsRight(in: ours))
      let tlvs = try TLV.all(in: ours)
      #expect(tlvs.first { $0.type == 2 }?.value == hello.name)
      #expect(tlvs.first { $0.type == 1 }?.text == hello.protocols.first)
      #expect(try upstream.readExactly(whole.count) == whole)

      // From here on it is a relay like any other, both ways.
      try upstream.write("server")
      #expect(try client.readExactly(6) == Array("server".utf8))
      try client.write("client")
      #expect(try upstream.readExactly(6) == Array("client".utf8))
      client.close()
      #expect(try upstream.readToEnd().ending == .fin)
      upstream.close()
      let record = try proxy.record(index + 1)
      #expect(record.sni == hello.name.map { String(decoding: $0, as: UTF8.self) })
      let list = hello.protocols.joined(separator: ",")
      #expect(record.alpn == (list.isEmpty ? nil : list))
      #expect(record.offersECH == hello.offersECH)
      #expect(record.reason == nil && !record.saysHeader)
      #expect(record.connection.bytesUp == whole.count + 6)
    }
  }
}

// A hello may fill what is held of a client, 64 KiB, records and all, and not a byte more.
@Test("the longest hello", arguments: Engine.eventSources)
func longestHello(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = TrustSetup.tls(engine, [server.endpoint])
  setup.backend = "send-proxy: none"
  try withTrust(setup) { proxy in
    let bare = TLSHello(padding: 1).message.count - 1
    let longest = TLSHello(padding: 65_536 - 20 - bare)
    #expect(longest.bytes.count == 65_536)
    let client = try proxy.connect()
    let writer = Job("client") { try client.write(longest.bytes + Array("early data".utf8)) }
    let upstream = try server.accept()
    #expect(try upstream.readExactly(longest.bytes.count) == longest.bytes)
    #expect(try upstream.readExactly(10) == Array("early data".utf8))
    try writer.value()
    client.close()
    upstream.close()
    #expect(try proxy.record(1).reason == nil)

    // The header of a fifth record does not fit any more. (The extension's type and length are
    // there already, so one more byte of padding is one more byte of hello.)
    for tooLong in [
      TLSHello(padding: 65_536 - 20 - bare + 1).bytes,
      TLSHello(padding: 65_000).bytes(inRecordsOf: 600),
    ] {
      let client = try proxy.connect()
      let writer = Job("client") { try? client.write(tooLong) }
      _ = try client.readToEnd()
      _ = try? writer.value()
      client.close()
    }
    for record in try proxy.records(3).dropFirst() { #expect(record.reason == "tls.too-long") }
    try expectUntouched(server)
  }
}

// A client may say all it has to say at once and end its half: that is no reason to lose any of it.
@Test("a hello, early data and the end", arguments: Engine.eventSources, [false, true])
func helloAndEnd(engine: Engine, isApart: Bool) throws {
  let server = try ListeningSocket()
  var setup = TrustSetup.tls(engine, [server.endpoint])
  setup.backend = "send-proxy: none"
  try withTrust(setup) { proxy in
    let all = TLSHello().bytes + [23, 3, 3, 0, 1, 42]
    let client = try proxy.connect()
    try client.write(all)
    if isApart { pause(ms: 50) }
    client.finish()
    let upstream = try server.accept()
    let got = try upstream.readToEnd()
    #expect(got.bytes == all && got.ending == .fin)
    try upstream.write("alert")
    upstream.close()
    #expect(try client.readToEnd().bytes == Array("alert".utf8))
    #expect(try proxy.record().end == "client.fin")
  }
}

// A server that refuses: the next one gets the same header and the same hello.
@Test("a hello is replayed to the next server", arguments: Engine.eventSources)
func helloReplayed(engine: Engine) throws {
  let gone = try ListeningSocket()
  gone.close()
  let server = try ListeningSocket()
  var setup = TrustSetup.tls(engine, [gone.endpoint, server.endpoint])
  setup.backend = "send-proxy: v2, proxy-tlvs: [authority, alpn], retries: 1"
  try withTrust(setup) { proxy in
    let hello = TLSHello("mail.example.test", alpn: ["imap"], padding: 3000)
    for _ in 0..<2 {
      let client = try proxy.connect()
      try client.write(hello.bytes)
      let upstream = try server.accept()
      let ours = try upstream.readExactly(28 + 3 + 17 + 3 + 4)
      #expect(try TLV.all(in: ours) == [TLV(2, "mail.example.test"), TLV(1, "imap")])
      #expect(try upstream.readExactly(hello.bytes.count) == hello.bytes)
      client.close()
      upstream.close()
    }
    #expect(try proxy.records(2).contains { $0.connection.tries == 2 })
  }
}

// What a client sends for a name reaches the log escaped, and no server as an AUTHORITY.
@Test("names that are none", arguments: Engine.eventSources)
func hostileNames(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = TrustSetup.tls(engine, [server.endpoint])
  setup.backend = "send-proxy: v2, proxy-tlvs: [authority, alpn]"
  try withTrust(setup) { proxy in
    let names: [[UInt8]] = [
      Array("a\"b\\c\n\u{1b}[31m".utf8), [0xff, 0xfe, 0], Array("192.0.2.1".utf8),
      Array("[2001:db8::1]".utf8), [UInt8](repeating: 0x61, count: 3000),
    ]
    for (index, name) in names.enumerated() {
      var hello = TLSHello(alpn: ["a\",\"b", "\u{1}"])
      hello.name = name
      let client = try proxy.connect()
      try client.write(hello.bytes)
      let upstream = try server.accept()
      let ours = try upstream.readExactly(28 + 3 + 5)
      #expect(try TLV.all(in: ours) == [TLV(1, "a\",\"b")])
      #expect(try upstream.readExactly(hello.bytes.count) == hello.bytes)
      client.close()
      upstream.close()
      let record = try proxy.record(index + 1)
      #expect(record.sni == String(decoding: name.prefix(255), as: UTF8.self))
      #expect(record.alpn == "a\",\"b,\u{1}")
    }
  }
}
