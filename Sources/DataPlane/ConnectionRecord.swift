package import System
package import Wire

/// What is known of a connection when it is over: one line of the connection log.
///
/// Times are microseconds, counts are bytes. Names are those of the snapshot that routed it.
package struct ConnectionRecord: Sendable, Equatable {
  /// When it ended, in milliseconds since 1970 UTC; `durationUs` leads back to its start.
  package var endedWallMs: UInt64
  package var id: UniqueID
  package var listener: String
  /// Nil when it had left before it could be asked for its address.
  package var client: SocketAddress?
  /// The address the client reached.
  package var local: SocketAddress?
  /// Nil while no backend was chosen.
  package var backend: String?
  /// The last server that was dialled, as the configuration writes it.
  package var server: String?
  /// The parent that it was reached through, or was to be.
  package var parent: String?
  /// Dials begun.
  package var tries: UInt32 = 0
  /// Client to upstream, without the PROXY header.
  package var bytesUp: UInt64 = 0
  package var bytesDown: UInt64 = 0
  /// The part of `bytesUp` that was never copied to user space.
  package var splicedUp: UInt64 = 0
  package var splicedDown: UInt64 = 0
  /// Of the dial that worked; 0 when none did.
  package var connectUs: UInt64 = 0
  /// From accept to the server's first byte; 0 when none came.
  package var firstByteUs: UInt64 = 0
  package var durationUs: UInt64 = 0
  /// Between the two FINs.
  package var halfClosedUs: UInt64 = 0
  /// What the kernel measured on the way to the client, and to the last server that was reached;
  /// nil where it was not asked, is no TCP, or the connection was shorter than 100 ms.
  package var clientPath: Path?
  package var upstreamPath: Path?
  /// Who ended it first, and how.
  package var end: ConnectionEnd
  /// False: this is about a request of a forward proxy that another one has followed. Of all else
  /// only who asked and what became of it is known.
  package var isOver = true
  /// What the client's side said of itself with a PROXY header; nil for nearly all connections.
  package var introduction: Introduction?
  /// What its ClientHello says; nil where none was read.
  package var hello: Hello?
  /// The rule that took it; nil where none did.
  package var rule: String?
  /// Of a forward proxy, once a request was read.
  package var egress: Egress?
  /// Why we turned it away, `dial.refused` for one; nil when we did not.
  package var reason: String?
  /// Of a STARTTLS listener: whether the client asked for TLS and was told to begin.
  package var didStartTLS: Bool?
  /// Of TLS that ended here; nil where none did.
  package var tls: Ended?
  /// Why TLS with the server failed, in OpenSSL's words; nil when it did not.
  package var upstreamTLSFailure: String?

  package init(
    endedWallMs: UInt64, id: UniqueID, listener: String, client: SocketAddress?,
    local: SocketAddress?, end: ConnectionEnd
  ) {
    self.endedWallMs = endedWallMs
    self.id = id
    self.listener = listener
    self.client = client
    self.local = local
    self.end = end
  }
}

extension ConnectionRecord {
  /// tcp(7), TCP_INFO
  package struct Path: Sendable, Equatable {
    /// The smoothed round trip.
    package var rttUs: UInt64
    /// Segments sent again.
    package var retransmits: UInt64

    package init(rttUs: UInt64, retransmits: UInt64) {
      self.rttUs = rttUs
      self.retransmits = retransmits
    }
  }

  /// An inbound PROXY header, or why there was none where one had to be.
  package struct Introduction: Sendable, Equatable {
    /// The address that really connected; the record's `client` is the one it spoke for.
    package var sender: SocketAddress?
    /// `v1`, `v1-unknown`, `v2`, `v2-local`, `v2-unspec`; nil without a valid header.
    package var header: String?
    /// The types of its TLVs, in order, up to 32.
    package var types: [UInt8]
    /// The UNIQUE_ID it brought; bytes from outside.
    package var uniqueID: [UInt8]
    /// TLVs that did not fit into the header for the backend.
    package var tlvsDropped: Int
    /// What came first instead of a valid header, up to 16 bytes.
    package var firstBytes: [UInt8]

    package init(
      sender: SocketAddress?, header: String?, types: [UInt8] = [], uniqueID: [UInt8] = [],
      tlvsDropped: Int = 0, firstBytes: [UInt8] = []
    ) {
      self.sender = sender
      self.header = header
      self.types = types
      self.uniqueID = uniqueID
      self.tlvsDropped = tlvsDropped
      self.firstBytes = firstBytes
    }
  }
}

extension ConnectionRecord {
  /// A ClientHello, as far as it is told.
  package struct Hello: Sendable, Equatable {
    /// The name asked for, as it was sent, up to 255 bytes; empty without one. Bytes from outside.
    package var serverName: [UInt8]
    /// The protocols of ALPN with commas between them, up to 255 bytes; empty without any. Bytes
    /// from outside.
    package var protocols: [UInt8]
    /// Whether it has an encrypted one inside, or pretends to; the name is then the outer one.
    package var offersECH: Bool

    package init(serverName: [UInt8] = [], protocols: [UInt8] = [], offersECH: Bool = false) {
      self.serverName = serverName
      self.protocols = protocols
      self.offersECH = offersECH
    }
  }
}

extension ConnectionRecord {
  /// A client's TLS that ended here, or was to.
  package struct Ended: Sendable, Equatable {
    /// `TLSv1.3`; empty when the handshake was not done, as all others are then.
    package var version = ""
    /// OpenSSL's name of it.
    package var cipher = ""
    /// The protocol of ALPN that was agreed to; empty without one.
    package var alpn: [UInt8] = []
    /// Whether a ticket spared half of the handshake.
    package var isResumed = false
    /// Of the client's certificate, as RFC 2253 writes it; empty without one. From outside.
    package var subject = ""
    /// Whether that certificate is one of those that are trusted.
    package var isVerified = false
    package var handshakeUs: UInt64 = 0
    /// Why the handshake, or the stream behind it, failed, in OpenSSL's words; empty when it did
    /// not.
    package var failure = ""

    package init() {}
  }
}

extension ConnectionRecord {
  /// What a forward proxy was last asked for, and what became of it.
  package struct Egress: Sendable, Equatable {
    /// Whose credentials were found good.
    package var user: String?
    /// As it was sent. Bytes from outside, though of a token only.
    package var method: String
    /// As in a URL.
    package var host: String
    package var port: UInt16
    /// Of that host: the last one dialled, or the one that the guard denied.
    package var address: SocketAddress?
    /// The rule that allowed or denied it; nil where none did.
    package var rule: String?
    /// The rule's action is `report`.
    package var isReported: Bool
    /// The parent it went through.
    package var parent: String?
    /// Of the connection so far.
    package var requests: Int
    /// Of the reply: 0 without one.
    package var status: Int

    package init(
      method: String, host: String, port: UInt16, user: String? = nil,
      address: SocketAddress? = nil, rule: String? = nil, isReported: Bool = false,
      parent: String? = nil, requests: Int = 1, status: Int = 0
    ) {
      self.user = user
      self.method = method
      self.host = host
      self.port = port
      self.address = address
      self.rule = rule
      self.isReported = isReported
      self.parent = parent
      self.requests = requests
      self.status = status
    }
  }
}

/// Who ended a connection first, and how. The raw values are the words of logs and metrics.
package enum ConnectionEnd: String, Sendable, CaseIterable {
  case clientFIN = "client.fin"
  case clientReset = "client.rst"
  case clientError = "client.error"
  case upstreamFIN = "upstream.fin"
  case upstreamReset = "upstream.rst"
  case upstreamError = "upstream.error"
  case prefaceDeadline = "deadline.preface"
  case connectDeadline = "deadline.connect"
  case idleDeadline = "deadline.idle"
  case halfClosedDeadline = "deadline.half-closed"
  case maxAgeDeadline = "deadline.max-age"
  case drainDeadline = "deadline.drain"
  case killed = "admin.kill"
  /// We turned it away; the record's `reason` says why.
  case rejected = "rejected"
  /// Its server's checks failed, and the configuration wants its connections ended then.
  case serverDown = "server.down"
  /// A FIN without the end that TLS has for it: what came before may not have been all.
  case clientTruncated = "client.truncated"
  case upstreamTruncated = "upstream.truncated"
}
