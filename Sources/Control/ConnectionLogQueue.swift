internal import System

/// The lines of one worker on their way to the log's thread: bounded, and nobody else's, so that
/// workers never wait for each other.
final class ConnectionLogQueue: Sendable {
  private struct State {
    var lines: [UInt8] = []
    var count: UInt64 = 0
    var lost: UInt64 = 0
    /// By reason: lines that were left out.
    var suppressed: [String: UInt64] = [:]
    var isClosed = false
  }

  /// What the log's thread takes at once.
  struct Taken {
    /// Lines in the batch.
    var count: UInt64 = 0
    var lost: UInt64 = 0
    var suppressed: [String: UInt64] = [:]
  }

  private let state: Guarded<State>
  private let limit: Int

  init(limit: Int) {
    state = Guarded(State())
    self.limit = limit
  }

  /// Appends whole lines, all or none.
  ///
  /// - Returns: false when they found no room, and whether the log's thread has to be woken.
  func append(_ lines: [UInt8], count: UInt64) -> (isTaken: Bool, wakes: Bool) {
    state.withLock { state in
      guard !state.isClosed, state.lines.count + lines.count <= limit else {
        state.lost += count
        return (false, false)
      }
      let wasEmpty = state.lines.isEmpty
      state.lines.append(contentsOf: lines)
      state.count += count
      return (true, wasEmpty)
    }
  }

  func noteSuppressed(_ lines: [String: UInt64]) {
    state.withLock { $0.suppressed.merge(lines, uniquingKeysWith: +) }
  }

  /// Takes the lines into `batch`, whose memory the queue goes on with.
  func take(_ batch: inout [UInt8]) -> Taken {
    state.withLock { state in
      swap(&batch, &state.lines)
      defer { (state.count, state.lost, state.suppressed) = (0, 0, [:]) }
      return Taken(count: state.count, lost: state.lost, suppressed: state.suppressed)
    }
  }

  /// What comes from now on is lost.
  func close() { state.withLock { $0.isClosed = true } }
}
