internal import System

/// A place for one answer from a worker to a thread that waits for it, with a deadline.
final class Reply<Value: Sendable>: Sendable {
  private let value: Guarded<Value?> = Guarded(nil)
  private let arrived: EventCounter

  init() throws(SystemError) { arrived = try EventCounter() }

  func send(_ answer: Value) {
    value.withLock { $0 = answer }
    arrived.signal()
  }

  /// - Returns: nil when no answer came in time.
  func wait(atMostMs: Int32) -> Value? {
    _ = try? Readiness.reading(arrived.number, waitingAtMostMs: atMostMs)
    return value.withLock { $0 }
  }
}
