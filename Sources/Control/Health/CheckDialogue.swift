internal import Config
internal import Wire

/// What is said in one check, and how the answers are judged. Pure: bytes in, steps out.
///
/// Every dialogue takes leave in its protocol's words and waits for the answer, so that the server
/// has nothing to complain about in its log.
struct CheckDialogue {
  enum Step: Equatable {
    case more
    case send([UInt8])
    case passed
    /// Why, to follow the server's name: `220 expected, got "421 4.3.2 …"`.
    case failed(String)
  }

  private enum Stage {
    case greeting, hello, farewell
    /// The rest of an HTTP answer that was good.
    case rest
  }

  private let kind: CheckKind
  /// As we call ourselves: an address literal, which no server can look up in vain (RFC 5321
  /// section 4.1.3).
  private let name: String
  private var stage = Stage.greeting
  private var heard: [UInt8] = []
  private var total = 0

  /// What a server may say in one check; a good answer to any is far shorter.
  static let hearingLimit = 64 << 10
  private static let lineLimit = 4096
  private static let quotedBytes = 100

  init(_ kind: CheckKind, local: SocketAddress?) {
    self.kind = kind
    switch local {
    case .ipv4?: name = "[\(local?.hostDescription ?? "")]"
    case .ipv6?: name = "[IPv6:\(local?.hostDescription ?? "")]"
    case .unix?, nil: name = "localhost"
    }
  }

  /// All is heard that counts, and the rest is only waited for.
  var isAnswered: Bool { stage == .rest }

  /// What stands between us and the next step, for a check that takes too long.
  var awaited: String {
    switch (kind, stage) {
    case (.smtp, .hello): "an answer to EHLO"
    case (.smtp, .farewell), (.pop3, .farewell): "an answer to QUIT"
    case (.imap, .farewell), (.sieve, .farewell): "an answer to LOGOUT"
    case (.tls, _): "a ServerHello"
    case (.http, _): "an HTTP answer"
    case (.exchange(_, let expect), _): CheckDialogue.quoted(expect)
    case (.smtp, _), (.imap, _), (.pop3, _), (.sieve, _), (.connect, _): "a greeting"
    }
  }

  /// The connection stands.
  mutating func begin() -> Step {
    switch kind {
    case .connect: .passed
    case .smtp, .imap, .pop3, .sieve: .more
    case .tls: .send(ProbeClientHello.bytes(name: nil))
    case .http(let path, let host, _):
      .send(
        Array(
          "GET \(path) HTTP/1.0\r\nHost: \(host ?? "localhost")\r\nUser-Agent: sluice-check\r\n\r\n"
            .utf8))
    case .exchange(let send, let expect):
      if send.isEmpty { expect.isEmpty ? .passed : .more } else { .send(send) }
    }
  }

  mutating func hear(_ bytes: ArraySlice<UInt8>) -> Step {
    total += bytes.count
    if stage == .rest { return total > CheckDialogue.hearingLimit ? .passed : .more }
    heard += bytes
    switch kind {
    case .connect: return .passed
    case .tls: return hearTLS()
    case .exchange(_, let expect): return hearExpected(expect)
    case .smtp, .imap, .pop3, .sieve, .http:
      while let end = heard.firstIndex(of: UInt8(ascii: "\n")) {
        let line = heard[..<end].filter { $0 != 0x0d }
        heard.removeFirst(end + 1)
        let step = hear(line: line)
        if step != .more { return step }
      }
      return heard.count > CheckDialogue.lineLimit
        ? .failed("a line is longer than \(CheckDialogue.lineLimit) bytes") : .more
    }
  }

  /// The server sends no more.
  mutating func end() -> Step {
    switch stage {
    // The farewell was said, and it has gone: so be it.
    case .farewell, .rest: .passed
    case .greeting, .hello:
      .failed(heard.isEmpty ? "closed without \(awaited)" : expected(awaited, heard))
    }
  }

  // ---- lines -------------------------------------------------------------------------------

  private mutating func hear(line: [UInt8]) -> Step {
    let text = String(decoding: line, as: UTF8.self)
    switch kind {
    case .smtp: return hearSMTP(text, line)
    case .imap: return hearIMAP(text, line)
    case .pop3:
      guard text.hasPrefix("+OK") else { return .failed(expected("+OK", line)) }
      return stage == .greeting ? takeLeave("QUIT") : .passed
    case .sieve:
      // Capabilities, then OK: RFC 5804 section 1.7.
      if text.hasPrefix("\"") || text.hasPrefix("{") { return .more }
      if stage == .farewell { return .passed }
      guard text.hasPrefix("OK") else { return .failed(expected("OK", line)) }
      return takeLeave("LOGOUT")
    case .http(_, _, let statuses): return hearHTTP(text, line, statuses)
    case .connect, .tls, .exchange: return .more
    }
  }

  /// All lines of an answer before the next command: who speaks into a banner of several lines is
  /// taken for a spam program (RFC 5321 section 4.3.1; Postfix's postscreen tests it).
  private mutating func hearSMTP(_ text: String, _ line: [UInt8]) -> Step {
    let wanted =
      switch stage {
      case .greeting: "220"
      case .hello: "250"
      case .farewell, .rest: "221"
      }
    guard text.hasPrefix(wanted) else { return .failed(expected(wanted, line)) }
    if text.dropFirst(3).hasPrefix("-") { return .more }
    switch stage {
    case .greeting:
      stage = .hello
      return .send(Array("EHLO \(name)\r\n".utf8))
    case .hello: return takeLeave("QUIT")
    case .farewell, .rest: return .passed
    }
  }

  private mutating func hearIMAP(_ text: String, _ line: [UInt8]) -> Step {
    guard stage == .greeting else {
      // "* BYE" comes first: RFC 9051 section 6.1.3.
      if text.hasPrefix("* ") { return .more }
      return text.hasPrefix("sluice OK") ? .passed : .failed(expected("sluice OK", line))
    }
    guard text.hasPrefix("* OK") || text.hasPrefix("* PREAUTH") else {
      return .failed(expected("* OK", line))
    }
    return takeLeave("sluice LOGOUT")
  }

  private mutating func hearHTTP(
    _ text: String, _ line: [UInt8], _ statuses: [ClosedRange<Int>]
  ) -> Step {
    if stage == .rest { return .more }
    let words = text.split(separator: " ", maxSplits: 2)
    guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
      return .failed(expected("an HTTP answer", line))
    }
    guard statuses.contains(where: { $0.contains(status) }) else {
      return .failed("HTTP status \(status)")
    }
    // The rest is read, so that the close is none in the middle of an answer.
    stage = .rest
    return .more
  }

  private mutating func takeLeave(_ command: String) -> Step {
    stage = .farewell
    return .send(Array((command + "\r\n").utf8))
  }

  // ---- bytes -------------------------------------------------------------------------------

  private func hearTLS() -> Step {
    switch ProbeTLSAnswer(heard) {
    case .none: .more
    case .handshake: .passed
    case .alert: .failed("a TLS alert instead of a ServerHello")
    case .other:
      heard.count < ProbeTLSAnswer.tellingBytes ? .more : .failed(expected("a ServerHello", heard))
    }
  }

  private func hearExpected(_ expect: [UInt8]) -> Step {
    if expect.isEmpty || heard.contains(expect) { return .passed }
    guard heard.count < CheckDialogue.hearingLimit else {
      return .failed(expected(CheckDialogue.quoted(expect), heard))
    }
    return .more
  }

  private func expected(_ what: String, _ got: [UInt8]) -> String {
    "\(what) expected, got \(CheckDialogue.quoted(got))"
  }

  /// What a server says may hold anything; in logs it holds printable characters.
  private static func quoted(_ bytes: [UInt8]) -> String {
    let shown = escapedText(bytes.prefix(quotedBytes)).replacingQuotes
    return "\"\(shown)\(bytes.count > quotedBytes ? "…" : "")\""
  }
}

extension String {
  fileprivate var replacingQuotes: String { String(map { $0 == "\"" ? "'" : $0 }) }
}

extension [UInt8] {
  fileprivate func contains(_ other: [UInt8]) -> Bool {
    guard count >= other.count else { return false }
    return (0...(count - other.count)).contains {
      self[$0..<($0 + other.count)].elementsEqual(other)
    }
  }
}
