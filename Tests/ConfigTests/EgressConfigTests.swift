import Routing
import TestSupport
import Testing
import Wire

@testable import Config

/// Forward proxies: what a file says of them, and what is wrong with it.
@Suite struct EgressConfigTests {
  /// Of no password in particular.
  static let hash = "$2y$05$abcdefghijklmnopqrstuuWvVvVvVvVvVvVvVvVvVvVvVvVvVvVvV"

  static let surroundings = Surroundings(
    contents: { path, _ in
      switch path {
      case "/users": .success(.file(Array("# us\nann:\(hash)\n\nbob:\(hash)\r\n".utf8)))
      case "/secret": .success(.file(Array("hush: 1\nnot this\n".utf8)))
      case "/empty": .success(.file([]))
      case "/directory": .success(.directory([]))
      case "/broken":
        .success(
          .file(
            Array(
              """
              ann:\(hash)
              no colon
              a b:\(hash)
              apache:$apr1$x$y
              slow:$2y$15$\(hash.dropFirst(7))
              many:$6$rounds=2000000$x$\(String(repeating: "a", count: 86))
              ann:\(hash)
              :\(hash)
              """.utf8)))
      default: .failure(.init("open: No such file or directory"))
      }
    },
    variable: { $0 == "NO_PROXY" ? "" : $0 == "no_proxy" ? "a.example, 10.0.0.0/8:1" : nil })

  private func parse(_ text: String) -> (snapshot: Snapshot?, diagnostics: Diagnostics) {
    Snapshot.parse(
      Array(text.utf8), file: "f.yaml", surroundings: EgressConfigTests.surroundings)
  }

  /// A file around the body of one egress.
  private static func file(_ body: String, bind: String = "127.0.0.1:3128") -> String {
    "listeners:\n  out: { bind: \"\(bind)\", type: http-proxy, egress: e }\n"
      + "egress:\n  e: \(body)\n"
  }

  static let withSecret = file(
    "{ rules: [{ action: allow }], parents: [{ url: \"http://p\", user: u, "
      + "password-file: /secret }] }")

  static let full = file(
    """

        users: /users
        realm: Office
        anonymous: [10.0.0.0/8]
        rules:
          - { user: ann, from: [192.0.2.0/24], client-certificate: x,
              host: [a.example, ".b.example"], to: [198.51.100.0/24, "2001:db8::1"],
              port: [443, 8000-8010], method: [CONNECT, GET],
              action: report }
          - { name: rest, action: allow }
        guard: { allow: ["10.1.2.3:8443", "[fd00::1]:1", 10.0.0.0/8], deny: [8.8.8.8] }
        connect-ports: [443, 8000-8010]
        ports: [80, 8080]
        via: false
        limits: { per-user: 5, per-source: 6, head: 8KiB, fields: 50 }
        timeouts: { head: 1s, auth: 2s, resolve: 3s, dial: 4s, parent: 5s, reply: 6s }
    """)

  /// HTTP/2 with the proxy itself is for nobody to agree to.
  @Test func clientsByTLSSpeakOneProtocol() throws {
    func file(_ more: String) -> String {
      """
      listeners:
        out:
          bind: 127.0.0.1:3128
          type: http-proxy
          egress: e
          tls: { certificates: /etc/sluice/proxy.pem\(more) }
      egress:
        e: { rules: [{ action: allow }] }

      """
    }
    for said in ["", ", alpn: http/1.1"] {
      let (snapshot, diagnostics) = parse(file(said))
      #expect(diagnostics.lines == [])
      #expect(snapshot?.listeners[0].tls?.alpn == ["http/1.1"])
    }
    let faults = parse(file(", alpn: [h2, http/1.1]")).diagnostics.lines
    #expect(faults.count == 1, "\(faults)")
    #expect(faults.first?.contains("speaks http/1.1 with its clients") == true)
  }

  @Test func everythingIsRead() throws {
    let (snapshot, diagnostics) = parse(EgressConfigTests.full)
    #expect(diagnostics.lines.count == 1 && !diagnostics.hasErrors)
    let egress = try #require(snapshot?.egress.first)
    #expect(snapshot?.listeners[0].egress == 0)
    #expect(snapshot?.listeners[0].type == .httpProxy)
    #expect(egress.users?.hashes == ["ann": EgressConfigTests.hash, "bob": EgressConfigTests.hash])
    var settings = EgressSettings()
    settings.realm = "Office"
    settings.anonymous = [try Network(parsing: "10.0.0.0/8")]
    settings.connectPorts = [443...443, 8000...8010]
    settings.plainPorts = [80...80, 8080...8080]
    settings.via = false
    (settings.userTunnels, settings.sourceTunnels) = (5, 6)
    (settings.headBytes, settings.headFields) = (8192, 50)
    (settings.headMs, settings.authMs, settings.resolveMs) = (1000, 2000, 3000)
    (settings.dialMs, settings.parentMs, settings.replyMs) = (4000, 5000, 6000)
    #expect(egress.settings == settings)
    #expect(egress.rules.map(\.name) == ["rule-1", "rest"])
    #expect(egress.rules.map(\.action) == [.report, .allow])
    #expect(
      egress.rules[0].conditions.words == [
        "user ann", "from 192.0.2.0/24", "client-certificate x", "host a.example | .b.example",
        "to 198.51.100.0/24 | 2001:db8::1/128", "port 443 | 8000-8010", "method CONNECT | GET",
      ])
    #expect(
      egress.exceptions.map { Scalar.text(of: $0) } == [
        "10.1.2.3:8443", "[fd00::1]:1", "10.0.0.0/8", "8.8.8.8/32",
      ])
    #expect(egress.exceptions.map(\.isAllowed) == [true, true, true, false])
  }

  private static let withParents = """
    rules: [{ action: allow }], parents-ca: /ca,
    parents: ["https://a%20b:p%40ss%3A@proxy.example/", { url: "https://[2001:db8::1]:3129", user: \
    sluice, password-file: /secret }]
    """

  @Test func parentsAreABackend() throws {
    let (snapshot, diagnostics) = parse(
      EgressConfigTests.file("{ \(EgressConfigTests.withParents) }"))
    #expect(diagnostics.lines == [])
    let made = try #require(snapshot)
    let parents = made.egress[0].parents
    #expect(parents.map(\.name) == ["proxy.example:443", "[2001:db8::1]:3129"])
    #expect(parents.map(\.user) == ["a b", "sluice"])
    #expect(parents.map(\.password) == ["p@ss:", "hush: 1"])
    #expect(parents[1].authorization == "Basic c2x1aWNlOmh1c2g6IDE=")
    #expect(made.backends.map(\.name) == ["egress:e"])
    #expect(made.backends[0].servers.map(\.isBackup) == [false, true])
    #expect(made.parents(of: made.egress[0])?.backend == 0)
  }

  /// No password is in anything that is printed.
  @Test func secretsArePrintedNowhere() throws {
    let made = try #require(
      parse(EgressConfigTests.file("{ users: /users, \(EgressConfigTests.withParents) }")).snapshot)
    let texts = [made.plan, made.yaml(defaults: true), made.yaml(defaults: false)]
    for text in texts {
      for secret in ["p@ss", "p%40ss", "hush", EgressConfigTests.hash] {
        #expect(!text.contains(secret), "\(text)")
      }
    }
    #expect(texts[0].contains("https://a%20b:***@proxy.example:443"))
  }

  @Test func whatIsWrittenReadsBack() throws {
    let files = [
      EgressConfigTests.full, EgressConfigTests.file("{ rules: [{ action: allow }], guard: off }"),
      EgressConfigTests.file(
        "{ rules: [{ action: deny }], parents: [\"http://p:1\", { url: \"http://q\", user: u, "
          + "password-file: /secret }], no-proxy: \"a.example, 10.0.0.0/8, *.b.example:80\" }"),
      EgressConfigTests.file(
        "{ rules: [{ action: deny }], parents: \"http://p:1\", no-proxy: from-environment }"),
    ]
    for file in files {
      let snapshot = try #require(parse(file).snapshot)
      expectRoundTrip(snapshot, file, surroundings: EgressConfigTests.surroundings)
    }
  }

  @Test func theListMayComeFromTheEnvironment() throws {
    let (snapshot, diagnostics) = parse(
      EgressConfigTests.file(
        "{ rules: [{ action: allow }], parents: \"http://p:1\", no-proxy: from-environment }"))
    #expect(snapshot?.egress[0].bypass.entries.map(\.text) == ["a.example", "10.0.0.0/8:1"])
    #expect(
      diagnostics.lines == [
        "f.yaml:4:69: warning: no_proxy: \"10.0.0.0/8:1\" can never match: a network takes no port"
      ])
  }

  // ---- what is wrong -----------------------------------------------------------------------

  private static let openAdvice =
    "through: an open proxy. Bind it to 127.0.0.1, give the egress users, or the rule from"

  @Test(
    arguments: [
      Case(
        file("{ rules: [{ action: allow }] }", bind: "0.0.0.0:3128").replacing(
          "\"0.0.0.0", with: "¦\"0.0.0.0"),
        "0.0.0.0:3128 is not loopback, and rule \"rule-1\" at 4:16 of egress \"e\" lets everybody "
          + openAdvice),
      Case(
        file("{ users: /users, anonymous: 0.0.0.0/0, rules: [{ action: report }] }", bind: ":1")
          .replacing("\":1\"", with: "¦\":1\""),
        ":1 is not loopback, and rule \"rule-1\" at 4:53 of egress \"e\" lets everybody "
          + openAdvice),
      Case(file("{ users: /users, rules: [{ action: allow }] }", bind: ":1")),
      Case(file("{ rules: [{ from: 10.0.0.0/8, action: allow }] }", bind: ":1")),
      Case(
        file("{ rules: [{ client-certificate: ¦x, action: allow }] }", bind: ":1"),
        "warning: client-certificate: listener \"out\" asks no client for one; its tls needs "
          + "\"client-certificate: request\" or require"),
      Case(file("{ rules: [{ action: deny }] }", bind: ":1")),
      Case(file("{ rules: [{ action: allow }] }", bind: "[::1]:1")),
      Case(file("{ rules: [{ action: allow }] }", bind: "unix:/run/x")),
      Case(
        "listeners: { ¦a: { bind: \"127.0.0.1:1\", type: http-proxy } }",
        "listener \"a\" is an http-proxy and has no egress"),
      Case(
        "listeners: { a: { bind: \"127.0.0.1:1\", backend: b, egress: ¦e } }\n"
          + "backends: { b: { servers: [127.0.0.1:2] } }\n"
          + "egress: { e: { rules: [{ action: allow }] } }",
        "egress is for \"type: http-proxy\"; this is a tcp listener"),
      Case(
        file("{ rules: [{ action: allow }] }").replacing("egress: e", with: "egress: ¦f"),
        "unknown egress \"f\""),
    ])
  func listeners(fault: Case) {
    let told = parse(String(decoding: fault.text, as: UTF8.self)).diagnostics.lines
    var expected = fault.expected
    // An egress that no listener has is warned of beside.
    if fault.messages.contains("unknown egress \"f\"") {
      expected.append("f.yaml:4:3: warning: no listener uses egress \"e\"")
    }
    #expect(told.map { $0.replacing(", did you mean \"e\"?", with: "") } == expected)
  }

  @Test(
    arguments: [
      ("{ users: ¦/none }", "users: /none: open: No such file or directory"),
      ("{ users: ¦/directory }", "users: /directory is a directory"),
      ("{ users: ¦/empty }", "warning: users: there is nobody in /empty, so nobody can log in"),
      ("{ rules: [{ ¦name: x }] }", nil),
      ("{ rules: [{ user: ¦ann, action: allow }] }",
        "user: nobody logs in, since egress \"e\" has no users"),
      ("{ users: /users, rules: [{ user: ¦zoe, action: allow }] }",
        "warning: user: there is no \"zoe\" in /users"),
      ("{ rules: [{ host: ¦10.0.0.1, action: allow }] }",
        "host: \"10.0.0.1\" is an address; write it in \"to\""),
      ("{ rules: [{ host: ¦\"*\", action: allow }] }",
        "host: \"*\" is every name; a rule without host takes all"),
      ("{ rules: [{ method: ¦get, action: allow }] }",
        "method: \"get\" is not a method such as CONNECT or GET, in upper case"),
      ("{ rules: [{ port: ¦9-1, action: allow }] }", "port: \"9-1\" ends before it begins"),
      ("{ rules: [{ action: ¦alow }] }",
        "action: \"alow\" is not one of allow, deny or report, did you mean \"allow\"?"),
      ("{ rules: [{ action: allow }, ¦{ host: a.example, action: deny }] }",
        "warning: rule \"rule-2\" never has its turn; rule \"rule-1\" at 4:16 takes all"),
      ("{ rules: [{ name: a, host: x.example, action: deny }, { name: ¦a, action: deny }] }",
        "rule \"a\" is there already, at 4:24; give it another name"),
      ("{ rules: [{ action: allow }], no-proxy: ¦a.example }",
        "warning: no-proxy: there are no parents, so that everything goes past them"),
      ("{ rules: [{ action: allow }], parents: ¦\"socks5://p:1\" }",
        "parents: \"socks5\" is not a scheme of parents, which are http and https"),
      ("{ rules: [{ action: allow }], parents: ¦\"http://u:top%@p:1\" }",
        "parents: the credentials in a URL are percent-encoded (RFC 3986)"),
      ("{ rules: [{ action: allow }], parents: ¦\"http://u:top@p:1/x\" }",
        "parents: a parent is a URL such as http://proxy.example:3128, without a path"),
      ("{ rules: [{ action: allow }], parents: [\"http://p:1\", ¦\"https://p:2\"] }",
        "parents: all of one egress are http ones, or all are https ones"),
      ("{ rules: [{ action: allow }], parents: [\"http://p:1\", ¦\"http://p:1\"] }",
        "parent p:1 is there already, at 4:46"),
      ("{ rules: [{ action: allow }], parents: [¦{ url: \"http://p:1\", user: u }] }",
        "user and password-file belong together"),
      ("{ rules: [{ action: allow }], parents: [{ url: \"http://p\", user: u, password-file: "
        + "¦/empty }] }", "password-file: the first line of /empty is empty, or no UTF-8"),
      ("{ rules: [{ to: ¦10.0.0.0/8, action: allow }], parents: \"http://p:1\" }",
        "warning: to: of what goes through a parent, which resolves names itself, only hosts that "
          + "are addresses are held against it"),
      ("{ rules: [{ action: allow }], guard: { allow: ¦10.0.0.1:0 } }",
        "allow: \"10.0.0.1:0\": 0 is no port"),
      ("{ rules: [{ action: allow }], guard: { allow: ¦unix } }",
        "allow: no client is ever connected to a Unix socket"),
      ("{ rules: [{ action: allow }], realm: ¦'a\"b' }",
        "realm: it takes 1 to 64 characters of printable ASCII, no quotes among them"),
      ("{ rules: [{ action: allow }], timeouts: ¦{ resolve: 20s } }",
        "warning: timeouts: a client may have to wait 34s for its answer; above 30s, some give up "
          + "before"),
      ("{ rules: [{ action: allow }], limits: { head: ¦100B } }",
        "head: 100B is out of range 1KiB to 60KiB"),
    ] as [(String, String?)])
  func entries(marked: String, message: String?) {
    let file = EgressConfigTests.file(marked)
    let lines = parse(file.replacing("¦", with: "")).diagnostics.lines
    guard let message else { return #expect(!lines.isEmpty) }
    // Of others, that there are no rules is told too.
    let told = lines.filter { !$0.contains("has no rules") }
    #expect(told == Case(file, message).expected)
  }

  @Test func entriesThatNeverMatchAreWarnedOfInTheirLines() {
    let lines = parse(
      EgressConfigTests.file(
        """

            rules: [{ action: allow }]
            parents: ["http://p:1"]
            no-proxy:
              - a.example
              - 10.0.0.0/8:80
              - "b.example, [::1], foo.*"
        """)).diagnostics.lines
    #expect(
      lines == [
        "f.yaml:9:9: warning: no-proxy: \"10.0.0.0/8:80\" can never match: a network takes no "
          + "port",
        "f.yaml:10:9: warning: no-proxy: \"[::1]\" can never match: an IPv6 address has brackets "
          + "only before a port",
        "f.yaml:10:9: warning: no-proxy: \"foo.*\" can never match: a star stands alone, or for "
          + "the first label (\"*.example.com\")",
      ])
  }

  @Test func usersAreReadWithTheirLines() {
    let lines = parse(
      EgressConfigTests.file("{ users: /broken, rules: [{ action: allow }] }")
    ).diagnostics.lines
    #expect(
      lines == [
        "/broken:2:1: no colon: a line is NAME:HASH",
        "/broken:3:1: a name has 1 to 255 bytes, and no blanks",
        "/broken:4:1: the password of \"apache\" is not in a form that is taken: bcrypt (htpasswd "
          + "-B), SHA-crypt ($5$, $6$) or yescrypt ($y$); this is Apache's MD5",
        "/broken:5:1: bcrypt of \"slow\" has cost 15; it may be 4 to 14, which takes a second",
        "/broken:6:1: \"many\" has 2000000 rounds; at most 1000000",
        "/broken:7:1: user \"ann\" is already in line 1",
        "/broken:8:1: a name has 1 to 255 bytes, and no blanks",
      ])
  }

  // ---- reload ------------------------------------------------------------------------------

  @Test func aReloadSaysWhatIsOther() throws {
    let old = try #require(
      parse(
        EgressConfigTests.file(
          "{ rules: [{ name: a, host: x.example, action: deny }, { name: b, action: allow }] }")
      ).snapshot)
    let new = try #require(
      parse(
        EgressConfigTests.file(
          "{ users: /users, guard: off, parents: \"http://p:1\", no-proxy: x.example, via: false, "
            + "rules: [{ name: c, host: y.example, action: deny }, { name: b, action: deny }] }")
      ).snapshot)
    let plan = ReloadPlan(from: old, to: new)
    let told = plan.changes.filter { $0.kind != .kept }.map {
      "\($0.kind) \($0.what): \($0.detail)"
    }
    #expect(
      told == [
        "added backend egress:e: p:1",
        "changed egress e: users: 2 added, 0 removed, 0 changed, rules + c - a ~ b, guard, "
          + "parents, no-proxy, settings",
      ])
    #expect(ReloadPlan(from: new, to: new).isEmpty)
  }

  // ---- the document ------------------------------------------------------------------------

  @Test func examplesOfTheDocumentAreGood() throws {
    let examples = try ProjectFiles.examples(in: "docs/egress.md")
    #expect(examples.count == 4)
    let surroundings = Surroundings(
      contents: { _, _ in .success(.file(Array("mattermost:\(EgressConfigTests.hash)".utf8))) },
      variable: { _ in nil })
    for example in examples {
      let (snapshot, diagnostics) = Snapshot.parse(
        Array(example.utf8), file: "f.yaml", surroundings: surroundings)
      #expect(diagnostics.lines == [] && snapshot != nil, "\(example)")
    }
  }

  /// The NO_PROXY that Mattermost's page has is one without entries that never match.
  @Test func mattermostsVariablesAreGood() throws {
    let lines = try ProjectFiles.lines("docs/egress.md").map { $0.filter { $0 != " " } }
    let values = lines.filter { $0.hasPrefix("NO_PROXY=") }.map { String($0.dropFirst(9)) }
    #expect(values == ["1.2.3.4:567,.internal.example.com,login.example.com"])
    for value in values {
      #expect(BypassList(value).entries.allSatisfy { $0.fault == nil })
    }
  }

  /// The document names every range of the guard, and no other.
  @Test func theGuardIsDescribed() throws {
    let rows = try ProjectFiles.rows(of: "The guard", in: "docs/egress.md")
    var told: Set<GuardRange> = []
    for row in rows where !row[1].hasPrefix("NAT64") {
      for network in row[0].split(separator: ",") {
        told.insert(GuardRange(try Network(parsing: network.filter { $0 != " " }), row[1]))
      }
    }
    #expect(told == Set(GuardRange.denied))
  }
}
