import Testing

@testable import Wire

/// What is said to a server before TLS, and which of its answers are taken.
struct StartTLSClientTests {
  private static let hello = "EHLO client.example\r\n"

  /// All that is said to a server that says these things, one after each thing said to it.
  private static func talk(
    _ kind: MailProtocol, _ answers: [String], _ purpose: StartTLSClient.Purpose = .startTLS,
    ended: Bool = false, inBytes: Bool = false
  ) -> (said: String, step: StartTLSClient.Step, client: StartTLSClient) {
    var client = StartTLSClient(kind, purpose)
    let hello = Array(kind == .smtp ? hello.utf8 : "".utf8)
    var said: [UInt8] = []
    var held: [UInt8] = []
    var step = StartTLSClient.Step.more
    for answer in answers {
      let pieces = inBytes ? answer.utf8.map { [$0] } : [Array(answer.utf8)]
      for piece in pieces {
        held += piece
        let output = [UInt8](capacity: StartTLSClient.sayingRoom + hello.count) { output in
          step = client.hear(held.span, ended: ended, hello: hello.span, into: &output)
        }
        said += output
      }
      guard step == .say || step == .more else { break }
    }
    return (String(decoding: said, as: UTF8.self), step, client)
  }

  static let good: [(MailProtocol, [String], String)] = [
    (
      .smtp,
      [
        "220-mx.example waits\r\n220 mx.example ESMTP\r\n",
        "250-mx.example\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 SMTPUTF8\r\n", "220 go\r\n",
      ], hello + "STARTTLS\r\n"
    ),
    (
      .imap,
      ["* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n* 1 note\r\n", "* NOTE\r\nS1 OK go\r\n"],
      "S1 STARTTLS\r\n"
    ),
    (.pop3, ["+OK ready <1@x>\r\n", "+OK go\r\n"], "STLS\r\n"),
    (
      .sieve,
      [
        "\"IMPLEMENTATION\" \"x\"\r\n\"SASL\" \"\"\r\n\"STARTTLS\"\r\nOK\r\n",
        "OK \"go\"\r\n",
      ], "STARTTLS\r\n"
    ),
  ]

  @Test(arguments: good)
  func theConsentIsFound(kind: MailProtocol, answers: [String], expected: String) {
    let (said, step, client) = Self.talk(kind, answers)
    #expect(said == expected && step == .ready)
    #expect(client.position == answers.joined().utf8.count)
    let inBytes = Self.talk(kind, answers, inBytes: true)
    #expect(inBytes.said == expected && inBytes.step == .ready)
  }

  /// What a server sends behind its go-ahead would be taken for something said inside TLS.
  @Test(arguments: good)
  func bytesBehindTheConsentAreRefused(kind: MailProtocol, answers: [String], expected: String) {
    var answers = answers
    for more in ["x", "250 injected\r\n", "* injected\r\n"] {
      answers[answers.count - 1] += more
      #expect(Self.talk(kind, answers).step == .over(.outOfTurn))
    }
    guard kind != .imap else { return }
    answers[0] += "250 before its turn\r\n"
    #expect(Self.talk(kind, answers).step == .over(.outOfTurn))
  }

  @Test(arguments: [
    (MailProtocol.smtp, ["554 no\r\n"], StartTLSClient.Fault.refused),
    (.smtp, ["220 a\r\n", "502 what\r\n"], .refused),
    (.smtp, ["220 a\r\n", "250-a\r\n250 XSTARTTLS\r\n"], .notOffered),
    (.smtp, ["220 a\r\n", "250 STARTTLS\r\n", "454 later\r\n"], .refused),
    (.smtp, ["220-a\r\n250 b\r\n"], .notUnderstood), (.smtp, ["+OK a\r\n"], .notUnderstood),
    (.smtp, ["22 a\r\n"], .notUnderstood), (.smtp, ["220a\r\n"], .notUnderstood),
    (.imap, ["* BYE no\r\n"], .refused), (.imap, ["* PREAUTH hello\r\n"], .preauthenticated),
    (.imap, ["* OK a\r\n", "S1 NO b\r\n"], .refused),
    (.imap, ["* OK a\r\n", "S2 OK b\r\n"], .notUnderstood),
    (.imap, ["* OK a\r\n", "+ go\r\n"], .notUnderstood),
    (.imap, ["* NO a\r\n"], .notUnderstood), (.imap, ["220 a\r\n"], .notUnderstood),
    (.pop3, ["-ERR a\r\n"], .refused), (.pop3, ["+OK a\r\n", "-ERR b\r\n"], .refused),
    (.pop3, ["+OKAY\r\n"], .notUnderstood),
    (.sieve, ["BYE \"no\"\r\n"], .refused), (.sieve, ["\"SASL\" \"\"\r\nOK\r\n"], .notOffered),
    (.sieve, ["\"STARTTLS\"\r\nOK\r\n", "NO \"no\"\r\n"], .refused),
    (.sieve, ["\"STARTTLS\"\r\nOK\r\n", "\"more\"\r\n"], .notUnderstood),
  ])
  func whatIsNoConsent(kind: MailProtocol, answers: [String], fault: StartTLSClient.Fault) {
    #expect(Self.talk(kind, answers).step == .over(fault))
  }

  /// For a client without TLS: the server has greeted, and heard the client's own greeting.
  @Test(arguments: [
    (MailProtocol.smtp, ["220 a\r\n", "250 b\r\n"], hello), (.imap, ["* OK a\r\n"], ""),
    (.pop3, ["+OK\r\n"], ""), (.sieve, ["\"SASL\" \"PLAIN\"\r\nOK\r\n"], ""),
  ])
  func aPlaintextClientGoesOn(kind: MailProtocol, answers: [String], expected: String) {
    let (said, step, client) = Self.talk(kind, answers, .plaintext)
    #expect(said == expected && step == .ready)
    #expect(client.position == answers.joined().utf8.count)
  }

  @Test(arguments: MailProtocol.allCases)
  func everythingHasALimit(kind: MailProtocol) {
    let line = String(repeating: "x", count: 4096)
    #expect(Self.talk(kind, [line]).step == .over(.tooLong))
    #expect(Self.talk(kind, ["2"], ended: true).step == .over(.truncated))
    let endless: [MailProtocol: String] = [
      .smtp: "220-a\r\n", .imap: "* x\r\n", .sieve: "\"x\"\r\n",
    ]
    guard let more = endless[kind] else { return }
    let greeting = kind == .imap ? "* OK\r\n" : ""
    let much = String(repeating: more, count: 16_384 / more.utf8.count + 1)
    let answers = kind == .imap ? [greeting, much] : [much]
    #expect(Self.talk(kind, answers).step == .over(.tooLong))
  }
}
