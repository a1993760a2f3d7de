/// What the live page shows: the answer to `GET /page/data.json`, renewed every two seconds.
package struct PageData: Codable, Hashable, Sendable {
  /// The process as a whole, without what is nobody's business: no path, no process id.
  package struct Server: Codable, Hashable, Sendable {
    package var version: String
    package var uptimeSeconds: Double
    package var generation: UInt64
    package var phase: Status.Phase
    package var workers: Int
    package var events: String
    package var connections: Int
    package var maxConnections: Int
    package var accepted: UInt64
    package var bytesUp: UInt64
    package var bytesDown: UInt64
    package var descriptors: Int
    package var descriptorLimit: UInt64
    package var logDropped: UInt64
    package var silentWorkers: [Int]

    package init(_ status: Status) {
      version = status.version
      uptimeSeconds = status.uptimeSeconds
      generation = status.generation
      phase = status.phase
      workers = status.workers
      events = status.events
      connections = status.connections
      maxConnections = status.maxConnections
      accepted = status.accepted
      bytesUp = status.bytesUp
      bytesDown = status.bytesDown
      descriptors = status.descriptors
      descriptorLimit = status.descriptorLimit
      logDropped = status.logDropped
      silentWorkers = status.silentWorkers
    }
  }

  /// One value for each step, the newest last; rates are per second.
  package struct History: Codable, Hashable, Sendable {
    package var stepSeconds: Double
    package var connections: [Double]
    package var accepted: [Double]
    package var up: [Double]
    package var down: [Double]

    package init(
      stepSeconds: Double, connections: [Double] = [], accepted: [Double] = [],
      up: [Double] = [], down: [Double] = []
    ) {
      self.stepSeconds = stepSeconds
      self.connections = connections
      self.accepted = accepted
      self.up = up
      self.down = down
    }
  }

  package struct Rejection: Codable, Hashable, Sendable {
    package var listener: String
    package var reason: String
    package var lastMinute: UInt64
    package var total: UInt64

    package init(listener: String, reason: String, lastMinute: UInt64, total: UInt64) {
      self.listener = listener
      self.reason = reason
      self.lastMinute = lastMinute
      self.total = total
    }
  }

  package var server: Server
  package var history: History
  package var listeners: [ListenerStatus]
  package var backends: [BackendStatus]
  /// The most of the last minute first.
  package var rejections: [Rejection]
  /// The busiest first; nil when no track of clients is kept.
  package var topClients: [ClientUse]?
  package var drains: [DrainProgress]
  package var runtimeChanges: [String]
  package var reloads: [ReloadSummary]

  package init(
    server: Server, history: History, listeners: [ListenerStatus], backends: [BackendStatus],
    rejections: [Rejection], topClients: [ClientUse]?, drains: [DrainProgress],
    runtimeChanges: [String], reloads: [ReloadSummary]
  ) {
    self.server = server
    self.history = history
    self.listeners = listeners
    self.backends = backends
    self.rejections = rejections
    self.topClients = topClients
    self.drains = drains
    self.runtimeChanges = runtimeChanges
    self.reloads = reloads
  }
}

/// What a client did lately: estimates that halve every minute, of connections that are over.
package struct ClientUse: Codable, Hashable, Sendable {
  /// An IPv4 address or an IPv6 network of 64 bits.
  package var address: String
  package var connections: Double
  package var bytes: UInt64

  package init(address: String, connections: Double, bytes: UInt64) {
    self.address = address
    self.connections = connections
    self.bytes = bytes
  }
}
