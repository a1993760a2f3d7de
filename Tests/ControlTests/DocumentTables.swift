import TestSupport
import Testing

/// The tables of the documents in docs/.
enum DocumentTables {
  static let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

  /// The rows of all tables below a heading, without heads; a row is its cells.
  static func rows(of title: String, in document: String) -> [[String]] {
    var rows: [[String]] = []
    var isInside = false
    var isBelowHead = false
    let text = contents(of: "\(root)/docs/\(document)")
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("#") { isInside = line.drop { $0 == "#" } == " \(title)" }
      guard isInside, line.hasPrefix("|") else {
        isBelowHead = false
        continue
      }
      if isBelowHead {
        let cells = line.split(separator: "|", omittingEmptySubsequences: false)
        rows.append(cells.dropFirst().dropLast().map { String($0.dropFirst().dropLast()) })
      }
      if line.hasPrefix("|---") { isBelowHead = true }
    }
    return rows
  }

  static var documents: [String] {
    entries(of: "\(root)/docs").filter { $0.hasSuffix(".md") }.sorted()
  }
}
