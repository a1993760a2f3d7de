/// The server's part of what comes before TLS, spoken with a client that nobody has routed yet: the
/// greeting, the capabilities, and the client's wish for TLS. Pure and of a few bytes; what the
/// client has said so far is held by the caller, all of it, since a server may have to hear it
/// again.
///
/// "The server MUST discard any knowledge obtained from the client [...] prior to the TLS
/// negotiation" (RFC 3207 section 4.2) is kept by there being none.
package struct StartTLSServer: Equatable, Sendable {
  package enum Step: Equatable, Sendable {
    /// Nothing can be said before more has come.
    case more
    /// The reply is to be said, and this asked again.
    case reply
    /// The reply is to be said, and what the client sends from now on is TLS.
    case startTLS
    /// The client wants something that only a server can do, in plaintext: at `position`, after
    /// `hello` if that is there. There is no reply.
    case plaintext
    /// The reply is to be said, if there is one, and then the connection ends.
    case over(Fault?)
  }

  /// Why it ends, unless the client took its leave.
  package enum Fault: String, CaseIterable, Sendable {
    /// A line without an end.
    case lineTooLong = "starttls.line-too-long"
    /// Commands, and still no TLS.
    case tooManyCommands = "starttls.too-many-commands"
    /// Bytes behind the command that asks for TLS: "command injection", CVE-2011-0411. A client
    /// waits for the answer.
    case pipelined = "starttls.pipelined"
    /// A TLS record in place of a command.
    case alreadyTLS = "starttls.already-tls"
    /// The stream ended, or the time.
    case truncated = "starttls.truncated"
  }

  /// Clients need three; a few more while they try what else there is.
  package static let commandsLimit = 16
  /// What all of a client's commands take up at most.
  package static func holdLimit(_ kind: MailProtocol) -> Int { commandsLimit * kind.commandLimit }

  /// How far the client's bytes have been taken.
  package private(set) var position = 0
  /// The last EHLO or HELO, its end included; empty before one. SMTP only.
  package private(set) var hello = 0..<0
  private var isExtended = false
  private var commands = 0

  package init() {}

  /// Takes the next command of those held.
  ///
  /// - Parameters:
  ///   - held: all that the client has sent since the connection began.
  ///   - ended: no more will come.
  ///   - reply: empty, with room for `words.replyRoom` bytes.
  package mutating func hear(
    _ held: Span<UInt8>, ended: Bool = false, _ words: StartTLSWords,
    into reply: inout OutputSpan<UInt8>
  ) -> Step {
    precondition(reply.freeCapacity >= words.replyRoom)
    if position == 0, held.count > 0, held[0] == StartTLSServer.handshakeRecord {
      return .over(.alreadyTLS)
    }
    switch MailLine.next(in: held, at: position, limit: words.kind.commandLimit) {
    case .unfinished: return ended ? .over(.truncated) : .more
    case .tooLong: return over(.lineTooLong, "line too long", words, &reply)
    case .line(let line, let next):
      guard commands < StartTLSServer.commandsLimit else {
        return over(.tooManyCommands, "too many commands", words, &reply)
      }
      commands += 1
      switch answer(held, line, next, words, &reply) {
      case .plaintext: return .plaintext
      case .startTLS where next < held.count:
        reply.removeAll()
        position = next
        return over(.pipelined, "commands after STARTTLS", words, &reply)
      case let step:
        position = next
        return step
      }
    }
  }

  /// ContentType handshake: RFC 8446 section 5.1.
  private static let handshakeRecord: UInt8 = 22

  private func over(
    _ fault: Fault, _ text: String, _ words: StartTLSWords, _ reply: inout OutputSpan<UInt8>
  ) -> Step {
    switch words.kind {
    case .smtp:
      // RFC 5321 section 4.2.2: the only code that goes with a close at any time.
      reply.append(text: "421 4.7.0 ")
      for byte in words.name { reply.append(byte) }
      reply.append(text: " ")
      reply.append(text: text)
    case .imap:
      reply.append(text: "* BYE ")
      reply.append(text: text)
    case .pop3:
      reply.append(text: "-ERR ")
      reply.append(text: text)
    case .sieve:
      reply.append(text: "BYE \"")
      reply.append(text: text)
      reply.append(text: "\"")
    }
    reply.append(text: "\r\n")
    return .over(fault)
  }

  private mutating func answer(
    _ held: Span<UInt8>, _ line: Range<Int>, _ next: Int, _ words: StartTLSWords,
    _ reply: inout OutputSpan<UInt8>
  ) -> Step {
    switch words.kind {
    case .smtp: answerSMTP(held, line, next, words, &reply)
    case .imap: StartTLSServer.answerIMAP(held, line, words, &reply)
    case .pop3: StartTLSServer.answerPOP3(held, line, words, &reply)
    case .sieve: StartTLSServer.answerSieve(held, line, words, &reply)
    }
  }

  // ---- SMTP --------------------------------------------------------------------------------

  private mutating func answerSMTP(
    _ held: Span<UInt8>, _ line: Range<Int>, _ next: Int, _ words: StartTLSWords,
    _ reply: inout OutputSpan<UInt8>
  ) -> Step {
    let (verb, rest) = MailLine.word(in: held, line)
    let isExtended = MailLine.equals("EHLO", held, verb)
    if isExtended || MailLine.equals("HELO", held, verb) {
      guard !rest.isEmpty else { return say("501 5.5.4 a name is missing\r\n", &reply) }
      hello = line.lowerBound..<next
      self.isExtended = isExtended
      if isExtended {
        for byte in words.capabilities { reply.append(byte) }
      } else {
        reply.append(text: "250 ")
        for byte in words.name { reply.append(byte) }
        reply.append(text: "\r\n")
      }
      return .reply
    }
    if MailLine.equals("STARTTLS", held, verb) {
      // RFC 3207 section 4: "has no parameters"; 501 is the reply to one that has.
      guard rest.isEmpty else { return say("501 5.5.4 STARTTLS takes nothing\r\n", &reply) }
      guard self.isExtended else { return say("503 5.5.1 EHLO first\r\n", &reply) }
      reply.append(text: "220 2.0.0 ready for TLS\r\n")
      return .startTLS
    }
    if MailLine.equals("NOOP", held, verb) { return say("250 2.0.0 OK\r\n", &reply) }
    if MailLine.equals("QUIT", held, verb) {
      reply.append(text: "221 2.0.0 bye\r\n")
      return .over(nil)
    }
    guard words.plaintext == .refused else { return .plaintext }
    // "A SMTP server [...] MUST send the reply code: 530 [...] to every command other than NOOP,
    // EHLO, STARTTLS, or QUIT": RFC 3207 section 4.
    return say("530 5.7.0 Must issue a STARTTLS command first\r\n", &reply)
  }

  private func say(_ text: String, _ reply: inout OutputSpan<UInt8>) -> Step {
    reply.append(text: text)
    return .reply
  }
}

// ---- IMAP, POP3 and ManageSieve, whose clients leave nothing to remember -----------------------

extension StartTLSServer {
  fileprivate static func answerIMAP(
    _ held: Span<UInt8>, _ line: Range<Int>, _ words: StartTLSWords,
    _ reply: inout OutputSpan<UInt8>
  ) -> Step {
    let (tag, command) = MailLine.word(in: held, line)
    let (verb, rest) = MailLine.word(in: held, command)
    guard isTag(held, tag), !verb.isEmpty else {
      reply.append(text: "* BAD no command\r\n")
      return .reply
    }
    if MailLine.equals("CAPABILITY", held, verb), rest.isEmpty {
      for byte in words.capabilities { reply.append(byte) }
      say("OK done", held, tag, &reply)
      return .reply
    }
    if MailLine.equals("STARTTLS", held, verb) {
      guard rest.isEmpty else {
        say("BAD STARTTLS takes nothing", held, tag, &reply)
        return .reply
      }
      say("OK begin TLS", held, tag, &reply)
      return .startTLS
    }
    if MailLine.equals("NOOP", held, verb) {
      say("OK done", held, tag, &reply)
      return .reply
    }
    if MailLine.equals("ID", held, verb), !endsInLiteral(held, rest) {
      // RFC 2971: a server may keep to itself what it is.
      reply.append(text: "* ID NIL\r\n")
      say("OK done", held, tag, &reply)
      return .reply
    }
    if MailLine.equals("LOGOUT", held, verb) {
      reply.append(text: "* BYE bye\r\n")
      say("OK done", held, tag, &reply)
      return .over(nil)
    }
    guard words.plaintext == .refused else { return .plaintext }
    // RFC 5530 section 3: "The operation is not permitted due to a lack of data confidentiality."
    say("NO [PRIVACYREQUIRED] STARTTLS first", held, tag, &reply)
    return .reply
  }

  private static func say(
    _ text: String, _ held: Span<UInt8>, _ tag: Range<Int>, _ reply: inout OutputSpan<UInt8>
  ) {
    for index in tag { reply.append(held[index]) }
    reply.append(text: " ")
    reply.append(text: text)
    reply.append(text: "\r\n")
  }

  /// RFC 9051: `1*<any ASTRING-CHAR except "+">`.
  private static func isTag(_ held: Span<UInt8>, _ tag: Range<Int>) -> Bool {
    guard !tag.isEmpty else { return false }
    for index in tag {
      switch held[index] {
      case 0...0x20, 0x7f...0xff, UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "{"),
        UInt8(ascii: "%"), UInt8(ascii: "*"), UInt8(ascii: "\""), UInt8(ascii: "\\"),
        UInt8(ascii: "+"):
        return false
      default: break
      }
    }
    return true
  }

  /// `{10}` and `{10+}` announce bytes behind the line.
  private static func endsInLiteral(_ held: Span<UInt8>, _ text: Range<Int>) -> Bool {
    text.last.map { held[$0] == UInt8(ascii: "}") } ?? false
  }

  fileprivate static func answerPOP3(
    _ held: Span<UInt8>, _ line: Range<Int>, _ words: StartTLSWords,
    _ reply: inout OutputSpan<UInt8>
  ) -> Step {
    let (verb, rest) = MailLine.word(in: held, line)
    if MailLine.equals("CAPA", held, verb), rest.isEmpty {
      for byte in words.capabilities { reply.append(byte) }
      return .reply
    }
    if MailLine.equals("STLS", held, verb) {
      guard rest.isEmpty else {
        reply.append(text: "-ERR STLS takes nothing\r\n")
        return .reply
      }
      reply.append(text: "+OK begin TLS\r\n")
      return .startTLS
    }
    if MailLine.equals("QUIT", held, verb) {
      reply.append(text: "+OK bye\r\n")
      return .over(nil)
    }
    guard words.plaintext == .refused else { return .plaintext }
    reply.append(text: "-ERR STLS first\r\n")
    return .reply
  }

  fileprivate static func answerSieve(
    _ held: Span<UInt8>, _ line: Range<Int>, _ words: StartTLSWords,
    _ reply: inout OutputSpan<UInt8>
  ) -> Step {
    let (verb, rest) = MailLine.word(in: held, line)
    if MailLine.equals("CAPABILITY", held, verb), rest.isEmpty {
      for byte in words.capabilities { reply.append(byte) }
      return .reply
    }
    if MailLine.equals("STARTTLS", held, verb) {
      guard rest.isEmpty else {
        reply.append(text: "NO \"STARTTLS takes nothing\"\r\n")
        return .reply
      }
      reply.append(text: "OK \"begin TLS\"\r\n")
      return .startTLS
    }
    if MailLine.equals("NOOP", held, verb) {
      answerNoop(held, rest, &reply)
      return .reply
    }
    if MailLine.equals("LOGOUT", held, verb) {
      reply.append(text: "OK \"bye\"\r\n")
      return .over(nil)
    }
    guard words.plaintext == .refused else { return .plaintext }
    // RFC 5804 section 1.3.
    reply.append(text: "NO (ENCRYPT-NEEDED) \"STARTTLS first\"\r\n")
    return .reply
  }

  /// RFC 5804 section 2.13: a string behind NOOP comes back as the response's TAG.
  private static func answerNoop(
    _ held: Span<UInt8>, _ tag: Range<Int>, _ reply: inout OutputSpan<UInt8>
  ) {
    if tag.isEmpty { return reply.append(text: "OK \"done\"\r\n") }
    guard isQuoted(held, tag) else {
      return reply.append(text: "NO \"a quoted string is meant\"\r\n")
    }
    reply.append(text: "OK (TAG ")
    for index in tag { reply.append(held[index]) }
    reply.append(text: ") \"done\"\r\n")
  }

  /// A quoted string without anything that needs an escape.
  private static func isQuoted(_ held: Span<UInt8>, _ text: Range<Int>) -> Bool {
    let quote = UInt8(ascii: "\"")
    guard text.count >= 2, held[text.lowerBound] == quote, held[text.upperBound - 1] == quote
    else { return false }
    for index in text.dropFirst().dropLast() {
      let byte = held[index]
      if byte < 0x20 || byte > 0x7e || byte == quote || byte == UInt8(ascii: "\\") { return false }
    }
    return true
  }
}
