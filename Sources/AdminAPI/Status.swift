/// `GET /v1/status`: the process as a whole.
package struct Status: Codable, Hashable, Sendable {
  package enum Phase: String, Codable, Hashable, Sendable {
    case serving
    /// It no longer accepts, and ends when its connections have.
    case draining
  }

  package var version: String
  package var pid: Int32
  /// Seconds since the start.
  package var uptimeSeconds: Double
  /// The file that a reload reads.
  package var configuration: String
  /// 1 after the start; each reload that was applied adds one.
  package var generation: UInt64
  package var phase: Phase
  package var workers: Int
  /// `ring` or `epoll`.
  package var events: String
  /// Live now, and the most there may be.
  package var connections: Int
  package var maxConnections: Int
  package var accepted: UInt64
  package var closed: UInt64
  package var bytesUp: UInt64
  package var bytesDown: UInt64
  /// Descriptors open now, and the limit.
  package var descriptors: Int
  package var descriptorLimit: UInt64
  /// Lines of the connection log that were lost.
  package var logDropped: UInt64
  /// Workers that did not answer within a second, by number.
  package var silentWorkers: [Int]
  /// What each worker has, but for the silent ones.
  package var perWorker: [WorkerStatus]
  /// What ends by itself: a removed listener's connections, for one.
  package var drains: [DrainProgress]
  /// What was changed at run time and differs from the file, one sentence each.
  package var runtimeChanges: [String]
  /// The newest last; the last ten.
  package var reloads: [ReloadSummary]

  package init(
    version: String, pid: Int32, uptimeSeconds: Double, configuration: String, generation: UInt64,
    phase: Phase, workers: Int, events: String, connections: Int, maxConnections: Int,
    accepted: UInt64 = 0, closed: UInt64 = 0, bytesUp: UInt64 = 0, bytesDown: UInt64 = 0,
    descriptors: Int = 0, descriptorLimit: UInt64 = 0, logDropped: UInt64 = 0,
    silentWorkers: [Int] = [], perWorker: [WorkerStatus] = [], drains: [DrainProgress] = [],
    runtimeChanges: [String] = [], reloads: [ReloadSummary] = []
  ) {
    self.version = version
    self.pid = pid
    self.uptimeSeconds = uptimeSeconds
    self.configuration = configuration
    self.generation = generation
    self.phase = phase
    self.workers = workers
    self.events = events
    self.connections = connections
    self.maxConnections = maxConnections
    self.accepted = accepted
    self.closed = closed
    self.bytesUp = bytesUp
    self.bytesDown = bytesDown
    self.descriptors = descriptors
    self.descriptorLimit = descriptorLimit
    self.logDropped = logDropped
    self.silentWorkers = silentWorkers
    self.perWorker = perWorker
    self.drains = drains
    self.runtimeChanges = runtimeChanges
    self.reloads = reloads
  }
}

/// One worker, and how evenly connections are spread.
package struct WorkerStatus: Codable, Hashable, Sendable {
  /// Its number, from 0.
  package var worker: Int
  /// Live now.
  package var connections: Int
  /// Of those it accepted, to workers that had fewer; and those that came from others.
  package var handedOver: UInt64
  package var received: UInt64

  package init(worker: Int, connections: Int, handedOver: UInt64, received: UInt64) {
    self.worker = worker
    self.connections = connections
    self.handedOver = handedOver
    self.received = received
  }
}

/// Connections that may finish until a deadline.
package struct DrainProgress: Codable, Hashable, Sendable {
  /// What is drained: `listener smtp`, `server postfix/192.0.2.10:25`, `process`.
  package var what: String
  package var connections: Int
  package var remainingSeconds: Double

  package init(what: String, connections: Int, remainingSeconds: Double) {
    self.what = what
    self.connections = connections
    self.remainingSeconds = remainingSeconds
  }
}

/// One listener of `GET /v1/listeners`. Counts are since it first appeared under this name.
package struct ListenerStatus: Codable, Hashable, Sendable {
  package enum State: String, Codable, Hashable, Sendable { case serving, drained }

  package var name: String
  package var type: String
  package var binds: [String]
  /// Nil where rules alone choose.
  package var backend: String?
  package var state: State
  package var connections: Int
  package var accepted: UInt64
  /// Turned away, by reason code.
  package var rejected: [String: UInt64]
  package var bytesUp: UInt64
  package var bytesDown: UInt64

  package init(
    name: String, type: String, binds: [String], backend: String?, state: State,
    connections: Int = 0, accepted: UInt64 = 0, rejected: [String: UInt64] = [:],
    bytesUp: UInt64 = 0, bytesDown: UInt64 = 0
  ) {
    self.name = name
    self.type = type
    self.binds = binds
    self.backend = backend
    self.state = state
    self.connections = connections
    self.accepted = accepted
    self.rejected = rejected
    self.bytesUp = bytesUp
    self.bytesDown = bytesDown
  }
}

/// One backend of `GET /v1/backends`.
package struct BackendStatus: Codable, Hashable, Sendable {
  package enum State: String, Codable, Hashable, Sendable { case serving, drained }

  package var name: String
  package var balance: String
  package var state: State
  package var servers: [ServerStatus]

  package init(name: String, balance: String, state: State, servers: [ServerStatus]) {
    self.name = name
    self.balance = balance
    self.state = state
    self.servers = servers
  }
}

package struct ServerStatus: Codable, Hashable, Sendable {
  package enum State: String, Codable, Hashable, Sendable { case up, down, drained }

  /// As the file writes it.
  package var name: String
  package var address: String
  package var state: State
  /// Why it is in that state, when somebody or something put it there.
  package var reason: String?
  package var weight: Int
  /// Live or being dialled now, over all backends and workers.
  package var connections: Int
  package var dials: UInt64
  package var dialFailures: UInt64
  package var bytesUp: UInt64
  package var bytesDown: UInt64

  package init(
    name: String, address: String, state: State, reason: String? = nil, weight: Int = 1,
    connections: Int = 0, dials: UInt64 = 0, dialFailures: UInt64 = 0, bytesUp: UInt64 = 0,
    bytesDown: UInt64 = 0
  ) {
    self.name = name
    self.address = address
    self.state = state
    self.reason = reason
    self.weight = weight
    self.connections = connections
    self.dials = dials
    self.dialFailures = dialFailures
    self.bytesUp = bytesUp
    self.bytesDown = bytesDown
  }
}
