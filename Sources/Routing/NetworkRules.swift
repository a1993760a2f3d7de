package import Wire

/// Finds, for an address, the rules with a network that holds it, in the order of their numbers.
///
/// One look-up by the longest prefix finds the narrowest network; those around it follow by links,
/// 128 of them at most, however many networks and rules there are.
package struct NetworkRules: Sendable {
  /// A network that somebody has.
  private struct Node {
    /// The narrowest one around it, plus one; 0 is none.
    var holder: UInt32
    /// Where its numbers are, ascending.
    var numbers: UInt32
    var count: UInt32
  }

  private let nodes: [Node]
  private let numbers: [UInt32]
  /// Nodes, plus one.
  private let narrowest: NetworkTable<UInt32>

  /// - Parameter rules: each network with the number of the rule that has it; a network may be in
  ///   several.
  package init(_ rules: [(network: Network, number: UInt32)]) {
    let sorted = rules.sorted { rule, other in
      rule.network == other.network
        ? rule.number < other.number : rule.network.order < other.network.order
    }
    var nodes: [Node] = []
    var entries: [(network: Network, value: UInt32)] = []
    var around: [(network: Network, node: UInt32)] = []
    for (index, rule) in sorted.enumerated() {
      if index > 0, sorted[index - 1].network == rule.network {
        nodes[nodes.count - 1].count += 1
        continue
      }
      while let last = around.last, !last.network.contains(rule.network) { around.removeLast() }
      nodes.append(Node(holder: around.last?.node ?? 0, numbers: UInt32(index), count: 1))
      around.append((rule.network, UInt32(nodes.count)))
      entries.append((rule.network, UInt32(nodes.count)))
    }
    self.nodes = nodes
    numbers = sorted.map(\.number)
    narrowest = NetworkTable(entries, otherwise: 0)
  }

  /// The least number, of at least `floor`, of the rules with a network that holds `address`; the
  /// next is found with that number and 1 as the floor. Allocates nothing.
  package func first(for address: SocketAddress, from floor: UInt32 = 0) -> UInt32? {
    guard !nodes.isEmpty else { return nil }
    var best: UInt32?
    var place = narrowest.value(for: address)
    while place > 0 {
      let node = nodes[Int(place) - 1]
      if let found = numbers.least(floor, in: node.numbers, node.count) {
        best = min(found, best ?? found)
      }
      place = node.holder
    }
    return best
  }
}

extension [UInt32] {
  /// The first of at least `floor` among ascending ones.
  func least(_ floor: UInt32, in start: UInt32, _ count: UInt32) -> UInt32? {
    let end = Int(start + count)
    var (low, high) = (Int(start), end)
    while low < high {
      let middle = (low + high) / 2
      if self[middle] < floor { low = middle + 1 } else { high = middle }
    }
    return low < end ? self[low] : nil
  }
}

extension Network {
  /// Whoever holds others comes before them, and they come next.
  fileprivate var order: (Int, UInt64, UInt64, UInt8) {
    switch self {
    case .ipv4(let base, let prefix): (0, UInt64(base), 0, prefix)
    case .ipv6(let high, let low, let prefix): (1, high, low, prefix)
    case .unix: (2, 0, 0, 0)
    }
  }
}
