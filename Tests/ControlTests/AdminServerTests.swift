import AdminAPI
import Glibc
import System
import TestSupport
import Testing

@testable import Control

@Suite struct AdminServerTests {
  // ---- what is asked and answered ----------------------------------------------------------

  @Test func curlReadsEveryPath() throws {
    let admin = try RunningAdmin()
    for path in [
      "/v1/status", "/v1/listeners", "/v1/backends", "/v1/sessions", "/v1/bans", "/v1/config",
      "/v1/config?defaults", "/v1/openapi.json",
    ] {
      let result = try ChildProcess.run(
        "curl", ["-sS", "--fail", "--unix-socket", admin.path, "http://sluice\(path)"])
      #expect(result.exit == .code(0), "\(path): \(result.error)")
      _ = try JSONValue(result.output)
    }
    let metrics = try ChildProcess.run(
      "curl", ["-sS", "-i", "--unix-socket", admin.path, "http://sluice/metrics"])
    #expect(metrics.output.contains("text/plain; version=0.0.4"))
    #expect(metrics.output.hasSuffix("sluice_up 1\n"))
  }

  @Test func statusIsAnObject() throws {
    let reply = try RunningAdmin().call("GET", "/v1/status")
    #expect(reply.status == 200 && reply.head.contains("application/json"))
    #expect(try reply.json()["uptimeSeconds"]?.number == 1.5)
    #expect(try reply.json()["phase"]?.string == "serving")
  }

  @Test func aSessionQueryIsReadFromTheParameters() throws {
    let admin = try RunningAdmin()
    #expect(
      try admin.call("GET", "/v1/sessions?listener=smtp&client=192.0.2.0/24&older-than=2m&limit=7")
        .status == 200)
    let noted = admin.operations.noted.withLock { $0 }
    let query = SessionQuery(
      listener: "smtp", client: "192.0.2.0/24", olderThanSeconds: 120, limit: 7)
    #expect(noted == ["sessions \(query)"])
    for wrong in [
      "older-than=2", "limit=0", "limit=10001", "limit=x", "client=192.0.2.1/24", "client=mail",
      "listner=smtp",
    ] {
      #expect(try admin.call("GET", "/v1/sessions?\(wrong)").status == 400, "\(wrong)")
    }
  }

  @Test(
    arguments: [
      ("POST", "/v1/drain", #"{"listener":"smtp"}"#, "drain listener smtp"),
      ("POST", "/v1/resume", #"{"backend":"a","server":"b"}"#, "resume server a/b"),
      ("POST", "/v1/weight", #"{"backend":"a","server":"b","weight":256}"#, "weight 256"),
      ("POST", "/v1/log-level", #"{"level":"debug"}"#, "level debug"),
      ("POST", "/v1/kill", #"{"id":"0-1-2"}"#, "kill 0-1-2"),
      ("POST", "/v1/kill", #"{"matching":{"listener":"smtp"}}"#, "kill matching smtp"),
      ("POST", "/v1/bans", #"{"network":"192.0.2.7"}"#, "ban 192.0.2.7/32"),
      ("DELETE", "/v1/bans?network=192.0.2.0%2F24", "", "unban 192.0.2.0/24"),
      ("POST", "/v1/reload", "", "reload false"),
      ("POST", "/v1/reload", #"{"dryRun":true}"#, "reload true"),
    ])
  func aChangeIsMadeAndNoted(method: String, target: String, body: String, note: String) throws {
    let admin = try RunningAdmin()
    let start = admin.operations.events.next
    let reply = try admin.call(method, target, body: body)
    #expect(reply.status == 200, "\(reply.body)")
    #expect(admin.operations.noted.withLock { $0 } == [note])
    let events = admin.operations.events.events(from: start).events
    #expect(events.count == 1 && events[0].kind == "admin")
    #expect(events[0].fields["uid"] == "\(geteuid())")
    #expect(events[0].fields["pid"] == "\(getpid())")
    #expect(events[0].fields["result"]?.isEmpty == false)
  }

  @Test(
    arguments: [
      ("/v1/drain", "{}"), ("/v1/drain", "{"), ("/v1/weight", #"{"backend":"a","server":"b"}"#),
      ("/v1/weight", #"{"backend":"a","server":"b","weight":257}"#),
      ("/v1/log-level", #"{"level":"loud"}"#), ("/v1/kill", "{}"),
      ("/v1/kill", #"{"matching":{}}"#), ("/v1/bans", #"{"network":"mail"}"#),
      ("/v1/bans", #"{"network":"192.0.2.1/24"}"#),
      ("/v1/bans", #"{"network":"192.0.2.1","seconds":0}"#),
      ("/v1/reload", #"{"dryrun":true}"#), ("/v1/reload", #"{"waitDrainedSeconds":-1}"#),
      ("/v1/reload?dry-run", "{}"),
    ])
  func aChangeThatMakesNoSenseIsNotMadeButNoted(target: String, body: String) throws {
    let admin = try RunningAdmin()
    let start = admin.operations.events.next
    let reply = try admin.call("POST", target, body: body)
    #expect(reply.status == 400)
    #expect(try reply.json()["error"]?["code"]?.string == "invalid")
    #expect(admin.operations.noted.withLock { $0 } == [])
    #expect(admin.operations.events.events(from: start).events.count == 1)
  }

  @Test(
    arguments: [
      (.notFound, 404), (.busy, 409), (.refused, 422), (.unavailable, 503),
    ] as [(Failure.Code, Int)])
  func aFailureOfTheOperationIsTheAnswer(code: Failure.Code, status: Int) throws {
    let admin = try RunningAdmin()
    admin.operations.problem.withLock { $0 = Failure(code, "see http://u:secret@p:1") }
    let reply = try admin.call("POST", "/v1/drain", body: #"{"listener":"x"}"#)
    #expect(reply.status == status)
    #expect(try reply.json()["error"]?["code"]?.string == code.rawValue)
    #expect(!reply.body.contains("secret"))
    #expect(!admin.operations.events.events(from: 0).events.contains { "\($0)".contains("secret") })
  }

  @Test func aReloadsAnswerHasNoSecrets() throws {
    let reply = try RunningAdmin().call("POST", "/v1/reload")
    #expect(reply.body.contains("http://***@p:1"))
    #expect(!reply.body.contains("secret"))
  }

  @Test func whatIsNotThereIsSaid() throws {
    let admin = try RunningAdmin()
    #expect(try admin.call("GET", "/v1/nothing").status == 404)
    #expect(try admin.call("GET", "/").status == 404)
    let reply = try admin.call("PUT", "/v1/bans")
    #expect(reply.status == 405 && reply.head.contains("allow: GET, POST, DELETE"))
    #expect(try admin.call("POST", "/v1/status").status == 405)
    #expect(try admin.call("GET", "/v1/status?x=1").status == 400)
    #expect(try admin.call("GET", "/v1/events?x=1").status == 400)
  }

  // ---- HTTP --------------------------------------------------------------------------------

  @Test func aConnectionServesManyRequests() throws {
    let admin = try RunningAdmin()
    let socket = try admin.connect()
    for _ in 0..<3 {
      try socket.write("GET /v1/bans HTTP/1.1\r\nhost: a\r\n\r\n")
      var text = ""
      while !text.hasSuffix("]\n") {
        guard case .bytes(let more) = try socket.receive(atMost: 4096) else {
          throw TestFailure("closed after \(text)")
        }
        text += String(decoding: more, as: UTF8.self)
      }
      #expect(text.hasPrefix("HTTP/1.1 200"))
    }
  }

  @Test func aRequestInPiecesIsARequest() throws {
    let admin = try RunningAdmin()
    let socket = try admin.connect()
    let text = "POST /v1/drain HTTP/1.1\r\nhost: a\r\nconnection: close\r\n"
      + "transfer-encoding: chunked\r\n\r\n5\r\n{\"lis\r\ne\r\ntener\":\"smtp\"}\r\n0\r\n\r\n"
    for byte in text.utf8 { try socket.write([byte]) }
    #expect(
      String(decoding: try socket.readToEnd().bytes, as: UTF8.self).hasPrefix("HTTP/1.1 200"))
    #expect(admin.operations.noted.withLock { $0 } == ["drain listener smtp"])
  }

  @Test func whoSendsMoreThanOneRequestGetsOneAnswer() throws {
    let admin = try RunningAdmin()
    let one = "POST /v1/drain HTTP/1.1\r\nhost: a\r\ncontent-length: 16\r\n\r\n{\"backend\": \"a\"}"
    let text = try admin.exchange(one + one + one)
    #expect(text.ranges(of: "HTTP/1.1 200").count == 1)
    #expect(admin.operations.noted.withLock { $0 } == ["drain backend a"])
  }

  @Test func aHalfClosedCallerGetsItsAnswer() throws {
    let admin = try RunningAdmin()
    let socket = try admin.connect()
    try socket.write("GET /v1/status HTTP/1.1\r\nhost: a\r\n\r\n")
    socket.finish()
    #expect(
      String(decoding: try socket.readToEnd().bytes, as: UTF8.self).hasPrefix("HTTP/1.1 200"))
  }

  @Test func aLargeAnswerArrivesWhole() throws {
    let admin = try RunningAdmin()
    admin.operations.sessionCount.withLock { $0 = 10_000 }
    let reply = try admin.call("GET", "/v1/sessions")
    guard case .array(let sessions)? = try reply.json()["sessions"] else {
      throw TestFailure("no list")
    }
    #expect(sessions.count == 10_000)
  }

  // ---- what hostile callers do ---------------------------------------------------------------

  @Test(
    arguments: [
      ("\u{0}\u{1}\u{2}\u{3}\r\n\r\n", "400"), ("GET\r\n\r\n", "400"), ("\n\n\nx y z\n\n", "400"),
      ("GET / HTTP/9.9\r\n\r\n", "400"), ("GET / HTTP/1.1\r\nbad header\r\n\r\n", "400"),
      ("POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", "400"),
      ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "400"),
      ("POST /v1/drain HTTP/1.1\r\ncontent-length: 65537\r\n\r\n", "413"),
      ("GET /\(String(repeating: "x", count: 20_000)) HTTP/1.1\r\n\r\n", "431"),
      ("GET / HTTP/1.1\r\na: \(String(repeating: "x", count: 20_000))\r\n\r\n", "431"),
      (
        "GET / HTTP/1.1\r\n"
          + (0..<4000).map { "h\($0): x\r\n" }.joined() + "\r\n", "431"
      ),
    ])
  func garbageIsRefused(text: String, status: String) throws {
    let admin = try RunningAdmin()
    let answer = try admin.exchange(text)
    #expect(answer.hasPrefix("HTTP/1.1 \(status)"), "\(answer.prefix(200))")
    #expect(try admin.call("GET", "/v1/status").status == 200)
  }

  @Test func aBodyWithoutAnEndIsCut() throws {
    let admin = try RunningAdmin()
    let socket = try admin.connect()
    try socket.write("POST /v1/drain HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
    var isCut = false
    for _ in 0..<100 where !isCut {
      do {
        try socket.write("1000\r\n" + String(repeating: " ", count: 4096) + "\r\n")
      } catch is StreamSocket.WriteFailure {
        isCut = true
      }
    }
    let answer = String(decoding: try socket.readToEnd().bytes, as: UTF8.self)
    #expect(isCut)
    #expect(answer.hasPrefix("HTTP/1.1 413"), "\(answer)")
  }

  @Test func whoWaitsForASlowAnswerDelaysNobodyElse() throws {
    let admin = try RunningAdmin()
    admin.operations.gate.withLock { $0 = false }
    let waiting = try (0..<20).map { _ in try admin.connect() }
    for socket in waiting { try socket.write("GET /v1/status HTTP/1.1\r\nhost: a\r\n\r\n") }
    // Changes have threads of their own, and the loop has none of it.
    #expect(try admin.call("POST", "/v1/drain", body: #"{"listener":"x"}"#).status == 200)
    #expect(try admin.exchange("x\r\n\r\n").hasPrefix("HTTP/1.1 400"))
    admin.operations.gate.withLock { $0 = true }
    for socket in waiting {
      guard case .bytes(let bytes) = try socket.receive(atMost: 4096) else {
        throw TestFailure("no answer")
      }
      #expect(String(decoding: bytes, as: UTF8.self).hasPrefix("HTTP/1.1 200"))
    }
  }

  @Test func oneUserHasABoundedNumberOfConnections() throws {
    let admin = try RunningAdmin()
    var held: [StreamSocket] = []
    var refused = 0
    for _ in 0..<100 {
      let socket = try admin.connect()
      // The answer to one that is too many comes unasked.
      if held.count >= 64 {
        let answer = String(decoding: try socket.readToEnd().bytes, as: UTF8.self)
        if answer.hasPrefix("HTTP/1.1 503") { refused += 1 }
      } else {
        held.append(socket)
      }
    }
    #expect(refused == 36)
    for socket in held { socket.close() }
    try wait(for: "room") { (try? admin.call("GET", "/v1/status").status) == 200 }
  }

  @Test func callersThatVanishLeaveNothing() throws {
    let admin = try RunningAdmin()
    admin.operations.gate.withLock { $0 = false }
    for _ in 0..<5 {
      for _ in 0..<40 {
        let socket = try admin.connect()
        try socket.write("GET /v1/status HTTP/1.1\r\nhost: a\r\n\r\n")
        socket.close()
      }
    }
    admin.operations.gate.withLock { $0 = true }
    // All 64 that one user may have are free again.
    var held: [StreamSocket] = []
    try wait(for: "room for 64") {
      let socket = try admin.connect()
      try socket.write("GET /v1/bans HTTP/1.1\r\nhost: a\r\n\r\n")
      if case .bytes(let bytes) = try socket.receive(atMost: 12), bytes.last == UInt8(ascii: "0") {
        held.append(socket)
      }
      return held.count == 64
    }
  }

  // ---- the end -----------------------------------------------------------------------------

  @Test func nothingIsLeftAfterTheEnd() throws {
    let admin = try RunningAdmin()
    let idle = try admin.connect()
    try idle.write("GET /v1/events HTTP/1.1\r\nhost: a\r\n\r\n")
    admin.server.stop()
    _ = try idle.readToEnd()
    #expect(entries(of: admin.directory.path) == [])
    admin.operations.events.post("x", "nobody listens")
    admin.server.stop()
  }
}
