package import Config
package import DataPlane
internal import Synchronization
package import System
package import Wire

/// Looks up the names that clients of forward proxies ask for, on a thread of its own, from `start`
/// to `stop`. Answers hold for their time to live, within bounds; that a name is not there holds
/// for a short while too, so that a client that asks again and again costs no question each time.
package final class Lookups: NameLookup {
  private struct Entry {
    let finding: NameFinding
    let untilNs: UInt64
  }

  private struct State {
    var entries: [HostName: Entry] = [:]
    var waiting: [HostName: [@Sendable () -> Void]] = [:]
    /// Of the names in `waiting`, those that the thread does not know of.
    var fresh: [HostName] = []
    var settings: ResolverSettings
    var isChanged = false
    var isStopping = false
  }

  /// Names asked for at once, and connections that wait for one of them.
  package static let namesLimit = 512
  package static let waitersLimit = 4096
  /// Findings that are kept: 100 bytes each, or a few more.
  package static let entriesLimit = 8192
  private static let missingMs: UInt64 = 5_000
  private static let failedMs: UInt64 = 1_000
  /// Whoever was woken asks again within this, whatever the time to live.
  private static let leastMs: UInt64 = 1_000

  private let state: Guarded<State>
  private let wake: EventCounter
  private let thread = Guarded<Thread?>(nil)

  /// Nothing is looked up before `start`. [EMFILE]
  package init(_ settings: ResolverSettings) throws(SystemError) {
    state = Guarded(State(settings: settings))
    wake = try EventCounter()
  }

  /// There are forward proxies, so that somebody may ask. [EAGAIN: no thread]
  package func start() throws(SystemError) {
    guard thread.withLock({ $0 == nil }) else { return }
    let thread = try Thread(name: "lookups") { [self] in serve() }
    self.thread.withLock { $0 = thread }
  }

  /// Questions under way are asked again by the new settings.
  package func use(_ settings: ResolverSettings) {
    state.withLock { state in
      guard state.settings != settings else { return }
      state.settings = settings
      state.isChanged = true
      state.entries = [:]
      state.fresh = Array(state.waiting.keys)
    }
    wake.signal()
  }

  package func addresses(
    of name: HostName, wake: @escaping @Sendable () -> Void
  ) -> NameFinding {
    let nowNs = Clock.monotonicNs
    let (finding, isFresh) = state.withLock { state -> (NameFinding, Bool) in
      if let entry = state.entries[name], entry.untilNs > nowNs { return (entry.finding, false) }
      guard !state.isStopping else { return (.busy, false) }
      if state.waiting[name] == nil {
        guard state.waiting.count < Lookups.namesLimit else { return (.busy, false) }
        state.fresh.append(name)
        state.waiting[name] = [wake]
        return (.pending, true)
      }
      guard state.waiting[name]?.count ?? 0 < Lookups.waitersLimit else { return (.busy, false) }
      state.waiting[name]?.append(wake)
      return (.pending, false)
    }
    if isFresh { self.wake.signal() }
    return finding
  }

  /// Waits for the thread. Who still waits is not called.
  package func stop() {
    state.withLock { $0.isStopping = true }
    wake.signal()
    thread.withLock { thread in
      thread?.join()
      thread = nil
    }
  }

  private func serve() {
    var work = LookupWork()
    while true {
      wake.clear()
      let (names, settings, isChanged, isStopping) = state.withLock { state in
        defer { (state.fresh, state.isChanged) = ([], false) }
        return (state.fresh, state.settings, state.isChanged, state.isStopping)
      }
      if isStopping { return }
      if isChanged { work.forget() }
      let nowNs = Clock.monotonicNs
      work.begin(names, settings, nowNs)
      for (name, finding, ttlMs) in work.turn(nowNs) { settle(name, finding, ttlMs, settings) }
      work.wait(orReading: wake.number, nowNs)
    }
  }

  private func settle(
    _ name: HostName, _ finding: NameFinding, _ ttlMs: UInt64, _ settings: ResolverSettings
  ) {
    let nowNs = Clock.monotonicNs
    let holdsMs: UInt64 =
      switch finding {
      case .found: min(max(ttlMs, UInt64(settings.minTTLMs)), UInt64(settings.maxTTLMs))
      case .missing: Lookups.missingMs
      case .failed, .pending, .busy: Lookups.failedMs
      }
    let untilNs = nowNs + max(holdsMs, Lookups.leastMs) * 1_000_000
    let called = state.withLock { state in
      if state.entries.count >= Lookups.entriesLimit {
        state.entries = state.entries.filter { $0.value.untilNs > nowNs }
        // All of them are fresh: any may go.
        if state.entries.count >= Lookups.entriesLimit { state.entries = [:] }
      }
      state.entries[name] = Entry(finding: finding, untilNs: untilNs)
      return state.waiting.removeValue(forKey: name) ?? []
    }
    for wake in called { wake() }
  }
}

/// What the thread of the look-ups works with.
private struct LookupWork: ~Copyable {
  private struct Round {
    var found: [DNSReply.Kind: [DNSReply.Value]] = [:]
    var waiting: Set<DNSReply.Kind>
    var ttlMs = UInt64.max
    var failure: String?
    /// When it is over with what one family has; nil as long as there is nothing.
    var untilNs: UInt64?
  }

  private var asker = NameAsker()
  private var rounds: [HostName: Round] = [:]
  private var hosts = HostsFile([])
  private var hostsNs: UInt64 = 0
  private var done: [(HostName, NameFinding, UInt64)] = []

  /// RFC 8305 section 3: "Resolution Delay [...] 50 milliseconds".
  private static let delayNs: UInt64 = 50_000_000
  /// How soon the hosts file is read again.
  private static let hostsHoldNs: UInt64 = 5_000_000_000
  /// This only bounds a clock that jumps.
  private static let longestWaitMs: UInt64 = 60_000

  init() {}

  mutating func forget() {
    asker.forget()
    rounds = [:]
  }

  mutating func begin(_ names: [HostName], _ settings: ResolverSettings, _ nowNs: UInt64) {
    guard !names.isEmpty else { return }
    if hostsNs == 0 || nowNs - hostsNs > LookupWork.hostsHoldNs {
      hosts = NameAsker.hosts
      hostsNs = nowNs
    }
    // What was asked of the former name servers is asked again.
    var names = names
    if asker.open(settings) { names += rounds.keys.filter { !names.contains($0) } }
    for name in names {
      if let values = hosts.addresses(of: name) {
        rounds[name] = nil
        finish(name, values, ttlMs: LookupWork.hostsHoldNs / 1_000_000, failure: nil)
        continue
      }
      rounds[name] = Round(waiting: [.ipv6, .ipv4])
      for kind in [DNSReply.Kind.ipv6, .ipv4] {
        let question = NameBook.Question(name: name, kind: kind)
        if asker.ask(question, isSearched: false) { continue }
        rounds[name] = nil
        finish(name, [], ttlMs: 0, failure: "no resolver")
        break
      }
    }
  }

  /// What has come to be known.
  mutating func turn(_ nowNs: UInt64) -> [(HostName, NameFinding, UInt64)] {
    while let (question, finding) = asker.next() { take(finding, question, nowNs) }
    for (name, round) in rounds {
      if let untilNs = round.untilNs, untilNs <= nowNs { end(name, round) }
    }
    defer { done = [] }
    return done
  }

  private mutating func take(
    _ finding: NameBook.Finding, _ question: NameBook.Question, _ nowNs: UInt64
  ) {
    guard var round = rounds[question.name], round.waiting.remove(question.kind) != nil else {
      return
    }
    switch finding {
    case .found(let values, let ttlMs):
      round.found[question.kind] = values.filter(\.isUsable)
      round.ttlMs = min(round.ttlMs, ttlMs)
      if !values.isEmpty { round.untilNs = nowNs + LookupWork.delayNs }
    case .absent: break
    case .failed(let why): round.failure = why
    }
    rounds[question.name] = round
    if round.waiting.isEmpty { end(question.name, round) }
  }

  private mutating func end(_ name: HostName, _ round: Round) {
    rounds[name] = nil
    let values = (round.found[.ipv6] ?? []) + (round.found[.ipv4] ?? [])
    finish(name, values, ttlMs: round.ttlMs, failure: round.failure)
  }

  /// IPv6 first, and then by turns: RFC 8305 section 4.
  private mutating func finish(
    _ name: HostName, _ values: [DNSReply.Value], ttlMs: UInt64, failure: String?
  ) {
    let all = values.compactMap { SocketAddress($0, port: 0) }
    let usable = all.filter { Sockets.hasWay(to: $0.withPort(443)) }
    let chosen = usable.isEmpty ? all : usable
    let six = chosen.filter { if case .ipv6 = $0 { true } else { false } }
    let four = chosen.filter { if case .ipv6 = $0 { false } else { true } }
    var mixed: [SocketAddress] = []
    for place in 0..<max(six.count, four.count) {
      if place < six.count { mixed.append(six[place]) }
      if place < four.count { mixed.append(four[place]) }
    }
    mixed = Array(mixed.prefix(NameBook.valuesLimit))
    let isKnown = failure == nil || failure == NameBook.Finding.noSuchName
    done.append(
      (
        name, mixed.isEmpty ? isKnown ? .missing : .failed(failure ?? "") : .found(mixed),
        ttlMs
      ))
  }

  mutating func wait(orReading wake: Int32, _ nowNs: UInt64) {
    var waitMs = LookupWork.longestWaitMs
    for round in rounds.values {
      guard let untilNs = round.untilNs else { continue }
      waitMs = min(waitMs, untilNs <= nowNs ? 0 : (untilNs - nowNs + 999_999) / 1_000_000)
    }
    asker.wait(orReading: wake, atMostMs: waitMs)
  }
}
