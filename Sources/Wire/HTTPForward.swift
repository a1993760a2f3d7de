/// How a request goes on from here.
package struct HTTPOnward: Sendable {
  /// In the form that an origin server takes, or as it came, for another proxy.
  package var isForProxy = false
  /// The value of Proxy-Authorization for that proxy: our own. Empty is none.
  package var credentials: [UInt8] = []
  /// Our name in Via; empty adds none.
  package var via: [UInt8] = []
  /// Nothing further will be sent on that connection.
  package var isLast = false

  package init() {}

  /// What is written at most, in bytes, beyond a head as it was received.
  package func room() -> Int { 256 + credentials.count + via.count }
}

extension HTTPRequestHead {
  /// Writes the head as it goes on: the target's host in place of whatever Host says (RFC 9112
  /// section 3.2.2), without what was between the client and us (RFC 9110 section 7.6.1), with our
  /// own framing and Via.
  ///
  /// - Parameters:
  ///   - bytes: those it was read from.
  ///   - output: with room for as many and `onward.room()`.
  package func write(
    _ bytes: Span<UInt8>, as onward: HTTPOnward, into output: inout OutputSpan<UInt8>
  ) {
    output.append(bytes, method)
    output.append(text: " ")
    writeTarget(bytes, isForProxy: onward.isForProxy, into: &output)
    // To a client of 1.0 a server must not answer in chunks, so it is asked in 1.0.
    output.append(text: isCurrent ? " HTTP/1.1\r\nHost: " : " HTTP/1.0\r\nHost: ")
    output.append(bytes, authority)
    output.append(text: "\r\n")
    var walk = HTTPFieldWalk(fields)
    while let field = walk.next(in: bytes) {
      if HTTPText.equals("host", bytes, field.name) || isHop(field.name, bytes) { continue }
      output.append(field, bytes)
    }
    framing.write(into: &output)
    if !onward.credentials.isEmpty {
      output.append(text: "Proxy-Authorization: ")
      output.append(onward.credentials.span, onward.credentials.indices)
      output.append(text: "\r\n")
    }
    output.append(via: onward.via, isCurrent)
    if offersUpgrade { framing.writeUpgrade(bytes, fields, into: &output) }
    output.append(isLast: onward.isLast, isUpgrade: offersUpgrade)
    output.append(text: "\r\n")
  }

  private func writeTarget(
    _ bytes: Span<UInt8>, isForProxy: Bool, into output: inout OutputSpan<UInt8>
  ) {
    if isForProxy {
      output.append(text: "http://")
      output.append(bytes, authority)
    }
    if path.isEmpty {
      // RFC 9112 section 3.2.4: of OPTIONS for a whole server.
      output.append(text: !isForProxy && isMethod("OPTIONS", in: bytes) ? "*" : "/")
    } else {
      if bytes[path.lowerBound] != UInt8(ascii: "/") { output.append(text: "/") }
      output.append(bytes, path)
    }
  }

  private func isHop(_ name: Range<Int>, _ bytes: Span<UInt8>) -> Bool {
    framing.isHop(name, bytes, fields)
  }
}

extension HTTPResponseHead {
  /// Writes the head as it goes to the client.
  ///
  /// - Parameters:
  ///   - bytes: those it was read from.
  ///   - isLast: nothing further will be sent on the client's connection.
  ///   - output: with room for as many bytes, those of `via` and 256.
  package func write(
    _ bytes: Span<UInt8>, via: [UInt8], isLast: Bool, into output: inout OutputSpan<UInt8>
  ) {
    output.append(text: "HTTP/1.1 ")
    output.append(decimal: UInt64(status))
    output.append(text: " ")
    output.append(bytes, phrase)
    output.append(text: "\r\n")
    var walk = HTTPFieldWalk(fields)
    while let field = walk.next(in: bytes) {
      // A parent's wish for credentials is ours to fulfil, and not the client's.
      if framing.isHop(field.name, bytes, fields) { continue }
      output.append(field, bytes)
    }
    framing.write(into: &output)
    output.append(via: via, isCurrent)
    let isUpgrade = status == 101
    if isUpgrade { framing.writeUpgrade(bytes, fields, into: &output) }
    if !isInterim { output.append(isLast: isLast, isUpgrade: isUpgrade) }
    output.append(text: "\r\n")
  }
}

extension HTTPFraming {
  /// Whether a field is between two neighbours only: RFC 9110 section 7.6.1. The framing is written
  /// anew; no field of a proxy's goes further, whatever its name.
  fileprivate func isHop(_ name: Range<Int>, _ bytes: Span<UInt8>, _ fields: Range<Int>) -> Bool {
    switch HTTPText.lowered(bytes[name.lowerBound]) {
    case UInt8(ascii: "c"):
      if HTTPText.equals("connection", bytes, name) { return true }
      if HTTPText.equals("content-length", bytes, name) { return true }
    case UInt8(ascii: "k"):
      if HTTPText.equals("keep-alive", bytes, name) { return true }
    case UInt8(ascii: "p"):
      if HTTPText.begins("proxy-", bytes, name) { return true }
    case UInt8(ascii: "t"):
      if HTTPText.equals("transfer-encoding", bytes, name) { return true }
      if HTTPText.equals("te", bytes, name) { return true }
    case UInt8(ascii: "u"):
      if HTTPText.equals("upgrade", bytes, name) { return true }
    default: break
    }
    return namesFields && isNamed(name, bytes, fields)
  }

  private func isNamed(_ name: Range<Int>, _ bytes: Span<UInt8>, _ fields: Range<Int>) -> Bool {
    var walk = HTTPFieldWalk(fields)
    while let field = walk.next(in: bytes) {
      guard HTTPText.equals("connection", bytes, field.name) else { continue }
      var options = HTTPListWalk(field.value)
      while let option = options.next(in: bytes) {
        if HTTPText.equals(bytes, option, name) { return true }
      }
    }
    return false
  }

  fileprivate func write(into output: inout OutputSpan<UInt8>) {
    if isChunked {
      output.append(text: "Transfer-Encoding: chunked\r\n")
    } else if let contentLength {
      output.append(text: "Content-Length: ")
      output.append(decimal: contentLength)
      output.append(text: "\r\n")
    }
  }

  fileprivate func writeUpgrade(
    _ bytes: Span<UInt8>, _ fields: Range<Int>, into output: inout OutputSpan<UInt8>
  ) {
    var walk = HTTPFieldWalk(fields)
    while let field = walk.next(in: bytes) {
      if HTTPText.equals("upgrade", bytes, field.name) { output.append(field, bytes) }
    }
  }
}

extension OutputSpan where Element == UInt8 {
  fileprivate mutating func append(_ bytes: Span<UInt8>, _ range: Range<Int>) {
    for index in range { append(bytes[index]) }
  }

  fileprivate mutating func append(_ field: HTTPFieldWalk.Field, _ bytes: Span<UInt8>) {
    append(bytes, field.name)
    append(text: ": ")
    append(bytes, field.value)
    append(text: "\r\n")
  }

  /// RFC 9110 section 7.6.3: the version as received, and a name for us.
  fileprivate mutating func append(via name: [UInt8], _ isCurrent: Bool) {
    guard !name.isEmpty else { return }
    append(text: isCurrent ? "Via: 1.1 " : "Via: 1.0 ")
    append(name.span, name.indices)
    append(text: "\r\n")
  }

  fileprivate mutating func append(isLast: Bool, isUpgrade: Bool) {
    if isUpgrade {
      append(text: "Connection: upgrade\r\n")
    } else if isLast {
      append(text: "Connection: close\r\n")
    }
  }
}
