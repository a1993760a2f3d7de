/// Writes YAML as people write it: block mappings, short lists in brackets, quotes where they are
/// needed. What it writes reads back as what was given, `${` and all.
struct YAMLText {
  private var lines: [String] = []
  private var depth = 0

  /// A list of more items than this stands one to a line.
  private static let inlineMax = 8

  var text: String { lines.joined() }

  /// `key: value`, for a value that no item of another kind could be taken for.
  mutating func pair(_ key: String, _ value: String) {
    line("\(key): \(YAMLText.scalar(value))")
  }

  /// `key: [a, b]`; of items that are written already, as `scalar` and `flow` do it.
  mutating func list(_ key: String, _ items: [String]) {
    guard items.count > YAMLText.inlineMax else {
      return line("\(key): [\(items.joined(separator: ", "))]")
    }
    self.items(key, items)
  }

  /// The same, each item on a line of its own however few there are.
  mutating func items(_ key: String, _ items: [String]) {
    line("\(key):")
    for item in items { line("  - \(item)") }
  }

  /// `key: value`, as it is written already.
  mutating func raw(_ key: String, _ value: String) { line("\(key): \(value)") }

  /// Begins a mapping one deeper. What is returned goes to `close`.
  mutating func open(_ key: String) -> Int {
    line("\(key):")
    depth += 1
    return lines.count
  }

  /// Ends a mapping; one that nothing was written into is `{}`, or not there at all.
  mutating func close(_ start: Int, _ key: String, mayBeEmpty: Bool) {
    depth -= 1
    guard lines.count == start else { return }
    lines.removeLast()
    if mayBeEmpty { line("\(key): {}") }
  }

  /// A key without a value, which is none for the reader.
  mutating func absent(_ key: String) {
    line("# \(key): not set")
  }

  /// `{ key: value, key: value }` of values that are written already.
  static func flow(_ pairs: [(String, String)]) -> String {
    "{ \(pairs.map { "\($0.0): \($0.1)" }.joined(separator: ", ")) }"
  }

  /// A text that is one anywhere, in quotes unless it is plainly a word.
  static func scalar(_ text: String) -> String {
    quoted(text.replacing("$", with: "$$"))
  }

  /// The same, for texts whose `$` mean what they say.
  static func quoted(_ text: String) -> String {
    guard !isPlain(text) else { return text }
    let escaped = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
    return "\"\(escaped)\""
  }

  /// Letters and digits with `._/-` among them: no mark of YAML's is among these, wherever it is.
  private static func isPlain(_ text: String) -> Bool {
    guard let first = text.utf8.first, isWordByte(first) || first == UInt8(ascii: "/") else {
      return false
    }
    return text.utf8.allSatisfy { isWordByte($0) || Array("._/-".utf8).contains($0) }
  }

  private static func isWordByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: false
    }
  }

  private mutating func line(_ line: String) {
    lines.append(String(repeating: "  ", count: depth) + line + "\n")
  }
}
