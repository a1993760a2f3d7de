import Routing
import Testing
import Wire

@testable import Config

/// `rules` of a listener.
@Suite struct RuleTests {
  /// A file with a listener of this type, these rules, and three backends.
  static func file(_ rules: String, type: String = "tls", _ listener: String = "") -> String {
    """
    listeners:
      a:
        bind: ":993"
        type: \(type)
        rules: \(rules)
        \(listener)
    backends:
      b: { servers: [127.0.0.1:1] }
      c: { servers: [127.0.0.1:2] }

    """
  }

  private static let all = """
    [{ name: one, sni: [Mail.a.example., "*.a.example", .b.example], alpn: imap,
        from: [10.0.0.0/8, "2001:db8::1", unix], to-address: 192.0.2.1, to-port: [993, 465],
        backend: c }, { alpn: [h2, http/1.1], action: reject }, { from: unix, action: close }]
    """

  @Test func reads() throws {
    let (snapshot, diagnostics) = parse(RuleTests.file(RuleTests.all, "backend: b"))
    #expect(diagnostics.lines == [])
    let listener = try #require(snapshot).listeners[0]
    #expect(listener.backend == 0)
    #expect(listener.rules.map(\.name) == ["one", "rule-2", "rule-3"])
    #expect(listener.rules.map(\.action) == [.backend(1), .reject, .close])
    let first = listener.rules[0].conditions
    #expect(first.names.map(\.description) == ["mail.a.example", "*.a.example", ".b.example"])
    #expect(first.protocols == ["imap"])
    #expect(first.sources.map(\.description) == ["10.0.0.0/8", "2001:db8::1/128", "unix"])
    #expect(first.addresses.map(\.description) == ["192.0.2.1/32"])
    #expect(first.ports == [993, 465])
    #expect(listener.rules[1].conditions == RuleConditions(protocols: ["h2", "http/1.1"]))
  }

  @Test func readsBack() throws {
    for text in [
      RuleTests.file(RuleTests.all, "backend: b"),
      RuleTests.file("[{ sni: a.example, backend: b }, { name: rest, backend: c }]"),
      RuleTests.file("{ from: 10.0.0.0/8, backend: b }", type: "server-first", "backend: c"),
    ] {
      let (snapshot, diagnostics) = parse(text)
      #expect(diagnostics.items.filter { $0.severity == .error } == [])
      expectRoundTrip(try #require(snapshot), text)
    }
  }

  private static let stall =
    ": a client of a tcp listener may wait for its server's first bytes, so a ClientHello cannot "
    + "be waited for; use \"type: tls\" if its clients begin with one, or \"type: starttls\" if "
    + "they ask for TLS first"

  @Test(
    "faults",
    arguments: [
      Case(
        file("[{ sni: a.example, backend: ¦d }, { backend: b }, { from: \"::1\", backend: c }]"),
        "unknown backend \"d\"; backends are b, c"),
      Case(
        file("[¦{ sni: a.example }]"),
        "a rule needs backend or action; action takes reject or close"),
      Case(
        file("[{ name: x, backend: b, action: ¦reject }, { from: \"::1\", backend: c }]"),
        "rule \"x\" has both backend and action; it can do one thing only"),
      Case(
        file("[{ name: x, sni: a.b, backend: b }, { name: ¦x, sni: b.b, backend: c }]"),
        "rule \"x\" is there already, at 5:21; give it another name"),
      Case(
        file("[{ name: rule-2, sni: a.b, backend: b }, ¦{ sni: b.b, backend: c }]"),
        "rule \"rule-2\" is there already, at 5:21 (a rule without a name has that of its place); "
          + "give it another name"),
      Case(
        file("[{ sni: ¦a.example, alpn: ¦h2, backend: b }, { backend: c }]", type: "tcp"),
        "sni\(stall)", "alpn\(stall)"),
      Case(
        file("[{ sni: [¦192.0.2.1, ¦\"*\", ¦\"a*.b\", ¦b\u{fc}.example, ¦\"-.x\"], backend: b }]"),
        "sni: \"192.0.2.1\" is an address, and no client may ask for one (RFC 6066)",
        "sni: \"*\" is every name; a rule without sni takes all",
        "sni: \"a*.b\": the star stands for the whole first label: \"*.example.com\"",
        "sni: \"b\u{fc}.example\" is not ASCII; write its A-labels (xn--...), as clients send it",
        "sni: \"-.x\" is not a host name"),
      Case(
        file(
          "[{ to-port: ¦0, from: ¦a.example, action: ¦refuse, ¦snl: b.example, name: ¦\"a b\" }]"),
        "to-port: 0 is out of range 1 to 65535",
        "from: \"a.example\" is a host name; it takes networks and addresses",
        "action: \"refuse\" is not one of reject or close",
        "unknown key \"snl\", did you mean \"sni\"?",
        "name: \"a b\" cannot name a rule; use 1 to 64 letters, digits, \".\", \"_\" and \"-\""),
    ])
  func faults(_ fault: Case) {
    let lines = Snapshot.parse(fault.text, file: "f.yaml").diagnostics.items
      .filter { $0.severity == .error }.map { $0.line(file: "f.yaml") }
    #expect(lines == fault.expected)
  }

  @Test func aListenerNeedsOneOfBoth() {
    let fault = Case(
      "listeners:\n  ¦a: { bind: \":993\" }\nbackends:\n  b: { servers: [127.0.0.1:1] }\n",
      "listener \"a\" has no backend and no rules; backend takes the name of a backend")
    let lines = Snapshot.parse(fault.text, file: "f.yaml").diagnostics.lines
    #expect(lines == fault.expected)
  }

  private static func takes(_ never: String, _ taker: String) -> String {
    "warning: rule \"\(never)\" never has its turn; rule \(taker) takes all that it would"
  }

  @Test(
    "rules that never have their turn",
    arguments: [
      // Everything before it is taken.
      Case(
        file("[{ name: x, backend: b }, ¦{ sni: a.example, backend: c }]", "backend: ¦b"),
        takes("rule-2", "\"x\" at 5:13"),
        "warning: backend: no connection gets here; rule \"x\" at 5:13 takes all"),
      // The same name; a star; what is beneath.
      Case(
        file("[{ sni: a.example, backend: b }, ¦{ sni: A.example, from: \"::1\", backend: c }]"),
        takes("rule-2", "\"rule-1\" at 5:13")),
      Case(
        file("[{ sni: \"*.a.example\", backend: b }, ¦{ sni: x.a.example, backend: c }]"),
        takes("rule-2", "\"rule-1\" at 5:13")),
      Case(
        file("[{ sni: .example, backend: b }, ¦{ sni: \"*.a.example\", backend: c }]"),
        takes("rule-2", "\"rule-1\" at 5:13")),
      // Some names of it; all of it, but by two rules.
      Case(
        file("[{ sni: a.b, backend: b }, { sni: [c.b, ¦a.b, ¦c.b], backend: c }]"),
        "warning: sni: a.b never gets here; rule \"rule-1\" at 5:13 takes it",
        "warning: sni: c.b is listed twice, first at 5:47"),
      Case(
        file(
          "[{ sni: a.b, backend: b }, { sni: .c, backend: b }, "
            + "¦{ sni: [a.b, x.c], backend: c }]"),
        "warning: rule \"rule-3\" never has its turn; rule \"rule-1\" at 5:13, rule \"rule-2\" at "
          + "5:39 take all that it would"),
      // Networks in networks, and ports.
      Case(
        file(
          "[{ from: [10.0.0.0/8, \"::/0\"], to-port: [1, 2], backend: b }, "
            + "¦{ from: [10.1.0.0/16, \"::1\"], to-port: 2, backend: c }]"),
        takes("rule-2", "\"rule-1\" at 5:13")),
    ])
  func shadows(_ fault: Case) {
    #expect(Snapshot.parse(fault.text, file: "f.yaml").diagnostics.lines == fault.expected)
  }

  @Test(
    "rules that have their turn",
    arguments: [
      "[{ sni: x.a.example, backend: b }, { sni: \"*.a.example\", backend: c }]",
      "[{ sni: \"*.a.example\", backend: b }, { sni: [a.example, x.y.a.example], backend: c }]",
      "[{ sni: a.b, from: \"::1\", backend: b }, { sni: a.b, backend: c }]",
      "[{ sni: a.b, alpn: [h2], backend: b }, { sni: a.b, alpn: [h2, imap], backend: c }]",
      "[{ from: 10.1.0.0/16, backend: b }, { from: 10.0.0.0/8, backend: c }]",
      "[{ to-address: 10.0.0.1, backend: b }, { to-address: 10.0.0.2, backend: c }]",
    ])
  func noShadows(_ rules: String) {
    #expect(parse(RuleTests.file(rules)).diagnostics.lines == [])
  }

  /// Backends that rules lead to are used, checked and warned of like a listener's own.
  @Test func backendsOfRules() throws {
    let text = """
      listeners:
        a:
          bind: ":993"
          type: tls
          rules: [{ sni: a.b, backend: c }, { sni: b.b, backend: d }]
      backends:
        b: { servers: [127.0.0.1:1] }
        c: { servers: [127.0.0.1:993], check: { interval: 5s } }
        d: { servers: [127.0.0.1:3], timeouts: { idle: 1m }, send-proxy: v2, relay-tlvs: [aws] }

      """
    let (snapshot, diagnostics) = parse(text)
    #expect(
      diagnostics.lines == [
        "f.yaml:7:3: warning: no listener uses backend \"b\"",
        "f.yaml:8:18: warning: server 127.0.0.1:993 is listener \"a\" itself (:993 at 3:11); its "
          + "connections would loop",
        "f.yaml:9:84: warning: relay-tlvs: no listener of backend \"d\" requires a header, so "
          + "there is nothing to relay",
      ])
    let made = try #require(snapshot)
    #expect(made.backends[1].check?.kind == .tls)
    #expect(made.listeners[0].backend == nil)
    #expect(made.backends(of: made.listeners[0]) == [1, 2])
    #expect(made.timeouts(of: made.listeners[0], at: 2).idleMs == 60_000)
    #expect(made.timeouts(of: made.listeners[0]).idleMs == 35 * 60_000)
    for line in [
      "  rules          2, the first that takes a client decides",
      "    rule-1: sni a.b -> c",
      "  backend        none; whom no rule takes is turned away",
      "  backend        d (round-robin, 2 retries)", "    idle         1m",
    ] {
      #expect(made.plan.contains("\n\(line)\n"), "\(line)\n\(made.plan)")
    }
  }

  @Test func whatAReloadChanges() throws {
    func details(_ old: String, _ new: String) throws -> String? {
      let plan = ReloadPlan(
        from: try #require(parse(RuleTests.file(old)).snapshot),
        to: try #require(parse(RuleTests.file(new)).snapshot))
      return plan.changes.first { $0.what == "listener a" && $0.kind != .kept }?.detail
    }
    let two = "[{ name: x, sni: a.b, backend: b }, { name: y, sni: c.b, backend: c }]"
    #expect(try details(two, two) == nil)
    #expect(
      try details(two, "[{ name: x, sni: a.b, backend: c }, { name: z, backend: b }]")
        == "rules + z - y ~ x")
    #expect(
      try details(two, "[{ name: y, sni: c.b, backend: c }, { name: x, sni: a.b, backend: b }]")
        == "rules in another order")
  }

  /// The time for a file with very many rules does not grow with their square.
  @Test func manyRules() throws {
    let count = 3000
    let rules = (0..<count).map { "{ sni: [h\($0).a.example, h\($0).b.example], backend: b }" }
    let (snapshot, diagnostics) = parse(
      RuleTests.file("[\(rules.joined(separator: ", "))]", "backend: c"))
    #expect(diagnostics.lines == [])
    #expect(try #require(snapshot).listeners[0].rules.count == count)
  }
}
