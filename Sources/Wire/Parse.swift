/// What a parser says about the bytes held so far. Parsers here are pure functions of those bytes:
/// called again with more of the same stream, a `needMore` may change, the other two never do, so
/// how the bytes were cut into segments cannot matter.
package enum Parse<Value> {
  /// No answer before `atLeast` bytes are held in all; always more than are held now, and never
  /// more than the shortest valid input that begins like this has.
  case needMore(atLeast: Int)
  /// The value, and how many bytes from the start it took. What follows is not looked at.
  case done(Value, consumed: Int)
  /// No continuation can make this valid.
  case invalid(Reason)
}

extension Parse: Equatable where Value: Equatable {}
extension Parse: Sendable where Value: Sendable {}

/// Why bytes were refused, and where.
package struct Reason: Error, Hashable, Sendable {
  package var code: Code
  /// The offset of the first byte that cannot stand there, from the start of the input; the count
  /// of bytes where more were needed.
  package var offset: Int

  package init(_ code: Code, at offset: Int) {
    self.code = code
    self.offset = offset
  }

  /// The raw value is the word in log lines, metric labels and documentation.
  package enum Code: String, CaseIterable, Sendable {
    /// Neither `PROXY` nor the version 2 signature.
    case proxyBadSignature = "proxy.bad-signature"
    /// The stream ended inside a header.
    case proxyTruncated = "proxy.truncated"
    /// The stream ended before its first byte: a health probe rather than an error.
    case proxyProbe = "proxy.probe"
    /// Version 1: no CRLF in 107 bytes. Version 2: longer than the receiver's limit.
    case proxyTooLong = "proxy.too-long"
    /// Version 1: none of TCP4, TCP6 and UNKNOWN.
    case proxyBadProtocol = "proxy.bad-protocol"
    /// Version 1: fields missing, left over, or not parted by exactly one space.
    case proxyBadFields = "proxy.bad-fields"
    /// Version 1: CR without LF or LF without CR.
    case proxyBadLineEnd = "proxy.bad-line-end"
    /// Version 1: not an address of the announced family.
    case proxyBadAddress = "proxy.bad-address"
    /// Version 1: not a decimal number in 0...65535, or with a leading zero.
    case proxyBadPort = "proxy.bad-port"
    /// Version 2: the version nibble is not 2.
    case proxyBadVersion = "proxy.bad-version"
    /// Version 2: neither LOCAL nor PROXY.
    case proxyBadCommand = "proxy.bad-command"
    /// Version 2: an unassigned address family.
    case proxyBadFamily = "proxy.bad-family"
    /// Version 2: an unassigned transport protocol.
    case proxyBadTransport = "proxy.bad-transport"
    /// Version 2: too short for the addresses of its family.
    case proxyBadLength = "proxy.bad-length"
    /// Version 2: a TLV that runs past the end of what holds it, or bytes left over.
    case proxyBadTLV = "proxy.bad-tlv"
    /// Version 2: a TLV of a known type whose value has a length that type cannot have.
    case proxyBadTLVLength = "proxy.bad-tlv-length"
    /// Version 2: a second CRC32C.
    case proxyDuplicateCRC = "proxy.duplicate-crc"
    /// Version 2: the CRC32C is not that of the header.
    case proxyCRCMismatch = "proxy.crc-mismatch"
    /// No TLS record, nor anything like one: plaintext on a TLS port.
    case tlsNotTLS = "tls.not-tls"
    /// A hello in the form of SSL 2.
    case tlsSSLv2 = "tls.sslv2"
    /// A record that cannot stand there: of another type, too long, empty once too often, or with
    /// bytes behind the hello.
    case tlsBadRecord = "tls.bad-record"
    /// TLS, but not a ClientHello.
    case tlsNotClientHello = "tls.not-client-hello"
    /// A ClientHello whose fields do not fit into it or into each other.
    case tlsBadHello = "tls.bad-hello"
    /// An extension that runs past the end of what holds it, or whose content is malformed.
    case tlsBadExtension = "tls.bad-extension"
    /// A second extension of the same type.
    case tlsDuplicateExtension = "tls.duplicate-extension"
    /// A hello longer than the receiver's limit, or in too many records.
    case tlsTooLong = "tls.too-long"
    /// The stream ended before the end of the hello.
    case tlsTruncated = "tls.truncated"
  }
}
