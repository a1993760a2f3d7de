package import Wire

/// What workers route by: one immutable, flat table per snapshot, borrowed by all of them.
///
/// Everything is an index into the arrays beside it, so that an answer carries numbers only: no
/// retain and no allocation per decision.
package final class RouteTable: Sendable {
  /// By the tag of the listening socket.
  package let listeners: [ListenerEntry]
  package let backends: [BackendEntry]
  /// The servers of all backends: those of the first, then those of the second, and so on.
  package let servers: [ServerEntry]
  /// Where each of them is counted.
  package let series: SeriesPlan
  /// By server: its backend.
  private let owners: [UInt32]

  /// - Parameter series: nil numbers everything in the table's own order.
  package init(
    listeners: [ListenerEntry], backends: [BackendEntry], servers: [ServerEntry],
    series: SeriesPlan? = nil
  ) {
    var owners: [UInt32] = []
    owners.reserveCapacity(servers.count)
    for (index, backend) in backends.enumerated() {
      precondition(backend.servers.lowerBound == owners.count)
      owners += repeatElement(UInt32(index), count: backend.servers.count)
    }
    precondition(owners.count == servers.count)
    for listener in listeners { precondition(backends.indices.contains(listener.backend)) }
    self.listeners = listeners
    self.backends = backends
    self.servers = servers
    self.owners = owners
    self.series =
      series
      ?? SeriesPlan(
        listeners: listeners.count, backends: backends.count, servers: servers.count)
    precondition(self.series.listeners.count == listeners.count)
    precondition(self.series.backends.count == backends.count)
    precondition(self.series.servers.count == servers.count)
  }

  /// The backend that a server belongs to.
  package func backend(ofServer server: Int) -> Int { Int(owners[server]) }
}

/// A listener as the data plane needs it. Times are milliseconds, 0 is off.
package struct ListenerEntry: Sendable {
  package let name: String
  package let backend: Int
  package let connectMs: UInt32
  package let idleMs: UInt32
  package let halfClosedMs: UInt32
  package let maxAgeMs: UInt32
  /// Who sends a PROXY header.
  package let trust: TrustTable
  /// From accept until a required header is whole; never off.
  package let headerMs: UInt32
  /// The longest version 2 header taken, in bytes.
  package let headerLimit: Int
  /// Whether version 1's UNKNOWN is served, with the real addresses, or refused.
  package let acceptsUnknown: Bool
  /// Of listeners that read the ClientHello; nil for all others, which wait for no byte.
  package let hello: HelloPolicy?
  /// From accept, or the end of a PROXY header, until a ClientHello is whole; never off.
  package let prefaceMs: UInt32

  package init(
    name: String, backend: Int, connectMs: UInt32, idleMs: UInt32, halfClosedMs: UInt32,
    maxAgeMs: UInt32, trust: TrustTable = TrustTable(), headerMs: UInt32 = 3000,
    headerLimit: Int = ProxyV2.defaultReceiveLimit, acceptsUnknown: Bool = true,
    hello: HelloPolicy? = nil, prefaceMs: UInt32 = 10_000
  ) {
    self.name = name
    self.backend = backend
    self.hello = hello
    self.prefaceMs = prefaceMs
    self.connectMs = connectMs
    self.idleMs = idleMs
    self.halfClosedMs = halfClosedMs
    self.maxAgeMs = maxAgeMs
    self.trust = trust
    self.headerMs = headerMs
    self.headerLimit = headerLimit
    self.acceptsUnknown = acceptsUnknown
  }
}

/// The PROXY header that the servers of a backend get first.
package enum ProxyHeaderVersion: Sendable {
  case none
  case v1
  case v2
}

/// How the splice lane of a backend's connections moves bytes.
package enum SpliceEngine: Sendable {
  case inline
  case ring
  case off
}

package struct BackendEntry: Sendable {
  package let name: String
  /// Indexes into `RouteTable.servers`, beginning where the backend before it ends; never empty.
  package let servers: Range<Int>
  package let balance: BalanceKind
  /// How long a server's share of new connections grows after it has come back; 0 is at once.
  package let slowStartMs: UInt32
  /// With a smaller part of the servers up, in percent, all are used.
  package let panicPercent: Int
  /// Further tries after the first.
  package let retries: Int
  package let header: ProxyHeaderVersion
  package let splice: SpliceEngine
  package let source: SocketAddress?
  package let congestion: String
  /// What a version 2 header carries beyond the addresses.
  package let tlvs: TLVPlan
  /// Whether a client's first bytes may be a PROXY header of its own, when we send none.
  package let passesClientHeader: Bool

  package init(
    name: String, servers: Range<Int>, retries: Int, header: ProxyHeaderVersion,
    splice: SpliceEngine, source: SocketAddress?, congestion: String,
    tlvs: TLVPlan = TLVPlan(), passesClientHeader: Bool = false,
    balance: BalanceKind = .roundRobin, slowStartMs: UInt32 = 0, panicPercent: Int = 0
  ) {
    precondition(!servers.isEmpty)
    self.name = name
    self.servers = servers
    self.retries = retries
    self.header = header
    self.splice = splice
    self.source = source
    self.congestion = congestion
    self.tlvs = tlvs
    self.passesClientHeader = passesClientHeader
    self.balance = balance
    self.slowStartMs = slowStartMs
    self.panicPercent = panicPercent
  }

  /// Whether a server would take a PROXY header that the client made up for ours.
  package var isOpenToForgery: Bool { header == .none && !passesClientHeader }
}

package struct ServerEntry: Sendable {
  /// As the configuration writes it.
  package let name: String
  package let address: SocketAddress

  package init(name: String, address: SocketAddress) {
    self.name = name
    self.address = address
  }
}
