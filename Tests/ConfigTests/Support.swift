import Config

/// Files with one thing of interest in them. `¦` marks the places that diagnostics must name.
enum File {
  /// A whole file around one more line at the top level.
  static func top(_ line: String) -> String {
    "\(line)\nlisteners: { a: { bind: \":25\", backend: b } }\n"
      + "backends: { b: { servers: [127.0.0.1:1] } }\n"
  }

  /// A whole file around the body of the listener `a`, whose backend is `b`.
  static func listener(_ body: String) -> String {
    "listeners:\n  a: \(body)\nbackends:\n  b: { servers: [127.0.0.1:1] }\n"
  }

  /// A whole file around one `bind` value.
  static func bind(_ value: String) -> String { listener("{ backend: b, bind: \(value) }") }

  /// A whole file around the body of the backend `b`.
  static func backend(_ body: String) -> String {
    "listeners:\n  a: { bind: \":25\", backend: b }\nbackends:\n  b: \(body)\n"
  }

  /// A whole file around one `servers` value.
  static func servers(_ value: String) -> String { backend("{ servers: \(value) }") }
}

/// A file with marks: what it must say, at the marks, and nothing else. A message that begins with
/// `warning: ` is one.
struct Case: CustomStringConvertible, Sendable {
  var marked: String
  var messages: [String]

  init(_ marked: String, _ messages: String...) {
    self.marked = marked
    self.messages = messages
  }

  var text: [UInt8] { Array(marked.replacing("¦", with: "").utf8) }

  /// `f.yaml:line:column: message`, the n-th message at the n-th mark.
  var expected: [String] {
    var places: [String] = []
    var (line, column) = (1, 1)
    for character in marked {
      switch character {
      case "¦": places.append("\(line):\(column)")
      case "\n": (line, column) = (line + 1, 1)
      default: column += 1
      }
    }
    // One mark more or less shows as a line that no run can print.
    guard places.count == messages.count else { return ["\(places.count) marks"] }
    return zip(places, messages).map { "f.yaml:\($0): \($1)" }
  }

  var description: String { messages.first ?? marked }
}

func parse(_ text: String) -> (snapshot: Snapshot?, diagnostics: Diagnostics) {
  Snapshot.parse(Array(text.utf8), file: "f.yaml")
}
