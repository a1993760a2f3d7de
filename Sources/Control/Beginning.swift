internal import Config
internal import DataPlane
internal import Routing
internal import System
internal import Wire

/// What a server starts with, made step by step. Any step may fail, and then nothing is left
/// running.
struct Beginning {
  let inForce: InForce
  let facts: Preflight.Facts
  /// What was warned of.
  let warnings: [String]
  let hasRing: Bool
  let report: ServiceReport
  let admin: AdminServer?
  /// Metrics and the live page on TCP.
  let page: PageServer?
  let logs: LogSwitch
  let pool: WorkerPool
  let bans: BanList
  let upstreams: Upstreams

  init(_ configured: Snapshot) throws(Server.Refusal) {
    Notice.setLevel(configured.log.level)
    report = ServiceReport()
    let handedOver = InheritedSockets.take()
    let activation = Activation(configured, handedOver)
    for sentence in activation.notes { Notice.write(sentence) }
    for sentence in activation.warnings { Notice.write(sentence, .warning) }
    guard activation.errors.isEmpty else {
      throw Server.Refusal(sentences: activation.errors)
    }
    let snapshot = activation.snapshot
    let facts = Preflight.facts(for: snapshot)
    let preflight = Preflight(snapshot, facts) { address in
      handedOver.listening.contains { $0.serves(address) } ? nil : Sockets.obstacle(to: address)
    }
    let ready = Transports.prepare(
      snapshot, isStart: true, nowSeconds: Int64(Clock.wallMs / 1000))
    let errors = preflight.errors + ready.problems
    guard errors.isEmpty else { throw Server.Refusal(sentences: errors) }
    for sentence in preflight.warnings + ready.warnings { Notice.write(sentence, .warning) }
    for sentence in preflight.notes { Notice.write(sentence) }

    self.facts = facts
    warnings = preflight.warnings
    hasRing = facts.ringDenied == nil && snapshot.events != .epoll
    bans = BanList(directory: snapshot.stateDirectory)
    // What is to be stopped when a later step fails.
    var begun: [() -> Void] = []
    do throws(Server.Refusal) {
      let admin = try Beginning.openAdmin(snapshot)
      begun.append { admin?.stop() }
      let page = try Beginning.openPage(snapshot)
      begun.append { page?.stop() }
      let logs = LogSwitch(try Beginning.openLog(snapshot.log, workers: facts.workers))
      begun.append { logs.close(logs.change(to: nil), waitingAtMostMs: 0) }
      let upstreams = try Beginning.openUpstreams(snapshot, ready.transports)
      begun.append { upstreams.stop() }
      (self.admin, self.page, self.logs, self.upstreams) = (admin, page, logs, upstreams)

      let passage = Passage(
        from: InForce(
          snapshot: snapshot, table: RouteTable(listeners: [], backends: [], servers: []),
          served: snapshot, transports: ready.transports, inherited: handedOver),
        to: snapshot, RuntimeChanges(), upstreams.served, hasRing: hasRing)
      inForce = passage.next
      inForce.mark(upstreams.served)
      let reserved =
        admin == nil ? 0 : AdminServer.reserved(descriptors: facts.descriptors)
      pool = try Beginning.startPool(
        passage, facts, hasRing: hasRing,
        descriptors: max(0, preflight.descriptorsForConnections - reserved), logs, bans,
        upstreams)
    } catch {
      for stop in begun.reversed() { stop() }
      throw error
    }
  }

  private static func openUpstreams(
    _ snapshot: Snapshot, _ transports: Transports
  ) throws(Server.Refusal) -> Upstreams {
    do throws(SystemError) {
      let upstreams = try Upstreams(snapshot)
      try upstreams.follow(snapshot, transports)
      return upstreams
    } catch {
      throw Server.Refusal(sentences: ["cannot start: \(error)"])
    }
  }

  private static func openAdmin(_ snapshot: Snapshot) throws(Server.Refusal) -> AdminServer? {
    guard let settings = snapshot.admin else { return nil }
    do throws(AdminFault) {
      let limit = (try? DescriptorLimit.current())?.soft ?? 0
      return try AdminServer(settings, descriptors: limit)
    } catch {
      throw Server.Refusal(sentences: error.sentences)
    }
  }

  private static func openPage(_ snapshot: Snapshot) throws(Server.Refusal) -> PageServer? {
    guard let settings = snapshot.metrics else { return nil }
    do throws(PageServer.Fault) {
      return try PageServer(settings)
    } catch {
      throw Server.Refusal(sentences: [error.description])
    }
  }

  private static func openLog(
    _ settings: LogSettings, workers: Int
  ) throws(Server.Refusal) -> ConnectionLog? {
    do throws(SystemError) {
      return try ConnectionLog.open(settings, workers: workers)
    } catch {
      throw Server.Refusal(sentences: ["the connection log cannot be written: \(error)"])
    }
  }

  private static func startPool(
    _ passage: Passage, _ facts: Preflight.Facts, hasRing: Bool, descriptors: Int,
    _ logs: LogSwitch, _ bans: BanList, _ upstreams: Upstreams
  ) throws(Server.Refusal) -> WorkerPool {
    let snapshot = passage.next.snapshot
    for address in passage.step.opened where address.inherited == nil {
      if let path = address.address.file { _ = try? Sockets.removeStaleSocket(at: path) }
    }
    let settings = PoolSettings(
      events: hasRing ? .ring : .epoll, workers: facts.workers,
      maxConnections: snapshot.limits.maxConnections,
      descriptors: descriptors, failures: upstreams.failures, names: upstreams.lookups)
    do throws(WorkerPool.Failure) {
      let pool = try WorkerPool(
        settings, table: passage.next.table, bans: bans.table, listening: passage.step.opened,
        sink: { _ in RecordLines(logs) })
      pool.spinBeforeSleep(snapshot.latency == .low)
      return pool
    } catch {
      throw Server.Refusal(sentences: [sentence(about: error, passage)])
    }
  }

  /// What the look before the start could not foresee.
  private static func sentence(about failure: WorkerPool.Failure, _ passage: Passage) -> String {
    switch failure {
    case .listen(let failure): passage.sentence(about: failure)
    case .worker(let error):
      "a worker cannot start: \(error.call): \(SystemError.Code(rawValue: error.number))"
    }
  }
}

extension Passage {
  func sentence(about failure: ListenError) -> String {
    let entry = step.entries.first { $0.tag == failure.address.tag }
    let listener = entry.map { next.snapshot.listeners[$0.listener].name } ?? ""
    let code = SystemError.Code(rawValue: failure.error.number)
    return "listener \(listener): \(failure.address.address): \(failure.error.call): \(code)"
  }
}
