internal import Wire

/// Which servers are addresses of the same name in two families: when one of them is slow or fails,
/// one of the other family is tried (RFC 8305).
package struct NameFamilies: Sendable {
  /// One name, with servers of both families.
  private struct Name {
    /// Places in the plan's servers.
    var six: [Int32] = []
    var four: [Int32] = []
  }

  /// What makes servers ones of the same name.
  private struct Key: Hashable {
    let backend: Int
    let origin: String
    let port: UInt16
    let isBackup: Bool
  }

  private let names: [Name]
  /// By place of a server: its name in `names`, or -1; empty while there are none.
  private let nameOf: [Int32]

  /// No server has another family.
  package init() { (names, nameOf) = ([], []) }

  package init(_ backends: [BackendEntry], _ servers: [ServerEntry]) {
    var found: [Key: Name] = [:]
    for (index, backend) in backends.enumerated() {
      for place in backend.servers {
        let server = servers[place]
        guard let origin = server.origin, let port = server.address.port else { continue }
        let key = Key(backend: index, origin: origin, port: port, isBackup: server.isBackup)
        switch server.address {
        case .ipv6: found[key, default: Name()].six.append(Int32(place))
        case .ipv4: found[key, default: Name()].four.append(Int32(place))
        case .unix: break
        }
      }
    }
    names = found.values.filter { !$0.six.isEmpty && !$0.four.isEmpty }
    guard !names.isEmpty else {
      nameOf = []
      return
    }
    var nameOf = [Int32](repeating: -1, count: servers.count)
    for (index, name) in names.enumerated() {
      for place in name.six + name.four { nameOf[Int(place)] = Int32(index) }
    }
    self.nameOf = nameOf
  }

  /// Whether a server's name has servers of the other family too.
  package func haveOther(than server: Int) -> Bool { !nameOf.isEmpty && nameOf[server] >= 0 }

  /// The servers of its name in the other family, by place.
  func others(than server: Int) -> [Int32] {
    guard haveOther(than: server) else { return [] }
    let name = names[Int(nameOf[server])]
    return name.six.contains(Int32(server)) ? name.four : name.six
  }
}

extension BalancePlan {
  /// A server of the same name in the other family, that is up and has a place; nil without one.
  ///
  /// - Parameter spread: another one for each connection.
  package func otherFamily(than server: Int, spread: UInt64) -> Int? {
    let others = families.others(than: server)
    guard !others.isEmpty else { return nil }
    let first = Int(spread % UInt64(others.count))
    return (others[first...] + others[..<first]).lazy.map { Int($0) }.first { place in
      let other = servers[place]
      return other.weight > 0 && states.marks(other.number).isEmpty
        && (other.limit == 0 || states.load.count(other.number) < Int(other.limit))
    }
  }
}
