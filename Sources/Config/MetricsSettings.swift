package import Wire

/// Where metrics and the live page are served, besides the admin socket.
package struct MetricsSettings: Hashable, Sendable {
  package static let topClientsDefault = 20

  /// At least one; IPv4 and IPv6 only.
  package var binds: [SocketAddress]
  /// Whether the live page is there too.
  package var hasPage: Bool
  /// Names that a request's Host may have beyond addresses and `localhost`; lower case, without
  /// a port. Other names are refused, so that no web site can ask in a visitor's browser.
  package var hosts: [HostName]
  /// The busiest clients that are shown, 0 ... 1000; 0 keeps no track of clients.
  package var topClients: Int

  package init(
    binds: [SocketAddress] = [.ipv4(0x7f00_0001, port: 9180)], hasPage: Bool = true,
    hosts: [HostName] = [], topClients: Int = MetricsSettings.topClientsDefault
  ) {
    self.binds = binds
    self.hasPage = hasPage
    self.hosts = hosts
    self.topClients = topClients
  }
}
