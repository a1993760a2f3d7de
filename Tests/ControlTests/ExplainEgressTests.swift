import AdminAPI
import Config
import TestSupport
import Testing
import Wire

@testable import Control

/// `sluice explain --egress` of a file: what the plan of a forward proxy says, and why.
@Suite struct ExplainEgressTests {
  private static let file = """
    listeners:
      out: { bind: "127.0.0.1:3128", type: http-proxy, egress: office }
      lab: { bind: "127.0.0.1:3129", type: http-proxy, egress: lab }
    egress:
      office:
        users: /users
        anonymous: [192.0.2.0/24]
        parents: ["http://u:hush@127.0.0.1:3130", "http://127.0.0.1:3131"]
        no-proxy: "login.example.com,.internal.example.com,198.51.100.0/24"
        rules:
          - { name: no-social, host: [".social.example"], action: deny }
          - { name: tried, user: ann, host: new.example, action: report }
          - { name: rest, action: allow }
      lab:
        rules:
          - { name: no-net, to: 203.0.113.0/24, action: deny }
          - { name: rest, action: allow }
        guard: { allow: ["10.1.2.3:443"] }

    """

  /// The names there are, with their addresses.
  private static let names = [
    "inside.example": ["127.0.0.1", "10.0.0.1"], "mixed.example": ["198.51.100.7", "127.0.0.1"],
    "net.example": ["203.0.113.1"], "login.example.com": ["198.51.100.8"],
  ]

  private func explain(
    _ url: String, _ listener: String = "out", user: String? = nil, from: String = "192.0.2.1"
  ) throws -> Explanation {
    let hash = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
    let surroundings = Surroundings(
      contents: { _, _ in
        .success(.file(Array("ann:\(hash)".utf8)))
      }, variable: { _ in nil })
    let (snapshot, diagnostics) = Snapshot.parse(
      Array(ExplainEgressTests.file.utf8), file: "f.yaml", surroundings: surroundings)
    #expect(diagnostics.lines == [])
    return try Explainer(try #require(snapshot)).explain(
      ExplainQuery(listener: listener, from: from, egress: url, user: user), egress: url
    ) { name, port in
      guard let hosts = ExplainEgressTests.names[name.text] else { return .failed("no such name") }
      return .found(hosts.compactMap { SocketAddress(host: $0, port: port) })
    }
  }

  @Test func aRuleDenies() throws {
    let told = try explain("https://x.social.example/")
    #expect(told.rule == "no-social" && told.reason == "egress.rule")
    #expect(told.reply == "403 Denied by rule no-social")
    #expect(told.egress?.action == "deny" && told.backend == nil)
  }

  @Test func aRuleReports() throws {
    let told = try explain("https://new.example", user: "ann", from: "198.51.100.1")
    #expect(told.rule == "tried" && told.egress?.action == "report" && told.reason == nil)
    #expect(
      told.rules == [
        .init(name: "no-social", matches: false, why: "wants host .social.example"),
        .init(name: "tried", matches: true),
      ])
    // It goes to the parents, whose credentials are not told.
    #expect(told.backend?.servers.map(\.name) == ["127.0.0.1:3130", "127.0.0.1:3131"])
    #expect(!told.text.contains("hush"))
  }

  @Test func whoDoesNotLogInIsTurnedAway() throws {
    let told = try explain("https://new.example", from: "198.51.100.1")
    #expect(told.reason == "egress.no-credentials")
    #expect(told.reply == "407 Proxy Authentication Required")
    let unknown = try explain("https://new.example", user: "zoe", from: "198.51.100.1")
    #expect(unknown.notes == ["there is no user \"zoe\""])
  }

  @Test func theListIsTold() throws {
    let told = try explain("https://login.example.com")
    #expect(told.egress?.isDirect == true && told.egress?.bypass == "login.example.com")
    #expect(told.egress?.addresses == [.init(address: "198.51.100.8", isAllowed: true)])
    #expect(told.reason == nil && told.backend == nil)
    #expect(told.text.contains("goes past the parents: no-proxy has login.example.com"))
    let other = try explain("https://www.example.com")
    #expect(other.egress?.isDirect == false && other.egress?.addresses == [])
  }

  @Test func theGuardIsTold() throws {
    let inside = try explain("https://inside.example", "lab")
    #expect(inside.reason == "egress.guard")
    #expect(inside.reply == "403 Denied by the guard: loopback, 127.0.0.0/8")
    #expect(
      inside.egress?.addresses == [
        .init(address: "127.0.0.1", isAllowed: false, why: "the guard: loopback, 127.0.0.0/8"),
        .init(address: "10.0.0.1", isAllowed: false, why: "the guard: private, 10.0.0.0/8"),
      ])
    let mixed = try explain("https://mixed.example", "lab")
    #expect(mixed.reason == nil && mixed.rule == "rest")
    #expect(mixed.egress?.addresses.map(\.isAllowed) == [true, false])
    #expect(try explain("https://10.1.2.3", "lab").reason == nil)
    #expect(try explain("https://10.1.2.4", "lab").reason == "egress.guard")
    #expect(try explain("https://[::ffff:127.0.0.1]", "lab").reason == "egress.guard")
    // Also where a parent would dial.
    #expect(try explain("https://169.254.169.254").reason == "egress.guard")
  }

  @Test func otherEndsAreTold() throws {
    #expect(try explain("https://net.example", "lab").rule == "no-net")
    #expect(try explain("https://gone.example", "lab").reason == "egress.unresolved")
    #expect(try explain("https://a.example:22", "lab").reason == "egress.connect-port")
    #expect(try explain("http://a.example:443", "lab").reason == "egress.port")
    #expect(try explain("https://2130706433", "lab").reason == "egress.numeric-host")
    #expect(try explain("http://0x7f.1/", "lab").reason == "egress.numeric-host")
  }

  @Test(
    arguments: [
      ("ftp://a.example", "lab"), ("a.example:443", "lab"), ("https://", "lab"),
      ("https://u@a.example", "lab"), ("https://a.example:0", "lab"),
      ("https://a..example", "lab"), ("https://a.example", "nobody"), ("https://a.example", ""),
    ])
  func whatIsNoQuestionIsAnError(url: String, listener: String) {
    #expect(throws: Failure.self) { try explain(url, listener) }
  }
}
