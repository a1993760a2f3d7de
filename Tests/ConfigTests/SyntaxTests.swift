import Testing

@testable import Config

/// What is refused before the schema is looked at, and what YAML's habits come to.
@Suite struct SyntaxTests {
  @Test(arguments: refusals) func refusal(fault: Case) {
    let (snapshot, diagnostics) = Snapshot.parse(fault.text, file: "f.yaml")
    #expect(diagnostics.lines == fault.expected)
    #expect(snapshot == nil)
  }

  static let refusals: [Case] = [
    Case("¦", "the file is empty; it needs listeners and backends"),
    Case("¦# a comment\n\n", "the file is empty; it needs listeners and backends"),
    Case(
      "a: ¦&x [1]", "anchors (&name) are not supported; quote text that begins with \"&\""),
    Case(
      "a: ¦&x { b: c }", "anchors (&name) are not supported; quote text that begins with \"&\""),
    Case("a: b\nc: ¦&x 1", "anchors (&name) are not supported; quote text that begins with \"&\""),
    Case("a: ¦*x", "aliases (*name) are not supported; quote text that begins with \"*\""),
    Case("bind: ¦*:25", "quote text that begins with \"*\""),
    Case("a: ¦!!str x", "tags (!name) are not supported; quote text that begins with \"!\""),
    Case("a: ¦!!seq [x]", "tags (!name) are not supported; quote text that begins with \"!\""),
    Case("a: ¦!x { b: c }", "tags (!name) are not supported; quote text that begins with \"!\""),
    Case("a: 1\n¦---\nb: 2", "a second document begins here; a file holds one"),
    Case("¦[a]: b", "a key must be text, not a list or a mapping"),
    Case("¦{ a: b }: c", "a key must be text, not a list or a mapping"),
    Case("a:\n¦\tb: 1", "a tab here; YAML indents with spaces"),
    Case("a: ¦@x", "quote text that begins with \"@\""),
    Case("é: ¦`x`", "quote text that begins with \"`\""),
    Case(
      "bind: [¦::1]:25",
      "did not find expected node content while parsing a flow node; quote addresses, as in "
        + "\":25\" and \"[::1]:25\""),
    Case(
      "bind: [2001:db8::1]¦:25",
      "did not find expected key while parsing a block mapping; quote addresses, as in \":25\" "
        + "and \"[::1]:25\""),
    Case(
      "a: b¦: c",
      "mapping values are not allowed in this context; quote text that holds \": \", and look at "
        + "the indentation"),
    Case(
      "a:\n  b: 1\n ¦c: 2",
      "did not find expected key while parsing a block mapping (begun at 1:1); look at the "
        + "indentation"),
    Case(
      "a: \"x\n¦", "found unexpected end of stream while scanning a quoted scalar (begun at 1:4)"),
    Case("a: ¦\u{1}", "not valid UTF-8 text: control characters are not allowed"),
    Case(
      String(repeating: "[", count: 32) + "¦[", "nested more than 32 levels deep"),
    Case(File.top("log: { connections: ¦\"/x\\0\" }"), "control character U+0000 in a text"),
    Case(File.top("log: { connections: ¦\"/x\\e[1m\" }"), "control character U+001B in a text"),
    Case(File.top("log: { connections: ¦\"/x\\N\" }"), "control character U+0085 in a text"),
    Case(File.top("log: { connections: ¦\"/x\\L\" }"), "control character U+2028 in a text"),
  ]

  @Test func invalidUTF8() {
    let text = Array("é: ok\nü: ".utf8) + [0xff, 0xfe, 0x0a]
    let diagnostics = Snapshot.parse(text, file: "f.yaml").diagnostics
    #expect(diagnostics.lines == ["f.yaml:2:4: not valid UTF-8 text: invalid leading UTF-8 octet"])
  }

  @Test func utf16IsNotRead() {
    let text: [UInt8] = [0xff, 0xfe] + "a: b".utf16.flatMap { [UInt8($0), 0] }
    let diagnostics = Snapshot.parse(text, file: "f.yaml").diagnostics
    #expect(diagnostics.lines == ["f.yaml:1:1: not valid UTF-8 text: invalid leading UTF-8 octet"])
  }

  @Test func tooLarge() {
    let text = [UInt8](repeating: UInt8(ascii: "#"), count: 8 * 1024 * 1024)
    let fits = Snapshot.parse(text, file: "f.yaml").diagnostics
    #expect(fits.lines == ["f.yaml:1:1: the file is empty; it needs listeners and backends"])
    let larger = Snapshot.parse(text + [0x0a], file: "f.yaml").diagnostics
    #expect(larger.lines == ["f.yaml:1:1: the file has 8388609 bytes; at most 8388608 are read"])
  }

  @Test func tooManyNodes() {
    // The list and its items: the item at byte 2 * 999,999 is node 1,000,001.
    let text = "[" + String(repeating: "a,", count: 1_000_000) + "]"
    #expect(parse(text).diagnostics.lines == ["f.yaml:1:2000000: more than 1000000 values"])
  }

  @Test func manyFaultsAreCounted() {
    let faults = (0..<100_000).map { "wrong-key-\($0): 1" }.joined(separator: "\n")
    let (snapshot, diagnostics) = parse(faults)
    #expect(snapshot == nil)
    #expect(diagnostics.items.count == Diagnostics.keptMax)
    #expect(diagnostics.lines.last == "f.yaml: and 99802 more")
  }

  @Test func longTextsAreShortened() {
    let (_, diagnostics) = parse(File.top("workers: \(String(repeating: "x", count: 100_000))"))
    #expect(diagnostics.items.count == 1)
    let message = diagnostics.items[0].message
    #expect(message.count == 605)
    #expect(message.hasPrefix("workers: \"xxx"))
    #expect(message.hasSuffix("xxx\" is not a whole number"))
  }

  @Test func diagnosticsAreSortedByPosition() {
    let (_, diagnostics) = parse(
      "listeners: { a: { bind: x, backend: c } }\nfoo: 1\nbackends: { b: { servers: [y] } }\n")
    let positions = diagnostics.items.map(\.position)
    #expect(positions.count == 4)
    #expect(positions == positions.sorted())
  }

  /// A scalar is its text, whatever YAML 1.1 would make of it.
  @Test(arguments: [
    ("no", "no"), ("off", "off"), ("\"off\"", "off"), ("'off'", "off"), ("~", "~"),
    ("null", "null"), ("true", "true"), ("25:25", "25:25"), ("1.10", "1.10"), ("0755", "0755"),
    ("0x1F", "0x1F"), ("1_000", "1_000"), ("1e3", "1e3"), (".inf", ".inf"),
    ("2026-11-21", "2026-11-21"), ("=", "="), ("<<", "<<"), ("a#b", "a#b"), ("a # b", "a"),
    ("\"\\u00e9\"", "é"), ("'it''s'", "it's"), ("a\n  b", "a b"), ("\"\"", ""),
  ])
  func scalarIsItsText(yaml: String, text: String) throws {
    var diagnostics = Diagnostics(file: "f.yaml")
    let tree = try #require(Tree(parsing: Array("k: \(yaml)\n".utf8), diagnostics: &diagnostics))
    guard case .mapping(let entries) = tree.root.value,
      case .scalar(let read, _) = entries[0].value.value
    else {
      Issue.record("no mapping of a scalar")
      return
    }
    #expect(read == text)
    #expect(entries[0].value.position == Position(line: 1, column: 4))
    #expect(diagnostics.isEmpty)
  }

  @Test func blockScalarsEndInALineBreakThatNoSettingTakes() {
    let lines = parse(File.top("log:\n  connections: |\n    off\n")).diagnostics.lines
    #expect(lines == ["f.yaml:2:16: control character U+000A in a text"])
  }

  @Test func missingValueIsNoEmptyText() {
    #expect(
      parse(File.top("workers:")).diagnostics.lines
        == ["f.yaml:1:9: workers has no value; it takes auto or a number from 1 to 1024"])
    #expect(
      parse(File.top("workers: ''")).diagnostics.lines
        == ["f.yaml:1:10: workers: \"\" is not a whole number"])
  }
}
