import TestSupport
import Testing

// What must not get through before TLS does not: commands that come with the wish for it, and what
// a server says behind its consent. And a server that does not agree is as good as one that cannot
// be reached: another one is tried, and when there is none the client gets an alert.

@Test("commands behind the wish", arguments: Engine.eventSources, Mail.allCases)
func startTLSInjectedByClient(engine: Engine, mail: Mail) throws {
  let server = try ListeningSocket()
  try withTrust(.startTLS(engine, [server.endpoint], mail)) { proxy in
    // In the segment of the wish: nobody knows whether it was meant inside TLS or before.
    for (index, more) in ["NOOP\r\n", "x"].enumerated() {
      let client = try proxy.connect()
      _ = try client.readLines(until: mail.greeting)
      try client.write(mail.exchanges[0].says)
      _ = try client.readLines(until: mail.exchanges[0].until)
      try client.write(mail.starting + more)
      let heard = String(decoding: try client.readToEnd().bytes, as: UTF8.self)
      #expect(heard.contains("commands after STARTTLS") && heard.hasPrefix(mail.refusal))
      client.close()
      #expect(try proxy.record(index + 1).reason == "starttls.pipelined")
    }
    // Behind the go-ahead: it would be inside TLS, and is none.
    let client = try proxy.connect()
    try client.askForTLS(mail)
    try client.write("NOOP\r\n")
    try expectTurnedAway(client)
    client.close()
    let record = try proxy.record(3)
    #expect(record.reason == "tls.not-tls" && record.startTLS == true)
    try expectUntouched(server)
  }
}

/// When a server says something that nobody asked for.
enum Injection: CaseIterable, Sendable {
  case withConsent, afterConsent, afterHello
}

@Test("words behind the consent", arguments: Engine.eventSources, Injection.allCases)
func startTLSInjectedByServer(engine: Engine, injection: Injection) throws {
  for mail in Mail.allCases {
    let server = try ListeningSocket()
    let setup = TrustSetup.startTLS(
      engine, [server.endpoint], mail, backend: "send-proxy: v2, retries: 0")
    try withTrust(setup) { proxy in
      let client = try proxy.connect()
      try client.askForTLS(mail)
      let hello = TLSHello().bytes
      try client.write(hello)
      let upstream = try server.accept()
      _ = try upstream.readExactly(28)
      let injected = "250 injected\r\n"
      for (index, answer) in mail.answers.enumerated() {
        _ = try upstream.readExactly(answer.hears.utf8.count)
        let isLast = index == mail.answers.count - 1
        try upstream.write(answer.says + (isLast && injection == .withConsent ? injected : ""))
      }
      switch injection {
      case .withConsent: break
      case .afterConsent: try upstream.write(injected)
      case .afterHello:
        #expect(try upstream.readExactly(hello.count) == hello)
        try upstream.write(injected)
      }
      #expect(try client.readToEnd().bytes == internalErrorAlert, "\(mail)")
      client.close()
      upstream.close()
      #expect(try proxy.record().reason == "starttls.out-of-turn", "\(mail)")
    }
  }
}

/// A server that does not come to TLS.
struct Unwilling: Sendable, CustomStringConvertible {
  enum Then: Sendable { case wait, close, reset }
  let mail: Mail
  /// What it says, one after each thing it hears.
  let says: [String]
  var then = Then.wait
  let reason: String
  var description: String { "\(mail) \(reason), \(then), after \(says.count)" }

  static let all = [
    Unwilling(mail: .smtp, says: ["554 no\r\n"], reason: "starttls.refused"),
    Unwilling(mail: .smtp, says: ["421 later\r\n"], then: .close, reason: "starttls.refused"),
    Unwilling(mail: .smtp, says: ["220 a\r\n", "550 you\r\n"], reason: "starttls.refused"),
    Unwilling(mail: .smtp, says: ["220 a\r\n", "250 b\r\n"], reason: "starttls.not-offered"),
    Unwilling(
      mail: .smtp, says: ["220 a\r\n", "250 STARTTLS\r\n", "454 later\r\n"],
      reason: "starttls.refused"),
    Unwilling(mail: .smtp, says: ["HTTP/1.1 400\r\n"], reason: "starttls.not-understood"),
    Unwilling(
      mail: .smtp, says: [String(repeating: "220-a\r\n", count: 3000)],
      reason: "starttls.answer-too-long"),
    Unwilling(mail: .smtp, says: [], reason: "starttls.server-timeout"),
    Unwilling(mail: .smtp, says: ["220-a\r\n"], reason: "starttls.server-timeout"),
    Unwilling(mail: .smtp, says: ["220 a\r\n"], reason: "starttls.server-timeout"),
    Unwilling(mail: .smtp, says: [], then: .close, reason: "starttls.server-closed"),
    Unwilling(mail: .smtp, says: ["220 a\r\n"], then: .close, reason: "starttls.server-closed"),
    Unwilling(mail: .smtp, says: [], then: .reset, reason: "dial.reset"),
    Unwilling(mail: .smtp, says: ["220 a\r\n"], then: .reset, reason: "dial.reset"),
    Unwilling(mail: .imap, says: ["* PREAUTH hello\r\n"], reason: "starttls.preauthenticated"),
    Unwilling(mail: .imap, says: ["* OK\r\n", "S1 NO no\r\n"], reason: "starttls.refused"),
    Unwilling(mail: .pop3, says: ["+OK\r\n", "-ERR no\r\n"], reason: "starttls.refused"),
    Unwilling(mail: .sieve, says: ["\"SASL\" \"\"\r\nOK\r\n"], reason: "starttls.not-offered"),
  ]

  /// Says its part to a connection that has sent its header.
  func speak(_ upstream: StreamSocket) throws {
    _ = try upstream.readExactly(28)
    for (index, text) in says.enumerated() {
      if index > 0 { _ = try upstream.readLines(until: "") }
      try upstream.write(text)
    }
    // Heard is what the last thing said is answered with.
    if says.count == 1, then != .wait, reason != "starttls.refused" {
      _ = try upstream.readLines(until: "")
    }
    switch then {
    case .wait: break
    case .close: upstream.close()
    case .reset: upstream.reset()
    }
  }
}

@Test("servers that do not agree", arguments: Engine.eventSources)
func startTLSRefused(engine: Engine) throws {
  for unwilling in Unwilling.all {
    let server = try ListeningSocket()
    var setup = TrustSetup.startTLS(
      engine, [server.endpoint], unwilling.mail, backend: "send-proxy: v2, retries: 0")
    setup.timeouts = "drain: 5s, starttls: 500ms"
    try withTrust(setup) { proxy in
      let client = try proxy.connect()
      try client.askForTLS(unwilling.mail)
      try client.write(TLSHello().bytes)
      let upstream = try server.accept()
      try unwilling.speak(upstream)
      #expect(try client.readToEnd().bytes == internalErrorAlert, "\(unwilling)")
      client.close()
      upstream.close()
      let record = try proxy.record()
      #expect(record.reason == unwilling.reason, "\(unwilling)")
      #expect(record.end == "rejected" && record.connection.tries == 1, "\(unwilling)")
      #expect(record.connection.bytesDown == 0, "\(unwilling)")
    }
  }
}

// One that does not agree is passed over, and the next one gets everything from the beginning.
@Test("another server agrees", arguments: Engine.eventSources)
func startTLSNextServer(engine: Engine) throws {
  for unwilling in Unwilling.all {
    let (bad, good) = (try ListeningSocket(), try ListeningSocket())
    var setup = TrustSetup.startTLS(
      engine, [bad.endpoint, good.endpoint], unwilling.mail,
      backend: "send-proxy: v2, retries: 1, eject: off")
    setup.timeouts = "drain: 5s, starttls: 500ms"
    try withTrust(setup) { proxy in
      // Round robin: of two clients one comes to the first server at first.
      for index in 0..<2 {
        let client = try proxy.connect()
        try client.askForTLS(unwilling.mail)
        let hello = TLSHello(padding: 3000).bytes
        try client.write(hello)
        if let upstream = try bad.accept(withinMs: 100) {
          try unwilling.speak(upstream)
          try serve(client, try good.accept(), unwilling.mail, hello)
          upstream.close()
        } else {
          try serve(client, try good.accept(), unwilling.mail, hello)
        }
        let record = try proxy.record(index + 1)
        #expect(record.reason == nil && record.end == "client.fin", "\(unwilling)")
        #expect(record.connection.bytesUp == hello.count)
        #expect(record.connection.bytesDown == serverRecord.count)
      }
      let tries = try proxy.records(2).map(\.connection.tries)
      #expect(tries.sorted() == [1, 2], "\(unwilling)")
    }
  }
}

private func serve(
  _ client: StreamSocket, _ upstream: StreamSocket, _ mail: Mail, _ hello: [UInt8]
) throws {
  try upstream.agreeToTLS(mail)
  #expect(try upstream.readExactly(hello.count) == hello)
  try upstream.write(serverRecord)
  #expect(try client.readExactly(serverRecord.count) == serverRecord)
  client.close()
  #expect(try upstream.readToEnd().bytes == [])
  upstream.close()
}

// A dead server costs a try, as everywhere.
@Test("a dead server", arguments: Engine.eventSources)
func startTLSDeadServer(engine: Engine) throws {
  let gone = try ListeningSocket()
  gone.close()
  let server = try ListeningSocket()
  let setup = TrustSetup.startTLS(engine, [gone.endpoint, server.endpoint])
  try withTrust(setup) { proxy in
    for _ in 0..<2 {
      let client = try proxy.connect()
      try client.askForTLS(.smtp)
      let hello = TLSHello().bytes
      try client.write(hello)
      try serve(client, try server.accept(), .smtp, hello)
    }
    #expect(try proxy.records(2).map(\.connection.tries).sorted() == [1, 2])
  }
  try withTrust(.startTLS(engine, [gone.endpoint])) { proxy in
    let client = try proxy.connect()
    try client.askForTLS(.smtp)
    try client.write(TLSHello().bytes)
    #expect(try client.readToEnd().bytes == internalErrorAlert)
    #expect(try proxy.record().reason == "dial.refused")
  }
}
