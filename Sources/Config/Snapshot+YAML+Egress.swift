import Routing
import Wire

/// The entries of `egress`. Passwords are not written: a parent's own stands as `***`.
extension SnapshotWriter {
  mutating func writeEgress() {
    guard !snapshot.egress.isEmpty else { return absent(RootKey.egress) }
    section(RootKey.egress) { writer in
      for egress in writer.snapshot.egress {
        writer.section(named: egress.name, mayBeEmpty: true) { $0.write(egress) }
      }
    }
  }

  private mutating func write(_ egress: Egress) {
    let settings = egress.settings
    optional(EgressKey.users, egress.users?.path)
    pair(EgressKey.realm, settings.realm)
    some(EgressKey.anonymous, settings.anonymous.map(\.written))
    if egress.rules.isEmpty {
      absent(EgressKey.rules)
    } else {
      yaml.items(
        EgressKey.rules.rawValue, egress.rules.enumerated().map { written($1, at: $0) })
    }
    writeGuard(egress)
    list(EgressKey.connectPorts, settings.connectPorts.map(Scalar.text(ofPorts:)))
    list(EgressKey.ports, settings.plainPorts.map(Scalar.text(ofPorts:)))
    write(egress.parents, egress.parentsCA)
    if egress.isBypassInherited {
      yaml.pair(EgressKey.noProxy.rawValue, EgressKey.fromEnvironment)
    } else {
      some(EgressKey.noProxy, egress.bypass.entries.map { YAMLText.scalar($0.text) })
    }
    pair(EgressKey.via, "\(settings.via)")
    section(EgressKey.limits) {
      $0.pair(EgressLimitKey.perUser, Scalar.text(ofLimit: settings.userTunnels))
      $0.pair(EgressLimitKey.perSource, Scalar.text(ofLimit: settings.sourceTunnels))
      $0.pair(EgressLimitKey.head, Scalar.text(ofSize: settings.headBytes))
      $0.pair(EgressLimitKey.fields, "\(settings.headFields)")
    }
    section(EgressKey.timeouts) {
      for key in EgressTimeKey.allCases {
        $0.pair(key, Scalar.text(ofDurationMs: settings[key]))
      }
    }
  }

  private mutating func some(_ key: EgressKey, _ items: [String]) {
    guard !items.isEmpty else { return absent(key) }
    list(key, items)
  }

  private mutating func writeGuard(_ egress: Egress) {
    if egress.isGuardOff { return yaml.pair(EgressKey.guard.rawValue, "off") }
    guard !egress.exceptions.isEmpty else { return absent(EgressKey.guard) }
    section(EgressKey.guard) { writer in
      for (key, isAllowed) in [(GuardKey.allow, true), (GuardKey.deny, false)] {
        let some = egress.exceptions.filter { $0.isAllowed == isAllowed }
        if some.isEmpty { continue }
        writer.yaml.list(key.rawValue, some.map { YAMLText.scalar(Scalar.text(of: $0)) })
      }
    }
  }

  private func written(_ rule: EgressRule, at place: Int) -> String {
    var pairs: [(String, String)] = []
    func add(_ key: EgressRuleKey, _ items: [String]) {
      guard !items.isEmpty else { return }
      let texts = items.map { YAMLText.scalar($0) }
      let text = texts.count == 1 ? texts[0] : "[\(texts.joined(separator: ", "))]"
      pairs.append((key.rawValue, text))
    }
    let conditions = rule.conditions
    if all || rule.name != Rule.defaultName(place) { add(.name, [rule.name]) }
    add(.user, conditions.users)
    add(.from, conditions.sources.map(\.description))
    add(.certificate, conditions.certificates)
    add(.host, conditions.hosts.map(\.description))
    add(.to, conditions.addresses.map(\.description))
    add(.port, conditions.ports.map(Scalar.text(ofPorts:)))
    add(.method, conditions.methods)
    add(.action, [rule.action.word])
    return YAMLText.flow(pairs)
  }

  /// Of an egress and of a backend, which have the same keys.
  mutating func write(_ parents: [ParentProxy], _ authorities: String?) {
    some(EgressKey.parents, parents.map { written($0) })
    optional(EgressKey.parentsCA, authorities)
  }

  private func written(_ parent: ParentProxy) -> String {
    guard let path = parent.passwordFile else { return YAMLText.quoted(parent.redactedURL) }
    var plain = parent
    plain.user = ""
    return YAMLText.flow([
      (ParentKey.url.rawValue, YAMLText.quoted(plain.redactedURL)),
      (ParentKey.user.rawValue, YAMLText.scalar(parent.user)),
      (ParentKey.passwordFile.rawValue, YAMLText.scalar(path)),
    ])
  }
}

extension Scalar {
  static func text(ofPorts range: ClosedRange<UInt16>) -> String {
    range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound)-\(range.upperBound)"
  }

  static func text(ofLimit limit: UInt32) -> String { limit == 0 ? "off" : "\(limit)" }

  /// `10.0.0.0/8`, or `10.1.2.3:8443`.
  static func text(of exception: AddressGuard.Exception) -> String {
    guard let port = exception.port else { return exception.network.description }
    switch exception.network {
    case .ipv4(let word, _): return SocketAddress.ipv4(word, port: port).description
    case .ipv6(let high, let low, _):
      return SocketAddress.ipv6(high: high, low: low, port: port, scope: 0).description
    case .unix: return "unix"
    }
  }
}
