package import Config
internal import DataPlane
internal import Routing
internal import System
internal import Wire

/// The daemon from start to exit.
///
/// `init` looks at everything that can fail, says so in sentences, and starts the workers; `run`
/// stays until a signal ends it.
package struct Daemon: ~Copyable {
  private let snapshot: Snapshot
  private let pool: WorkerPool
  private let log: ConnectionLog?
  private let signals: Signals
  private let report: ServiceReport
  private var drain: Drain

  /// Why it does not start; sentences for the operator.
  package struct Refusal: Error, Sendable {
    package let sentences: [String]
  }

  /// While draining, the number of live connections is looked at this often.
  private static let lookEveryMs: Int32 = 20
  /// The last log lines may take this long on the way out.
  private static let logGraceMs: UInt32 = 2000

  /// Starts serving. Call it on the main thread, before any other thread was started: signals
  /// are blocked in all of them.
  package init(_ configured: Snapshot) throws(Refusal) {
    Notice.setLevel(configured.log.level)
    let signals = try Daemon.openSignals()
    let report = ServiceReport()
    let handedOver = InheritedSockets.take()
    let activation = Activation(configured, handedOver)
    for sentence in activation.notes { Notice.write(sentence) }
    for sentence in activation.warnings { Notice.write(sentence, .warning) }
    guard activation.errors.isEmpty else { throw Refusal(sentences: activation.errors) }
    let snapshot = activation.snapshot
    let inherited = handedOver.listening
    let facts = Preflight.facts(for: snapshot)
    let preflight = Preflight(snapshot, facts) { address in
      inherited.contains { $0.serves(address) } ? nil : Sockets.obstacle(to: address)
    }
    guard preflight.errors.isEmpty else { throw Refusal(sentences: preflight.errors) }
    for sentence in preflight.warnings { Notice.write(sentence, .warning) }

    let log = try Daemon.openLog(snapshot.log, workers: facts.workers)
    do throws(Refusal) {
      pool = try Daemon.startPool(snapshot, facts, preflight, inherited, log)
    } catch {
      log?.close(waitingAtMostMs: 0)
      throw error
    }
    self.snapshot = snapshot
    self.log = log
    self.signals = signals
    self.report = report
    drain = Drain(drainMs: snapshot.drainMs)
    let listeners = Daemon.counted(snapshot.listeners.count, "listener")
    let workers = Daemon.counted(facts.workers, "worker")
    Notice.write("serving \(listeners) with \(workers) (events: \(pool.source))")
    report.started("\(listeners) with \(workers)")
  }

  /// Serves until a signal ends it; returns when everything is closed.
  package consuming func run() {
    while true {
      let waitMs =
        drain.isServing ? report.waitMs(nowNs: Clock.monotonicNs) : Daemon.lookEveryMs
      _ = try? Readiness.reading(signals.number, waitingAtMostMs: waitMs)
      while let signal = try? signals.next() {
        if take(signal) == .stop { return close() }
      }
      // Whoever waits in the queue of a listener that is being closed is a connection as well.
      let live = pool.liveConnections + pool.openAddresses.count
      let step = drain.look(nowNs: Clock.monotonicNs, liveConnections: live)
      if carryOut(step) == .stop { return close() }
      report.tick(
        nowNs: Clock.monotonicNs, connections: pool.liveConnections, workers: pool.stats)
    }
  }

  // ---- the start ---------------------------------------------------------------------------

  private static func openSignals() throws(Refusal) -> Signals {
    do throws(SystemError) {
      try Signals.block()
      // Connections take what the hard limit allows; nobody has to say `ulimit` first.
      _ = try DescriptorLimit.raise()
      return try Signals()
    } catch {
      throw Refusal(sentences: ["cannot start: \(error)"])
    }
  }

  private static func openLog(
    _ settings: LogSettings, workers: Int
  ) throws(Refusal) -> ConnectionLog? {
    do throws(SystemError) {
      return try ConnectionLog.open(settings, workers: workers)
    } catch {
      throw Refusal(sentences: ["the connection log cannot be written: \(error)"])
    }
  }

  private static func startPool(
    _ snapshot: Snapshot, _ facts: Preflight.Facts, _ preflight: Preflight,
    _ inherited: [InheritedSocket], _ log: ConnectionLog?
  ) throws(Refusal) -> WorkerPool {
    for path in snapshot.socketPaths {
      let isInherited = inherited.contains { $0.serves(.unix(path: path)) }
      if !isInherited { _ = try? Sockets.removeStaleSocket(at: path) }
    }
    let hasRing = facts.ringDenied == nil && snapshot.events != .epoll
    let sink: (@Sendable (Int) -> any RecordSink)? =
      if let log { { _ in RecordLines(log) } } else { nil }
    let settings = PoolSettings(
      events: hasRing ? .ring : .epoll, workers: facts.workers,
      maxConnections: snapshot.limits.maxConnections,
      descriptors: preflight.descriptorsForConnections)
    var book = SocketBook()
    var seriesBook = SeriesBook()
    let step = book.step(to: snapshot.bindings(inherited))
    do throws(WorkerPool.Failure) {
      return try WorkerPool(
        settings,
        table: snapshot.routeTable(
          hasRing: hasRing, sockets: step.entries, series: seriesBook.plan(for: snapshot)),
        listening: step.opened, sink: sink)
    } catch {
      throw Refusal(sentences: [sentence(about: error, snapshot, step)])
    }
  }

  /// What the look before the start could not foresee.
  private static func sentence(
    about failure: WorkerPool.Failure, _ snapshot: Snapshot, _ step: SocketBook.Step
  ) -> String {
    switch failure {
    case .listen(let failure):
      let entry = step.entries.first { $0.tag == failure.address.tag }
      let listener = entry.map { snapshot.listeners[$0.listener].name } ?? ""
      let code = SystemError.Code(rawValue: failure.error.number)
      return "listener \(listener): \(failure.address.address): \(failure.error.call): \(code)"
    case .worker(let error):
      return "a worker cannot start: \(error.call): \(SystemError.Code(rawValue: error.number))"
    }
  }

  private static func counted(_ count: Int, _ noun: String) -> String {
    count == 1 ? "1 \(noun)" : "\(count) \(noun)s"
  }

  // ---- the end -----------------------------------------------------------------------------

  private mutating func take(_ signal: Signals.Signal) -> Drain.Step? {
    switch signal {
    case .terminate:
      return carryOut(drain.endWanted(nowNs: Clock.monotonicNs))
    case .reopenLogs:
      log?.reopen()
    case .reload:
      report.reloading()
      Notice.write(
        "SIGHUP changes nothing: the configuration is read at the start only", .warning)
      report.reloaded(nil)
    }
    return nil
  }

  private func carryOut(_ step: Drain.Step?) -> Drain.Step? {
    switch step {
    case .startDraining:
      let live = Daemon.counted(pool.liveConnections, "connection")
      let seconds = (snapshot.drainMs + 999) / 1000
      Notice.write("draining \(live), for at most \(seconds) s; a second SIGTERM ends them now")
      report.stopping(drainMs: snapshot.drainMs)
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

  private consuming func close() {
    pool.stopAndJoin()
    log?.close(waitingAtMostMs: Daemon.logGraceMs)
    // Only files of sockets that nobody serves any more: a successor keeps its own.
    for path in snapshot.socketPaths { _ = try? Sockets.removeStaleSocket(at: path) }
    Notice.write("ended")
  }
}
