/// One file of a configuration that has several.
package final class SourceFile: Sendable {
  /// As messages name it.
  package let name: String
  /// 0 is the file that includes the others, which follow in the order of reading.
  package let order: Int

  init(name: String, order: Int) {
    self.name = name
    self.order = order
  }
}

extension SourceFile: Hashable {
  package static func == (left: SourceFile, right: SourceFile) -> Bool {
    left.order == right.order && left.name == right.name
  }

  package func hash(into hasher: inout Hasher) { hasher.combine(order) }
}

/// A place in a file: 1-based line, and 1-based column counted in characters.
package struct Position: Hashable, Comparable, Sendable {
  package var line: Int
  package var column: Int
  /// Nil when the configuration is one file.
  package var file: SourceFile?

  package init(line: Int, column: Int, file: SourceFile? = nil) {
    self.line = line
    self.column = column
    self.file = file
  }

  package static func < (left: Position, right: Position) -> Bool {
    (left.file?.order ?? 0, left.line, left.column)
      < (right.file?.order ?? 0, right.line, right.column)
  }
}

extension Position: CustomStringConvertible {
  /// `14:9`, and with several files `conf.d/a.yaml:14:9`.
  package var description: String {
    file.map { "\($0.name):\(line):\(column)" } ?? "\(line):\(column)"
  }
}

/// A value read from the file, with the place to blame when it clashes with another.
struct Located<Value: Sendable>: Sendable {
  var value: Value
  var position: Position
}

extension Located: Equatable where Value: Equatable {}

/// One thing to tell about a file.
package struct Diagnostic: Hashable, Sendable {
  package enum Severity: Hashable, Sendable {
    /// There is no snapshot.
    case error
    case warning
  }

  package var severity: Severity
  package var position: Position
  /// One sentence without a full stop.
  package var message: String

  package init(_ severity: Severity, _ position: Position, _ message: String) {
    self.severity = severity
    self.position = position
    self.message = message
  }

  /// `file:line:column: message`, or `file:line:column: warning: message`, as compilers print it.
  package func line(file: String) -> String {
    let place = position.file == nil ? "\(file):\(position)" : "\(position)"
    return switch severity {
    case .error: "\(place): \(message)"
    case .warning: "\(place): warning: \(message)"
    }
  }
}

/// Everything there is to tell about a file, by position.
package struct Diagnostics: Sendable {
  /// A file with more wrong than this is of another kind altogether; looking for the nearest key
  /// of a million unknown ones would take minutes.
  package static let keptMax = 200

  /// Characters of a message before its middle is left out: texts of the file stand in messages,
  /// and a text can be as long as the file.
  private static let messageMax = 600

  /// As the messages name the file, or the first of several.
  package let file: String
  private var kept: [Diagnostic] = []
  private var dropped = 0
  /// Those that were dropped included.
  private(set) var errorCount = 0

  package var hasErrors: Bool { errorCount > 0 }

  package init(file: String) {
    self.file = file
  }

  /// What was found, sorted by position; at most `keptMax`.
  package var items: [Diagnostic] {
    // The offset keeps the order of finding for one position: `sorted` need not be stable.
    kept.enumerated()
      .sorted { ($0.element.position, $0.offset) < ($1.element.position, $1.offset) }
      .map(\.element)
  }

  /// One printable line for each item; one more when some were dropped.
  package var lines: [String] {
    let lines = items.map { $0.line(file: file) }
    return dropped == 0 ? lines : lines + ["\(file): and \(dropped) more"]
  }

  package var isEmpty: Bool { kept.isEmpty }

  mutating func error(_ position: Position, _ message: @autoclosure () -> String) {
    errorCount += 1
    add(.error, position, message)
  }

  mutating func warn(_ position: Position, _ message: @autoclosure () -> String) {
    add(.warning, position, message)
  }

  /// A message that is not kept is not made either: the search for a nearest name costs.
  private mutating func add(
    _ severity: Diagnostic.Severity, _ position: Position, _ message: () -> String
  ) {
    if kept.count < Diagnostics.keptMax {
      kept.append(Diagnostic(severity, position, Diagnostics.shortened(message())))
    } else {
      dropped += 1
    }
  }

  private static func shortened(_ message: String) -> String {
    guard message.utf8.count > messageMax, message.count > messageMax else { return message }
    return "\(message.prefix(messageMax / 2)) ... \(message.suffix(messageMax / 2))"
  }
}
