internal import System
internal import Wire

/// A PROXY header taken apart for a person to read: every field with its place, or where and why it
/// is not a header.
struct DecodeProxy: Sendable {
  enum Status: Hashable, Sendable {
    case valid
    case invalid(Reason)
    /// `atLeast` bytes are needed in all.
    case incomplete(atLeast: Int)
  }

  /// One field, or one TLV.
  struct Field: Sendable {
    var name: String
    /// Of the field, a TLV's type and length included, from the start of the header.
    var offset: Int
    /// Of the field; of a TLV's value only.
    var length: Int
    /// Escaped: safe to print.
    var value: String
    /// A TLV's type.
    var type: UInt8?
    /// What programs may want besides.
    var facts: [(String, JSONText)] = []
    var inside: [Field] = []
  }

  let bytes: [UInt8]
  let status: Status
  /// How many bytes the header has; 0 unless it is whole.
  let length: Int
  let fields: [Field]

  /// Reads a header from the front of `bytes`, of any length that the length field can announce.
  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    switch ProxyHeader.decode(bytes.span, v2Limit: ProxyV2.maximumLength) {
    case .done(let header, let consumed):
      status = .valid
      length = consumed
      fields = DecodeProxy.fields(header, Array(bytes[..<consumed]))
    case .needMore(let atLeast):
      status = .incomplete(atLeast: atLeast)
      length = 0
      fields = []
    case .invalid(let reason):
      status = .invalid(reason)
      guard let mended = DecodeProxy.withRightChecksum(bytes, reason),
        case .done(let header, let consumed) = ProxyHeader.decode(
          mended.span, v2Limit: ProxyV2.maximumLength)
      else {
        length = 0
        fields = []
        return
      }
      length = consumed
      fields = DecodeProxy.fields(header, Array(bytes[..<consumed]))
    }
  }

  /// The same bytes with the checksum they should have, so that a header of which only that is
  /// wrong can be shown.
  private static func withRightChecksum(_ bytes: [UInt8], _ reason: Reason) -> [UInt8]? {
    guard reason.code == .proxyCRCMismatch, bytes.count >= ProxyV2.prefixLength else { return nil }
    let length = ProxyV2.prefixLength + (Int(bytes[14]) << 8 | Int(bytes[15]))
    let field = reason.offset..<(reason.offset + 4)
    guard bytes.count >= length, field.upperBound <= length else { return nil }
    var mended = bytes
    let right = checksum(Array(bytes[..<length]), field)
    for index in 0..<4 {
      mended[field.lowerBound + index] = UInt8(truncatingIfNeeded: right >> UInt32(24 - 8 * index))
    }
    return mended
  }

  private static func checksum(_ header: [UInt8], _ field: Range<Int>) -> UInt32 {
    CRC32C.checksum(header.span, field: field)
  }
}

// MARK: - Input

extension DecodeProxy {
  struct InputFault: Error, Hashable, Sendable { var description: String }

  /// The header's bytes from what stood on standard input: themselves, or hexadecimal with white
  /// space and colons anywhere. A header in bytes begins with a letter that is no hexadecimal digit
  /// (`P`), or with CR, LF, CR, LF, NUL; nothing else is taken for bytes unless it cannot be
  /// hexadecimal.
  static func bytes(of input: [UInt8]) throws(InputFault) -> [UInt8] {
    let signature: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a]
    if input.starts(with: signature) { return input }
    var digits: [UInt8] = []
    for byte in input {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digits.append(byte - UInt8(ascii: "0"))
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digits.append(byte - UInt8(ascii: "a") + 10)
      case UInt8(ascii: "A")...UInt8(ascii: "F"): digits.append(byte - UInt8(ascii: "A") + 10)
      case UInt8(ascii: ":"), 0x09...0x0d, UInt8(ascii: " "): continue
      default: return input
      }
    }
    guard digits.count.isMultiple(of: 2) else {
      throw InputFault(description: "\(digits.count) hexadecimal digits: the last byte is half")
    }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
  }
}

// MARK: - Fields

extension DecodeProxy {
  private static func fields(_ header: ProxyHeader, _ bytes: [UInt8]) -> [Field] {
    switch header.version {
    case .v1: version1Fields(header, bytes)
    case .v2: version2Fields(header, bytes)
    }
  }

  private static func version1Fields(_ header: ProxyHeader, _ bytes: [UInt8]) -> [Field] {
    let end = bytes.count - 2
    var fields = [
      Field(name: "signature", offset: 0, length: 5, value: "PROXY"),
      Field(name: "version", offset: 0, length: 5, value: "1"),
    ]
    guard case .ip = header.endpoints else {
      fields.append(Field(name: "protocol", offset: 6, length: 7, value: "UNKNOWN"))
      if end > 13 {
        fields.append(
          Field(
            name: "ignored", offset: 13, length: end - 13,
            value: "\"\(escapedText(bytes[13..<end]))\""))
      }
      return fields + [Field(name: "end", offset: end, length: 2, value: "CR LF")]
    }
    let names = ["protocol", "source", "destination", "source port", "destination port"]
    var at = 6
    for name in names {
      let stop = bytes[at..<end].firstIndex(of: UInt8(ascii: " ")) ?? end
      fields.append(
        Field(name: name, offset: at, length: stop - at, value: escapedText(bytes[at..<stop])))
      at = min(stop + 1, end)
    }
    return fields + [Field(name: "end", offset: end, length: 2, value: "CR LF")]
  }

  private static func version2Fields(_ header: ProxyHeader, _ bytes: [UInt8]) -> [Field] {
    let command =
      switch header.command {
      case .local: "LOCAL: the sender's own connection, the real addresses count"
      case .proxy: "PROXY: on behalf of another client"
      }
    var fields = [
      Field(name: "signature", offset: 0, length: 12, value: hexadecimalText(bytes[..<12])),
      Field(name: "version", offset: 12, length: 1, value: "2"),
      Field(name: "command", offset: 12, length: 1, value: command),
      Field(name: "family", offset: 13, length: 1, value: family(bytes[13])),
      Field(
        name: "length", offset: 14, length: 2,
        value: "\(bytes.count - ProxyV2.prefixLength) more bytes"),
    ]
    fields += addressFields(header, bytes)
    var walk = ProxyTLVWalk(header.tlvs)
    while let tlv = try? walk.next(in: bytes.span) { fields.append(field(tlv, in: bytes)) }
    return fields
  }

  private static func family(_ byte: UInt8) -> String {
    let family =
      switch byte >> 4 {
      case 0: "AF_UNSPEC"
      case 1: "AF_INET"
      case 2: "AF_INET6"
      case 3: "AF_UNIX"
      default: "unassigned family \(byte >> 4)"
      }
    let transport =
      switch byte & 15 {
      case 0: "UNSPEC"
      case 1: "STREAM"
      case 2: "DGRAM"
      default: "unassigned transport \(byte & 15)"
      }
    return "\(family), \(transport) (0x\(hexadecimalText([byte])))"
  }

  private static func addressFields(_ header: ProxyHeader, _ bytes: [UInt8]) -> [Field] {
    let start = ProxyV2.prefixLength
    switch header.endpoints {
    case .ip(let source, let destination):
      let size =
        switch source {
        case .ipv4: 4
        case .ipv6, .unix: 16
        }
      let ports = start + 2 * size
      return [
        Field(name: "source", offset: start, length: size, value: source.hostDescription),
        Field(
          name: "destination", offset: start + size, length: size,
          value: destination.hostDescription),
        Field(name: "source port", offset: ports, length: 2, value: "\(source.port ?? 0)"),
        Field(
          name: "destination port", offset: ports + 2, length: 2,
          value: "\(destination.port ?? 0)"),
      ]
    case .unix(let source, let destination):
      return [(source, "source"), (destination, "destination")].map { range, name in
        Field(
          name: name, offset: range.lowerBound, length: 108,
          value: "\"\(escapedText(bytes[range]))\"")
      }
    case .none:
      let block = start..<header.tlvs.lowerBound
      guard !block.isEmpty else { return [] }
      return [
        Field(
          name: "ignored", offset: block.lowerBound, length: block.count,
          value: shortHexadecimal(bytes[block]))
      ]
    }
  }
}

// MARK: - TLVs

extension DecodeProxy {
  private static func field(_ tlv: ProxyTLV, in bytes: [UInt8], inSSL: Bool = false) -> Field {
    let value = bytes[tlv.value]
    var field = Field(
      name: tlv.kind.name ?? name(tlv.kind.space), offset: tlv.value.lowerBound - ProxyTLV.overhead,
      length: tlv.value.count, value: text(value), type: tlv.kind.rawValue)
    switch tlv.kind {
    case .crc32c: addChecksum(tlv, bytes, to: &field)
    case .noop: field.value = "padding, ignored"
    case .authority:
      if HostName(bytes: Array(value).span) == nil { field.value += " (no host name)" }
    case .ssl: addSSL(tlv, bytes, to: &field)
    case .sslClientCertificate where inSSL: field.value = "DER: " + shortHexadecimal(value)
    case .aws:
      if let id = tlv.awsEndpointID(in: bytes.span) {
        field.value = "VPC endpoint \"\(escapedText(bytes[id]))\""
        field.facts = [("vpc_endpoint_id", .string(escapedText(bytes[id])))]
      }
    case .azure:
      if let id = tlv.azureLinkID(in: bytes.span) {
        field.value = "Private Link id \(id)"
        field.facts = [("link_id", .number(Int(id)))]
      }
    case .gcp:
      if let id = tlv.gcpConnectionID(in: bytes.span) {
        field.value = "Private Service Connect id \(id)"
        // A string: it may have more digits than JSON's readers keep.
        field.facts = [("psc_connection_id", .string("\(id)"))]
      }
    default: break
    }
    if !inSSL, (0x21...0x28).contains(tlv.kind.rawValue) {
      field.value += " (means nothing outside an SSL TLV)"
    }
    return field
  }

  private static func name(_ space: ProxyTLV.Kind.Space) -> String {
    switch space {
    case .registered, .unassigned: "unassigned"
    case .custom: "custom"
    case .experimental: "experimental"
    case .future: "reserved"
    }
  }

  private static func addChecksum(_ tlv: ProxyTLV, _ bytes: [UInt8], to field: inout Field) {
    let stored = bytes[tlv.value].reduce(UInt32(0)) { word, byte in word << 8 | UInt32(byte) }
    let right = checksum(bytes, tlv.value)
    let texts = [stored, right].map { word in
      hexadecimalText((0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(24 - 8 * $0)) })
    }
    field.value =
      stored == right
      ? "ok: \(texts[0])" : "wrong: the header says \(texts[0]), its bytes give \(texts[1])"
    field.facts = [
      ("ok", .bool(stored == right)), ("stored", .string(texts[0])),
      ("computed", .string(texts[1])),
    ]
  }

  private static func addSSL(_ tlv: ProxyTLV, _ bytes: [UInt8], to field: inout Field) {
    guard let ssl = ProxySSL(tlv, in: bytes.span) else { return }
    var words: [String] = []
    words.append(ssl.isTLS ? "client came over TLS" : "client did not come over TLS")
    if ssl.hasConnectionCertificate { words.append("certificate on this connection") }
    if ssl.hasSessionCertificate { words.append("certificate in this session") }
    let unknown = ssl.client & ~0x07
    if unknown != 0 { words.append("unknown bits 0x\(hexadecimalText([unknown]))") }
    words.append(
      ssl.verify == 0
        ? "verify 0: certificate presented and verified"
        : "verify \(ssl.verify): no certificate, or not verified")
    field.value = "client 0x\(hexadecimalText([ssl.client])): " + words.joined(separator: ", ")
    field.facts = [
      ("client", .number(Int(ssl.client))), ("tls", .bool(ssl.isTLS)),
      ("certificate_on_connection", .bool(ssl.hasConnectionCertificate)),
      ("certificate_in_session", .bool(ssl.hasSessionCertificate)),
      ("verify", .number(Int(ssl.verify))), ("verified", .bool(ssl.verify == 0)),
    ]
    var walk = ProxyTLVWalk(ssl.tlvs)
    while let inner = try? walk.next(in: bytes.span) {
      field.inside.append(self.field(inner, in: bytes, inSSL: true))
    }
  }

  /// Printable text in quotes, anything else in hexadecimal.
  private static func text(_ value: ArraySlice<UInt8>) -> String {
    value.allSatisfy { (0x20..<0x7f).contains($0) }
      ? "\"\(escapedText(value))\""
      : "0x" + shortHexadecimal(value)
        + (value.contains(0) ? "" : " (\"\(escapedText(value.prefix(shownBytes)))\")")
  }

  private static let shownBytes = 64

  private static func shortHexadecimal(_ value: ArraySlice<UInt8>) -> String {
    let text = hexadecimalText(value.prefix(shownBytes))
    return value.count > shownBytes ? "\(text)… (\(value.count) bytes)" : text
  }
}

// MARK: - Output

extension DecodeProxy {
  var isValid: Bool { status == .valid }

  var text: String {
    var lines: [String] = []
    if length > 0 {
      let version = bytes.first == UInt8(ascii: "P") ? 1 : 2
      lines.append("PROXY header, version \(version), \(length) bytes")
      for field in fields { DecodeProxy.append(field, depth: 0, to: &lines) }
    }
    switch status {
    case .valid:
      if bytes.count > length {
        let rest = bytes[length...]
        let more = rest.count > DecodeProxy.shownBytes ? "…" : ""
        lines.append(
          "then \(rest.count) bytes that are not the header's: "
            + "\"\(escapedText(rest.prefix(DecodeProxy.shownBytes)))\(more)\"")
      }
    case .invalid(let reason):
      lines.append("invalid at byte \(reason.offset): \(reason.code.rawValue)")
      lines += markedRow(reason.offset)
    case .incomplete(let atLeast):
      lines.append(
        "incomplete: \(bytes.count) bytes are here, at least \(atLeast - bytes.count) more needed")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func append(_ field: Field, depth: Int, to lines: inout [String]) {
    func padded(_ text: String, _ width: Int, right: Bool = false) -> String {
      let blanks = String(repeating: " ", count: max(0, width - text.utf8.count))
      return right ? blanks + text : text + blanks
    }
    let place = padded("\(field.offset)", 6, right: true)
    let name = field.type.map { "0x\(hexadecimalText([$0])) \(field.name)" } ?? field.name
    let length = padded("\(field.length)", 5, right: true)
    let indent = String(repeating: "  ", count: depth)
    lines.append("\(place) \(length)  \(indent)\(padded(name, 24 - 2 * depth)) \(field.value)")
    for inner in field.inside { append(inner, depth: depth + 1, to: &lines) }
  }

  private static let rowLength = 16

  /// The sixteen bytes around an offset, and a mark below the one there; it stands after the last
  /// when that is where more was needed.
  private func markedRow(_ offset: Int) -> [String] {
    let start = offset / DecodeProxy.rowLength * DecodeProxy.rowLength
    let row = bytes[min(start, bytes.count)..<min(start + DecodeProxy.rowLength, bytes.count)]
    let place = "\(start)"
    let head = String(repeating: " ", count: max(0, 6 - place.utf8.count)) + place + "  "
    let hex = row.map { hexadecimalText([$0]) }.joined(separator: " ")
    let mark = String(repeating: " ", count: head.utf8.count + 3 * (offset - start)) + "^^"
    return ["\(head)\(hex)   \"\(escapedText(row))\"", mark]
  }

  var json: JSONText {
    var members: [(String, JSONText)] = []
    switch status {
    case .valid: members.append(("status", .string("valid")))
    case .invalid(let reason):
      members += [
        ("status", .string("invalid")), ("reason", .string(reason.code.rawValue)),
        ("offset", .number(reason.offset)),
      ]
    case .incomplete(let atLeast):
      members += [
        ("status", .string("incomplete")), ("bytes_needed", .number(atLeast)),
        ("bytes_missing", .number(atLeast - bytes.count)),
      ]
    }
    members += [("bytes", .number(bytes.count)), ("header_bytes", .number(length))]
    members.append(("fields", .array(fields.filter { $0.type == nil }.map { $0.json })))
    members.append(("tlvs", .array(fields.filter { $0.type != nil }.map { $0.json })))
    return .object(members)
  }
}

extension DecodeProxy.Field {
  fileprivate var json: JSONText {
    var members: [(String, JSONText)] = []
    if let type { members.append(("type", .string("0x" + hexadecimalText([type])))) }
    members += [
      ("name", .string(name)), ("offset", .number(offset)), ("length", .number(length)),
      ("value", .string(value)),
    ]
    members += facts
    if !inside.isEmpty { members.append(("tlvs", .array(inside.map { $0.json }))) }
    return .object(members)
  }
}

extension Commands {
  /// Four times the longest header, as hexadecimal with a separator between all bytes.
  private static let decodeInputLimit = 12 * ProxyV2.maximumLength

  /// `sluice decode-proxy`: 0 for a whole and valid header, otherwise 1.
  package static func decodeProxy(json: Bool) -> Int32 {
    var input: [UInt8] = []
    do throws(SystemError) {
      let standardInput = try Descriptor.duplicate(of: 0)
      while input.count <= decodeInputLimit,
        try standardInput.read(atMost: 65_536, appendingTo: &input) > 0
      {}
    } catch {
      StandardStream.error.write("sluice: standard input: \(error)\n")
      return 1
    }
    guard input.count <= decodeInputLimit else {
      StandardStream.error.write("sluice: more than \(decodeInputLimit) bytes are no header\n")
      return 1
    }
    do throws(DecodeProxy.InputFault) {
      let decoded = DecodeProxy(try DecodeProxy.bytes(of: input))
      StandardStream.output.write(json ? decoded.json.text + "\n" : decoded.text)
      return decoded.isValid ? 0 : 1
    } catch {
      StandardStream.error.write("sluice: \(error.description)\n")
      return 1
    }
  }
}
