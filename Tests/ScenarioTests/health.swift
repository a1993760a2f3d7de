import System
import TestSupport
import Testing

// Servers that are checked, and servers that are found out by the connections that they fail.

private func withChecked(
  _ servers: [Endpoint], _ backend: String, timeouts: String = "drain: 5s",
  _ body: (SluiceProcess) throws -> Void
) throws {
  var setup = Setup(Engine(events: "auto", splice: "auto"), servers: servers)
  setup.listener = "type: server-first"
  setup.backend = backend
  setup.timeouts = timeouts
  try withSluice(setup, body)
}

/// A server that greets and ends each connection, or resets it, until it is stopped.
private final class Greeter: Sendable {
  private let listener: ListeningSocket
  private let isStopping = Guarded(false)
  private let job = Guarded<Job<Void>?>(nil)
  var endpoint: Endpoint { listener.endpoint }

  /// - Parameter greeting: nil resets.
  init(_ greeting: String?, at endpoint: Endpoint = .loopback(0)) throws {
    listener = try ListeningSocket(endpoint)
    let made = Job("greeter") { [listener, isStopping] in
      while !isStopping.withLock({ $0 }) {
        guard let client = try listener.accept(withinMs: 20) else { continue }
        guard let greeting else {
          client.reset()
          continue
        }
        try? client.write(greeting)
        if greeting.hasPrefix("220") { try? Greeter.answerCheck(client) }
        client.close()
      }
    }
    job.withLock { $0 = made }
  }

  /// A check says EHLO and QUIT; clients of these tests say nothing.
  private static func answerCheck(_ client: StreamSocket) throws {
    let hello = "EHLO [127.0.0.1]\r\n"
    _ = try client.readExactly(hello.utf8.count, until: Deadline(inMs: 200))
    try client.write("250-it\r\n250 is\r\n")
    _ = try client.readExactly(6)
    try client.write("221 bye\r\n")
  }

  /// Nobody listens at its address any more.
  func stop() throws {
    isStopping.withLock { $0 = true }
    try job.withLock { $0 }?.value()
    listener.close()
  }
}

private func ask(_ sluice: SluiceProcess) throws -> String {
  let client = try sluice.connect()
  defer { client.close() }
  return String(decoding: try client.readToEnd().bytes, as: UTF8.self)
}

private func expectHello(_ sluice: SluiceProcess) throws {
  let answer = try ask(sluice)
  #expect(answer == "hello")
}

// A server that greets with 421 is down: nobody is sent there, the log says why, and when it greets
// well it is up again.
@Test("down, and up again")
func downAndUpAgain() throws {
  let bad = try Greeter("421 4.3.2 not now\r\n")
  let good = try Greeter("220 good\r\n")
  let check = "retries: 0, check: { type: smtp, interval: 100ms, rise: 2, fall: 2 }"
  try withChecked([bad.endpoint, good.endpoint], check) { sluice in
    let name = "server back/\(bad.endpoint)"
    try wait(for: "the bad one to be down") {
      sluice.child.standardError.contains(
        "\(name) is down: 220 expected, got \"421 4.3.2 not now\"")
    }
    // In turn, so that two good answers come from one server.
    try wait(for: "nobody to be sent there") {
      let answers = [try ask(sluice), try ask(sluice)]
      return answers.allSatisfy { $0.hasPrefix("220 good") }
    }
    for _ in 0..<4 {
      let answer = try ask(sluice)
      #expect(answer.hasPrefix("220 good"))
    }
    try bad.stop()
    let better = try Greeter("220 better\r\n", at: bad.endpoint)
    try wait(for: "it to be up") { sluice.child.standardError.contains("\(name) is up") }
    try wait(for: "clients to get there") { try ask(sluice).hasPrefix("220 better") }
    try better.stop()
    try good.stop()
    // When none is left, all are tried.
    try wait(for: "both to be down") {
      sluice.child.standardError.split(separator: "\n").count { $0.contains("is down") } >= 3
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
  let good = try Greeter("hello")
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
  let (bad, good) = (try Greeter(nil), try Greeter("hello"))
  try withChecked([bad.endpoint, good.endpoint], "eject: { failures: 2, time: 500ms }") { sluice in
    let name = "server back/\(bad.endpoint)"
    try wait(for: "the ejection") {
      _ = try? ask(sluice)
      return sluice.child.standardError.contains(
        "\(name) is out for 1 s: it reset connections before its first byte")
    }
    try bad.stop()
    let better = try Greeter("better", at: bad.endpoint)
    try wait(for: "it to be let in") {
      sluice.child.standardError.contains("\(name) gets connections again")
    }
    try wait(for: "clients to get there") { try ask(sluice) == "better" }
    try better.stop()
  }
  try good.stop()
}
