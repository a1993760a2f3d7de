internal import AdminAPI
package import Config
internal import DataPlane
internal import Routing
internal import System
internal import Wire

/// The server from start to exit.
///
/// `start` looks at everything that can fail, says so in sentences, and starts the workers; `run`
/// stays until a signal ends it. In between, `Operations` is what may be asked of it, from any
/// thread: what it says stands in `Server+Status.swift`, how it takes another configuration in
/// `Server+Reload.swift`, what an operator may change in `Server+Changes.swift`.
///
/// Three things are guarded, and never one inside another: `inForce`, looked at for a moment;
/// `turn`, which whoever changes something has from the first look to the last; `ending`, how far
/// the end of the process is.
package final class Server: Operations {
  package let events = EventHub()
  /// The file that a reload reads; nil has no file.
  let path: String?
  let pool: WorkerPool
  let logs: LogSwitch
  let report: ServiceReport
  let admin: AdminServer?
  /// Metrics and the live page on TCP.
  let page: PageServer?
  let banList: BanList
  let upstreams: Upstreams
  /// What the system said at the start, and what was warned of then.
  let facts: Preflight.Facts
  let warnings: [String]
  let hasRing: Bool
  let startedNs = Clock.monotonicNs
  let inForce: Guarded<InForce>
  let turn = Guarded(Turn())
  private let signals: Signals
  let ending: Guarded<Drain>
  let certificates = Guarded(CertificateTimes())
  /// Ends the main loop's wait: something has begun that has a time.
  private let wake: EventCounter

  /// Why it does not start; sentences for the operator.
  package struct Refusal: Error, Sendable {
    package let sentences: [String]
  }

  /// Whose turn it is to change something.
  struct Turn {
    var isTaken = false
    /// The process is about to end, and nobody gets a turn any more.
    var isOver = false
  }

  /// While the process drains, the number of live connections is looked at this often.
  private static let lookEveryMs: Int32 = 20
  /// The last log lines may take this long on the way out.
  private static let logGraceMs: UInt32 = 2000

  /// Starts serving. Call it on the main thread, before any other thread was started: signals
  /// are blocked in all of them.
  ///
  /// - Parameter path: where the configuration came from.
  package static func start(_ configured: Snapshot, from path: String?) throws(Refusal) -> Server {
    let signals = try opened { () throws(SystemError) in
      try Signals.block()
      // Connections take what the hard limit allows; nobody has to say `ulimit` first.
      _ = try DescriptorLimit.raise()
      return try Signals()
    }
    let wake = try opened { () throws(SystemError) in try EventCounter() }
    let server = Server(try Beginning(configured), signals, wake, path)
    try server.begin()
    return server
  }

  private static func opened<Thing: ~Copyable>(
    _ open: () throws(SystemError) -> Thing
  ) throws(Refusal) -> Thing {
    do throws(SystemError) {
      return try open()
    } catch {
      throw Refusal(sentences: ["cannot start: \(error)"])
    }
  }

  private init(
    _ beginning: Beginning, _ signals: consuming Signals, _ wake: consuming EventCounter,
    _ path: String?
  ) {
    self.path = path
    logs = beginning.logs
    facts = beginning.facts
    warnings = beginning.warnings
    hasRing = beginning.hasRing
    report = beginning.report
    admin = beginning.admin
    page = beginning.page
    pool = beginning.pool
    banList = beginning.bans
    upstreams = beginning.upstreams
    inForce = Guarded(beginning.inForce)
    ending = Guarded(Drain(drainMs: beginning.inForce.snapshot.drainMs))
    self.wake = wake
    self.signals = signals
  }

  private func begin() throws(Refusal) {
    // The workers run; whatever this side does, a reload of a long file too, they go first.
    Thread.giveWay()
    do throws(AdminFault) {
      try admin?.start(self)
    } catch {
      close()
      throw Refusal(sentences: error.sentences)
    }
    do throws(PageServer.Fault) {
      try page?.start(self) { [self] most in counts().topClients(most) }
    } catch {
      close()
      throw Refusal(sentences: [error.description])
    }
    do throws(SystemError) {
      try upstreams.start(
        events: events,
        onDown: { [pool] server in
          pool.end(
            SessionFilter(backend: server.backend, server: server.server), .serverDown
          ).ended
        },
        onChange: { [weak self] _ in self?.serversChanged() ?? true })
    } catch {
      close()
      throw Refusal(sentences: ["cannot start: \(error)"])
    }
    let what = inForce.withLock { $0.snapshot.summary } + " with "
      + counted(facts.workers, "worker")
    Notice.write("serving \(what) (events: \(pool.source))")
    Machine.letGoOfCode()
    report.started(what)
  }

  /// Serves until a signal ends it; returns when everything is closed.
  package func run() {
    var overload = Overload()
    while true {
      _ = try? Readiness.reading(
        signals.number, wake.number,
        waitingAtMostMs: waitMs(nowNs: Clock.monotonicNs, overload))
      wake.clear()
      while let signal = try? signals.next() {
        if take(signal) == .stop { return close() }
      }
      let now = Clock.monotonicNs
      // Whoever waits in the queue of a listener that is being closed is a connection as well.
      let live = pool.liveConnections + pool.openAddresses.count
      let step = ending.withLock { $0.look(nowNs: now, liveConnections: live) }
      if carryOut(step) == .stop { return close() }
      lookAtDrains(nowNs: now)
      expireBans()
      look(at: &overload, nowNs: now)
      lookAtCertificates(nowNs: now)
      report.tick(nowNs: now, connections: pool.liveConnections, workers: pool.stats)
    }
  }

  private func waitMs(nowNs: UInt64, _ overload: Overload) -> Int32? {
    guard isServing else { return Server.lookEveryMs }
    let times = [
      overload.waitMs(nowNs: nowNs), report.waitMs(nowNs: nowNs), drainWaitMs(nowNs: nowNs),
      banList.waitMs(wallMs: Clock.wallMs), certificateWaitMs(nowNs: nowNs),
    ]
    return times.compactMap { $0 }.min()
  }

  /// Something has begun that the main loop has to look at again.
  func wakeUp() { wake.signal() }

  var isServing: Bool { ending.withLock { $0.isServing } }

  /// How long the end may still take; nil while nobody wants it.
  func endRemainingNs(nowNs: UInt64) -> UInt64? { ending.withLock { $0.remainingNs(nowNs: nowNs) } }

  // ---- signals -----------------------------------------------------------------------------

  private func take(_ signal: Signals.Signal) -> Drain.Step? {
    switch signal {
    case .terminate:
      return carryOut(ending.withLock { $0.endWanted(nowNs: Clock.monotonicNs) })
    case .reopenLogs:
      logs.current?.reopen()
    case .reload:
      reloadAside()
    }
    return nil
  }

  /// On a thread of its own, so that signals are heard meanwhile.
  private func reloadAside() {
    do throws(SystemError) {
      _ = try Thread(name: "reload") { [self] in
        do throws(Failure) {
          _ = try reload(ReloadRequest())
        } catch {
          Notice.write("the reload was refused: \(error.message)", .error)
        }
      }
    } catch {
      Notice.write("the reload was refused: \(error)", .error)
    }
  }

  // ---- the end -----------------------------------------------------------------------------

  private func carryOut(_ step: Drain.Step?) -> Drain.Step? {
    switch step {
    case .startDraining:
      let drainMs = inForce.withLock { $0.snapshot.drainMs }
      let live = counted(pool.liveConnections, "connection")
      let seconds = (drainMs + 999) / 1000
      Notice.write("draining \(live), for at most \(seconds) s; a second SIGTERM ends them now")
      events.post("drain", "the process drains", ["seconds": "\(seconds)"])
      report.stopping(drainMs: drainMs)
      pool.drain()
      // The answers come after the drain was carried out: what was accepted before it is counted
      // from here on, and not taken for nothing left.
      _ = pool.stats()
    case .endAll:
      pool.endAll(.drainDeadline)
    case .killAll:
      pool.endAll(.killed)
    case .stop, nil:
      break
    }
    return step
  }

  private func close() {
    // A reload that is under way is done first, and none comes after it.
    refuseTurns()
    admin?.stop()
    page?.stop()
    upstreams.stop()
    pool.stopAndJoin()
    banList.save(now: true)
    logs.close(logs.change(to: nil), waitingAtMostMs: Server.logGraceMs)
    // Only files of sockets that nobody serves any more: a successor keeps its own.
    for path in inForce.withLock({ $0.snapshot.socketPaths }) {
      _ = try? Sockets.removeStaleSocket(at: path)
    }
    Notice.write("ended")
  }

  // ---- whose turn it is --------------------------------------------------------------------

  /// A change that is short waits for others so long.
  private static let patienceMs: UInt64 = 5000
  private static let patienceStepMs: UInt32 = 5

  /// Runs `body` alone among all that change something.
  ///
  /// - Parameter waits: for whoever is at it, a little; otherwise it is `busy` at once.
  func alone<Result>(
    waits: Bool, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let untilNs = Clock.monotonicNs + (waits ? Server.patienceMs * 1_000_000 : 0)
    while true {
      let (got, isOver) = turn.withLock { turn in
        let got = !turn.isTaken && !turn.isOver
        if got { turn.isTaken = true }
        return (got, turn.isOver)
      }
      if isOver { throw Failure(.refused, "the server is ending") }
      if got { break }
      guard Clock.monotonicNs < untilNs else {
        throw Failure(.busy, "another change is under way")
      }
      Thread.sleep(ms: Server.patienceStepMs)
    }
    defer { turn.withLock { $0.isTaken = false } }
    return try body()
  }

  private func refuseTurns() {
    turn.withLock { $0.isOver = true }
    let untilNs = Clock.monotonicNs + Server.patienceMs * 1_000_000
    while turn.withLock({ $0.isTaken }), Clock.monotonicNs < untilNs {
      Thread.sleep(ms: Server.patienceStepMs)
    }
  }
}

/// `1 worker`, `2 workers`.
func counted(_ count: Int, _ noun: String) -> String {
  count == 1 ? "1 \(noun)" : "\(count) \(noun)s"
}

extension Snapshot {
  /// What is served, for people.
  var summary: String { counted(listeners.count, "listener") }
}
