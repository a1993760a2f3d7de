internal import CSluice
internal import Wire

extension SocketAddress {
  init(_ endpoint: sluice_endpoint) {
    switch endpoint.family {
    case .ipv4:
      self = .ipv4(UInt32(truncatingIfNeeded: endpoint.low), port: endpoint.port)
    case .ipv6:
      self = SocketAddress.ipv6(
        high: endpoint.high, low: endpoint.low, port: endpoint.port, scope: endpoint.scope
      ).unmapped()
    case .unix, .none:
      self = .unix(path: "")
    }
  }

  /// Lends the address in C's form; a Unix path lives as long as the call.
  func withEndpoint<Result>(_ body: (sluice_endpoint) -> Result) -> Result {
    var endpoint = sluice_endpoint()
    switch self {
    case .ipv4(let address, let port):
      endpoint.family = .ipv4
      endpoint.low = UInt64(address)
      endpoint.port = port
    case .ipv6(let high, let low, let port, let scope):
      endpoint.family = .ipv6
      endpoint.high = high
      endpoint.low = low
      endpoint.port = port
      endpoint.scope = scope
    case .unix(let path):
      endpoint.family = .unix
      let bytes = path.utf8.map { CChar(bitPattern: $0) }
      return unsafe bytes.withUnsafeBufferPointer { buffer in
        unsafe endpoint.path = buffer.baseAddress
        endpoint.path_length = UInt32(buffer.count)
        return body(endpoint)
      }
    }
    return body(endpoint)
  }
}

extension String {
  /// Lends the UTF-8 bytes.
  func withBytes<Result>(_ body: (sluice_bytes) -> Result) -> Result {
    var copy = self
    return copy.withUTF8 { buffer in
      var bytes = sluice_bytes()
      unsafe bytes.start = buffer.baseAddress
      bytes.length = UInt32(buffer.count)
      return body(bytes)
    }
  }
}
