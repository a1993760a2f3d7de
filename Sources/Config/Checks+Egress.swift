import Routing
import Wire

/// Forward proxies: their listeners, and each entry of `egress`.
extension Checks {
  mutating func checkEgress() {
    var used: Set<Int> = []
    for listener in listeners {
      checkRole(listener)
      guard let name = listener.egress else { continue }
      guard let index = draft.egress.firstIndex(where: { $0.name.value == name.value }) else {
        let names = draft.egress.map(\.name.value)
        let hint =
          names.isEmpty ? "; there is no egress" : Nearest.hint(for: name.value, among: names)
        diagnostics.error(name.position, "unknown egress \"\(name.value)\"\(hint)")
        continue
      }
      used.insert(index)
      if listener.type == .httpProxy {
        checkOpen(listener, draft.egress[index])
        checkCertificates(listener, draft.egress[index])
      }
    }
    for (index, egress) in draft.egress.enumerated() {
      if !used.contains(index) {
        diagnostics.warn(
          egress.name.position, "no listener uses egress \"\(egress.name.value)\"")
      }
      checkRules(of: egress)
      checkParents(of: egress)
      checkTimes(of: egress)
    }
  }

  // MARK: Listeners

  private mutating func checkRole(_ listener: ListenerDraft) {
    let name = listener.name
    guard listener.type == .httpProxy else {
      guard let egress = listener.egress else { return }
      return diagnostics.error(
        egress.position,
        "egress is for \"type: http-proxy\"; this is a \(listener.type.word) listener")
    }
    if listener.egress == nil {
      diagnostics.error(
        name.position, "listener \"\(name.value)\" is an http-proxy and has no egress")
    }
    let others: [(String, Position?)] = [
      ("backend", listener.backend?.position), ("rules", listener.rules.first?.position),
      ("starttls", listener.startTLS?.position),
      ("trusted-networks", listener.trusted?.position),
      ("proxy-protocol", listener.proxyProtocol?.position),
    ]
    for case (let key, let position?) in others {
      diagnostics.error(
        position,
        "\(key) is not for an http-proxy listener: its clients say where they want to go, and "
          + "\"egress\" says whether they may")
    }
  }

  /// Whoever can reach an open proxy can do anything in our name.
  private mutating func checkOpen(_ listener: ListenerDraft, _ egress: EgressDraft) {
    let bind = listener.binds.first { bind in
      bind.addresses.contains { address in
        if case .unix = address { return false }
        return !address.isLoopback
      }
    }
    guard let bind else { return }
    let isForAll = egress.settings.anonymous.contains { $0.isEverything }
    guard !egress.hasUsers || isForAll else { return }
    let open = (egress.rules ?? []).enumerated().first { _, rule in
      rule.action != nil && rule.action != .deny && !rule.isLost && rule.asksForNobody
    }
    guard let (place, rule) = open else { return }
    diagnostics.error(
      bind.text.position,
      "\(bind.text.value) is not loopback, and rule \"\(Checks.name(of: rule, at: place))\" at "
        + "\(rule.position) of egress \"\(egress.name.value)\" lets everybody through: an open "
        + "proxy. Bind it to 127.0.0.1, give the egress users, or the rule from")
  }

  private mutating func checkCertificates(_ listener: ListenerDraft, _ egress: EgressDraft) {
    let asks = listener.tls.map { $0.value.clientCertificate != .none } ?? false
    guard !asks, let position = egress.rules?.compactMap(\.certificatePosition).first else {
      return
    }
    diagnostics.warn(
      position,
      "client-certificate: listener \"\(listener.name.value)\" asks no client for one; its tls "
        + "needs \"client-certificate: request\" or require")
  }

  // MARK: Rules

  private static func name(of rule: EgressRuleDraft, at place: Int) -> String {
    rule.name?.value ?? Rule.defaultName(place)
  }

  private mutating func checkRules(of egress: EgressDraft) {
    guard let rules = egress.rules else {
      return diagnostics.warn(
        egress.name.position,
        "egress \"\(egress.name.value)\" has no rules, so all is denied; "
          + "\"rules: [{ action: allow }]\" allows all")
    }
    var seen: [String: Position] = [:]
    var taker: (name: String, position: Position)?
    for (place, rule) in rules.enumerated() {
      let name = Checks.name(of: rule, at: place)
      let position = rule.name?.position ?? rule.position
      if let first = seen[name] {
        diagnostics.error(
          position, "rule \"\(name)\" is there already, at \(first); give it another name")
      }
      seen[name] = seen[name] ?? position
      if let taker {
        diagnostics.warn(
          rule.position,
          "rule \"\(name)\" never has its turn; rule \"\(taker.name)\" at \(taker.position) takes "
            + "all")
      } else if rule.conditions.isEmpty, !rule.isLost {
        taker = (name, rule.position)
      }
      if let position = rule.userPosition { checkUsers(rule.conditions.users, position, egress) }
      if let position = rule.addressPosition, egress.hasParents, !rule.isLost {
        diagnostics.warn(
          position,
          "to: of what goes through a parent, which resolves names itself, only hosts that are "
            + "addresses are held against it")
      }
    }
  }

  private mutating func checkUsers(
    _ names: [String], _ position: Position, _ egress: EgressDraft
  ) {
    guard egress.hasUsers else {
      return diagnostics.error(
        position, "user: nobody logs in, since egress \"\(egress.name.value)\" has no users")
    }
    guard let users = egress.users?.value else { return }
    for name in names where users.hashes[name] == nil {
      diagnostics.warn(position, "user: there is no \"\(name)\" in \(users.path)")
    }
  }

  // MARK: Parents and times

  private mutating func checkParents(of egress: EgressDraft) {
    if let position = egress.bypassPosition, !egress.hasParents {
      diagnostics.warn(
        position, "no-proxy: there are no parents, so that everything goes past them")
    }
    checkParents(egress.parents, egress.parentsCA, of: "egress")
  }

  private mutating func checkTimes(of egress: EgressDraft) {
    guard let position = egress.timesPosition else { return }
    let settings = egress.settings
    let parentMs = egress.hasParents ? settings.parentMs : 0
    let total =
      UInt64(settings.authMs) + UInt64(settings.resolveMs) + UInt64(settings.dialMs)
      + UInt64(parentMs)
    guard total > UInt64(EgressSettings.totalMsMost) else { return }
    diagnostics.warn(
      position,
      "timeouts: a client may have to wait \(total / 1000)s for its answer; above 30s, some give "
        + "up before")
  }

  // MARK: Values

  func egressIndex(of listener: ListenerDraft) -> Int? {
    guard listener.type == .httpProxy, let name = listener.egress?.value else { return nil }
    return draft.egress.firstIndex { $0.name.value == name }
  }

  var egress: [Egress] {
    draft.egress.map { draft in
      var made = Egress(name: draft.name.value, users: draft.users?.value)
      made.settings = draft.settings
      made.rules = (draft.rules ?? []).enumerated().map { place, rule in
        EgressRule(
          name: Checks.name(of: rule, at: place), conditions: rule.conditions,
          action: rule.action ?? .deny)
      }
      (made.exceptions, made.isGuardOff) = (draft.exceptions, draft.isGuardOff)
      made.parents = draft.parents.map(\.value)
      made.bypass = BypassList(draft.bypass.map(\.value))
      made.isBypassInherited = draft.isBypassInherited
      made.parentsCA = draft.parentsCA?.value
      return made
    }
  }
}

extension EgressRuleDraft {
  /// Whether it takes clients wherever and whoever they are.
  fileprivate var asksForNobody: Bool {
    conditions.users.isEmpty && conditions.certificates.isEmpty
      && (conditions.sources.isEmpty || conditions.sources.contains { $0.isEverything })
  }
}

extension Network {
  /// Whether it holds every address of its family.
  fileprivate var isEverything: Bool {
    switch self {
    case .ipv4(_, let prefix), .ipv6(_, _, let prefix): prefix == 0
    case .unix: false
    }
  }
}
