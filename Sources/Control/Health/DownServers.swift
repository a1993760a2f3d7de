package import Config
package import Routing

/// When the live connections of servers whose checks fail are to be ended. Pure: states and times
/// come in, what is due goes out.
package struct DownServers: Hashable, Sendable {
  /// When its connections end; nil where they go on, or were ended.
  private var endsNs: [ServerName: UInt64?] = [:]

  package init() {}

  /// The earliest time at which something is due.
  package var nextNs: UInt64? { endsNs.values.compactMap { $0 }.min() }

  /// - Parameter down: all servers that are down now, with what is to become of their connections.
  ///   One that is up again keeps those that it still has.
  package mutating func follow(_ down: [ServerName: OnDown], nowNs: UInt64) {
    endsNs = endsNs.filter { down[$0.key] != nil }
    for (server, onDown) in down where endsNs[server] == nil {
      switch onDown {
      case .keep: endsNs.updateValue(nil, forKey: server)
      case .close(let afterMs):
        endsNs.updateValue(nowNs + UInt64(afterMs) * 1_000_000, forKey: server)
      }
    }
  }

  /// Servers whose connections end now, each once for each time that it is down.
  package mutating func due(nowNs: UInt64) -> [ServerName] {
    let due = endsNs.filter { entry in entry.value.map { $0 <= nowNs } ?? false }.map(\.key)
    for server in due { endsNs.updateValue(nil, forKey: server) }
    return due.sorted()
  }
}
