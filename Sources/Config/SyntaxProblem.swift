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
      let context = Position(
        line: Int(outcome.context_line), column: Int(outcome.context_column))
      self = SyntaxProblem(message: message, at: position, begun: context, text: text)
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
    if let first, first == "*" || first == "&", message.contains("alias")
      || message.contains("anchor")
    {
      self.position = begun
      sentence = "quote text that begins with \"\(first)\""
    } else if character == "\t" {
      sentence = "a tab here; YAML indents with spaces"
    } else if let character, message.hasPrefix("found character that cannot start any token") {
      sentence = "quote text that begins with \"\(character)\""
    } else if SyntaxProblem.hasBareBrackets(in: text, from: begun.line, to: position.line) {
      sentence = "\(message); quote addresses in brackets, as in \"[::1]:25\""
    } else if begun.line > 0, begun != position {
      sentence = "\(message) (begun at \(begun))"
    } else {
      sentence = message
    }
  }

  private static func character(at position: Position, in text: [UInt8]) -> Character? {
    guard position.line > 0, position.column > 0 else { return nil }
    let scalars = line(position.line, of: text).unicodeScalars
    return scalars.dropFirst(position.column - 1).first.map(Character.init)
  }

  /// Whether a line holds `]:` and a digit, which is an IPv6 address that YAML takes for a list.
  private static func hasBareBrackets(in text: [UInt8], from first: Int, to last: Int) -> Bool {
    // The list that was taken for one ends on the line of the address or the next.
    guard last > 0 else { return false }
    let lines = [max(first, last - 1), last].filter { $0 > 0 }.map { Array(line($0, of: text).utf8) }
    return lines.contains { line in
      line.indices.dropLast(2).contains { index in
        line[index] == UInt8(ascii: "]") && line[index + 1] == UInt8(ascii: ":")
          && (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(line[index + 2])
      }
    }
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
