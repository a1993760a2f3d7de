internal import Routing
package import Wire

/// What a reload from one snapshot to another changes: the diff that people are shown, and what is
/// refused because it takes a restart. Pure: nothing is opened or looked up.
///
/// Things are the same when they have the same name, and listening sockets when they have the same
/// address, whatever listener has it.
package struct ReloadPlan: Hashable, Sendable {
  package struct Change: Hashable, Sendable {
    package enum Kind: Hashable, Sendable { case added, removed, changed, kept }

    package var kind: Kind
    /// `listener smtp`, `backend postfix`, `server postfix/192.0.2.10:25`, `trust smtp`, `log`.
    package var what: String
    /// What about it; empty when the kind says all. Secrets are not in it.
    package var detail: String

    package init(_ kind: Kind, _ what: String, _ detail: String = "") {
      self.kind = kind
      self.what = what
      self.detail = detail
    }
  }

  /// A key that only a restart can change.
  package struct Restart: Hashable, Sendable {
    /// Where the file has it: `["limits", "max-connections"]`.
    package var path: [String]
    package var sentence: String
  }

  /// In the order of the new file, what is removed last. Listeners that stay as they are are among
  /// them as `kept`; everything else that stays is not.
  package var changes: [Change] = []
  /// Not empty: this reload is refused.
  package var restarts: [Restart] = []
  /// Addresses to listen on that nobody listens on yet.
  package var opened: [SocketAddress] = []
  package var retired: [SocketAddress] = []

  /// Whether the two snapshots mean the same.
  package var isEmpty: Bool { restarts.isEmpty && !changes.contains { $0.kind != .kept } }

  package init(from old: Snapshot, to new: Snapshot) {
    findRestarts(old, new)
    let (before, after) = (Set(old.listeners.flatMap(\.binds)), Set(new.listeners.flatMap(\.binds)))
    opened = new.listeners.flatMap(\.binds).filter { !before.contains($0) }
    retired = old.listeners.flatMap(\.binds).filter { !after.contains($0) }
    compareGlobal(old, new)
    compareListeners(old, new)
    compareBackends(old, new)
    compareEgress(old, new)
    // A new key that nobody named here must not pass for no change.
    if old != new, isEmpty { changes.append(Change(.changed, "settings")) }
  }

  // ---- what takes a restart ----------------------------------------------------------------

  private mutating func findRestarts(_ old: Snapshot, _ new: Snapshot) {
    func need(_ differs: Bool, _ path: [String]) {
      guard differs else { return }
      let key = path.joined(separator: ".")
      restarts.append(
        Restart(path: path, sentence: "a change of `\(key)` needs a restart; nothing was changed"))
    }
    need(old.workers != new.workers, ["workers"])
    need(old.events != new.events, ["events"])
    need(old.limits.maxConnections != new.limits.maxConnections, ["limits", "max-connections"])
    need(old.stateDirectory != new.stateDirectory, ["state-directory"])
    switch (old.admin, new.admin) {
    case (nil, nil): break
    case (let before?, let now?):
      need(before.socket != now.socket, ["admin", "socket"])
      need(before.mode != now.mode, ["admin", "mode"])
      need(before.group != now.group, ["admin", "group"])
    case (nil, _?), (_?, nil): need(true, ["admin"])
    }
    switch (old.metrics, new.metrics) {
    case (nil, nil): break
    case (let before?, let now?): need(before.binds != now.binds, ["metrics", "bind"])
    case (nil, _?), (_?, nil): need(true, ["metrics"])
    }
  }

  // ---- the diff ----------------------------------------------------------------------------

  private mutating func compareGlobal(_ old: Snapshot, _ new: Snapshot) {
    if old.latency != new.latency {
      changes.append(
        Change(.changed, "latency", "\(old.latency.word) -> \(new.latency.word)"))
    }
    if old.log != new.log { changes.append(Change(.changed, "log")) }
    if old.resolver != new.resolver { changes.append(Change(.changed, "resolver")) }
    if old.drainMs != new.drainMs {
      changes.append(Change(.changed, "timeouts", "drain \(old.drainMs) ms -> \(new.drainMs) ms"))
    }
    if let before = old.admin, let now = new.admin,
      before.operate != now.operate || before.view != now.view
    {
      changes.append(Change(.changed, "admin", "roles"))
    }
    if let before = old.metrics, let now = new.metrics, before != now, before.binds == now.binds {
      changes.append(Change(.changed, "metrics"))
    }
  }

  private mutating func compareListeners(_ old: Snapshot, _ new: Snapshot) {
    let before = Dictionary(
      old.listeners.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    for listener in new.listeners {
      let what = "listener \(listener.name)"
      guard let was = before[listener.name] else {
        changes.append(Change(.added, what, ReloadPlan.list(listener.binds)))
        continue
      }
      let details = ReloadPlan.differences(of: was, in: old, to: listener, in: new)
      if details.isEmpty {
        changes.append(Change(.kept, what, ReloadPlan.list(listener.binds)))
      } else {
        changes.append(Change(.changed, what, details.joined(separator: ", ")))
      }
      compareTrust(was, listener)
    }
    let names = Set(new.listeners.map(\.name))
    for listener in old.listeners where !names.contains(listener.name) {
      changes.append(
        Change(.removed, "listener \(listener.name)", ReloadPlan.list(listener.binds)))
    }
  }

  private mutating func compareTrust(_ was: Listener, _ now: Listener) {
    guard was.proxyProtocol != now.proxyProtocol else { return }
    let what = "trust \(now.name)"
    let before = Set(was.proxyProtocol.sources.map(Source.init))
    let after = Set(now.proxyProtocol.sources.map(Source.init))
    let added = now.proxyProtocol.sources.map(Source.init).filter { !before.contains($0) }
    let removed = was.proxyProtocol.sources.map(Source.init).filter { !after.contains($0) }
    var details: [String] = []
    if !added.isEmpty { details.append("+ \(ReloadPlan.some(added))") }
    if !removed.isEmpty { details.append("- \(ReloadPlan.some(removed))") }
    if details.isEmpty { details.append("settings") }
    changes.append(Change(.changed, what, details.joined(separator: "; ")))
  }

  private mutating func compareBackends(_ old: Snapshot, _ new: Snapshot) {
    let before = Dictionary(
      old.backends.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    for backend in new.backends {
      guard let was = before[backend.name] else {
        let names = backend.servers.map(\.name).joined(separator: ", ")
        changes.append(Change(.added, "backend \(backend.name)", names))
        continue
      }
      compareServers(was, backend)
      var (bare, wasBare) = (backend, was)
      (bare.servers, wasBare.servers) = ([], [])
      if bare != wasBare {
        let details = ReloadPlan.differences(of: was, to: backend)
        changes.append(
          Change(.changed, "backend \(backend.name)", details.joined(separator: ", ")))
      }
    }
    let names = Set(new.backends.map(\.name))
    for backend in old.backends where !names.contains(backend.name) {
      changes.append(Change(.removed, "backend \(backend.name)"))
    }
  }

  private mutating func compareServers(_ was: Backend, _ now: Backend) {
    let before = Dictionary(
      was.servers.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    let after = Set(now.servers.map(\.name))
    for server in now.servers {
      let what = "server \(now.name)/\(server.name)"
      guard let old = before[server.name] else {
        changes.append(Change(.added, what))
        continue
      }
      guard old != server else { continue }
      var details: [String] = []
      if old.weight != server.weight {
        details.append("weight \(old.weight) -> \(server.weight)")
      }
      if old.isBackup != server.isBackup {
        details.append(server.isBackup ? "now a backup" : "no backup any more")
      }
      if old.maxConnections != server.maxConnections { details.append("max-connections") }
      changes.append(Change(.changed, what, details.joined(separator: ", ")))
    }
    for server in was.servers where !after.contains(server.name) {
      changes.append(Change(.removed, "server \(now.name)/\(server.name)"))
    }
  }

  // ---- words -------------------------------------------------------------------------------

  /// Which settings of a listener differ, beside its trust.
  private static func differences(
    of was: Listener, in old: Snapshot, to now: Listener, in new: Snapshot
  ) -> [String] {
    var details: [String] = []
    let (before, after) = (Set(was.binds), Set(now.binds))
    for address in now.binds where !before.contains(address) { details.append("bind + \(address)") }
    for address in was.binds where !after.contains(address) { details.append("bind - \(address)") }
    if was.type != now.type { details.append("type \(was.type.word) -> \(now.type.word)") }
    let backend = was.backend.map { old.backends[$0].name } ?? "none"
    let newBackend = now.backend.map { new.backends[$0].name } ?? "none"
    if backend != newBackend { details.append("backend \(backend) -> \(newBackend)") }
    if let rules = ruleDifferences(of: was, in: old, to: now, in: new) { details.append(rules) }
    if was.tls != now.tls { details.append("tls") }
    if was.timeouts != now.timeouts { details.append("timeouts") }
    if was.congestion != now.congestion { details.append("congestion") }
    if was.backlog != now.backlog { details.append("backlog \(was.backlog) -> \(now.backlog)") }
    var rest = was
    (rest.binds, rest.type, rest.backend) = (now.binds, now.type, now.backend)
    rest.rules = now.rules
    (rest.timeouts, rest.congestion, rest.tls) = (now.timeouts, now.congestion, now.tls)
    (rest.backlog, rest.proxyProtocol) = (now.backlog, now.proxyProtocol)
    if rest != now { details.append("settings") }
    return details
  }

  /// Which rules are others; nil when none are. Those of the same name may differ in what they ask
  /// for, in where they lead, or in their place among the others.
  private static func ruleDifferences(
    of was: Listener, in old: Snapshot, to now: Listener, in new: Snapshot
  ) -> String? {
    let isSame =
      was.rules.count == now.rules.count
      && zip(was.rules, now.rules).allSatisfy { rule, other in
        rule.name == other.name && rule.conditions == other.conditions
          && old.words(for: rule.action) == new.words(for: other.action)
      }
    if isSame { return nil }
    let before = Dictionary(
      was.rules.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    let after = Set(now.rules.map(\.name))
    let added = now.rules.filter { before[$0.name] == nil }.map { "+ \($0.name)" }
    let removed = was.rules.filter { !after.contains($0.name) }.map { "- \($0.name)" }
    let changed = now.rules.filter { rule in
      guard let former = before[rule.name] else { return false }
      return former.conditions != rule.conditions
        || old.words(for: former.action) != new.words(for: rule.action)
    }.map { "~ \($0.name)" }
    let all = added + removed + changed
    if all.isEmpty { return "rules in another order" }
    guard all.count <= 8 else {
      return "rules: \(added.count) added, \(removed.count) removed, \(changed.count) changed"
    }
    return "rules \(all.joined(separator: " "))"
  }

  private static func differences(of was: Backend, to now: Backend) -> [String] {
    var details: [String] = []
    if was.sendProxy != now.sendProxy {
      details.append("send-proxy \(was.sendProxy) -> \(now.sendProxy)")
    }
    if was.tlvs != now.tlvs { details.append("TLVs") }
    if was.tls != now.tls { details.append("tls") }
    if was.parents != now.parents || was.parentsCA != now.parentsCA { details.append("parents") }
    if was.retries != now.retries { details.append("retries \(was.retries) -> \(now.retries)") }
    if was.timeouts != now.timeouts { details.append("timeouts") }
    if was.balance != now.balance { details.append("balance") }
    if was.check != now.check { details.append("check") }
    if was.ejection != now.ejection { details.append("eject") }
    var rest = was
    (rest.sendProxy, rest.tlvs, rest.retries) = (now.sendProxy, now.tlvs, now.retries)
    (rest.timeouts, rest.balance, rest.servers) = (now.timeouts, now.balance, now.servers)
    (rest.check, rest.ejection, rest.tls) = (now.check, now.ejection, now.tls)
    (rest.parents, rest.parentsCA) = (now.parents, now.parentsCA)
    if rest != now { details.append("settings") }
    return details
  }

  private static func list(_ addresses: [SocketAddress]) -> String {
    addresses.map(\.description).joined(separator: ", ")
  }

  /// Lists of thousands are counted, not printed.
  private static func some(_ sources: [Source]) -> String {
    if sources.count > 8 { return "\(sources.count) networks" }
    return sources.map { "\($0.network) \($0.rule)" }.sorted().joined(separator: ", ")
  }

  /// A trusted source, wherever the file says it.
  private struct Source: Hashable {
    let network: Network
    let rule: HeaderRule

    init(_ source: TrustedSource) {
      network = source.network
      rule = source.rule
    }
  }
}
