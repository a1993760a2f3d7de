/// A protocol whose good answers a probe knows.
package enum ProbeService: String, CaseIterable, Sendable {
  case smtp, imap, pop3, sieve, tls

  /// Whether the server speaks first.
  var isServerFirst: Bool {
    switch self {
    case .smtp, .imap, .pop3, .sieve: true
    case .tls: false
    }
  }

  /// The protocol that greets so; nil for every other start.
  static func greeting(with bytes: [UInt8]) -> ProbeService? {
    if bytes.starts(with: Array("220".utf8)) { return .smtp }
    if bytes.starts(with: Array("* OK".utf8)) { return .imap }
    if bytes.starts(with: Array("+OK".utf8)) { return .pop3 }
    if bytes.starts(with: Array("\"IMPLEMENTATION\"".utf8)) { return .sieve }
    return nil
  }

  /// What ends a session that has only begun. The answer to it is clean if, and only if, the server
  /// has not taken the header for commands.
  var farewell: [UInt8] {
    switch self {
    case .smtp, .pop3: Array("QUIT\r\n".utf8)
    case .imap: Array("sluice LOGOUT\r\n".utf8)
    case .sieve: Array("LOGOUT\r\n".utf8)
    case .tls: []
    }
  }
}

/// What a server said, line by line, in one of the protocols in which it speaks first.
struct ProbeDialogue {
  enum State: Hashable {
    /// Nothing, or less than a line.
    case waiting
    /// The start of a greeting of several lines, such as postscreen's teaser.
    case begun
    case greeted
    /// Something else than a greeting: `421`, `-ERR`, `* BYE`.
    case turnedAway
  }

  private(set) var state = State.waiting
  /// The server did not understand something after its greeting.
  private(set) var hasComplained = false
  /// It answered the farewell.
  private(set) var hasParted = false

  init(_ service: ProbeService, _ bytes: [UInt8]) {
    var rest = bytes[...]
    while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
      let line = String(decoding: rest[..<end].filter { $0 != 0x0d }, as: UTF8.self)
      rest = rest[(end + 1)...]
      switch state {
      case .waiting, .begun: greet(service, line)
      case .greeted: follow(service, line)
      case .turnedAway: break
      }
    }
  }

  private mutating func greet(_ service: ProbeService, _ line: String) {
    switch service {
    case .smtp:
      state = line.hasPrefix("220-") ? .begun : line.hasPrefix("220") ? .greeted : .turnedAway
    case .imap:
      state = line.hasPrefix("* OK") || line.hasPrefix("* PREAUTH") ? .greeted : .turnedAway
    case .pop3: state = line.hasPrefix("+OK") ? .greeted : .turnedAway
    // Capabilities, then OK (RFC 5804 section 1.7).
    case .sieve:
      state = line.hasPrefix("\"") ? .begun : line.hasPrefix("OK") ? .greeted : .turnedAway
    case .tls: state = .turnedAway
    }
  }

  private mutating func follow(_ service: ProbeService, _ line: String) {
    switch service {
    case .smtp:
      if line.hasPrefix("4") || line.hasPrefix("5") { hasComplained = true }
      if line.hasPrefix("221") { hasParted = true }
    case .imap:
      let words = line.split(separator: " ", maxSplits: 2)
      if words.contains("BAD") || words.dropFirst().first == "NO" { hasComplained = true }
      if line.hasPrefix("sluice OK") { hasParted = true }
    case .pop3:
      if line.hasPrefix("-ERR") { hasComplained = true }
      if line.hasPrefix("+OK") { hasParted = true }
    case .sieve:
      if line.hasPrefix("NO") { hasComplained = true }
      if line.hasPrefix("OK") || line.hasPrefix("BYE") { hasParted = true }
    case .tls: break
    }
  }
}

/// How a TLS server answers a ClientHello, by the type of its first record (RFC 8446 section 5.1).
enum ProbeTLSAnswer: Hashable {
  case none, other, alert
  /// A ServerHello; an echo of the ClientHello is none.
  case handshake

  /// As much of a record as tells: its head, and the type of the message in it.
  static let tellingBytes = 6

  init(_ bytes: [UInt8]) {
    guard bytes.count >= ProbeTLSAnswer.tellingBytes, bytes[1] == 3 else {
      self = bytes.isEmpty ? .none : .other
      return
    }
    switch (bytes[0], bytes[5]) {
    case (0x16, 0x02): self = .handshake
    case (0x15, _): self = .alert
    default: self = .other
    }
  }
}

/// A ClientHello that every TLS 1.2 or 1.3 server answers. No key is made for it, since nobody goes
/// on after the ServerHello.
enum ProbeClientHello {
  /// - Parameter name: for the server_name extension; an IP address must not stand there.
  static func bytes(name: String?) -> [UInt8] {
    var extensions: [UInt8] = []
    if let name {
      let host = Array(name.utf8)
      extensions += [0x00, 0x00] + lengthed([0x00] + lengthed(host), twice: true)
    }
    extensions += fixedExtensions
    let body: [UInt8] =
      [0x03, 0x03] + Array("sluice probe: a fixed ClientHell".utf8)
      + [0x20] + Array("no session is ever resumed here.".utf8)
      + lengthed(cipherSuites) + [0x01, 0x00] + lengthed(extensions)
    let handshake = [0x01, 0x00] + lengthed(body)
    return [0x16, 0x03, 0x01] + lengthed(handshake)
  }

  private static func lengthed(_ bytes: [UInt8], twice: Bool = false) -> [UInt8] {
    let length = UInt16(truncatingIfNeeded: bytes.count)
    let all = [UInt8(length >> 8), UInt8(length & 255)] + bytes
    return twice ? lengthed(all) : all
  }

  /// TLS 1.3's three, ECDHE with AES-GCM and ChaCha20 for both kinds of certificate, and RSA for
  /// the oldest servers.
  private static let cipherSuites: [UInt8] = [
    0x13, 0x01, 0x13, 0x02, 0x13, 0x03, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30, 0xcc, 0xa9,
    0xcc, 0xa8, 0x00, 0x9c, 0x00, 0x2f, 0x00, 0x35,
  ]

  private static let fixedExtensions: [UInt8] =
    // supported_groups: x25519, secp256r1, secp384r1
    [0x00, 0x0a, 0x00, 0x08, 0x00, 0x06, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x18]
    // ec_point_formats: uncompressed
    + [0x00, 0x0b, 0x00, 0x02, 0x01, 0x00]
    // signature_algorithms: ECDSA, RSA-PSS, RSA, Ed25519
    + [
      0x00, 0x0d, 0x00, 0x14, 0x00, 0x12, 0x04, 0x03, 0x08, 0x04, 0x04, 0x01, 0x05, 0x03, 0x08,
      0x05, 0x05, 0x01, 0x08, 0x06, 0x06, 0x01, 0x08, 0x07,
    ]
    // extended_master_secret
    + [0x00, 0x17, 0x00, 0x00]
    // supported_versions: 1.3, 1.2
    + [0x00, 0x2b, 0x00, 0x05, 0x04, 0x03, 0x04, 0x03, 0x03]
    // psk_key_exchange_modes: psk_dhe_ke
    + [0x00, 0x2d, 0x00, 0x02, 0x01, 0x01]
    // key_share: x25519, the base point, which is a public key as good as any
    + [0x00, 0x33, 0x00, 0x26, 0x00, 0x24, 0x00, 0x1d, 0x00, 0x20, 0x09]
    + [UInt8](repeating: 0, count: 31)
}
