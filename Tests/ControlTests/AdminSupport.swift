import AdminAPI
import Config
import Control
import Glibc
import System
import TestSupport

/// What the admin server asks when only the way over the socket is tested: answers that are known,
/// and a note of what was asked. What the running server makes of these is for the scenarios.
final class NotedOperations: Operations {
  let events = EventHub()
  let noted = Guarded<[String]>([])
  /// What `status` waits for, to see what happens meanwhile.
  let gate = Guarded(true)
  let sessionCount = Guarded(2)
  let client = Guarded("192.0.2.1:5")
  let problem = Guarded<Failure?>(nil)

  private func note(_ text: String) throws(Failure) {
    noted.withLock { $0.append(text) }
    if let failure = problem.withLock({ $0 }) { throw failure }
  }

  func status() -> Status {
    while !gate.withLock({ $0 }) { pause(ms: 2) }
    return Status(
      version: "1", pid: 7, uptimeSeconds: 1.5, configuration: "/etc/sluice.yaml", generation: 1,
      phase: .serving, workers: 2, events: "epoll", connections: 3, maxConnections: 10,
      drains: [DrainProgress(what: "listener smtp", connections: 1, remainingSeconds: 3)],
      runtimeChanges: ["server a/b is drained"],
      reloads: [
        ReloadSummary(time: "t", outcome: .refused, generation: 1, changes: 0,
          problem: "http://u:secret@p:1 is no proxy")
      ])
  }

  func listeners() -> [ListenerStatus] {
    [
      ListenerStatus(
        name: "smtp", type: "tcp", binds: ["127.0.0.1:25"], backend: "postfix", state: .serving,
        rejected: ["ban": 2])
    ]
  }

  func backends() -> [BackendStatus] {
    [
      BackendStatus(
        name: "postfix", balance: "round-robin", state: .serving,
        servers: [ServerStatus(name: "a", address: "127.0.0.1:1", state: .down, reason: "refused")])
    ]
  }

  func sessions(_ query: SessionQuery) throws(Failure) -> SessionList {
    try note("sessions \(query)")
    let count = sessionCount.withLock { $0 }
    let client = client.withLock { $0 }
    let sessions = (0..<count).map { index in
      SessionStatus(
        id: "0-\(index)-1", uniqueID: "01J", listener: "smtp", client: client,
        isDialled: true, ageSeconds: 1, idleSeconds: 0.5, bytesUp: 10, bytesDown: 20)
    }
    return SessionList(sessions: sessions, next: "x")
  }

  func explain(_ query: ExplainQuery) throws(Failure) -> Explanation {
    try note("explain \(query)")
    var explained = Explanation(
      listener: query.listener, type: "tls", client: query.from, local: query.to ?? "-",
      sni: query.sni ?? "mail.example", alpn: query.alpn,
      timeouts: .init(
        prefaceMs: 1, connectMs: 2, startTLSMs: 5, idleMs: 0, halfClosedMs: 3, maxAgeMs: 4))
    explained.rules = [
      .init(name: "a", matches: false, why: "wants x"), .init(name: "b", matches: true),
    ]
    (explained.rule, explained.reason, explained.reply) = ("b", "route.rejected", "421")
    var egress = Explanation.Egress(name: "office", url: "https://a.example", user: "ann")
    (egress.action, egress.isDirect, egress.bypass) = ("allow", true, "a.example")
    egress.resolution = "it resolves"
    egress.addresses = [.init(address: "192.0.2.1", isAllowed: false, why: "the guard")]
    explained.egress = egress
    explained.backend = .init(
      name: "b", balance: "round-robin", retries: 2,
      servers: [.init(name: "s", weight: 1, isBackup: false, state: .up)], sendProxy: "v2",
      header: "0d0a", fields: [.init(name: "version", value: "2", offset: 12, length: 1)])
    return explained
  }

  func kill(_ request: KillRequest) throws(Failure) -> KillResult {
    try note("kill \(request.id ?? "matching \(request.matching?.listener ?? "")")")
    return KillResult(killed: 1)
  }

  func reload(_ request: ReloadRequest) throws(Failure) -> ReloadResult {
    try note("reload \(request.dryRun)")
    return ReloadResult(
      outcome: request.dryRun ? .dryRun : .refused, generation: 1,
      changes: [.init(.changed, "egress", "parent http://u:secret@p:1 added")],
      problems: request.dryRun ? [] : ["f:1:1: http://u:secret@p:1 is no proxy"])
  }

  func drain(_ target: Target) throws(Failure) { try note("drain \(target)") }
  func resume(_ target: Target) throws(Failure) { try note("resume \(target)") }
  func setWeight(_ request: WeightRequest) throws(Failure) { try note("weight \(request.weight)") }
  func setLogLevel(_ request: LogLevelRequest) throws(Failure) {
    try note("level \(request.level)")
  }
  func configuration(defaults: Bool) -> String { "workers: \(defaults ? "auto" : "2")\n" }
  func metrics() -> [UInt8] { Array("sluice_up 1\n".utf8) }
  func bans() -> [Ban] { [Ban(network: "192.0.2.0/24", until: "t", reason: "spam", hits: 3)] }

  func ban(_ request: BanRequest) throws(Failure) -> Ban {
    try note("ban \(request.network)")
    return Ban(network: request.network, reason: request.reason)
  }

  func unban(_ network: String) throws(Failure) { try note("unban \(network)") }
}

/// A running admin server on a socket of its own.
final class RunningAdmin {
  let operations = NotedOperations()
  let directory: TemporaryDirectory
  let server: AdminServer
  var path: String { server.path }

  init(
    mode: UInt32 = 0o600, operate: [String] = [], view: [String] = [],
    deadlines: HTTPDeadlines = HTTPDeadlines()
  ) throws {
    directory = try TemporaryDirectory()
    server = try AdminServer(
      AdminSettings(
        socket: directory.file("admin.sock"), mode: mode,
        operate: operate.compactMap { AdminSettings.Account($0) },
        view: view.compactMap { AdminSettings.Account($0) }), descriptors: 100_000,
      deadlines: deadlines)
    try server.start(operations)
  }

  deinit { server.stop() }

  func connect(receiveBuffer: Int32? = nil) throws -> StreamSocket {
    let deadline = Deadline.generous
    while true {
      do {
        return try StreamSocket.connect(to: .unix(path), receiveBuffer: receiveBuffer)
      } catch let failure as StreamSocket.ConnectFailure where failure.code == EAGAIN {
        // The queue of those not yet accepted is full, connect(2).
        guard !deadline.hasPassed else { throw failure }
        pause(ms: 2)
      }
    }
  }

  /// Sends these bytes and reads until the server closes.
  func exchange(_ text: String) throws -> String {
    let socket = try connect()
    try socket.write(text)
    return String(decoding: try socket.readToEnd().bytes, as: UTF8.self)
  }

  /// One request, by hand.
  func call(_ method: String, _ target: String, body: String = "") throws -> Reply {
    let text = try exchange(
      "\(method) \(target) HTTP/1.1\r\nhost: sluice\r\nconnection: close\r\n"
        + "content-length: \(body.utf8.count)\r\n\r\n\(body)")
    return try Reply(text)
  }

  struct Reply {
    var status: Int
    var head: String
    var body: String

    init(_ text: String) throws {
      guard let end = text.firstRange(of: "\r\n\r\n"), let status = Int(text.dropFirst(9).prefix(3))
      else { throw TestFailure("no answer: \(text.debugDescription)") }
      self.status = status
      head = String(text[..<end.lowerBound])
      body = String(text[end.upperBound...])
    }

    func json() throws -> JSONValue { try JSONValue(body) }
  }
}
