/// A ClientHello as a client of TLS 1.3 would send it (RFC 8446 section 4.1.2), made by code of the
/// tests' own: sound unless told otherwise, and with as much padding as wanted.
package struct TLSHello: Sendable {
  /// Nil: no server_name at all.
  package var name: [UInt8]?
  package var protocols: [String]
  package var offersECH: Bool
  /// Bytes in a padding extension (RFC 7685).
  package var padding: Int

  package init(
    _ name: String? = "mail.example.test", alpn protocols: [String] = [],
    ech offersECH: Bool = false, padding: Int = 0
  ) {
    self.name = name.map { Array($0.utf8) }
    self.protocols = protocols
    self.offersECH = offersECH
    self.padding = padding
  }

  /// The handshake message, without records.
  package var message: [UInt8] {
    var extensions: [UInt8] = []
    if let name { extensions += [0, 0] + vector(vector([0] + vector(name))) }
    if !protocols.isEmpty {
      let list = protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
      extensions += [0, 16] + vector(vector(list))
    }
    if offersECH { extensions += [0xfe, 0x0d] + vector([UInt8](repeating: 1, count: 20)) }
    extensions += [0, 43] + vector([4, 3, 4, 3, 3])
    // An extension holds 2^16-1 bytes at most, and so do all of them together.
    if padding > 0 { extensions += [0, 21] + vector([UInt8](repeating: 0, count: padding)) }
    let random = (0..<32).map { UInt8($0) }
    let body = [3, 3] + random + [0] + vector([0x13, 1, 0x13, 2]) + [1, 0] + vector(extensions)
    let length = [UInt8(body.count >> 16), UInt8(body.count >> 8 & 255), UInt8(body.count & 255)]
    return [1] + length + body
  }

  /// In records of so many bytes, as few as can hold it by default.
  package func bytes(inRecordsOf size: Int = 1 << 14) -> [UInt8] {
    let message = message
    return stride(from: 0, to: message.count, by: size).flatMap {
      [22, 3, 1] + vector(Array(message[$0..<min($0 + size, message.count)]))
    }
  }

  package var bytes: [UInt8] { bytes() }
}

private func vector(_ content: [UInt8]) -> [UInt8] {
  [UInt8(content.count >> 8), UInt8(content.count & 255)] + content
}
