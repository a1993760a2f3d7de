package import Wire

/// What a rule asks of a connection. Each list that is not empty must hold, and one of its items
/// is enough for that; a rule that asks for nothing takes everybody.
package struct RuleConditions: Hashable, Sendable {
  /// `sni`: the host name of the ClientHello.
  package var names: [NamePattern]
  /// `alpn`: one of the protocols that the ClientHello offers.
  package var protocols: [String]
  /// `client-certificate`: a name of the client's certificate, where one was verified.
  package var certificates: [CertificatePattern]
  /// `from`: the client's address, the real one where a PROXY header tells it.
  package var sources: [Network]
  /// `to-address`: the address that the client reached.
  package var addresses: [Network]
  /// `to-port`
  package var ports: [UInt16]

  package init(
    names: [NamePattern] = [], protocols: [String] = [], certificates: [CertificatePattern] = [],
    sources: [Network] = [], addresses: [Network] = [], ports: [UInt16] = []
  ) {
    self.certificates = certificates
    self.names = names
    self.protocols = protocols
    self.sources = sources
    self.addresses = addresses
    self.ports = ports
  }

  /// Whether it can only be told by a ClientHello.
  package var needsHello: Bool { !names.isEmpty || !protocols.isEmpty }
  /// Of one rule: each is compared with each name of a certificate.
  package static let certificatesMax = 256
  package var needsAddresses: Bool { !sources.isEmpty || !addresses.isEmpty || !ports.isEmpty }
}

/// One of the things that a rule asks for.
package enum RuleCondition: Hashable, Sendable {
  case name, alpn, certificate, source, address, port
}

/// What becomes of those that a rule takes.
package enum RuleAction: Hashable, Sendable {
  /// An index into `RouteTable.backends`.
  case backend(Int)
  /// Turned away and told so, as far as its protocol has words for it.
  case reject
  /// Turned away without a word.
  case close
}

/// A rule of a listener without what it asks for, which is in the listener's `RuleTable`.
package struct RuleEntry: Hashable, Sendable {
  package let name: String
  package let action: RuleAction

  package init(name: String, action: RuleAction) {
    self.name = name
    self.action = action
  }
}

/// What is known of a connection when the rules are asked.
package struct RuleFacts: Sendable, Equatable {
  /// Nil where no ClientHello is waited for.
  package let hello: HelloFacts?
  /// The names of the client's certificate in the form of `CertificatePattern.lowercased`; nil
  /// without one that was verified.
  package let certificate: [String]?
  package let client: SocketAddress?
  /// The address that the client reached.
  package let local: SocketAddress?

  package init(
    hello: HelloFacts? = nil, certificate: [String]? = nil, client: SocketAddress? = nil,
    local: SocketAddress? = nil
  ) {
    self.hello = hello
    self.certificate = certificate
    self.client = client
    self.local = local
  }
}

/// The conditions of a listener's rules, laid out so that the first rule that takes a connection is
/// found without looking at the others: by the hash of the name it asks for, by the longest prefix
/// of its address, and one after the other only among rules that ask for neither.
///
/// Immutable and kept for the tables of later configurations whose rules ask for the same. Nothing
/// here allocates once it is made.
package final class RuleTable: Sendable {
  /// In the order of the file, which is the order in which they are asked.
  package let conditions: [RuleConditions]
  /// Whether any asks for an address.
  package let needsAddresses: Bool
  private let rules: [Rule]
  private let names: NameTable
  private let sources: NetworkRules
  /// Of rules that ask for no name: those that may be found by it have their turn there.
  private let unnamedSources: NetworkRules
  /// Rules that ask neither for a name nor for a source, ascending.
  private let others: [UInt32]
  private let protocols: ProtocolBits
  private let addresses: [Network]
  private let ports: [UInt16]

  private struct Rule {
    let hasNames: Bool
    let hasSources: Bool
    let hasCertificates: Bool
    /// Bits of the protocols it asks for; none when it does not.
    let protocols: UInt64
    let addresses: Range<Int32>
    let ports: Range<Int32>
  }

  /// Different protocols in one listener's rules.
  package static let protocolsMax = ProtocolBits.countMax

  package init(_ conditions: [RuleConditions]) {
    self.conditions = conditions
    let protocols = ProtocolBits(conditions)
    var (rules, others): ([Rule], [UInt32]) = ([], [])
    var (addresses, ports): ([Network], [UInt16]) = ([], [])
    var patterns: [(pattern: NamePattern, number: UInt32)] = []
    var sources: [(network: Network, number: UInt32)] = []
    rules.reserveCapacity(conditions.count)
    patterns.reserveCapacity(conditions.count)
    for (index, rule) in conditions.enumerated() {
      let number = UInt32(index)
      for pattern in rule.names { patterns.append((pattern, number)) }
      for network in rule.sources { sources.append((network, number)) }
      if rule.names.isEmpty, rule.sources.isEmpty { others.append(number) }
      let (firstAddress, firstPort) = (Int32(addresses.count), Int32(ports.count))
      addresses += rule.addresses
      ports += rule.ports
      rules.append(
        Rule(
          hasNames: !rule.names.isEmpty, hasSources: !rule.sources.isEmpty,
          hasCertificates: !rule.certificates.isEmpty,
          protocols: protocols.bits(rule.protocols),
          addresses: firstAddress..<Int32(addresses.count), ports: firstPort..<Int32(ports.count)))
    }
    needsAddresses = conditions.contains(where: \.needsAddresses)
    names = NameTable(patterns)
    self.sources = NetworkRules(sources)
    unnamedSources = NetworkRules(sources.filter { !rules[Int($0.number)].hasNames })
    (self.rules, self.others, self.protocols) = (rules, others, protocols)
    (self.addresses, self.ports) = (addresses, ports)
  }

  package var count: Int { rules.count }

  /// The first rule that takes a connection.
  package func first(_ facts: RuleFacts) -> Int? {
    var floor: UInt32 = 0
    while let next = candidate(facts, from: floor) {
      if missingBeyondName(next, facts) == nil { return Int(next) }
      floor = next + 1
    }
    return nil
  }

  /// What a rule asks for that a connection has not; nil when the rule would take it.
  package func missing(_ rule: Int, _ facts: RuleFacts) -> RuleCondition? {
    let number = UInt32(rule)
    if rules[rule].hasNames {
      guard let hello = facts.hello, hello.form == .named,
        names.first(for: hello.name.bytes, from: number) == number
      else { return .name }
    }
    return missingBeyondName(number, facts)
  }

  /// Which of the protocols that rules ask for a ClientHello offers, as bits.
  func offered(_ hello: ClientHello, in bytes: Span<UInt8>) -> UInt64 {
    protocols.offered(hello, in: bytes)
  }

  /// The same of protocols by their names.
  package func offered(_ names: [String]) -> UInt64 { protocols.bits(names) }

  /// The next rule, from `floor` on, that what is indexed does not rule out: one that asks for a
  /// name asks for this one.
  private func candidate(_ facts: RuleFacts, from floor: UInt32) -> UInt32? {
    var best = others.least(floor, in: 0, UInt32(others.count))
    if let hello = facts.hello, hello.form == .named,
      let found = names.first(for: hello.name.bytes, from: floor)
    {
      best = min(found, best ?? found)
    }
    if let client = facts.client, let found = unnamedSources.first(for: client, from: floor) {
      best = min(found, best ?? found)
    }
    return best
  }

  private func missingBeyondName(_ number: UInt32, _ facts: RuleFacts) -> RuleCondition? {
    let rule = rules[Int(number)]
    if rule.protocols != 0, rule.protocols & (facts.hello?.protocols ?? 0) == 0 { return .alpn }
    if rule.hasCertificates, !isNamed(facts.certificate, conditions[Int(number)].certificates) {
      return .certificate
    }
    if rule.hasSources {
      guard let client = facts.client, sources.first(for: client, from: number) == number else {
        return .source
      }
    }
    if !rule.addresses.isEmpty {
      guard let local = facts.local, isAt(local, rule.addresses) else { return .address }
    }
    if !rule.ports.isEmpty {
      guard let port = facts.local?.port, isAt(port, rule.ports) else { return .port }
    }
    return nil
  }

  private func isNamed(_ names: [String]?, _ patterns: [CertificatePattern]) -> Bool {
    guard let names else { return false }
    return patterns.contains { pattern in names.contains { pattern.matches($0) } }
  }

  private func isAt(_ local: SocketAddress, _ range: Range<Int32>) -> Bool {
    for index in range where addresses[Int(index)].contains(local) { return true }
    return false
  }

  private func isAt(_ port: UInt16, _ range: Range<Int32>) -> Bool {
    for index in range where ports[Int(index)] == port { return true }
    return false
  }
}

/// The protocols that the rules of one listener ask for, each a bit.
private struct ProtocolBits: Sendable {
  static let countMax = 64
  /// Names of a client's list that are looked at. Clients offer two or three; a hello has room for
  /// thirty thousand.
  private static let offersMax = 256

  private let names: [[UInt8]]
  /// By name, for those who have it as text.
  private let bits: [String: UInt64]

  init(_ conditions: [RuleConditions]) {
    var names: [[UInt8]] = []
    var bits: [String: UInt64] = [:]
    for name in conditions.lazy.flatMap(\.protocols) where bits[name] == nil {
      precondition(names.count < ProtocolBits.countMax)
      bits[name] = 1 << UInt64(names.count)
      names.append(Array(name.utf8))
    }
    (self.names, self.bits) = (names, bits)
  }

  func bits(_ names: [String]) -> UInt64 {
    names.reduce(0) { $0 | (bits[$1] ?? 0) }
  }

  func offered(_ hello: ClientHello, in bytes: Span<UInt8>) -> UInt64 {
    guard !names.isEmpty else { return 0 }
    var found: UInt64 = 0
    var walk = hello.protocols
    for _ in 0..<ProtocolBits.offersMax {
      guard let offer = walk.next(in: bytes) else { break }
      for index in names.indices {
        let name = names[index]
        if offer.equals(name.span, in: bytes) { found |= 1 << UInt64(index) }
      }
    }
    return found
  }
}
