internal import Config
internal import DataPlane
internal import System

/// What the service manager is told of the server's life, with sd_notify(3): when it serves,
/// reloads and ends, how many connections there are, and that it lives.
///
/// `tick` belongs to the thread that everything else waits for, so that a sign of life (WATCHDOG=1)
/// says that this thread goes round; and it is given only when every worker has answered since the
/// last one. A worker without connections sleeps, for hours perhaps: the question makes it turn,
/// and the answer, with a higher count of turns, is the proof that it can. Where nobody started
/// this process to be told, nothing is asked or sent.
final class ServiceReport: Sendable {
  private let notifier: ServiceNotifier?
  private let state = Guarded(State())
  /// Nil without a watchdog.
  private let lookEveryNs: UInt64?

  /// How often the counts are looked at; they are sent when they differ.
  private static let statusEveryNs: UInt64 = 5_000_000_000
  /// Three looks in the time after which the watchdog bites: one may fail.
  private static let looksPerWatchdog: UInt64 = 3
  /// What the end may take beyond the drain: connections that are cut, workers that stop, the log.
  private static let endingMs: UInt64 = 10_000

  init(_ notifier: consuming ServiceNotifier?) {
    lookEveryNs = notifier?.watchdogUs.map { us in
      // A day is as good as any longer time, and cannot overflow.
      max(1, min(us, 86_400_000_000) * 1000 / ServiceReport.looksPerWatchdog)
    }
    self.notifier = notifier
  }

  /// From the environment; before other threads start.
  convenience init() {
    do throws(SystemError) {
      self.init(try ServiceNotifier.take())
    } catch {
      Notice.write("the service manager cannot be told anything: \(error)", .warning)
      self.init(nil)
    }
  }

  // ---- what happens ------------------------------------------------------------------------

  /// It serves: `what` is for people, such as `3 listeners with 2 workers`.
  func started(_ what: String) { becomeReady(what, .serving) }

  func reloading() {
    tell { state in
      state.phase = .reloading
      return [
        .reloading(monotonicUs: Clock.monotonicNs / 1000), .status(state.text(connections: nil)),
      ]
    }
  }

  /// A reload is over. Nil when what was served is served still, because the reload was refused or
  /// because nothing had changed.
  func reloaded(_ what: String?, isRefused: Bool = true) {
    becomeReady(what, what == nil && isRefused ? .refused : .serving)
  }

  /// It stops accepting and ends when its connections have, at the latest after so many
  /// milliseconds, which the service manager is asked to wait.
  func stopping(drainMs: UInt32) {
    tell { state in
      state.phase = .ending
      return [
        .stopping, .status(state.text(connections: nil)),
        .extendTimeout(us: (UInt64(drainMs) + ServiceReport.endingMs) * 1000),
      ]
    }
  }

  private func becomeReady(_ what: String?, _ phase: State.Phase) {
    tell { state in
      if let what { state.serving = what }
      state.phase = phase
      return [.ready, .status(state.text(connections: nil))]
    }
  }

  // ---- the time in between -----------------------------------------------------------------

  /// Until `tick` has something to do; nil when it never has.
  func waitMs(nowNs: UInt64) -> Int32? {
    guard notifier != nil else { return nil }
    let next = state.withLock { [hasLooks = lookEveryNs != nil] in
      hasLooks ? min($0.nextStatusNs, $0.nextLookNs) : $0.nextStatusNs
    }
    return Int32(clamping: next <= nowNs ? 0 : (next - nowNs + 999_999) / 1_000_000)
  }

  /// Sends what is due. `workers` asks each worker for its counts, nil for one that does not
  /// answer; that may take a second, and is done only when a sign of life is due.
  func tick(nowNs: UInt64, connections: Int, workers: () -> [WorkerStats?]) {
    guard notifier != nil else { return }
    let isLookDue = lookEveryNs != nil && state.withLock { nowNs >= $0.nextLookNs }
    let looked = isLookDue ? workers() : nil
    var complaint: String?
    tell { [lookEveryNs] state in
      var messages: [ServiceNotifier.Message] = []
      if let looked, let lookEveryNs {
        state.nextLookNs = nowNs + lookEveryNs
        let before = state.silent
        if state.look(at: looked) { messages.append(.watchdog) }
        if state.silent != before, !state.silent.isEmpty { complaint = state.silence }
      }
      if nowNs >= state.nextStatusNs || complaint != nil {
        state.nextStatusNs = nowNs + ServiceReport.statusEveryNs
        let text = state.text(connections: connections)
        if text != state.said { messages.append(.status(text)) }
        state.said = text
      }
      return messages
    }
    if let complaint { Notice.write(complaint, .warning) }
  }

  /// Sends what `change` returns, in the order of the changes. A service manager that cannot be
  /// reached is complained of once.
  private func tell(_ change: (inout State) -> [ServiceNotifier.Message]) {
    let failure: SystemError? = state.withLock { state in
      let messages = change(&state)
      guard !messages.isEmpty else { return nil }
      do throws(SystemError) {
        try notifier?.send(messages)
        return nil
      } catch {
        defer { state.hasComplained = true }
        return state.hasComplained ? nil : error
      }
    }
    if let failure {
      Notice.write("the service manager cannot be told anything: \(failure)", .warning)
    }
  }
}

private struct State: Sendable {
  enum Phase { case starting, serving, reloading, refused, ending }

  var phase = Phase.starting
  /// What is served, for people.
  var serving = ""
  /// Workers that did not answer at the last look, by number.
  var silent: [Int] = []
  /// Turns of each worker as of its last answer.
  var turns: [Int: UInt64] = [:]
  /// Workers that have turned since the last sign of life.
  var turned: Set<Int> = []
  var nextStatusNs: UInt64 = 0
  var nextLookNs: UInt64 = 0
  /// The status sent last.
  var said = ""
  var hasComplained = false

  /// Whether every worker has completed a turn since this was last true.
  mutating func look(at workers: [WorkerStats?]) -> Bool {
    silent = workers.indices.filter { workers[$0] == nil }
    for (index, stats) in workers.enumerated() {
      guard let stats, stats.turns > turns[index] ?? 0 else { continue }
      turns[index] = stats.turns
      turned.insert(index)
    }
    guard turned.count == workers.count else { return false }
    turned = []
    return true
  }

  var silence: String {
    let numbers = silent.map { "\($0)" }.joined(separator: ", ")
    return silent.count == 1
      ? "worker \(numbers) does not answer" : "workers \(numbers) do not answer"
  }

  func text(connections: Int?) -> String {
    var parts: [String] = []
    switch phase {
    case .starting: parts.append("starting")
    case .serving: parts.append("serving \(serving)")
    case .reloading: parts.append("reloading; serving \(serving)")
    case .refused: parts.append("serving \(serving); the last reload was refused")
    case .ending: parts.append("draining")
    }
    if let connections {
      parts.append(connections == 1 ? "1 connection" : "\(connections) connections")
    }
    if !silent.isEmpty { parts.append(silence) }
    return parts.joined(separator: "; ")
  }
}
