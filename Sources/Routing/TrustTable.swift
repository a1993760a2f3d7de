package import Wire

/// Whether a source sends a PROXY header before its first byte. Section 5 of the specification: the
/// receiver must be told, and "must not try to guess whether the header is present or not".
package enum HeaderRule: Hashable, Sendable, CaseIterable {
  /// It speaks for its clients, and serves nobody without a valid header.
  case require
  /// It may. Outside the specification, and only for listeners whose clients speak first.
  case accept
  /// It is its own client; what it sends is never read as a header.
  case forbid
}

/// Which sources may speak for a client: of the networks that hold an address, the one with the
/// longest prefix decides. An address in none of them is forbidden to.
package struct TrustTable: Sendable {
  package struct Entry: Hashable, Sendable {
    package let network: Network
    package let rule: HeaderRule

    package init(network: Network, rule: HeaderRule) {
      self.network = network
      self.rule = rule
    }
  }

  /// For a person to read: IPv4, then IPv6, then `unix`; the widest networks first, equally wide
  /// ones by address. Each network stands here once.
  package let entries: [Entry]
  private let table: NetworkTable<HeaderRule>

  /// Of entries for the same network the first counts.
  package init(_ entries: [(network: Network, rule: HeaderRule)] = []) {
    var seen: Set<Network> = []
    seen.reserveCapacity(entries.count)
    let kept = entries.filter { seen.insert($0.network).inserted }
    self.entries = kept.map { Entry(network: $0.network, rule: $0.rule) }.sorted {
      TrustTable.order(of: $0.network) < TrustTable.order(of: $1.network)
    }
    table = NetworkTable(kept.map { ($0.network, $0.rule) }, otherwise: .forbid)
  }

  /// What the real address of a connection's other end says about its header. An IPv4-mapped
  /// address is looked up as the IPv4 address it stands for; port and zone do not matter. Allocates
  /// nothing.
  package func rule(for source: SocketAddress) -> HeaderRule { table.value(for: source) }

  private static func order(of network: Network) -> (Int, UInt8, UInt128) {
    switch network {
    case .ipv4(let base, let prefix): (0, prefix, UInt128(base))
    case .ipv6(let high, let low, let prefix): (1, prefix, UInt128(high: high, low: low))
    case .unix: (2, 0, 0)
    }
  }
}

extension UInt128 {
  fileprivate init(high: UInt64, low: UInt64) { self = UInt128(high) << 64 | UInt128(low) }
}
