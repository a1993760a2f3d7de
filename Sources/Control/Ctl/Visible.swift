/// Texts and figures as a terminal may show them.
enum Visible {
  /// Letters of all scripts as they are; what moves the cursor, is not seen or reorders what is
  /// (control and format characters, separators other than the blank) as `\u{1b}`, a backslash
  /// doubled.
  static func text(_ text: String) -> String { escaped(text, backslashes: true) }

  /// The same for a line of text in which a backslash has a meaning, as in YAML.
  static func line(_ text: String) -> String { escaped(text, backslashes: false) }

  private static func escaped(_ text: String, backslashes: Bool) -> String {
    var shown = ""
    for scalar in text.unicodeScalars {
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse,
        .unassigned:
        shown += "\\u{" + String(scalar.value, radix: 16) + "}"
      case .spaceSeparator where scalar != " ":
        shown += "\\u{" + String(scalar.value, radix: 16) + "}"
      default:
        if backslashes, scalar == "\\" { shown += "\\" }
        shown.unicodeScalars.append(scalar)
      }
    }
    return shown
  }

  /// `999`, `1.2K`, `34M`: three figures at most; 1K is 1024.
  static func bytes(_ count: UInt64) -> String {
    var value = Double(count)
    guard value >= 1000 else { return "\(count)" }
    for unit in ["K", "M", "G", "T", "P", "E"] {
      value /= 1024
      // 999.5 would be shown as 1000.
      guard value < 999.5 else { continue }
      return (value < 9.95 ? tenths(value) : "\(Int(value.rounded()))") + unit
    }
    return "\(count)"
  }

  /// `0.4s`, `12s`, `3m20s`, `4h5m`, `2d3h`.
  static func duration(seconds: Double) -> String {
    guard seconds.isFinite, seconds >= 0 else { return "?" }
    if seconds < 9.95 { return tenths(seconds) + "s" }
    let whole = Int(min(seconds, 1e12).rounded())
    func pair(_ large: Int, _ largeUnit: String, _ small: Int, _ smallUnit: String) -> String {
      small == 0 ? "\(large)\(largeUnit)" : "\(large)\(largeUnit)\(small)\(smallUnit)"
    }
    switch whole {
    case ..<60: return "\(whole)s"
    case ..<3600: return pair(whole / 60, "m", whole % 60, "s")
    case ..<86_400: return pair(whole / 3600, "h", whole % 3600 / 60, "m")
    default: return pair(whole / 86_400, "d", whole % 86_400 / 3600, "h")
    }
  }

  private static func tenths(_ value: Double) -> String {
    let tenths = Int((value * 10).rounded())
    return "\(tenths / 10).\(tenths % 10)"
  }
}

/// A table for people: columns as wide as they need to be, nothing that a terminal could obey.
struct TextTable {
  enum Alignment { case left, right }

  private let columns: [(title: String, alignment: Alignment)]
  private var rows: [[String]] = []

  init(_ columns: KeyValuePairs<String, Alignment>) {
    self.columns = columns.map { ($0.key, $0.value) }
  }

  /// - Parameter cells: one for each column.
  mutating func add(_ cells: [String]) {
    rows.append(cells.map(Visible.text))
  }

  /// Lines, each with its line feed; "" without rows.
  var text: String {
    guard !rows.isEmpty else { return "" }
    let all = [columns.map(\.title)] + rows
    let widths = columns.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    var text = ""
    for row in all {
      var line = ""
      for (column, cell) in row.enumerated() {
        let blanks = String(repeating: " ", count: widths[column] - cell.count)
        line += column == 0 ? "" : "  "
        line += columns[column].alignment == .left ? cell + blanks : blanks + cell
      }
      while line.hasSuffix(" ") { line.removeLast() }
      text += line + "\n"
    }
    return text
  }
}
