internal import CSluice
package import Wire

/// How many connections each source has in flight, over all workers: one table per process that
/// outlives snapshots. Fixed in size; any thread may use it, and none ever waits.
@safe package final class SharedTable: @unchecked Sendable {
  private let raw: OpaquePointer

  /// - Parameter entries: a power of two, 16 at least; 68 bytes each. A quarter of them may be in
  ///   flight at once before an identity finds its place taken by others.
  /// - Throws: ENOMEM.
  package init(entries: UInt32) throws(StartError) {
    precondition(entries >= 16 && entries.nonzeroBitCount == 1)
    var random = SystemRandomNumberGenerator()
    let made = unsafe sluice_counts_create(entries, random.next(), random.next())
    guard let made = unsafe made else { throw StartError(call: "mmap", number: 12) }
    unsafe raw = made
  }

  deinit { unsafe sluice_counts_destroy(raw) }

  package enum Taken: Sendable, Equatable {
    /// `give` takes this entry.
    case entry(UInt32)
    case overLimit
    /// All places where this identity could stand are in use.
    case full
  }

  /// Adds one, unless `limit` are in flight already; 0 is no limit.
  package func take(_ identity: Identity, limit: UInt32 = 0) -> Taken {
    var entry: UInt32 = 0
    return switch unsafe sluice_counts_take(raw, identity.high, identity.low, limit, &entry) {
    case .taken: .entry(entry)
    case .over_limit: .overLimit
    case .full: .full
    }
  }

  /// Takes one off again; once per `take` that gave an entry.
  package func give(_ entry: UInt32) { unsafe sluice_counts_give(raw, entry) }

  /// Whether an identity that has this entry in flight stays within `perSecond`, of which as many
  /// may come at once; then it counts as one more.
  package func isInPace(_ entry: UInt32, perSecond: UInt32, nowNs: UInt64) -> Bool {
    let intervalNs = 1_000_000_000 / UInt64(perSecond)
    return unsafe sluice_counts_pace(raw, entry, nowNs, intervalNs, perSecond)
  }

  package func inFlight(_ identity: Identity) -> Int {
    Int(unsafe sluice_counts_read(raw, identity.high, identity.low))
  }
}

/// Whose connections are counted together: 128 bits, the same for the life of the process.
package struct Identity: Sendable, Hashable {
  let high: UInt64
  let low: UInt64

  package init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// Where a client comes from: an IPv4 address, or the /64 that one subscriber has in IPv6; nil
  /// for a Unix socket.
  package init?(source: SocketAddress) {
    switch source.unmapped() {
    case .ipv4(let address, _): self.init(high: 4, low: UInt64(address))
    case .ipv6(let network, _, _, _): self.init(high: 6, low: network)
    case .unix: return nil
    }
  }
}
