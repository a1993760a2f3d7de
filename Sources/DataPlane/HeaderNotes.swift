internal import Routing
internal import Wire

/// What is kept of a connection's inbound PROXY header, until it is closed. Connections without
/// one, nearly all, have none of this.
struct HeaderNotes {
  /// The address that really connected.
  var sender: SocketAddress?
  /// `v1`, `v2`, `v2-local` and the like; nil when there was none.
  var header: String?
  /// The types of its TLVs, in order; at most `typesKept`.
  var types: [UInt8] = []
  /// TLVs to pass on, as they were received.
  var relayed: [UInt8] = []
  /// The UNIQUE_ID it brought.
  var uniqueID: [UInt8] = []
  /// The first bytes of a connection that was turned away for them.
  var firstBytes: [UInt8] = []
  /// How many TLVs did not fit into the header for the backend.
  var dropped = 0

  /// A header may have 1,360 empty TLVs in 4 KiB; a log line needs no more than these.
  static let typesKept = 32
  /// Of bytes that were no header; enough to see what spoke.
  static let firstBytesKept = 16

  init(sender: SocketAddress? = nil) { self.sender = sender }

  init(_ header: ProxyHeader, in bytes: Span<UInt8>, sender: SocketAddress?) {
    self.sender = sender
    self.header = HeaderKind(header).word
    var walk = ProxyTLVWalk(header.tlvs)
    while let tlv = try? walk.next(in: bytes) {
      if types.count < HeaderNotes.typesKept { types.append(tlv.kind.rawValue) }
      if tlv.kind == .uniqueID { uniqueID = copy(tlv.value, of: bytes) }
    }
  }

  mutating func keep(refused bytes: Span<UInt8>) {
    firstBytes = copy(0..<min(bytes.count, HeaderNotes.firstBytesKept), of: bytes)
  }

  /// Copies the TLVs of these types.
  mutating func keep(_ header: ProxyHeader, in bytes: Span<UInt8>, _ types: [UInt8]) {
    guard !types.isEmpty else { return }
    var walk = ProxyTLVWalk(header.tlvs)
    while let tlv = try? walk.next(in: bytes) {
      guard types.contains(tlv.kind.rawValue) else { continue }
      relayed += copy(whole(tlv), of: bytes)
    }
  }

  /// The TLVs that a backend gets: others may be kept for another backend of the listener.
  func relayed(by plan: TLVPlan) -> [UInt8] {
    guard !relayed.isEmpty, !plan.relay.isEmpty else { return [] }
    var own: [UInt8] = []
    var walk = ProxyTLVWalk(0..<relayed.count)
    while let tlv = try? walk.next(in: relayed.span) {
      if plan.relay.contains(tlv.kind.rawValue) { own += relayed[whole(tlv)] }
    }
    return own
  }
}

private func whole(_ tlv: ProxyTLV) -> Range<Int> {
  tlv.value.lowerBound - ProxyTLV.overhead..<tlv.value.upperBound
}

private func copy(_ range: Range<Int>, of bytes: Span<UInt8>) -> [UInt8] {
  range.map { bytes[$0] }
}
