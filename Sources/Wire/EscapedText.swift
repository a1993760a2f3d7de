/// Bytes from outside as a terminal may show them: printable US-ASCII as it is, a backslash
/// doubled, everything else (control bytes, and all that is not ASCII, which could hide or reorder
/// text) as `\r`, `\n`, `\t` or `\x00`.
package func escapedText(_ bytes: some Sequence<UInt8>) -> String {
  var text = ""
  for byte in bytes {
    switch byte {
    case 0x0d: text += "\\r"
    case 0x0a: text += "\\n"
    case 0x09: text += "\\t"
    case UInt8(ascii: "\\"): text += "\\\\"
    case 0x20..<0x7f: text.unicodeScalars.append(Unicode.Scalar(byte))
    default: text += "\\x" + hexadecimalText(CollectionOfOne(byte))
    }
  }
  return text
}

/// Lower-case hexadecimal without separators.
package func hexadecimalText(_ bytes: some Sequence<UInt8>) -> String {
  var text: [UInt8] = []
  for byte in bytes {
    text.append(hexadecimalDigit: byte >> 4)
    text.append(hexadecimalDigit: byte & 15)
  }
  return String(decoding: text, as: UTF8.self)
}
