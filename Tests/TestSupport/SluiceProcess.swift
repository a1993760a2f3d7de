import Glibc

/// Which event source and which lanes a scenario runs on.
package struct Engine: Hashable, Sendable, CustomStringConvertible {
  package let events: String
  package let splice: String
  package init(events: String, splice: String) {
    self.events = events
    self.splice = splice
  }

  package var description: String { "events \(events), splice \(splice)" }

  /// The ring engine of the splice lane needs the ring as event source.
  package static let all = [
    Engine(events: "ring", splice: "inline"), Engine(events: "ring", splice: "ring"),
    Engine(events: "ring", splice: "off"), Engine(events: "epoll", splice: "inline"),
    Engine(events: "epoll", splice: "off"),
  ]
  /// Where lanes don't matter.
  package static let eventSources = [
    Engine(events: "ring", splice: "auto"), Engine(events: "epoll", splice: "auto"),
  ]
}

/// The built daemon, found beside the test program; SLUICE_BINARY names another (a sanitizer
/// build).
package enum SluiceBinary {
  package static let path = environment("SLUICE_BINARY") ?? "\(buildDirectory)/sluice"

  /// Sanitizers multiply memory, so budgets in bytes don't apply to such a build.
  package static let isSanitized: Bool = {
    let marks = ["__asan_init", "__tsan_init", "__ubsan_handle"]
    let found = try? ChildProcess.run(
      "grep", ["-c", "-a"] + marks.flatMap { ["-e", $0] } + [path])
    return found?.exit == .code(0)
  }()

  /// Runs a command of the daemon to its end.
  package static func run(
    _ arguments: [String], limits: ChildProcess.Limits = .init(),
    until deadline: Deadline = .generous
  ) throws -> (exit: ChildProcess.Exit, output: String, error: String) {
    try ChildProcess.run(path, arguments, limits: limits, until: deadline)
  }
}

/// What a scenario wants of the daemon; everything not named here has its default.
///
/// The usual set-up is one listener `front` and one backend `back`. The texts are YAML flow
/// fragments, such as `"send-proxy: v2, retries: 0"`, put into the place they name.
package struct Setup: Sendable {
  package var engine: Engine
  package var servers: [Endpoint]
  /// Servers that are no endpoint, behind those.
  package var serverTexts: [String] = []
  package var bind: Endpoint
  package var workers = 1
  package var listener = ""
  /// What each server has beside its address.
  package var server = ""
  package var backend = ""
  package var timeouts = "drain: 5s"
  /// Whole lines at the top level.
  package var extra = ""
  package var limits = ChildProcess.Limits()

  package init(_ engine: Engine, servers: [Endpoint], bind: Endpoint? = nil) {
    self.engine = engine
    self.servers = servers
    self.bind = bind ?? .loopback(ReservedPort.take())
  }

  package func yaml(log: String) -> String {
    let list = (servers.map { "\($0)" } + serverTexts).map { address in
      server.isEmpty ? "\"\(address)\"" : "{ address: \"\(address)\", \(server) }"
    }.joined(separator: ", ")
    return """
      workers: \(workers)
      events: \(engine.events)
      log: { connections: "\(log)" }
      timeouts: { \(timeouts) }
      \(extra)
      listeners:
        front: { bind: "\(bind)", backend: back\(listener.isEmpty ? "" : ", ")\(listener) }
      backends:
        back:
          { servers: [\(list)], splice: \(engine.splice)\(backend.isEmpty ? "" : ", ")\(backend) }

      """
  }
}

/// A running `sluice run`, with its configuration and its connection log in a directory of its own.
package final class SluiceProcess: Sendable {
  package let child: ChildProcess
  package let facts: ProcessFacts
  /// Where clients go.
  package let endpoint: Endpoint
  private let directory: TemporaryDirectory

  /// Starts the daemon and waits until it serves.
  package convenience init(_ setup: Setup) throws {
    let directory = try TemporaryDirectory()
    try self.init(
      yaml: setup.yaml(log: directory.file("connections")), in: directory, at: setup.bind,
      limits: setup.limits)
  }

  /// The same with a configuration written out; `endpoint` is what `connect` goes to.
  package init(
    yaml: String, in directory: TemporaryDirectory, at endpoint: Endpoint,
    limits: ChildProcess.Limits = .init()
  ) throws {
    self.directory = directory
    self.endpoint = endpoint
    try writeFile(directory.file("sluice.yaml"), yaml)
    child = try ChildProcess(
      SluiceBinary.path, ["run", "-c", directory.file("sluice.yaml")], limits: limits)
    facts = ProcessFacts(child.pid)
    try wait(for: "the daemon to serve; it said: \(child.standardError)\n\(yaml)") {
      if let exit = child.poll() {
        throw TestFailure("the daemon ended with \(exit): \(child.standardError)\n\(yaml)")
      }
      return child.standardError.contains("serving")
    }
  }

  package func connect(from source: String? = nil, receiveBuffer: Int32? = nil) throws
    -> StreamSocket
  {
    try StreamSocket.connect(to: endpoint, from: source, receiveBuffer: receiveBuffer)
  }

  // MARK: Connection log

  package var records: [ConnectionRecord] {
    get throws { try lines.records.map { try ConnectionRecord(line: $0) } }
  }

  /// The lines of the log: about connections, those about requests that others followed, and how
  /// many of the former it says it left out because there were too many of one reason.
  package var lines: (records: [String], requests: [String], leftOut: Int) {
    get throws {
      // The last line may be half written.
      let lines = contents(of: directory.file("connections")).split(
        separator: "\n", omittingEmptySubsequences: false
      ).dropLast().map(String.init)
      let events = try lines.map { try JSONValue($0) }.filter { $0["event"] != nil }
      let leftOut = events.filter { $0["event"]?.string == "log.suppressed" }
        .reduce(0) { $0 + Int($1["lines"]?.number ?? 0) }
      let told = lines.filter { !$0.contains(",\"event\":\"") }
      let requests = told.filter {
        $0.contains(",\"requests\":") && !$0.contains(",\"end\":\"")
      }
      let over = requests.isEmpty ? told : told.filter { !requests.contains($0) }
      return (over, requests, leftOut)
    }
  }

  /// Connections that the log accounts for, by a line of their own or among those left out.
  package var endedCount: Int {
    get throws {
      let lines = try lines
      return lines.records.count + lines.leftOut
    }
  }

  /// Waits until so many connections have ended, and no more than that.
  package func records(
    _ count: Int, until deadline: Deadline = .generous
  ) throws -> [ConnectionRecord] {
    var found: [ConnectionRecord] = []
    try wait(for: "\(count) connections in the log, \(found.count) are there", until: deadline) {
      found = try records
      return found.count >= count
    }
    guard found.count == count else {
      throw TestFailure("\(found.count) connections in the log instead of \(count)")
    }
    return found
  }

  /// The record of the only connection so far.
  package func record(until deadline: Deadline = .generous) throws -> ConnectionRecord {
    try records(1, until: deadline)[0]
  }

  // MARK: Ending

  /// SIGTERM, and then a clean exit: code 0 and nothing that a sanitizer complained about.
  package func stop(until deadline: Deadline = .generous) throws {
    child.signal(SIGTERM)
    try expectExit(.code(0), until: deadline)
  }

  package func expectExit(
    _ wanted: ChildProcess.Exit, until deadline: Deadline = .generous
  ) throws {
    let exit = try child.waitForExit(until: deadline)
    let said = child.standardError
    let complaints = ["Sanitizer", "runtime error:", "Fatal error", "assert"]
    guard exit == wanted, !complaints.contains(where: said.contains) else {
      throw TestFailure("the daemon ended with \(exit) instead of \(wanted): \(said)")
    }
  }
}

/// Runs a scenario against a daemon, which must afterwards end cleanly when asked to.
package func withSluice(_ setup: Setup, _ scenario: (SluiceProcess) throws -> Void) throws {
  let sluice = try SluiceProcess(setup)
  do {
    try scenario(sluice)
  } catch {
    throw TestFailure(
      "\(error)\n\(sluice.child.poll().map { "the daemon ended with \($0)" } ?? "")"
        + "\(sluice.child.standardError)")
  }
  try sluice.stop()
}
