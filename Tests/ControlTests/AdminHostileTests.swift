import AdminAPI
import Glibc
import System
import TestSupport
import Testing

@testable import Control

/// Callers of the admin socket that do what no honest one does.
@Suite struct AdminHostileTests {
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

  @Test func whoAsksForMuchWaitsForMuch() throws {
    let lane = HTTPLane(threads: 1, capacity: 6)
    defer { lane.stop() }
    let (begun, isOpen, order) = (Guarded(false), Guarded(false), Guarded<[UInt32]>([]))
    func submit(_ user: UInt32) -> Bool {
      lane.submit(for: user) { order.withLock { $0.append(user) } }
    }
    let isTaken = lane.submit(for: 1) {
      begun.withLock { $0 = true }
      while !isOpen.withLock({ $0 }) { pause(ms: 1) }
    }
    try wait(for: "the first") { begun.withLock { $0 } }
    #expect(isTaken && submit(1) && submit(1) && submit(1) && submit(2) && submit(3))
    #expect(!submit(4))
    isOpen.withLock { $0 = true }
    try wait(for: "all") { order.withLock { $0.count } == 5 }
    #expect(order.withLock { $0 } == [1, 2, 3, 1, 1])
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

  // ---- deadlines ---------------------------------------------------------------------------

  private func quick(_ change: (inout HTTPDeadlines) -> Void) -> HTTPDeadlines {
    var deadlines = HTTPDeadlines()
    change(&deadlines)
    return deadlines
  }

  @Test(
    arguments: [
      "", "GET /v1/status HT", "GET /v1/status HTTP/1.1\r\nhost: a\r\n",
      "POST /v1/drain HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n{",
    ])
  func aRequestThatDoesNotEndIsCut(text: String) throws {
    let admin = try RunningAdmin(deadlines: quick { $0.requestMs = 50 })
    let socket = try admin.connect()
    try socket.write(text)
    #expect(try socket.readToEnd().bytes == [])
    #expect(admin.operations.noted.withLock { $0 } == [])
  }

  @Test func aByteNowAndThenIsNoProgress() throws {
    let admin = try RunningAdmin(deadlines: quick { $0.requestMs = 200 })
    let socket = try admin.connect()
    try socket.write("GET / HTTP/1.1\r\n")
    try wait(for: "the end") {
      do {
        try socket.write("a: b\r\n")
      } catch is StreamSocket.WriteFailure {
        return true
      }
      pause(ms: 10)
      return false
    }
  }

  @Test func whoKeepsSilentAfterAnAnswerIsCut() throws {
    let admin = try RunningAdmin(deadlines: quick { $0.idleMs = 50 })
    let socket = try admin.connect()
    try socket.write("GET /v1/bans HTTP/1.1\r\nhost: a\r\n\r\n")
    #expect(
      String(decoding: try socket.readToEnd().bytes, as: UTF8.self).hasPrefix("HTTP/1.1 200"))
  }

  @Test func anAnswerThatIsNotTakenIsGivenUp() throws {
    let admin = try RunningAdmin(deadlines: quick { $0.takeMs = 100 })
    admin.operations.sessionCount.withLock { $0 = 10_000 }
    let socket = try admin.connect()
    try socket.write("GET /v1/sessions HTTP/1.1\r\nhost: a\r\n\r\n")
    // 2 MB, of which the kernel keeps some; writing shows when the other end is closed.
    try wait(for: "the end") {
      do {
        try socket.write("x")
      } catch is StreamSocket.WriteFailure {
        return true
      }
      return false
    }
    #expect(try socket.readToEnd().bytes.count < 1_500_000)
  }

  // ---- readers of events -------------------------------------------------------------------

  /// 4 MB of events that nobody reads: the history is 1,024 of them, and so is the memory.
  private func flood(_ admin: RunningAdmin) {
    for number in 0..<4096 {
      admin.operations.events.post("x", "\(number)", ["a": String(repeating: "a", count: 1000)])
    }
  }

  @Test func aSlowReaderIsToldWhatItLost() throws {
    let admin = try RunningAdmin()
    let socket = try admin.connect()
    try socket.write("GET /v1/events HTTP/1.0\r\n\r\n")
    guard case .bytes(var bytes) = try socket.receive(atMost: 4096) else {
      throw TestFailure("no stream")
    }
    flood(admin)
    let last = Array("\"message\":\"4095\"".utf8)
    try wait(for: "the last event") {
      if case .bytes(let more)? = try socket.receive(withinMs: 20) { bytes += more }
      return bytes.suffix(3000).firstRange(of: last) != nil
    }
    let text = String(decoding: bytes, as: UTF8.self)
    #expect(text.contains("\"kind\":\"lost\""))
    #expect(text.split(separator: "\n").count < 3000)
  }

  @Test func aReaderThatTakesNothingIsCut() throws {
    let admin = try RunningAdmin(deadlines: quick { $0.heartbeatMs = 50 })
    let socket = try admin.connect()
    try socket.write("GET /v1/events HTTP/1.0\r\n\r\n")
    guard case .bytes = try socket.receive(atMost: 10) else { throw TestFailure("no stream") }
    flood(admin)
    try wait(for: "the end") {
      do {
        try socket.write("x")
      } catch is StreamSocket.WriteFailure {
        return true
      }
      return false
    }
  }

  @Test func aReaderThatReadsIsNotCut() throws {
    let admin = try RunningAdmin(deadlines: quick { $0.heartbeatMs = 20 })
    let socket = try admin.connect()
    try socket.write("GET /v1/events HTTP/1.0\r\n\r\n")
    var beats = 0
    try wait(for: "ten heartbeats") {
      guard case .bytes(let bytes) = try socket.receive(atMost: 4096) else {
        throw TestFailure("cut")
      }
      beats += String(decoding: bytes, as: UTF8.self).ranges(of: "heartbeat").count
      return beats >= 10
    }
  }
}
