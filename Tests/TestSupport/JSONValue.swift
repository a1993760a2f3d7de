/// A small JSON reader, RFC 8259, for the connection log: strict, so that a line which other
/// readers would refuse fails the test.
package enum JSONValue: Hashable, Sendable {
  case null
  case bool(Bool)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  package init(_ text: String) throws {
    var reader = JSONReader(bytes: Array(text.utf8))
    self = try reader.value()
    reader.skipSpace()
    guard reader.position == reader.bytes.count else {
      throw reader.failure("text after the value")
    }
  }

  package subscript(_ key: String) -> JSONValue? {
    if case .object(let members) = self { members[key] } else { nil }
  }

  package var string: String? { if case .string(let text) = self { text } else { nil } }
  package var boolean: Bool? { if case .bool(let truth) = self { truth } else { nil } }
  package var number: Double? { if case .number(let number) = self { number } else { nil } }
}

private struct JSONReader {
  let bytes: [UInt8]
  var position = 0

  func failure(_ what: String) -> TestFailure {
    TestFailure(
      "not JSON: \(what) at byte \(position) of \(String(decoding: bytes, as: UTF8.self))")
  }

  mutating func skipSpace() {
    while position < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[position]) {
      position += 1
    }
  }

  mutating func take(_ character: Character) -> Bool {
    guard position < bytes.count, bytes[position] == character.asciiValue else { return false }
    position += 1
    return true
  }

  mutating func expect(_ text: String) throws {
    for character in text where !take(character) { throw failure("expected \(text)") }
  }

  mutating func value() throws -> JSONValue {
    skipSpace()
    guard position < bytes.count else { throw failure("nothing there") }
    switch Character(UnicodeScalar(bytes[position])) {
    case "{": return try object()
    case "[": return try array()
    case "\"": return .string(try text())
    case "t":
      try expect("true")
      return .bool(true)
    case "f":
      try expect("false")
      return .bool(false)
    case "n":
      try expect("null")
      return .null
    default: return try number()
    }
  }

  mutating func object() throws -> JSONValue {
    try expect("{")
    var members: [String: JSONValue] = [:]
    skipSpace()
    if take("}") { return .object(members) }
    repeat {
      skipSpace()
      let key = try text()
      skipSpace()
      try expect(":")
      guard members.updateValue(try value(), forKey: key) == nil else {
        throw failure("\(key) twice")
      }
      skipSpace()
    } while take(",")
    try expect("}")
    return .object(members)
  }

  mutating func array() throws -> JSONValue {
    try expect("[")
    var elements: [JSONValue] = []
    skipSpace()
    if take("]") { return .array(elements) }
    repeat {
      elements.append(try value())
      skipSpace()
    } while take(",")
    try expect("]")
    return .array(elements)
  }

  mutating func number() throws -> JSONValue {
    let start = position
    while position < bytes.count, "+-.eE0123456789".utf8.contains(bytes[position]) { position += 1 }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    let digits = text.drop { $0 == "-" }
    let hasLeadingZero = digits.count > 1 && digits.first == "0" && digits.dropFirst().first != "."
    guard let number = Double(text), number.isFinite, text.first != "+", !hasLeadingZero,
      digits.first?.isNumber == true, text.last?.isNumber == true
    else { throw failure("a bad number") }
    return .number(number)
  }

  mutating func text() throws -> String {
    try expect("\"")
    var result: [UInt8] = []
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return String(decoding: result, as: UTF8.self)
      case UInt8(ascii: "\\"): result += Array(String(try escape()).utf8)
      case 0..<0x20: throw failure("a bare control character")
      default: result.append(byte)
      }
    }
    throw failure("a string without end")
  }

  mutating func escape() throws -> Character {
    guard position < bytes.count else { throw failure("an escape without end") }
    let byte = bytes[position]
    position += 1
    switch Character(UnicodeScalar(byte)) {
    case "\"": return "\""
    case "\\": return "\\"
    case "/": return "/"
    case "b": return "\u{8}"
    case "f": return "\u{C}"
    case "n": return "\n"
    case "r": return "\r"
    case "t": return "\t"
    case "u":
      // Surrogate pairs never occur in what we log: it escapes control characters only.
      guard position + 4 <= bytes.count,
        let code = UInt32(
          String(decoding: bytes[position..<position + 4], as: UTF8.self), radix: 16),
        let scalar = UnicodeScalar(code)
      else { throw failure("a bad \\u escape") }
      position += 4
      return Character(scalar)
    default: throw failure("an unknown escape")
    }
  }
}
