/// Something that bytes can be put at the end of: an array, or memory a caller lends. Generic use
/// is specialised within its module, so writing text into either costs no allocation of its own.
package protocol ByteSink: ~Copyable, ~Escapable {
  mutating func append(_ byte: UInt8)
}

extension Array: ByteSink where Element == UInt8 {}
extension OutputSpan: ByteSink where Element == UInt8 {}

extension ByteSink where Self: ~Copyable & ~Escapable {
  /// A literal is read where it lies.
  @inlinable @inline(__always) package mutating func append(text: String) {
    for byte in text.utf8 { append(byte) }
  }

  /// A number in decimal, without leading zeroes.
  @inlinable package mutating func append(decimal value: UInt64) {
    if value < 10 { return append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value)) }
    var digits: [20 of UInt8] = .init(repeating: 0)
    var first = digits.count
    var rest = value
    repeat {
      first -= 1
      digits[first] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    } while rest > 0
    for index in first..<digits.count { append(digits[index]) }
  }

  /// A 16-bit group in lower-case hexadecimal without leading zeroes (RFC 5952 sections 4.1, 4.3).
  mutating func append(hexadecimal group: UInt16) {
    var shift: UInt16 = 12
    while shift > 0, group >> shift == 0 { shift -= 4 }
    while true {
      append(hexadecimalDigit: UInt8(truncatingIfNeeded: group >> shift & 15))
      if shift == 0 { return }
      shift -= 4
    }
  }

  /// - Parameter digit: 0 ... 15.
  @inlinable package mutating func append(hexadecimalDigit digit: UInt8) {
    append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
  }
}
