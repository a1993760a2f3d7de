import Glibc
import System
import TestSupport
import Testing

// Somebody who may look at the server, and no more, does to the admin socket whatever can be done
// to one: hundreds of connections at once, garbage, half requests, heads and bodies without an end,
// bytes that trickle, answers and events that nobody reads. Programs that ask are killed in the
// middle. The operator's own commands are carried out all the same, and the traffic notices
// nothing: no connection fails and no byte differs.

private let hostileUser: UInt32 = 1

@Test(
  "hostile callers of the admin socket",
  .enabled(if: geteuid() == 0, "only root may become somebody else"),
  arguments: Engine.eventSources)
func hostileCallersOfTheAdminSocket(engine: Engine) throws {
  let backend = try EchoServer()
  let front = Endpoint.loopback(ReservedPort.take())
  let yaml = """
    listeners: { front: { bind: "\(front)", type: server-first, backend: back } }
    backends: { back: { servers: ["\(backend.endpoint)"] } }
    """
  let admin = "mode: \"0666\", view: [\"\(hostileUser)\"]"
  try withReloadedSluice(engine, yaml, at: front, admin: admin) { sluice in
    let load = CheckedLoad(sluice.process, connections: 20, pauseMs: 5)
    let isOver = Guarded(false)
    let hostile = HostileCaller.allCases.map { caller in
      Job("\(caller)", as: hostileUser) {
        repeat {
          try caller.misbehave(.unix(sluice.socket)) { isOver.withLock { $0 } }
          // What is tried is whether they get in the way, not who is faster.
          pause(ms: 20)
        } while !isOver.withLock { $0 }
      }
    }
    for round in 1...5 {
      try killSomeInTheMiddle(sluice)
      // The operator's commands, as ever.
      #expect(try sluice.done("status")["phase"]?.string == "serving")
      #expect(try sluice.done("sessions", "--limit", "5")["sessions"]?.items.count == 5)
      try sluice.done("ban", "192.0.2.\(round)", "--reason", "hostile")
      try sluice.done("weight", "back", "\(backend.endpoint)", "\(round)")
      try sluice.write("timeouts: { idle: \(round)h }\n\(yaml)")
      #expect(try sluice.done("reload")["outcome"]?.string == "applied")
    }
    #expect(try sluice.done("bans").all.count == 5)
    isOver.withLock { $0 = true }
    for caller in hostile { try caller.value() }
    try sluice.expectAllWhole(try load.stop())
    // What they wanted is in the audit trail as denied, and was not done.
    let said = sluice.process.child.standardError
    #expect(said.contains("POST /v1/drain: denied"))
    #expect(try sluice.done("listeners").all.first?["state"]?.string == "serving")
  }
  try backend.stop()
}

/// Programs that ask and are killed: before the request is whole, while the answer is written,
/// while events are followed.
private func killSomeInTheMiddle(_ sluice: ReloadedSluice) throws {
  let half = try ChildProcess("socat", ["-", "UNIX-CONNECT:\(sluice.socket)"])
  half.write("POST /v1/reload HTTP/1.1\r\nhost: sluice\r\ncontent-length: 20\r\n\r\n{\"dry")
  let answered = try ChildProcess("socat", ["-", "UNIX-CONNECT:\(sluice.socket)"])
  answered.write("GET /v1/sessions?limit=1000 HTTP/1.1\r\nhost: sluice\r\n\r\n")
  let follower = try ChildProcess(
    SluiceBinary.path, ["ctl", "events", "--json", "--socket", sluice.socket])
  try wait(for: "all three to be at it: \(follower.standardError)\(answered.standardError)") {
    follower.standardOutput.contains("heartbeat") && !answered.standardOutput.isEmpty
  }
  for program in [half, answered, follower] {
    program.signal(SIGKILL)
    #expect(try program.waitForExit() == .signal(SIGKILL))
  }
}

/// Ways of being a nuisance, each on a thread of its own.
private enum HostileCaller: CaseIterable {
  case crowd, garbage, oversized, slowWriter, slowReader, deafFollower, wouldBeOperator

  func misbehave(_ socket: Endpoint, _ isOver: () -> Bool) throws {
    switch self {
    case .crowd: try HostileCaller.crowd(socket, isOver)
    case .garbage: try HostileCaller.garbage(socket)
    case .oversized: try HostileCaller.oversized(socket)
    case .slowWriter: try HostileCaller.slowWriter(socket, isOver)
    case .slowReader: try HostileCaller.slowReader(socket, isOver)
    case .deafFollower: try HostileCaller.deafFollower(socket, isOver)
    case .wouldBeOperator: try HostileCaller.wouldBeOperator(socket)
    }
  }

  /// Being refused, cut or answered: all is fair.
  private static func attempt(
    _ socket: Endpoint, _ text: [UInt8], _ body: (StreamSocket) throws -> Void
  ) throws {
    do {
      let caller = try StreamSocket.connect(to: socket, receiveBuffer: 1024)
      try caller.write(text)
      try body(caller)
    } catch is StreamSocket.WriteFailure {
    } catch let failure as StreamSocket.ConnectFailure where failure.code == EAGAIN {
      // The queue of those not yet accepted is full, connect(2).
      pause(ms: 1)
    }
  }

  private static func crowd(_ socket: Endpoint, _ isOver: () -> Bool) throws {
    var held: [StreamSocket] = []
    for index in 0..<200 {
      try attempt(socket, Array("GET /v1/status HTTP/1.1\r\nhost: \(index)".utf8)) {
        held.append($0)
      }
    }
    for _ in 0..<100 where !isOver() { pause(ms: 5) }
    for caller in held { caller.close() }
  }

  private static func garbage(_ socket: Endpoint) throws {
    var generator = SeededGenerator(seed: 4)
    for index in 0..<20 {
      let count = Int.random(in: 1...400, using: &generator)
      let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
      let text = index % 2 == 0 ? bytes : Array("GET ".utf8) + bytes
      try attempt(socket, text + Array("\r\n\r\n".utf8)) { caller in
        if index % 3 == 0 { caller.finish() }
        _ = try caller.receive(withinMs: 5)
      }
    }
  }

  private static func oversized(_ socket: Endpoint) throws {
    let long = String(repeating: "x", count: 100_000)
    for text in [
      "GET /\(long) HTTP/1.1\r\nhost: a\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\nb: \(long)\r\n\r\n",
      "POST /v1/ban HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n\(long)",
      "POST /v1/ban HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n186A0\r\n\(long)",
    ] {
      try attempt(socket, Array(text.utf8)) { _ = try $0.readToEnd() }
    }
  }

  private static func slowWriter(_ socket: Endpoint, _ isOver: () -> Bool) throws {
    try attempt(socket, Array("GET /v1/status HTTP/1.1\r\n".utf8)) { caller in
      for _ in 0..<500 where !isOver() {
        try caller.write("a")
        pause(ms: 2)
      }
    }
  }

  /// Asks for a long answer, again and again, and takes none.
  private static func slowReader(_ socket: Endpoint, _ isOver: () -> Bool) throws {
    let request = Array("GET /v1/sessions?limit=1000 HTTP/1.1\r\nhost: a\r\n\r\n".utf8)
    try attempt(socket, Array(repeating: request, count: 5).flatMap { $0 }) { _ in
      for _ in 0..<200 where !isOver() { pause(ms: 5) }
    }
  }

  private static func deafFollower(_ socket: Endpoint, _ isOver: () -> Bool) throws {
    try attempt(socket, Array("GET /v1/events HTTP/1.1\r\nhost: a\r\n\r\n".utf8)) { _ in
      for _ in 0..<200 where !isOver() { pause(ms: 5) }
    }
  }

  private static func wouldBeOperator(_ socket: Endpoint) throws {
    let body = #"{"listener":"front"}"#
    let text =
      "POST /v1/drain HTTP/1.1\r\nhost: a\r\nconnection: close\r\n"
      + "content-length: \(body.utf8.count)\r\n\r\n\(body)"
    try attempt(socket, Array(text.utf8)) { caller in
      let answer = String(decoding: try caller.readToEnd().bytes, as: UTF8.self)
      guard !answer.hasPrefix("HTTP/1.1 2") else { throw TestFailure("carried out: \(answer)") }
    }
  }
}
