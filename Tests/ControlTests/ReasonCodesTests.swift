import Config
import DataPlane
import Glibc
import Routing
import System
import Testing
import Wire

@testable import Control

/// docs/proxy-protocol.md says what the program does, in its reason codes, log fields and examples,
/// and the tests it names are there.
@Suite struct ReasonCodesTests {
  @Test func everyCodeHasItsRowAndNoOtherHas() throws {
    let prefixes = ["proxy.", "dial.", "limit.", "client.", "route."]
    let codes = RejectReason.all.map(\.code).filter { code in
      prefixes.contains { code.hasPrefix($0) }
    }
    #expect(codes.contains("proxy.untrusted") && codes.contains("limit.buffers"))
    let rows = try Docs.rows(of: "Reason codes")
    #expect(rows.map { $0[0] }.sorted() == codes.map { "`\($0)`" }.sorted())
    for row in rows { #expect(row.count == 3 && !row.contains(""), "\(row)") }
    // Elsewhere in the text, too.
    let spelled = try Docs.words().filter { $0.hasPrefix("proxy.") }
    #expect(Set(spelled).subtracting(codes) == [])
  }

  @Test func logFieldsAreThoseOfALine() throws {
    var record = ConnectionRecord(
      endedWallMs: 0, id: UniqueID(high: 1, low: 0), listener: "l",
      client: .ipv4(0xcb00_7107, port: 40001), local: .ipv4(0xc633_6419, port: 143), end: .clientFIN
    )
    var bare: [UInt8] = []
    ConnectionLogLine(.json).append(record, to: &bare)
    record.introduction = .init(
      sender: .ipv4(0xc000_020a, port: 51022), header: "v2", types: [5, 3],
      uniqueID: Array("01M7".utf8), tlvsDropped: 2, firstBytes: [0x45, 0x48])
    var told: [UInt8] = []
    ConnectionLogLine(.json).append(record, to: &told)
    // The line without the fields, up to its brace, then the fields.
    #expect(told.starts(with: bare.dropLast(2)))
    #expect(
      String(decoding: told.dropFirst(bare.count - 2), as: UTF8.self)
        == #","peer":"192.0.2.10:51022","header":"v2","tlvs":"0503","peer_id":"01M7","#
        + #""tlvs_dropped":2,"first_bytes":"4548"}"# + "\n")
    let fields = ["peer", "header", "tlvs", "peer_id", "tlvs_dropped", "first_bytes"]
    #expect(try Docs.rows(of: "The log").map { $0[0] } == fields.map { "`\($0)`" })
  }

  @Test func examplesAreGood() throws {
    let examples = try Docs.examples()
    #expect(examples.count == 11)
    for example in examples {
      let (_, diagnostics) = Snapshot.parse(Array(example.utf8), file: "example.yaml")
      #expect(diagnostics.lines == [], "\(example)")
    }
  }

  @Test func rulesAreCompleteAndTheirTestsExist() throws {
    let sections: [(String, String, ClosedRange<Int>)] = [
      ("General (section 2)", "G", 1...11), ("Version 1 (section 2.1)", "V1", 1...17),
      ("Version 2 (section 2.2)", "V2", 1...23), ("TLVs (section 2.2 and below)", "TLV", 1...19),
      ("Security (section 5)", "S", 1...4),
    ]
    let sources = try Docs.testSources()
    for (title, letter, numbers) in sections {
      let rows = try Docs.rows(of: title)
      #expect(rows.map { $0[0] } == numbers.map { "\(letter)-\($0)" })
      for row in rows {
        for test in row[row.count - 1].split(separator: "`") {
          guard test.contains(where: \.isLetter) else { continue }
          let parts = test.split(separator: ".").map(String.init)
          let exists = sources.contains { source in
            source.contains("func \(parts[parts.count - 1])(")
              && (parts.count == 1 || source.contains("struct \(parts[0]) "))
          }
          #expect(exists, "\(row[0]): there is no test \(test)")
        }
      }
    }
  }
}

/// docs/proxy-protocol.md, taken apart.
private enum Docs {
  private static let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

  private static func text(_ path: String) throws -> String {
    let file = try #require(fopen("\(root)/\(path)", "r"), "\(path)")
    defer { fclose(file) }
    var bytes: [UInt8] = []
    while case let byte = getc(file), byte != EOF { bytes.append(UInt8(byte)) }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func lines() throws -> [Substring] {
    try text("docs/proxy-protocol.md").split(separator: "\n", omittingEmptySubsequences: false)
  }

  /// The rows of all tables below a heading, without heads; a row is its cells.
  static func rows(of title: String) throws -> [[String]] {
    var rows: [[String]] = []
    var isInside = false
    var isBelowHead = false
    for line in try lines() {
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

  /// What is spelled like a code or a file's name.
  static func words() throws -> [String] {
    try text("docs/proxy-protocol.md").split { character in
      !(character.isLetter || character.isNumber || "._-<>".contains(character))
    }.map { word in
      String(word.reversed().drop { !$0.isLetter }.reversed())
    }
  }

  static func examples() throws -> [String] {
    var examples: [String] = []
    var current: String?
    for line in try lines() {
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

  static func testSources() throws -> [String] {
    try [
      "WireTests", "RoutingTests", "ConfigTests", "DataPlaneTests", "ControlTests",
      "ScenarioTests", "PeerTests",
    ].flatMap { target in
      let directory = try #require(opendir("\(root)/Tests/\(target)"), "\(target)")
      defer { closedir(directory) }
      var sources: [String] = []
      while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { start in
          start.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name.hasSuffix(".swift") { sources.append(try text("Tests/\(target)/\(name)")) }
      }
      return sources
    }
  }
}
