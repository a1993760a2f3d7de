/// User name and password of the Basic scheme: RFC 7617.
package struct HTTPCredentials: Equatable, Sendable {
  package let user: String
  package let password: [UInt8]

  /// The longest field value that is looked at, in bytes.
  package static let lengthLimit = 1024

  /// Nil for any other scheme, and for what is no base64 (RFC 4648) of a user name in UTF-8, a
  /// colon and a password. Control bytes are refused in both, as RFC 7617 section 2 has it.
  ///
  /// - Parameter value: of a Proxy-Authorization field.
  package init?(_ bytes: Span<UInt8>, _ value: Range<Int>) {
    guard value.count <= HTTPCredentials.lengthLimit, HTTPText.begins("basic ", bytes, value) else {
      return nil
    }
    let text = HTTPText.trimmed(value.lowerBound + 6..<value.upperBound, bytes)
    guard let decoded = HTTPCredentials.decode(bytes, text) else { return nil }
    for byte in decoded where byte < 0x20 || byte == 0x7f { return nil }
    guard let colon = decoded.firstIndex(of: UInt8(ascii: ":")),
      let user = String(validating: decoded[..<colon], as: UTF8.self)
    else { return nil }
    self.user = user
    password = Array(decoded[(colon + 1)...])
  }

  /// With padding or without.
  private static func decode(_ bytes: Span<UInt8>, _ text: Range<Int>) -> [UInt8]? {
    var end = text.upperBound
    while end > text.lowerBound, text.upperBound - end < 2, bytes[end - 1] == UInt8(ascii: "=") {
      end -= 1
    }
    guard (end - text.lowerBound) % 4 != 1 else { return nil }
    var decoded: [UInt8] = []
    decoded.reserveCapacity((end - text.lowerBound) * 3 / 4)
    var word: UInt32 = 0
    var bits = 0
    for index in text.lowerBound..<end {
      guard let six = six(bytes[index]) else { return nil }
      word = word << 6 | UInt32(six)
      bits += 6
      if bits >= 8 {
        bits -= 8
        decoded.append(UInt8(truncatingIfNeeded: word >> UInt32(bits)))
      }
    }
    return decoded
  }

  private static func six(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
    case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
    case UInt8(ascii: "+"): 62
    case UInt8(ascii: "/"): 63
    default: nil
    }
  }
}
