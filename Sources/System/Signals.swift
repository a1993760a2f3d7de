internal import CLibc

/// The signals a server listens to, read from a descriptor instead of interrupting a thread.
package struct Signals: ~Copyable, Sendable {
  package enum Signal: Sendable, Equatable {
    case terminate  // SIGTERM, SIGINT
    case reload  // SIGHUP
    case reopenLogs  // SIGUSR1
  }

  private let descriptor: Descriptor

  /// Blocks the four signals in the calling thread and in all that it starts from now on, and
  /// ignores SIGPIPE in the whole process: call it on the main thread before any other starts.
  package static func block() throws(SystemError) {
    _ = try checked(system_signals_block(), "sigprocmask")
  }

  package init() throws(SystemError) {
    descriptor = Descriptor(owning: try checked(system_signals_open(), "signalfd"))
  }

  /// Readable when a signal waits; for `Readiness`.
  package var number: Int32 { descriptor.number }

  /// The next waiting signal, or nil; never blocks.
  package func next() throws(SystemError) -> Signal? {
    let result = system_signals_next(descriptor.number)
    if result == -SystemError.Code.tryAgain.rawValue { return nil }
    switch try checked(result, "read signalfd") {
    case 1: return .reload
    case 10: return .reopenLogs
    default: return .terminate
    }
  }
}
