internal import NIOPosix
internal import System

/// A few threads for calls that block, with a bounded queue before them in which callers take
/// turns: who asks for much waits for much, and nobody else does. Workers go before all of them.
final class HTTPLane: Sendable {
  private let pool: NIOThreadPool
  private let capacity: Int
  private let queue = Guarded(Queue())

  private struct Queue {
    /// Waiting and running.
    var taken = 0
    var waiting: [UInt32: [@Sendable () -> Void]] = [:]
    /// Who has something waiting, in the order of their turns.
    var turns: [UInt32] = []

    mutating func append(_ body: @escaping @Sendable () -> Void, of user: UInt32) {
      if waiting[user] == nil { turns.append(user) }
      waiting[user, default: []].append(body)
    }

    mutating func next() -> (@Sendable () -> Void)? {
      guard !turns.isEmpty else { return nil }
      let user = turns.removeFirst()
      let body = waiting[user]?.removeFirst()
      if waiting[user]?.isEmpty == true { waiting[user] = nil } else { turns.append(user) }
      return body
    }
  }

  /// - Parameter capacity: calls that may wait or run at the same time.
  init(threads: Int, capacity: Int) {
    pool = NIOThreadPool(numberOfThreads: threads)
    pool.start()
    self.capacity = capacity
  }

  /// Runs `body` on one of the threads; false, and nothing is run, when the queue is full. A body
  /// that was not begun when the lane stops is never run.
  func submit(for user: UInt32 = 0, _ body: @escaping @Sendable () -> Void) -> Bool {
    let isTaken = queue.withLock { queue in
      guard queue.taken < capacity else { return false }
      queue.taken += 1
      queue.append(body, of: user)
      return true
    }
    guard isTaken else { return false }
    // One turn for each body, though not always that body's.
    pool.submit { [queue] state in
      let next = queue.withLock { $0.next() }
      defer { queue.withLock { $0.taken -= 1 } }
      if case .active = state { next?() }
    }
    return true
  }

  /// Does not wait for what runs.
  func stop() { pool.shutdownGracefully { _ in } }
}
