import Glibc
import System
import TestSupport
import Testing

/// A daemon with an admin socket, whose configuration is rewritten while it runs.
final class ReloadedSluice: Sendable {
  let process: SluiceProcess
  let directory: TemporaryDirectory

  /// - Parameters:
  ///   - yaml: listeners and backends, and whatever else; where the log goes and the admin socket
  ///     are given.
  ///   - admin: more of what stands under `admin`, as a YAML flow fragment.
  init(
    _ engine: Engine, _ yaml: String, at endpoint: Endpoint, head: String = "workers: 2",
    state: String? = nil, admin: String = ""
  ) throws {
    directory = try TemporaryDirectory()
    fixed = """
      events: \(engine.events)
      admin: { socket: "\(directory.file("admin"))"\(admin.isEmpty ? "" : ", ")\(admin) }
      log: { connections: "\(directory.file("connections"))" }
      state-directory: "\(state ?? directory.path)"
      """
    process = try SluiceProcess(
      yaml: "\(head)\n\(fixed)\n\(yaml)", in: directory, at: endpoint)
  }

  /// What a rewritten configuration says again.
  private let fixed: String

  var configuration: String { directory.file("sluice.yaml") }
  /// The admin socket.
  var socket: String { directory.file("admin") }

  func write(_ yaml: String, head: String = "workers: 2") throws {
    try writeFile(configuration, text(yaml, head: head))
  }

  /// The whole file.
  func text(_ yaml: String, head: String = "workers: 2") -> String {
    "\(head)\n\(fixed)\n\(yaml)"
  }

  /// Runs `sluice ctl`; the answer is the JSON it prints.
  func ctl(_ arguments: String...) throws -> (exit: ChildProcess.Exit, answer: JSONValue?) {
    let result = try SluiceBinary.run(
      ["ctl"] + arguments.prefix(1) + ["--socket", socket, "--json"]
        + arguments.dropFirst())
    return (result.exit, try? JSONValue(result.output))
  }

  /// The same, which must succeed.
  @discardableResult
  func done(_ arguments: String...) throws -> JSONValue {
    let result = try SluiceBinary.run(
      ["ctl"] + arguments.prefix(1) + ["--socket", socket, "--json"]
        + arguments.dropFirst())
    guard result.exit == .code(0) else {
      throw TestFailure("ctl \(arguments): \(result.exit) \(result.output)\(result.error)")
    }
    return try JSONValue(result.output.isEmpty ? "{}" : result.output)
  }

  /// SIGHUP, and then the line that says what came of it.
  func hangUp(until deadline: Deadline = .generous) throws -> String {
    let before = outcomes.count
    process.child.signal(SIGHUP)
    try wait(for: "the reload; \(process.child.standardError.suffix(500))", until: deadline) {
      outcomes.count > before
    }
    return outcomes[before]
  }

  private var outcomes: [String] {
    process.child.standardError.split(separator: "\n").map(String.init).filter {
      $0.hasPrefix("sluice: reloaded: ") || $0.hasPrefix("sluice: the reload was refused")
    }
  }
}

/// Ends cleanly afterwards.
func withReloadedSluice(
  _ engine: Engine, _ yaml: String, at endpoint: Endpoint, head: String = "workers: 2",
  admin: String = "", _ scenario: (ReloadedSluice) throws -> Void
) throws {
  let sluice = try ReloadedSluice(engine, yaml, at: endpoint, head: head, admin: admin)
  do {
    try scenario(sluice)
  } catch {
    throw TestFailure("\(error)\n\(sluice.process.child.standardError.suffix(3000))")
  }
  try sluice.process.stop()
}

/// Sends back what it gets, on one thread for all its connections.
final class EchoServer: Sendable {
  private let listening: ListeningSocket
  private let isStopping = Guarded(false)
  private let thread: Job<Void>

  var endpoint: Endpoint { listening.endpoint }

  init(_ endpoint: Endpoint = .loopback(0)) throws {
    let listening = try ListeningSocket(endpoint)
    self.listening = listening
    let isStopping = isStopping
    thread = Job("echo server") {
      try EchoServer.serve(listening) { isStopping.withLock { $0 } }
    }
  }

  func stop() throws {
    isStopping.withLock { $0 = true }
    try thread.value()
  }

  private static func serve(_ listening: ListeningSocket, _ isOver: () -> Bool) throws {
    var sockets: [StreamSocket] = []
    while !isOver() {
      var ready = [pollfd(fd: listening.descriptor, events: Int16(POLLIN), revents: 0)]
      ready += sockets.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
      guard poll(&ready, nfds_t(ready.count), 50) > 0 else { continue }
      var over: Set<Int> = []
      for (index, socket) in sockets.enumerated() where ready[index + 1].revents != 0 {
        switch try socket.receive(atMost: 65_536) {
        case .bytes(let bytes): try? socket.write(bytes)
        case .ended: over.insert(index)
        }
      }
      for index in over { sockets[index].close() }
      sockets = sockets.enumerated().filter { !over.contains($0.offset) }.map(\.element)
      if ready[0].revents != 0 { sockets.append(try listening.accept()) }
    }
    for socket in sockets { socket.close() }
  }
}

/// One exchange with an echo server behind the daemon.
func roundTrip(_ client: StreamSocket, _ pattern: Pattern, at offset: Int, count: Int) throws {
  try client.write(pattern.bytes(at: offset, count: count))
  try pattern.check(try client.readExactly(count), at: offset)
}

extension JSONValue {
  /// Of a list, as the command prints it: a list, or an object with one in it.
  var all: [JSONValue] {
    if case .object(let members) = self, let list = members.values.first, members.count == 1 {
      return list.items
    }
    return items
  }

  var items: [JSONValue] { if case .array(let items) = self { items } else { [] } }

  /// The texts of a list of texts.
  func texts(_ key: String) -> [String] { (self[key]?.items ?? []).compactMap(\.string) }
}
