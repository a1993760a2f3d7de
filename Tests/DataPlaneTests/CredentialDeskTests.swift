import DataPlane
import Routing
import Synchronization
import System
import TestSupport
import Testing
import Wire

/// Who is who, by passwords that are checked on a thread of their own.
@Suite struct CredentialDeskTests {
  /// Of "secret", by Python's crypt over the same library: none of it is ours.
  private static let hashes: [(String, String)] = [
    ("bcrypt", "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"),
    (
      "sha512",
      "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq"
        + ".H91p5hVO1"
    ),
    ("sha256", "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA"),
    ("yescrypt", "$y$j9T$saltsaltsalt$AnbE4uovRUrp5W/7h65lVXbBxJijULPRqRjd39xI5w9"),
  ]
  private static let users = UserTable(
    Dictionary(uniqueKeysWithValues: hashes.map { ($0.0, $0.1) }))
  private static let source = SocketAddress("192.0.2.1:4711")

  /// Asks until there is a verdict; tells how often it had to wait.
  private func ask(
    _ desk: CredentialDesk, _ user: String, _ password: String, in users: UserTable = users,
    from source: SocketAddress? = nil
  ) throws -> (verdict: CredentialVerdict, waits: Int) {
    var waits = 0
    let deadline = Deadline.generous
    while true {
      let isWoken = Flag()
      let verdict = desk.check(
        user: user, password: Array(password.utf8), in: users, from: source
      ) { isWoken.raise() }
      guard verdict == .pending else { return (verdict, waits) }
      waits += 1
      while !isWoken.isUp {
        if deadline.hasPassed { throw TestFailure("not woken") }
        pause(ms: 1)
      }
    }
  }

  private final class Flag: Sendable {
    private let value = Atomic(false)
    func raise() { value.store(true, ordering: .releasing) }
    var isUp: Bool { value.load(ordering: .acquiring) }
  }

  private final class Time: Sendable {
    private let value = Atomic<UInt64>(1)
    func pass(ms: UInt64) { value.wrappingAdd(ms * 1_000_000, ordering: .relaxed) }
    var now: UInt64 { value.load(ordering: .relaxed) }
  }

  @Test(arguments: hashes.map(\.0)) func everyMethodIsChecked(user: String) throws {
    let desk = CredentialDesk()
    defer { desk.stop() }
    #expect(try ask(desk, user, "secret") == (.valid, 1))
    // The second time it is known.
    #expect(try ask(desk, user, "secret") == (.valid, 0))
    let long = String(repeating: "x", count: 300)
    for wrong in ["Secret", "secret ", "", "secre", "secret\u{0}", long] {
      #expect(try ask(desk, user, wrong) == (.invalid, 1), "\(wrong)")
      #expect(try ask(desk, user, wrong) == (.invalid, 0), "\(wrong)")
    }
  }

  @Test func nobodyIsWaitedForAsLongAsSomebody() throws {
    let desk = CredentialDesk()
    defer { desk.stop() }
    #expect(try ask(desk, "nobody", "secret") == (.invalid, 1))
    #expect(try ask(desk, "nobody", "secret", in: UserTable([:])) == (.invalid, 0))
  }

  @Test func anotherHashIsAnotherQuestion() throws {
    let desk = CredentialDesk()
    defer { desk.stop() }
    let name = "ann"
    let first = UserTable([name: CredentialDeskTests.hashes[0].1])
    let changed = UserTable([
      name: "$6$rounds=1000$x$24ZGIhrW1NwActo7BZC6MaR20bXgx7fHG5.BFhZRdOt2B/eUbXmew/VG1ycU7/3CIA"
        + "3H/GGsD6pH0MprI3HgX0"
    ])
    #expect(try ask(desk, name, "secret", in: first) == (.valid, 1))
    #expect(try ask(desk, name, "secret", in: changed) == (.invalid, 1))
    #expect(try ask(desk, name, "käse", in: changed) == (.valid, 1))
  }

  @Test func verdictsEnd() throws {
    let time = Time()
    let desk = CredentialDesk { time.now }
    defer { desk.stop() }
    #expect(try ask(desk, "bcrypt", "secret") == (.valid, 1))
    #expect(try ask(desk, "bcrypt", "wrong") == (.invalid, 1))
    time.pass(ms: 9_999)
    #expect(try ask(desk, "bcrypt", "wrong") == (.invalid, 0))
    time.pass(ms: 2)
    #expect(try ask(desk, "bcrypt", "wrong") == (.invalid, 1))
    #expect(try ask(desk, "bcrypt", "secret") == (.valid, 0))
    time.pass(ms: 300_000)
    #expect(try ask(desk, "bcrypt", "secret") == (.valid, 1))
  }

  @Test func whoGuessesIsListenedToNoMore() throws {
    let time = Time()
    let desk = CredentialDesk { time.now }
    defer { desk.stop() }
    let source = CredentialDeskTests.source
    let other = SocketAddress("192.0.2.2:4711")
    #expect(try ask(desk, "bcrypt", "secret", from: source) == (.valid, 1))
    for guess in 0..<CredentialDesk.failuresMost {
      #expect(try ask(desk, "sha256", "guess \(guess)", from: source).verdict == .invalid)
    }
    #expect(try ask(desk, "sha256", "secret", from: source) == (.throttled, 0))
    #expect(try ask(desk, "sha256", "guess 0", from: source) == (.throttled, 0))
    // One who is known goes on, and other sources do.
    #expect(try ask(desk, "bcrypt", "secret", from: source) == (.valid, 0))
    #expect(try ask(desk, "sha256", "guess", from: other).verdict == .invalid)
    #expect(try ask(desk, "sha256", "secret", from: other) == (.valid, 1))
    time.pass(ms: 60_001)
    #expect(try ask(desk, "sha512", "secret", from: source) == (.valid, 1))
  }

  /// So many at once that the desk refuses some; all others are woken, each once.
  @Test func moreThanMayWaitAreRefused() throws {
    let desk = CredentialDesk()
    defer { desk.stop() }
    let woken = Count()
    let deadline = Deadline.generous
    var pending = 0
    var busy = 0
    for number in 0..<400 {
      let verdict = desk.check(
        user: "bcrypt", password: Array("guess \(number)".utf8), in: CredentialDeskTests.users,
        from: nil
      ) { woken.add() }
      if verdict == .pending { pending += 1 }
      if verdict == .busy { busy += 1 }
    }
    #expect(pending >= 256 && busy > 0 && pending + busy == 400, "\(pending), \(busy)")
    while woken.value < pending {
      if deadline.hasPassed { throw TestFailure("\(woken.value) of \(pending) woken") }
      pause(ms: 5)
    }
  }

  private final class Count: Sendable {
    private let number = Atomic(0)
    func add() { number.wrappingAdd(1, ordering: .relaxed) }
    var value: Int { number.load(ordering: .relaxed) }
  }
}
