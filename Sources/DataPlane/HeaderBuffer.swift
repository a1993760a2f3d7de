internal import CSluice
internal import Routing
internal import System
internal import Wire

/// Where a worker writes the PROXY header of the connection it is about to route.
@safe struct HeaderBuffer: ~Copyable {
  private let storage: UnsafeMutableBufferPointer<UInt8>
  /// The TLV area in the making.
  private var area: [UInt8] = []

  /// What a header may tell of, beyond the addresses.
  struct Facts {
    var id: UniqueID
    var listener: String
    var backend: String
    var server: String
    /// TLVs received from a source that had to send them, as they were.
    var relayed: [UInt8]
    /// The host name of the client's ClientHello, and the protocol it would like best; empty where
    /// there is none.
    var authority: [UInt8]
    var alpn: [UInt8]
    /// Of a client whose TLS ended here; nil of all others.
    var tls: ProxySSLReport?
  }

  /// The longest header a plan may ask for.
  static let capacity = 16 + 65535

  init() {
    unsafe storage = .allocate(capacity: HeaderBuffer.capacity)
  }

  deinit { unsafe storage.deallocate() }

  /// Writes the header that tells a server about `client` and the address it reached. A client of
  /// a Unix listener has no address to tell (unix(7): it is unnamed), so version 2 says LOCAL,
  /// which every receiver takes; AF_UNIX is refused by mail servers.
  ///
  /// TLVs that do not fit the plan's limit are left out, the last ones first: custom ones, NETNS,
  /// relayed ones, ALPN and AUTHORITY, our UNIQUE_ID, SSL. The padding goes before any of them, and
  /// then the client's certificate; the CRC32C always fits.
  ///
  /// - Returns: its length, 0 without a header, and how many TLVs were left out; nil when version
  ///   1 has no words for the pair, or the client has gone before its address was known.
  mutating func encode(
    _ version: ProxyHeaderVersion, _ plan: TLVPlan, client: SocketAddress?,
    local: SocketAddress?, _ facts: @autoclosure () -> Facts
  ) -> (length: Int, dropped: Int)? {
    guard version != .none else { return (0, 0) }
    guard let client, let local else { return nil }
    switch version {
    case .none: return (0, 0)
    case .v1:
      return write { output throws(ProxyEncodeFault) in
        try ProxyV1.encode(source: client, destination: local, into: &output)
      }.map { ($0, 0) }
    case .v2 where plan.isEmpty || client.port == nil:
      return write { output throws(ProxyEncodeFault) in
        try ProxyV2.encode(
          command: client.port == nil ? .local : .proxy, source: client, destination: local,
          into: &output)
      }.map { ($0, 0) }
    case .v2:
      return encodeWithTLVs(plan, client, local, facts())
    }
  }

  private mutating func encodeWithTLVs(
    _ plan: TLVPlan, _ client: SocketAddress, _ local: SocketAddress, _ facts: Facts
  ) -> (length: Int, dropped: Int)? {
    var hasCertificate = appendTLVs(plan, client, local, facts, withCertificate: true)
    var dropped = 0
    var alignment = plan.alignment
    while true {
      let tlvs = area
      let length = write { output throws(ProxyEncodeFault) in
        try ProxyV2.encode(
          source: client, destination: local, tlvs: tlvs.span, checksum: plan.checksum,
          alignment: alignment, limit: plan.limit, into: &output)
      }
      if let length { return (length, dropped) }
      if alignment > 1 {
        alignment = 1
      } else if hasCertificate {
        hasCertificate = appendTLVs(plan, client, local, facts, withCertificate: false)
        dropped += 1
      } else if let last = lastTLV() {
        area.removeSubrange(last...)
        dropped += 1
      } else {
        return nil
      }
    }
  }

  /// Where the last TLV of the area begins.
  private func lastTLV() -> Int? {
    var walk = ProxyTLVWalk(0..<area.count)
    var last: Int?
    while let tlv = try? walk.next(in: area.span) {
      last = tlv.value.lowerBound - ProxyTLV.overhead
    }
    return last
  }

  /// Makes the area.
  ///
  /// - Parameter withCertificate: whether the client's certificate is in it, where it is wanted.
  /// - Returns: whether it is.
  private mutating func appendTLVs(
    _ plan: TLVPlan, _ client: SocketAddress, _ local: SocketAddress, _ facts: Facts,
    withCertificate: Bool
  ) -> Bool {
    area.removeAll(keepingCapacity: true)
    var hasCertificate = false
    if plan.ssl, let tls = facts.tls, !has(.ssl, in: facts.relayed) {
      let wanted = withCertificate && plan.clientCertificate && tls.client != .none
      if wanted, let whole = tls.bytes(withCertificate: true) {
        hasCertificate = true
        area += whole
      } else {
        area += tls.bytes(withCertificate: false) ?? []
      }
    }
    if plan.uniqueID, !has(.uniqueID, in: facts.relayed) {
      var text: [UInt8] = []
      facts.id.append(to: &text)
      append(ProxyTLV.Kind.uniqueID.rawValue, text)
    }
    if plan.authority, !facts.authority.isEmpty, !has(.authority, in: facts.relayed) {
      append(ProxyTLV.Kind.authority.rawValue, facts.authority)
    }
    if plan.alpn, !facts.alpn.isEmpty, !has(.alpn, in: facts.relayed) {
      append(ProxyTLV.Kind.alpn.rawValue, facts.alpn)
    }
    area += facts.relayed
    if let name = plan.networkNamespace, !has(.netns, in: facts.relayed) {
      append(ProxyTLV.Kind.netns.rawValue, Array(name.utf8))
    }
    for custom in plan.custom where !has(.init(rawValue: custom.type), in: facts.relayed) {
      append(custom.type, value(of: custom, client, local, facts))
    }
    return hasCertificate
  }

  private func has(_ kind: ProxyTLV.Kind, in tlvs: [UInt8]) -> Bool {
    var walk = ProxyTLVWalk(0..<tlvs.count)
    while let tlv = try? walk.next(in: tlvs.span) {
      if tlv.kind == kind { return true }
    }
    return false
  }

  private mutating func append(_ type: UInt8, _ value: [UInt8]) {
    guard value.count <= Int(UInt16.max) else { return }
    area.append(type)
    area.append(UInt8(value.count >> 8))
    area.append(UInt8(value.count & 0xff))
    area += value
  }

  private func value(
    of custom: CustomTLV, _ client: SocketAddress, _ local: SocketAddress, _ facts: Facts
  ) -> [UInt8] {
    var value: [UInt8] = []
    for part in custom.value {
      switch part {
      case .text(let text): value += text
      case .listener: value += Array(facts.listener.utf8)
      case .backend: value += Array(facts.backend.utf8)
      case .server: value += Array(facts.server.utf8)
      case .clientAddress: client.appendHost(to: &value)
      case .clientPort: value += Array((client.port.map { "\($0)" } ?? "").utf8)
      case .localAddress: local.appendHost(to: &value)
      case .localPort: value += Array((local.port.map { "\($0)" } ?? "").utf8)
      case .connectionID: facts.id.append(to: &value)
      }
    }
    return value
  }

  private func write(
    _ body: (inout OutputSpan<UInt8>) throws(ProxyEncodeFault) -> Int
  ) -> Int? {
    var output = unsafe OutputSpan(buffer: storage, initializedCount: 0)
    let length = try? body(&output)
    _ = unsafe output.finalize(for: storage)
    return length
  }

  /// The first bytes, for whoever keeps them.
  func copy(_ length: Int) -> [UInt8] { unsafe Array(storage[..<length]) }

  /// The first bytes, lent until the next `encode`.
  func bytes(_ length: Int) -> sluice_bytes {
    var bytes = sluice_bytes()
    unsafe bytes.start = UnsafePointer(unsafe storage.baseAddress)
    bytes.length = UInt32(length)
    return bytes
  }
}
