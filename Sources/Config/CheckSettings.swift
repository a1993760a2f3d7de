/// How the servers of a backend are checked.
package struct CheckSettings: Hashable, Sendable {
  /// From the start of one check to the start of the next.
  package var intervalMs: UInt32
  /// For a whole check, from the connect to the last word.
  package var timeoutMs: UInt32
  /// Each interval is longer or shorter by up to this many percent, so that the checks of many
  /// servers, and of several proxies, do not fall on one moment.
  package var jitterPercent: Int
  /// Checks that must pass in a row before a server that is down is up.
  package var rise: Int
  /// Checks that must fail in a row before a server that is up is down.
  package var fall: Int
  package var kind: CheckKind
  /// Whether a check begins with a PROXY header where the backend's connections do.
  package var sendsHeader: Bool
  package var onDown: OnDown

  package init(
    kind: CheckKind, intervalMs: UInt32 = 5000, timeoutMs: UInt32 = 3000, jitterPercent: Int = 10,
    rise: Int = 2, fall: Int = 3, sendsHeader: Bool = true, onDown: OnDown = .keep
  ) {
    self.kind = kind
    self.intervalMs = intervalMs
    self.timeoutMs = timeoutMs
    self.jitterPercent = jitterPercent
    self.rise = rise
    self.fall = fall
    self.sendsHeader = sendsHeader
    self.onDown = onDown
  }
}

/// What becomes of the live connections of a server whose checks fail.
package enum OnDown: Hashable, Sendable {
  case keep
  /// They are ended when it has been down for so long; 0 is at once.
  case close(afterMs: UInt32)
}

/// What a check says and what it wants to hear.
package enum CheckKind: Hashable, Sendable {
  /// Nothing beyond the connection.
  case connect
  /// A ClientHello; a ServerHello.
  case tls
  case smtp
  case imap
  case pop3
  case sieve
  case http(path: String, host: String?, statuses: [ClosedRange<Int>])
  /// Bytes of one's own; what is expected may stand anywhere in what the server says.
  case exchange(send: [UInt8], expect: [UInt8])
}

/// When a server's own connections take it out for a while.
package struct EjectionSettings: Hashable, Sendable {
  /// Failed dials and early resets in a row; a dial that timed out counts as all of them.
  package var failures: Int
  /// How long the first time; each time twice as long, up to `longestMs`.
  package var timeMs: UInt32
  package var longestMs: UInt32

  package init(failures: Int = 3, timeMs: UInt32 = 5000, longestMs: UInt32 = 5 * 60_000) {
    self.failures = failures
    self.timeMs = timeMs
    self.longestMs = longestMs
  }
}
