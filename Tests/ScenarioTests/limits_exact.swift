import Synchronization
import TestSupport
import Testing

// Eight threads storm a limit through two workers, in connections that last a moment. The server
// never has one more than the limit, most threads are turned away again and again, and afterwards
// exactly as many as the limit fit: no place was lost, and none was found twice.

/// Where the limit is set.
enum LimitPlace: String, CaseIterable, Sendable {
  case listener, backend, server, source

  func apply(_ limit: Int, to setup: inout Setup) {
    switch self {
    case .listener: setup.listener += ", max-connections: \(limit)"
    case .backend: setup.backend = "max-connections: \(limit)"
    case .server: setup.server = "max-connections: \(limit)"
    case .source: setup.extra = "limits: { per-source: \(limit) }"
    }
  }

  var code: String { self == .server ? "limit.backend" : "limit.\(rawValue)" }
}

@Test("limits exact", arguments: Engine.eventSources, LimitPlace.allCases)
func limitsExact(engine: Engine, place: LimitPlace) throws {
  let limit = 5
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.workers = 2
  setup.listener = "type: server-first, protocol: smtp"
  place.apply(limit, to: &setup)
  try withSluice(setup) { sluice in
    let crowd = Crowd()
    let serving = Job("server") { try crowd.serve(server) }
    let storm = (0..<8).map { thread in
      Job("client \(thread)") { () -> (served: Int, refused: Int) in
        var (served, refused) = (0, 0)
        for _ in 0..<150 {
          let client = try sluice.connect()
          let (bytes, ending) = try client.readToEnd()
          client.close()
          #expect(ending == .fin)
          if bytes == Array("220 \r\n".utf8) {
            served += 1
          } else {
            #expect(String(decoding: bytes, as: UTF8.self).hasPrefix("421 4."))
            refused += 1
          }
        }
        return (served, refused)
      }
    }
    let outcomes = try storm.map { try $0.value() }
    #expect(outcomes.allSatisfy { $0.served + $0.refused == 150 })
    #expect(outcomes.reduce(0) { $0 + $1.served } >= 8)
    #expect(outcomes.reduce(0) { $0 + $1.refused } > 0)
    crowd.stop()
    try serving.value()
    #expect(crowd.most == limit, "\(crowd.most) at once")

    // As many as the limit, all at once; and the one beyond is told why. The last of those before
    // may not be closed yet.
    for _ in 0..<2 {
      var clients: [StreamSocket] = []
      var upstreams: [StreamSocket] = []
      try wait(for: "\(limit) places") {
        let client = try sluice.connect()
        if let upstream = try server.accept(withinMs: 20) {
          clients.append(client)
          upstreams.append(upstream)
        } else {
          client.close()
        }
        return clients.count == limit
      }
      let late = try sluice.connect()
      let heard = try late.readToEnd()
      #expect(String(decoding: heard.bytes, as: UTF8.self).hasPrefix("421 4."))
      late.close()
      #expect(try server.accept(withinMs: 20) == nil)
      for socket in clients + upstreams { socket.close() }
    }
    // Of many rejections only some have a line of their own.
    #expect(Set(try sluice.records.compactMap(\.reason)) == [place.code])
  }
}

@Test("a queue loses nobody", arguments: Engine.eventSources, LimitPlace.allCases)
func aQueueLosesNobody(engine: Engine, place: LimitPlace) throws {
  // The same storm, but whoever meets the limit waits: all are served, never more than the limit at
  // once, and each place that becomes free is found by somebody who waits.
  let limit = 3
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.workers = 2
  setup.listener = "type: server-first, queue: { length: 100, timeout: 60s }"
  place.apply(limit, to: &setup)
  try withSluice(setup) { sluice in
    let crowd = Crowd()
    let serving = Job("server") { try crowd.serve(server) }
    let storm = (0..<8).map { thread in
      Job("client \(thread)") {
        var served = 0
        for _ in 0..<100 {
          let client = try sluice.connect()
          if try client.readToEnd().bytes == Array("220 \r\n".utf8) { served += 1 }
          client.close()
        }
        return served
      }
    }
    #expect(try storm.map { try $0.value() }.reduce(0, +) == 8 * 100)
    crowd.stop()
    try serving.value()
    #expect(crowd.most == limit, "\(crowd.most) at once")
  }
}

/// How many connections a server has at once, seen from its side.
private final class Crowd: Sendable {
  private let now = Atomic(0)
  private let highest = Atomic(0)
  private let isOver = Atomic(false)

  var most: Int { highest.load(ordering: .sequentiallyConsistent) }

  func stop() { isOver.store(true, ordering: .sequentiallyConsistent) }

  /// Holds each connection for some milliseconds and closes it first, so that none is still counted
  /// here when its place has been given to another.
  func serve(_ server: ListeningSocket) throws {
    var held: [(socket: StreamSocket, until: Int64)] = []
    while !isOver.load(ordering: .sequentiallyConsistent) || !held.isEmpty {
      if let socket = try server.accept(withinMs: 1) {
        let count = now.add(1, ordering: .sequentiallyConsistent).newValue
        _ = highest.max(count, ordering: .sequentiallyConsistent)
        held.append((socket, monotonicUs() + 3000))
      }
      let due = held.count { $0.until <= monotonicUs() }
      for entry in held.prefix(due) {
        try entry.socket.write("220 \r\n")
        now.subtract(1, ordering: .sequentiallyConsistent)
        entry.socket.close()
      }
      held.removeFirst(due)
    }
  }
}

@Test("limits by source", arguments: Engine.eventSources)
func limitsBySource(engine: Engine) throws {
  // The real clients are those that the headers name: each has its own count, an IPv6 network has
  // one together, and an exception holds for a network.
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.workers = 2
  setup.listener = "type: server-first, protocol: imap, trusted-networks: [127.0.0.1]"
  setup.extra = """
    limits:
      per-source: 2
      exceptions: [{ networks: 198.51.100.0/24, per-source: 4 }]
    """
  try withSluice(setup) { sluice in
    var open: [StreamSocket] = []
    func connect(_ client: String, _ local: String, served: Bool) throws {
      let socket = try sluice.connect()
      let family = client.contains(":") ? "TCP6" : "TCP4"
      try socket.write("PROXY \(family) \(client) \(local) 4000 143\r\n")
      guard served else {
        let heard = try socket.readToEnd().bytes
        #expect(
          String(decoding: heard, as: UTF8.self)
            == "* BYE [UNAVAILABLE] Too many connections from your address\r\n")
        return socket.close()
      }
      open += [socket, try server.accept()]
    }
    for client in ["192.0.2.1", "192.0.2.2"] {
      for _ in 0..<2 { try connect(client, "192.0.2.9", served: true) }
      try connect(client, "192.0.2.9", served: false)
    }
    try connect("2001:db8::1", "2001:db8::9", served: true)
    try connect("2001:db8::ffff:2", "2001:db8::9", served: true)
    try connect("2001:db8::3", "2001:db8::9", served: false)
    try connect("2001:db8:0:1::3", "2001:db8::9", served: true)
    for _ in 0..<4 { try connect("198.51.100.7", "192.0.2.9", served: true) }
    try connect("198.51.100.7", "192.0.2.9", served: false)
    let refused = try sluice.records(4)
    #expect(refused.allSatisfy { $0.reason == "limit.source" })
    for socket in open { socket.close() }
    _ = try sluice.records(4 + open.count / 2)
    for _ in 0..<2 { try connect("192.0.2.1", "192.0.2.9", served: true) }
    try connect("192.0.2.1", "192.0.2.9", served: false)
  }
}

@Test("limits by rate", arguments: Engine.eventSources)
func limitsByRate(engine: Engine) throws {
  // Twenty a second: no more than as many in one burst, and what passes with time.
  let server = try ListeningSocket()
  var setup = Setup(engine, servers: [server.endpoint])
  setup.workers = 2
  setup.listener = "type: server-first, protocol: pop3"
  setup.extra = "limits: { per-source-rate: 20 }"
  try withSluice(setup) { sluice in
    let began = monotonicUs()
    let clients = try (0..<60).map { _ in try sluice.connect() }
    var served = 0
    while let upstream = try server.accept(withinMs: 200) {
      try upstream.write("+OK\r\n")
      upstream.close()
      served += 1
    }
    let tookUs = Int(monotonicUs() - began)
    var heard = 0
    for client in clients {
      let bytes = try client.readToEnd().bytes
      client.close()
      if bytes == Array("+OK\r\n".utf8) {
        heard += 1
      } else {
        #expect(
          String(decoding: bytes, as: UTF8.self)
            == "-ERR [SYS/TEMP] Too many connections from your address\r\n")
      }
    }
    #expect(heard == served && served >= 20)
    #expect(served <= 20 + tookUs / 50_000 + 1)
    try wait(for: "the log of 60") { try sluice.endedCount == 60 }
    #expect(Set(try sluice.records.compactMap(\.reason)) == ["limit.source-rate"])
  }
}
