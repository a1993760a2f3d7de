import System
import TestSupport
import Testing

// Clients of a STARTTLS listener that do not come to TLS: those that want none go to the backend,
// which hears what it must have heard, or are told to ask for it; those that leave, stall or talk
// too much are let go. None of them holds much.

/// A client that goes on without TLS, and its server.
private struct Plain: Sendable {
  let mail: Mail
  /// What the client says, and what of it the listener answers itself.
  let says: String
  let hears: String
  /// What the server hears of it, each line behind what it says first.
  let told: [(says: String, hears: String)]

  static let all = [
    Plain(
      mail: .smtp, says: "EHLO client.example\r\nMAIL FROM:<a@b.example>\r\n", hears: "250 ",
      told: [
        ("220-mx waits\r\n220 mx\r\n", "EHLO client.example\r\n"),
        ("250-mx\r\n250 SIZE\r\n", "MAIL FROM:<a@b.example>\r\n"),
      ]),
    Plain(
      mail: .smtp, says: "HELO client.example\r\nRSET\r\n", hears: "250 ",
      told: [("220 mx\r\n", "HELO client.example\r\n"), ("250 mx\r\n", "RSET\r\n")]),
    Plain(mail: .smtp, says: "HELP\r\n", hears: "", told: [("220 mx\r\n", "HELP\r\n")]),
    Plain(
      mail: .imap, says: "a NOOP\r\nb LOGIN u p\r\n", hears: "a OK",
      told: [("* OK [CAPABILITY IMAP4rev1] ready\r\n", "b LOGIN u p\r\n")]),
    Plain(
      mail: .pop3, says: "CAPA\r\nUSER u\r\n", hears: ".", told: [("+OK ready\r\n", "USER u\r\n")]),
    Plain(
      mail: .sieve, says: "CAPABILITY\r\nAUTHENTICATE \"PLAIN\"\r\n", hears: "OK",
      told: [("\"SASL\" \"PLAIN\"\r\nOK\r\n", "AUTHENTICATE \"PLAIN\"\r\n")]),
  ]
}

@Test("clients without TLS", arguments: Engine.eventSources, [false, true])
func startTLSPlaintext(engine: Engine, isAtOnce: Bool) throws {
  for plain in Plain.all {
    let server = try ListeningSocket()
    try withTrust(.startTLS(engine, [server.endpoint], plain.mail)) { proxy in
      let client = try proxy.connect(from: "127.0.0.3")
      _ = try client.readLines(until: plain.mail.greeting)
      let lines = plain.says.split(separator: "\r\n")
      if isAtOnce {
        try client.write(plain.says)
      } else {
        for line in lines.dropLast() {
          try client.write("\(line)\r\n")
          _ = try client.readLines(until: plain.hears)
        }
        #expect(try server.accept(withinMs: 50) == nil)
        try client.write("\(lines[lines.count - 1])\r\n")
      }
      if isAtOnce, !plain.hears.isEmpty { _ = try client.readLines(until: plain.hears) }
      let upstream = try server.accept()
      #expect(try ReceivedProxyHeader(upstream.readExactly(28)).source == client.local)
      for (says, hears) in plain.told {
        try upstream.write(says)
        #expect(try upstream.readExactly(hears.utf8.count) == Array(hears.utf8), "\(plain.mail)")
      }
      // The server's part so far was for us; the answer is for the client.
      try upstream.write("answer\r\n")
      #expect(try client.readExactly(8) == Array("answer\r\n".utf8))
      client.close()
      #expect(try upstream.readToEnd().bytes == [])
      upstream.close()
      let record = try proxy.record()
      #expect(record.reason == nil && record.startTLS == false && !record.saysHello)
      #expect(record.connection.bytesDown == 8)
    }
  }
}

// A server that has no time for such a client: it is told so in its own words.
@Test("no server for a client without TLS", arguments: Engine.eventSources, Mail.allCases)
func startTLSPlaintextNowhere(engine: Engine, mail: Mail) throws {
  let gone = try ListeningSocket()
  gone.close()
  try withTrust(.startTLS(engine, [gone.endpoint], mail)) { proxy in
    let client = try proxy.connect()
    _ = try client.readLines(until: mail.greeting)
    try client.write(mail == .imap ? "a LOGIN u p\r\n" : "WHATEVER\r\n")
    let heard = String(decoding: try client.readToEnd().bytes, as: UTF8.self)
    #expect(heard.hasPrefix(mail.refusal) && heard.contains("try again later"), "\(heard)")
    #expect(try proxy.record().reason == "dial.refused")
  }
}

@Test("no client without TLS", arguments: Engine.eventSources, Mail.allCases)
func startTLSPlaintextRefused(engine: Engine, mail: Mail) throws {
  let server = try ListeningSocket()
  let setup = TrustSetup.startTLS(
    engine, [server.endpoint], mail, "starttls: { plaintext: reject }")
  try withTrust(setup) { proxy in
    let client = try proxy.connect()
    _ = try client.readLines(until: mail.greeting)
    let (wish, refusal, leave, bye) =
      switch mail {
      case .smtp: ("MAIL FROM:<a@b>\r\n", "530 5.7.0 ", "QUIT\r\n", "221 ")
      case .imap: ("a LOGIN u p\r\n", "a NO [PRIVACYREQUIRED] ", "b LOGOUT\r\n", "* BYE")
      case .pop3: ("USER u\r\n", "-ERR STLS first", "QUIT\r\n", "+OK")
      case .sieve: ("PUTSCRIPT\r\n", "NO (ENCRYPT-NEEDED) ", "LOGOUT\r\n", "OK")
      }
    for _ in 0..<3 {
      try client.write(wish)
      _ = try client.readLines(until: refusal)
    }
    try client.write(leave)
    _ = try client.readLines(until: bye)
    #expect(try client.readToEnd().ending == .fin)
    client.close()
    #expect(try proxy.record().reason == "starttls.quit")

    // It may go on like that for a while, but not for ever.
    let stubborn = try proxy.connect()
    _ = try stubborn.readLines(until: mail.greeting)
    try stubborn.write(String(repeating: wish, count: 17))
    _ = try stubborn.readLines(until: mail.refusal + (mail == .pop3 ? " too" : ""))
    stubborn.close()
    #expect(try proxy.record(2).reason == "starttls.too-many-commands")
    try expectUntouched(server)
  }
}

// A client may leave at any moment: without a byte it is a probe, and else its reason says where it
// was. Nothing of it stays.
@Test("leaving", arguments: Engine.eventSources, Mail.allCases)
func startTLSLeaving(engine: Engine, mail: Mail) throws {
  let server = try ListeningSocket()
  try withTrust(.startTLS(engine, [server.endpoint], mail)) { proxy in
    let hello = TLSHello().bytes
    let first = mail.exchanges[0]
    var count = 0
    func leaves(_ reason: String?, _ body: (StreamSocket) throws -> Void) throws {
      for isReset in [false, true] {
        let client = try proxy.connect()
        _ = try client.readLines(until: mail.greeting)
        try body(client)
        if isReset { client.reset() } else { client.finish() }
        count += 1
        let record = try proxy.record(count)
        #expect(record.reason == (isReset ? nil : reason))
        #expect(record.end == (isReset ? "client.rst" : reason == nil ? "client.fin" : "rejected"))
        client.close()
      }
    }
    try leaves("tls.probe") { _ in }
    try leaves("starttls.truncated") { try $0.write(String(first.says.dropLast(4))) }
    try leaves("starttls.truncated") {
      try $0.write(first.says)
      _ = try $0.readLines(until: first.until)
    }
    for cut in [0, 1, 60] {
      try leaves(cut == 0 ? "starttls.truncated" : "tls.truncated") { client in
        for exchange in mail.exchanges {
          try client.write(exchange.says)
          _ = try client.readLines(until: exchange.until)
        }
        try client.write(Array(hello[..<cut]))
        // Else a reset might overtake it.
        pause(ms: 30)
      }
    }
    try expectUntouched(server)
    #expect(proxy.sluice.facts.descriptorCount < 100)
  }
}

// While its server is greeting us, too: that one is let go of at once.
@Test("leaving while a server greets", arguments: Engine.eventSources)
func startTLSLeavingLate(engine: Engine) throws {
  let server = try ListeningSocket()
  try withTrust(.startTLS(engine, [server.endpoint])) { proxy in
    for step in 0...2 {
      let client = try proxy.connect()
      try client.askForTLS(.smtp)
      try client.write(TLSHello().bytes)
      let upstream = try server.accept()
      _ = try upstream.readExactly(28)
      for (hears, says) in Mail.smtp.answers.prefix(step) {
        _ = try upstream.readExactly(hears.utf8.count)
        try upstream.write(says)
      }
      pause(ms: 30)
      client.reset()
      // What was said to it before may still be there to be read.
      _ = try upstream.readToEnd()
      upstream.close()
      let record = try proxy.record(step + 1)
      #expect(record.end == "client.rst" && record.reason == nil)
    }
  }
}

@Test("stalled and endless preambles", .serialized, arguments: Engine.eventSources)
func startTLSStalled(engine: Engine) throws {
  let count = 1000
  let deadlineMs = 4000
  try makeRoom(forDescriptors: count + 200)
  let server = try ListeningSocket()
  var setup = TrustSetup.startTLS(engine, [server.endpoint])
  setup.top = "limits: { max-connections: 3000 }"
  setup.timeouts = "drain: 5s, preface: \(deadlineMs)ms"
  try withTrust(setup) { proxy in
    for _ in 0..<10 { try serve(proxy, server) }
    let facts = proxy.sluice.facts
    let memory = facts.privateMemory
    var slowOnes: [StreamSocket] = []
    // Some say nothing, some half a command, some a few of them.
    let texts = ["", "EHL", "EHLO client.example\r\n", "EHLO client.example\r\nNOOP\r\nSTAR"]
    for index in 0..<count {
      let client = try proxy.connect(from: "127.0.0.2")
      try client.write(texts[index % texts.count])
      slowOnes.append(client)
    }
    var most = 0
    for _ in 0..<5 {
      most = max(most, facts.privateMemory)
      try serve(proxy, server)
      pause(ms: 50)
    }
    let each = (most - memory) / count
    print("starttls, \(engine): \(each) bytes of memory for each of \(count) stalled preambles")
    if !SluiceBinary.isSanitized { #expect(each < 4096 + 2048) }
    let (records, leftOut) = try proxy.records(of: count + 15)
    let late = records.filter { $0.reason == "starttls.timeout" }
    #expect(late.count + leftOut == count && late.count >= 10)
    for record in late { #expect(record.connection.durationMs > Double(deadlineMs) - 100) }
    let heard = String(decoding: try slowOnes[0].readToEnd().bytes, as: UTF8.self)
    #expect(heard.hasSuffix("421 4.4.2 Timeout, closing the connection\r\n"), "\(heard)")
    for client in slowOnes { client.close() }
    try expectUntouched(server)
    try wait(for: "the descriptors to be closed") { facts.descriptorCount < 100 }

    // A line without an end.
    let endless = try proxy.connect()
    try endless.write([UInt8](repeating: 0x61, count: 600))
    _ = try endless.readLines(until: "421 ")
    endless.close()
    #expect(try proxy.records(of: count + 16).records.last?.reason == "starttls.line-too-long")
  }
}

/// A client that knows what it wants is served at once.
private func serve(_ proxy: TrustProcess, _ server: ListeningSocket) throws {
  let client = try proxy.connect()
  try client.askForTLS(.smtp)
  let hello = TLSHello().bytes
  try client.write(hello)
  let upstream = try server.accept()
  try upstream.agreeToTLS(.smtp)
  #expect(try upstream.readExactly(hello.count) == hello)
  client.close()
  upstream.close()
}

// The place that a client needs is looked for when its hello is there, and waited for with it.
@Test("limits behind STARTTLS", arguments: Engine.eventSources)
func startTLSLimits(engine: Engine) throws {
  let server = try ListeningSocket()
  let setup = TrustSetup.startTLS(
    engine, [server.endpoint], .smtp, "queue: { length: 1, timeout: 60s }, max-connections: 3",
    backend: "send-proxy: v2, max-connections: 1")
  try withTrust(setup) { proxy in
    let hello = TLSHello(padding: 2000).bytes
    var clients: [StreamSocket] = []
    func come() throws {
      let client = try proxy.connect()
      try client.askForTLS(.smtp)
      try client.write(hello)
      clients.append(client)
    }
    try come()
    let first = try server.accept()
    try first.agreeToTLS(.smtp)
    try come()
    #expect(try server.accept(withinMs: 100) == nil)
    // The queue is full: inside TLS that is an alert.
    try come()
    #expect(try clients[2].readToEnd().bytes == internalErrorAlert)
    #expect(try proxy.record().reason == "queue.full")
    clients[0].close()
    first.close()
    let second = try server.accept()
    try second.agreeToTLS(.smtp)
    #expect(try second.readExactly(hello.count) == hello)
    for client in clients { client.close() }
    second.close()
    #expect(try proxy.records(3).filter { $0.reason == nil }.count == 2)
  }
}

// Rules by name and ALPN are for clients that come to TLS; those by addresses are for all.
@Test("rules behind STARTTLS", arguments: Engine.eventSources)
func startTLSRules(engine: Engine) throws {
  let server = try ListeningSocket()
  let setup = TrustSetup.startTLS(
    engine, [server.endpoint], .smtp,
    "rules: [{ name: lab, from: 127.0.0.3, action: reject }, { name: gone, sni: gone.example, "
      + "action: reject }]")
  try withTrust(setup) { proxy in
    let unrecognized: [UInt8] = [21, 3, 3, 0, 2, 2, 112]
    for (index, (source, name)) in [("127.0.0.3", "a.example"), ("127.0.0.2", "gone.example")]
      .enumerated()
    {
      let client = try proxy.connect(from: source)
      try client.askForTLS(.smtp)
      try client.write(TLSHello(name).bytes)
      #expect(try client.readToEnd().bytes == unrecognized)
      client.close()
      #expect(try proxy.record(index + 1).reason == "route.rejected")
    }
    let plain = try proxy.connect(from: "127.0.0.3")
    _ = try plain.readLines(until: "220 ")
    try plain.write("EHLO client.example\r\nMAIL FROM:<a@b.example>\r\n")
    _ = try plain.readLines(until: "421 4.7.1 ")
    plain.close()
    #expect(try proxy.record(3).reason == "route.rejected")
    try expectUntouched(server)
    let other = try proxy.connect(from: "127.0.0.2")
    _ = try other.readLines(until: "220 ")
    try other.write("HELP\r\n")
    let upstream = try server.accept()
    _ = try upstream.readExactly(28)
    try upstream.write("220 mx\r\n")
    #expect(try upstream.readExactly(6) == Array("HELP\r\n".utf8))
    other.close()
    upstream.close()
    #expect(try proxy.record(4).reason == nil)
  }
}
