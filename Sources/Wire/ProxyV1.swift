/// Version 1, the line of text (haproxy `doc/proxy-protocol.txt`, section 2.1).
package enum ProxyV1 {
  /// "worst case (optional fields set to 0xff) [...] = 107 chars", CRLF included.
  package static let maximumLength = 107
  /// `PROXY UNKNOWN\r\n`.
  static let minimumLength = 15
  static let firstByte = UInt8(ascii: "P")

  private static let space = UInt8(ascii: " ")
  private static let carriageReturn: UInt8 = 0x0d
  private static let lineFeed: UInt8 = 0x0a
}

extension ProxyV1 {
  /// Writes the line for a TCP connection from `source` to `destination`: `TCP4` if both are IPv4
  /// (mapped or not), otherwise `TCP6`, with `::ffff:a.b.c.d` for an IPv4 side. Never `UNKNOWN`.
  ///
  /// - Parameter output: where the line is appended, with room for `maximumLength` bytes.
  /// - Returns: the number of bytes written, at most 104.
  package static func encode(
    source: SocketAddress, destination: SocketAddress, into output: inout OutputSpan<UInt8>
  ) throws(ProxyEncodeFault) -> Int {
    guard let sourcePort = source.port, let destinationPort = destination.port else {
      throw .notIP
    }
    guard output.freeCapacity >= maximumLength else { throw .noRoom(needed: maximumLength) }
    let start = output.count
    switch ProxyPair(source: source, destination: destination) {
    case .ipv4(let from, let to):
      output.append(text: "PROXY TCP4 ")
      AddressText.append(ipv4: from, to: &output)
      output.append(space)
      AddressText.append(ipv4: to, to: &output)
    case .ipv6(let from, let to):
      output.append(text: "PROXY TCP6 ")
      AddressText.append(high: from.high, low: from.low, to: &output)
      output.append(space)
      AddressText.append(high: to.high, low: to.low, to: &output)
    case .unix, .none:
      throw .notIP
    }
    output.append(space)
    output.append(decimal: UInt64(sourcePort))
    output.append(space)
    output.append(decimal: UInt64(destinationPort))
    output.append(carriageReturn)
    output.append(lineFeed)
    return output.count - start
  }
}

extension ProxyV1 {
  private enum Name { case tcp4, tcp6, unknown }

  /// Reads a line from the front of `bytes`; see `ProxyHeader.decode` for both versions.
  package static func decode(_ bytes: Span<UInt8>) -> Parse<ProxyHeader> {
    do {
      guard let name = try protocolName(bytes) else {
        return .needMore(atLeast: max(bytes.count + 1, minimumLength))
      }
      // "The receiver must wait for the CRLF sequence before starting to decode the addresses".
      guard let end = try lineEnd(bytes, after: name) else {
        return .needMore(atLeast: atLeast(bytes, name))
      }
      let endpoints = try endpoints(bytes.extracting(0..<end), name)
      let header = ProxyHeader(
        version: .v1, command: .proxy, transport: name == .unknown ? .unspecified : .stream,
        endpoints: endpoints, tlvs: (end + 2)..<(end + 2))
      return .done(header, consumed: end + 2)
    } catch {
      return .invalid(error)
    }
  }

  /// Checks `PROXY TCP4 `, `PROXY TCP6 ` or `PROXY UNKNOWN` byte by byte, as far as there are any;
  /// nil if that is not far enough.
  private static func protocolName(_ bytes: Span<UInt8>) throws(Reason) -> Name? {
    try match("PROXY", in: bytes, at: 0, or: .proxyBadSignature)
    try match(" ", in: bytes, at: 5, or: .proxyBadFields)
    guard bytes.count > 6 else { return nil }
    if bytes[6] == UInt8(ascii: "U") {
      try match("UNKNOWN", in: bytes, at: 6, or: .proxyBadProtocol)
      return bytes.count >= 13 ? .unknown : nil
    }
    try match("TCP", in: bytes, at: 6, or: .proxyBadProtocol)
    guard bytes.count > 9 else { return nil }
    guard bytes[9] == UInt8(ascii: "4") || bytes[9] == UInt8(ascii: "6") else {
      throw Reason(.proxyBadProtocol, at: 9)
    }
    try match(" ", in: bytes, at: 10, or: .proxyBadFields)
    guard bytes.count > 10 else { return nil }
    return bytes[9] == UInt8(ascii: "4") ? .tcp4 : .tcp6
  }

  private static func match(
    _ literal: String, in bytes: Span<UInt8>, at start: Int, or code: Reason.Code
  ) throws(Reason) {
    var index = start
    for byte in literal.utf8 {
      guard index < bytes.count else { return }
      guard bytes[index] == byte else { throw Reason(code, at: index) }
      index += 1
    }
  }

  /// The offset of the CR of the first CRLF; nil if it is still to come. "The receiver must not
  /// tolerate a single CR or LF character to end the line when a complete CRLF sequence is
  /// expected."
  private static func lineEnd(
    _ bytes: Span<UInt8>, after name: Name
  ) throws(Reason) -> Int? {
    let window = min(bytes.count, maximumLength)
    for index in firstField(name)..<window {
      if bytes[index] == lineFeed { throw Reason(.proxyBadLineEnd, at: index) }
      guard bytes[index] == carriageReturn else { continue }
      guard index + 1 < maximumLength else { break }
      guard index + 1 < bytes.count else { return nil }
      guard bytes[index + 1] == lineFeed else { throw Reason(.proxyBadLineEnd, at: index + 1) }
      return index
    }
    guard bytes.count < maximumLength else { throw Reason(.proxyTooLong, at: maximumLength) }
    return nil
  }

  private static func firstField(_ name: Name) -> Int {
    switch name {
    case .tcp4, .tcp6: 11
    case .unknown: 13
    }
  }

  private static func atLeast(_ bytes: Span<UInt8>, _ name: Name) -> Int {
    let shortest =
      switch name {
      case .tcp4: 32  // PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n
      case .tcp6: 22  // PROXY TCP6 :: :: 0 0\r\n
      case .unknown: minimumLength
      }
    let missing = bytes[bytes.count - 1] == carriageReturn ? 1 : 2
    return max(min(bytes.count + missing, maximumLength), shortest)
  }

  private static func endpoints(
    _ line: Span<UInt8>, _ name: Name
  ) throws(Reason) -> ProxyHeader.Endpoints {
    // "the receiver must ignore anything presented before the CRLF is found".
    if name == .unknown { return .none }
    var at = firstField(name)
    let source = try address(line, &at, name)
    let destination = try address(line, &at, name)
    let sourcePort = try port(line, &at)
    let destinationPort = try port(line, &at)
    // The last field took the end of the line for its space.
    guard at == line.count + 1 else { throw Reason(.proxyBadFields, at: at - 1) }
    return .ip(
      source: source.withPort(sourcePort), destination: destination.withPort(destinationPort))
  }

  /// The field from `at` to the next space or the end of the line, and moves past that.
  private static func field(_ line: Span<UInt8>, _ at: inout Int) throws(Reason) -> Range<Int> {
    let start = at
    guard start < line.count, line[start] != space else {
      throw Reason(.proxyBadFields, at: min(start, line.count))
    }
    var end = start
    while end < line.count, line[end] != space { end += 1 }
    at = end + 1
    return start..<end
  }

  private static func address(
    _ line: Span<UInt8>, _ at: inout Int, _ name: Name
  ) throws(Reason) -> SocketAddress {
    let range = try field(line, &at)
    do {
      if name == .tcp4 {
        return .ipv4(try AddressText.ipv4(line.extracting(range)), port: 0)
      }
      let words = try AddressText.ipv6(line.extracting(range))
      return .ipv6(high: words.high, low: words.low, port: 0, scope: 0)
    } catch {
      throw Reason(.proxyBadAddress, at: range.lowerBound + error.offset)
    }
  }

  private static func port(_ line: Span<UInt8>, _ at: inout Int) throws(Reason) -> UInt16 {
    let range = try field(line, &at)
    do {
      return UInt16(try AddressText.decimal(line.extracting(range), limit: UInt32(UInt16.max)))
    } catch {
      throw Reason(.proxyBadPort, at: range.lowerBound + error.offset)
    }
  }
}
