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

/// What becomes of the live connections to a server that goes down.
package enum OnDown: Hashable, Sendable {
  case keep
  /// 0 is at once.
  case closeAfter(ms: UInt32)
}
