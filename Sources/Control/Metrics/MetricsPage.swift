package import AdminAPI
internal import DataPlane
internal import Routing
package import System

/// All that the metrics tell, read once.
package struct MetricsReading: Sendable {
  package var counts: Counts
  package var backends: [BackendStatus] = []
  package var version: String
  /// `ring` or `epoll`.
  package var events: String
  package var maxConnections: Int
  package var generation: UInt64 = 0
  /// When the configuration in force was taken, in milliseconds since 1970 UTC.
  package var loadedWallMs: UInt64 = 0
  package var reloads: [ReloadResult.Outcome: UInt64] = [:]
  package var bans = 0
  package var log = ConnectionLogCounts()
  /// Those that are served.
  var certificates: [Transports.Certificate] = []
  package var process: ProcessUse?
  package var descriptors = 0
  package var descriptorLimit: UInt64 = 0

  /// Fills in what the process knows of itself.
  package init(_ counts: Counts, version: String, events: String, maxConnections: Int) {
    self.counts = counts
    self.version = version
    self.events = events
    self.maxConnections = maxConnections
    process = ProcessUse.now()
    descriptors = (try? DescriptorLimit.open()) ?? 0
    descriptorLimit = (try? DescriptorLimit.current().soft) ?? 0
  }

  /// Prometheus text, version 0.0.4.
  package var text: [UInt8] {
    var page = MetricsPage(reading: self)
    page.writeProcessWide()
    page.writeListeners()
    page.writeBackends()
    page.writeServers()
    page.writeWorkers()
    page.writeLog()
    page.writeProcess()
    return page.text.bytes
  }
}

/// The page while it is written. Families come in the order of `MetricFamily.all`.
private struct MetricsPage {
  let reading: MetricsReading
  var text = MetricsText()

  init(reading: MetricsReading) { self.reading = reading }

  private var counts: Counts { reading.counts }

  mutating func writeProcessWide() {
    one(.buildInfo, [reading.version, reading.events], 1)
    one(.connections, [], counts.listeners.map(\.live).reduce(0, +))
    one(.connectionsLimit, [], UInt64(reading.maxConnections))
    one(.generation, [], reading.generation)
    text.begin(.loadedTime)
    text.sample(.loadedTime, [], seconds: reading.loadedWallMs * 1000)
    text.begin(.reloads)
    for outcome in [ReloadResult.Outcome.applied, .unchanged, .dryRun, .refused] {
      text.sample(.reloads, [outcome.rawValue], reading.reloads[outcome] ?? 0)
    }
    one(.bans, [], UInt64(reading.bans))
  }

  private mutating func one(_ family: MetricFamily, _ values: [String], _ value: UInt64) {
    text.begin(family)
    text.sample(family, values, value)
  }

  mutating func writeListeners() {
    each(.listenerConnections, counts.listeners, \.row.name) { $0.live }
    each(.listenerAccepted, counts.listeners, \.row.name) { $0.accepted }
    directions(.listenerBytes, counts.listeners.map { ([$0.row.name], $0.bytesUp, $0.bytesDown) })
    directions(
      .listenerSpliced, counts.listeners.map { ([$0.row.name], $0.splicedUp, $0.splicedDown) })
    text.begin(.listenerEnds)
    for listener in counts.listeners {
      for end in ConnectionEnd.allCases {
        text.sample(.listenerEnds, [listener.row.name, end.rawValue], listener.ends(end))
      }
    }
    text.begin(.listenerRejected)
    for listener in counts.listeners {
      // Most reasons never happen to most listeners: those of none are left out.
      for (reason, count) in listener.rejected {
        text.sample(.listenerRejected, [listener.row.name, reason.code], count)
      }
    }
    text.begin(.listenerHeaders)
    for listener in counts.listeners {
      for kind in HeaderKind.allCases where kind != .v2Local {
        text.sample(.listenerHeaders, [listener.row.name, kind.word], listener.headers(kind))
      }
    }
    text.begin(.listenerProbes)
    for listener in counts.listeners {
      text.sample(.listenerProbes, [listener.row.name, "local"], listener.headers(.v2Local))
      text.sample(.listenerProbes, [listener.row.name, "silent"], listener.silentProbes)
    }
    text.begin(.listenerDuration)
    for listener in counts.listeners {
      text.histogram(.listenerDuration, [listener.row.name], listener.duration)
    }
    writeTLS()
    writeQueues()
  }

  /// Only listeners that end TLS have these.
  private mutating func writeTLS() {
    let ending = Set(reading.certificates.map(\.listener))
    text.begin(.listenerHandshakes)
    for listener in counts.listeners where ending.contains(listener.row.name) {
      for result in HandshakeResult.allCases {
        text.sample(
          .listenerHandshakes, [listener.row.name, result.word], listener.handshakes(result))
      }
    }
    text.begin(.certificateExpiry)
    var seen: Set<[String]> = []
    for certificate in reading.certificates {
      let labels = [certificate.listener, certificate.path]
      guard seen.insert(labels).inserted else { continue }
      text.sample(.certificateExpiry, labels, UInt64(max(0, certificate.notAfter)))
    }
  }

  private mutating func writeQueues() {
    each(.listenerQueue, counts.listeners, \.row.name) { $0.waiting }
    each(.listenerQueued, counts.listeners, \.row.name) { $0.queued }
    text.begin(.ruleTaken)
    for rule in counts.rules {
      text.sample(.ruleTaken, [rule.listener, rule.name], rule.taken)
    }
  }

  mutating func writeBackends() {
    each(.backendConnections, counts.backends, \.row.name) { $0.live }
    each(.backendDials, counts.backends, \.row.name) { $0.dials }
    text.begin(.backendDialFailures)
    for backend in counts.backends {
      for error in DialError.allCases {
        text.sample(
          .backendDialFailures, [backend.row.name, error.reason.code],
          backend.dialFailures(error))
      }
    }
    directions(.backendBytes, counts.backends.map { ([$0.row.name], $0.bytesUp, $0.bytesDown) })
    text.begin(.backendConnect)
    for backend in counts.backends {
      text.histogram(.backendConnect, [backend.row.name], backend.connect)
    }
    text.begin(.backendFirstByte)
    for backend in counts.backends {
      text.histogram(.backendFirstByte, [backend.row.name], backend.firstByte)
    }
  }

  mutating func writeServers() {
    text.begin(.serverUp)
    for backend in reading.backends {
      for server in backend.servers {
        let gets = server.state == .up && backend.state == .serving
        text.sample(.serverUp, [backend.name, server.name], gets ? 1 : 0)
      }
    }
    text.begin(.serverWeight)
    for backend in reading.backends {
      for server in backend.servers {
        text.sample(.serverWeight, [backend.name, server.name], UInt64(max(0, server.weight)))
      }
    }
    text.begin(.serverConnections)
    for server in counts.servers {
      text.sample(.serverConnections, server.labels, server.live)
    }
    text.begin(.serverDials)
    for server in counts.servers { text.sample(.serverDials, server.labels, server.dials) }
    text.begin(.serverDialFailures)
    for server in counts.servers {
      for error in DialError.allCases {
        text.sample(
          .serverDialFailures, server.labels + [error.reason.code], server.dialFailures(error))
      }
    }
    directions(.serverBytes, counts.servers.map { ($0.labels, $0.bytesUp, $0.bytesDown) })
    text.begin(.serverConnect)
    for server in counts.servers {
      text.summary(
        .serverConnect, server.labels, sumUs: server.connectUs, count: server.connects)
    }
  }

  mutating func writeWorkers() {
    text.begin(.workerUp)
    for (index, stats) in counts.workers.enumerated() {
      text.sample(.workerUp, ["\(index)"], stats == nil ? 0 : 1)
    }
    workers(.workerConnections) { UInt64($0.connections) }
    workers(.workerTurns) { $0.turns }
    workers(.workerPromotions) { $0.promotions }
    workers(.workerDemotions) { $0.demotions }
    workers(.workerPipes) { UInt64($0.pipes) }
    workers(.workerPipeMisses) { $0.pipeMisses }
    workers(.workerBuffers) { UInt64($0.buffers) }
    workers(.workerOverflows) { $0.overflows }
    workers(.workerHandedOver) { $0.handedOver }
    workers(.workerReceived) { $0.received }
    workers(.workerSpins) { $0.spins }
    workers(.workerSpinHits) { $0.spinHits }
    workers(.workerAcceptPaused) { $0.isAcceptPaused ? 1 : 0 }
    workers(.workerAcceptPauses) { $0.acceptPauses }
  }

  mutating func writeLog() {
    one(.logLines, [], reading.log.written)
    one(.logDropped, [], reading.log.dropped)
    one(.logSuppressed, [], reading.log.suppressed)
  }

  mutating func writeProcess() {
    text.begin(.processCPU)
    if let use = reading.process { text.sample(.processCPU, [], seconds: use.cpuUs) }
    text.begin(.processResident)
    if let use = reading.process { text.sample(.processResident, [], use.residentBytes) }
    text.begin(.processVirtual)
    if let use = reading.process { text.sample(.processVirtual, [], use.virtualBytes) }
    text.begin(.processThreads)
    if let use = reading.process { text.sample(.processThreads, [], use.threads) }
    text.begin(.processStart)
    if let use = reading.process {
      text.sample(.processStart, [], seconds: use.startedWallMs * 1000)
    }
    one(.processOpenDescriptors, [], UInt64(max(0, reading.descriptors)))
    one(.processDescriptorLimit, [], reading.descriptorLimit)
  }

  // ---- families with one sample, or two, for each thing ------------------------------------

  private mutating func each<Thing>(
    _ family: MetricFamily, _ things: [Thing], _ name: (Thing) -> String,
    _ value: (Thing) -> UInt64
  ) {
    text.begin(family)
    for thing in things { text.sample(family, [name(thing)], value(thing)) }
  }

  private mutating func directions(
    _ family: MetricFamily, _ things: [(labels: [String], up: UInt64, down: UInt64)]
  ) {
    text.begin(family)
    for thing in things {
      text.sample(family, thing.labels + ["up"], thing.up)
      text.sample(family, thing.labels + ["down"], thing.down)
    }
  }

  private mutating func workers(_ family: MetricFamily, _ value: (WorkerStats) -> UInt64) {
    text.begin(family)
    for (index, stats) in counts.workers.enumerated() {
      if let stats { text.sample(family, ["\(index)"], value(stats)) }
    }
  }
}

extension Counts.Server {
  fileprivate var labels: [String] { [row.name.backend, row.name.server] }
}
