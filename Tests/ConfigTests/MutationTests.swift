import Config
import Testing

/// A damaged file never crashes the reader, and it either makes a snapshot or says why not.
@Suite struct MutationTests {
  /// xorshift64*: the seed alone names a run.
  struct Random {
    var state: UInt64

    mutating func next(below bound: Int) -> Int {
      state ^= state >> 12
      state ^= state << 25
      state ^= state >> 27
      return Int((state &* 0x2545_f491_4f6c_dd1d) >> 33) % max(bound, 1)
    }
  }

  static let seeds = 1...20
  static let runsForEachSeed = 200
  /// Bytes that mean something to YAML or to an address, besides any byte at all.
  static let telling = Array(":[]{}#&*!|>'\"%@`,-? \t\n\r\0\u{7f}0".utf8)

  @Test(arguments: seeds) func damagedFile(seed: Int) {
    var random = Random(state: UInt64(seed) &* 0x9e37_79b9_7f4a_7c15)
    let valid = Array(SnapshotTests.full.utf8)
    #expect(Snapshot.parse(valid, file: "f.yaml").snapshot != nil)
    var madeCount = 0
    for run in 0..<MutationTests.runsForEachSeed {
      var text = valid
      for _ in 0...random.next(below: 2) { MutationTests.damage(&text, &random) }
      let (snapshot, diagnostics) = Snapshot.parse(text, file: "f.yaml")
      let (lines, place) = (diagnostics.lines, "seed \(seed), run \(run)")
      #expect((snapshot == nil) == diagnostics.hasErrors, "\(place): \(lines)")
      #expect(snapshot != nil || !lines.isEmpty, "\(place)")
      #expect(lines.allSatisfy { isPrintable($0) }, "\(place): \(lines)")
      let lineCount = text.count { $0 == 0x0a || $0 == 0x0d || $0 == 0x85 || $0 == 0xa8 } + 1
      #expect(
        diagnostics.items.allSatisfy {
          (1...lineCount + 1).contains($0.position.line) && $0.position.column >= 1
        }, "\(place): \(lines)")
      // A snapshot prints its plan whatever is in it: indexes hold.
      #expect(snapshot?.plan.isEmpty != true, "\(place)")
      if let snapshot { expectRoundTrip(snapshot, "\(place)") }
      madeCount += snapshot == nil ? 0 : 1
    }
    // Damage that always or never shows would test nothing.
    #expect((1..<MutationTests.runsForEachSeed).contains(madeCount))
  }

  static func damage(_ text: inout [UInt8], _ random: inout Random) {
    let start = random.next(below: text.count)
    let end = min(text.count, start + random.next(below: 40))
    switch random.next(below: 7) {
    case 0 where !text.isEmpty: text[start] ^= 1 << UInt8(random.next(below: 8))
    case 1 where !text.isEmpty: text[start] = telling[random.next(below: telling.count)]
    case 2: text.insert(telling[random.next(below: telling.count)], at: start)
    case 3: text.removeSubrange(start..<end)
    case 4: text.removeSubrange(start...)
    case 5: text.insert(contentsOf: text[start..<end], at: random.next(below: text.count))
    default:
      // Whole lines move, which keeps the syntax and hits the schema.
      var lines = text.split(separator: 0x0a, omittingEmptySubsequences: false)
      let line = lines.remove(at: random.next(below: lines.count))
      lines.insert(line, at: random.next(below: lines.count + 1))
      text = Array(lines.joined(separator: [0x0a]))
    }
  }

  private func isPrintable(_ line: String) -> Bool {
    line.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7f...0x9f).contains($0.value) }
  }
}
