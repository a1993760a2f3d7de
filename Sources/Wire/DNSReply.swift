/// What a name server's reply says about one question: RFC 1035 section 4, addresses of RFC 3596,
/// services of RFC 2782. Aliases (CNAME) are followed within the reply; what it says about other
/// names is not believed.
package struct DNSReply: Hashable, Sendable {
  /// What may be asked for; the raw values are those on the wire.
  package enum Kind: UInt16, Hashable, Sendable, CaseIterable {
    case ipv4 = 1
    case ipv6 = 28
    case service = 33
  }

  package enum Value: Hashable, Sendable {
    case ipv4(UInt32)
    case ipv6(high: UInt64, low: UInt64)
    case service(Service)
  }

  /// RFC 2782. The lowest priority is to be used first, weights are shares within one priority.
  package struct Service: Hashable, Sendable {
    package var priority: UInt16
    package var weight: UInt16
    package var port: UInt16
    /// Nil for ".", which says that the service is not offered.
    package var target: HostName?

    package init(priority: UInt16, weight: UInt16, port: UInt16, target: HostName?) {
      self.priority = priority
      self.weight = weight
      self.port = port
      self.target = target
    }
  }

  /// Why a reply is of no use.
  package enum Fault: Error, Hashable, Sendable {
    /// It ends in the middle of something.
    case short
    /// It is a question, or an answer to another one.
    case otherQuestion
    /// A name that is longer than 255 bytes, points forwards, or is made of reserved labels.
    case badName
    /// A record of the asked kind whose data have another length than their kind's.
    case badData
    /// Aliases in a circle, or a chain of more than `aliasLimit`.
    case endlessAlias
  }

  /// In the order of the reply, each once; empty when the name has none of this kind.
  package var values: [Value]
  /// Seconds for which all of it holds, aliases included; nil without values.
  package var ttl: UInt32?
  /// RCODE: 0 is no error, 3 says that there is no such name.
  package var code: UInt8

  /// RFC 1034 section 3.6.2 wants chains followed and circles noticed; resolvers stop at 8 to 16.
  package static let aliasLimit = 16

  private static let headerLength = 12
  private static let classInternet: UInt16 = 1
  private static let kindAlias: UInt16 = 5

  /// Reads the reply to a question for `kind`. Names compare without regard to case.
  package init(_ bytes: Span<UInt8>, to kind: Kind) throws(Fault) {
    guard bytes.count >= DNSReply.headerLength else { throw .short }
    // QR is set in replies; a reply repeats its one question.
    guard bytes[2] & 0x80 != 0, bytes.word(at: 4) == 1 else { throw .otherQuestion }
    code = bytes[3] & 0x0f
    var cursor = DNSCursor(at: DNSReply.headerLength)
    var owner = try cursor.name(in: bytes)
    let asked = try cursor.word(in: bytes)
    let askedClass = try cursor.word(in: bytes)
    guard asked == kind.rawValue, askedClass == DNSReply.classInternet else {
      throw .otherQuestion
    }

    var aliases: [[UInt8]: (target: [UInt8], ttl: UInt32)] = [:]
    var found: [(owner: [UInt8], value: Value, ttl: UInt32)] = []
    for _ in 0..<bytes.word(at: 6) {
      let name = try cursor.name(in: bytes)
      let recordKind = try cursor.word(in: bytes)
      let recordClass = try cursor.word(in: bytes)
      let ttl = DNSReply.seconds(try cursor.longWord(in: bytes))
      let data = try cursor.take(Int(try cursor.word(in: bytes)), in: bytes)
      guard recordClass == DNSReply.classInternet else { continue }
      if recordKind == DNSReply.kindAlias {
        var inner = DNSCursor(at: data.lowerBound)
        // The first of two aliases of one name counts; RFC 1034 allows only one.
        let target = try inner.name(in: bytes)
        if aliases[name] == nil { aliases[name] = (target, ttl) }
      } else if recordKind == kind.rawValue {
        found.append((name, try DNSReply.value(kind, data, in: bytes), ttl))
      }
    }

    var shortest = UInt32.max
    for _ in 0..<DNSReply.aliasLimit {
      guard let alias = aliases[owner] else { break }
      owner = alias.target
      shortest = min(shortest, alias.ttl)
    }
    guard aliases[owner] == nil else { throw .endlessAlias }
    values = []
    var seen: Set<Value> = []
    for record in found where record.owner == owner {
      shortest = min(shortest, record.ttl)
      if seen.insert(record.value).inserted { values.append(record.value) }
    }
    ttl = values.isEmpty ? nil : shortest
  }

  /// RFC 2181 section 8: "treat TTL values received with the most significant bit set as if the
  /// entire value received was zero".
  private static func seconds(_ raw: UInt32) -> UInt32 { raw >> 31 == 1 ? 0 : raw }

  private static func value(
    _ kind: Kind, _ data: Range<Int>, in bytes: Span<UInt8>
  ) throws(Fault) -> Value {
    var cursor = DNSCursor(at: data.lowerBound)
    switch kind {
    case .ipv4:
      guard data.count == 4 else { throw .badData }
      return .ipv4(try cursor.longWord(in: bytes))
    case .ipv6:
      guard data.count == 16 else { throw .badData }
      var words: [UInt64] = []
      for _ in 0..<4 { words.append(UInt64(try cursor.longWord(in: bytes))) }
      return .ipv6(high: words[0] << 32 | words[1], low: words[2] << 32 | words[3])
    case .service:
      guard data.count >= 7 else { throw .badData }
      let priority = try cursor.word(in: bytes)
      let weight = try cursor.word(in: bytes)
      let port = try cursor.word(in: bytes)
      let target = try cursor.name(in: bytes)
      guard cursor.at == data.upperBound else { throw .badData }
      if target.isEmpty {
        return .service(Service(priority: priority, weight: weight, port: port, target: nil))
      }
      guard let name = HostName(bytes: target.span) else { throw .badName }
      return .service(Service(priority: priority, weight: weight, port: port, target: name))
    }
  }
}

/// Where a reply is being read.
private struct DNSCursor {
  private(set) var at: Int

  init(at place: Int) { at = place }

  mutating func take(_ count: Int, in bytes: Span<UInt8>) throws(DNSReply.Fault) -> Range<Int> {
    guard count <= bytes.count - at else { throw .short }
    defer { at += count }
    return at..<(at + count)
  }

  mutating func word(in bytes: Span<UInt8>) throws(DNSReply.Fault) -> UInt16 {
    bytes.word(at: try take(2, in: bytes).lowerBound)
  }

  mutating func longWord(in bytes: Span<UInt8>) throws(DNSReply.Fault) -> UInt32 {
    let high = try word(in: bytes)
    return UInt32(high) << 16 | UInt32(try word(in: bytes))
  }

  /// A name as text in lower case, with dots between its labels; empty for the root. Bytes that
  /// no host name has stay what they are: they only have to compare right.
  ///
  /// Each pointer must go back before the place where it was followed to (RFC 1035 section 4.1.4:
  /// "a pointer to a prior occurrence"), so that a walk ends.
  mutating func name(in bytes: Span<UInt8>) throws(DNSReply.Fault) -> [UInt8] {
    var text: [UInt8] = []
    var place = at
    var start = at
    var hasJumped = false
    while true {
      guard place < bytes.count else { throw .short }
      let length = Int(bytes[place])
      switch length >> 6 {
      case 0:
        guard length > 0 else {
          if !hasJumped { at = place + 1 }
          return text
        }
        guard place + 1 + length <= bytes.count else { throw .short }
        // 255 bytes on the wire with the lengths and the root (section 2.3.4).
        guard text.count + length + (text.isEmpty ? 0 : 1) <= HostName.byteLimit else {
          throw .badName
        }
        if !text.isEmpty { text.append(UInt8(ascii: ".")) }
        for index in (place + 1)...(place + length) {
          let byte = bytes[index]
          text.append(UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte ? byte | 0x20 : byte)
        }
        place += 1 + length
      case 3:
        guard place + 1 < bytes.count else { throw .short }
        if !hasJumped { at = place + 2 }
        hasJumped = true
        let target = Int(bytes.word(at: place) & 0x3fff)
        guard target < start else { throw .badName }
        place = target
        start = target
      default: throw .badName
      }
    }
  }
}

extension Span where Element == UInt8 {
  /// Two bytes in network order.
  fileprivate func word(at index: Int) -> UInt16 {
    UInt16(self[index]) << 8 | UInt16(self[index + 1])
  }
}
