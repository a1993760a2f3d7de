/// The text of socket addresses, as configuration files write them and logs show them.
extension SocketAddress: LosslessStringConvertible {
  /// Parses `1.2.3.4:25`, `[2001:db8::1]:25` (with a numeric zone: `[fe80::1%2]:25`),
  /// `unix:/run/x.sock` and `unix:@abstract`; nil for anything else, host names included.
  package init?(_ text: String) {
    let bytes = Array(text.utf8)
    if text.hasPrefix("unix:") {
      guard let address = SocketAddress(unixText: bytes.dropFirst(5)) else { return nil }
      self = address
      return
    }
    guard let colon = bytes.lastIndex(of: UInt8(ascii: ":")),
      let port = try? AddressText.decimal(
        bytes.span.extracting((colon + 1)..<bytes.count), limit: UInt32(UInt16.max))
    else { return nil }
    // An IPv6 address without brackets would swallow its last group as the port.
    let host = bytes.span.extracting(0..<colon)
    let isBracketed = host.count > 0 && host[0] == UInt8(ascii: "[")
    guard let address = SocketAddress(hostBytes: host, port: UInt16(port)),
      address.isIPv6 == isBracketed
    else { return nil }
    self = address
  }

  /// An address without its port: `1.2.3.4`, `2001:db8::1` or `[2001:db8::1]`, the latter two
  /// optionally with a numeric zone.
  package init?(host: String, port: UInt16) {
    let bytes = Array(host.utf8)
    self.init(hostBytes: bytes.span, port: port)
  }

  private init?(hostBytes: Span<UInt8>, port: UInt16) {
    var host = hostBytes
    var isBracketed = false
    if host.count > 0, host[0] == UInt8(ascii: "[") {
      guard host[host.count - 1] == UInt8(ascii: "]") else { return nil }
      host = host.extracting(1..<max(host.count - 1, 1))
      isBracketed = true
    }
    if !isBracketed, let word = try? AddressText.ipv4(host) {
      self = .ipv4(word, port: port)
      return
    }
    var scope: UInt32 = 0
    for index in host.indices where host[index] == UInt8(ascii: "%") {
      let zone = host.extracting((index + 1)..<host.count)
      guard let number = try? AddressText.decimal(zone, limit: .max), number > 0 else { return nil }
      scope = number
      host = host.extracting(0..<index)
      break
    }
    guard let words = try? AddressText.ipv6(host) else { return nil }
    self = .ipv6(high: words.high, low: words.low, port: port, scope: scope)
  }

  /// What follows `unix:`. Nothing there is no address to write down, though an unnamed socket
  /// prints so; a NUL cannot stand in a path.
  private init?(unixText: ArraySlice<UInt8>) {
    guard unixText.count <= SocketAddress.unixPathLimit, !unixText.contains(0) else { return nil }
    guard unixText.first == UInt8(ascii: "@") else {
      guard !unixText.isEmpty else { return nil }
      self = .unix(path: String(decoding: unixText, as: UTF8.self))
      return
    }
    guard unixText.count > 1 else { return nil }
    self = .unix(path: "\0" + String(decoding: unixText.dropFirst(), as: UTF8.self))
  }

  private var isIPv6: Bool {
    switch self {
    case .ipv6: true
    case .ipv4, .unix: false
    }
  }

  /// The text this address is parsed from: `1.2.3.4:25`, `[::1]:25`, `unix:/x`, `unix:@abstract`,
  /// and `unix:` for an unnamed socket. IPv6 as RFC 5952 section 4 writes it.
  package var description: String {
    var bytes: [UInt8] = []
    append(to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The address without its port or brackets; for a Unix address the same as `description`.
  package var hostDescription: String {
    var bytes: [UInt8] = []
    appendHost(to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  /// How many bytes of text this is at most. RFC 5952: an IPv6 address takes 39, a zone's number,
  /// brackets and a port 19 more.
  package var textLimit: Int {
    switch self {
    case .ipv4, .ipv6: 64
    case .unix(let path): path.utf8.count + 6
    }
  }

  /// Puts `description` at the end of `bytes`; allocates only what `bytes` needs to grow.
  package func append(to bytes: inout [UInt8]) { appendText(to: &bytes) }

  /// Puts `description` at the end of `bytes`, which has the room: `textLimit`.
  package func append(to bytes: inout OutputSpan<UInt8>) { appendText(to: &bytes) }

  /// Puts `hostDescription` at the end of `bytes`.
  package func appendHost(to bytes: inout [UInt8]) { appendHostText(to: &bytes) }

  // Inlined, since a sink that may not escape is not specialised for otherwise.
  @inline(__always)
  private func appendText(to bytes: inout some ByteSink & ~Copyable & ~Escapable) {
    switch self {
    case .ipv4(_, let port):
      appendHostText(to: &bytes)
      bytes.append(UInt8(ascii: ":"))
      bytes.append(decimal: UInt64(port))
    case .ipv6(_, _, let port, _):
      bytes.append(UInt8(ascii: "["))
      appendHostText(to: &bytes)
      bytes.append(text: "]:")
      bytes.append(decimal: UInt64(port))
    case .unix:
      appendHostText(to: &bytes)
    }
  }

  @inline(__always)
  private func appendHostText(to bytes: inout some ByteSink & ~Copyable & ~Escapable) {
    switch self {
    case .ipv4(let word, _):
      AddressText.append(ipv4: word, to: &bytes)
    case .ipv6(let high, let low, _, let scope):
      AddressText.append(high: high, low: low, to: &bytes)
      if scope != 0 {
        bytes.append(UInt8(ascii: "%"))
        bytes.append(decimal: UInt64(scope))
      }
    case .unix(let path):
      bytes.append(text: "unix:")
      for (index, byte) in path.utf8.enumerated() {
        bytes.append(index == 0 && byte == 0 ? UInt8(ascii: "@") : byte)
      }
    }
  }
}
