/// What is logged, where to, and in which form.
package struct LogSettings: Hashable, Sendable {
  package var connections: LogTarget
  package var format: LogFormat
  /// What a connection's line holds, in this order; each at most once, and at least one.
  package var fields: [LogField]
  package var level: LogLevel

  package init(
    connections: LogTarget = .stdout, format: LogFormat = .json,
    fields: [LogField] = LogField.allCases, level: LogLevel = .info
  ) {
    self.connections = connections
    self.format = format
    self.fields = fields
    self.level = level
  }
}

/// Where the line of each ended connection goes.
package enum LogTarget: Hashable, Sendable {
  case stdout
  /// The systemd journal, each field its own. systemd.journal-fields(7)
  case journal
  case off
  /// An absolute path, opened for appending.
  case file(String)
}

/// The form of the lines in a file or on standard output; the journal has its own.
package enum LogFormat: String, CaseIterable, Hashable, Sendable {
  /// One JSON object to a line (RFC 8259).
  case json
  /// `field=value` with blanks between.
  case text
}

/// The least important messages still written to standard error.
package enum LogLevel: Int, CaseIterable, Hashable, Comparable, Sendable {
  case error
  case warning
  case info
  case debug

  package static func < (left: LogLevel, right: LogLevel) -> Bool {
    left.rawValue < right.rawValue
  }
}

/// What a connection's line may hold, by the name it has there; in the order of a line that holds
/// all.
package enum LogField: String, CaseIterable, Hashable, Sendable {
  case time, id, listener, client, local, backend, server, tries
  case bytesUp = "bytes_up"
  case bytesDown = "bytes_down"
  case splicedUp = "spliced_up"
  case splicedDown = "spliced_down"
  case connectMs = "connect_ms"
  case firstByteMs = "first_byte_ms"
  case durationMs = "duration_ms"
  case halfClosedMs = "half_closed_ms"
  case clientRttMs = "client_rtt_ms"
  case clientRetransmits = "client_retransmits"
  case upstreamRttMs = "upstream_rtt_ms"
  case upstreamRetransmits = "upstream_retransmits"
  case end, reason
  /// The address that really connected, where a header names another one.
  case sender = "peer"
  case header, tlvs
  /// The UNIQUE_ID of the header that came in.
  case senderID = "peer_id"
  case tlvsDropped = "tlvs_dropped"
  case firstBytes = "first_bytes"
  /// Of its listener, where one took it.
  case rule
  /// What the ClientHello says, where one was read.
  case sni, alpn, ech
  /// Whether the client asked for TLS, at listeners where it has to ask.
  case startTLS = "starttls"
  /// Of TLS that ended here.
  case tlsVersion = "tls_version"
  case tlsCipher = "tls_cipher"
  /// The protocol that was agreed to.
  case tlsALPN = "tls_alpn"
  case tlsResumed = "tls_resumed"
  /// Of the client's certificate, and whether it was verified.
  case tlsSubject = "tls_subject"
  case tlsVerified = "tls_verified"
  case tlsMs = "tls_ms"
  case tlsFailure = "tls_failure"
  case upstreamTLSFailure = "upstream_tls_failure"
  /// Of a forward proxy: whose credentials were good, what was last asked for, what came of it.
  case user, method, target, address, reported, parent, requests, status
}
