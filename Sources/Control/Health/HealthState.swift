/// Whether a server passes its checks, by the rules of rise and fall. Pure.
///
/// A server is taken for up until a check says otherwise, and the very first check is believed at
/// once: what has never worked needs no further failures. One that goes down again soon after it
/// came up has to pass twice as many checks each time, up to 32 times as many, so that a server
/// that flaps stays down instead of taking every other client along.
package struct HealthState: Hashable, Sendable {
  package struct Terms: Hashable, Sendable {
    package var rise: Int
    package var fall: Int
    /// One that stays up for so long has stopped flapping.
    package var steadyNs: UInt64

    package init(rise: Int, fall: Int, steadyNs: UInt64) {
      self.rise = rise
      self.fall = fall
      self.steadyNs = steadyNs
    }
  }

  package enum Change: Hashable, Sendable { case up, down }

  package private(set) var isUp = true
  /// Results in a row that speak against the state.
  private var streak = 0
  private var isKnown = false
  /// How often it went down without having been steady.
  package private(set) var flaps = 0
  private var upSinceNs: UInt64?

  private static let mostDoublings = 5

  package init() {}

  /// How many checks it must pass in a row to be up again.
  package func needed(_ terms: Terms) -> Int { terms.rise << min(flaps, HealthState.mostDoublings) }

  package mutating func take(passed: Bool, _ terms: Terms, nowNs: UInt64) -> Change? {
    let isFirst = !isKnown
    isKnown = true
    guard passed != isUp else {
      streak = 0
      return nil
    }
    streak += 1
    if isUp {
      guard isFirst || streak >= terms.fall else { return nil }
      if let upSinceNs {
        flaps = nowNs - upSinceNs < terms.steadyNs ? flaps + 1 : 0
      }
      turn(up: false, nowNs)
      return .down
    }
    guard streak >= needed(terms) else { return nil }
    turn(up: true, nowNs)
    return .up
  }

  private mutating func turn(up: Bool, _ nowNs: UInt64) {
    isUp = up
    streak = 0
    upSinceNs = up ? nowNs : nil
  }
}
