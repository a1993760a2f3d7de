extension ClientHello {
  private static let serverNameExtension: UInt16 = 0
  private static let protocolsExtension: UInt16 = 16
  private static let versionsExtension: UInt16 = 43
  private static let encryptedHelloExtension: UInt16 = 0xfe0d

  private static let ssl3: UInt16 = 0x0300
  private static let tls12: UInt16 = 0x0303
  private static let tls13: UInt16 = 0x0304
  /// The name type host_name.
  private static let hostNameType: UInt8 = 0

  /// Reads the fields of a whole message, header included.
  init(_ message: RecordBytes, in bytes: Span<UInt8>) throws(Reason) {
    var reader = HandshakeReader(message)
    try reader.skip(ClientHello.headerLength, in: bytes)
    let versionAt = reader.position(in: bytes)
    legacyVersion = try reader.word(in: bytes, or: .tlsBadHello)
    guard legacyVersion >= ClientHello.ssl3 else { throw Reason(.tlsBadHello, at: versionAt) }
    // Without supported_versions servers "MUST negotiate TLS 1.2 or prior [...], even if
    // ClientHello.legacy_version is 0x0304 or later."
    highestVersion = min(legacyVersion, ClientHello.tls12)
    try reader.skip(32, in: bytes)

    let sessionID = try reader.vector(.byte, 0...32, in: bytes, or: .tlsBadHello)
    sessionIDLength = sessionID.count
    let suitesAt = reader.position(in: bytes)
    let suites = try reader.vector(.word, 2...0xfffe, in: bytes, or: .tlsBadHello)
    guard suites.count % 2 == 0 else { throw Reason(.tlsBadHello, at: suitesAt) }
    cipherCount = 0
    var suite = HandshakeReader(suites)
    while let value = suite.word(in: bytes) {
      if !ClientHello.isGREASE(value) { cipherCount += 1 }
    }
    _ = try reader.vector(.byte, 1...255, in: bytes, or: .tlsBadHello)

    // Before TLS 1.3 a hello without extensions may end here.
    guard reader.rest > 0 else { return }
    let extensions = try reader.vector(.word, 0...0xffff, in: bytes, or: .tlsBadHello)
    guard reader.rest == 0 else { throw Reason(.tlsBadHello, at: reader.position(in: bytes)) }
    try readExtensions(extensions, in: bytes)
  }

  private mutating func readExtensions(
    _ block: RecordBytes, in bytes: Span<UInt8>
  ) throws(Reason) {
    // A bit for every type there can be, so that many extensions take no more time each than few.
    var seen = InlineArray<1024, UInt64>(repeating: 0)
    var reader = HandshakeReader(block)
    while reader.rest > 0 {
      let at = reader.position(in: bytes)
      let type = try reader.word(in: bytes, or: .tlsBadExtension)
      let content = try reader.vector(.word, 0...0xffff, in: bytes, or: .tlsBadExtension)
      let bit = UInt64(1) << UInt64(type & 63)
      guard seen[Int(type >> 6)] & bit == 0 else { throw Reason(.tlsDuplicateExtension, at: at) }
      seen[Int(type >> 6)] |= bit
      switch type {
      case ClientHello.serverNameExtension: try readServerName(content, in: bytes)
      case ClientHello.protocolsExtension: try readProtocols(content, in: bytes)
      case ClientHello.versionsExtension: try readVersions(content, in: bytes)
      case ClientHello.encryptedHelloExtension: offersECH = true
      default: break
      }
    }
  }

  /// `ServerName server_name_list<1..2^16-1>`. Names of other types are stepped over: "all future
  /// data structures associated with new NameTypes MUST begin with a 16-bit length field."
  private mutating func readServerName(
    _ content: RecordBytes, in bytes: Span<UInt8>
  ) throws(Reason) {
    var list = try HandshakeReader(
      content, holding: .word, 1...0xffff, in: bytes, or: .tlsBadExtension)
    while list.rest > 0 {
      let at = list.position(in: bytes)
      let type = list.byte(in: bytes)
      let name = try list.vector(.word, 0...0xffff, in: bytes, or: .tlsBadExtension)
      guard type == ClientHello.hostNameType else { continue }
      guard serverName == nil else { throw Reason(.tlsBadExtension, at: at) }
      serverName = ServerName(name, in: bytes)
    }
  }

  /// `ProtocolName protocol_name_list<2..2^16-1>` of `opaque ProtocolName<1..2^8-1>`.
  private mutating func readProtocols(
    _ content: RecordBytes, in bytes: Span<UInt8>
  ) throws(Reason) {
    var whole = HandshakeReader(content)
    protocolList = try whole.vector(.word, 2...0xffff, in: bytes, or: .tlsBadExtension)
    guard whole.rest == 0 else { throw Reason(.tlsBadExtension, at: whole.position(in: bytes)) }
    var list = HandshakeReader(protocolList)
    while list.rest > 0 {
      _ = try list.vector(.byte, 1...255, in: bytes, or: .tlsBadExtension)
    }
  }

  /// `ProtocolVersion versions<2..254>`. Servers "MUST ignore any unknown versions that are present
  /// in that extension", and "MUST NOT use the ClientHello.legacy_version value" beside it.
  private mutating func readVersions(
    _ content: RecordBytes, in bytes: Span<UInt8>
  ) throws(Reason) {
    let at = content.start
    var list = try HandshakeReader(
      content, holding: .byte, 2...254, in: bytes, or: .tlsBadExtension)
    guard list.rest % 2 == 0 else { throw Reason(.tlsBadExtension, at: at) }
    highestVersion = nil
    while let version = list.word(in: bytes) {
      guard (ClientHello.ssl3...ClientHello.tls13).contains(version) else { continue }
      highestVersion = max(version, highestVersion ?? version)
    }
  }
}

extension HandshakeReader {
  enum LengthField { case byte, word }

  /// The content of a vector that fills `run` to its last byte.
  fileprivate init(
    _ run: RecordBytes, holding field: LengthField, _ lengths: ClosedRange<Int>,
    in bytes: Span<UInt8>, or code: Reason.Code
  ) throws(Reason) {
    var whole = HandshakeReader(run)
    let content = try whole.vector(field, lengths, in: bytes, or: code)
    guard whole.rest == 0 else { throw Reason(code, at: whole.position(in: bytes)) }
    self.init(content)
  }

  fileprivate mutating func word(
    in bytes: Span<UInt8>, or code: Reason.Code
  ) throws(Reason) -> UInt16 {
    let at = position(in: bytes)
    guard let word = word(in: bytes) else { throw Reason(code, at: at) }
    return word
  }

  fileprivate mutating func skip(_ count: Int, in bytes: Span<UInt8>) throws(Reason) {
    let at = position(in: bytes)
    guard take(count, in: bytes) != nil else { throw Reason(.tlsBadHello, at: at) }
  }

  /// A length and that many bytes; the reason is at the length field, whether it runs past the end
  /// or is none that may stand there.
  fileprivate mutating func vector(
    _ field: LengthField, _ lengths: ClosedRange<Int>, in bytes: Span<UInt8>, or code: Reason.Code
  ) throws(Reason) -> RecordBytes {
    let at = position(in: bytes)
    let length =
      switch field {
      case .byte: byte(in: bytes).map { Int($0) }
      case .word: word(in: bytes).map { Int($0) }
      }
    guard let length, lengths.contains(length), let content = take(length, in: bytes) else {
      throw Reason(code, at: at)
    }
    return content
  }
}
