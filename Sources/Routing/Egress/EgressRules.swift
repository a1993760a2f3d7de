package import Wire

/// What a rule of a forward proxy asks of a request. Each list that is not empty must hold, and one
/// of its items is enough for that.
package struct EgressConditions: Hashable, Sendable {
  /// `user`: names as the file of users has them.
  package var users: [String]
  /// `from`: the client's address.
  package var sources: [Network]
  /// `client-certificate`: names of the certificate that the client has shown.
  package var certificates: [String]
  /// `host`: the name that is asked for.
  package var hosts: [NamePattern]
  /// `to`: the address that is dialled; or was asked for, where a parent does the dialling.
  package var addresses: [Network]
  /// `port`
  package var ports: [ClosedRange<UInt16>]
  /// `method`: as HTTP has them, upper case.
  package var methods: [String]

  package init(
    users: [String] = [], sources: [Network] = [], certificates: [String] = [],
    hosts: [NamePattern] = [], addresses: [Network] = [], ports: [ClosedRange<UInt16>] = [],
    methods: [String] = []
  ) {
    self.users = users
    self.sources = sources
    self.certificates = certificates
    self.hosts = hosts
    self.addresses = addresses
    self.ports = ports
    self.methods = methods
  }

  package var isEmpty: Bool { self == EgressConditions() }
}

/// What becomes of a request that a rule takes.
package enum EgressAction: String, CaseIterable, Hashable, Sendable {
  case allow
  case deny
  /// Allowed, and told apart in log and metrics: what a rule would deny is seen before it does.
  case report
}

package struct EgressRule: Hashable, Sendable {
  package let name: String
  package let conditions: EgressConditions
  package let action: EgressAction

  package init(name: String, conditions: EgressConditions, action: EgressAction) {
    self.name = name
    self.conditions = conditions
    self.action = action
  }
}

/// One request of a client, as rules see it.
package struct EgressRequest: Hashable, Sendable {
  package var target: EgressTarget
  /// `CONNECT`, `GET`, as sent.
  package var method: String
  /// Whose credentials came with it and were found good; nil without.
  package var user: String?
  /// Where the client is.
  package var source: SocketAddress?
  /// The names of the certificate that the client has shown and that was verified.
  package var certificate: [String]

  package init(
    target: EgressTarget, method: String, user: String? = nil, source: SocketAddress? = nil,
    certificate: [String] = []
  ) {
    self.target = target
    self.method = method
    self.user = user
    self.source = source
    self.certificate = certificate
  }
}

/// One of the things that a rule asks for.
package enum EgressCondition: Hashable, Sendable, CaseIterable {
  case user, source, certificate, host, address, port, method
}

/// What the rules say to a request.
package enum EgressAnswer: Hashable, Sendable {
  /// By the rule at this place; `isReported` is told apart in log and metrics.
  case allow(rule: Int, isReported: Bool)
  case deny(rule: Int?, EgressReason)
  /// A rule asks for the address that the host's name stands for. With each of them the rules may
  /// say another thing.
  case needsAddress
}

/// The rules of a forward proxy, laid out so that those that ask for a host are found by its name.
struct EgressRuleTable: Sendable {
  let rules: [EgressRule]
  private let names: NameTable
  /// Rules that ask for no host, ascending.
  private let others: [UInt32]

  init(_ rules: [EgressRule]) {
    self.rules = rules
    var patterns: [(pattern: NamePattern, number: UInt32)] = []
    var others: [UInt32] = []
    for (index, rule) in rules.enumerated() {
      let number = UInt32(index)
      if rule.conditions.hosts.isEmpty { others.append(number) }
      for pattern in rule.conditions.hosts { patterns.append((pattern, number)) }
    }
    names = NameTable(patterns)
    self.others = others
  }

  /// - Parameters:
  ///   - address: what is dialled; nil while that is not known.
  ///   - isDirect: whether it will be known. Where a parent dials, only an address that was asked
  ///     for is.
  func decide(
    _ request: EgressRequest, address: SocketAddress?, isDirect: Bool
  ) -> EgressAnswer {
    var known = address
    if known == nil, case .address(let asked) = request.target.host { known = asked }
    var floor: UInt32 = 0
    while let place = candidate(request.target.host, from: floor) {
      floor = place + 1
      let rule = rules[Int(place)]
      guard missing(rule.conditions, request) == nil else { continue }
      if !rule.conditions.addresses.isEmpty {
        guard let known else {
          if isDirect { return .needsAddress }
          continue
        }
        guard rule.conditions.addresses.contains(where: { $0.contains(known) }) else { continue }
      }
      switch rule.action {
      case .allow: return .allow(rule: Int(place), isReported: false)
      case .report: return .allow(rule: Int(place), isReported: true)
      case .deny: return .deny(rule: Int(place), .rule)
      }
    }
    return .deny(rule: nil, .noRule)
  }

  /// The next rule, from `floor` on, that its host does not rule out.
  private func candidate(_ host: EgressHost, from floor: UInt32) -> UInt32? {
    let other = others.least(floor, in: 0, UInt32(others.count))
    guard case .name(let name) = host else { return other }
    let bytes = Array(name.text.utf8)
    guard let named = names.first(for: bytes.span, from: floor) else { return other }
    return min(named, other ?? named)
  }

  /// What a rule asks for that a request has not; nil when the rule would take it.
  func missing(
    _ rule: Int, _ request: EgressRequest, address: SocketAddress?
  ) -> EgressCondition? {
    let wanted = rules[rule].conditions
    if !wanted.hosts.isEmpty {
      guard case .name(let name) = request.target.host,
        wanted.hosts.contains(where: { $0.matches(name) })
      else { return .host }
    }
    if let missing = missing(wanted, request) { return missing }
    guard !wanted.addresses.isEmpty else { return nil }
    var known = address
    if known == nil, case .address(let asked) = request.target.host { known = asked }
    guard let known, wanted.addresses.contains(where: { $0.contains(known) }) else {
      return .address
    }
    return nil
  }

  /// The same of everything but host and address.
  private func missing(_ wanted: EgressConditions, _ request: EgressRequest) -> EgressCondition? {
    if !wanted.users.isEmpty {
      guard let user = request.user, wanted.users.contains(user) else { return .user }
    }
    if !wanted.sources.isEmpty {
      guard let source = request.source, wanted.sources.contains(where: { $0.contains(source) })
      else { return .source }
    }
    if !wanted.certificates.isEmpty {
      guard wanted.certificates.contains(where: { request.certificate.contains($0) }) else {
        return .certificate
      }
    }
    if !wanted.ports.isEmpty {
      guard wanted.ports.contains(where: { $0.contains(request.target.port) }) else { return .port }
    }
    return wanted.methods.isEmpty || wanted.methods.contains(request.method) ? nil : .method
  }
}
