import Testing

@testable import Config

/// Whatever the snapshot, what is written reads back as it.
func expectRoundTrip(
  _ snapshot: Snapshot, _ comment: @autoclosure () -> String,
  surroundings: Surroundings = .none
) {
  for defaults in [false, true] {
    let yaml = snapshot.yaml(defaults: defaults)
    let (read, diagnostics) = Snapshot.parse(
      Array(yaml.utf8), file: "f.yaml", surroundings: surroundings)
    #expect(read == snapshot, "\(comment()), defaults \(defaults): \(diagnostics.lines)\n\(yaml)")
  }
}

/// A snapshot written as a file.
@Suite struct YAMLTests {
  /// One file for each way of saying who is trusted, and other things that read in two ways.
  static let files: [String] = [
    SnapshotTests.full,
    File.top(""),
    File.top("admin:"),
    File.top("admin: { socket: \"/run/a b $x ${:\", mode: 002, operate: [], view: [\"@a b\"] }")
      .replacing("${:", with: "$${:").replacing("a b\"]", with: "ab\"]"),
    File.top("metrics: {}"),
    File.top("metrics: { bind: [\":1\", \"[::]:2\", 127.0.0.1:3], page: false, top-clients: 1 }"),
    File.top("log: { connections: journal, fields: [reason, id] }"),
    File.top(
      "log: { connections: \"/x: #y\" }\ntimeouts: { drain: 0s, idle: 1001ms, max-age: 30d }"),
    File.listener("{ bind: \":25\", backend: b, trusted-networks: [] }"),
    trusting("trusted-networks: []"),
    trusting("trusted-networks: [], inherit: true"),
    trusting("trusted-networks: [10.0.0.2, \"::/16\"], inherit: true"),
    trusting("trusted-networks: [10.0.0.1]"),
    trusting("trusted-networks: [10.0.0.1], inherit: true"),
    trusting("proxy-protocol: off"),
    trusting("type: tls"),
    trusting("type: tls, no-sni: reject, not-tls: backend"),
    trusting("type: server-first, no-sni: reject, tls: { certificates: /a }"),
    trusting(
      "tls: { certificates: [/a, \"/b c\"], min-version: 1.3, ciphers: TLS_AES_128_GCM_SHA256, "
        + "groups: [X25519, \"P-256:P-384\"], alpn: [imap, h2], client-ca: /d, "
        + "client-certificate: request, session-tickets: false }, "
        + "rules: [{ client-certificate: [\"*@A.example\", \"CN with é\", .b], action: reject }]"),
    File.backend("{ servers: [127.0.0.1:1], tls: {} }"),
    File.backend(
      "{ servers: [127.0.0.1:1], tls: { ca: /a, name: b.example, alpn: smtp, "
        + "client-certificate: /c, verify: off } }"),
    trusting("proxy-protocol: { max-header: 17B, unknown: reject }"),
    trusting(
      "proxy-protocol: { sources: [{ networks: 10.0.0.3, header: forbid }], inherit: true }"),
    trusting(
      "proxy-protocol: { sources: [{ networks: [10.0.0.3, 10.0.0.4], header: forbid }, "
        + "{ networks: [unix, 10.0.0.5], header: require }, "
        + "{ networks: 10.0.0.6, header: forbid }] }"),
    File.backend("{ servers: [127.0.0.1:1], timeouts: { idle: off }, source: 127.0.0.2 }"),
    File.backend("{ servers: [\"[::1]:1\"], source: \"::1\", send-proxy: v1 }"),
    File.backend("{ servers: [\"unix:/run/a: b\", \"unix:@x\"], splice: off }"),
    File.backend(
      "{ servers: [127.0.0.1:1], send-proxy: v2, proxy-tlvs: [{ netns: \"a${$\" }, { type: 0xE1, "
        + "value: \"$${TEXT} $$$$ ${listener}\\\"\\\\ \" }] }"
    ).replacing("a${$", with: "a$${$"),
  ]

  private static func trusting(_ body: String) -> String {
    "trusted-networks: [10.0.0.1, 10.0.0.0/9]\n"
      + File.listener("{ bind: [\":25\", unix:/x], backend: b, \(body) }")
  }

  @Test(arguments: files) func readsBackAsItWas(file: String) throws {
    let (snapshot, diagnostics) = parse(file)
    expectRoundTrip(
      try #require(snapshot, "\(diagnostics.lines)"), "\(file)")
  }

  @Test func onlyWhatDiffersFromTheDefaults() throws {
    let snapshot = try #require(
      parse(File.top("timeouts: { idle: 1h }\nadmin: {}")).snapshot)
    #expect(
      snapshot.yaml(defaults: false) == """
        admin: {}
        timeouts:
          idle: 1h
        listeners:
          a:
            bind: [":25"]
            backend: b
        backends:
          b:
            servers: ["127.0.0.1:1"]

        """)
  }

  /// Each key of the schema is there, as itself or as a comment.
  @Test func withDefaultsEveryKeyIsThere() throws {
    let rules = RuleTests.file(
      "[{ sni: a.b, alpn: h2, from: unix, to-address: 10.0.0.1, to-port: 1, backend: b }, "
        + "{ sni: c.b, action: reject }]", "backend: c")
    // What only one type of listener has is not in the full one.
    let others = "{ bind: \":25\", backend: b, type: starttls, protocol: smtp }"
    let ended = "{ bind: \":25\", backend: b, tls: { certificates: /c, client-ca: /d, "
      + "client-certificate: require }, rules: [{ client-certificate: x, action: reject }] }"
    let spoken = "{ servers: [127.0.0.1:1], tls: {} }"
    let files = [
      SnapshotTests.full, rules, File.listener(others), File.listener(ended), File.backend(spoken),
      EgressConfigTests.full, EgressConfigTests.withSecret,
    ]
    let yaml = try files.map { file in
      let parsed = Snapshot.parse(
        Array(file.utf8), file: "f.yaml", surroundings: EgressConfigTests.surroundings)
      return try #require(parsed.snapshot, "\(parsed.diagnostics.lines)").yaml(defaults: true)
    }.joined()
    let keys = Set(
      yaml.split(whereSeparator: { " \n{[#".contains($0) })
        .filter { $0.hasSuffix(":") }.map { String($0.dropLast()) })
    for (path, section) in Schema.sections {
      for key in section {
        let name = Schema.name(of: key)
        // The files are one here.
        #expect(keys.contains(name) || name == RootKey.include.rawValue, "\(path) \(name)")
      }
    }
    let bare = try #require(parse(File.top("")).snapshot).yaml(defaults: true)
    for line in ["# admin: not set", "# metrics: not set", "  fields: all", "  idle: 35m"] {
      #expect(bare.split(separator: "\n").contains(Substring(line)), "\(bare)")
    }
  }

  @Test func longListsStandOneToALine() throws {
    let networks = (1...9).map { "10.0.0.\($0)" }
    let snapshot = try #require(
      parse(File.top("trusted-networks: [\(networks.joined(separator: ", "))]")).snapshot)
    let yaml = snapshot.yaml(defaults: false)
    #expect(yaml.hasPrefix("trusted-networks:\n  - 10.0.0.1/32\n"))
    expectRoundTrip(snapshot, "networks")
  }
}
