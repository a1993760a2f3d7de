internal import Wire

/// Which values of Host are answered. A web site can make a visitor's browser ask any address under
/// the site's own name (DNS rebinding), but never under an address or under a name that is not its
/// own; so those are refused that are neither an address, nor ours, nor `localhost`.
struct PageHosts: Sendable {
  private let names: Set<String>

  init(_ hosts: [HostName]) { names = Set(hosts.map(\.text)).union(["localhost"]) }

  /// - Parameter fields: all Host fields of a request. "A server MUST respond with a 400 (Bad
  ///   Request) status code to any HTTP/1.1 request message that lacks a Host header field and to
  ///   any request message that contains more than one" (RFC 9112 section 3.2).
  func admit(_ fields: [String]) -> Bool {
    guard fields.count == 1, let host = PageHosts.host(of: fields[0]) else { return false }
    if SocketAddress(host: host, port: 0) != nil { return true }
    return HostName(host).map { names.contains($0.text) } ?? false
  }

  /// Without the port; brackets of IPv6 are dropped too. Nil when it is no such thing.
  private static func host(of field: String) -> String? {
    var host = field[...]
    if host.hasPrefix("[") {
      guard let close = host.firstIndex(of: "]") else { return nil }
      let rest = host[host.index(after: close)...]
      guard rest.isEmpty || (rest.hasPrefix(":") && isPort(rest.dropFirst())) else { return nil }
      host = host[host.index(after: host.startIndex)..<close]
      return host.contains(":") ? String(host) : nil
    }
    if let colon = host.firstIndex(of: ":") {
      guard isPort(host[host.index(after: colon)...]) else { return nil }
      host = host[..<colon]
    }
    return host.isEmpty ? nil : String(host)
  }

  private static func isPort(_ text: Substring) -> Bool {
    text.utf8.allSatisfy { ($0 >= 0x30 && $0 <= 0x39) } && UInt16(text) != nil
  }
}
