import Glibc

/// What a test throws when something did not happen; the text says what was expected and what was
/// there instead.
package struct TestFailure: Error, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}

/// Microseconds of CLOCK_MONOTONIC, clock_gettime(2).
package func monotonicUs() -> Int64 {
  var now = timespec()
  clock_gettime(CLOCK_MONOTONIC, &now)
  return Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1000
}

package func pause(ms: Int) {
  guard ms > 0 else { return }
  usleep(UInt32(ms) * 1000)
}

/// A point in time after which a wait is a failure. Every wait of every test has one.
package struct Deadline: Sendable {
  private let atUs: Int64

  package init(inMs milliseconds: Int) { atUs = monotonicUs() + Int64(milliseconds) * 1000 }

  /// For what takes milliseconds when all is well; long enough for a busy machine and a
  /// sanitizer build, since it is waited for only by a test that fails anyway.
  package static var generous: Deadline { Deadline(inMs: 20_000) }

  package var hasPassed: Bool { remainingMs == 0 }

  /// Rounded up, so that a wait of this length ends at or after the deadline.
  package var remainingMs: Int32 {
    let left = (atUs - monotonicUs() + 999) / 1000
    return Int32(max(0, min(left, Int64(Int32.max))))
  }
}

/// Asks every few milliseconds until `condition` holds; throws with `what` when it never does.
package func wait(
  for what: @autoclosure () -> String, until deadline: Deadline = .generous,
  _ condition: () throws -> Bool
) throws {
  while try !condition() {
    guard !deadline.hasPassed else { throw TestFailure("still waiting for \(what())") }
    pause(ms: 5)
  }
}

/// Milliseconds that `body` took, beside its result.
package func timed<Result>(_ body: () throws -> Result) rethrows -> (Result, ms: Double) {
  let start = monotonicUs()
  let result = try body()
  return (result, Double(monotonicUs() - start) / 1000)
}
