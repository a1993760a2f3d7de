import Testing

@testable import Wire

/// Version 2 as a receiver. The quotations are of section 2.2 of haproxy's doc/proxy-protocol.txt;
/// the ids in front of them number its rules.
struct ProxyV2DecodeTests {
  /// V2-1: "The binary header format starts with a constant 12 bytes block containing the protocol
  /// signature"; "this block contains a null byte at the 5th position".
  @Test func signature() {
    #expect(signatureV2[4] == 0)
    #expect(decode(headerV2(0x20, 0, [])).consumed == 16)
    for index in 0..<12 {
      var header = headerV2(0x20, 0, [])
      header[index] ^= 0x20
      #expect(decode(header).reason == Reason(.proxyBadSignature, at: index))
    }
  }

  /// V2-2: "if the incoming byte count is 16 or above and the 13 first bytes match the protocol
  /// signature block followed by the protocol version 2", else `PROXY`, "otherwise the protocol is
  /// not covered by this specification and the connection must be dropped." G-2: "Version 2
  /// receivers MUST at least implement the binary header format, and it is recommended that they
  /// also implement the human-readable header format".
  @Test func versionsAreToldApart() {
    #expect(decode(headerV2(0x21, 0x11, blockIPv4)).value?.version == .v2)
    #expect(decode(ProxyV1DecodeTests.tcp4).value?.version == .v1)
    #expect(decode("220 mail ESMTP\r\n").reason == Reason(.proxyBadSignature, at: 0))
    #expect(decode(hex("16 03 01 02 00")).reason == Reason(.proxyBadSignature, at: 0))
    #expect(decode("\r\n\r\nGET").reason == Reason(.proxyBadSignature, at: 4))
  }

  /// V2-3: "it must always be sent as \x2 and the receiver must only accept this value."
  @Test(arguments: 0...15) func otherVersions(version: UInt8) {
    let result = decode(headerV2(version << 4 | 1, 0x11, blockIPv4))
    #expect(result.reason == (version == 2 ? nil : Reason(.proxyBadVersion, at: 12)))
  }

  /// V2-4: "The receiver must accept this connection as valid and must use the real connection
  /// endpoints and discard the protocol block including the family which is ignored."
  @Test(arguments: [
    headerV2(0x20, 0x00, []), headerV2(0x20, 0x11, blockIPv4), headerV2(0x20, 0x21, blockIPv6),
    headerV2(0x20, 0x31, blockUnix), headerV2(0x20, 0x00, blockIPv4), headerV2(0x20, 0x11, []),
    headerV2(0x20, 0x41, blockIPv4), headerV2(0x20, 0x13, blockIPv4), headerV2(0x20, 0xff, []),
    headerV2(0x20, 0x11, blockIPv4 + [9, 9]),
  ])
  func local(bytes: [UInt8]) {
    let result = decode(bytes + [1, 2, 3])
    #expect(result.value?.command == .local)
    #expect(result.value?.endpoints == ProxyHeader.Endpoints.none)
    #expect(result.value?.transport == .unspecified)
    #expect(result.value?.streamAddresses == nil)
    #expect(result.value?.tlvs.isEmpty == true)
    // V2-17: "must not assume zero is presented for LOCAL connections."
    #expect(result.consumed == bytes.count)
  }

  @Test func localMayCarryTLVs() {
    let bytes = headerV2(0x20, 0, tlv(5, [1, 2]))
    #expect(decode(bytes).value?.tlvs == 16..<21)
    let behindAddresses = headerV2(0x20, 0x11, blockIPv4 + tlv(5, [1, 2]))
    #expect(decode(behindAddresses).value?.tlvs == 28..<33)
  }

  /// V2-5: "The receiver must then use the information provided in the protocol block". V2-9: "The
  /// addresses are exactly 4 bytes each", "exactly 16 bytes each", "exactly 108 bytes each". V2-10:
  /// source, destination, source port, destination port, "in network byte order". V2-13: STREAM and
  /// DGRAM, both with ports.
  @Test(arguments: [(UInt8(1), ProxyHeader.Transport.stream), (2, .datagram)])
  func proxy(low: UInt8, transport: ProxyHeader.Transport) {
    let v4 = decode(headerV2(0x21, 0x10 | low, blockIPv4))
    let endpoints4 = ProxyHeader.Endpoints.ip(
      source: SocketAddress("192.168.0.1:56324")!, destination: SocketAddress("192.168.0.11:443")!)
    #expect(v4.value?.endpoints == endpoints4)
    #expect(v4.consumed == 28)
    let v6 = decode(headerV2(0x21, 0x20 | low, blockIPv6))
    let endpoints6 = ProxyHeader.Endpoints.ip(
      source: SocketAddress("[2001:db8::1]:56324")!,
      destination: SocketAddress("[2001:db8::2]:443")!)
    #expect(v6.value?.endpoints == endpoints6)
    #expect(v6.consumed == 52)
    let unix = decode(headerV2(0x21, 0x30 | low, blockUnix))
    #expect(unix.value?.endpoints == .unix(source: 16..<25, destination: 124..<131))
    #expect(unix.consumed == 232)
    for result in [v4, v6, unix] {
      #expect(result.value?.transport == transport)
      #expect(result.value?.command == .proxy)
      #expect(result.value?.tlvs.isEmpty == true)
    }
    // V2-20: a receiver "automatically falls back to the UNSPEC mode for the valid combinations
    // above that it does not support": on a stream listener, datagrams and Unix sockets.
    #expect((v4.value?.streamAddresses != nil) == (transport == .stream))
    #expect(unix.value?.streamAddresses == nil)
  }

  @Test func unixPaths() {
    let full = Array(repeating: UInt8(ascii: "p"), count: 108)
    let abstract = [0] + Array("name".utf8) + Array(repeating: 0, count: 103)
    let unnamed = Array(repeating: UInt8(0), count: 108)
    // What an uninitialised buffer leaves behind the NUL is not of the path.
    let dirty = Array("/x".utf8) + [0] + Array(repeating: 0x5a, count: 105)
    #expect(
      decode(headerV2(0x21, 0x31, full + abstract)).value?.endpoints
        == .unix(source: 16..<124, destination: 124..<129))
    #expect(
      decode(headerV2(0x21, 0x31, unnamed + dirty)).value?.endpoints
        == .unix(source: 16..<16, destination: 124..<126))
  }

  /// V2-6: "other values are unassigned and must not be emitted by senders. Receivers must drop
  /// connections presenting unexpected values here."
  @Test(arguments: 2...15) func otherCommands(command: UInt8) {
    let result = decode(headerV2(0x20 | command, 0x11, blockIPv4))
    #expect(result.reason == Reason(.proxyBadCommand, at: 12))
  }

  /// V2-8 and V2-12: "The receiver is free to accept the connection anyway and use the real
  /// endpoint addresses or to reject it. The receiver should ignore address information."
  @Test(arguments: [
    headerV2(0x21, 0x00, []), headerV2(0x21, 0x01, blockIPv4), headerV2(0x21, 0x02, []),
    headerV2(0x21, 0x10, blockIPv4), headerV2(0x21, 0x20, blockIPv6),
    headerV2(0x21, 0x30, blockUnix),
    headerV2(0x21, 0x00, blockIPv6),
  ])
  func unspecified(bytes: [UInt8]) {
    let result = decode(bytes)
    #expect(result.value?.command == .proxy)
    #expect(result.value?.endpoints == ProxyHeader.Endpoints.none)
    #expect(result.value?.streamAddresses == nil)
    #expect(result.consumed == bytes.count)
  }

  /// V2-11: "other values are unspecified and must not be emitted in version 2 of this protocol and
  /// must be rejected as invalid by receivers."
  @Test(arguments: 4...15) func otherFamilies(family: UInt8) {
    let result = decode(headerV2(0x21, family << 4 | 1, blockIPv6))
    #expect(result.reason == Reason(.proxyBadFamily, at: 13))
  }

  /// V2-15: the same sentence, of the transport protocol.
  @Test(arguments: 3...15) func otherTransports(transport: UInt8) {
    let result = decode(headerV2(0x21, 0x10 | transport, blockIPv4))
    #expect(result.reason == Reason(.proxyBadTransport, at: 13))
  }

  /// V2-16: "the length of the protocol header in bytes is always exactly 16 + this value". V2-17:
  /// "Receivers MUST always consider this field to skip the appropriate number of bytes".
  @Test func lengthIsHonoured() {
    let block = blockIPv4 + tlv(4, Array(repeating: 0, count: 300))
    let result = decode(headerV2(0x21, 0x11, block) + blockIPv4)
    #expect(result.consumed == 16 + 12 + 303)
    #expect(decode(headerV2(0x20, 0, block)).consumed == 16 + 12 + 303)
  }

  /// V2-18: an announced length below that of the family's address block, "exactly" as long as V2-9
  /// says, leaves addresses out.
  @Test(arguments: [
    (UInt8(0x11), 11), (0x11, 0), (0x12, 11), (0x21, 35), (0x21, 12), (0x22, 0), (0x31, 215),
    (0x32, 36), (0x10, 11),
  ])
  func shortBlocks(family: UInt8, length: Int) {
    let result = decode(headerV2(0x21, family, Array(repeating: 1, count: 216), length: length))
    #expect(result.reason == Reason(.proxyBadLength, at: 14))
  }

  /// V2-19: "The receiver must not start to parse an address before the whole address block is
  /// received. The receiver must also reject incoming connections containing partial protocol
  /// headers."
  @Test func partialHeaders() {
    let header = headerV2(0x21, 0x11, blockIPv4 + tlv(1, Array("h2".utf8)))
    for count in 0..<header.count {
      let part = Array(header.prefix(count))
      #expect(decode(part).missing == (count == 0 ? 15 : count < 16 ? 16 : header.count))
      let reason = Reason(count == 0 ? .proxyProbe : .proxyTruncated, at: count)
      #expect(decode(part, ended: true).reason == reason)
    }
  }

  /// S-3: after one header the bytes are the client's, whatever they look like. Section 5:
  /// "Implementers should be very careful about not trying to automatically detect whether they
  /// have to decode the header or not".
  @Test func aSecondHeaderIsPayload() {
    let binary = headerV2(0x21, 0x11, blockIPv4)
    let line = Array(ProxyV1DecodeTests.tcp4.utf8)
    for first in [binary, line] {
      let alone = decode(first)
      for second in [binary, line] { #expect(decode(first + second) == alone) }
    }
  }

  /// The limit is held against the length field, so that no more than 16 bytes are held for it.
  @Test func limits() {
    let prefix = Array(headerV2(0x21, 0x11, [], length: 4081).prefix(16))
    #expect(decode(prefix).reason == Reason(.proxyTooLong, at: 14))
    #expect(decode(Array(headerV2(0x21, 0x11, [], length: 4080).prefix(16))).missing == 4096)
    let longest = headerV2(0x20, 0, [], length: 65535)
    let taken = ProxyHeader.decode(longest.span, v2Limit: 65551)
    #expect(taken.missing == 65551)
    let refused = ProxyHeader.decode(longest.span, v2Limit: 65550)
    #expect(refused.reason == Reason(.proxyTooLong, at: 14))
  }
}
