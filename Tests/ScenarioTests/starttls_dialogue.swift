import TestSupport
import Testing

// A client of a STARTTLS listener is greeted by Sluice and asks for TLS. Then it sends its
// ClientHello, and only now a server is dialled: it gets our header, is spoken with in the same
// protocol until it agrees to TLS, and gets the hello. From there on it is a relay.

/// How what a client says comes.
enum Speaking: CaseIterable, Sendable, CustomStringConvertible {
  case lines, dribbled
  var description: String { self == .lines ? "line by line" : "byte by byte" }
}

@Test("STARTTLS is routed", arguments: Engine.eventSources, Mail.allCases)
func startTLSRouted(engine: Engine, mail: Mail) throws {
  let server = try ListeningSocket()
  let setup = TrustSetup.startTLS(
    engine, [server.endpoint], mail, backend: "send-proxy: v2, proxy-tlvs: [authority, alpn]")
  try withTrust(setup) { proxy in
    for (index, speaking) in Speaking.allCases.enumerated() {
      let client = try proxy.connect(from: "127.0.0.3")
      let size = speaking == .lines ? 100 : 1
      try client.askForTLS(mail, inPiecesOf: size, pauseMs: speaking == .lines ? 0 : 5)
      let hello = TLSHello("mail.example.test", alpn: ["x"], padding: 2000).bytes
      try client.write(Array(hello[..<700]))
      #expect(try server.accept(withinMs: 50) == nil)
      try client.write(Array(hello[700...]))

      let upstream = try server.accept()
      let head = try upstream.readExactly(16)
      let ours = head + (try upstream.readExactly(Int(head[14]) << 8 | Int(head[15])))
      #expect(try ReceivedProxyHeader(ours).source == client.local)
      #expect(try TLV.all(in: ours) == [TLV(2, "mail.example.test"), TLV(1, "x")])
      try upstream.agreeToTLS(mail, hasHeader: false)
      #expect(try upstream.readExactly(hello.count) == hello)

      // Nothing of what was said before comes to the client, and all that is said now.
      try upstream.write(serverRecord)
      #expect(try client.readExactly(serverRecord.count) == serverRecord)
      let bulk = Pattern(seed: 7)
      let writer = Job("server") { try upstream.send(bulk, count: 3_000_000, pace: .fast) }
      try client.write("client")
      #expect(try upstream.readExactly(6) == Array("client".utf8))
      var count = 0
      while count < 3_000_000 {
        guard case .bytes(let more) = try client.receive(atMost: 65536) else { break }
        count += more.count
      }
      try writer.value()
      #expect(count == 3_000_000)
      client.close()
      #expect(try upstream.readToEnd().bytes == [])
      upstream.close()
      let record = try proxy.record(index + 1)
      #expect(record.reason == nil && record.end == "client.fin")
      #expect(record.sni == "mail.example.test" && record.startTLS == true)
      #expect(record.connection.bytesUp == hello.count + 6)
      #expect(record.connection.bytesDown == serverRecord.count + 3_000_000)
      #expect(record.connection.splicedDown > 0 && record.connection.tries == 1)
    }
  }
}

// Before TLS a listener says of itself what it is configured to, and nothing else.
@Test("what is announced", arguments: Mail.allCases)
func startTLSAnnounced(mail: Mail) throws {
  let server = try ListeningSocket()
  let capability =
    switch mail {
    case .smtp: "SIZE 1000"
    case .imap: "ID"
    case .pop3: "UIDL"
    case .sieve: "\\\"SIEVE\\\" \\\"fileinto\\\""
    }
  let setup = TrustSetup.startTLS(
    Engine.eventSources[0], [server.endpoint], mail,
    "starttls: { name: edge.example, greeting: welcome, capabilities: [\"\(capability)\"], "
      + "plaintext: reject }")
  try withTrust(setup) { proxy in
    let client = try proxy.connect()
    let heard = try client.askForTLS(mail).joined()
    let sieve =
      "\"IMPLEMENTATION\" \"edge.example\"\r\n\"SIEVE\" \"fileinto\"\r\n\"SASL\" \"\"\r\n"
      + "\"STARTTLS\"\r\n\"VERSION\" \"1.0\"\r\nOK \"welcome\"\r\n"
    let imap = "CAPABILITY IMAP4rev1 STARTTLS ID LOGINDISABLED"
    let expected =
      switch mail {
      case .smtp:
        "220 edge.example welcome\r\n250-edge.example\r\n250-SIZE 1000\r\n250 STARTTLS\r\n"
          + "220 2.0.0 ready for TLS\r\n"
      case .imap:
        "* OK [\(imap)] edge.example welcome\r\n* \(imap)\r\na OK done\r\nb OK begin TLS\r\n"
      case .pop3: "+OK edge.example welcome\r\n+OK\r\nUIDL\r\nSTLS\r\n.\r\n+OK begin TLS\r\n"
      case .sieve: sieve + sieve + "OK \"begin TLS\"\r\n"
      }
    #expect(heard == expected)
    client.close()
  }
}

// A header from a trusted proxy comes before anything else, and what a client says without waiting
// for its greeting is answered all the same.
@Test("a header, and then the greeting", arguments: Engine.eventSources, [1, 2])
func startTLSBehindHeader(engine: Engine, version: Int) throws {
  let server = try ListeningSocket()
  var setup = TrustSetup.startTLS(engine, [server.endpoint])
  setup.top = "trusted-networks: [127.0.0.4]"
  try withTrust(setup) { proxy in
    let (source, reached) = (Endpoint.inet("203.0.113.7", 40_001), Endpoint.inet("192.0.2.1", 25))
    let header =
      version == 1 ? Header.v1(source, to: reached) : Header.v2(source, to: reached)
    for (index, isEager) in [false, true].enumerated() {
      let client = try proxy.connect(from: "127.0.0.4")
      if isEager {
        try client.write(header + Array("EHLO client.example\r\n".utf8))
        _ = try client.readLines(until: "250 ")
        try client.write("STARTTLS\r\n")
        _ = try client.readLines(until: "220 2.0.0")
      } else {
        #expect(try client.isSilent(forMs: 100))
        try client.write(header)
        try client.askForTLS(.smtp)
      }
      let hello = TLSHello().bytes
      try client.write(hello)
      let upstream = try server.accept()
      #expect(try ReceivedProxyHeader(upstream.readExactly(28)).source == source)
      try upstream.agreeToTLS(.smtp, hasHeader: false)
      #expect(try upstream.readExactly(hello.count) == hello)
      client.close()
      upstream.close()
      let record = try proxy.record(index + 1)
      #expect(record.client == source.description && record.header == "v\(version)")
    }
    // Who is not trusted is not listened to; who is, must send one.
    let bare = try proxy.connect(from: "127.0.0.4")
    try bare.write("EHLO client.example\r\n")
    try expectTurnedAway(bare)
    #expect(try proxy.record(3).reason == "proxy.bad-signature")
    let forger = try proxy.connect(from: "127.0.0.5")
    try forger.write(Header.v1(source, to: reached))
    _ = try forger.readLines(until: "220 ")
    // To its server it is a command like any other, behind our header and the server's greeting.
    let upstream = try server.accept()
    #expect(try ReceivedProxyHeader(upstream.readExactly(28)).source == forger.local)
    #expect(try upstream.isSilent(forMs: 50))
    try upstream.write("220 mx.example ESMTP\r\n")
    _ = try upstream.readLines(until: "PROXY TCP4 203.0.113.7 ")
    forger.close()
    upstream.close()
  }
}

// A server's greeting may take its time, several lines among it, and has a time of its own: that
// of the client has passed long before.
@Test("a slow greeting", arguments: Engine.eventSources)
func startTLSSlowGreeting(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = TrustSetup.startTLS(engine, [server.endpoint])
  setup.timeouts = "drain: 5s, preface: 1s, starttls: 10s"
  try withTrust(setup) { proxy in
    let client = try proxy.connect()
    try client.askForTLS(.smtp)
    let hello = TLSHello().bytes
    try client.write(hello)
    let upstream = try server.accept()
    _ = try upstream.readExactly(28)
    for line in ["220-mx.example", "220-mx.example waits"] {
      for byte in Array("\(line)\r\n".utf8) {
        try upstream.write([byte])
        pause(ms: 20)
      }
      pause(ms: 500)
    }
    #expect(try upstream.isSilent(forMs: 500))
    try upstream.write("220 mx.example ESMTP\r\n")
    _ = try upstream.readLines(until: "EHLO client.example\r\n")
    try upstream.write("250 STARTTLS\r\n")
    _ = try upstream.readLines(until: "STARTTLS\r\n")
    try upstream.write("220 go\r\n")
    #expect(try upstream.readExactly(hello.count) == hello)
    client.close()
    upstream.close()
    #expect(try proxy.record().reason == nil)
  }
}
