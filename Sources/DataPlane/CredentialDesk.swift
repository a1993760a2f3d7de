package import Routing
internal import Synchronization
internal import System
package import Wire

/// What is known of credentials that a client has sent.
package enum CredentialVerdict: Hashable, Sendable {
  case valid
  /// No such user, or another password.
  case invalid
  /// The source has sent too many of those.
  case throttled
  /// More wait to be checked than may.
  case busy
  /// They are being checked: the wake is called once, and then it is time to ask again.
  case pending
}

/// Checks passwords on a thread of its own, and knows the verdicts again for a while. One for the
/// process; it outlives tables, and what it knows of a user ends with the user's hash.
///
/// Kept of credentials are keyed hashes only, and the passwords of those that wait.
package final class CredentialDesk: Sendable {
  /// Verdicts of each kind that are kept, twice: 24 bytes and what the dictionary adds.
  static let verdictsMost = 8_192
  /// So long an origin may go on being reached by a password that somebody else has changed.
  static let validNs: UInt64 = 300_000_000_000
  /// Short: a wrong password is not asked for again by clients, but by people.
  static let invalidNs: UInt64 = 10_000_000_000
  /// Checks that may wait: of 10 ms each, a client that comes last waits for as long as `auth`.
  static let jobsMost = 256
  /// Wrong credentials of one source within the window, before it is listened to no more until the
  /// window is over.
  package static let failuresMost = 10
  static let windowNs: UInt64 = 60_000_000_000
  static let sourcesMost = 16_384

  package typealias Wake = @Sendable () -> Void

  private struct Job: Sendable {
    let key: KeyedHash.Value
    let password: [UInt8]
    /// Nil where there is no user: it is to take as long as any other.
    let hash: String?
    let standIn: String?
  }

  private struct Verdict: Sendable {
    let isValid: Bool
    let untilNs: UInt64
  }

  private struct Failures: Sendable {
    var count = 0
    var beganNs: UInt64
  }

  private struct State {
    var jobs: [Job] = []
    /// Of credentials that are among the jobs, or being checked.
    var wakes: [KeyedHash.Value: [Wake]] = [:]
    /// The older half goes when the newer one is full.
    var verdicts: [KeyedHash.Value: Verdict] = [:]
    var olderVerdicts: [KeyedHash.Value: Verdict] = [:]
    var failures: [Identity: Failures] = [:]
    var thread: Thread?
    var wake: Wakening?
    var isStopping = false
  }

  /// What the thread waits for.
  private final class Wakening: Sendable {
    let counter: EventCounter
    init() throws(SystemError) { counter = try EventCounter() }
  }

  private let state = Guarded(State())
  private let hash: KeyedHash
  /// Tells the time, for tests.
  private let clock: @Sendable () -> UInt64

  package init(clock: @escaping @Sendable () -> UInt64 = { Clock.monotonicNs }) {
    var random = SystemRandomNumberGenerator()
    hash = KeyedHash(key: (random.next(), random.next()))
    self.clock = clock
  }

  /// Never blocks for longer than it takes to look something up.
  ///
  /// - Parameters:
  ///   - source: whose failures are counted together; nil counts none.
  ///   - wake: called on the desk's thread after `pending`, and not otherwise. It must not ask the
  ///     desk itself.
  package func check(
    user: String, password: [UInt8], in users: UserTable, from source: SocketAddress?,
    wake: @escaping Wake
  ) -> CredentialVerdict {
    let known = users.hash(of: user)
    let key = key(user, password, known)
    let identity = source.flatMap { Identity(source: $0) }
    let nowNs = clock()
    return state.withLock { state in
      let verdict = state.verdicts[key] ?? state.olderVerdicts[key]
      if let verdict, verdict.isValid, verdict.untilNs > nowNs { return .valid }
      // One who is known goes on; all else from there is not even looked at.
      if let identity, let failures = state.failures[identity],
        failures.count >= CredentialDesk.failuresMost,
        nowNs < failures.beganNs + CredentialDesk.windowNs
      {
        return .throttled
      }
      if let verdict, verdict.untilNs > nowNs {
        if let identity { CredentialDesk.count(identity, nowNs, &state.failures) }
        return .invalid
      }
      if state.wakes[key] != nil {
        state.wakes[key]?.append(wake)
        return .pending
      }
      guard state.jobs.count < CredentialDesk.jobsMost, start(&state) else { return .busy }
      state.wakes[key] = [wake]
      state.jobs.append(
        Job(key: key, password: password, hash: known, standIn: users.anyHash))
      state.wake?.counter.signal()
      return .pending
    }
  }

  /// Waits for the thread, which checks nothing any more; those that wait are not woken.
  package func stop() {
    let thread = state.withLock { state in
      state.isStopping = true
      state.wake?.counter.signal()
      return state.thread
    }
    thread?.join()
  }

  /// Lengths and a mark stand between the parts, so that none can be taken for another.
  private func key(_ user: String, _ password: [UInt8], _ known: String?) -> KeyedHash.Value {
    let name = Array(user.utf8)
    var bytes: [UInt8] = [known == nil ? 0 : 1]
    for part in [name, password, Array((known ?? "").utf8)] {
      for shift in [0, 8, 16, 24] { bytes.append(UInt8(truncatingIfNeeded: part.count >> shift)) }
      bytes += part
    }
    return hash.hash(bytes.span)
  }

  private static func count(
    _ identity: Identity, _ nowNs: UInt64, _ failures: inout [Identity: Failures]
  ) {
    if failures[identity] == nil, failures.count >= sourcesMost {
      failures = failures.filter { nowNs < $0.value.beganNs + windowNs }
      // From so many at once one source more or less makes no difference.
      if failures.count >= sourcesMost { failures.removeAll() }
    }
    var entry = failures[identity] ?? Failures(beganNs: nowNs)
    if nowNs >= entry.beganNs + windowNs { entry = Failures(beganNs: nowNs) }
    entry.count += 1
    failures[identity] = entry
  }

  // ---- the thread --------------------------------------------------------------------------

  /// With the first job: whoever has no users needs no thread for them.
  private func start(_ state: inout State) -> Bool {
    if state.thread != nil { return true }
    guard !state.isStopping, let wake = try? Wakening() else { return false }
    state.wake = wake
    state.thread = try? Thread(name: "passwords") { [self] in
      Thread.giveWay()
      serve(wake)
    }
    return state.thread != nil
  }

  private func serve(_ wake: Wakening) {
    while true {
      wake.counter.clear()
      while let job = next() {
        let isValid: Bool
        if let hash = job.hash {
          isValid = PasswordHash.matches(job.password, hash)
        } else {
          if let standIn = job.standIn { _ = PasswordHash.matches(job.password, standIn) }
          isValid = false
        }
        for wake in settle(job, isValid) { wake() }
      }
      if state.withLock({ $0.isStopping }) { return }
      _ = try? Readiness.reading(wake.counter.number)
    }
  }

  private func next() -> Job? {
    state.withLock { state in
      guard !state.isStopping, !state.jobs.isEmpty else { return nil }
      return state.jobs.removeFirst()
    }
  }

  private func settle(_ job: Job, _ isValid: Bool) -> [Wake] {
    let nowNs = clock()
    return state.withLock { state in
      if state.verdicts.count >= CredentialDesk.verdictsMost {
        state.olderVerdicts = state.verdicts
        state.verdicts = [:]
      }
      let heldNs = isValid ? CredentialDesk.validNs : CredentialDesk.invalidNs
      state.verdicts[job.key] = Verdict(isValid: isValid, untilNs: nowNs + heldNs)
      return state.wakes.removeValue(forKey: job.key) ?? []
    }
  }
}
