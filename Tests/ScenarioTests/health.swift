import System
import TestSupport
import Testing

// Servers that are checked, and servers that are found out by the connections that they fail.

// A server that greets with 421 is down: nobody is sent there, the log says why, and when it greets
// well it is up again.
@Test("down, and up again")
func downAndUpAgain() throws {
  let bad = try Greeter(.greets("421 4.3.2 not now\r\n"))
  let good = try Greeter(.greets("220 good\r\n"))
  let check = "retries: 0, check: { type: smtp, interval: 100ms, rise: 2, fall: 2 }"
  try withChecked([bad.endpoint, good.endpoint], check) { sluice in
    let name = "server back/\(bad.endpoint)"
    try wait(for: "the bad one to be down") {
      sluice.child.standardError.contains(
        "\(name) is down: 220 expected, got \"421 4.3.2 not now\"")
    }
    // In turn, so that two good answers come from one server.
    try wait(for: "nobody to be sent there") {
      let answers = [try hearing(sluice), try hearing(sluice)]
      return answers.allSatisfy { $0.hasPrefix("220 good") }
    }
    for _ in 0..<4 {
      let answer = try hearing(sluice)
      #expect(answer.hasPrefix("220 good"))
    }
    try bad.stop()
    let better = try Greeter(.greets("220 better\r\n"), at: bad.endpoint)
    try wait(for: "it to be up") { sluice.child.standardError.contains("\(name) is up") }
    try wait(for: "clients to get there") { try hearing(sluice).hasPrefix("220 better") }
    try better.stop()
    try good.stop()
    // When none is left, all are tried.
    try wait(for: "both to be down") {
      sluice.saidCount("is down") >= 3
    }
    let back = try ListeningSocket(bad.endpoint)
    try wait(for: "the one that is back to be reached") {
      let client = try sluice.connect()
      defer { client.close() }
      return try back.accept(withinMs: 20) != nil
    }
  }
}

// One of two servers takes no connections, and says nothing about it. One client waits for the
// connect time-out, is served by the other, and from then on nobody is sent there.
@Test("a black hole is ejected after one time-out")
func aBlackHoleIsEjected() throws {
  let hole = try BlackHole()
  let good = try Greeter(.greets("hello"))
  try withChecked(
    [hole.endpoint, good.endpoint], "eject: { time: 1m }", timeouts: "connect: 300ms"
  ) { sluice in
    var asked = 0
    try wait(for: "the ejection") {
      try expectHello(sluice)
      asked += 1
      return sluice.child.standardError.contains(
        "server back/\(hole.endpoint) is out for 60 s: a dial timed out")
    }
    // The table without it is on its way; a few dials later there is nothing to wait for.
    for _ in 0..<20 { try expectHello(sluice) }
    let records = try sluice.records(asked + 20)
    #expect(records.contains { $0.tries == 2 })
    #expect(records.suffix(10).allSatisfy { $0.tries == 1 })
  }
  try good.stop()
}

// Resets before the first byte speak against a server too; when it works again it is let in again.
@Test("resets eject, and time heals")
func resetsEject() throws {
  let (bad, good) = (try Greeter(.resets), try Greeter(.greets("hello")))
  try withChecked([bad.endpoint, good.endpoint], "eject: { failures: 2, time: 500ms }") { sluice in
    let name = "server back/\(bad.endpoint)"
    try wait(for: "the ejection") {
      _ = try? hearing(sluice)
      // A reset may come before the dial is seen to have worked.
      return sluice.saidCount("\(name) is out for 1 s: ") == 1
    }
    try bad.stop()
    let better = try Greeter(.greets("better"), at: bad.endpoint)
    try wait(for: "it to be let in") {
      sluice.child.standardError.contains("\(name) gets connections again")
    }
    try wait(for: "clients to get there") { try hearing(sluice) == "better" }
    try better.stop()
  }
  try good.stop()
}

// A server that is good and bad by turns is taken out, and stays out.
@Test("flapping does not oscillate")
func flappingDoesNotOscillate() throws {
  let flapping = try Greeter(
    .greets("220 a\r\n"), .greets("220 a\r\n"), .greets("421 b\r\n"), .greets("421 b\r\n"))
  let good = try Greeter(.greets("220 good\r\n"))
  let check = "check: { type: smtp, interval: 100ms, rise: 2, fall: 2, jitter: 0% }"
  try withChecked([flapping.endpoint, good.endpoint], check) { sluice in
    try wait(for: "ten rounds") { flapping.accepted >= 40 }
    let name = "server back/\(flapping.endpoint)"
    #expect(sluice.saidCount("\(name) is down") <= 2)
    #expect(sluice.saidCount("\(name) is up") <= 1)
    #expect(sluice.saidCount("\(name) is down") == sluice.saidCount("\(name) is up") + 1)
  }
  try flapping.stop()
  try good.stop()
}

// A server that takes connections and says nothing: its check runs out of time, those who hang on
// it are let go as the configuration wants it, and whoever comes later is served by the other.
@Test("hang after accept", arguments: ["close", "300ms", "keep"])
func hangAfterAccept(onDown: String) throws {
  let hanging = try Greeter(.hangs)
  let good = try Greeter(.greets("220 good\r\n"))
  let check =
    "check: { type: smtp, interval: 1s, timeout: 1s, fall: 1, on-down: \(onDown) }"
  try withChecked([hanging.endpoint, good.endpoint], check) { sluice in
    // Two at once, in turn: one of them hangs.
    let clients = [try sluice.connect(), try sluice.connect()]
    let name = "server back/\(hanging.endpoint)"
    try wait(for: "the check to fail") {
      sluice.saidCount("\(name) is down: timed out waiting for a greeting") == 1
    }
    try waitForGreetings(by: "220 good", from: sluice)
    if onDown == "keep" {
      #expect(sluice.saidCount("still down") == 0)
      for client in clients { client.close() }
      return
    }
    try wait(for: "the sentence") { sluice.saidCount("\(name) is still down: ") == 1 }
    for client in clients { _ = try client.readToEnd() }
    try wait(for: "the line of the one that hung") {
      try sluice.records.contains { $0.end == "server.down" && $0.server == "\(hanging.endpoint)" }
    }
  }
  try hanging.stop()
  try good.stop()
}

// A server that was good takes connections and says nothing any more: after as many checks as
// `fall` says it is out, and who hangs on it is let go.
@Test("a good server hangs", arguments: [2, 3])
func aGoodServerHangs(fall: Int) throws {
  let server = try Greeter(.greets("220 good\r\n"))
  let check = """
    check: { type: smtp, interval: 200ms, timeout: 300ms, rise: 1, fall: \(fall), jitter: 0%,
      on-down: close }
    """
  try withChecked([server.endpoint], check) { sluice in
    try wait(for: "a few checks") { server.accepted >= 3 }
    #expect(try hearing(sluice).hasPrefix("220 good"))
    server.change(to: .hangs)
    let before = server.accepted
    let clients = try (0..<5).map { _ in try sluice.connect() }
    for client in clients { #expect(try client.readToEnd().bytes.isEmpty) }
    let name = "server back/\(server.endpoint)"
    #expect(sluice.saidCount("\(name) is down: timed out waiting for a greeting") == 1)
    // The one that was under way when it changed was good; the next may have begun already.
    let checks = server.accepted - before - clients.count
    #expect((fall...fall + 1).contains(checks), "\(checks) checks")
    #expect(try sluice.records(6).count { $0.end == "server.down" } == 5)
  }
  try server.stop()
}

// A server whose greeting comes a byte at a time and never ends: bytes that come do not make its
// check wait longer. Who is there gets them as they come.
@Test("a server that dribbles")
func aServerThatDribbles() throws {
  let dribbling = try Greeter(.dribbles)
  let good = try Greeter(.greets("220 good\r\n"))
  let check = "check: { type: smtp, interval: 1s, timeout: 600ms, fall: 1 }"
  try withChecked([dribbling.endpoint, good.endpoint], check) { sluice in
    let clients = [try sluice.connect(), try sluice.connect()]
    for client in clients { #expect(try client.readExactly(3) == Array("220".utf8)) }
    let name = "server back/\(dribbling.endpoint)"
    try wait(for: "the check to fail") {
      sluice.saidCount("\(name) is down: timed out waiting for a greeting") == 1
    }
    try waitForGreetings(by: "220 good", from: sluice)
    for client in clients { client.close() }
  }
  try dribbling.stop()
  try good.stop()
}

/// Until two clients in turn are both greeted by the same server.
private func waitForGreetings(by greeting: String, from sluice: SluiceProcess) throws {
  try wait(for: "clients to be sent to the other") {
    let late = [try sluice.connect(), try sluice.connect()]
    defer { for client in late { client.close() } }
    return late.allSatisfy {
      (try? $0.readExactly(greeting.utf8.count, until: Deadline(inMs: 500)))
        == Array(greeting.utf8)
    }
  }
}

/// How a server dies.
enum Death: Sendable, CaseIterable {
  case refuses, isBlackHole, resets
}

// A server dies while clients come, one after the other: all of them are served, no one dials the
// dead one more than once, and once it is ejected nobody dials it at all.
@Test("a dying server costs nobody anything", arguments: Death.allCases)
func aDyingServer(death: Death) throws {
  let good = try Greeter(.greets("hello"))
  let hole = try BlackHole()
  let resetting = try Greeter(.resets)
  let gone = try ListeningSocket()
  gone.close()
  let dead =
    switch death {
    case .refuses: gone.endpoint
    case .isBlackHole: hole.endpoint
    case .resets: resetting.endpoint
    }
  try withChecked(
    [dead, good.endpoint], "eject: { failures: 2, time: 1m }", timeouts: "connect: 300ms"
  ) { sluice in
    var clients = 0
    try wait(for: "the ejection") {
      try expectHello(sluice)
      clients += 1
      return sluice.saidCount("server back/\(dead) is out for 60 s") == 1
    }
    // One dial that times out is enough, of others it takes two.
    #expect(clients <= 8)
    for _ in 0..<40 { try expectHello(sluice) }
    let records = try sluice.records(clients + 40)
    #expect(records.allSatisfy { $0.reason == nil && $0.tries <= 2 })
    #expect(records.suffix(30).allSatisfy { $0.tries == 1 })
  }
  try good.stop()
  try resetting.stop()
}

// A thousand servers, all checked: each gets its connections in turn; all go down, and all come
// back.
@Test("a thousand servers")
func aThousandServers() throws {
  let server = try Greeter(.greets("hello"), at: .inet("0.0.0.0", 0))
  let port = server.endpoint.port
  let servers = (0..<1000).map { Endpoint.inet("127.1.\($0 / 250).\($0 % 250 + 1)", port) }
  let front = Endpoint.loopback(ReservedPort.take())
  let yaml = """
    listeners: { front: { bind: "\(front)", type: server-first, backend: back } }
    backends:
      back:
        servers: [\(servers.map { "\($0)" }.joined(separator: ", "))]
        eject: off
        check: { type: connect, timeout: 15s, interval: 1s, rise: 1, fall: 1 }
    """
  let engine = Engine(events: "auto", splice: "auto")
  try withReloadedSluice(engine, yaml, at: front, head: "workers: 1") { reloaded in
    let sluice = reloaded.process
    for _ in 0..<2000 { try expectHello(sluice) }
    let backend = try #require(try reloaded.done("backends").all.first)
    let dials = (backend["servers"]?.items ?? []).map { $0["dials"]?.number }
    #expect(dials == [Double?](repeating: 2, count: 1000))
    try server.stop()
    try wait(for: "all of them to be down") {
      sluice.servers(saidToBe: "down") == 1000
        && sluice.saidCount("backend back has too few servers that are up") == 1
    }
    let back = try Greeter(.greets("hello"), at: .inet("0.0.0.0", port))
    try wait(for: "all of them to be up") {
      sluice.servers(saidToBe: "up") == 1000
        && sluice.saidCount("backend back has enough servers that are up again") == 1
    }
    for _ in 0..<20 { try expectHello(sluice) }
    try back.stop()
  }
}

// A server that comes back gets a small part of its share at first.
@Test("slow start")
func slowStart() throws {
  let steady = try Greeter(.greets("steady"))
  let returning = try Greeter(.greets("returning"))
  let backend =
    "slow-start: 10m, check: { type: connect, interval: 100ms, timeout: 15s, rise: 1, fall: 1 }"
  try withChecked([steady.endpoint, returning.endpoint], backend) { sluice in
    func counts(_ clients: Int) throws -> [String: Int] {
      try (0..<clients).reduce(into: [:]) { counts, _ in
        counts[try hearing(sluice), default: 0] += 1
      }
    }
    // Nobody has come back yet.
    #expect(try counts(20) == ["steady": 10, "returning": 10])
    try returning.stop()
    try wait(for: "it to be down") { sluice.servers(saidToBe: "down") == 1 }
    try wait(for: "nobody to be sent there") { try counts(10) == ["steady": 10] }
    let back = try Greeter(.greets("returning"), at: returning.endpoint)
    try wait(for: "it to get somebody") { try counts(10)["returning"] != nil }
    // A sixteenth of an equal share: one in 17.
    let after = try counts(170)
    #expect((5...20).contains(after["returning"] ?? 0), "\(after)")
    try back.stop()
  }
  try steady.stop()
}

// With fewer servers up than the threshold, those that are down are tried as well.
@Test("panic threshold")
func panicThreshold() throws {
  let up = try Greeter(.greets("220 up\r\n"))
  let bad = try (0..<3).map { _ in try Greeter(.greets("421 bad\r\n")) }
  let backend =
    "panic-threshold: 50%, check: { type: smtp, interval: 100ms, timeout: 15s, rise: 1, fall: 1 }"
  try withChecked([up.endpoint] + bad.map(\.endpoint), backend) { sluice in
    try wait(for: "three to be down") {
      sluice.servers(saidToBe: "down") == 3
        && sluice.saidCount("backend back has too few servers that are up") == 1
    }
    // A round over all four.
    let heard = try (0..<4).map { _ in try hearing(sluice) }
    #expect(heard.count { $0.hasPrefix("421 bad") } == 3)
  }
  try up.stop()
  for server in bad { try server.stop() }
}
