/// Version 2, the binary form (haproxy `doc/proxy-protocol.txt`, section 2.2).
package enum ProxyV2 {
  /// Signature, version and command, family and transport, length.
  package static let prefixLength = 16
  /// The longest header the length field can announce.
  package static let maximumLength = prefixLength + Int(UInt16.max)
  /// What a receiver takes unless told otherwise: sixteen times what senders are meant to need, and
  /// little enough to hold for thousands of slow senders.
  package static let defaultReceiveLimit = 4096
  /// What a sender writes unless told otherwise. "Both formats are designed to fit in the smallest
  /// TCP segment that any TCP/IP host is required to support (576 - 40 = 536 bytes)"; Postfix takes
  /// no more.
  package static let defaultSendLimit = 536
  /// A header for two Unix sockets without TLVs, the longest that has none.
  package static let maximumLengthWithoutTLVs = prefixLength + 216

  private static let signature: InlineArray<12, UInt8> = [
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a,
  ]
  /// `sun_path` as Linux and the BSDs have it.
  private static let pathField = 108
  private static let checksumLength = ProxyTLV.overhead + 4
}

extension ProxyV2 {
  /// Writes a header, checksum and padding included. What it writes `decode` accepts.
  ///
  /// Two IPv4 addresses, mapped or not, are AF_INET; with an IPv6 one they are AF_INET6, the IPv4
  /// side mapped; two Unix sockets are AF_UNIX. A Unix socket beside an IP address fits no family
  /// and becomes LOCAL, since PROXY with an unspecified family is refused by HAProxy, Postfix and
  /// Dovecot. Those want IP addresses: where a mail server is behind a Unix listener, pass
  /// `.local`.
  ///
  /// LOCAL is always the 16 bytes without addresses, TLVs, checksum and padding: "it should not
  /// present any address so it sets this field to zero".
  ///
  /// - Parameters:
  ///   - transport: with `.unspecified` the header is LOCAL as well.
  ///   - tlvs: an area written with `ProxyTLV.append`, without a CRC32C.
  ///   - checksum: whether a CRC32C comes last.
  ///   - alignment: the length becomes a multiple of this, by a NOOP before the checksum.
  ///   - limit: the longest header to write.
  /// - Returns: the number of bytes written.
  package static func encode(
    command: ProxyHeader.Command = .proxy, transport: ProxyHeader.Transport = .stream,
    source: SocketAddress, destination: SocketAddress, tlvs: Span<UInt8> = Span(),
    checksum: Bool = false, alignment: Int = 1, limit: Int = defaultSendLimit,
    into output: inout OutputSpan<UInt8>
  ) throws(ProxyEncodeFault) -> Int {
    let pair = ProxyPair(source: source, destination: destination)
    let family = command == .local ? 0 : familyByte(pair, transport)
    guard family != 0 else { return try encodeLocal(into: &output) }
    if case .unix(let from, let to) = pair {
      guard from.utf8.count <= pathField, to.utf8.count <= pathField else { throw .pathTooLong }
    }
    try check(tlvs)
    let unpadded =
      prefixLength + addressLength(family) + tlvs.count + (checksum ? checksumLength : 0)
    let padding = padding(unpadded, alignment: alignment)
    let length = unpadded + padding
    guard length <= min(limit, maximumLength) else { throw .tooLong(length: length) }
    guard output.freeCapacity >= length else { throw .noRoom(needed: length) }

    let start = output.count
    appendPrefix(command: 1, family: family, length: length - prefixLength, into: &output)
    append(pair, source.port ?? 0, destination.port ?? 0, into: &output)
    for index in tlvs.indices { output.append(tlvs[index]) }
    if padding > 0 {
      output.append(ProxyTLV.Kind.noop.rawValue)
      output.append(bigEndian: UInt16(padding - ProxyTLV.overhead))
      output.append(repeating: 0, count: padding - ProxyTLV.overhead)
    }
    if checksum { appendChecksum(from: start, into: &output) }
    return length
  }

  /// Writes `LOCAL`: the connection is the proxy's own, such as a health check.
  ///
  /// - Returns: the number of bytes written, always 16.
  package static func encodeLocal(
    into output: inout OutputSpan<UInt8>
  ) throws(ProxyEncodeFault) -> Int {
    guard output.freeCapacity >= prefixLength else { throw .noRoom(needed: prefixLength) }
    appendPrefix(command: 0, family: 0, length: 0, into: &output)
    return prefixLength
  }

  private static func familyByte(_ pair: ProxyPair, _ transport: ProxyHeader.Transport) -> UInt8 {
    let low: UInt8
    switch transport {
    case .unspecified: return 0
    case .stream: low = 1
    case .datagram: low = 2
    }
    return switch pair {
    case .ipv4: 0x10 | low
    case .ipv6: 0x20 | low
    case .unix: 0x30 | low
    case .none: 0
    }
  }

  private static func check(_ tlvs: Span<UInt8>) throws(ProxyEncodeFault) {
    let foreign: Range<Int>?
    do throws(Reason) {
      foreign = try ProxyTLV.check(0..<tlvs.count, in: tlvs)
    } catch {
      throw .badTLVs(error)
    }
    guard foreign == nil else { throw .foreignChecksum }
  }

  /// The bytes that bring `length` to the next multiple; a NOOP "can be used to align only by 3 or
  /// more bytes because a TLV can not be smaller than that".
  private static func padding(_ length: Int, alignment: Int) -> Int {
    // No alignment of use is above the longest header; the bound keeps the sums small.
    guard alignment > 1, alignment <= maximumLength else { return 0 }
    var missing = (alignment - length % alignment) % alignment
    while missing > 0, missing < ProxyTLV.overhead { missing += alignment }
    return missing
  }

  private static func appendPrefix(
    command: UInt8, family: UInt8, length: Int, into output: inout OutputSpan<UInt8>
  ) {
    for index in signature.indices { output.append(signature[index]) }
    output.append(0x20 | command)
    output.append(family)
    output.append(bigEndian: UInt16(truncatingIfNeeded: length))
  }

  private static func append(
    _ pair: ProxyPair, _ sourcePort: UInt16, _ destinationPort: UInt16,
    into output: inout OutputSpan<UInt8>
  ) {
    switch pair {
    case .ipv4(let from, let to):
      output.append(bigEndian: from)
      output.append(bigEndian: to)
    case .ipv6(let from, let to):
      output.append(bigEndian: from.high)
      output.append(bigEndian: from.low)
      output.append(bigEndian: to.high)
      output.append(bigEndian: to.low)
    case .unix(let from, let to):
      appendPath(from, into: &output)
      appendPath(to, into: &output)
      return
    case .none:
      return
    }
    output.append(bigEndian: sourcePort)
    output.append(bigEndian: destinationPort)
  }

  private static func appendPath(_ path: String, into output: inout OutputSpan<UInt8>) {
    for byte in path.utf8 { output.append(byte) }
    output.append(repeating: 0, count: pathField - path.utf8.count)
  }

  private static func appendChecksum(from start: Int, into output: inout OutputSpan<UInt8>) {
    output.append(ProxyTLV.Kind.crc32c.rawValue)
    output.append(bigEndian: UInt16(4))
    let field = output.count
    output.append(bigEndian: UInt32(0))
    var crc = CRC32C()
    crc.update(output.span.extracting(start..<output.count))
    let value = crc.value
    var written = output.mutableSpan
    for index in 0..<4 {
      written[field + index] = UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * index))
    }
  }
}

extension ProxyV2 {
  /// Reads a header from the front of `bytes`; see `ProxyHeader.decode` for both versions.
  ///
  /// Every byte is judged as soon as it is there, from the left, so that a wrong sender is found
  /// out early. Where the text leaves a choice: LOCAL is accepted whatever its family byte and
  /// block, but not with a wrong CRC32C; PROXY with UNSPEC in either nibble is accepted without
  /// addresses; a malformed TLV area is refused behind addresses, and no area where the layout of
  /// the block is not told (LOCAL, AF_UNSPEC).
  package static func decode(
    _ bytes: Span<UInt8>, limit: Int = defaultReceiveLimit
  ) -> Parse<ProxyHeader> {
    do throws(Reason) {
      try checkPrefix(bytes)
      guard bytes.count >= prefixLength else { return .needMore(atLeast: prefixLength) }
      let length = prefixLength + (Int(bytes[14]) << 8 | Int(bytes[15]))
      guard length <= limit else { throw Reason(.proxyTooLong, at: 14) }
      let command: ProxyHeader.Command = bytes[12] & 0x0f == 0 ? .local : .proxy
      let family = bytes[13]
      let isBlockWhole = length >= prefixLength + addressLength(family)
      guard isBlockWhole || command == .local else { throw Reason(.proxyBadLength, at: 14) }
      guard bytes.count >= length else { return .needMore(atLeast: length) }

      let header = bytes.extracting(0..<length)
      let tlvs = try checkedTLVs(
        header, from: isBlockWhole ? prefixLength + addressLength(family) : length,
        isLayoutKnown: command == .proxy && family >> 4 != 0)
      return .done(
        ProxyHeader(
          version: .v2, command: command, transport: transport(family, command),
          endpoints: command == .local ? .none : endpoints(header), tlvs: tlvs),
        consumed: length)
    } catch {
      return .invalid(error)
    }
  }

  private static func checkPrefix(_ bytes: Span<UInt8>) throws(Reason) {
    for index in 0..<min(bytes.count, signature.count) where bytes[index] != signature[index] {
      throw Reason(.proxyBadSignature, at: index)
    }
    guard bytes.count > 12 else { return }
    guard bytes[12] >> 4 == 2 else { throw Reason(.proxyBadVersion, at: 12) }
    guard bytes[12] & 0x0f <= 1 else { throw Reason(.proxyBadCommand, at: 12) }
    // "discard the protocol block including the family which is ignored".
    guard bytes.count > 13, bytes[12] & 0x0f == 1 else { return }
    guard bytes[13] >> 4 <= 3 else { throw Reason(.proxyBadFamily, at: 13) }
    guard bytes[13] & 0x0f <= 2 else { throw Reason(.proxyBadTransport, at: 13) }
  }

  /// The length of the address block of a family; an unassigned one, which only LOCAL may carry,
  /// is longer than any header, so that nothing is looked for behind it.
  private static func addressLength(_ family: UInt8) -> Int {
    switch family >> 4 {
    case 0: 0
    case 1: 12
    case 2: 36
    case 3: 216
    default: maximumLength
    }
  }

  private static func transport(
    _ family: UInt8, _ command: ProxyHeader.Command
  ) -> ProxyHeader.Transport {
    switch (command, family & 0x0f) {
    case (.proxy, 1): .stream
    case (.proxy, 2): .datagram
    default: .unspecified
    }
  }

  /// The TLV area from `start` to the end of the header, if it is one. The checksum is verified
  /// last: the area must be sound before its value can be found.
  private static func checkedTLVs(
    _ header: Span<UInt8>, from start: Int, isLayoutKnown: Bool
  ) throws(Reason) -> Range<Int> {
    let area = start..<header.count
    let field: Range<Int>?
    do throws(Reason) {
      field = try ProxyTLV.check(area, in: header)
    } catch {
      if isLayoutKnown { throw error }
      return header.count..<header.count
    }
    if let field {
      let stored = field.reduce(UInt32(0)) { word, index in word << 8 | UInt32(header[index]) }
      guard CRC32C.checksum(header, field: field) == stored else {
        throw Reason(.proxyCRCMismatch, at: field.lowerBound)
      }
    }
    return area
  }

  /// The addresses of a whole header with the PROXY command.
  private static func endpoints(_ header: Span<UInt8>) -> ProxyHeader.Endpoints {
    guard header[13] & 0x0f != 0 else { return .none }
    switch header[13] >> 4 {
    case 1:
      return .ip(
        source: .ipv4(UInt32(truncatingIfNeeded: word(header, 16, 4)), port: port(header, 24)),
        destination: .ipv4(UInt32(truncatingIfNeeded: word(header, 20, 4)), port: port(header, 26)))
    case 2:
      return .ip(
        source: .ipv6(
          high: word(header, 16, 8), low: word(header, 24, 8), port: port(header, 48), scope: 0),
        destination: .ipv6(
          high: word(header, 32, 8), low: word(header, 40, 8), port: port(header, 50), scope: 0))
    case 3:
      return .unix(source: path(header, 16), destination: path(header, 16 + pathField))
    default:
      return .none
    }
  }

  private static func word(_ bytes: Span<UInt8>, _ at: Int, _ count: Int) -> UInt64 {
    var word: UInt64 = 0
    for index in at..<(at + count) { word = word << 8 | UInt64(bytes[index]) }
    return word
  }

  private static func port(_ bytes: Span<UInt8>, _ at: Int) -> UInt16 {
    UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1])
  }

  /// A path up to its NUL; with a NUL in front an abstract name, up to the padding.
  private static func path(_ bytes: Span<UInt8>, _ at: Int) -> Range<Int> {
    var end = at
    if bytes[at] != 0 {
      while end < at + pathField, bytes[end] != 0 { end += 1 }
    } else {
      end = at + pathField
      while end > at, bytes[end - 1] == 0 { end -= 1 }
    }
    return at..<end
  }
}
