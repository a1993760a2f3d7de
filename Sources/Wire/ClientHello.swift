/// What a TLS client says first (RFC 8446 section 4.1.2), as far as routing goes by it. Names and
/// protocols are places in the bytes it was read from; the caller keeps those as long as it needs
/// them.
///
/// Nothing here is negotiated or answered: a hello that a server would refuse for other reasons
/// than its form is the server's to refuse.
package struct ClientHello: Hashable, Sendable {
  /// `legacy_version`: 0x0303 (TLS 1.2) in every hello of TLS 1.3.
  package var legacyVersion: UInt16
  /// The highest version offered that is SSL 3 or a TLS version; nil if `supported_versions` has
  /// none of those. Drafts of TLS 1.3 and values of GREASE are not.
  package var highestVersion: UInt16?
  /// 0...32.
  package var sessionIDLength: Int
  /// The cipher suites offered, signalling values included, those of GREASE not.
  package var cipherCount: Int
  /// What `server_name` says; nil without that extension or without a host name in it.
  package var serverName: ServerName?
  /// Whether there is an `encrypted_client_hello` extension, a real one or GREASE: by design nobody
  /// but the server can tell. `serverName` is then the outer one, of the client-facing server.
  package var offersECH = false
  /// The names in `application_layer_protocol_negotiation`, each behind its length; empty without
  /// it.
  var protocolList = RecordBytes.none

  /// The protocols of ALPN in the order of the client's preference, without those of GREASE.
  package var protocols: ProtocolWalk { ProtocolWalk(protocolList) }

  /// Type and length of a handshake message.
  package static let headerLength = 4
  /// The longest hello taken unless told otherwise, its header included. Those with post-quantum
  /// keys have up to 2 KiB and one with a long session ticket 16 KiB more; a receiver has to hold
  /// all of it.
  package static let defaultLimit = 1 << 16
  /// In how many records a hello may come: in single bytes up to 4 KiB of it, 64 KiB in pieces of
  /// 16 bytes. It bounds what is held for record headers, and the time to hop over them.
  package static let recordLimit = 4096
  /// How many of those may be empty. "Implementations MUST NOT send zero-length fragments of
  /// Handshake types"; OpenSSL, which servers run, lets 32 pass.
  package static let emptyRecordLimit = 32
  /// The most bytes that are held for a hello of the default limit.
  package static let maximumLength = defaultLimit + recordLimit * TLSRecord.headerLength
  /// One cipher suite, one compression method, no extensions; header included.
  static let shortest = headerLength + 2 + 32 + 1 + 2 + 2 + 1 + 1
}

extension ClientHello {
  /// Reads a hello from the front of a client's bytes, record headers and all. Allocates nothing.
  ///
  /// Records are judged as they come in, the fields of the hello once it is whole. Call it again
  /// whenever more has come: plaintext is found out by its first byte.
  ///
  /// - Parameters:
  ///   - limit: the longest hello accepted, its four bytes of header included, record headers not.
  ///     It is held against the length field, before the rest is waited for.
  ///   - ended: whether no more bytes will come (end of stream or deadline). Then a hello that is
  ///     not whole is `tls.truncated`.
  /// - Returns: with `done`, the length of the records that held the hello.
  package static func decode(
    _ bytes: Span<UInt8>, limit: Int = defaultLimit, ended: Bool = false
  ) -> Parse<ClientHello> {
    do throws(Reason) {
      var missing: Int
      if let needed = try checkFirstBytes(bytes) {
        missing = needed
      } else {
        switch try HandshakeFrame.find(in: bytes, limit: limit) {
        case .invalid(let reason): throw reason
        case .done(let message, let consumed):
          return .done(try ClientHello(message, in: bytes), consumed: consumed)
        case .needMore(let atLeast): missing = atLeast
        }
      }
      guard ended else { return .needMore(atLeast: missing) }
      return .invalid(Reason(.tlsTruncated, at: bytes.count))
    } catch {
      return .invalid(error)
    }
  }

  /// Tells what is no handshake record by its first bytes. Nil if it may be one, else how many
  /// bytes it takes to name it.
  ///
  /// RFC 5246 appendix E.2, on a hello of SSL 2: two bytes of length of which "the highest bit MUST
  /// be 1", the type 1, then the version. The text of no protocol begins so.
  private static func checkFirstBytes(_ bytes: Span<UInt8>) throws(Reason) -> Int? {
    guard bytes.count > 0 else { return nil }
    switch bytes[0] {
    case TLSRecord.handshake: return nil
    // The other types of record: change_cipher_spec, alert, application_data, heartbeat.
    case 20...24: throw Reason(.tlsNotClientHello, at: 0)
    case 0..<0x80: throw Reason(.tlsNotTLS, at: 0)
    default: break
    }
    let isSSLv2 =
      (bytes.count <= 2 || bytes[2] == 1)
      && (bytes.count <= 3 || bytes[3] == 0 || bytes[3] == 3)
      && (bytes.count <= 4 || bytes[3] == 3 || bytes[4] == 2)
    guard isSSLv2 else { throw Reason(.tlsNotTLS, at: 0) }
    guard bytes.count < 5 else { throw Reason(.tlsSSLv2, at: 0) }
    return 5
  }

  /// RFC 8701: `{0x0A, 0x0A}`, `{0x1A, 0x1A}` and so on, which clients send to keep servers used to
  /// unknown values, in lists of versions, cipher suites, extensions and protocols.
  package static func isGREASE(_ word: UInt16) -> Bool {
    word & 0x0f0f == 0x0a0a && word >> 8 == word & 0xff
  }
}

extension ClientHello {
  /// A name of type host_name (RFC 6066 section 3).
  package struct ServerName: Hashable, Sendable {
    package enum Form: Hashable, Sendable {
      /// As it should be: "a byte string using ASCII encoding without a trailing dot".
      case hostName
      /// A host name but for one dot at its end.
      case trailingDot
      /// "Literal IPv4 and IPv6 addresses are not permitted", with brackets or without.
      case addressLiteral
      /// No bytes, where at least one must be.
      case empty
      /// Something else than letters, digits, hyphens, underscores and dots.
      case badCharacter
      /// Those, but no host name: too long, a label that is empty or too long or has a hyphen at an
      /// end, or all digits in the last one.
      case badForm
    }

    package var form: Form
    /// The name exactly as sent.
    package var bytes: RecordBytes

    /// The name to compare: lower case, no dot at the end; nil unless the form is `hostName` or
    /// `trailingDot`. Allocates.
    package func hostName(in bytes: Span<UInt8>) -> HostName? {
      guard isHostName else { return nil }
      if let range = self.bytes.range { return HostName(bytes: bytes.extracting(range)) }
      return HostName(
        bytes: Gathered(self.bytes, in: bytes).text.span.extracting(0..<self.bytes.count))
    }

    /// The same text without allocating. False, and nothing is written, where there is no host name
    /// or less room than it takes; 253 bytes are enough for any.
    package func appendHostName(
      to output: inout OutputSpan<UInt8>, from bytes: Span<UInt8>
    ) -> Bool {
      let count = form == .trailingDot ? self.bytes.count - 1 : self.bytes.count
      guard isHostName, output.freeCapacity >= count else { return false }
      var reader = HandshakeReader(self.bytes)
      for _ in 0..<count {
        guard let byte = reader.byte(in: bytes) else { break }
        output.append(UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte ? byte | 0x20 : byte)
      }
      return true
    }

    private var isHostName: Bool { form == .hostName || form == .trailingDot }
  }

  /// Walks the names of ALPN. Takes the bytes at each step, so that it can be kept.
  package struct ProtocolWalk {
    private var reader: HandshakeReader

    init(_ list: RecordBytes) { reader = HandshakeReader(list) }

    /// The next name, 1 to 255 bytes, or nil at the end.
    package mutating func next(in bytes: Span<UInt8>) -> RecordBytes? {
      while let length = reader.byte(in: bytes), let name = reader.take(Int(length), in: bytes) {
        var word = HandshakeReader(name)
        if name.count == 2, let value = word.word(in: bytes), isGREASE(value) { continue }
        return name
      }
      return nil
    }
  }
}

extension ClientHello.ServerName {
  init(_ name: RecordBytes, in bytes: Span<UInt8>) {
    self.bytes = name
    if let range = name.range {
      form = ClientHello.ServerName.form(bytes.extracting(range))
    } else if name.count <= Gathered.limit {
      form = ClientHello.ServerName.form(
        Gathered(name, in: bytes).text.span.extracting(0..<name.count))
    } else {
      form = .badForm
    }
  }

  private static func form(_ name: Span<UInt8>) -> Form {
    guard name.count > 0 else { return .empty }
    guard name.count <= Gathered.limit else { return .badForm }
    let hasDot = name[name.count - 1] == UInt8(ascii: ".")
    if HostName.length(name) != nil { return hasDot ? .trailingDot : .hostName }
    if isAddress(hasDot ? name.extracting(0..<(name.count - 1)) : name) { return .addressLiteral }
    for index in name.indices {
      switch name[index] {
      case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"), UInt8(ascii: "_"),
        UInt8(ascii: "."):
        continue
      default: return .badCharacter
      }
    }
    return .badForm
  }

  private static func isAddress(_ name: Span<UInt8>) -> Bool {
    if (try? AddressText.ipv4(name)) != nil { return true }
    let isBracketed =
      name.count > 1 && name[0] == UInt8(ascii: "[") && name[name.count - 1] == UInt8(ascii: "]")
    let address = isBracketed ? name.extracting(1..<(name.count - 1)) : name
    return (try? AddressText.ipv6(address)) != nil
  }

  /// A name that a record header splits, in one piece.
  private struct Gathered {
    /// A host name with a dot at its end.
    static let limit = HostName.byteLimit + 1

    var text = InlineArray<254, UInt8>(repeating: 0)

    init(_ name: RecordBytes, in bytes: Span<UInt8>) {
      var reader = HandshakeReader(name)
      var count = 0
      while count < Gathered.limit, let byte = reader.byte(in: bytes) {
        text[count] = byte
        count += 1
      }
    }
  }
}
