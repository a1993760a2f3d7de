internal import Wire

/// One connection of a probe: what it sends before the client's own bytes.
enum ProbeAttempt: Hashable, Sendable {
  /// Not one byte, to see whether the server speaks first, and how long it waits.
  case nothing
  /// No header, but a client's bytes.
  case bare, bareHello
  case v1, v2, v2TLVs, v2Local
  /// Version 2, and a TLS ClientHello although nobody said that the server speaks TLS.
  case v2Hello
  /// The header in two segments.
  case v1Split, v2Split
  /// A header with one fault that only a reader of headers sees. What takes it in the same way as
  /// the sound one does not read headers.
  case v1Damaged, v2Damaged
  /// Version 2, brought to that many bytes by a NOOP.
  case v2Padded(Int)

  /// Lengths around the limits known of nginx before 1.23 (107), Postfix (536) and Dovecot (1500),
  /// and what Sluice itself takes unless told otherwise.
  static let paddedLengths = [107, 108, 536, 537, 1500, 1501, 4096]

  private static let common: [ProbeAttempt] =
    [.nothing, .v1, .v2, .v2TLVs, .v2Local, .v1Split, .v2Split, .v1Damaged, .v2Damaged]
    + paddedLengths.map { .v2Padded($0) }

  /// What a protocol is probed with; nil stands for one that is to be guessed.
  static func all(for service: ProbeService?) -> [ProbeAttempt] {
    switch service {
    case .smtp, .imap, .pop3, .sieve: common
    case .tls: common + [.bare]
    case nil: common + [.bare, .bareHello, .v2Hello]
    }
  }

  /// As reports name it.
  var name: String {
    switch self {
    case .nothing: "nothing"
    case .bare: "no-header"
    case .bareHello: "no-header-tls"
    case .v1: "v1"
    case .v2: "v2"
    case .v2TLVs: "v2-tlvs"
    case .v2Local: "v2-local"
    case .v2Hello: "v2-and-tls"
    case .v1Split: "v1-split"
    case .v2Split: "v2-split"
    case .v1Damaged: "v1-damaged"
    case .v2Damaged: "v2-damaged"
    case .v2Padded(let length): "v2-\(length)-bytes"
    }
  }

  /// As a person reads it.
  var meaning: String {
    switch self {
    case .nothing: "nothing at all"
    case .bare: "a client's bytes without a header"
    case .bareHello: "a TLS ClientHello without a header"
    case .v1: "a version 1 header"
    case .v2: "a version 2 header"
    case .v2TLVs: "version 2 with unique-id, authority, crc32c"
    case .v2Local: "version 2 LOCAL, as health checks send it"
    case .v2Hello: "a version 2 header and a TLS ClientHello"
    case .v1Split: "version 1 in two segments"
    case .v2Split: "version 2 in two segments"
    case .v1Damaged: "a damaged version 1 header, for comparison"
    case .v2Damaged: "a damaged version 2 header, for comparison"
    case .v2Padded(let length): "version 2 padded to \(length) bytes"
    }
  }

  var isSplit: Bool { self == .v1Split || self == .v2Split }

  /// The damaged attempt that this one is compared with.
  var damaged: ProbeAttempt {
    switch self {
    case .v1, .v1Split, .v1Damaged: .v1Damaged
    case .nothing, .bare, .bareHello, .v2, .v2TLVs, .v2Local, .v2Hello, .v2Split, .v2Damaged,
      .v2Padded:
      .v2Damaged
    }
  }

  /// The header for a connection between these two addresses, and so a true one. Behind a Unix
  /// socket no address can be told that a mail server understands, so loopback ones stand for it.
  func header(from local: SocketAddress, to remote: SocketAddress, name: String?) -> [UInt8] {
    var (source, destination) = (local, remote)
    if source.port == nil || destination.port == nil {
      source = .ipv4(0x7f00_0001, port: 40_000)
      destination = .ipv4(0x7f00_0001, port: 40_001)
    }
    switch self {
    case .nothing, .bare, .bareHello: return []
    case .v1, .v1Split: return ProbeAttempt.version1(source, destination)
    case .v1Damaged:
      var line = ProbeAttempt.version1(source, destination)
      // `TCP9`: HAProxy does not check much of this line, but the protocol it does.
      if line.count > 9 { line[9] = UInt8(ascii: "9") }
      return line
    case .v2, .v2Hello, .v2Split: return ProbeAttempt.version2(source, destination)
    case .v2Damaged:
      var header = ProbeAttempt.version2(source, destination)
      // Version 3, for which every reader of version 2 must drop the connection.
      if header.count > 12 { header[12] = 0x31 }
      return header
    case .v2TLVs:
      return ProbeAttempt.version2(
        source, destination, tlvs: ProbeAttempt.tlvs(name: name), checksum: true)
    case .v2Local: return ProbeAttempt.version2(source, destination, command: .local)
    case .v2Padded(let length):
      return ProbeAttempt.version2(source, destination, alignment: length)
    }
  }

  private static func version1(_ source: SocketAddress, _ destination: SocketAddress) -> [UInt8] {
    bytes(capacity: ProxyV1.maximumLength) { output in
      _ = try? ProxyV1.encode(source: source, destination: destination, into: &output)
    }
  }

  private static func version2(
    _ source: SocketAddress, _ destination: SocketAddress,
    command: ProxyHeader.Command = .proxy, tlvs: [UInt8] = [], checksum: Bool = false,
    alignment: Int = 1
  ) -> [UInt8] {
    bytes(capacity: longestHeader) { output in
      _ = try? ProxyV2.encode(
        command: command, source: source, destination: destination, tlvs: tlvs.span,
        checksum: checksum, alignment: alignment, limit: longestHeader, into: &output)
    }
  }

  private static let longestHeader = 4096

  private static func bytes(
    capacity: Int, _ body: (inout OutputSpan<UInt8>) -> Void
  ) -> [UInt8] {
    [UInt8](capacity: capacity) { body(&$0) }
  }

  /// Short enough that the header stays below 107 bytes with IPv6 addresses too (52 + 15 + 3 + 26
  /// + 7), lest an old nginx refuse its length and not its TLVs.
  private static func tlvs(name: String?) -> [UInt8] {
    let host = name.flatMap { $0.utf8.count <= 26 ? HostName($0)?.text : nil }
    let authority = Array((host ?? "probe.sluice.invalid").utf8)
    let id = Array("sluice-probe".utf8)
    return bytes(capacity: 128) { output in
      _ = try? ProxyTLV.append(.uniqueID, id.span, into: &output)
      _ = try? ProxyTLV.append(.authority, authority.span, into: &output)
    }
  }
}
