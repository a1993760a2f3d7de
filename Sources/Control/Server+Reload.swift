package import AdminAPI
internal import Config
internal import DataPlane
internal import Routing
internal import System
internal import Wire

/// How the server takes another configuration: prepared as a whole, then put in force as a whole.
///
/// Whatever fails while it is prepared leaves everything as it was, down to the accept queues.
/// Putting it in force cannot fail.
extension Server {
  /// Why a configuration was not taken; sentences, with the place in the file where there is one.
  struct Refused: Error {
    let sentences: [String]
  }

  /// A configuration that was read and found good, with what it takes to put it in force.
  private struct Prepared: Sendable {
    let passage: Passage
    let plan: ReloadPlan
    var warnings: [String]
    let lost: [String]
    let opened: OpenedSockets
    /// What `admin` becomes; nil is what it is.
    let admin: AdminServer.Change?
    /// The connection log that takes the place of the present one; nil leaves that.
    let log: LogChange?
  }

  private struct LogChange: Sendable {
    let log: ConnectionLog?
  }

  package func reload(_ request: ReloadRequest) throws(Failure) -> ReloadResult {
    let startNs = Clock.monotonicNs
    var result = try alone(waits: false) { () throws(Failure) in
      guard isServing else { throw Failure(.refused, "the server is ending") }
      if !request.dryRun { report.reloading() }
      var result: ReloadResult
      do throws(Refused) {
        result = try take(request)
      } catch {
        result = ReloadResult(
          outcome: .refused, generation: inForce.withLock { $0.generation },
          problems: error.sentences)
      }
      result.tookMs = Double(Clock.monotonicNs - startNs) / 1e6
      note(result, request)
      return result
    }
    if result.outcome == .applied, let seconds = request.waitDrainedSeconds {
      result.undrained = waitDrained(seconds: seconds)
    }
    return result
  }

  private func take(_ request: ReloadRequest) throws(Refused) -> ReloadResult {
    let former = inForce.withLock { $0 }
    guard let path else { throw Refused(sentences: ["this server was started without a file"]) }
    let wanted = try Thread.aside("reload") { Server.read(path, former) }.get()
    let prepared: Prepared
    defer { if !request.dryRun { upstreams.settle() } }
    do throws(Refused) {
      prepared = try prepare(wanted, former, isDryRun: request.dryRun)
    } catch {
      if !request.dryRun { try follow(former.snapshot, former.transports) }
      throw error
    }
    var result = ReloadResult(
      outcome: .dryRun, generation: former.generation,
      changes: prepared.plan.changes.map { ReloadResult.Change($0) },
      warnings: prepared.warnings, lostRuntimeChanges: prepared.lost)
    if request.dryRun { return result }
    guard !prepared.plan.isEmpty else {
      result.outcome = .unchanged
      return result
    }
    result.outcome = .applied
    result.slowWorkers = commit(prepared, former)
    result.generation = former.generation + 1
    return result
  }

  // ---- prepare -----------------------------------------------------------------------------

  /// A file that was read and compared, and found good as far as that goes.
  private struct Wanted: Sendable {
    let file: ConfigurationFile
    /// With the addresses of sockets that were handed over.
    let snapshot: Snapshot
    let plan: ReloadPlan
  }

  private static func read(_ path: String, _ former: InForce) -> Result<Wanted, Refused> {
    let file: ConfigurationFile
    do throws(ConfigurationFile.Unusable) {
      file = try ConfigurationFile(path)
    } catch {
      return .failure(Refused(sentences: error.lines))
    }
    let activation = Activation(file.snapshot, former.inherited)
    guard activation.errors.isEmpty else {
      return .failure(Refused(sentences: activation.errors))
    }
    let plan = ReloadPlan(from: former.snapshot, to: activation.snapshot)
    guard plan.restarts.isEmpty else {
      let sentences = plan.restarts.map { "\(file.place(of: $0.path)): \($0.sentence)" }
      return .failure(Refused(sentences: sentences))
    }
    return .success(Wanted(file: file, snapshot: activation.snapshot, plan: plan))
  }

  private func prepare(
    _ wanted: Wanted, _ former: InForce, isDryRun: Bool
  ) throws(Refused) -> Prepared {
    let snapshot = wanted.snapshot
    let (changes, lost) = former.changes.surviving(snapshot)
    var settled = former
    settle(&settled.series)
    let ready = Thread.aside("reload") { [former = former.transports] in
      Transports.prepare(
        snapshot, former: former, isStart: false, nowSeconds: Int64(Clock.wallMs / 1000))
    }
    guard ready.problems.isEmpty else { throw Refused(sentences: ready.problems) }
    var plan = wanted.plan
    plan.changes += ready.transports.changes(from: former.transports)
    settled.transports = ready.transports
    if !isDryRun { try follow(snapshot, ready.transports) }
    let passage = Thread.aside("reload") { [settled, hasRing, served = upstreams.served] in
      Passage(from: settled, to: snapshot, changes, served, hasRing: hasRing)
    }
    let warnings = try look(at: passage, former)
    let admin = try prepareAdmin(snapshot, former)
    let opened = isDryRun ? OpenedSockets(workers: pool.workers) : try open(passage)
    let log = isDryRun ? nil : try openLog(snapshot.log, former.snapshot.log)
    return Prepared(
      passage: passage, plan: plan, warnings: wanted.file.warnings + ready.warnings + warnings,
      lost: lost,
      opened: opened, admin: admin, log: log)
  }

  /// From here on its servers are resolved and checked, so that what is known of them is known when
  /// it comes into force.
  private func follow(_ snapshot: Snapshot, _ transports: Transports) throws(Refused) {
    do throws(SystemError) {
      try upstreams.follow(snapshot, transports)
    } catch {
      throw Refused(sentences: ["names and checks: \(error)"])
    }
  }

  /// Numbers of names that nobody refers to any more are free again.
  func settle(_ series: inout SeriesBook) {
    let oldest = pool.counts().map { $0?.oldestSerial }
    guard !oldest.contains(nil), let serial = oldest.compactMap({ $0 }).min() else { return }
    series.settle(oldestSerial: serial)
  }

  /// What the start looked at, for what is new.
  private func look(at passage: Passage, _ former: InForce) throws(Refused) -> [String] {
    var facts = Preflight.facts(for: passage.next.snapshot)
    // Connections are among those that are open now.
    facts.descriptorsOpen = self.facts.descriptorsOpen
    facts.workers = pool.workers
    let new = Set(passage.step.opened.map(\.address))
    let preflight = Preflight(passage.next.snapshot, facts) { address in
      let isOurs = former.inherited.listening.contains { $0.serves(address) }
      guard new.contains(address), !isOurs else { return nil }
      return obstacle(to: address)
    }
    guard preflight.errors.isEmpty else { throw Refused(sentences: preflight.errors) }
    guard pool.tablesLive < WorkerPool.tablesLimit - 1 else {
      throw Refused(
        sentences: [
          "connections of \(WorkerPool.tablesLimit - 1) earlier configurations are still open; "
            + "wait for some to end, or restart"
        ])
    }
    return preflight.warnings.filter { !self.warnings.contains($0) }
  }

  /// A socket of ours that is being closed is waited for this long: its worker needs a turn or two,
  /// and a second when it has no room for those who wait in its queue.
  private static let closingMs: UInt64 = 2000

  /// A plain bind tells whether somebody has the address; but we may be somebody.
  private func obstacle(to address: SocketAddress) -> BindObstacle? {
    let untilNs = Clock.monotonicNs + Server.closingMs * 1_000_000
    let standing = inForce.withLock { $0.sockets.addresses }
    // One of ours that stays and covers the address, or is covered by it: nobody else can have it,
    // but for processes of the same user with SO_REUSEPORT.
    if standing.contains(where: { $0.overlaps(address) }) { return nil }
    while pool.openAddresses.contains(where: { $0 == address || $0.overlaps(address) }),
      Clock.monotonicNs < untilNs
    {
      Thread.sleep(ms: 1)
    }
    return Sockets.obstacle(to: address)
  }

  private func prepareAdmin(
    _ snapshot: Snapshot, _ former: InForce
  ) throws(Refused) -> AdminServer.Change? {
    guard let settings = snapshot.admin, admin != nil else { return nil }
    do throws(AdminFault) {
      return try AdminServer.prepare(settings)
    } catch {
      throw Refused(sentences: error.sentences)
    }
  }

  private func openLog(
    _ settings: LogSettings, _ former: LogSettings
  ) throws(Refused) -> LogChange? {
    var bare = former
    bare.level = settings.level
    guard bare != settings else { return nil }
    do throws(SystemError) {
      return LogChange(log: try ConnectionLog.open(settings, workers: pool.workers))
    } catch {
      throw Refused(sentences: ["the connection log cannot be written: \(error)"])
    }
  }

  /// Opens what is new. Nobody accepts from it yet.
  func open(_ passage: Passage) throws(Refused) -> OpenedSockets {
    let files = passage.step.opened.filter { $0.inherited == nil }.compactMap(\.address.file)
    for path in files { _ = try? Sockets.removeStaleSocket(at: path) }
    do throws(ListenError) {
      return try pool.open(passage.step.opened)
    } catch {
      for path in files { _ = try? Sockets.removeStaleSocket(at: path) }
      throw Refused(sentences: [passage.sentence(about: error)])
    }
  }

  // ---- commit ------------------------------------------------------------------------------

  private func commit(_ prepared: Prepared, _ former: InForce) -> [Int] {
    var passage = prepared.passage
    passage.next.generation = former.generation + 1
    passage.next.loadedWallMs = Clock.wallMs
    let snapshot = passage.next.snapshot
    ending.withLock { $0.setDrain(ms: snapshot.drainMs) }
    // Workers look at it when they take the table.
    let formerLog = prepared.log.map { logs.change(to: $0.log) }
    let slow = commit(passage, prepared.opened)
    let (begun, cancelled) = inForce.withLock {
      $0.drains.follow(from: former.snapshot, to: snapshot, nowNs: Clock.monotonicNs)
    }
    if let formerLog { logs.close(formerLog, waitingAtMostMs: Server.logChangeMs) }
    if snapshot.log.level != former.snapshot.log.level { Notice.setLevel(snapshot.log.level) }
    if let change = prepared.admin { admin?.commit(change) }
    if let metrics = snapshot.metrics { page?.change(to: metrics) }
    if passage.next.transports.hasCertificates {
      certificates.withLock { $0.lookSoon() }
      wakeUp()
    }
    for thing in begun { events.post("drain", "\(thing) was removed and drains") }
    for thing in cancelled { events.post("drain", "\(thing) is back and drains no more") }
    if !begun.isEmpty { wakeUp() }
    return slow
  }

  /// The last lines for a log that is given up may take so long.
  private static let logChangeMs: UInt32 = 2000

  /// Puts it in force on every worker. The workers returned had not taken it within a second.
  func commit(_ passage: Passage, _ opened: OpenedSockets) -> [Int] {
    passage.next.mark(upstreams.served)
    let slow = pool.install(
      passage.next.table, opening: opened, retiring: passage.step.retired)
    pool.spinBeforeSleep(passage.next.snapshot.latency == .low)
    for address in passage.step.tuned { pool.tune(address.withSystemCongestion) }
    inForce.withLock { inForce in
      var next = passage.next
      // These have gone on meanwhile.
      next.reloads = inForce.reloads
      next.reloadCounts = inForce.reloadCounts
      next.drains = inForce.drains
      inForce = next
    }
    // Nobody can connect to these any more; whoever waits is served.
    for path in passage.step.retiredPaths { try? Files.remove(path) }
    for worker in slow {
      let text = "worker \(worker) has not taken the new configuration within a second"
      Notice.write(text, .warning)
      events.post("worker", text, ["worker": "\(worker)"])
    }
    return slow
  }

  // ---- what is told of it ------------------------------------------------------------------

  private func note(_ result: ReloadResult, _ request: ReloadRequest) {
    let changed = result.changes.count { $0.kind != .kept }
    let summary = ReloadSummary(
      time: Clock.timestamp, outcome: result.outcome, generation: result.generation,
      changes: changed, problem: result.problems.first)
    let what = inForce.withLock { inForce in
      inForce.note(summary)
      return inForce.snapshot.summary
    }
    for sentence in result.warnings { Notice.write(sentence, .warning) }
    for sentence in result.lostRuntimeChanges where result.outcome == .applied {
      Notice.write(sentence, .warning)
    }
    if request.dryRun { return }
    switch result.outcome {
    case .applied:
      report.reloaded("\(what) with \(counted(pool.workers, "worker"))")
      Notice.write("reloaded: generation \(result.generation), \(counted(changed, "change"))")
    case .unchanged:
      report.reloaded(nil, isRefused: false)
      Notice.write("reloaded: nothing has changed")
    case .refused:
      report.reloaded(nil)
      for problem in result.problems { Notice.write(problem, .error) }
      Notice.write("the reload was refused; what was served is served still", .error)
    case .dryRun: break
    }
    events.post(
      "reload", "reload \(result.outcome.rawValue)",
      ["generation": "\(result.generation)", "changes": "\(changed)"])
  }

  // ---- drains ------------------------------------------------------------------------------

  /// While something drains, what is left is counted this often.
  private static let drainLookNs: UInt64 = 250_000_000

  /// Until the next look at what was removed; nil when nothing drains.
  func drainWaitMs(nowNs: UInt64) -> Int32? {
    let entries = inForce.withLock { $0.drains.entries }
    guard !entries.isEmpty else { return nil }
    let next = entries.values.filter { !$0.isCut }.map(\.untilNs).min() ?? .max
    let waitNs = min(Server.drainLookNs, next - min(nowNs, next))
    return Int32((waitNs + 999_999) / 1_000_000)
  }

  /// Ends what is over its time, and forgets what has ended.
  func lookAtDrains(nowNs: UInt64) {
    let things = inForce.withLock { Array($0.drains.entries.keys) }
    guard !things.isEmpty else { return }
    let counts = counts()
    // Connections of a worker that did not answer are not known.
    let isWhole = !counts.workers.contains { $0 == nil }
    let live = isWhole
      ? Dictionary(uniqueKeysWithValues: things.map { ($0, counts.live($0)) }) : [:]
    let (finished, due) = inForce.withLock { $0.drains.look(nowNs: nowNs, live: live) }
    for thing in finished { events.post("drain", "\(thing) has drained") }
    for thing in due {
      let (ended, _) = pool.end(SessionFilter(thing), .drainDeadline)
      let text = "\(thing) was removed, and its time is over: \(counted(ended, "connection")) ended"
      Notice.write(text)
      events.post("drain", text, ["ended": "\(ended)"])
    }
  }

  private static let drainedLookMs: UInt32 = 50
  /// Longer than anybody waits for an answer.
  private static let drainedMaxSeconds = 3600.0

  /// - Returns: connections of removed things that were still there at the end.
  private func waitDrained(seconds: Double) -> Int {
    let wanted = max(0, min(seconds, Server.drainedMaxSeconds))
    let untilNs = Clock.monotonicNs + UInt64(wanted * 1e9)
    while true {
      let things = inForce.withLock { Array($0.drains.entries.keys) }
      if things.isEmpty { return 0 }
      guard Clock.monotonicNs < untilNs, isServing else {
        let counts = counts()
        return things.map { counts.live($0) }.reduce(0, +)
      }
      Thread.sleep(ms: Server.drainedLookMs)
    }
  }
}

extension SessionFilter {
  fileprivate init(_ thing: RemovalDrains.Thing) {
    switch thing {
    case .listener(let name): self.init(listener: name)
    case .server(let name): self.init(backend: name.backend, server: name.server)
    }
  }
}

extension ReloadResult.Change {
  fileprivate init(_ change: ReloadPlan.Change) {
    let kind: Kind =
      switch change.kind {
      case .added: .added
      case .removed: .removed
      case .changed: .changed
      case .kept: .kept
      }
    self.init(kind, change.what, change.detail)
  }
}

extension SocketAddress {
  /// Whether one of the two covers the other, as a wildcard does.
  fileprivate func overlaps(_ other: SocketAddress) -> Bool {
    guard let port, port == other.port, isWildcard || other.isWildcard else { return false }
    switch (self, other) {
    case (.ipv4, .ipv4), (.ipv6, .ipv6): return true
    case (.ipv4, _), (.ipv6, _), (.unix, _): return false
    }
  }
}

extension ListenAddress {
  /// What a socket has had once it cannot go without again, so the system's control is given by its
  /// name.
  fileprivate var withSystemCongestion: ListenAddress {
    guard congestion.isEmpty,
      let system = Files.firstLine(of: "/proc/sys/net/ipv4/tcp_congestion_control")
    else { return self }
    return ListenAddress(
      tag: tag, address: address, backlog: backlog, congestion: system, mode: mode,
      inherited: inherited)
  }
}
