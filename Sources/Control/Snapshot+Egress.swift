internal import Config
internal import Routing
internal import System
internal import Wire

/// Forward proxies as the data plane takes them.
extension Snapshot {
  /// By `Snapshot.egress`: one plan for all listeners that have it.
  func egressPlans() -> [EgressPlan] {
    guard !egress.isEmpty else { return [] }
    let own = ownPlaces(Interfaces.addresses())
    return egress.map { egress in
      return EgressPlan(
        name: egress.name, rules: egress.rules, settings: egress.settings,
        addressGuard: AddressGuard(egress.exceptions, own: own, isOff: egress.isGuardOff),
        users: egress.users.map { UserTable($0.hashes) }, parents: parents(of: egress),
        bypass: egress.bypass)
    }
  }

  /// Where clients of a forward proxy would reach this machine and process itself.
  private func ownPlaces(_ addresses: [SocketAddress]) -> AddressGuard.OwnPlaces {
    let proxies = listeners.filter { $0.type == .httpProxy }.flatMap(\.binds)
    return AddressGuard.OwnPlaces(
      addresses: addresses, listeners: listeners.flatMap(\.binds) + (metrics?.binds ?? []),
      proxies: proxies)
  }
}

extension Listener {
  /// What its connections are counted by: its own rules, or those of its egress.
  func ruleNames(in snapshot: Snapshot) -> [String] {
    snapshot.egress(of: self)?.rules.map(\.name) ?? rules.map(\.name)
  }
}
