internal import Synchronization
package import Wire

/// Which clients are turned away, whatever they ask for. Immutable: another ban makes another
/// table, which has the counts of those that stay.
package final class BanTable: Sendable {
  package struct Entry: Sendable {
    package let network: Network
    package let hits: BanHits

    package init(network: Network, hits: BanHits) {
      self.network = network
      self.hits = hits
    }
  }

  private let entries: [Entry]
  /// Places in `entries`, plus one; 0 is none.
  private let table: NetworkTable<UInt32>

  /// - Parameter entries: each network once.
  package init(_ entries: [Entry] = []) {
    self.entries = entries
    table = NetworkTable(
      entries.enumerated().map { ($0.element.network, UInt32($0.offset) + 1) }, otherwise: 0)
  }

  package var isEmpty: Bool { entries.isEmpty }

  /// Whether the client is banned; it is then counted at the narrowest ban that holds it. Allocates
  /// nothing. Port and zone do not matter, and an IPv4-mapped address is the IPv4 address.
  package func turnsAway(_ client: SocketAddress) -> Bool {
    let place = table.value(for: client)
    guard place > 0 else { return false }
    entries[Int(place) - 1].hits.add()
    return true
  }
}

/// How many connections a ban turned away, over all workers and tables.
package final class BanHits: Sendable {
  private let number: Atomic<UInt64>

  package init(_ count: UInt64 = 0) { number = Atomic(count) }

  package var count: UInt64 { number.load(ordering: .relaxed) }

  func add() { number.wrappingAdd(1, ordering: .relaxed) }
}
