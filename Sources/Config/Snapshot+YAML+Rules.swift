import Routing
import Wire

extension SnapshotWriter {
  /// A rule as one item in braces.
  func written(_ rule: Rule, at place: Int) -> String {
    var pairs: [(String, String)] = []
    func add(_ key: RuleKey, _ items: [String]) {
      guard !items.isEmpty else { return }
      let text = items.count == 1 ? items[0] : "[\(items.joined(separator: ", "))]"
      pairs.append((key.rawValue, text))
    }
    if all || rule.name != Rule.defaultName(place) { add(.name, [rule.name]) }
    add(.sni, rule.conditions.names.map { YAMLText.scalar($0.description) })
    add(.alpn, rule.conditions.protocols.map { YAMLText.scalar($0) })
    add(.clientCertificate, rule.conditions.certificates.map { YAMLText.scalar($0.description) })
    add(.from, rule.conditions.sources.map { YAMLText.scalar($0.description) })
    add(.toAddress, rule.conditions.addresses.map { YAMLText.scalar($0.description) })
    add(.toPort, rule.conditions.ports.map { "\($0)" })
    switch rule.action {
    case .backend(let index): add(.backend, [snapshot.backends[index].name])
    case .reject, .close: add(.action, [snapshot.words(for: rule.action)])
    }
    return YAMLText.flow(pairs)
  }
}
