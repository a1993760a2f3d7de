import Glibc
import System
import TestLaunch

/// A closure on a thread of its own: one end of a connection, usually. Tests that exchange bytes in
/// both directions at once have one job per end and direction, each written straight down.
package final class Job<Value: Sendable>: Sendable {
  private let result = Guarded<Result<Value, any Error>?>(nil)
  private let name: String

  package init(_ name: String, _ body: @escaping @Sendable () throws -> Value) {
    self.name = name
    startThread { [self] in
      let outcome = Result { try body() }
      result.withLock { $0 = outcome }
    }
  }

  /// The same on a thread that has become another user, which only root's can.
  package convenience init(
    _ name: String, as user: UInt32, _ body: @escaping @Sendable () throws -> Value
  ) {
    self.init(name) {
      let failure = launch_become(user)
      guard failure == 0 else { throw TestFailure("user \(user): \(errorText(-failure))") }
      return try body()
    }
  }

  /// Waits for the end and returns or throws what the closure did.
  @discardableResult
  package func value(until deadline: Deadline = Deadline(inMs: 60_000)) throws -> Value {
    while true {
      if let outcome = result.withLock({ $0 }) { return try outcome.get() }
      guard !deadline.hasPassed else { throw TestFailure("\(name) has not ended in time") }
      usleep(1000)
    }
  }
}

private final class ThreadBody: Sendable {
  let run: @Sendable () -> Void
  init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

private func startThread(_ run: @escaping @Sendable () -> Void) {
  var thread = pthread_t()
  let body = Unmanaged.passRetained(ThreadBody(run))
  let failure = pthread_create(
    &thread, nil,
    { argument in
      if let argument { Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().run() }
      return nil
    }, body.toOpaque())
  precondition(failure == 0, "pthread_create: \(errorText(failure))")
  pthread_detach(thread)
}

/// strerror(3), which glibc keeps per thread.
package func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }
