import Testing

@testable import Config

@Suite struct ScalarTests {
  @Test(
    arguments: [
      ("1ms", 1), ("500ms", 500), ("10s", 10_000), ("35m", 2_100_000), ("2h", 7_200_000),
      ("30d", 2_592_000_000), ("720h", 2_592_000_000), ("off", 0),
    ] as [(String, UInt32)])
  func duration(text: String, milliseconds: UInt32) throws {
    #expect(try Scalar.duration(text, mayBeOff: true) == milliseconds)
  }

  @Test(arguments: [
    ("10", "\"10\" has no unit; write 10s or 10ms"),
    ("0", "\"0\" has no unit; write 0s or 0ms"),
    ("10S", "unknown unit \"S\" in \"10S\"; units are ms, s, m, h, d"),
    ("10 s", "unknown unit \" s\" in \"10 s\"; units are ms, s, m, h, d"),
    ("010s", "\"010s\" has a leading zero; numbers are decimal"),
    ("721h", "721h is more than 30d; did you mean off?"),
    ("18446744073709551615d", "18446744073709551615d is more than 30d; did you mean off?"),
    ("0d", "0d would end at once; did you mean off?"),
  ])
  func badDuration(text: String, reason: String) {
    #expect(throws: Unreadable(reason)) { try Scalar.duration(text, mayBeOff: true) }
  }

  @Test(arguments: ["", "s", "-1s", "+1s", "1.5s", "1h30m", "25:25", "٣s", "never"])
  func noDuration(text: String) {
    let sample = "a duration is a whole number and a unit: 500ms, 10s, 5m, 2h, 1d"
    #expect(throws: Unreadable("\"\(text)\" is not understood; \(sample)")) {
      try Scalar.duration(text, mayBeOff: true)
    }
  }

  @Test func zeroWhereItMayBe() throws {
    #expect(try Scalar.duration("0s", mayBeOff: false, mayBeZero: true) == 0)
  }

  @Test(
    arguments: [
      ("0B", 0), ("512B", 512), ("64KiB", 65_536), ("1MiB", 1_048_576), ("2GiB", 2_147_483_648),
    ] as [(String, UInt64)])
  func size(text: String, bytes: UInt64) throws {
    #expect(try Scalar.size(text, limit: 1 << 31) == bytes)
  }

  @Test(arguments: [
    ("64", "\"64\" has no unit; write 64B or 64KiB"),
    ("64kb", "unknown unit \"kb\" in \"64kb\"; units are B, KiB, MiB, GiB"),
    ("64K", "unknown unit \"K\" in \"64K\"; units are B, KiB, MiB, GiB"),
    ("3GiB", "3GiB is more than 2147483648 bytes"),
    ("17179869185GiB", "17179869185GiB is more than 2147483648 bytes"),
    (
      "1.5MiB",
      "\"1.5MiB\" is not understood; a size is a whole number and a unit: 512B, 64KiB, 1MiB, 2GiB"
    ),
  ])
  func badSize(text: String, reason: String) {
    #expect(throws: Unreadable(reason)) { try Scalar.size(text, limit: 1 << 31) }
  }

  @Test(arguments: [
    ("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("same", "same", 0),
    ("connect", "conenct", 1), ("ca", "abc", 3), ("bind", "bnid", 1), ("a", "b", 1),
  ])
  func distance(left: String, right: String, expected: Int) {
    let (left, right) = (Array(left.utf8), Array(right.utf8))
    for limit in 0...7 {
      let within = expected <= limit ? expected : nil
      #expect(Nearest.distance(left, right, atMost: limit) == within)
      #expect(Nearest.distance(right, left, atMost: limit) == within)
    }
  }

  /// The band must not change what the whole table says.
  @Test func distanceIsThatOfTheWholeTable() {
    var random = MutationTests.Random(state: 11)
    var foundCount = 0
    for _ in 0..<2_000 {
      let left = (0..<random.next(below: 9)).map { _ in UInt8(random.next(below: 3)) }
      let right = (0..<random.next(below: 9)).map { _ in UInt8(random.next(below: 3)) }
      let limit = random.next(below: 5)
      let whole = ScalarTests.wholeTable(left, right)
      #expect(Nearest.distance(left, right, atMost: limit) == (whole <= limit ? whole : nil))
      foundCount += whole <= limit ? 1 : 0
    }
    #expect((200..<1_800).contains(foundCount))
  }

  private static func wholeTable(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var table = [[Int]](repeating: Array(0...right.count), count: left.count + 1)
    for i in 0...left.count { table[i][0] = i }
    for i in left.indices {
      for j in right.indices {
        let isSame = left[i] == right[j]
        table[i + 1][j + 1] = min(
          table[i][j] + (isSame ? 0 : 1), table[i][j + 1] + 1, table[i + 1][j] + 1)
        if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] {
          table[i + 1][j + 1] = min(table[i + 1][j + 1], table[i - 1][j - 1] + 1)
        }
      }
    }
    return table[left.count][right.count]
  }

  @Test(
    arguments: [
      ("time-out", "timeouts"), ("TIMEOUTS", "timeouts"), ("half_closed", "half-closed"),
      ("warn", "warning"), ("listener", "listeners"), ("half-clsde", "half-closed"), ("xyz", nil),
      ("", nil), ("v3", nil),
      ("ab", nil), (String(repeating: "timeouts", count: 9), nil),
    ] as [(String, String?)])
  func nearest(text: String, expected: String?) {
    let names = ["timeouts", "half-closed", "warning", "listeners", "v1", "v2"]
    #expect(Nearest.name(to: text, among: names) == expected)
  }
}
