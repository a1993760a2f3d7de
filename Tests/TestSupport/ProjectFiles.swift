/// The project's own files, which tests hold to the program. Paths are from the root of the tree;
/// a file that is missing is an error.
package enum ProjectFiles {
  package static let root =
    "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

  package static func text(_ path: String) throws -> String {
    guard fileExists("\(root)/\(path)") else { throw TestFailure("there is no \(path)") }
    return contents(of: "\(root)/\(path)")
  }

  /// Paths of the files of a directory that end so.
  package static func paths(in directory: String, endingIn ending: String) throws -> [String] {
    let names = entries(of: "\(root)/\(directory)").filter { $0.hasSuffix(ending) }.sorted()
    guard !names.isEmpty else { throw TestFailure("there is no *\(ending) in \(directory)") }
    return names.map { "\(directory)/\($0)" }
  }

  package static func lines(_ path: String) throws -> [Substring] {
    try text(path).split(separator: "\n", omittingEmptySubsequences: false)
  }

  /// The rows of all tables of a document below a heading, without heads; a row is its cells.
  package static func rows(of title: String, in document: String) throws -> [[String]] {
    var rows: [[String]] = []
    var isInside = false
    var isBelowHead = false
    for line in try lines(document) {
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

  /// The configurations that a document shows.
  package static func examples(in document: String) throws -> [String] {
    var examples: [String] = []
    var current: String?
    for line in try lines(document) {
      if line == "```yaml" {
        current = ""
      } else if line == "```", let example = current {
        examples.append(example)
        current = nil
      } else {
        current? += line + "\n"
      }
    }
    return examples
  }
}
