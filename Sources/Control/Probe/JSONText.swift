internal import Wire

/// A JSON value to be printed (RFC 8259), for commands with `--json`. Members keep their order.
enum JSONText: Sendable {
  case null
  case bool(Bool)
  case number(Int)
  case string(String)
  case array([JSONText])
  case object([(String, JSONText)])

  /// Two columns of indentation for each level; ends without a line feed.
  var text: String {
    var bytes: [UInt8] = []
    append(to: &bytes, indent: 0)
    return String(decoding: bytes, as: UTF8.self)
  }

  private func append(to bytes: inout [UInt8], indent: Int) {
    switch self {
    case .null: bytes.append(text: "null")
    case .bool(let value): bytes.append(text: value ? "true" : "false")
    case .number(let value): bytes.append(text: "\(value)")
    case .string(let value): bytes.append(jsonString: value)
    case .array(let values):
      JSONText.append("[", values.count, "]", to: &bytes, indent: indent) { index, bytes in
        values[index].append(to: &bytes, indent: indent + 1)
      }
    case .object(let members):
      JSONText.append("{", members.count, "}", to: &bytes, indent: indent) { index, bytes in
        bytes.append(jsonString: members[index].0)
        bytes.append(text: ": ")
        members[index].1.append(to: &bytes, indent: indent + 1)
      }
    }
  }

  private static func append(
    _ opening: String, _ count: Int, _ closing: String, to bytes: inout [UInt8], indent: Int,
    _ element: (Int, inout [UInt8]) -> Void
  ) {
    bytes.append(text: opening)
    for index in 0..<count {
      bytes.append(text: index == 0 ? "\n" : ",\n")
      bytes.append(text: String(repeating: "  ", count: indent + 1))
      element(index, &bytes)
    }
    if count > 0 { bytes.append(text: "\n" + String(repeating: "  ", count: indent)) }
    bytes.append(text: closing)
  }
}

extension JSONText {
  static func optional(_ value: String?) -> JSONText { value.map { .string($0) } ?? .null }
  static func optional(_ value: Int?) -> JSONText { value.map { .number($0) } ?? .null }
}
