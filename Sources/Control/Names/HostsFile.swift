package import Wire

/// The names that this machine gives addresses itself. hosts(5), and RFC 6761 section 6.3 for
/// localhost.
package struct HostsFile: Sendable {
  private var names: [HostName: [DNSReply.Value]] = [:]

  package static let path = "/etc/hosts"
  /// Larger ones (lists of advertisers to be blocked come to a few MB) are read to here.
  package static let lengthLimit = 8 << 20

  /// Lines that cannot be read are no names, as for everybody else who reads the file.
  package init(_ text: [UInt8]) {
    for line in text.split(separator: UInt8(ascii: "\n")) {
      let words = line.prefix { $0 != UInt8(ascii: "#") }.split {
        $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == 0x0d
      }
      guard let first = words.first,
        let address = SocketAddress(host: String(decoding: first, as: UTF8.self), port: 0)
      else { continue }
      let value: DNSReply.Value
      switch address {
      case .ipv4(let word, _): value = .ipv4(word)
      case .ipv6(let high, let low, _, let scope):
        guard scope == 0 else { continue }
        value = .ipv6(high: high, low: low)
      case .unix: continue
      }
      for word in words.dropFirst() {
        guard let name = HostName(String(decoding: word, as: UTF8.self)) else { continue }
        names[name, default: []].append(value)
      }
    }
  }

  /// Nil where the file does not know the name, so that a name server has to be asked.
  package func addresses(of name: HostName) -> [DNSReply.Value]? {
    if let values = names[name] { return values }
    // "Name resolution APIs and libraries SHOULD recognize localhost names as special".
    guard name.text == "localhost" || name.text.hasSuffix(".localhost") else { return nil }
    return [.ipv4(0x7f00_0001), .ipv6(high: 0, low: 1)]
  }
}
