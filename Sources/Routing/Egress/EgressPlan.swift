package import Wire

/// What one forward proxy does, and for whom: everything that is decided about a request. Pure and
/// immutable; one object for all listeners of it.
package final class EgressPlan: Sendable {
  package let name: String
  package let settings: EgressSettings
  package let addressGuard: AddressGuard
  /// Nil asks nobody for credentials.
  package let users: UserTable?
  /// Nil goes to every origin directly.
  package let parents: ParentPlan?
  package let bypass: BypassList
  private let table: EgressRuleTable

  package init(
    name: String, rules: [EgressRule], settings: EgressSettings = EgressSettings(),
    addressGuard: AddressGuard = AddressGuard(), users: UserTable? = nil,
    parents: ParentPlan? = nil, bypass: BypassList = BypassList()
  ) {
    self.name = name
    self.settings = settings
    self.addressGuard = addressGuard
    self.users = users
    self.parents = parents
    self.bypass = bypass
    table = EgressRuleTable(rules)
  }

  /// In the order in which they are asked.
  package var rules: [EgressRule] { table.rules }

  /// Whether a request needs credentials that it has not: its answer is 407.
  ///
  /// A client with a verified certificate is known already, and one in `anonymous` need not be.
  package func needsUser(_ request: EgressRequest) -> Bool {
    guard users != nil, request.user == nil, request.certificate.isEmpty else { return false }
    guard let source = request.source else { return true }
    return !settings.anonymous.contains { $0.contains(source) }
  }

  /// What ports and rules say to a request.
  ///
  /// - Parameters:
  ///   - address: one that the host's name stands for; nil before it is resolved.
  ///   - isDirect: `isDirect(_:)` of its target.
  package func decide(
    _ request: EgressRequest, address: SocketAddress? = nil, isDirect: Bool
  ) -> EgressAnswer {
    let port = request.target.port
    switch request.target.scheme {
    case .connect:
      guard settings.connectPorts.contains(where: { $0.contains(port) }) else {
        return .deny(rule: nil, .connectPort)
      }
    case .http:
      guard settings.plainPorts.contains(where: { $0.contains(port) }) else {
        return .deny(rule: nil, .plainPort)
      }
    }
    return table.decide(request, address: address, isDirect: isDirect)
  }

  /// What a rule asks for that a request has not; nil when the rule would take it.
  package func missing(
    _ rule: Int, _ request: EgressRequest, address: SocketAddress?
  ) -> EgressCondition? {
    table.missing(rule, request, address: address)
  }

  /// Whether it goes past the parents, or there are none.
  package func isDirect(_ target: EgressTarget) -> Bool {
    parents == nil || bypass.match(target) != nil
  }

  /// Whether the guard lets a client be connected to an address with this port. Not to be asked of
  /// a parent's, which the configuration names.
  package func verdict(_ address: SocketAddress) -> GuardVerdict { addressGuard.verdict(address) }

  /// Why a request is turned away, in the reason phrase of its reply: Go's transport shows nothing
  /// else of it. Printable ASCII without a line end.
  package func phrase(
    for reason: EgressReason, rule: Int? = nil, range: GuardRange? = nil
  ) -> String {
    switch reason {
    case .rule:
      guard let rule, rules.indices.contains(rule) else { return "Denied by a rule" }
      return "Denied by rule \(rules[rule].name)"
    case .noRule: return "Denied: no rule allows it"
    case .guarded: return "Denied by the guard" + (range.map { ": \($0)" } ?? "")
    case .connectPort: return "Denied: CONNECT to this port is not allowed"
    case .plainPort: return "Denied: this port is not allowed"
    case .numericHost: return "Denied: a number is no host name"
    case .noCredentials: return "Proxy Authentication Required"
    case .badCredentials: return "Proxy credentials are wrong"
    case .throttled: return "Too many wrong credentials"
    case .userLimit: return "Too many tunnels of this user"
    case .sourceLimit: return "Too many tunnels of this client"
    case .unresolved: return "The host name does not resolve"
    case .resolveTimeout: return "The host name was not resolved in time"
    case .parentRefused: return "Refused by the parent proxy"
    case .parentFault: return "The parent proxy made no sense"
    case .busy: return "Too busy; try again"
    }
  }
}

/// Numbers and words of a forward proxy. Times are milliseconds.
package struct EgressSettings: Hashable, Sendable {
  package static let totalMsMost: UInt32 = 30_000

  /// What clients are told they have to log in to.
  package var realm = "Sluice"
  /// Whether requests and replies that are forwarded say so in `Via`.
  package var via = true
  /// Sources that need no credentials.
  package var anonymous: [Network] = []
  /// Where CONNECT may go, and where plain requests may.
  package var connectPorts: [ClosedRange<UInt16>] = [443...443]
  package var plainPorts: [ClosedRange<UInt16>] = [80...80]
  /// From accept, or the end of the request before, until a request's head is whole.
  package var headMs: UInt32 = 10_000
  /// Until a password is checked, a name is resolved, and an origin or a parent is connected. What
  /// all of them take together is below the minute that Go's transport waits for.
  package var authMs: UInt32 = 4_000
  package var resolveMs: UInt32 = 5_000
  package var dialMs: UInt32 = 10_000
  /// Until a parent has answered a CONNECT.
  package var parentMs: UInt32 = 10_000
  /// Until an origin begins to answer a plain request.
  package var replyMs: UInt32 = 60_000
  /// Bytes and fields of a request's head.
  package var headBytes = 16 << 10
  package var headFields = 100
  /// Tunnels and requests at once; 0 is no limit.
  package var userTunnels: UInt32 = 0
  package var sourceTunnels: UInt32 = 0

  package init() {}
}
