internal import NIOPosix
internal import System

/// A few threads for calls that block, with a bounded queue before them.
final class HTTPLane: Sendable {
  private let pool: NIOThreadPool
  private let capacity: Int
  /// Waiting and running.
  private let taken = Guarded(0)

  /// - Parameter capacity: calls that may wait or run at the same time.
  init(threads: Int, capacity: Int) {
    pool = NIOThreadPool(numberOfThreads: threads)
    pool.start()
    self.capacity = capacity
  }

  /// Runs `body` on one of the threads; false, and nothing is run, when the queue is full. A body
  /// that was not begun when the lane stops is never run.
  func submit(_ body: @escaping @Sendable () -> Void) -> Bool {
    let isTaken = taken.withLock { taken in
      guard taken < capacity else { return false }
      taken += 1
      return true
    }
    guard isTaken else { return false }
    pool.submit { [taken] state in
      defer { taken.withLock { $0 -= 1 } }
      if case .active = state { body() }
    }
    return true
  }

  /// Does not wait for what runs.
  func stop() { pool.shutdownGracefully { _ in } }
}
