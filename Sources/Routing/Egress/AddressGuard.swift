package import Wire

/// Which addresses clients of a forward proxy are kept from: the check is on the address that is
/// dialled, whatever name it stands for, so that no name leads inside.
///
/// The longest prefix wins, and one with a port is longer than the same without. At equal length
/// what the configuration denies wins over what it allows, and that over what is built in. Without
/// anything configured, every range that is not of the public network is denied.
package struct AddressGuard: Sendable {
  /// An entry of the configuration.
  package struct Exception: Hashable, Sendable {
    package let network: Network
    /// Nil for all ports.
    package let port: UInt16?
    package let isAllowed: Bool

    package init(network: Network, port: UInt16? = nil, isAllowed: Bool) {
      self.network = network
      self.port = port
      self.isAllowed = isAllowed
    }
  }

  /// What this machine is reached at.
  package struct OwnPlaces: Hashable, Sendable {
    /// Addresses of its interfaces; ports do not matter.
    package var addresses: [SocketAddress]
    /// Where this process listens; wildcards stand for every own address and the loopback network.
    package var listeners: [SocketAddress]
    /// Those of them that are forward proxies: to dial them would be a loop, so that nothing
    /// allows it.
    package var proxies: [SocketAddress]

    package init(
      addresses: [SocketAddress] = [], listeners: [SocketAddress] = [],
      proxies: [SocketAddress] = []
    ) {
      self.addresses = addresses
      self.listeners = listeners
      self.proxies = proxies
    }
  }

  package let isOff: Bool
  package let exceptions: [Exception]
  private let cells: [Cell]
  /// Places in `cells`.
  private let table: NetworkTable<UInt32>
  private let ported: [Exception]
  private let own: OwnPlaces
  private let ownAddresses: Set<SocketAddress>

  /// What the longest prefix says.
  private struct Cell: Sendable {
    let prefix: Int
    let says: Saying
  }

  private enum Saying: Sendable {
    case allowed
    case denied(GuardRange)
    /// It depends on an IPv4 address within.
    case embedded(GuardRange.Embedding)
  }

  /// - Parameter isOff: allows everything but the forward proxies of this process.
  package init(
    _ exceptions: [Exception] = [], own: OwnPlaces = OwnPlaces(), isOff: Bool = false
  ) {
    self.isOff = isOff
    self.exceptions = exceptions
    self.own = own
    ownAddresses = Set(own.addresses.map { $0.unmapped().withPort(0) })
    // Of each network, the last that is put there counts.
    var says: [Network: Saying] = [:]
    for range in GuardRange.denied { says[range.network] = .denied(range) }
    for embedding in GuardRange.Embedding.allCases {
      says[embedding.network] = .embedded(embedding)
    }
    for address in ownAddresses where !address.isLoopback {
      guard let network = Network(host: address) else { continue }
      says[network] = .denied(GuardRange(network, "this host's own address"))
    }
    for exception in exceptions where exception.port == nil && exception.isAllowed {
      says[exception.network] = .allowed
    }
    for exception in exceptions where exception.port == nil && !exception.isAllowed {
      says[exception.network] = .denied(GuardRange(exception.network, "configured"))
    }
    var cells = [Cell(prefix: -1, says: .allowed)]
    var entries: [(network: Network, value: UInt32)] = []
    for (network, saying) in says {
      entries.append((network, UInt32(cells.count)))
      cells.append(Cell(prefix: network.length, says: saying))
    }
    self.cells = cells
    table = NetworkTable(entries, otherwise: 0)
    ported = exceptions.filter { $0.port != nil }
  }

  /// Whether a client may be connected to an address. The port counts: of the address as it is
  /// dialled.
  package func verdict(_ address: SocketAddress) -> GuardVerdict {
    let address = address.unmapped()
    guard let whole = Network(host: address), let port = address.port else {
      return .denied(GuardRange(.unix, "a Unix socket"))
    }
    if serves(own.proxies, address) { return .denied(GuardRange(whole, "this proxy itself")) }
    if isOff { return .allowed }
    let cell = cells[Int(table.value(for: address))]
    let longest = longestPorted(address, port)
    if serves(own.listeners, address), longest?.network.length != whole.length {
      return .denied(GuardRange(whole, "a listener of this process"))
    }
    if let longest, longest.network.length >= cell.prefix {
      return longest.isAllowed ? .allowed : .denied(GuardRange(longest.network, "configured"))
    }
    switch cell.says {
    case .allowed: return .allowed
    case .denied(let range): return .denied(range)
    case .embedded(let embedding): return verdict(address, embedding, port)
    }
  }

  /// An exception for an IPv4 network is not one for the ways through gateways into it.
  private func verdict(
    _ address: SocketAddress, _ embedding: GuardRange.Embedding, _ port: UInt16
  ) -> GuardVerdict {
    for word in embedding.words(in: address) {
      let inner = SocketAddress.ipv4(word, port: port)
      for verdict in [AddressGuard.plain.verdict(inner), verdict(inner)] {
        guard case .denied(let range) = verdict else { continue }
        return .denied(GuardRange(range.network, "\(range.name) by \(embedding.name)"))
      }
    }
    return .allowed
  }

  /// Nothing but what is built in.
  private static let plain = AddressGuard()

  /// Of those with this port that hold the address; one that denies counts before one that allows.
  private func longestPorted(_ address: SocketAddress, _ port: UInt16) -> Exception? {
    var best: Exception?
    for exception in ported where exception.port == port && exception.network.contains(address) {
      if let known = best {
        let (length, longest) = (exception.network.length, known.network.length)
        guard length > longest || length == longest && !exception.isAllowed else { continue }
      }
      best = exception
    }
    return best
  }

  private func serves(_ listeners: [SocketAddress], _ address: SocketAddress) -> Bool {
    listeners.contains { listener in
      guard listener.port == address.port else { return false }
      guard listener.isWildcard else { return listener.unmapped().withPort(0) == address.bare }
      return address.isLoopback || address.isWildcard || ownAddresses.contains(address.bare)
    }
  }
}

package enum GuardVerdict: Hashable, Sendable {
  case allowed
  case denied(GuardRange)

  package var isAllowed: Bool { self == .allowed }
}

extension SocketAddress {
  /// Without port and zone.
  fileprivate var bare: SocketAddress {
    switch self {
    case .ipv4(let word, _): .ipv4(word, port: 0)
    case .ipv6(let high, let low, _, _): .ipv6(high: high, low: low, port: 0, scope: 0)
    case .unix: self
    }
  }
}

extension Network {
  /// A single address; nil for a Unix one.
  init?(host address: SocketAddress) {
    switch address.unmapped() {
    case .ipv4(let word, _): self = .ipv4(word, prefix: 32)
    case .ipv6(let high, let low, _, _): self = .ipv6(high: high, low: low, prefix: 128)
    case .unix: return nil
    }
  }

  /// Bits of the prefix.
  var length: Int {
    switch self {
    case .ipv4(_, let prefix), .ipv6(_, _, let prefix): Int(prefix)
    case .unix: 0
    }
  }
}
