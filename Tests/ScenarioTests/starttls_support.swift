import TestSupport
import Testing

// What the scenarios about STARTTLS share: four protocols as clients and servers speak them before
// TLS, written down once more by the tests.

/// A protocol that begins in plaintext.
enum Mail: String, CaseIterable, Sendable {
  case smtp, imap, pop3, sieve

  /// A line that ends a greeting, or an answer, begins so.
  struct Exchange: Sendable {
    let says: String
    let until: String
  }

  /// The last line of the greeting begins so.
  var greeting: String {
    switch self {
    case .smtp: "220 "
    case .imap: "* OK"
    case .pop3: "+OK"
    case .sieve: "OK"
    }
  }

  /// What a client says up to its wish for TLS.
  var exchanges: [Exchange] {
    switch self {
    case .smtp:
      [.init(says: "EHLO client.example\r\n", until: "250 "), .init(says: starting, until: "220 ")]
    case .imap:
      [.init(says: "a CAPABILITY\r\n", until: "a OK"), .init(says: starting, until: "b OK")]
    case .pop3: [.init(says: "CAPA\r\n", until: "."), .init(says: starting, until: "+OK")]
    case .sieve: [.init(says: "CAPABILITY\r\n", until: "OK"), .init(says: starting, until: "OK")]
    }
  }

  /// The wish for TLS.
  var starting: String {
    switch self {
    case .smtp, .sieve: "STARTTLS\r\n"
    case .imap: "b STARTTLS\r\n"
    case .pop3: "STLS\r\n"
    }
  }

  /// What a server says, each behind what must have been said to it.
  var answers: [(hears: String, says: String)] {
    switch self {
    case .smtp:
      [
        ("", "220-mx.example waits\r\n220 mx.example ESMTP\r\n"),
        ("EHLO client.example\r\n", "250-mx.example\r\n250-STARTTLS\r\n250 SMTPUTF8\r\n"),
        ("STARTTLS\r\n", "220 go\r\n"),
      ]
    case .imap: [("", "* OK ready\r\n* 1 note\r\n"), ("S1 STARTTLS\r\n", "S1 OK go\r\n")]
    case .pop3: [("", "+OK ready\r\n"), ("STLS\r\n", "+OK go\r\n")]
    case .sieve:
      [
        ("", "\"IMPLEMENTATION\" \"x\"\r\n\"SASL\" \"\"\r\n\"STARTTLS\"\r\nOK\r\n"),
        ("STARTTLS\r\n", "OK \"go\"\r\n"),
      ]
    }
  }

  /// What a client hears in place of what it waits for.
  var refusal: String {
    switch self {
    case .smtp: "421 "
    case .imap: "* BYE"
    case .pop3: "-ERR"
    case .sieve: "BYE"
    }
  }
}

/// A fatal alert: internal_error. RFC 8446 section 6.
let internalErrorAlert: [UInt8] = [21, 3, 3, 0, 2, 2, 80]

/// The beginning of what a server says inside TLS: a handshake record.
let serverRecord: [UInt8] = [22, 3, 3, 0, 4, 2, 0, 0, 0]

extension TrustSetup {
  /// A daemon with a STARTTLS listener.
  static func startTLS(
    _ engine: Engine, _ servers: [Endpoint], _ mail: Mail = .smtp, _ listener: String = "",
    backend: String = "send-proxy: v2"
  ) -> TrustSetup {
    var setup = TrustSetup(engine, servers: servers)
    setup.type = "starttls"
    setup.listener = "protocol: \(mail.rawValue)\(listener.isEmpty ? "" : ", ")\(listener)"
    setup.backend = backend
    return setup
  }
}

extension StreamSocket {
  /// Lines up to one that begins with `start`, with their ends.
  func readLines(until start: String) throws -> [String] {
    var lines: [String] = []
    while true {
      var line: [UInt8] = []
      repeat { line += try readExactly(1) } while line.last != 0x0a
      lines.append(String(decoding: line, as: UTF8.self))
      if lines[lines.count - 1].hasPrefix(start) { return lines }
    }
  }

  /// A client that is greeted and asks for TLS, up to the go-ahead; returns all it heard.
  @discardableResult
  func askForTLS(_ mail: Mail, inPiecesOf size: Int = 100, pauseMs: Int = 0) throws -> [String] {
    var heard = try readLines(until: mail.greeting)
    for exchange in mail.exchanges {
      let bytes = Array(exchange.says.utf8)
      for start in stride(from: 0, to: bytes.count, by: size) {
        try write(Array(bytes[start..<min(bytes.count, start + size)]))
        pause(ms: pauseMs)
      }
      heard += try readLines(until: exchange.until)
    }
    return heard
  }

  /// Whether nothing comes for so long, not even the end.
  func isSilent(forMs ms: Int) throws -> Bool {
    switch try receive(withinMs: ms) {
    case nil: true
    case .bytes, .ended: false
    }
  }

  /// A server that greets and agrees to TLS, behind a version 2 header for IPv4 without TLVs.
  func agreeToTLS(_ mail: Mail, hasHeader: Bool = true) throws {
    if hasHeader { _ = try ReceivedProxyHeader(readExactly(28)) }
    for (hears, says) in mail.answers {
      #expect(try readExactly(hears.utf8.count) == Array(hears.utf8))
      try write(says)
    }
  }
}
