import Routing
import Testing
import Wire

/// What the rules of a forward proxy say to a request.
@Suite struct EgressPlanTests {
  private static func rule(
    _ name: String, _ conditions: EgressConditions = EgressConditions(),
    _ action: EgressAction = .deny
  ) -> EgressRule {
    EgressRule(name: name, conditions: conditions, action: action)
  }

  private static func request(
    _ host: String, port: UInt16 = 443, _ scheme: EgressScheme = .connect,
    method: String = "CONNECT", user: String? = nil, source: String = "192.0.2.1",
    certificate: [String] = []
  ) throws -> EgressRequest {
    EgressRequest(
      target: EgressTarget(host: try EgressHost(host), port: port, scheme: scheme), method: method,
      user: user, source: SocketAddress(host: source, port: 4711), certificate: certificate)
  }

  private static func answer(
    _ rules: [EgressRule], _ request: EgressRequest, address: String? = nil, isDirect: Bool = true
  ) -> EgressAnswer {
    EgressPlan(name: "office", rules: rules).decide(
      request, address: address.flatMap { SocketAddress(host: $0, port: 443) }, isDirect: isDirect)
  }

  private static let last = rule("rest", EgressConditions(), .allow)
  private static let allowed = EgressAnswer.allow(rule: 1, isReported: false)
  private static let denied = EgressAnswer.deny(rule: 0, .rule)

  @Test func whatNoRuleTakesIsDenied() throws {
    let request = try EgressPlanTests.request("www.example")
    #expect(EgressPlanTests.answer([], request) == .deny(rule: nil, .noRule))
    #expect(
      EgressPlanTests.answer([EgressPlanTests.last], request)
        == .allow(rule: 0, isReported: false))
  }

  @Test func theFirstRuleThatTakesItDecides() throws {
    let rules = [
      EgressPlanTests.rule("a", EgressConditions(hosts: [try pattern(".social.example")])),
      EgressPlanTests.rule("b", EgressConditions(hosts: [try pattern("x.social.example")]), .allow),
      EgressPlanTests.rule("c", EgressConditions(hosts: [try pattern("*.example")]), .report),
      EgressPlanTests.last,
    ]
    func answer(_ host: String) throws -> EgressAnswer {
      EgressPlanTests.answer(rules, try EgressPlanTests.request(host))
    }
    #expect(try answer("x.social.example") == .deny(rule: 0, .rule))
    #expect(try answer("X.SOCIAL.EXAMPLE.") == .deny(rule: 0, .rule))
    #expect(try answer("social.example") == .allow(rule: 2, isReported: true))
    #expect(try answer("other.org") == .allow(rule: 3, isReported: false))
    #expect(try answer("192.0.2.9") == .allow(rule: 3, isReported: false))
  }

  private func pattern(_ text: String) throws -> NamePattern { try #require(NamePattern(text)) }

  @Test func everyConditionCounts() throws {
    let conditions = EgressConditions(
      users: ["anna"], sources: [try Network(parsing: "192.0.2.0/24")], certificates: ["backup"],
      hosts: [try pattern("www.example")], ports: [443...443, 8000...8010], methods: ["CONNECT"])
    let rules = [EgressPlanTests.rule("a", conditions), EgressPlanTests.last]
    let good = try EgressPlanTests.request(
      "www.example", user: "anna", certificate: ["x", "backup"])
    #expect(EgressPlanTests.answer(rules, good) == EgressPlanTests.denied)
    var others: [EgressRequest] = []
    var other = good
    other.user = "otto"
    others.append(other)
    other = good
    other.user = nil
    others.append(other)
    other = good
    other.source = SocketAddress(host: "192.0.3.1", port: 1)
    others.append(other)
    other = good
    other.source = nil
    others.append(other)
    other = good
    other.certificate = ["Backup"]
    others.append(other)
    other = good
    other.target = try EgressPlanTests.request("w.www.example").target
    others.append(other)
    other = good
    other.method = "GET"
    others.append(other)
    for other in others {
      #expect(EgressPlanTests.answer(rules, other) == EgressPlanTests.allowed, "\(other)")
    }
  }

  @Test func addressesAreAskedForWhenARuleNeedsThem() throws {
    let rules = [
      EgressPlanTests.rule(
        "lab", EgressConditions(addresses: [try Network(parsing: "198.51.100.0/24")])),
      EgressPlanTests.last,
    ]
    let name = try EgressPlanTests.request("www.example")
    #expect(EgressPlanTests.answer(rules, name) == .needsAddress)
    #expect(
      EgressPlanTests.answer(rules, name, address: "198.51.100.7") == EgressPlanTests.denied)
    #expect(EgressPlanTests.answer(rules, name, address: "192.0.2.7") == EgressPlanTests.allowed)
    // Whoever dials for us does not tell.
    #expect(EgressPlanTests.answer(rules, name, isDirect: false) == EgressPlanTests.allowed)
    let literal = try EgressPlanTests.request("198.51.100.7")
    #expect(EgressPlanTests.answer(rules, literal) == EgressPlanTests.denied)
    #expect(EgressPlanTests.answer(rules, literal, isDirect: false) == EgressPlanTests.denied)
    let mapped = try EgressPlanTests.request("[::ffff:198.51.100.7]")
    #expect(EgressPlanTests.answer(rules, mapped) == EgressPlanTests.denied)
  }

  /// A rule before it that decides without an address spares the question.
  @Test func addressesAreNotAskedForWithoutNeed() throws {
    let rules = [
      EgressPlanTests.rule("a", EgressConditions(hosts: [try pattern("www.example")])),
      EgressPlanTests.rule(
        "b", EgressConditions(addresses: [try Network(parsing: "198.51.100.0/24")])),
    ]
    #expect(
      EgressPlanTests.answer(rules, try EgressPlanTests.request("www.example"))
        == EgressPlanTests.denied)
  }

  @Test func portsAreLimitedByTheWayTheyAreAskedFor() throws {
    let plan = EgressPlan(name: "office", rules: [EgressPlanTests.last])
    func answer(_ port: UInt16, _ scheme: EgressScheme) throws -> EgressAnswer {
      plan.decide(try EgressPlanTests.request("www.example", port: port, scheme), isDirect: true)
    }
    #expect(try answer(443, .connect) == .allow(rule: 0, isReported: false))
    #expect(try answer(80, .http) == .allow(rule: 0, isReported: false))
    for port in [UInt16(22), 25, 80, 8443] {
      #expect(try answer(port, .connect) == .deny(rule: nil, .connectPort))
    }
    #expect(try answer(443, .http) == .deny(rule: nil, .plainPort))
  }

  @Test func whoNeedsCredentials() throws {
    let request = try EgressPlanTests.request("www.example")
    #expect(!EgressPlan(name: "open", rules: []).needsUser(request))
    var settings = EgressSettings()
    settings.anonymous = [try Network(parsing: "10.0.0.0/8")]
    let plan = EgressPlan(name: "a", rules: [], settings: settings, users: UserTable([:]))
    #expect(plan.needsUser(request))
    #expect(!plan.needsUser(try EgressPlanTests.request("www.example", user: "anna")))
    #expect(!plan.needsUser(try EgressPlanTests.request("www.example", source: "10.1.2.3")))
    #expect(!plan.needsUser(try EgressPlanTests.request("www.example", certificate: ["x"])))
    var unknown = request
    unknown.source = nil
    #expect(plan.needsUser(unknown))
  }

  @Test func parentsAreUsedUnlessTheListSaysOtherwise() throws {
    let target = try EgressPlanTests.request("login.example.com").target
    #expect(EgressPlan(name: "a", rules: []).isDirect(target))
    let parents = ParentPlan(
      backend: 0, parents: [.init(server: "p:3128", isTLS: false, authorization: "")])
    let plan = EgressPlan(
      name: "a", rules: [], parents: parents, bypass: BypassList("login.example.com"))
    #expect(plan.isDirect(target))
    #expect(!plan.isDirect(try EgressPlanTests.request("www.example.com").target))
    #expect(plan.isDirect(try EgressPlanTests.request("LOGIN.example.com.").target))
  }

  /// It goes into a status line.
  @Test func phrasesArePrintable() {
    let plan = EgressPlan(name: "a", rules: [EgressPlanTests.rule("no-social")])
    for reason in EgressReason.allCases {
      let phrase = plan.phrase(for: reason, rule: 0, range: GuardRange.denied[0])
      #expect((1...100).contains(phrase.utf8.count))
      #expect(phrase.utf8.allSatisfy { (0x20...0x7e).contains($0) })
    }
    #expect(plan.phrase(for: .rule, rule: 0) == "Denied by rule no-social")
  }
}
