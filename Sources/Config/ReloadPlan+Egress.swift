import Routing

/// What becomes of the entries of `egress`.
extension ReloadPlan {
  mutating func compareEgress(_ old: Snapshot, _ new: Snapshot) {
    for egress in new.egress {
      let what = "egress \(egress.name)"
      guard let was = old.egress.first(where: { $0.name == egress.name }) else {
        changes.append(Change(.added, what))
        continue
      }
      if was == egress { continue }
      let details = ReloadPlan.differences(of: was, to: egress)
      changes.append(Change(.changed, what, details.joined(separator: ", ")))
    }
    for was in old.egress where !new.egress.contains(where: { $0.name == was.name }) {
      changes.append(Change(.removed, "egress \(was.name)"))
    }
  }

  private static func differences(of was: Egress, to now: Egress) -> [String] {
    var details: [String] = []
    if was.users != now.users {
      let before = was.users?.hashes ?? [:]
      let after = now.users?.hashes ?? [:]
      let added = after.keys.count { before[$0] == nil }
      let removed = before.keys.count { after[$0] == nil }
      let changed = after.count { name, hash in before[name].map { $0 != hash } ?? false }
      details.append("users: \(added) added, \(removed) removed, \(changed) changed")
    }
    if was.rules != now.rules {
      let before = Dictionary(
        was.rules.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
      let names = Set(now.rules.map(\.name))
      let words =
        now.rules.filter { before[$0.name] == nil }.map { "+ \($0.name)" }
        + was.rules.filter { !names.contains($0.name) }.map { "- \($0.name)" }
        + now.rules.filter { rule in before[rule.name].map { $0 != rule } ?? false }
        .map { "~ \($0.name)" }
      details.append(
        words.isEmpty
          ? "rules in another order"
          : words.count > 8 ? "\(words.count) rules" : "rules \(words.joined(separator: " "))")
    }
    if was.exceptions != now.exceptions || was.isGuardOff != now.isGuardOff {
      details.append("guard")
    }
    if was.parents != now.parents || was.parentsCA != now.parentsCA {
      details.append("parents")
    }
    if was.bypass != now.bypass { details.append("no-proxy") }
    if was.settings != now.settings { details.append("settings") }
    return details.isEmpty ? ["settings"] : details
  }
}
