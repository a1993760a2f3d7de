/// A DNS host name in the form it has on the wire: letters, digits, hyphens and underscores in
/// labels of 1 to 63 bytes, at most 253 bytes in all (RFC 1035 section 2.3.4, RFC 1123 section
/// 2.1), lower case, without a dot at the end. An international name is its A-labels (`xn--`, RFC
/// 5890); nothing here converts one, so U-labels are refused.
///
/// Underscores are beyond RFC 1123, but resolvers and container networks use them. A name whose
/// last label is all digits is refused: it would be read as an IPv4 address by somebody (RFC 1123:
/// "the highest-level component label will be alphabetic").
package struct HostName: Hashable, Sendable {
  package let text: String

  package static let byteLimit = 253
  package static let labelLimit = 63

  /// Takes upper case and one dot at the end, and drops both; nil if it is no host name.
  package init?(_ text: String) {
    let bytes = Array(text.utf8)
    self.init(bytes: bytes.span)
  }

  package init?(bytes: Span<UInt8>) {
    guard let length = HostName.length(bytes) else { return nil }
    var lowered: [UInt8] = []
    lowered.reserveCapacity(length)
    for index in 0..<length {
      lowered.append(HostName.lowered(bytes[index]))
    }
    text = String(decoding: lowered, as: UTF8.self)
  }

  /// The length without the dot at the end, if the bytes are a host name; allocates nothing.
  package static func length(_ bytes: Span<UInt8>) -> Int? {
    var length = bytes.count
    if length > 0, bytes[length - 1] == UInt8(ascii: ".") { length -= 1 }
    guard length > 0, length <= byteLimit else { return nil }
    var start = 0
    while true {
      var end = start
      var isNumber = true
      while end < length, bytes[end] != UInt8(ascii: ".") {
        switch lowered(bytes[end]) {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): break
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"), UInt8(ascii: "_"):
          isNumber = false
        default: return nil
        }
        end += 1
      }
      guard end > start, end - start <= labelLimit, bytes[start] != UInt8(ascii: "-"),
        bytes[end - 1] != UInt8(ascii: "-")
      else { return nil }
      if end == length { return isNumber ? nil : length }
      start = end + 1
    }
  }

  private static func lowered(_ byte: UInt8) -> UInt8 {
    UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte ? byte | 0x20 : byte
  }
}

extension HostName: LosslessStringConvertible {
  package var description: String { text }
}
