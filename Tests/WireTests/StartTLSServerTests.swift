import Testing

@testable import Wire

/// What is said to a client before TLS: RFC 3207, RFC 9051, RFC 2595, RFC 5804.
struct StartTLSServerTests {
  private static func words(
    _ kind: MailProtocol, _ plaintext: StartTLSWords.Plaintext = .refused,
    capabilities: [String] = []
  ) -> StartTLSWords {
    StartTLSWords(
      kind, name: HostName("mail.example")!, capabilities: capabilities, plaintext: plaintext)!
  }

  /// All that is said after the greeting, and what comes of it; `cuts` are where the client's bytes
  /// are cut into segments.
  private static func talk(
    _ words: StartTLSWords, _ text: String, ended: Bool = false, cuts: [Int] = []
  ) -> (said: String, step: StartTLSServer.Step, server: StartTLSServer) {
    let bytes = Array(text.utf8)
    var server = StartTLSServer()
    var said: [UInt8] = []
    var step = StartTLSServer.Step.more
    for end in cuts + [bytes.count] {
      let held = Array(bytes.prefix(end))
      repeat {
        var reply: [UInt8] = []
        reply = [UInt8](capacity: words.replyRoom) { output in
          step = server.hear(
            held.span, ended: ended && end == bytes.count, words, into: &output)
        }
        said += reply
      } while step == .reply
      if step != .more { break }
    }
    return (String(decoding: said, as: UTF8.self), step, server)
  }

  static let askings: [(MailProtocol, String, String)] = [
    (
      .smtp, "EHLO client.example\r\nSTARTTLS\r\n",
      "250-mail.example\r\n250 STARTTLS\r\n220 2.0.0 ready for TLS\r\n"
    ),
    (
      .imap, "a1 CAPABILITY\r\na2 STARTTLS\r\n",
      "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na1 OK done\r\na2 OK begin TLS\r\n"
    ),
    (.pop3, "CAPA\r\nSTLS\r\n", "+OK\r\nSTLS\r\n.\r\n+OK begin TLS\r\n"),
    (
      .sieve, "CAPABILITY\r\nSTARTTLS\r\n",
      "\"IMPLEMENTATION\" \"mail.example\"\r\n\"SASL\" \"\"\r\n\"SIEVE\" \"\"\r\n\"STARTTLS\"\r\n"
        + "\"VERSION\" \"1.0\"\r\nOK \"ready\"\r\nOK \"begin TLS\"\r\n"
    ),
  ]

  @Test(arguments: askings)
  func whoAsksForTLSGetsIt(kind: MailProtocol, text: String, expected: String) {
    let (said, step, server) = Self.talk(Self.words(kind), text)
    #expect(said == expected)
    #expect(step == .startTLS && server.position == text.utf8.count)
  }

  /// Case does not matter, nor that a line ends with LF alone.
  @Test(arguments: askings)
  func asWrittenByOthers(kind: MailProtocol, text: String, expected: String) {
    let text = String(decoding: text.lowercased().utf8.filter { $0 != 0x0d }, as: UTF8.self)
    #expect(Self.talk(Self.words(kind), text).step == .startTLS)
  }

  @Test(arguments: askings)
  func segmentsDoNotMatter(kind: MailProtocol, text: String, expected: String) {
    for cut in 0...text.utf8.count {
      #expect(Self.talk(Self.words(kind), text, cuts: [cut]).said == expected)
    }
    let all = Array(0...text.utf8.count)
    let (said, step, _) = Self.talk(Self.words(kind), text, cuts: all)
    #expect(said == expected && step == .startTLS)
  }

  /// CVE-2011-0411: what comes with the wish for TLS would be taken for something said inside it.
  @Test(arguments: askings)
  func commandsBehindTheWishAreRefused(kind: MailProtocol, text: String, expected: String) {
    for more in ["RSET\r\n", "\r\n", "x"] {
      let (said, step, _) = Self.talk(Self.words(kind), text + more)
      #expect(step == .over(.pipelined))
      #expect(!said.contains("begin TLS") && !said.contains("220"))
      #expect(said.contains("commands after STARTTLS"))
    }
  }

  static let others: [(MailProtocol, String, String)] = [
    (.smtp, "EHLO a\r\nMAIL FROM:<a@b>\r\n", "530 5.7.0 Must issue a STARTTLS command first"),
    (.imap, "a LOGIN u p\r\n", "a NO [PRIVACYREQUIRED] STARTTLS first"),
    (.pop3, "USER u\r\n", "-ERR STLS first"),
    (.sieve, "AUTHENTICATE \"PLAIN\"\r\n", "NO (ENCRYPT-NEEDED) \"STARTTLS first\""),
  ]

  @Test(arguments: others)
  func nothingElseBeforeTLS(kind: MailProtocol, text: String, expected: String) {
    let (said, step, _) = Self.talk(Self.words(kind), text)
    #expect(said.hasSuffix(expected + "\r\n") && step == .more, "\(said)")
  }

  /// Where it may be had in plaintext, the line is left to the server, with the greeting it needs.
  @Test(arguments: others)
  func orItIsLeftToAServer(kind: MailProtocol, text: String, expected: String) {
    let (said, step, server) = Self.talk(Self.words(kind, .served), text)
    #expect(step == .plaintext && !said.contains(expected))
    let bytes = Array(text.utf8)
    let hello = kind == .smtp ? "EHLO a\r\n" : ""
    #expect(String(decoding: bytes[server.hello], as: UTF8.self) == hello)
    #expect(server.position == hello.utf8.count)
  }

  @Test(arguments: [
    (MailProtocol.smtp, "NOOP\r\nQUIT\r\n", "250 2.0.0 OK\r\n221 2.0.0 bye\r\n"),
    (.imap, "1 NOOP\r\n2 LOGOUT\r\n", "1 OK done\r\n* BYE bye\r\n2 OK done\r\n"),
    (.pop3, "QUIT\r\n", "+OK bye\r\n"),
    (
      .sieve, "NOOP\r\nNOOP \"x y\"\r\nLOGOUT\r\n",
      "OK \"done\"\r\nOK (TAG \"x y\") \"done\"\r\nOK \"bye\"\r\n"
    ),
  ])
  func whoTakesLeaveIsLetGo(kind: MailProtocol, text: String, expected: String) {
    for plaintext in [StartTLSWords.Plaintext.refused, .served] {
      let (said, step, _) = Self.talk(Self.words(kind, plaintext), text)
      #expect(said == expected && step == .over(nil))
    }
  }

  @Test(arguments: [
    (MailProtocol.smtp, "STARTTLS\r\n", "503 5.5.1 EHLO first"),
    (.smtp, "HELO a\r\nSTARTTLS\r\n", "503 5.5.1 EHLO first"),
    (.smtp, "EHLO\r\n", "501 5.5.4 a name is missing"),
    (.smtp, "EHLO a\r\nSTARTTLS now\r\n", "501 5.5.4 STARTTLS takes nothing"),
    (.imap, "a STARTTLS x\r\n", "a BAD STARTTLS takes nothing"),
    (.imap, "\r\n", "* BAD no command"), (.imap, "a\r\n", "* BAD no command"),
    (.imap, "+ NOOP\r\n", "* BAD no command"), (.imap, "a{1} NOOP\r\n", "* BAD no command"),
    (.imap, "\u{1b} NOOP\r\n", "* BAD no command"),
    (.imap, "a ID NIL\r\n", "a OK done"),
    (.imap, "a ID {10}\r\n", "a NO [PRIVACYREQUIRED] STARTTLS first"),
    (.pop3, "STLS x\r\n", "-ERR STLS takes nothing"),
    (.sieve, "STARTTLS \"x\"\r\n", "NO \"STARTTLS takes nothing\""),
    (.sieve, "NOOP {3}\r\n", "NO \"a quoted string is meant\""),
    (.sieve, "NOOP \"\\\"\"\r\n", "NO \"a quoted string is meant\""),
  ])
  func whatIsWrongIsSaid(kind: MailProtocol, text: String, expected: String) {
    let (said, step, _) = Self.talk(Self.words(kind), text)
    #expect(said.hasSuffix(expected + "\r\n") && step == .more, "\(said)")
  }

  @Test(arguments: MailProtocol.allCases)
  func everythingHasALimit(kind: MailProtocol) {
    let words = Self.words(kind)
    let long = String(repeating: "x", count: kind.commandLimit)
    #expect(Self.talk(words, long).step == .over(.lineTooLong))
    #expect(Self.talk(words, String(long.dropLast())).step == .more)
    #expect(Self.talk(words, String(long.dropLast(2)) + "\r\n").step == .more)
    let many = String(repeating: "a b\r\n", count: 16)
    #expect(Self.talk(words, many).step == .more)
    #expect(Self.talk(words, many + "a b\r\n").step == .over(.tooManyCommands))
    #expect(Self.talk(words, "a", ended: true).step == .over(.truncated))
    #expect(Self.talk(words, "\u{16}\u{3}\u{1}").step == .over(.alreadyTLS))
  }

  @Test func capabilitiesAreThoseConfigured() {
    let smtp = Self.words(.smtp, capabilities: ["SIZE 1000", "8BITMIME"])
    #expect(
      Self.talk(smtp, "EHLO a\r\n").said
        == "250-mail.example\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 STARTTLS\r\n")
    let imap = Self.words(.imap, .served, capabilities: ["ID"])
    #expect(
      String(decoding: imap.greeting, as: UTF8.self)
        == "* OK [CAPABILITY IMAP4rev1 STARTTLS ID] mail.example ready\r\n")
    let sieve = Self.words(.sieve, .served, capabilities: ["\"SIEVE\" \"fileinto\""])
    #expect(
      String(decoding: sieve.greeting, as: UTF8.self)
        == "\"IMPLEMENTATION\" \"mail.example\"\r\n\"SIEVE\" \"fileinto\"\r\n\"SASL\" \"\"\r\n"
        + "\"STARTTLS\"\r\n\"VERSION\" \"1.0\"\r\nOK \"ready\"\r\n")
  }

  /// What is said to one that reads none of it fits one buffer, so capabilities together have a
  /// limit.
  @Test(arguments: MailProtocol.allCases)
  func everythingSaidFitsABuffer(kind: MailProtocol) throws {
    let capability = String(repeating: "x", count: 200)
    func words(_ count: Int) -> StartTLSWords? {
      StartTLSWords(
        kind, name: HostName("mail.example")!,
        capabilities: Array(repeating: capability, count: count), plaintext: .refused)
    }
    #expect(words(32) == nil)
    let most = try #require(words(9))
    let asking =
      switch kind {
      case .smtp: "EHLO a\r\n"
      case .imap: "a CAPABILITY\r\n"
      case .pop3: "CAPA\r\n"
      case .sieve: "CAPABILITY\r\n"
      }
    let (said, step, _) = Self.talk(most, String(repeating: asking, count: 17))
    #expect(step == .over(.tooManyCommands) && said.utf8.count > 16 * 9 * 200)
    #expect(most.greeting.count + said.utf8.count <= 1 << 16)
  }

  @Test(arguments: ["a\r\nb", "é", "\u{1b}", "", String(repeating: "x", count: 201)])
  func textsThatWouldBreakALineAreRefused(text: String) {
    #expect(
      StartTLSWords(
        .smtp, name: HostName("a.example")!, capabilities: [text], plaintext: .refused) == nil)
  }
}
