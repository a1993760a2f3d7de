package import Wire

/// What one item of `servers` names.
package enum ServerTarget: Hashable, Sendable {
  /// An address, or a Unix socket; never looked up.
  case address(SocketAddress)
  /// A name with A and AAAA records; each address is a server.
  case host(HostName, port: UInt16)
  /// A name with SRV records (RFC 2782), which bring ports, weights and priorities.
  case service(HostName)
}

extension ServerTarget: CustomStringConvertible {
  /// As a file writes it.
  package var description: String {
    switch self {
    case .address(let address): "\(address)"
    case .host(let name, let port): "\(name):\(port)"
    case .service(let name): "srv:\(name)"
    }
  }
}

/// Who is asked for server names, and how long answers hold.
package struct ResolverSettings: Hashable, Sendable {
  /// Asked in this order; nil is what /etc/resolv.conf says.
  package var servers: [SocketAddress]?
  /// Answers hold for at least this long, and names are never asked for more often.
  package var minTTLMs: UInt32
  package var maxTTLMs: UInt32
  /// For the first try at each name server; it doubles with each round over all of them.
  package var timeoutMs: UInt32
  /// Rounds over all name servers.
  package var attempts: Int

  package init(
    servers: [SocketAddress]? = nil, minTTLMs: UInt32 = 1000, maxTTLMs: UInt32 = 5 * 60_000,
    timeoutMs: UInt32 = 2000, attempts: Int = 2
  ) {
    self.servers = servers
    self.minTTLMs = minTTLMs
    self.maxTTLMs = maxTTLMs
    self.timeoutMs = timeoutMs
    self.attempts = attempts
  }
}
