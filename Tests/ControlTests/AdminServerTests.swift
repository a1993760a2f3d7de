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

  @Test func noAnswerHasSecrets() throws {
    let admin = try RunningAdmin()
    let secret = "http://u:secret@p:1"
    admin.operations.client.withLock { $0 = secret }
    admin.operations.problem.withLock { $0 = Failure(.refused, "\(secret) is no proxy") }
    for path in ["/v1/status", "/v1/sessions"] {
      let body = try admin.call("GET", path).body
      #expect(body.contains("http://***@p:1") && !body.contains("secret"), "\(body)")
    }
    let socket = try admin.connect()
    try socket.write("GET /v1/events HTTP/1.0\r\n\r\n")
    var seen: [UInt8] = []
    try wait(for: "the event") {
      admin.operations.events.post("x", secret, ["y": secret])
      if case .bytes(let more)? = try socket.receive(withinMs: 20) { seen += more }
      return String(decoding: seen, as: UTF8.self).contains("\"y\":\"http://***@p:1\"")
    }
    #expect(!String(decoding: seen, as: UTF8.self).contains("secret"))
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
