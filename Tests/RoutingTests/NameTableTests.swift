import Routing
import Testing
import Wire

@Suite struct NamePatternTests {
  @Test(arguments: [
    ("mail.example.com", "mail.example.com"), ("MAIL.Example.COM.", "mail.example.com"),
    ("*.example.com", "*.example.com"), (".example.com", ".example.com"), ("*.com", "*.com"),
    (".xn--bcher-kva.example", ".xn--bcher-kva.example"),
  ])
  func isReadAndWritten(text: String, canonical: String) {
    #expect(NamePattern(text)?.description == canonical)
  }

  @Test(arguments: [
    "", ".", "*", "*.", "**.example.com", "m*.example.com", "*example.com", "mail.*.com",
    "..example.com", "*..example.com", "192.0.2.1", "*.192", "bücher.example", "a b.example",
    ".\(String(repeating: "a.", count: 125))aa",
  ])
  func isRefused(text: String) {
    #expect(NamePattern(text) == nil)
  }

  /// One label in place of a star, any number in front of a dot, and never the name itself.
  @Test(arguments: [
    ("example.com", ["example.com"]),
    ("*.example.com", ["a.example.com", "mail.example.com"]),
    (".example.com", ["a.example.com", "a.b.example.com", "mail.example.com"]),
  ])
  func matches(pattern: String, matched: [String]) throws {
    let pattern = try #require(NamePattern(pattern))
    let names = [
      "example.com", "a.example.com", "mail.example.com", "a.b.example.com", "aexample.com",
      "com", "example.com.a", "example", "xexample.com",
    ]
    let found = names.filter { pattern.matches(HostName($0)!) }
    #expect(found == names.filter { matched.contains($0) })
  }

  /// A pattern covers another exactly if no name shows the opposite.
  @Test func coversWhatItMatchesAllOf() throws {
    let texts = ["b.c", "a.b.c", "*.b.c", ".b.c", "*.a.b.c", ".a.b.c", "*.c", ".c", "x.b.c", "c"]
    let patterns = texts.map { NamePattern($0)! }
    let labels = ["a", "b", "c", "x"]
    var names = labels
    for _ in 0..<4 {
      names = labels + labels.flatMap { label in names.map { "\(label).\($0)" } }
    }
    let hosts = names.filter { $0.hasSuffix("c") }.compactMap { HostName($0) }
    for one in patterns {
      let left = hosts.filter { !one.matches($0) }
      for other in patterns {
        let isCovered = !left.contains { other.matches($0) }
        #expect(one.covers(other) == isCovered, "\(one) and \(other)")
      }
    }
  }
}

/// The same seed gives the same values everywhere: Knuth's MMIX generator.
private struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return state ^ state >> 29
  }
}

@Suite struct NameTableTests {
  private func table(_ rules: [(String, UInt32)]) -> NameTable {
    NameTable(rules.map { (NamePattern($0.0)!, $0.1) })
  }

  private func all(_ table: NameTable, _ name: String) -> [UInt32] {
    let bytes = Array(name.utf8)
    var found: [UInt32] = []
    var floor: UInt32 = 0
    while let next = table.first(for: bytes.span, from: floor) {
      found.append(next)
      floor = next + 1
    }
    return found
  }

  @Test func everyRuleThatMatchesInOrder() {
    let table = table([
      (".example.com", 5), ("*.example.com", 3), ("mail.example.com", 9), ("mail.example.com", 1),
      (".com", 7), ("other.example.com", 0), (".mail.example.com", 2), ("*.com", 4),
    ])
    #expect(all(table, "mail.example.com") == [1, 3, 5, 7, 9])
    #expect(all(table, "a.mail.example.com") == [2, 5, 7])
    #expect(all(table, "example.com") == [4, 7])
    #expect(all(table, "com") == [])
    #expect(all(table, "example.org") == [])
    #expect(all(table, "") == [])
  }

  @Test func nothingInAnEmptyOne() {
    #expect(all(table([]), "mail.example.com") == [])
  }

  /// Whatever the rules and names: what each pattern says by itself, in order.
  @Test(arguments: 0..<20 as Range<UInt64>)
  func asEachPatternByItself(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let labels = ["a", "b", "c", "aa", "mail", "x-1"]
    func domain() -> String {
      (0..<Int.random(in: 1...5, using: &generator)).map { _ in
        labels.randomElement(using: &generator)!
      }.joined(separator: ".")
    }
    let rules = (0..<200).map { _ in
      let leader = ["", "*.", "."].randomElement(using: &generator)!
      return (NamePattern(leader + domain())!, UInt32.random(in: 0..<100, using: &generator))
    }
    let table = NameTable(rules.map { ($0.0, $0.1) })
    for _ in 0..<300 {
      let name = HostName(domain())!
      let expected = Set(rules.filter { $0.0.matches(name) }.map(\.1)).sorted()
      #expect(all(table, name.text) == expected, "\(name)")
    }
  }

  /// Deeper than there are bits for: still found.
  @Test func namesOfManyLabels() {
    let deep = (0..<100).map { _ in "a" }.joined(separator: ".")
    let table = table([(".\(deep)", 1), (deep, 2), ("*.\(deep)", 3)])
    #expect(all(table, "b.\(deep)") == [1, 3])
    #expect(all(table, deep) == [2])
    #expect(all(table, "a.a.\(deep)") == [1])
  }

  @Test func aHundredThousandNames() {
    let table = NameTable(
      (0..<100_000).map { (NamePattern("host-\($0).tenant-\($0 % 1000).example")!, UInt32($0)) })
    for number in stride(from: 0, to: 100_000, by: 997) {
      #expect(all(table, "host-\(number).tenant-\(number % 1000).example") == [UInt32(number)])
    }
    #expect(all(table, "host-1.tenant-2.example") == [])
  }
}
