internal import System
internal import Wire

/// What one connection of a probe saw.
struct ProbeObservation: Sendable {
  enum Ending: Hashable, Sendable {
    /// The probe left first.
    case open
    case closed, reset
  }

  let attempt: ProbeAttempt
  /// Why there was no connection at all.
  var failure: SystemError.Code?
  /// Our own address on this connection.
  var local: SocketAddress?
  var header: [UInt8] = []
  var heard: [UInt8] = []
  /// All times are since the connection stood.
  var firstHeardMs: Int?
  /// When the client's own bytes were sent, and how much had been heard by then.
  var openingMs: Int?
  var heardBeforeOpening = 0
  var hasSaidFarewell = false
  var ending = Ending.open
  var endMs = 0

  /// More than any answer to a probe; what says more is heard no further.
  static let hearingLimit = 8192

  /// The server spoke before it had seen any of a client's bytes.
  var hasSpokenEarly: Bool {
    openingMs == nil ? !heard.isEmpty : heardBeforeOpening > 0
  }

  /// The server ended the connection before it had seen any of a client's bytes, without a word.
  var hasEndedEarly: Bool { openingMs == nil && heard.isEmpty && ending != .open }

  /// The client's own bytes were answered with some.
  var hasAnswered: Bool { openingMs != nil && heard.count > heardBeforeOpening }

  /// What came is what went: an echo, at least of the first bytes.
  var isEcho: Bool {
    let common = min(8, header.count)
    return common > 0 && heard.count >= common && heard.prefix(common) == header.prefix(common)
  }
}

/// What the connections of one probe tell each other while they run.
final class ProbeProgress: Sendable {
  private struct State {
    var left: Int
    var hasGreeted = false
    var worksWithoutHeader = false
  }

  private let state: Guarded<State>

  init(attempts: Int) { state = Guarded(State(left: attempts)) }

  /// Somebody was greeted, so the protocol is one in which the server speaks first.
  var hasGreeted: Bool { state.withLock { $0.hasGreeted } }
  func noteGreeting() { state.withLock { $0.hasGreeted = true } }

  /// Everybody but the one who sends nothing is done, and the server does not wait for a header:
  /// then how long it waits is of no interest.
  var isSettled: Bool { state.withLock { $0.left <= 1 && $0.worksWithoutHeader } }

  func noteEnd(worksWithoutHeader: Bool) {
    state.withLock { state in
      state.left -= 1
      if worksWithoutHeader { state.worksWithoutHeader = true }
    }
  }
}
