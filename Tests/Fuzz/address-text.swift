import Glibc

/// Any text as an address, a network, a host name; inet_pton(3) is asked for a second opinion.
func fuzzAddressText(_ bytes: Span<UInt8>) {
  let text = String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self)
  if let address = SocketAddress(text) {
    demand(SocketAddress(address.description) == address, "\(address) does not parse back")
    demand(
      address.unmapped().mapped().unmapped() == address.unmapped(), "mapping is not the inverse")
  }
  if let address = SocketAddress(host: text, port: 25) {
    demand(SocketAddress(host: address.hostDescription, port: 25) == address, "host is lost")
    demand(SocketAddress(address.description) == address, "host and port are lost")
  }
  if let network = try? Network(parsing: text) {
    demand((try? Network(parsing: network.description)) == network, "network is lost")
  }
  if let name = HostName(text) {
    demand(HostName(name.text) == name, "name is lost")
    demand(SocketAddress(host: name.text, port: 1) == nil, "a name that is an address")
  }
  askSystem(bytes)
}

private func askSystem(_ bytes: Span<UInt8>) {
  for index in bytes.indices where bytes[index] == 0 { return }
  let terminated = bytes.indices.map { CChar(bitPattern: bytes[$0]) } + [0]
  var word: in_addr_t = 0
  let isIPv4 = inet_pton(AF_INET, terminated, &word) == 1
  let ours4 = try? AddressText.ipv4(bytes)
  demand(ours4 == (isIPv4 ? UInt32(bigEndian: word) : nil), "inet_pton says otherwise of IPv4")

  var words: (UInt64, UInt64) = (0, 0)
  let isIPv6 = inet_pton(AF_INET6, terminated, &words) == 1
  let ours6 = try? AddressText.ipv6(bytes)
  demand((ours6 != nil) == isIPv6, "inet_pton says otherwise of IPv6")
  if let ours6 {
    demand(ours6.high == UInt64(bigEndian: words.0), "another first half")
    demand(ours6.low == UInt64(bigEndian: words.1), "another second half")
  }
}
