/// What must not be shown to those who may only look, nor stand in logs.
enum Redaction {
  private static let mark = Array("://".utf8)
  /// What an address cannot have in it, and texts have around it.
  private static let ends = Array("\"'<>".utf8)

  /// `http://user:password@proxy/` as `http://***@proxy/` (RFC 3986 section 3.2.1), wherever such
  /// an address stands.
  ///
  /// - Parameter text: UTF-8, JSON with its quotation marks too.
  static func withoutUserinfo(_ text: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    var copied = 0
    var index = 0
    while let end = placeBehindMark(text, from: index) {
      // A password with a slash in it is wrong, but a password all the same: so what ends the
      // address is a blank or a quotation mark, and the last "@" before that counts.
      let address = text[end...].prefix { $0 > 0x20 && !ends.contains($0) }
      index = end
      guard let at = address.lastIndex(of: UInt8(ascii: "@")) else { continue }
      bytes += text[copied..<end]
      bytes += Array("***".utf8)
      copied = at
      index = at
    }
    if copied == 0 { return text }
    return bytes + text[copied...]
  }

  static func withoutUserinfo(_ text: String) -> String {
    String(decoding: withoutUserinfo(Array(text.utf8)), as: UTF8.self)
  }

  private static func placeBehindMark(_ text: [UInt8], from start: Int) -> Int? {
    var index = start
    while index + mark.count <= text.count {
      if text[index] == mark[0], text[index + 1] == mark[1], text[index + 2] == mark[2] {
        return index + mark.count
      }
      index += 1
    }
    return nil
  }
}
