package import Config
package import System
internal import Wire

/// Resolves server names on a thread of its own, from `init` to `stop`, and says when what they
/// stand for has changed.
package final class Names: Sendable {
  package typealias Resolution = [ServerTarget: [ResolvedServer]]

  private struct Inbox {
    var wanted: Set<ServerTarget>?
    var hurried: Set<ServerTarget> = []
    var isStopping = false
  }

  private struct Shared {
    var resolution: Resolution = [:]
    /// The wanted targets that were asked for once.
    var settled: Set<ServerTarget> = []
  }

  private let inbox = Guarded(Inbox())
  private let shared = Guarded(Shared())
  private let wake: EventCounter
  private let thread = Guarded<Thread?>(nil)

  /// - Parameters:
  ///   - onNote: for the operator; called on the thread of the names.
  ///   - onChange: `resolution` is another one now; called on the thread of the names, which asks
  ///     nobody until it returns.
  /// - Throws: EMFILE, EAGAIN (threads).
  package init(
    _ settings: ResolverSettings, onNote: @escaping @Sendable (NameBook.Note) -> Void,
    onChange: @escaping @Sendable () -> Void
  ) throws(SystemError) {
    wake = try EventCounter()
    let thread = try Thread(name: "names") { [self] in
      var work = NameWork(settings)
      serve(&work, onNote, onChange)
    }
    self.thread.withLock { $0 = thread }
  }

  /// Replaces what is wanted. What has gone is forgotten, what is new is asked for at once.
  package func want(_ targets: Set<ServerTarget>) {
    inbox.withLock { $0.wanted = targets }
    wake.signal()
  }

  /// A server under this name was not reached.
  package func hurry(_ target: ServerTarget) {
    inbox.withLock { _ = $0.hurried.insert(target) }
    wake.signal()
  }

  /// What the wanted targets stand for now; those that do not resolve yet have no servers.
  package var resolution: Resolution { shared.withLock { $0.resolution } }

  /// Waits until all of these were asked for once, whatever came of it, or the time is over.
  package func settle(_ targets: Set<ServerTarget>, atMostMs: UInt64) {
    let untilNs = Clock.monotonicNs + atMostMs * 1_000_000
    while !shared.withLock({ targets.isSubset(of: $0.settled) }), Clock.monotonicNs < untilNs {
      Thread.sleep(ms: Names.lookEveryMs)
    }
  }

  /// Waits for the thread. Questions under way end without an answer.
  package func stop() {
    inbox.withLock { $0.isStopping = true }
    wake.signal()
    thread.withLock { thread in
      thread?.join()
      thread = nil
    }
  }

  private static let lookEveryMs: UInt32 = 2
  /// Without anything due the thread sleeps for good; this only bounds a clock that jumps.
  private static let longestWaitMs: UInt64 = 60_000

  private func serve(
    _ work: inout NameWork, _ onNote: (NameBook.Note) -> Void, _ onChange: () -> Void
  ) {
    while true {
      wake.clear()
      let mail = inbox.withLock { inbox in
        defer { inbox = Inbox(isStopping: inbox.isStopping) }
        return inbox
      }
      if mail.isStopping { return }
      let nowNs = Clock.monotonicNs
      if let wanted = mail.wanted { work.want(wanted, nowNs) }
      for target in mail.hurried { work.book.hurry(target, nowNs: nowNs) }
      for note in work.turn(nowNs) { onNote(note) }
      let resolution = work.resolution
      let settled = work.settled
      let isChanged = shared.withLock { shared in
        defer { shared = Shared(resolution: resolution, settled: settled) }
        return shared.resolution != resolution
      }
      if isChanged { onChange() }
      work.wait(orReading: wake.number, atMostMs: Names.longestWaitMs)
    }
  }
}

/// What the thread of the names works with.
private struct NameWork: ~Copyable {
  var book: NameBook
  private let settings: ResolverSettings
  private var targets: Set<ServerTarget> = []
  private var asker = NameAsker()

  /// How soon the hosts file is read again.
  private static let hostsTTLMs: UInt64 = 5000

  init(_ settings: ResolverSettings) {
    self.settings = settings
    book = NameBook(minTTLMs: settings.minTTLMs, maxTTLMs: settings.maxTTLMs)
  }

  mutating func want(_ wanted: Set<ServerTarget>, _ nowNs: UInt64) {
    targets = wanted
    book.want(wanted, nowNs: nowNs)
  }

  var resolution: Names.Resolution {
    var resolution: Names.Resolution = [:]
    for target in targets {
      resolution[target] = book.servers(of: target) { Sockets.hasWay(to: $0) }
    }
    return resolution
  }

  var settled: Set<ServerTarget> { targets.filter { book.isSettled($0) } }

  /// Reads the replies that have come, and asks what is due.
  mutating func turn(_ nowNs: UInt64) -> [NameBook.Note] {
    var notes: [NameBook.Note] = []
    while let (question, finding) = asker.next() {
      notes += book.take(finding, for: question, nowNs: nowNs)
    }
    // A service's hosts are known once it is, and a hosts file answers at once, so again.
    while let nextNs = book.nextNs, nextNs <= nowNs {
      // Before anything is taken as asked: questions under way are lost with the old queries.
      if asker.open(settings) { book.forgetQuestions(nowNs: nowNs) }
      let hosts = NameAsker.hosts
      for question in book.due(nowNs: nowNs) {
        if let finding = NameWork.finding(question, in: hosts) {
          notes += book.take(finding, for: question, nowNs: nowNs)
        } else if !asker.ask(question, isSearched: question.kind != .service) {
          // The name of a service is always written in full (RFC 2782).
          notes += book.take(.failed("no resolver"), for: question, nowNs: nowNs)
        }
      }
    }
    return notes
  }

  mutating func wait(orReading wake: Int32, atMostMs: UInt64) {
    let nowNs = Clock.monotonicNs
    var waitMs = atMostMs
    if let nextNs = book.nextNs {
      // Rounded up, lest the last part of a millisecond be spent in a busy loop.
      waitMs = nextNs <= nowNs ? 0 : min(atMostMs, (nextNs - nowNs + 999_999) / 1_000_000)
    }
    asker.wait(orReading: wake, atMostMs: waitMs)
  }

  private static func finding(
    _ question: NameBook.Question, in hosts: HostsFile
  ) -> NameBook.Finding? {
    guard question.kind != .service, let values = hosts.addresses(of: question.name) else {
      return nil
    }
    let wanted = values.filter { value in
      switch (question.kind, value) {
      case (.ipv4, .ipv4), (.ipv6, .ipv6): true
      case (.ipv4, _), (.ipv6, _), (.service, _): false
      }
    }
    return wanted.isEmpty ? .absent : .found(wanted, ttlMs: hostsTTLMs)
  }
}

extension NameBook.Finding {
  static let noSuchName = "no such name"

  /// What a question's end says of its name.
  init(_ outcome: NameQueries.Outcome, to kind: DNSReply.Kind) {
    switch outcome {
    case .reply(let bytes):
      do throws(DNSReply.Fault) {
        let reply = try DNSReply(bytes.span, to: kind)
        guard let ttl = reply.ttl else {
          self = .absent
          return
        }
        self = .found(reply.values, ttlMs: UInt64(ttl) * 1000)
      } catch {
        self = .failed("the name server's reply is broken")
      }
    case .noData: self = .absent
    case .noName: self = .failed(NameBook.Finding.noSuchName)
    case .serverFailed: self = .failed("the name server failed")
    case .refused: self = .failed("the name server refused to answer")
    case .timedOut: self = .failed("no name server answered in time")
    case .unreachable: self = .failed("every name server failed or refused")
    case .badReply: self = .failed("the name server's reply is broken")
    case .other: self = .failed("the resolver failed")
    }
  }
}

extension NameBook.Note {
  /// A sentence for the operator.
  package var sentence: String {
    switch self {
    case .lost(let name, let reason, let kept):
      switch kept {
      case 0: "server name \(name): \(reason); it has no servers until it resolves"
      case 1: "server name \(name): \(reason); its last address is kept"
      default: "server name \(name): \(reason); its last \(kept) addresses are kept"
      }
    case .found(let name, let now):
      "server name \(name) resolves to \(now.joined(separator: ", "))"
    case .changed(let name, let added, let removed):
      "server name \(name) has changed: "
        + (added.map { "\($0) is new" } + removed.map { "\($0) is gone" })
        .joined(separator: ", ")
    }
  }

  package var isTrouble: Bool {
    switch self {
    case .lost: true
    case .found, .changed: false
    }
  }
}
