internal import CSluice
internal import Routing
internal import System
internal import Wire

// C's words as Swift's.

extension sluice_splice {
  init(_ engine: SpliceEngine) {
    switch engine {
    case .inline: self = .inline
    case .ring: self = .ring
    case .off: self = .off
    }
  }
}

extension Ending {
  init(_ final: sluice_final) {
    switch final {
    case .no: self = .no
    case .half_closed, .failed: self = .halfClosed
    case .timed_out: self = .timedOut
    case .full: self = .full
    }
  }
}

extension sluice_event {
  /// All bytes held of the side that is asked about.
  var heldBytes: Span<UInt8> {
    @_lifetime(borrow self) get {
      guard let start = unsafe bytes else { return Span() }
      let span = unsafe Span(_unsafeStart: start, count: Int(length))
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }
}

extension ListenerEntry {
  /// How much of a client's first bytes is held for a header of either version.
  var holdLimit: Int { max(headerLimit, ProxyV1.maximumLength) }
}

extension ConnectionRecord.Introduction {
  init(_ notes: HeaderNotes) {
    self.init(
      sender: notes.sender, header: notes.header, types: notes.types, uniqueID: notes.uniqueID,
      tlvsDropped: notes.dropped, firstBytes: notes.firstBytes)
  }
}

extension ConnectionRecord.Hello {
  init(_ notes: HelloNotes) {
    self.init(
      serverName: notes.serverName, protocols: notes.protocols, offersECH: notes.offersECH)
  }
}

extension DialError {
  /// EPROTO: what a server is given up with that did not agree to TLS. No dial fails with it.
  static let refusalToStart: Int32 = 71

  /// From an errno of connect(2), socket(2) or bind(2).
  init(_ number: Int32) {
    switch number {
    case 111, 2: self = .refused  // ECONNREFUSED, ENOENT (Unix)
    case 32, 104: self = .reset  // EPIPE, ECONNRESET
    case 110: self = .timedOut  // ETIMEDOUT
    case 100, 101, 112, 113: self = .unreachable  // ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH
    case 11, 23, 24, 98, 99, 105: self = .noLocalAddress  // EAGAIN to ENOBUFS: none left
    case DialError.refusalToStart: self = .noConsent
    case 74: self = .handshake  // EBADMSG: what C says for TLS
    default: self = .other
    }
  }
}

extension ConnectionEnd {
  init(_ end: sluice_end) {
    switch end {
    case .client_fin: self = .clientFIN
    case .client_reset: self = .clientReset
    case .client_error: self = .clientError
    case .upstream_fin: self = .upstreamFIN
    case .upstream_reset: self = .upstreamReset
    case .upstream_error: self = .upstreamError
    case .deadline_preface: self = .prefaceDeadline
    case .deadline_connect: self = .connectDeadline
    case .deadline_idle: self = .idleDeadline
    case .deadline_half_closed: self = .halfClosedDeadline
    case .deadline_max_age: self = .maxAgeDeadline
    case .deadline_drain: self = .drainDeadline
    case .rejected: self = .rejected
    case .server_down: self = .serverDown
    case .client_truncated: self = .clientTruncated
    case .upstream_truncated: self = .upstreamTruncated
    case .killed, .none: self = .killed
    }
  }
}

extension ConnectionEnd {
  /// The first end says who ended it and how. Only a FIN may be followed by more to tell: it ends
  /// one half, and a connection whose other half we had to cut was ended by that.
  private init(_ summary: sluice_summary) {
    let first = sluice_end(rawValue: UInt8(truncatingIfNeeded: summary.ends)) ?? .killed
    let second = sluice_end(rawValue: UInt8(truncatingIfNeeded: summary.ends >> 8)) ?? .none
    self.init(first.isFIN && second.isCut ? second : first)
  }
}

extension ConnectionEnd {
  /// What the log and the counters say of it: a dial that took too long is a deadline, though
  /// it comes as a reject.
  init(of summary: sluice_summary) {
    let isLate = RejectReason(number: summary.reason) == .dialTimeout
    self = isLate ? .connectDeadline : ConnectionEnd(summary)
  }
}

extension HeaderKind {
  init(_ header: ProxyHeader) {
    switch (header.version, header.command) {
    case (.v1, _): self = header.streamAddresses == nil ? .v1Unknown : .v1
    case (.v2, .local): self = .v2Local
    case (.v2, .proxy): self = header.streamAddresses == nil ? .v2Unspec : .v2
    }
  }
}

extension sluice_end {
  init(_ why: EndAll) {
    switch why {
    case .drainDeadline: self = .deadline_drain
    case .killed: self = .killed
    case .serverDown: self = .server_down
    }
  }

  /// Whether it ended one half only.
  fileprivate var isFIN: Bool {
    switch self {
    case .client_fin, .upstream_fin, .client_truncated, .upstream_truncated: true
    default: false
    }
  }

  /// Whether we ended the connection, rather than one of its sides.
  fileprivate var isCut: Bool {
    switch self {
    case .deadline_preface, .deadline_connect, .deadline_idle, .deadline_half_closed,
      .deadline_max_age, .deadline_drain, .killed, .rejected, .server_down:
      true
    case .none, .client_fin, .client_reset, .client_error, .client_truncated, .upstream_fin,
      .upstream_reset, .upstream_error, .upstream_truncated:
      false
    }
  }
}

extension ConnectionRecord {
  init(
    _ summary: sluice_summary, _ memory: ConnectionMemory, _ table: RouteTable, tag: UInt32,
    endedWallMs: UInt64
  ) {
    let reason = RejectReason(number: summary.reason)
    let socket = table.socket(tag: tag)
    var local = memory.local
    if case .unix = local { local = socket?.local ?? local }
    self.init(
      endedWallMs: endedWallMs, id: memory.id,
      listener: socket.map { table.listeners[$0.listener].name } ?? "",
      client: memory.client, local: local, end: ConnectionEnd(of: summary))
    if let server = memory.server {
      self.server = table.servers[server].name
      backend = table.backends[table.backend(ofServer: server)].name
    }
    tries = summary.tries
    bytesUp = summary.bytes_up
    bytesDown = summary.bytes_down
    splicedUp = summary.spliced_up
    splicedDown = summary.spliced_down
    connectUs = summary.connect_us
    firstByteUs = summary.first_byte_us
    durationUs = summary.duration_us
    halfClosedUs = summary.half_closed_us
    clientPath = Path(summary.client_path)
    upstreamPath = Path(summary.upstream_path)
    self.reason = reason?.code
    let isStartTLS = socket.map { table.listeners[$0.listener].startTLS != nil } ?? false
    didStartTLS = isStartTLS ? memory.didStartTLS : nil
  }
}

extension ConnectionRecord.Path {
  fileprivate init?(_ path: sluice_path) {
    guard path.rtt_us > 0 else { return nil }
    self.init(rttUs: UInt64(path.rtt_us), retransmits: UInt64(path.retransmits))
  }
}

extension WorkerStats {
  init(_ stats: sluice_stats) {
    accepted = stats.accepted
    closed = stats.closed
    dialled = stats.dialled
    dialFailures = stats.dial_failures
    bytesUp = stats.bytes_up
    bytesDown = stats.bytes_down
    bytesSpliced = stats.bytes_spliced
    turns = stats.turns
    promotions = stats.promotions
    demotions = stats.demotions
    pipeMisses = stats.pipe_misses
    acceptPauses = stats.accept_pauses
    overflows = stats.overflows
    handedOver = stats.handed_over
    received = stats.received
    spins = stats.spins
    spinHits = stats.spin_hits
    connections = stats.connections
    buffers = stats.buffers
    pipes = stats.pipes
    isAcceptPaused = stats.accept_paused
  }
}
