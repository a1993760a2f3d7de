import Wire

/// The process's own addresses, held against the listeners'.
extension Checks {
  var adminSettings: AdminSettings? { draft.admin?.settings }

  var metricsSettings: MetricsSettings? {
    guard let metrics = draft.metrics else { return nil }
    var settings = MetricsSettings(hosts: metrics.hosts, topClients: metrics.topClients)
    if let binds = metrics.binds { settings.binds = binds.flatMap(\.addresses) }
    if let hasPage = metrics.hasPage { settings.hasPage = hasPage }
    return settings
  }

  mutating func checkOwnAddresses() {
    if let admin = draft.admin, let owner = owner(of: .unix(path: admin.settings.socket)) {
      diagnostics.error(
        admin.socketPosition, "socket: \(admin.settings.socket) is bound by \(owner)")
    }
    guard let metrics = draft.metrics else { return }
    guard let binds = metrics.binds else {
      for address in MetricsSettings().binds {
        guard let owner = owner(of: address) else { continue }
        diagnostics.error(
          metrics.position, "metrics: its default address \(address) is bound by \(owner)")
      }
      return
    }
    var seen: [SocketAddress: Position] = [:]
    for bind in binds {
      if let first = bind.addresses.lazy.compactMap({ seen[$0] }).first {
        diagnostics.error(
          bind.text.position, "bind: \"\(bind.text.value)\" is listed twice, first at \(first)")
      } else if let owner = owner(ofAny: bind.addresses) {
        diagnostics.error(
          bind.text.position, "bind: \"\(bind.text.value)\" is bound by \(owner)")
      }
      for address in bind.addresses { seen[address] = bind.text.position }
    }
    warnOfOpenPage(metrics, binds)
  }

  /// The listener that has `address`, or a wildcard over it, or is beneath it as a wildcard; and
  /// where. The process's own sockets share with nobody.
  private func owner(of address: SocketAddress) -> String? {
    for listener in listeners {
      let bind = listener.binds.first { bind in
        bind.addresses.contains { Checks.overlap($0, address) }
      }
      if let bind { return "listener \"\(listener.name.value)\" at \(bind.text.position)" }
    }
    return nil
  }

  private func owner(ofAny addresses: [SocketAddress]) -> String? {
    addresses.lazy.compactMap { owner(of: $0) }.first
  }

  private static func overlap(_ left: SocketAddress, _ right: SocketAddress) -> Bool {
    if left == right { return true }
    guard left.isWildcard || right.isWildcard, left.port != nil, left.port == right.port else {
      return false
    }
    return family(of: left) == family(of: right)
  }

  /// The page names clients, and whoever reaches it may read it.
  private mutating func warnOfOpenPage(_ metrics: MetricsDraft, _ binds: [BindDraft]) {
    guard metrics.hasPage == nil else { return }
    let open = binds.first { bind in bind.addresses.contains { !$0.isLoopback } }
    guard let open else { return }
    diagnostics.warn(
      open.text.position,
      "bind: whoever reaches \(open.text.value) sees the live page, with clients' addresses; add "
        + "\"page: false\", or \"page: true\" if you mean it")
  }
}
