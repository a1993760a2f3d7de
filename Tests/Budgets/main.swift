// The data path alone, as the daemon runs it with its log off: one worker, and a listener for each
// way through it. What a run counts is the same as of the daemon, and it builds in a third of the
// time, so that every test run can count what optimised code does (tools/budgets).
//
//   sluice-budgets SOURCE SERVER_PORT PATH=PORT …    until SIGTERM

import DataPlane
import Glibc
import Routing
import System
import Wire

/// A way through the proxy, as `PATHS` of traffic.py names and describes it.
struct Path {
  let name: String
  let port: UInt16

  init(_ argument: String) throws {
    let parts = argument.split(separator: "=")
    guard parts.count == 2, let port = UInt16(parts[1]) else { throw Misuse(what: argument) }
    self.name = String(parts[0])
    self.port = port
  }

  var isIntroduced: Bool { name.contains("header-in") }
  var readsHello: Bool { name.hasPrefix("sni") }
  var isTold: Bool { name.hasSuffix("out") }
}

struct Misuse: Error {
  let what: String
}

let loopback: UInt32 = 0x7f00_0001
/// As many names as the configuration of the daemon's run has.
let names = 10
/// The defaults of the configuration.
let (connectMs, idleMs, halfClosedMs): (UInt32, UInt32, UInt32) = (5000, 2_100_000, 120_000)

func listener(_ path: Path) throws -> ListenerEntry {
  let backend = path.isTold ? 1 : 0
  let rules = path.readsHello ? 0..<names : 0..<0
  return ListenerEntry(
    name: path.name, backend: backend,
    rules: rules.map { RuleEntry(name: "rule-\($0)", action: .backend(backend)) },
    conditions: rules.isEmpty
      ? nil
      : RuleTable(rules.map { RuleConditions(names: [NamePattern("host-\($0).example.com")!]) }),
    connectMs: connectMs, idleMs: idleMs, halfClosedMs: halfClosedMs, maxAgeMs: 0,
    trust: path.isIntroduced
      ? TrustTable([(try Network(parsing: "127.0.0.0/8"), .require)]) : TrustTable(),
    hello: path.readsHello ? HelloPolicy() : nil)
}

func table(_ paths: [Path], serverPort: UInt16) throws -> RouteTable {
  func backend(_ index: Int, _ header: ProxyHeaderVersion) -> BackendEntry {
    BackendEntry(
      name: "backend-\(index)", servers: index..<(index + 1), retries: 2, header: header,
      splice: .inline, source: nil, congestion: "")
  }
  let server = ServerEntry(name: "server", address: .ipv4(loopback, port: serverPort))
  return RouteTable(
    listeners: try paths.map(listener), backends: [backend(0, .none), backend(1, .v2)],
    servers: [server, server],
    sockets: paths.indices.map {
      SocketEntry(
        tag: UInt32($0), listener: $0, local: .ipv4(loopback, port: paths[$0].port))
    })
}

func run(_ arguments: [String]) throws {
  guard arguments.count > 2, let serverPort = UInt16(arguments[1]) else {
    throw Misuse(what: "SOURCE SERVER_PORT PATH=PORT …")
  }
  let paths = try arguments.dropFirst(2).map(Path.init)
  try Signals.block()
  let signals = try Signals()
  let pool = try WorkerPool(
    PoolSettings(
      events: arguments[0] == "epoll" ? .epoll : .ring, workers: 1, maxConnections: 9000,
      descriptors: 18_000),
    table: try table(paths, serverPort: serverPort),
    listening: paths.enumerated().map { index, path in
      ListenAddress(
        tag: UInt32(index), address: .ipv4(loopback, port: path.port), backlog: 4096)
    },
    sink: nil)
  print("serving")
  fflush(nil)
  while try signals.next() == nil {
    _ = try Readiness.reading(signals.number, waitingAtMostMs: 60_000)
  }
  pool.stopAndJoin()
}

do {
  try run(Array(CommandLine.arguments.dropFirst()))
} catch {
  print("sluice-budgets: \(error)")
  exit(1)
}
