package import Wire

/// How many connections one source may have; 0 is no limit.
package struct SourceLimit: Hashable, Sendable {
  package var atOnce: Int
  /// New ones a second, and as many in one burst.
  package var perSecond: Int

  package init(atOnce: Int = 0, perSecond: Int = 0) {
    self.atOnce = atOnce
    self.perSecond = perSecond
  }
}

/// The limit of each source: that of the smallest network that names it, or everybody's.
package struct SourceLimits: Sendable {
  private let table: NetworkTable<SourceLimit>
  /// Whether there is none for anybody.
  package let isEmpty: Bool

  /// - Parameter exceptions: of those for the same network the first counts.
  package init(
    _ everybody: SourceLimit = SourceLimit(),
    exceptions: [(network: Network, value: SourceLimit)] = []
  ) {
    var seen: Set<Network> = []
    let kept = exceptions.filter { seen.insert($0.network).inserted }
    table = NetworkTable(kept, otherwise: everybody)
    isEmpty = ([everybody] + kept.map(\.value)).allSatisfy { $0 == SourceLimit() }
  }

  package func limit(for source: SocketAddress) -> SourceLimit { table.value(for: source) }
}
