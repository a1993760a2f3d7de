import Routing
import Testing
import Wire

// Rules of a listener: the first that takes a connection, found without looking at the others.

private func network(_ text: String) -> Network {
  guard let network = try? Network(parsing: text) else { preconditionFailure(text) }
  return network
}

private func address(_ text: String) -> SocketAddress {
  guard let address = SocketAddress(host: text, port: 4000) else { preconditionFailure(text) }
  return address
}

private func hello(_ name: String?, _ offered: [String] = [], _ table: RuleTable) -> HelloFacts {
  guard let name, let host = HostName(name) else {
    return HelloFacts(.unnamed, protocols: table.offered(offered))
  }
  return HelloFacts(.named, name: HelloName(host), protocols: table.offered(offered))
}

/// splitmix64, so that a failure can be made again.
private struct Dice {
  var state: UInt64

  mutating func roll(_ sides: Int) -> Int {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
    return Int((word ^ (word >> 31)) % UInt64(sides))
  }

  mutating func some<Item>(_ items: [Item], _ chance: Int) -> [Item] {
    guard roll(chance) == 0 else { return [] }
    return (0...roll(2)).map { _ in items[roll(items.count)] }
  }
}

@Suite struct NetworkRulesTests {
  private static let texts = [
    "0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3", "192.0.2.0/24",
    "255.255.255.255", "::/0", "2001:db8::/32", "2001:db8:1::/48", "2001:db8:1::1", "unix",
  ]

  @Test func holdersComeOneAfterTheOther() {
    let rules = NetworkRules([
      (network("10.1.2.0/24"), 7), (network("0.0.0.0/0"), 3), (network("10.0.0.0/8"), 9),
      (network("10.0.0.0/8"), 1), (network("::/0"), 2),
    ])
    var found: [UInt32] = []
    while let next = rules.first(for: address("10.1.2.3"), from: found.last.map { $0 + 1 } ?? 0) {
      found.append(next)
    }
    #expect(found == [1, 3, 7, 9])
    #expect(rules.first(for: address("11.0.0.1")) == 3)
    #expect(rules.first(for: address("::1")) == 2)
    #expect(rules.first(for: address("::ffff:10.1.2.3")) == 1)
    #expect(rules.first(for: .unix(path: "")) == nil)
    #expect(NetworkRules([]).first(for: address("::1")) == nil)
  }

  @Test func asIfAllWereLookedAt() {
    var dice = Dice(state: 1)
    let sources = Self.texts.filter { $0 != "unix" }.map {
      address(String($0.prefix { $0 != "/" }))
    } + [address("10.1.2.4"), address("10.200.0.1"), address("2001:db8:1::2"), .unix(path: "")]
    for _ in 0..<300 {
      let rules = (0..<dice.roll(12)).map { _ in
        (network: network(Self.texts[dice.roll(Self.texts.count)]), number: UInt32(dice.roll(8)))
      }
      let table = NetworkRules(rules)
      for source in sources {
        for floor in 0..<9 as Range<UInt32> {
          let wanted = rules.filter { $0.number >= floor && $0.network.contains(source) }
            .map(\.number).min()
          #expect(table.first(for: source, from: floor) == wanted, "\(rules) \(source) \(floor)")
        }
      }
    }
  }

  @Test func networksInNetworks() {
    for (wide, narrow, holds) in [
      ("10.0.0.0/8", "10.1.0.0/16", true), ("10.0.0.0/8", "10.0.0.0/8", true),
      ("10.1.0.0/16", "10.0.0.0/8", false), ("0.0.0.0/0", "::/0", false),
      ("2001:db8::/32", "2001:db8:0:1::/64", true), ("2001:db8::/65", "2001:db8::/64", false),
      ("unix", "unix", true), ("unix", "10.0.0.0/8", false),
    ] {
      #expect(network(wide).contains(network(narrow)) == holds, "\(wide) \(narrow)")
    }
  }
}

@Suite struct RuleTableTests {
  private static let names = [
    "a.example", "b.example", "x.a.example", "y.x.a.example", "mail.b.example", "example",
  ]
  private static let patterns = names.flatMap { [$0, "*.\($0)", ".\($0)"] }.compactMap {
    NamePattern($0)
  }
  private static let networks = [
    "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32", "0.0.0.0/0",
  ].map { network($0) }
  private static let places = ["192.0.2.1", "192.0.2.0/24", "2001:db8::1"].map { network($0) }

  /// Whether the conditions hold, by the words of their documentation.
  private func takes(
    _ rule: RuleConditions, _ name: String?, _ offered: [String], _ client: SocketAddress,
    _ local: SocketAddress
  ) -> Bool {
    let host = name.flatMap { HostName($0) }
    return (rule.names.isEmpty || rule.names.contains { host.map($0.matches) ?? false })
      && (rule.protocols.isEmpty || rule.protocols.contains { offered.contains($0) })
      && (rule.sources.isEmpty || rule.sources.contains { $0.contains(client) })
      && (rule.addresses.isEmpty || rule.addresses.contains { $0.contains(local) })
      && (rule.ports.isEmpty || rule.ports.contains { $0 == local.port })
  }

  @Test func theFirstThatTakesAsIfAllWereAsked() {
    var dice = Dice(state: 6)
    let clients = ["10.1.2.3", "10.1.9.9", "192.0.2.9", "2001:db8::7"].map { address($0) }
    let locals = [
      SocketAddress.ipv4(0xc000_0201, port: 993), .ipv4(0xc000_0202, port: 465), .unix(path: ""),
    ]
    for _ in 0..<400 {
      let rules = (0..<(1 + dice.roll(10))).map { _ in
        RuleConditions(
          names: dice.some(Self.patterns, 2), protocols: dice.some(["imap", "h2", "smtp"], 4),
          sources: dice.some(Self.networks, 3), addresses: dice.some(Self.places, 5),
          ports: dice.some([465, 993], 5))
      }
      let table = RuleTable(rules)
      for _ in 0..<30 {
        let name = dice.roll(6) == 0 ? nil : Self.names[dice.roll(Self.names.count)]
        let offered = dice.some(["imap", "h2", "smtp", "other"], 2)
        let (client, local) = (clients[dice.roll(4)], locals[dice.roll(3)])
        let facts = RuleFacts(hello: hello(name, offered, table), client: client, local: local)
        let wanted = rules.firstIndex { takes($0, name, offered, client, local) }
        #expect(table.first(facts) == wanted, "\(rules) \(facts)")
        for index in rules.indices {
          let isTaken = takes(rules[index], name, offered, client, local)
          #expect((table.missing(index, facts) == nil) == isTaken, "\(rules[index]) \(facts)")
        }
      }
    }
  }

  @Test func whatIsMissing() {
    let table = RuleTable([
      RuleConditions(
        names: Self.patterns, protocols: ["imap"], sources: [network("10.0.0.0/8")],
        addresses: [network("192.0.2.1")], ports: [993])
    ])
    let local = SocketAddress.ipv4(0xc000_0201, port: 993)
    func missing(
      _ hello: HelloFacts?, _ client: String = "10.0.0.1", _ local: SocketAddress? = local
    ) -> RuleCondition? {
      table.missing(0, RuleFacts(hello: hello, client: address(client), local: local))
    }
    let good = hello("a.example", ["h2", "imap"], table)
    #expect(missing(good) == nil)
    #expect(missing(nil) == .name)
    #expect(missing(hello(nil, ["imap"], table)) == .name)
    #expect(missing(hello("c.test", ["imap"], table)) == .name)
    #expect(missing(hello("a.example", ["h2"], table)) == .alpn)
    #expect(missing(good, "11.0.0.1") == .source)
    #expect(missing(good, "10.0.0.1", nil) == .address)
    #expect(missing(good, "10.0.0.1", .ipv4(0xc000_0202, port: 993)) == .address)
    #expect(missing(good, "10.0.0.1", .ipv4(0xc000_0201, port: 994)) == .port)
  }

  /// Each of very many names leads to its own rule, and what has none to the last one.
  @Test func manyNames() {
    let count = 20_000
    var rules = (0..<count).map { number in
      RuleConditions(names: NamePattern("host\(number).example.com").map { [$0] } ?? [])
    }
    rules.append(RuleConditions())
    let table = RuleTable(rules)
    for number in stride(from: 0, to: count, by: 7) {
      let facts = RuleFacts(hello: hello("HOST\(number).example.com.", [], table))
      #expect(table.first(facts) == number)
    }
    #expect(table.first(RuleFacts(hello: hello("host.example.com", [], table))) == count)
    #expect(table.first(RuleFacts()) == count)
  }

  /// The name and the protocols of a hello that came in tiny records are the same.
  @Test func factsOfAHello() throws {
    let name = Array("Mail.Example.COM.".utf8)
    let list: [UInt8] = [2, 0x68, 0x32, 4] + Array("imap".utf8)
    let count = UInt8(name.count)
    let extensions: [UInt8] =
      [0, 0, 0, count + 5, 0, count + 3, 0, 0, count] + name
      + [0, 16, 0, UInt8(list.count + 2), 0, UInt8(list.count)] + list
    let body =
      [3, 3] + [UInt8](repeating: 9, count: 32) + [0, 0, 2, 0x13, 1, 1, 0, 0]
      + [UInt8(extensions.count)] + extensions
    let message = [1, 0, 0, UInt8(body.count)] + body
    let table = RuleTable([
      RuleConditions(protocols: ["smtp"]), RuleConditions(protocols: ["imap"]),
    ])
    for size in 1...message.count {
      let bytes = stride(from: 0, to: message.count, by: size).flatMap { start in
        let piece = message[start..<min(start + size, message.count)]
        return [22, 3, 1, 0, UInt8(piece.count)] + piece
      }
      guard case .done(let hello, _) = ClientHello.decode(bytes.span) else {
        Issue.record("no hello in records of \(size)")
        continue
      }
      let facts = HelloFacts(hello, in: bytes.span, for: table)
      #expect(facts.form == .named)
      #expect(facts.name == HelloName(try #require(HostName("mail.example.com"))))
      #expect(table.first(RuleFacts(hello: facts)) == 1)
    }
  }
}

@Suite struct RuleChoiceTests {
  private func table(
    _ rules: [(RuleConditions, RuleAction)], backend: Int?, _ policy: HelloPolicy? = HelloPolicy()
  ) -> RouteTable {
    RouteTable(
      listeners: [
        ListenerEntry(
          name: "l", backend: backend,
          rules: rules.enumerated().map { RuleEntry(name: "r\($0)", action: $1.1) },
          conditions: rules.isEmpty ? nil : RuleTable(rules.map(\.0)), connectMs: 0, idleMs: 0,
          halfClosedMs: 0, maxAgeMs: 0, hello: policy)
      ],
      backends: (0..<3).map { index in
        BackendEntry(
          name: "b\(index)", servers: index..<(index + 1), retries: 0,
          header: index == 2 ? .v2 : .none, splice: .inline, source: nil, congestion: "",
          tlvs: TLVPlan(relay: index == 0 ? [] : [0xe0 + UInt8(index)]))
      },
      servers: (0..<3).map { ServerEntry(name: "s\($0)", address: .ipv4(1, port: $0)) })
  }

  private func named(_ name: String) -> HelloFacts {
    HelloFacts(.named, name: HostName(name).map { HelloName($0) } ?? HelloName())
  }

  private let pattern = NamePattern("a.example").map { [$0] } ?? []

  @Test func actions() {
    let table = table(
      [
        (RuleConditions(names: pattern, sources: [network("10.0.0.0/8")]), .close),
        (RuleConditions(names: pattern), .backend(1)),
        (RuleConditions(sources: [network("10.0.0.0/8")]), .reject),
      ], backend: 2)
    var router = Router(table, seed: 0)
    let near = address("10.0.0.1")
    #expect(
      router.decide(.hello(listener: 0, named("a.example")))
        == .route(backend: 1, server: 1))
    #expect(
      router.decide(.hello(listener: 0, named("a.example")), under: table, for: near)
        == .reject(.ruleClosed))
    #expect(
      router.decide(.hello(listener: 0, named("b.example")), under: table, for: near)
        == .reject(.ruleRejected))
    #expect(
      router.decide(.hello(listener: 0, named("b.example"))) == .route(backend: 2, server: 2))
    let facts = RuleFacts(hello: named("b.example"), client: near)
    #expect(Router.choice(facts, 0, under: table).rule == 2)
    #expect(table.backends(ofListener: 0) == [1, 2])
    #expect(table.needsAddresses(listener: 0))
    #expect(table.relayedTypes(listener: 0) == [0xe1, 0xe2])
  }

  @Test func noBackendOfItsOwn() {
    let table = table([(RuleConditions(names: pattern), .backend(0))], backend: nil)
    var router = Router(table, seed: 0)
    #expect(router.decide(.hello(listener: 0, named("b.example"))) == .reject(.noRoute))
    #expect(router.decide(.accepted(listener: 0)) == .reject(.noRoute))
    #expect(!table.needsAddresses(listener: 0))
  }

  /// `no-sni` and `not-tls` come first; what they let through meets the rules that ask for less.
  @Test func policiesComeFirst() {
    let rules: [(RuleConditions, RuleAction)] = [
      (RuleConditions(names: pattern), .backend(0)), (RuleConditions(), .backend(1)),
    ]
    for without in HelloFallback.allCases {
      for notTLS in HelloFallback.allCases {
        let policy = HelloPolicy(withoutName: without, notTLS: notTLS)
        var router = Router(table(rules, backend: nil, policy), seed: 0)
        let plain = HelloFacts.noHello(.parser(.tlsNotTLS))
        #expect(
          router.decide(.hello(listener: 0, HelloFacts(.unnamed)))
            == (without == .reject ? .reject(.helloUnnamed) : .route(backend: 1, server: 1)))
        #expect(
          router.decide(.hello(listener: 0, plain))
            == (notTLS == .reject
              ? .reject(.parser(.tlsNotTLS)) : .route(backend: 1, server: 1)))
      }
    }
  }
}

@Suite struct AlertTests {
  /// RFC 8446 section 6: "struct { AlertLevel level; AlertDescription description; } Alert", in a
  /// record of type alert(21).
  @Test func records() {
    for (version, wanted) in [
      (0x0304, [3, 3]), (0x0303, [3, 3]), (0x0301, [3, 1]), (0x0300, [3, 0]), (0x7f00, [3, 3]),
    ] as [(UInt16, [UInt8])] {
      let record = TLSAlert.unrecognizedName.record(for: version)
      #expect(record.indices.map { record[$0] } == [21] + wanted + [0, 2, 2, 112])
    }
    #expect(TLSAlert.allCases.map(\.rawValue) == [80, 109, 112])
  }

  @Test func whoIsToldWhat() {
    #expect(RejectReason.noRoute.alert == .unrecognizedName)
    #expect(RejectReason.ruleRejected.alert == .unrecognizedName)
    #expect(RejectReason.helloUnnamed.alert == .missingExtension)
    #expect(RejectReason.backendFull.alert == .internalError)
    for reason in [RejectReason.ruleClosed, .banned, .helloTimeout, .parser(.tlsNotTLS)] {
      #expect(reason.alert == nil)
    }
  }
}
