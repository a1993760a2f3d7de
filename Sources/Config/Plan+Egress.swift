package import Routing
import Wire

extension Snapshot {
  /// What a forward proxy does, in the lines of `sluice check`.
  func plan(of egress: Egress) -> [String] {
    let settings = egress.settings
    var lines = ["  egress         \(egress.name)"]
    if let users = egress.users {
      let count = users.hashes.count == 1 ? "1 user" : "\(users.hashes.count) users"
      lines.append("    users        \(count) of \(users.path)")
    } else {
      lines.append("    users        nobody is asked to log in")
    }
    if !settings.anonymous.isEmpty {
      lines.append("    anonymous    \(Snapshot.words(settings.anonymous.map(\.description)))")
    }
    if egress.rules.isEmpty {
      lines.append("    rules        none, so all is denied")
    } else {
      lines.append("    rules        \(egress.rules.count), the first that takes it decides")
      for rule in egress.rules.prefix(Snapshot.egressRulesShown) {
        let takes = rule.conditions.words
        lines.append(
          "      \(rule.name): \(takes.isEmpty ? "all" : takes.joined(separator: ", ")) -> "
            + rule.action.word)
      }
      let more = egress.rules.count - Snapshot.egressRulesShown
      if more > 0 { lines.append("      and \(more) more") }
    }
    lines += guardPlan(of: egress)
    lines.append("    CONNECT to   \(Snapshot.ports(settings.connectPorts))")
    lines.append("    plain to     \(Snapshot.ports(settings.plainPorts))")
    if egress.parents.isEmpty {
      lines.append("    parents      none, all is dialled directly")
    } else {
      let urls = egress.parents.map(\.redactedURL).joined(separator: ", ")
      lines.append("    parents      \(urls)")
      let entries = egress.bypass.entries.map(\.text)
      let origin = egress.isBypassInherited ? " (of the environment)" : ""
      lines.append(
        "    no-proxy     \(entries.isEmpty ? "nothing" : Snapshot.words(entries))\(origin)")
    }
    let times = EgressTimeKey.allCases.map { key in
      "\(key.rawValue) \(Scalar.text(ofDurationMs: settings[key]))"
    }
    lines.append("    times        \(times.joined(separator: ", "))")
    return lines
  }

  private static let egressRulesShown = 20
  private static let wordsShown = 8

  private func guardPlan(of egress: Egress) -> [String] {
    if egress.isGuardOff { return ["    guard        off: clients reach what is inside"] }
    let allowed = egress.exceptions.filter(\.isAllowed).map { Scalar.text(of: $0) }
    let denied = egress.exceptions.filter { !$0.isAllowed }.map { Scalar.text(of: $0) }
    var lines = ["    guard        on"]
    if !allowed.isEmpty { lines.append("      but allows \(Snapshot.words(allowed))") }
    if !denied.isEmpty { lines.append("      and denies \(Snapshot.words(denied))") }
    return lines
  }

  private static func ports(_ ranges: [ClosedRange<UInt16>]) -> String {
    words(ranges.map(Scalar.text(ofPorts:)))
  }

  private static func words(_ texts: [String]) -> String {
    let more = texts.count > wordsShown ? " and \(texts.count - wordsShown) more" : ""
    return texts.prefix(wordsShown).joined(separator: ", ") + more
  }
}

extension EgressConditions {
  /// `host .social.example`, one for each list; of long ones the beginning.
  package var words: [String] {
    let lists: [(EgressRuleKey, [String])] = [
      (.user, users), (.from, sources.map(\.description)), (.certificate, certificates),
      (.host, hosts.map(\.description)), (.to, addresses.map(\.description)),
      (.port, ports.map(Scalar.text(ofPorts:))), (.method, methods),
    ]
    return lists.compactMap { key, items in
      guard !items.isEmpty else { return nil }
      let more = items.count > 4 ? " and \(items.count - 4) more" : ""
      return "\(key.rawValue) \(items.prefix(4).joined(separator: " | "))\(more)"
    }
  }
  /// One of the lists, in the same words.
  package func words(of condition: EgressCondition) -> String {
    let list =
      switch condition {
      case .user: EgressConditions(users: users)
      case .source: EgressConditions(sources: sources)
      case .certificate: EgressConditions(certificates: certificates)
      case .host: EgressConditions(hosts: hosts)
      case .address: EgressConditions(addresses: addresses)
      case .port: EgressConditions(ports: ports)
      case .method: EgressConditions(methods: methods)
      }
    return list.words.first ?? ""
  }
}
