internal import CSluice
internal import System
internal import Wire

/// What Swift remembers of a live connection: 64 bytes in the worker's table, all zero at accept.
/// Indexes are into the route table of `generation`. With C's counters it is all that a hand-over
/// of the connection would have to carry. There is no room for more: the backend is looked up by
/// its server.
struct ConnectionMemory {
  /// What C keeps per slot. sluice.h, sluice_worker_record
  static let bytesPerSlot = 64

  private var idHigh: UInt64 = 0
  private var idLow: UInt64 = 0
  private var clientHigh: UInt64 = 0
  private var clientLow: UInt64 = 0
  private var localHigh: UInt64 = 0
  private var localLow: UInt64 = 0
  private var clientPort: UInt16 = 0
  private var localPort: UInt16 = 0
  /// From the low end: two bits for the client's family, two for the local one's, four for the
  /// phase.
  private var families: UInt8 = 0
  /// Dials begun; stops at 127, far beyond any number of retries. The top bit is `didStartTLS`.
  private var dials: UInt8 = 0
  var generation: UInt16 = 0
  /// Plus one; 0 is none. The top bit: it is counted as being at that server.
  private var serverPlusOne: UInt32 = 0
  /// Plus one; 0 is none. The top bits: what else it is counted in.
  private var entryPlusOne: UInt32 = 0

  private enum Family: UInt8 { case none = 0, ipv4, ipv6, unix }

  /// What the client's held bytes are looked at for.
  enum Phase: UInt8 {
    case none = 0
    /// A header that must come.
    case requiredHeader
    case optionalHeader
    /// A ClientHello, to route by.
    case hello
    /// A header that must not be there.
    case forgery
    /// Nothing: it waits for a place.
    case waiting
    /// What a client says before TLS.
    case preamble
    /// Nothing: its server is spoken with before TLS.
    case consent
    /// Nothing: its TLS begins.
    case handshake
    /// A header that must not be there, where that is waited for: its server is being reached
    /// through a parent.
    case parent
  }

  var phase: Phase {
    get { Phase(rawValue: families >> 4) ?? .none }
    set { families = families & 0b0000_1111 | newValue.rawValue << 4 }
  }

  /// It asked for TLS in its protocol's words, and was told to begin.
  var didStartTLS: Bool {
    get { dials & 0b1000_0000 != 0 }
    set { dials = dials & 0b0111_1111 | (newValue ? 0b1000_0000 : 0) }
  }

  var id: UniqueID {
    get { UniqueID(high: idHigh, low: idLow) }
    set { (idHigh, idLow) = (newValue.high, newValue.low) }
  }

  /// False for a connection that was ended before anything was asked about it.
  var isAsked: Bool { idHigh != 0 }

  var tries: Int {
    get { Int(dials & 0b0111_1111) }
    set { dials = dials & 0b1000_0000 | UInt8(min(newValue, 127)) }
  }

  var server: Int? {
    get {
      let plusOne = serverPlusOne & ~ConnectionMemory.atServerBit
      return plusOne == 0 ? nil : Int(plusOne) - 1
    }
    set {
      let plusOne = newValue.map { UInt32($0) + 1 } ?? 0
      serverPlusOne = serverPlusOne & ConnectionMemory.atServerBit | plusOne
    }
  }

  /// Counted as arrived at `server` and not yet as gone from it.
  var isAtServer: Bool {
    get { serverPlusOne & ConnectionMemory.atServerBit != 0 }
    set {
      serverPlusOne =
        serverPlusOne & ~ConnectionMemory.atServerBit
        | (newValue ? ConnectionMemory.atServerBit : 0)
    }
  }

  private static let atServerBit: UInt32 = 1 << 31

  /// Where the shared table counts it as in flight from its source.
  var entry: UInt32? {
    get {
      let plusOne = entryPlusOne & ConnectionMemory.entryBits
      return plusOne == 0 ? nil : plusOne - 1
    }
    set {
      let plusOne = newValue.map { $0 + 1 } ?? 0
      entryPlusOne = entryPlusOne & ~ConnectionMemory.entryBits | plusOne
    }
  }

  /// More entries than there are at most.
  private static let entryBits: UInt32 = 1 << 30 - 1

  /// Counted among the connections of its listener.
  var isInListener: Bool {
    get { entryPlusOne & 1 << 31 != 0 }
    set { entryPlusOne = entryPlusOne & ~(1 << 31) | (newValue ? 1 << 31 : 0) }
  }

  /// Counted among those of its backend, which is that of `server`.
  var isInBackend: Bool {
    get { entryPlusOne & 1 << 30 != 0 }
    set { entryPlusOne = entryPlusOne & ~(1 << 30) | (newValue ? 1 << 30 : 0) }
  }

  /// Scopes of link-local addresses are not kept.
  var client: SocketAddress? {
    get { address(Family(rawValue: families & 3), clientHigh, clientLow, clientPort) }
    set {
      let family: Family
      (family, clientHigh, clientLow, clientPort) = parts(newValue)
      families = families & 0b1111_1100 | family.rawValue
    }
  }

  var local: SocketAddress? {
    get { address(Family(rawValue: families >> 2 & 3), localHigh, localLow, localPort) }
    set {
      let family: Family
      (family, localHigh, localLow, localPort) = parts(newValue)
      families = families & 0b1111_0011 | family.rawValue << 2
    }
  }

  private func address(
    _ family: Family?, _ high: UInt64, _ low: UInt64, _ port: UInt16
  ) -> SocketAddress? {
    switch family {
    case nil, .some(.none): nil
    case .ipv4: .ipv4(UInt32(truncatingIfNeeded: low), port: port)
    case .ipv6: .ipv6(high: high, low: low, port: port, scope: 0)
    case .unix: .unix(path: "")
    }
  }

  private func parts(_ address: SocketAddress?) -> (Family, UInt64, UInt64, UInt16) {
    switch address {
    case nil: (.none, 0, 0, 0)
    case .ipv4(let bits, let port): (.ipv4, 0, UInt64(bits), port)
    case .ipv6(let high, let low, let port, _): (.ipv6, high, low, port)
    case .unix: (.unix, 0, 0, 0)
    }
  }
}
