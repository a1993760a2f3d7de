import Testing

@testable import Wire

/// What holds for every header, tried on seeded random ones. A failure names its seed: put it into
/// `seeds` to see it again.
struct ProxyPropertyTests {
  static let seeds = (0..<4).map { _ in UInt64.random(in: 0 ... .max) }

  /// What is sent is what is read, but for the family both sides were brought to.
  @Test(arguments: seeds) func encodeThenDecodeIsTheIdentity(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    for _ in 0..<1_500 {
      let source = random.socketAddress(unix: true)
      let destination = random.socketAddress(unix: true)
      let area = random.tlvArea()
      let checksum = random.below(2) == 0
      let v2 = try encodeV2(
        source, destination, tlvs: area, checksum: checksum, alignment: random.below(65),
        limit: .max)
      let read = ProxyHeader.decode((v2 + [0x50]).span)
      let header = try #require(read.value, "seed \(seed)")
      #expect(read.consumed == v2.count, "seed \(seed)")
      try expect(header, source, destination, in: v2, "seed \(seed)")
      if header.command == .proxy {
        #expect(v2[header.tlvs].starts(with: area), "seed \(seed)")
        #expect((ProxyTLV.first(.crc32c, of: header.tlvs, in: v2) != nil) == checksum)
      }
      guard source.port != nil, destination.port != nil else { continue }
      let v1 = Array(try encodeV1(source.description, destination.description).utf8)
      let line = decode(v1)
      try expect(#require(line.value, "seed \(seed)"), source, destination, in: v1, "seed \(seed)")
      #expect(line.consumed == v1.count, "seed \(seed)")
    }
  }

  private func expect(
    _ header: ProxyHeader, _ source: SocketAddress, _ destination: SocketAddress,
    in bytes: [UInt8], _ note: Comment
  ) throws {
    switch header.endpoints {
    case .none:
      #expect((source.port == nil) != (destination.port == nil), note)
      #expect(header.command == .local, note)
    case .ip(let from, let to):
      #expect(from.unmapped() == source.unmapped() && to.unmapped() == destination.unmapped(), note)
      if case .ipv4 = from { #expect(to == to.unmapped(), note) }
      #expect(header.streamAddresses != nil, note)
    case .unix(let from, let to):
      #expect(source == .unix(path: String(decoding: bytes[from], as: UTF8.self)), note)
      #expect(destination == .unix(path: String(decoding: bytes[to], as: UTF8.self)), note)
    }
  }

  /// G-5: "The receiver may be tolerant to partial headers [...]. Recommendation is to be
  /// tolerant": a decoder asked again after each segment says in the end what it says of the whole,
  /// for headers and for anything like them, and never takes back a word.
  @Test(arguments: seeds) func anySplitGivesTheSameResult(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    for _ in 0..<3_000 {
      let bytes = random.nearlyHeader()
      let whole = ProxyHeader.decode(bytes.span)
      var held = 0
      var result = Parse<ProxyHeader>.needMore(atLeast: 1)
      while held < bytes.count, case .needMore(let atLeast) = result {
        #expect(atLeast > held, "seed \(seed)")
        held = min(bytes.count, held + 1 + random.below(random.below(3) == 0 ? 40 : 3))
        result = ProxyHeader.decode(bytes.span.extracting(0..<held))
      }
      if bytes.isEmpty { result = ProxyHeader.decode(bytes.span) }
      #expect(result == whole, "seed \(seed), bytes \(bytes)")
    }
  }

  /// Every prefix of a valid header asks for more, and never for more than there will be. G-6: "The
  /// receiver MUST NOT start processing the connection before it receives a complete and valid
  /// PROXY protocol header."
  @Test(arguments: seeds) func prefixesOfValidHeadersAreNeverInvalid(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    for _ in 0..<150 {
      let header = try random.validHeader()
      #expect(decode(header).consumed == header.count, "seed \(seed)")
      for count in header.indices {
        let missing = ProxyHeader.decode(header.span.extracting(0..<count)).missing
        let atLeast = try #require(missing, "seed \(seed), \(count) of \(header)")
        #expect(atLeast > count && atLeast <= header.count, "seed \(seed), \(count) of \(header)")
      }
    }
  }

  /// Whatever is accepted can be sent on, and then stays what it is.
  @Test(arguments: seeds) func decodeEncodeDecodeIsStable(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    var accepted = 0
    for _ in 0..<3_000 {
      let bytes = random.nearlyHeader()
      guard let first = decode(bytes).value else { continue }
      accepted += 1
      let once = try again(first, bytes)
      let second = try #require(decode(once).value, "seed \(seed), bytes \(bytes)")
      let twice = try again(second, once)
      #expect(once == twice, "seed \(seed), bytes \(bytes)")
      #expect(decode(twice).value == second, "seed \(seed), bytes \(bytes)")
      #expect(
        second.streamAddresses?.source.unmapped() == first.streamAddresses?.source.unmapped(),
        "seed \(seed), bytes \(bytes)")
    }
    #expect(accepted > 100, "too few valid headers to show anything; seed \(seed)")
  }

  /// Version 2 of a header that was read, its checksum made anew.
  private func again(_ header: ProxyHeader, _ bytes: [UInt8]) throws -> [UInt8] {
    var area: [UInt8] = []
    var walk = ProxyTLVWalk(header.tlvs)
    while let found = try walk.next(in: bytes) {
      if found.kind == .crc32c { continue }
      area += tlv(found.kind.rawValue, Array(bytes[found.value]))
    }
    let unnamed = SocketAddress.unix(path: "")
    var pair = (unnamed, unnamed)
    switch header.endpoints {
    case .none: return try encodeV2(unnamed, unnamed, command: .local)
    case .ip(let from, let to): pair = (from, to)
    case .unix(let from, let to):
      // A path of the network's need not be UTF-8; what is not stays out of the round trip.
      guard let source = String(validating: bytes[from], as: UTF8.self),
        let destination = String(validating: bytes[to], as: UTF8.self)
      else { return try encodeV2(unnamed, unnamed, command: .local) }
      pair = (.unix(path: source), .unix(path: destination))
    }
    return try encodeV2(
      pair.0, pair.1, command: header.command, transport: header.transport, tlvs: area,
      checksum: true, limit: .max)
  }
}

extension SeededGenerator {
  mutating func tlvArea() -> [UInt8] {
    var area: [UInt8] = []
    for _ in 0..<below(5) {
      let kind = [1, 2, 4, 5, 0x20, 0x30, 0xe0, 0xea, 0xee, 0xf1, 0xff].randomElement(using: &self)!
      let inner = kind == 0x20 ? [1, 0, 0, 0, 0] + tlv(0x21, bytes(atMost: 9)) : bytes(atMost: 60)
      area += tlv(UInt8(kind), inner)
    }
    return area
  }

  /// A header `decode` accepts, of any form, not only of those we send.
  mutating func validHeader() throws -> [UInt8] {
    let low = UInt8(1 + below(2))
    switch below(8) {
    case 0:
      let tail = (0..<below(80)).map { _ in "0123456789:. abcxyzPROXY".randomElement(using: &self)!
      }
      return Array(("PROXY UNKNOWN" + String(tail) + "\r\n").utf8)
    case 1, 2:
      let (from, to) = (socketAddress(unix: false), socketAddress(unix: false))
      return Array(try encodeV1(from.description, to.description).utf8)
    case 3: return headerV2(0x20, UInt8(truncatingIfNeeded: next()), bytes(atMost: 40))
    case 4: return headerV2(0x21, [0, 1, 2].randomElement(using: &self)!, bytes(atMost: 40))
    case 5: return headerV2(0x21, 0x30 | low, bytes(exactly: 216) + tlvArea())
    case 6: return headerV2(0x21, 0x20 | low, bytes(exactly: 36) + tlvArea())
    default: return checksummedV2(0x21, 0x10 | low, bytes(exactly: 12) + tlvArea())
    }
  }

  mutating func bytes(exactly count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
  }

  /// A valid header with up to three bytes changed, dropped or added, and perhaps bytes behind it.
  mutating func nearlyHeader() -> [UInt8] {
    var header = (try? validHeader()) ?? []
    for _ in 0..<below(4) {
      let at = below(header.count + 1)
      switch below(3) {
      case 0 where at < header.count: header[at] ^= 1 << UInt8(below(8))
      case 1 where at < header.count: header.remove(at: at)
      default: header.insert([0, 10, 13, 32, 48, 58, 255].randomElement(using: &self)!, at: at)
      }
    }
    return header + bytes(atMost: 3)
  }
}
