import Control
import Testing

/// Rise, fall, flapping and ejection, by a clock of the test's own.
@Suite struct HealthStateTests {
  private let second: UInt64 = 1_000_000_000
  private let terms = HealthState.Terms(rise: 2, fall: 3, steadyNs: 30_000_000_000)

  /// The changes that a row of results brings, one a second: `+` passed, `-` failed.
  private func changes(_ results: String, _ state: inout HealthState, from start: Int = 0)
    -> String
  {
    var changes = ""
    for (index, result) in results.enumerated() {
      let change = state.take(
        passed: result == "+", terms, nowNs: UInt64(start + index) * second)
      changes += change.map { $0 == .up ? "U" : "D" } ?? "."
    }
    return changes
  }

  @Test(arguments: [
    ("+++---", ".....D"), ("---", "D.."), ("-+-++", "D...U"), ("+--+--+---", ".........D"),
    ("+---++", "...D.U"), ("+---+-+-++", "...D.....U"),
  ])
  func riseAndFall(results: String, wanted: String) {
    var state = HealthState()
    #expect(changes(results, &state) == wanted)
    #expect(state.isUp == (wanted.last { $0 != "." } != "D"))
  }

  /// Each time it goes down soon after it came up, twice as many checks have to pass.
  @Test func flappingDoesNotOscillate() {
    var state = HealthState()
    #expect(changes("+---", &state) == "...D")
    var atS = 4
    var ups: [Int] = []
    for _ in 0..<7 {
      let needed = state.needed(terms)
      ups.append(needed)
      let up = String(repeating: "+", count: needed)
      #expect(changes(up, &state, from: atS) == String(repeating: ".", count: needed - 1) + "U")
      #expect(changes("---", &state, from: atS + needed) == "..D")
      atS += needed + 3
    }
    #expect(ups == [2, 4, 8, 16, 32, 64, 64])
  }

  @Test func steadinessForgives() {
    var state = HealthState()
    #expect(changes("+---++---", &state) == "...D.U..D")
    #expect(state.flaps == 1)
    #expect(changes("++++", &state, from: 9) == "...U")
    #expect(changes("---", &state, from: 60) == "..D")
    #expect(state.flaps == 0)
    #expect(state.needed(terms) == 2)
  }

  // MARK: Ejection

  private let ejecting = Ejection.Terms(failures: 3, timeMs: 5000, longestMs: 60_000)

  @Test func failuresInARow() {
    var ejection = Ejection()
    func failed(_ failure: Ejection.Failure, atNs: UInt64) -> UInt64? {
      ejection.failed(failure, ejecting, nowNs: atNs)
    }
    #expect(failed(.dial, atNs: 0) == nil)
    #expect(failed(.reset, atNs: 1) == nil)
    ejection.worked()
    #expect(failed(.dial, atNs: 2) == nil)
    #expect(failed(.dial, atNs: 3) == nil)
    #expect(failed(.dial, atNs: 4) == 5 * second)
    #expect(ejection.untilNs == 5 * second + 4)
    // What ends after the ejection was begun before it.
    #expect(failed(.dial, atNs: 5) == nil)
    ejection.worked()
    let (early, due) = (
      ejection.look(nowNs: 5 * second + 3), ejection.look(nowNs: 5 * second + 4)
    )
    #expect(!early && due)
    #expect(ejection.untilNs == nil)
  }

  /// A client waited for the whole connect time-out: that is enough.
  @Test func oneTimeoutEjects() {
    var ejection = Ejection()
    let timeNs = ejection.failed(.timeout, ejecting, nowNs: 0)
    #expect(timeNs == 5 * second)
  }

  @Test func failuresFarApartAreStrangers() {
    var ejection = Ejection()
    for index in 0..<10 {
      let atNs = UInt64(index) * (Ejection.windowNs + 1)
      let timeNs = ejection.failed(.dial, ejecting, nowNs: atNs)
      #expect(timeNs == nil)
    }
  }

  @Test func eachTimeTwiceAsLong() {
    var ejection = Ejection()
    var nowNs: UInt64 = 0
    var times: [UInt64] = []
    for _ in 0..<6 {
      // On trial one failure is enough.
      var timeNs: UInt64?
      while timeNs == nil { timeNs = ejection.failed(.dial, ejecting, nowNs: nowNs) }
      times.append((timeNs ?? 0) / second)
      nowNs += timeNs ?? 0
      let isBack = ejection.look(nowNs: nowNs)
      #expect(isBack)
    }
    #expect(times == [5, 10, 20, 40, 60, 60])
    ejection.worked()
    let first = ejection.failed(.dial, ejecting, nowNs: nowNs)
    let second = ejection.failed(.timeout, ejecting, nowNs: nowNs)
    #expect(first == nil)
    #expect(second == 5_000_000_000)
  }
}
