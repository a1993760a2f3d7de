import Testing

@testable import Wire

/// Version 2 as a sender. The quotations are of section 2.2 of haproxy's doc/proxy-protocol.txt;
/// the ids in front of them number its rules.
struct ProxyV2EncodeTests {
  private let v4 = SocketAddress("192.168.0.1:56324")!
  private let v6 = SocketAddress("[2001:db8::1]:56324")!

  /// V2-1, V2-3, V2-9, V2-10, V2-13, V2-16: the whole layout, byte by byte.
  @Test func layouts() throws {
    #expect(
      try encodeV2("192.168.0.1:56324", "192.168.0.11:443") == headerV2(0x21, 0x11, blockIPv4))
    #expect(
      try encodeV2("[2001:db8::1]:56324", "[2001:db8::2]:443") == headerV2(0x21, 0x21, blockIPv6))
    #expect(try encodeV2("unix:/run/from", "unix:/run/to") == headerV2(0x21, 0x31, blockUnix))
    let datagram = try encodeV2(v4, SocketAddress("192.168.0.11:443")!, transport: .datagram)
    #expect(datagram == headerV2(0x21, 0x12, blockIPv4))
  }

  /// One header carries one family: both mapped are IPv4 again, a mixed pair is IPv6.
  @Test(arguments: [
    ("[::ffff:192.168.0.1]:56324", "[::ffff:192.168.0.11]:443", UInt8(0x11), "C0A80001 C0A8000B"),
    ("192.168.0.1:56324", "[::ffff:192.168.0.11]:443", 0x11, "C0A80001 C0A8000B"),
    (
      "192.168.0.1:56324", "[2001:db8::2]:443", 0x21,
      "00000000000000000000FFFFC0A80001 20010DB8000000000000000000000002"
    ),
    (
      "[2001:db8::1]:56324", "192.168.0.11:443", 0x21,
      "20010DB8000000000000000000000001 00000000000000000000FFFFC0A8000B"
    ),
    (
      "[::ffff:192.168.0.1]:56324", "[2001:db8::2]:443", 0x21,
      "00000000000000000000FFFFC0A80001 20010DB8000000000000000000000002"
    ),
    (
      "[fe80::1%7]:56324", "[fe80::2%7]:443", 0x21,
      "FE800000000000000000000000000001 FE800000000000000000000000000002"
    ),
  ])
  func families(source: String, destination: String, family: UInt8, addresses: String) throws {
    let header = try encodeV2(source, destination)
    #expect(header == headerV2(0x21, family, hex(addresses + "DC04 01BB")))
  }

  /// V2-7: "When a sender presents a LOCAL connection, it should not present any address so it sets
  /// this field to zero." V2-14: "The sender should use this family when sending LOCAL commands".
  @Test func local() throws {
    let expected = signatureV2 + hex("20 00 00 00")
    #expect(try encodeV2(v4, v4, command: .local) == expected)
    #expect(
      try encodeV2(v4, v4, command: .local, tlvs: tlv(5, [1]), checksum: true, alignment: 64)
        == expected)
    let bytes = try [UInt8](capacity: 16) { output throws in
      #expect(try ProxyV2.encodeLocal(into: &output) == 16)
    }
    #expect(bytes == expected)
  }

  /// A Unix socket beside an IP address fits no family. "when dealing with unsupported protocol
  /// families" the family is UNSPEC, which with PROXY is refused by most, so it is LOCAL.
  @Test func mixedWithUnixIsLocal() throws {
    let expected = signatureV2 + hex("20 00 00 00")
    #expect(try encodeV2("unix:/run/x", "192.168.0.11:443") == expected)
    #expect(try encodeV2("[2001:db8::1]:1", "unix:@x") == expected)
    #expect(try encodeV2(v4, v4, transport: .unspecified) == expected)
  }

  @Test func unixPaths() throws {
    let unnamed = SocketAddress.unix(path: "")
    let abstract = SocketAddress.unix(path: "\0name")
    let header = try encodeV2(unnamed, abstract)
    #expect(
      header
        == headerV2(
          0x21, 0x31,
          Array(repeating: 0, count: 109) + Array("name".utf8)
            + Array(repeating: 0, count: 103)))
    let full = SocketAddress.unix(path: String(repeating: "p", count: 108))
    #expect(try encodeV2(full, unnamed).count == ProxyV2.maximumLengthWithoutTLVs)
    let long = SocketAddress.unix(path: String(repeating: "p", count: 109))
    #expect(throws: ProxyEncodeFault.pathTooLong) { try encodeV2(long, unnamed) }
    #expect(throws: ProxyEncodeFault.pathTooLong) { try encodeV2(unnamed, long) }
  }

  /// TLV-1: TLVs follow the addresses; TLV-6: "after constructing the header the sender MUST [...]
  /// calculate the CRC32c checksum of the PROXY header".
  @Test func checksumComesLast() throws {
    let area = tlv(2, Array("mail.example.com".utf8)) + tlv(5, Array(1...26))
    let header = try encodeV2(v4, SocketAddress("192.168.0.11:443")!, tlvs: area, checksum: true)
    #expect(header == checksummedV2(0x21, 0x11, blockIPv4 + area))
  }

  /// The checksum is of the header alone, not of what was in the buffer before it.
  @Test func checksumBehindOtherBytes() throws {
    let to = SocketAddress("192.168.0.11:443")!
    let bytes = try [UInt8](capacity: 100) { output throws in
      output.append(repeating: 7, count: 5)
      let count = try ProxyV2.encode(source: v4, destination: to, checksum: true, into: &output)
      #expect(count == 35)
    }
    #expect(Array(bytes.dropFirst(5)) == checksummedV2(0x21, 0x11, blockIPv4))
  }

  /// TLV-7: "Can be used for data padding or alignment. Note that it can be used to align only by 3
  /// or more bytes because a TLV can not be smaller than that."
  @Test(arguments: [1, 2, 3, 4, 5, 7, 8, 13, 27, 28, 29, 64, 536], [false, true])
  func padding(alignment: Int, checksum: Bool) throws {
    for count in 0..<10 {
      let area = count < 3 ? [] : tlv(0xe1, Array(repeating: 9, count: count - 3))
      let header = try encodeV2(
        v4, SocketAddress("192.168.0.11:443")!, tlvs: area, checksum: checksum, alignment: alignment
      )
      #expect(header.count % alignment == 0)
      let least = 28 + area.count + (checksum ? 7 : 0)
      #expect(header.count == least || header.count >= least + 3)
      #expect(header.count < least + alignment + 3)
      #expect(decode(header).consumed == header.count)
    }
  }

  @Test(arguments: [0, -8, Int.min, Int.max])
  func alignmentsOfNoUse(alignment: Int) throws {
    #expect(try encodeV2(v4, v4, alignment: alignment).count == 28)
  }

  /// G-4: "Both formats are designed to fit in the smallest TCP segment that any TCP/IP host is
  /// required to support (576 - 40 = 536 bytes)."
  @Test func limits() throws {
    let fitting = tlv(0xe1, Array(repeating: 0, count: 536 - 28 - 3))
    #expect(try encodeV2(v4, v4, tlvs: fitting).count == 536)
    let long = tlv(0xe1, Array(repeating: 0, count: 536 - 28 - 2))
    #expect(throws: ProxyEncodeFault.tooLong(length: 537)) { try encodeV2(v4, v4, tlvs: long) }
    #expect(throws: ProxyEncodeFault.tooLong(length: 543)) {
      try encodeV2(v4, v4, tlvs: fitting, checksum: true)
    }
    #expect(throws: ProxyEncodeFault.tooLong(length: 540)) {
      try encodeV2(v4, v4, tlvs: long, alignment: 4)
    }
    let half = tlv(0xe1, Array(repeating: 0, count: 32758))
    let most = half + tlv(0xe1, Array(repeating: 0, count: 65523 - half.count - 3))
    #expect(try encodeV2(v4, v4, tlvs: most, limit: .max).count == ProxyV2.maximumLength)
    #expect(throws: ProxyEncodeFault.tooLong(length: 65554)) {
      try encodeV2(v4, v4, tlvs: most + tlv(4, []), limit: .max)
    }
  }

  /// G-3: "The sender must always ensure that the header is sent at once". V2-22: "The sender must
  /// ensure that all the protocol header is sent at once." There is never half of one to send.
  @Test func noRoomWritesNothing() throws {
    #expect(try encodeV2(v4, v4, room: 28).count == 28)
    for room in [0, 15, 27] {
      let bytes = [UInt8](capacity: room) { output in
        #expect(throws: ProxyEncodeFault.noRoom(needed: 28)) {
          try ProxyV2.encode(source: v4, destination: v4, into: &output)
        }
      }
      #expect(bytes.isEmpty)
    }
    let bytes = [UInt8](capacity: 15) { output in
      #expect(throws: ProxyEncodeFault.noRoom(needed: 16)) {
        try ProxyV2.encodeLocal(into: &output)
      }
    }
    #expect(bytes.isEmpty)
  }

  /// What a strict receiver refuses is not sent: TLV-1, TLV-8, TLV-9. S-4: the checksum of another
  /// header is not relayed; TLV-6: it is calculated "after constructing the header".
  @Test func unsoundTLVs() {
    #expect(throws: ProxyEncodeFault.badTLVs(Reason(.proxyBadTLV, at: 1))) {
      try encodeV2(v4, v4, tlvs: [1, 0, 9])
    }
    #expect(throws: ProxyEncodeFault.badTLVs(Reason(.proxyBadTLVLength, at: 1))) {
      try encodeV2(v4, v4, tlvs: tlv(5, Array(repeating: 0, count: 129)))
    }
    #expect(throws: ProxyEncodeFault.foreignChecksum) {
      try encodeV2(v4, v4, tlvs: tlv(3, [1, 2, 3, 4]))
    }
  }

  @Test func writingTLVs() throws {
    let inner = try [UInt8](capacity: 100) { area throws in
      try ProxyTLV.append(.sslVersion, Array("TLSv1.3".utf8).span, into: &area)
    }
    let area = try [UInt8](capacity: 100) { area throws in
      try ProxyTLV.append(.uniqueID, [1, 2, 3].span, into: &area)
      try ProxyTLV.append(.noop, Span(), into: &area)
      try ProxyTLV.appendSSL(client: 1, verify: 0x0102_0304, tlvs: inner.span, into: &area)
    }
    #expect(
      area == tlv(5, [1, 2, 3]) + tlv(4, [])
        + tlv(0x20, [1, 1, 2, 3, 4] + tlv(0x21, Array("TLSv1.3".utf8))))
    #expect(try encodeV2(v6, v6, tlvs: area).count == 52 + area.count)
  }

  @Test func tlvsThatDoNotFit() {
    let bytes = [UInt8](capacity: 5) { area in
      #expect(throws: ProxyEncodeFault.noRoom(needed: 6)) {
        try ProxyTLV.append(.alpn, [1, 2, 3].span, into: &area)
      }
      #expect(throws: ProxyEncodeFault.noRoom(needed: 8)) {
        try ProxyTLV.appendSSL(client: 0, verify: 1, tlvs: Span(), into: &area)
      }
    }
    #expect(bytes.isEmpty)
    let long = [UInt8](repeating: 0, count: 65536)
    _ = [UInt8](capacity: 70_000) { area in
      #expect(throws: ProxyEncodeFault.tooLong(length: 65536)) {
        try ProxyTLV.append(.alpn, long.span, into: &area)
      }
    }
  }
}
