import Config
import DataPlane
import Routing
import System
import TestSupport
import Testing
import Wire

@testable import Control

/// docs/proxy-protocol.md says what the program does, in its reason codes, log fields and examples,
/// and the tests it names are there.
@Suite struct ReasonCodesTests {
  private let document = "docs/proxy-protocol.md"

  /// What is spelled like a code or a file's name.
  private func words() throws -> [String] {
    try ProjectFiles.text(document).split { character in
      !(character.isLetter || character.isNumber || "._-<>".contains(character))
    }.map { word in
      String(word.reversed().drop { !$0.isLetter }.reversed())
    }
  }

  @Test func everyCodeHasItsRowAndNoOtherHas() throws {
    let prefixes = ["proxy.", "dial.", "limit.", "client.", "route."]
    let codes = RejectReason.all.map(\.code).filter { code in
      prefixes.contains { code.hasPrefix($0) }
    }
    #expect(codes.contains("proxy.untrusted") && codes.contains("limit.buffers"))
    let rows = try ProjectFiles.rows(of: "Reason codes", in: document)
    #expect(rows.map { $0[0] }.sorted() == codes.map { "`\($0)`" }.sorted())
    for row in rows { #expect(row.count == 3 && !row.contains(""), "\(row)") }
    // Elsewhere in the text, too.
    let spelled = try words().filter { $0.hasPrefix("proxy.") }
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
    let rows = try ProjectFiles.rows(of: "The log", in: document)
    #expect(rows.map { $0[0] } == fields.map { "`\($0)`" })
  }

  @Test func examplesAreGood() throws {
    let examples = try ProjectFiles.examples(in: document)
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
    let sources = try testSources()
    for (title, letter, numbers) in sections {
      let rows = try ProjectFiles.rows(of: title, in: document)
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

/// The tests that the document may name.
private func testSources() throws -> [String] {
  try [
    "WireTests", "RoutingTests", "ConfigTests", "DataPlaneTests", "ControlTests",
    "ScenarioTests", "PeerTests",
  ].flatMap { target in
    try ProjectFiles.paths(in: "Tests/\(target)", endingIn: ".swift").map(ProjectFiles.text)
  }
}
