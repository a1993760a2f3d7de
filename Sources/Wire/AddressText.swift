/// Where a text stops being what it should be, as an offset into the span that was parsed; equal
/// to the span's count when the text ends too early.
struct TextFault: Error, Equatable {
  var offset: Int
}

/// The text forms of IPv4 and IPv6 addresses and of decimal numbers, on bytes. Strict: what
/// inet_pton(3) takes and nothing more, and no leading zeroes, which some readers take for octal.
enum AddressText {
  /// A decimal number of at most `limit`, over the whole span, without sign or leading zeroes.
  static func decimal(_ bytes: Span<UInt8>, limit: UInt32) throws(TextFault) -> UInt32 {
    var value: UInt32 = 0
    guard bytes.count > 0 else { throw TextFault(offset: 0) }
    for index in bytes.indices {
      let digit = bytes[index] &- UInt8(ascii: "0")
      guard digit <= 9, index == 0 || value > 0 else { throw TextFault(offset: index) }
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(UInt32(digit))
      guard !overflow, !carry, sum <= limit else { throw TextFault(offset: index) }
      value = sum
    }
    return value
  }

  /// Four decimal octets with single dots, over the whole span, as a word in host order.
  static func ipv4(_ bytes: Span<UInt8>) throws(TextFault) -> UInt32 {
    var word: UInt32 = 0
    var start = 0
    for octet in 0..<4 {
      var end = start
      while end < bytes.count, bytes[end] != UInt8(ascii: ".") { end += 1 }
      do {
        word = word << 8 | (try decimal(bytes.extracting(start..<end), limit: 255))
      } catch {
        throw TextFault(offset: start + error.offset)
      }
      // A dot after each of the first three octets, the end after the fourth.
      guard (end < bytes.count) == (octet < 3) else { throw TextFault(offset: end) }
      start = end + 1
    }
    return word
  }

  /// An IPv6 address in any form of RFC 4291 section 2.2, over the whole span: groups of one to
  /// four hexadecimal digits of either case, `::` at most once and for at least one group, the last
  /// 32 bits optionally as an IPv4 address. No zone and no brackets.
  static func ipv6(_ bytes: Span<UInt8>) throws(TextFault) -> (high: UInt64, low: UInt64) {
    var groups = InlineArray<8, UInt16>(repeating: 0)
    var count = 0
    var gap: Int? = nil
    var at = 0
    if bytes.count >= 2, bytes[0] == UInt8(ascii: ":"), bytes[1] == UInt8(ascii: ":") {
      gap = 0
      at = 2
    }
    while at < bytes.count {
      guard count < 8 else { throw TextFault(offset: at) }
      let (value, end) = hexadecimalGroup(bytes, from: at)
      if end < bytes.count, bytes[end] == UInt8(ascii: ".") {
        // The dotted tail is the last 32 bits, so a dot anywhere else is what is wrong.
        guard gap == nil ? count == 6 : count < 6 else { throw TextFault(offset: end) }
        let tail = try dottedTail(bytes, from: at)
        groups[count] = UInt16(truncatingIfNeeded: tail >> 16)
        groups[count + 1] = UInt16(truncatingIfNeeded: tail)
        count += 2
        at = bytes.count
        break
      }
      guard end > at else { throw TextFault(offset: end) }
      groups[count] = value
      count += 1
      at = end
      if at == bytes.count { break }
      // A single colon must be followed by a group, a second one makes the gap.
      guard bytes[at] == UInt8(ascii: ":"), at + 1 < bytes.count else {
        throw TextFault(offset: bytes[at] == UInt8(ascii: ":") ? at + 1 : at)
      }
      at += 1
      if bytes[at] == UInt8(ascii: ":") {
        guard gap == nil else { throw TextFault(offset: at) }
        gap = count
        at += 1
      }
    }
    guard gap == nil ? count == 8 : count < 8 else { throw TextFault(offset: bytes.count) }
    return assemble(groups, count: count, gap: gap ?? count)
  }

  /// Up to four hexadecimal digits from `start`, and the offset after them. A fifth digit is left
  /// where it is, so that the caller, who wants a colon there, points at it.
  private static func hexadecimalGroup(
    _ bytes: Span<UInt8>, from start: Int
  ) -> (value: UInt16, end: Int) {
    var value: UInt16 = 0
    var end = start
    while end < bytes.count, end - start < 4, let digit = hexadecimalDigit(bytes[end]) {
      value = value << 4 | digit
      end += 1
    }
    return (value, end)
  }

  private static func hexadecimalDigit(_ byte: UInt8) -> UInt16? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt16(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt16(byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt16(byte - UInt8(ascii: "A") + 10)
    default: nil
    }
  }

  private static func dottedTail(_ bytes: Span<UInt8>, from start: Int) throws(TextFault) -> UInt32
  {
    do {
      return try ipv4(bytes.extracting(start..<bytes.count))
    } catch {
      throw TextFault(offset: start + error.offset)
    }
  }

  /// The groups before the gap at the front, those after it at the end, zeroes between.
  private static func assemble(
    _ groups: InlineArray<8, UInt16>, count: Int, gap: Int
  ) -> (high: UInt64, low: UInt64) {
    var high: UInt64 = 0
    var low: UInt64 = 0
    for index in 0..<count {
      let place = index < gap ? index : 8 - count + index
      if place < 4 {
        high |= UInt64(groups[index]) << UInt64(16 * (3 - place))
      } else {
        low |= UInt64(groups[index]) << UInt64(16 * (7 - place))
      }
    }
    return (high, low)
  }

  @inline(__always)
  static func append<Sink: ByteSink & ~Copyable & ~Escapable>(
    ipv4 word: UInt32, to sink: inout Sink
  ) {
    for octet: UInt32 in 0..<4 {
      if octet > 0 { sink.append(UInt8(ascii: ".")) }
      sink.append(decimal: UInt64(word >> (24 - 8 * octet) & 255))
    }
  }

  /// The one text RFC 5952 asks for: the first of the longest runs of at least two zero groups
  /// becomes `::`, and the IPv4-mapped prefix is followed by a dotted tail (section 5).
  static func append<Sink: ByteSink & ~Copyable & ~Escapable>(
    high: UInt64, low: UInt64, to sink: inout Sink
  ) {
    if high == 0, low >> 32 == 0xffff {
      sink.append(text: "::ffff:")
      return append(ipv4: UInt32(truncatingIfNeeded: low), to: &sink)
    }
    let run = longestZeroRun(high: high, low: low)
    var index = 0
    while index < 8 {
      if index == run.lowerBound, !run.isEmpty {
        sink.append(text: "::")
        index = run.upperBound
        continue
      }
      if index > 0, run.isEmpty || index != run.upperBound { sink.append(UInt8(ascii: ":")) }
      sink.append(hexadecimal: group(index, high: high, low: low))
      index += 1
    }
  }

  private static func group(_ index: Int, high: UInt64, low: UInt64) -> UInt16 {
    UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> UInt64(16 * (3 - index & 3)))
  }

  private static func longestZeroRun(high: UInt64, low: UInt64) -> Range<Int> {
    var best = 0..<0
    var start = 0
    for index in 0..<8 {
      if group(index, high: high, low: low) != 0 {
        start = index + 1
      } else if index + 1 - start >= 2, index + 1 - start > best.count {
        best = start..<index + 1
      }
    }
    return best
  }
}
