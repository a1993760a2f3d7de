import TestSupport
import Testing

/// docs/constants.md has every constant of the engine with its value, and no others.
@Suite struct ConstantsTests {
  private static let sources = ["internal.h", "ring.c", "epoll.c", "pipe.c", "preface.c"]

  /// The members of unnamed enums, each with its value as the source writes it.
  private func constants() throws -> [String: String] {
    var found: [String: String] = [:]
    for source in Self.sources {
      var isInside = false
      for line in try ProjectFiles.lines("CSources/CSluice/\(source)") {
        if line.hasPrefix("enum {") { isInside = true }
        let code = line.prefix { $0 != "/" }.drop { $0 != "{" || !line.hasPrefix("enum {") }
        let members = line.hasPrefix("enum {") ? code.dropFirst() : line.prefix { $0 != "/" }
        if isInside {
          for member in members.split(whereSeparator: { ",};".contains($0) }) {
            let sides = member.split(separator: "=").map(trimmed)
            if sides.count == 2 { found[sides[0]] = sides[1] }
          }
        }
        if line.contains("};") { isInside = false }
      }
    }
    return found
  }

  private func trimmed(_ text: Substring) -> String {
    String(text.drop { $0 == " " }.prefix { $0 != " " })
  }

  @Test func theDocumentHasThemAll() throws {
    let constants = try constants()
    #expect(constants.count > 40)
    var told: [String: String] = [:]
    for title in [
      "Lanes and pipes", "Fairness", "Waiting", "Sockets and ends", "Balance between workers",
    ] {
      for row in try ProjectFiles.rows(of: title, in: "docs/constants.md") where row.count == 3 {
        told[row[0].filter { $0 != "`" }] = row[1].filter { $0 != "`" }
        #expect(!row[2].isEmpty, "\(row[0]): why?")
      }
    }
    for (name, value) in constants {
      #expect(told[name] == value, "\(name) = \(value) in the source")
    }
    #expect(Set(told.keys).subtracting(constants.keys).isEmpty)
  }
}
