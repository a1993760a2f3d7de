/// The client's part of what comes before TLS, spoken with the server that a connection was routed
/// to: up to its consent to TLS, or, for clients that never asked for TLS, up to where it has heard
/// what it must have heard. Pure and of a few bytes.
///
/// A server speaks when it is spoken to: bytes behind an answer that ends are refused, since a
/// client behind us would take them for what comes later, inside TLS at worst.
package struct StartTLSClient: Equatable, Sendable {
  package enum Purpose: Sendable {
    /// To have the server begin TLS.
    case startTLS
    /// To let the client go on in plaintext.
    case plaintext
  }

  package enum Step: Equatable, Sendable {
    /// Nothing can be said before more has come.
    case more
    /// What was written is to be said.
    case say
    /// The other side may begin: with TLS, or with what the client wanted. Everything up to
    /// `position` was for us.
    case ready
    case over(Fault)
  }

  package enum Fault: String, CaseIterable, Sendable {
    /// It does not offer STARTTLS.
    case notOffered = "starttls.not-offered"
    /// It greets with a refusal, or refuses what was asked of it.
    case refused = "starttls.refused"
    /// It counts everybody who connects as logged in, which leaves no room for STARTTLS: RFC 9051
    /// section 6.2.1.
    case preauthenticated = "starttls.preauthenticated"
    /// An answer that is none in its protocol.
    case notUnderstood = "starttls.not-understood"
    /// Bytes behind its greeting, its go-ahead, or another answer.
    case outOfTurn = "starttls.out-of-turn"
    /// A line without an end, or answers without.
    case tooLong = "starttls.answer-too-long"
    /// The stream ended, or the time.
    case truncated = "starttls.server-closed"
  }

  /// The longest line taken, its end included. Capabilities of IMAP are one line of a few hundred
  /// bytes.
  package static let lineLimit = 4096
  /// What a server may say before TLS, in bytes; with a long banner it is a tenth.
  package static let hearingLimit = 16 << 10
  /// More than all that is said at once, but for a line of EHLO.
  package static let sayingRoom = 64

  private enum Stage { case greeting, hello, consent, done }

  private let kind: MailProtocol
  private let purpose: Purpose
  private var stage = Stage.greeting
  private var isOffered = false
  /// Of an answer of several lines in SMTP.
  private var code: UInt16 = 0
  /// How far the server's bytes have been taken.
  package private(set) var position = 0

  package init(_ kind: MailProtocol, _ purpose: Purpose) {
    self.kind = kind
    self.purpose = purpose
  }

  /// Takes what the server has sent, up to the end of an answer.
  ///
  /// - Parameters:
  ///   - held: all that the server has sent since the connection began.
  ///   - ended: no more will come.
  ///   - hello: what SMTP greets with: the client's own line, `StartTLSServer.hello`, which ends
  ///     with a line feed; others need none. Without one, in plaintext, there is no greeting.
  ///   - output: empty, with room for `sayingRoom` bytes and the hello.
  package mutating func hear(
    _ held: Span<UInt8>, ended: Bool = false, hello: Span<UInt8>,
    into output: inout OutputSpan<UInt8>
  ) -> Step {
    precondition(output.freeCapacity >= StartTLSClient.sayingRoom + hello.count)
    precondition(kind != .smtp || purpose == .plaintext || hello.count > 0)
    while stage != .done {
      switch MailLine.next(in: held, at: position, limit: StartTLSClient.lineLimit) {
      case .unfinished:
        if held.count > StartTLSClient.hearingLimit { return .over(.tooLong) }
        return ended ? .over(.truncated) : .more
      case .tooLong: return .over(.tooLong)
      case .line(let line, let next):
        position = next
        if next > StartTLSClient.hearingLimit { return .over(.tooLong) }
        let step = take(held, line, hello: hello, &output)
        if case .over = step { return step }
        if step != .more { return isOutOfTurn(held) ? .over(.outOfTurn) : step }
      }
    }
    return .ready
  }

  private func isOutOfTurn(_ held: Span<UInt8>) -> Bool {
    // IMAP servers may say anything at any time, as long as it has no tag; but not behind consent.
    position < held.count && (kind != .imap || stage == .done)
  }

  private mutating func take(
    _ held: Span<UInt8>, _ line: Range<Int>, hello: Span<UInt8>,
    _ output: inout OutputSpan<UInt8>
  ) -> Step {
    switch kind {
    case .smtp: takeSMTP(held, line, hello: hello, &output)
    case .imap: takeIMAP(held, line, &output)
    case .pop3: takePOP3(held, line, &output)
    case .sieve: takeSieve(held, line, &output)
    }
  }

  private mutating func ready() -> Step {
    stage = .done
    return .ready
  }

  private mutating func ask(_ command: String, _ output: inout OutputSpan<UInt8>) -> Step {
    if purpose == .plaintext { return ready() }
    stage = .consent
    output.append(text: command)
    return .say
  }

  // ---- SMTP --------------------------------------------------------------------------------

  /// RFC 5321 section 4.2.1: every line of an answer has the code, and a hyphen behind it if
  /// another follows.
  private mutating func takeSMTP(
    _ held: Span<UInt8>, _ line: Range<Int>, hello: Span<UInt8>,
    _ output: inout OutputSpan<UInt8>
  ) -> Step {
    guard let found = StartTLSClient.code(held, line), code == 0 || code == found else {
      return .over(.notUnderstood)
    }
    let behind = line.dropFirst(3)
    let isLast = behind.isEmpty || held[behind.lowerBound] != UInt8(ascii: "-")
    if stage == .hello, !behind.isEmpty {
      let (keyword, _) = MailLine.word(in: held, (behind.lowerBound + 1)..<line.upperBound)
      // The first line is the server's name, but none has this one.
      if MailLine.equals("STARTTLS", held, keyword) { isOffered = true }
    }
    code = found
    guard isLast else { return .more }
    code = 0
    guard found == (stage == .hello ? 250 : 220) else { return .over(.refused) }
    switch stage {
    case .greeting:
      if hello.count == 0, purpose == .plaintext { return ready() }
      stage = .hello
      for index in hello.indices { output.append(hello[index]) }
      return .say
    case .hello:
      if purpose == .startTLS, !isOffered { return .over(.notOffered) }
      return ask("STARTTLS\r\n", &output)
    case .consent, .done: return ready()
    }
  }

  private static func code(_ held: Span<UInt8>, _ line: Range<Int>) -> UInt16? {
    guard line.count >= 3 else { return nil }
    var code: UInt16 = 0
    for index in line.prefix(3) {
      guard UInt8(ascii: "0")...UInt8(ascii: "9") ~= held[index] else { return nil }
      code = code * 10 + UInt16(held[index] - UInt8(ascii: "0"))
    }
    guard line.count > 3 else { return code }
    let mark = held[line.lowerBound + 3]
    return mark == UInt8(ascii: "-") || mark == UInt8(ascii: " ") ? code : nil
  }

  // ---- IMAP, POP3 and ManageSieve ----------------------------------------------------------

  private mutating func takeIMAP(
    _ held: Span<UInt8>, _ line: Range<Int>, _ output: inout OutputSpan<UInt8>
  ) -> Step {
    let (first, rest) = MailLine.word(in: held, line)
    let (second, _) = MailLine.word(in: held, rest)
    if MailLine.equals("*", held, first) {
      if MailLine.equals("BYE", held, second) { return .over(.refused) }
      // What it may add at any time; nothing of it counts once TLS has begun.
      guard stage == .greeting else { return .more }
      if MailLine.equals("PREAUTH", held, second) { return .over(.preauthenticated) }
      guard MailLine.equals("OK", held, second) else { return .over(.notUnderstood) }
      return ask("S1 STARTTLS\r\n", &output)
    }
    guard stage == .consent, MailLine.equals("S1", held, first) else {
      return .over(.notUnderstood)
    }
    return MailLine.equals("OK", held, second) ? ready() : .over(.refused)
  }

  private mutating func takePOP3(
    _ held: Span<UInt8>, _ line: Range<Int>, _ output: inout OutputSpan<UInt8>
  ) -> Step {
    let (status, _) = MailLine.word(in: held, line)
    if MailLine.equals("-ERR", held, status) { return .over(.refused) }
    guard MailLine.equals("+OK", held, status) else { return .over(.notUnderstood) }
    return stage == .greeting ? ask("STLS\r\n", &output) : ready()
  }

  /// RFC 5804 section 1.7: the greeting is a list of capabilities, each a line, and OK.
  private mutating func takeSieve(
    _ held: Span<UInt8>, _ line: Range<Int>, _ output: inout OutputSpan<UInt8>
  ) -> Step {
    let (word, _) = MailLine.word(in: held, line)
    if MailLine.equals("NO", held, word) || MailLine.equals("BYE", held, word) {
      return .over(.refused)
    }
    if MailLine.equals("OK", held, word) {
      guard stage == .greeting else { return ready() }
      if purpose == .startTLS, !isOffered { return .over(.notOffered) }
      return ask("STARTTLS\r\n", &output)
    }
    guard stage == .greeting, MailLine.begins("\"", held, word) else {
      return .over(.notUnderstood)
    }
    if MailLine.equals("\"STARTTLS\"", held, word) { isOffered = true }
    return .more
  }
}
