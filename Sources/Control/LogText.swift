internal import System
internal import Wire

/// Text of lines, without the standard library's formatting: it would allocate for each value.
extension ByteSink where Self: ~Copyable & ~Escapable {
  /// In quotes, escaped as RFC 8259 section 7 demands; nil is `null`.
  mutating func append(jsonString value: String?) {
    guard let value else { return append(text: "null") }
    append(UInt8(ascii: "\""))
    append(escaped: value.utf8)
    append(UInt8(ascii: "\""))
  }

  /// UTF-8 as the inside of a JSON string. Beyond what RFC 8259 demands, DEL and the control
  /// characters U+0080 to U+009F are escaped: terminals obey some of them.
  mutating func append(escaped text: some Collection<UInt8>) {
    // C1 controls are two bytes, C2 80 to C2 9F.
    var hasLead = false
    for byte in text {
      if hasLead {
        hasLead = false
        if byte >= 0x80 && byte <= 0x9f {
          append(escape: byte)
          continue
        }
        append(0xc2)
      }
      switch byte {
      case 0xc2: hasLead = true
      case 0..<0x20, 0x7f: append(escape: byte)
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        append(UInt8(ascii: "\\"))
        append(byte)
      default: append(byte)
      }
    }
    if hasLead { append(0xc2) }
  }

  private mutating func append(escape byte: UInt8) {
    append(text: "\\u00")
    append(hexadecimalDigit: byte >> 4)
    append(hexadecimalDigit: byte & 15)
  }

  mutating func append(hexadecimal bytes: [UInt8]) {
    for byte in bytes {
      append(hexadecimalDigit: byte >> 4)
      append(hexadecimalDigit: byte & 15)
    }
  }
}

extension OutputSpan<UInt8> {
  /// The same; text that needs no escape, as nearly all does, is copied at once.
  mutating func append(escaped text: String.UTF8View) {
    let bytes = text.span
    for index in bytes.indices where OutputSpan.mayNeedEscape(bytes[index]) {
      return append(escaped: text.dropFirst(0))
    }
    append(bytes: bytes)
  }

  private static func mayNeedEscape(_ byte: UInt8) -> Bool {
    byte < 0x20 || byte >= 0x7f || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
  }
}
