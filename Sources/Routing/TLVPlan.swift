internal import Wire

/// What the version 2 headers for a backend carry beyond the addresses, and how long they may get.
///
/// A type that is both made here and among `relay` is there once: the received one, when there is
/// one, takes the place of ours.
package struct TLVPlan: Hashable, Sendable {
  /// UNIQUE_ID: the connection's id in our log.
  package var uniqueID: Bool
  /// CRC32C over the header.
  package var checksum: Bool
  /// AUTHORITY: the host name of the client's ClientHello as it was sent, when one was read.
  package var authority: Bool
  /// ALPN: the first protocol of the client's ClientHello, when one was read. Which one the server
  /// agrees to is known to it alone.
  package var alpn: Bool
  /// NETNS, US-ASCII.
  package var networkNamespace: String?
  /// SSL, for connections whose TLS ends here. A received one is passed on by `relay` only.
  package var ssl: Bool
  /// Whether the client's certificate itself stands in it, where there is one and room for it.
  package var clientCertificate = false
  package var custom: [CustomTLV]
  /// Types of received TLVs that are passed on, from sources whose header is required only. Never
  /// CRC32C, which is computed anew, nor NOOP.
  package var relay: [UInt8]
  /// The header's length is made a multiple of this with a NOOP; 1 makes none.
  package var alignment: Int
  /// The longest header in bytes. At least `ProxyV2.maximumLengthWithoutTLVs`, so that the
  /// addresses always fit; TLVs that do not are left out.
  package var limit: Int

  package init(
    uniqueID: Bool = false, checksum: Bool = false, authority: Bool = false, alpn: Bool = false,
    networkNamespace: String? = nil, ssl: Bool = false, custom: [CustomTLV] = [],
    relay: [UInt8] = [], alignment: Int = 1, limit: Int = ProxyV2.defaultSendLimit
  ) {
    self.uniqueID = uniqueID
    self.checksum = checksum
    self.authority = authority
    self.alpn = alpn
    self.networkNamespace = networkNamespace
    self.ssl = ssl
    self.custom = custom
    self.relay = relay
    self.alignment = alignment
    self.limit = limit
  }

  /// Whether its headers are addresses alone.
  package var isEmpty: Bool {
    !(uniqueID || checksum || authority || alpn || ssl) && networkNamespace == nil
      && custom.isEmpty && relay.isEmpty && alignment == 1
  }
}

/// A TLV of the operator's own.
package struct CustomTLV: Hashable, Sendable {
  /// 0xE0 ... 0xEF (application specific) or 0xF0 ... 0xF7 (experimental).
  package var type: UInt8
  /// The value is these one after the other. No two neighbours are texts.
  package var value: [TemplatePart]

  package init(type: UInt8, value: [TemplatePart]) {
    self.type = type
    self.value = value
  }
}

/// A piece of a value that is made for each connection.
package enum TemplatePart: Hashable, Sendable {
  case text([UInt8])
  /// The listener's name.
  case listener
  /// The backend's name.
  case backend
  /// The server as the configuration writes it.
  case server
  /// The client's address without its port, as the header names it.
  case clientAddress
  /// Decimal; nothing for a Unix socket.
  case clientPort
  /// The address that the client connected to, without its port.
  case localAddress
  case localPort
  /// The connection's id in our log.
  case connectionID
}
