import Config
import DataPlane
import Routing
import TestSupport
import Testing

@testable import Control

/// docs/operations.md says what the program does: its metrics and reason codes.
@Suite struct OperationsDocumentTests {
  @Test func everyMetricHasItsRowAndNoOtherHas() throws {
    let rows = try ProjectFiles.rows(of: "Metrics", in: "docs/operations.md")
    #expect(
      rows
        == MetricFamily.all.map { family in
          let labels = family.labels.map { "`\($0)`" }.joined(separator: ", ")
          return [
            "`\(family.name)`", family.kind.rawValue, labels.isEmpty ? "–" : labels, family.help,
          ]
        })
  }

  @Test func everyLogFieldAndEndIsNamed() throws {
    let rows = try ProjectFiles.rows(of: "Connection log", in: "docs/operations.md")
    #expect(rows.map { $0[0] } == LogField.allCases.map { "`\($0.rawValue)`" })
    let text = try ProjectFiles.text("docs/operations.md")
    for end in ConnectionEnd.allCases { #expect(text.contains("`\(end.rawValue)`"), "\(end)") }
  }

  /// A code's row may stand in any document, below the heading that is the same everywhere.
  @Test func everyReasonHasARowAndNoOtherHas() throws {
    let documents = try ProjectFiles.paths(in: "docs", endingIn: ".md")
    let rows = try documents.flatMap { try ProjectFiles.rows(of: "Reason codes", in: $0) }
    #expect(Set(rows.map { $0[0] }) == Set(RejectReason.all.map { "`\($0.code)`" }))
    for row in rows { #expect(row.count == 3 && !row.contains(""), "\(row)") }
  }

  /// The dashboard asks for metrics that exist, with labels that they have.
  @Test func theDashboardAsksForWhatThereIs() throws {
    let text = try ProjectFiles.text("docs/grafana-dashboard.json")
    let dashboard = try JSONValue(text)
    let queries = expressions(in: dashboard)
    #expect(queries.count >= 20)
    var asked: Set<String> = []
    for query in queries {
      let words = query.split { !($0.isLetter || $0.isNumber || $0 == "_") }.map(String.init)
      for word in words where word.hasPrefix("sluice_") || word.hasPrefix("process_") {
        let family = MetricFamily.all.first { family in
          switch family.kind {
          case .counter, .gauge: word == family.name
          case .summary: ["_sum", "_count"].contains { word == family.name + $0 }
          case .histogram: ["_bucket", "_sum", "_count"].contains { word == family.name + $0 }
          }
        }
        #expect(family != nil, "\(word) in \(query)")
        asked.insert(family?.name ?? "")
      }
    }
    // Most of what there is has its place on the board.
    #expect(asked.count > MetricFamily.all.count / 2, "\(asked.count)")
    let known = Set(MetricFamily.all.flatMap(\.labels)).union(["le", "instance", "job"])
    for query in queries {
      for label in labels(in: query) { #expect(known.contains(label), "\(label) in \(query)") }
    }
  }

  private func expressions(in value: JSONValue) -> [String] {
    switch value {
    case .object(let members):
      return members.sorted { $0.key < $1.key }.flatMap { key, value -> [String] in
        if key == "expr", case .string(let text) = value { return [text] }
        return expressions(in: value)
      }
    case .array(let elements): return elements.flatMap { expressions(in: $0) }
    default: return []
    }
  }

  /// What stands in `by (…)`, and before `=` in braces.
  private func labels(in query: String) -> [String] {
    var labels: [String] = []
    for part in query.components(after: "by (", until: ")") {
      labels += part.split(separator: ",").map { String($0.filter { $0 != " " }) }
    }
    for part in query.components(after: "{", until: "}") {
      labels += part.split(separator: ",").map { String($0.prefix { $0.isLetter || $0 == "_" }) }
    }
    return labels
  }
}

extension String {
  fileprivate func components(after opening: String, until closing: Character) -> [Substring] {
    var found: [Substring] = []
    var rest = self[...]
    while let start = rest.range(of: opening) {
      let inside = rest[start...].prefix { $0 != closing }
      found.append(inside)
      rest = rest[inside.endIndex...]
    }
    return found
  }
}

extension Substring {
  /// Where the text behind `part` begins.
  fileprivate func range(of part: String) -> Index? {
    var position = startIndex
    while position < endIndex {
      if self[position...].hasPrefix(part) { return index(position, offsetBy: part.count) }
      position = index(after: position)
    }
    return nil
  }
}
