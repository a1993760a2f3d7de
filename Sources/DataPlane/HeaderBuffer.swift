internal import CSluice
internal import Routing
internal import Wire

/// Where a worker writes the PROXY header of the connection it is about to route.
@safe struct HeaderBuffer: ~Copyable {
  private let storage: UnsafeMutableBufferPointer<UInt8>

  init() {
    unsafe storage = .allocate(capacity: ProxyV2.defaultSendLimit)
    unsafe storage.initialize(repeating: 0)
  }

  deinit { unsafe storage.deallocate() }

  /// Writes the header that tells a server about `client` and the address it reached. A client of
  /// a Unix listener has no address to tell (unix(7): it is unnamed), so version 2 says LOCAL,
  /// which every receiver takes; AF_UNIX is refused by mail servers.
  ///
  /// - Returns: its length, 0 without a header; nil when version 1 has no words for the pair, or
  ///   the client has gone before its address was known.
  func encode(
    _ version: ProxyHeaderVersion, _ client: SocketAddress?, _ local: SocketAddress?
  ) -> Int? {
    guard version != .none else { return 0 }
    guard let client, let local else { return nil }
    var output = unsafe OutputSpan(buffer: storage, initializedCount: 0)
    let length =
      switch version {
      case .none: Int?.some(0)
      case .v1: try? ProxyV1.encode(source: client, destination: local, into: &output)
      case .v2:
        try? ProxyV2.encode(
          command: client.port == nil ? .local : .proxy, source: client, destination: local,
          into: &output)
      }
    _ = unsafe output.finalize(for: storage)
    return length
  }

  /// The first bytes, lent until the next `encode`.
  func bytes(_ length: Int) -> sluice_bytes {
    var bytes = sluice_bytes()
    unsafe bytes.start = UnsafePointer(unsafe storage.baseAddress)
    bytes.length = UInt32(length)
    return bytes
  }
}
