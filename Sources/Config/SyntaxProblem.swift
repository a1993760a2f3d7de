internal import CYAML

/// Why a file is no tree, in words for a person who does not know YAML by heart.
struct SyntaxProblem {
  var position: Position
  var sentence: String

  /// `message` is libyaml's, `text` the whole file.
  init(outcome: YAMLOutcome, message: String, text: [UInt8]) {
    position = Position(line: Int(outcome.line), column: Int(outcome.column))
    switch outcome.problem {
    case .none: sentence = ""
    case .syntax:
      let begun = Position(
        line: Int(outcome.context_line), column: Int(outcome.context_column))
      self = SyntaxProblem(message: message, at: position, begun: begun, text: text)
    case .encoding: sentence = "not valid UTF-8 text: \(message)"
    case .tooLarge: sentence = "the file is larger than \(cyaml_text_max) bytes"
    case .tooDeep: sentence = "nested more than \(cyaml_depth_max) levels deep"
    case .tooManyNodes: sentence = "more than \(cyaml_nodes_max) values"
    case .anchor: sentence = "anchors (&name) are not supported; quote text that begins with \"&\""
    case .alias: sentence = "aliases (*name) are not supported; quote text that begins with \"*\""
    case .tag: sentence = "tags (!name) are not supported; quote text that begins with \"!\""
    case .secondDocument: sentence = "a second document begins here; a file holds one"
    case .empty: sentence = "the file is empty; it needs listeners and backends"
    case .key: sentence = "a key must be text, not a list or a mapping"
    case .memory: sentence = "out of memory"
    }
  }

  /// `begun` has line 0 when libyaml names no context.
  private init(message: String, at position: Position, begun: Position, text: [UInt8]) {
    self.position = position
    let character = SyntaxProblem.character(at: position, in: text)
    let first = SyntaxProblem.character(at: begun, in: text)
    if let first, first == "*" || first == "&",
      message.contains("alias")
        || message.contains("anchor")
    {
      self.position = begun
      sentence = "quote text that begins with \"\(first)\""
    } else if character == "\t" {
      sentence = "a tab here; YAML indents with spaces"
    } else if let character, message.hasPrefix("found character that cannot start any token") {
      sentence = "quote text that begins with \"\(character)\""
    } else if character == ":" && message.hasPrefix("did not find expected node content")
      || SyntaxProblem.hasBareBrackets(in: text, line: position.line)
    {
      sentence = "\(message); quote addresses, as in \":25\" and \"[::1]:25\""
    } else {
      let place = begun.line > 0 && begun != position ? " (begun at \(begun))" : ""
      sentence = message + place + SyntaxProblem.advice(on: message)
    }
  }

  /// What a person usually did when libyaml says this.
  private static func advice(on message: String) -> String {
    if message.hasPrefix("mapping values are not allowed") {
      return "; quote text that holds \": \", and look at the indentation"
    }
    return message.hasPrefix("did not find expected key") ? "; look at the indentation" : ""
  }

  private static func character(at position: Position, in text: [UInt8]) -> Character? {
    guard position.line > 0, position.column > 0 else { return nil }
    let scalars = line(position.line, of: text).unicodeScalars
    return scalars.dropFirst(position.column - 1).first.map(Character.init)
  }

  /// Whether a line holds `]:` and a digit outside quotes: an IPv6 address that YAML takes for a
  /// list.
  private static func hasBareBrackets(in text: [UInt8], line number: Int) -> Bool {
    let bytes = Array(line(number, of: text).utf8)
    var quote: UInt8?
    for (index, byte) in bytes.enumerated() {
      if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
        quote = quote == nil ? byte : (quote == byte ? nil : quote)
      }
      guard quote == nil, byte == UInt8(ascii: "]"), index + 2 < bytes.count else { continue }
      if bytes[index + 1] == UInt8(ascii: ":"), Scalar.isDigit(bytes[index + 2]) { return true }
    }
    return false
  }

  private static func line(_ number: Int, of text: [UInt8]) -> String {
    var current = 1
    var start = text.startIndex
    while current < number, let end = text[start...].firstIndex(of: UInt8(ascii: "\n")) {
      start = end + 1
      current += 1
    }
    guard current == number else { return "" }
    let end = text[start...].firstIndex(of: UInt8(ascii: "\n")) ?? text.endIndex
    return String(decoding: text[start..<end], as: UTF8.self)
  }
}
