/// `POST /v1/reload`. It names no file: the server reads the one it was started with.
package struct ReloadRequest: Codable, Hashable, Sendable {
  /// Print what would change, and change nothing.
  package var dryRun: Bool
  /// Answer only when what was removed has no connections left, or after this long.
  package var waitDrainedSeconds: Double?

  package init(dryRun: Bool = false, waitDrainedSeconds: Double? = nil) {
    self.dryRun = dryRun
    self.waitDrainedSeconds = waitDrainedSeconds
  }
}

package struct ReloadResult: Codable, Hashable, Sendable {
  package enum Outcome: String, Codable, Hashable, Sendable {
    case applied
    /// The file says what is already served.
    case unchanged
    case dryRun = "dry-run"
    /// Nothing was changed; `problems` says why.
    case refused
  }

  package var outcome: Outcome
  /// In force after the answer.
  package var generation: UInt64
  /// The difference between what was served and the file.
  package var changes: [Change]
  /// `file:line:column: what is wrong`, one each.
  package var problems: [String]
  package var warnings: [String]
  /// Changes made at run time that do not outlive this reload, one sentence each.
  package var lostRuntimeChanges: [String]
  /// Workers that had not taken the new configuration within a second.
  package var slowWorkers: [Int]
  /// With `waitDrained`: connections of removed things that were still there at the end.
  package var undrained: Int
  package var tookMs: Double

  package init(
    outcome: Outcome, generation: UInt64, changes: [Change] = [], problems: [String] = [],
    warnings: [String] = [], lostRuntimeChanges: [String] = [], slowWorkers: [Int] = [],
    undrained: Int = 0, tookMs: Double = 0
  ) {
    self.outcome = outcome
    self.generation = generation
    self.changes = changes
    self.problems = problems
    self.warnings = warnings
    self.lostRuntimeChanges = lostRuntimeChanges
    self.slowWorkers = slowWorkers
    self.undrained = undrained
    self.tookMs = tookMs
  }

  /// One line of the diff.
  package struct Change: Codable, Hashable, Sendable {
    package enum Kind: String, Codable, Hashable, Sendable {
      case added, removed, changed, kept
    }

    package var kind: Kind
    /// `listener smtp`, `backend postfix`, `server postfix/192.0.2.10:25`, `trust smtp`, `log`.
    package var what: String
    /// What about it, for people: `bind 0.0.0.0:25 opened`; empty when there is no more to say.
    package var detail: String

    package init(_ kind: Kind, _ what: String, _ detail: String = "") {
      self.kind = kind
      self.what = what
      self.detail = detail
    }
  }
}

/// One entry of the reload history.
package struct ReloadSummary: Codable, Hashable, Sendable {
  /// RFC 3339, UTC.
  package var time: String
  package var outcome: ReloadResult.Outcome
  package var generation: UInt64
  package var changes: Int
  /// The first problem of a refused one.
  package var problem: String?

  package init(
    time: String, outcome: ReloadResult.Outcome, generation: UInt64, changes: Int,
    problem: String? = nil
  ) {
    self.time = time
    self.outcome = outcome
    self.generation = generation
    self.changes = changes
    self.problem = problem
  }
}

/// What `drain`, `resume` and `weight` are about.
package enum Target: Codable, Hashable, Sendable {
  case listener(String)
  case backend(String)
  /// By the server's name in the file.
  case server(backend: String, server: String)
}

/// `POST /v1/drain`, `POST /v1/resume`.
package struct DrainRequest: Codable, Hashable, Sendable {
  package var target: Target

  package init(target: Target) { self.target = target }
}

/// `POST /v1/weight`.
package struct WeightRequest: Codable, Hashable, Sendable {
  package var backend: String
  package var server: String
  /// 0 ... 256; 0 gets no new connections.
  package var weight: Int

  package init(backend: String, server: String, weight: Int) {
    self.backend = backend
    self.server = server
    self.weight = weight
  }
}

/// `POST /v1/kill`: by id, or all that match.
package struct KillRequest: Codable, Hashable, Sendable {
  package var id: String?
  package var matching: SessionQuery?

  package init(id: String? = nil, matching: SessionQuery? = nil) {
    self.id = id
    self.matching = matching
  }
}

package struct KillResult: Codable, Hashable, Sendable {
  package var killed: Int

  package init(killed: Int) { self.killed = killed }
}

/// `POST /v1/log-level`.
package struct LogLevelRequest: Codable, Hashable, Sendable {
  /// error, warning, info or debug.
  package var level: String

  package init(level: String) { self.level = level }
}

/// `POST /v1/bans`; `DELETE /v1/bans` takes the network alone.
package struct BanRequest: Codable, Hashable, Sendable {
  /// An address or a network.
  package var network: String
  /// Nil lasts until `unban`.
  package var seconds: Double?
  package var reason: String?

  package init(network: String, seconds: Double? = nil, reason: String? = nil) {
    self.network = network
    self.seconds = seconds
    self.reason = reason
  }
}

/// One entry of `GET /v1/bans`, and the answer to `POST /v1/bans`.
package struct Ban: Codable, Hashable, Sendable {
  package var network: String
  /// RFC 3339, UTC; nil lasts until `unban`.
  package var until: String?
  package var reason: String?
  /// Connections it turned away.
  package var hits: UInt64

  package init(network: String, until: String? = nil, reason: String? = nil, hits: UInt64 = 0) {
    self.network = network
    self.until = until
    self.reason = reason
    self.hits = hits
  }
}

/// The answer to a change that has nothing to tell: `{}`.
package struct Done: Codable, Hashable, Sendable {
  package init() {}
}

/// `GET /v1/config`: the configuration in force, without secrets.
package struct ConfigurationText: Codable, Hashable, Sendable {
  package var yaml: String

  package init(yaml: String) { self.yaml = yaml }
}

/// Any answer whose status is not 2xx.
package struct Failure: Codable, Hashable, Error, Sendable {
  package enum Code: String, Codable, Hashable, Sendable {
    /// The request is no sense: 400.
    case invalid
    /// The caller's role does not suffice: 403.
    case forbidden
    /// No such listener, backend, server, connection or path: 404.
    case notFound = "not-found"
    case methodNotAllowed = "method-not-allowed"
    /// Somebody else is at it, a second reload for one: 409.
    case busy
    case tooLarge = "too-large"
    /// What the request asked for was refused; the text says why: 422.
    case refused
    /// A worker did not answer in time: 503.
    case unavailable
  }

  package var code: Code
  package var message: String

  package init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }
}

/// One line of `GET /v1/events`, a stream of JSON objects, one to a line.
package struct Event: Codable, Hashable, Sendable {
  /// RFC 3339, UTC.
  package var time: String
  /// `reload`, `drain`, `server`, `ban`, `kill`, `log-level`, `worker`, `lost`, …
  package var kind: String
  package var message: String
  package var fields: [String: String]

  package init(time: String, kind: String, message: String, fields: [String: String] = [:]) {
    self.time = time
    self.kind = kind
    self.message = message
    self.fields = fields
  }
}
