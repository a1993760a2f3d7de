import Routing
import Testing

@testable import Config

/// `parents` of a backend: what is read, printed, compared, and what is wrong with it.
@Suite struct BackendParentsTests {
  private static func file(_ backend: String) -> String {
    "listeners:\n  in: { bind: \"127.0.0.1:25\", backend: b }\nbackends:\n  b: { \(backend) }\n"
  }

  private static let full = file(
    """
    servers: ["mail.example:993", "192.0.2.1:993"], source: 192.0.2.9, parents-ca: /ca,
        parents: ["https://a%20b:p%40ss@proxy.example/", "https://192.0.2.8:3129"]
    """)

  @Test func theyAreABackendOfTheirOwn() throws {
    let (snapshot, diagnostics) = parse(BackendParentsTests.full)
    #expect(diagnostics.lines == [])
    let made = try #require(snapshot)
    #expect(made.backends.map(\.name) == ["b", "parents:b"])
    #expect(made.backends[1].servers.map(\.isBackup) == [false, true])
    #expect(made.backends[1].source == made.backends[0].source)
    #expect(made.backends[1].tls?.ca == "/ca")
    let plan = try #require(made.parents(of: made.backends[0]))
    #expect(plan.backend == 1 && plan.targets == ["mail.example:993", "192.0.2.1:993"])
    #expect(plan.parents.map(\.authorization) == ["Basic YSBiOnBAc3M=", ""])
    let connect = String(decoding: plan.parents[0].connect(to: "x:1"), as: UTF8.self)
    #expect(
      connect
        == "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\nProxy-Authorization: Basic YSBiOnBAc3M=\r\n\r\n")
    #expect(made.parents(of: made.backends[1]) == nil)
  }

  @Test func secretsArePrintedNowhereAndTheRestReadsBack() throws {
    let made = try #require(parse(BackendParentsTests.full).snapshot)
    for text in [made.plan, made.yaml(defaults: true), made.yaml(defaults: false)] {
      #expect(!text.contains("p@ss") && !text.contains("p%40ss"), "\(text)")
      #expect(text.contains("https://a%20b:***@proxy.example:443"), "\(text)")
      #expect(!text.contains("parents:b"), "\(text)")
    }
    let plain = BackendParentsTests.file("servers: [a.example:1], parents: \"http://p.example:1\"")
    expectRoundTrip(try #require(parse(plain).snapshot), plain)
  }

  @Test func aReloadNamesThem() throws {
    let before = try #require(parse(BackendParentsTests.full).snapshot)
    let other = BackendParentsTests.full.replacing("192.0.2.8:3129", with: "192.0.2.8:3130")
    let after = try #require(parse(other).snapshot)
    let lines = ReloadPlan(from: before, to: after).changes.map { "\($0.what): \($0.detail)" }
    #expect(lines.contains("backend b: parents"), "\(lines)")
    #expect(lines.contains("server parents:b/192.0.2.8:3130: "), "\(lines)")
  }

  @Test(
    arguments: [
      ("servers: [\"a.example:1\"], tls: ¦{}, parents: [\"https://p:1\"]",
        "tls: parent p:1 at 4:53 is an https one, and TLS inside of TLS cannot be had; use an http "
          + "parent, or leave tls out"),
      ("servers: [¦\"srv:_imap._tcp.a.example\"], parents: [\"http://p:1\"]",
        "server srv:_imap._tcp.a.example: behind parents (4:57) names are theirs to resolve, and "
          + "they know no services; name its servers"),
      ("servers: [¦\"unix:/x\"], parents: [\"http://p:1\"]",
        "server unix:/x: no parent (4:40) can reach a Unix socket of this machine"),
      ("servers: [\"a.example:1\"], parents: [\"http://p:1\", ¦\"https://p:2\"]",
        "parents: all of one backend are http ones, or all are https ones"),
      ("servers: [\"a.example:1\"], parents: [\"http://p:1\", ¦\"http://p:1\"]",
        "parent p:1 is there already, at 4:44"),
      ("servers: [\"a.example:1\"], parents: [\"http://p:1\"], parents-ca: ¦/ca",
        "warning: parents-ca: no parent is an https one"),
      ("servers: [\"[::1]:1\"], source: ¦192.0.2.1, parents: [\"http://[::1]:1\"]",
        "source: 192.0.2.1 is IPv4, but parent [::1]:1 at 4:59 is IPv6"),
    ])
  func faults(marked: String, message: String) {
    let file = BackendParentsTests.file(marked)
    let lines = parse(file.replacing("¦", with: "")).diagnostics.lines
    #expect(lines == Case(file, message).expected)
  }
}
