import Testing

@testable import Wire

/// Version 1. The quotations are of section 2.1 of haproxy's doc/proxy-protocol.txt; the ids in
/// front of them number its rules.
struct ProxyV1DecodeTests {
  static let tcp4 = "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"

  /// The specification's own example.
  @Test func theExample() {
    let endpoints = ProxyHeader.Endpoints.ip(
      source: SocketAddress("192.168.0.1:56324")!, destination: SocketAddress("192.168.0.11:443")!)
    let result = decode(Self.tcp4 + "GET / HTTP/1.1\r\n")
    #expect(result.value?.endpoints == endpoints)
    #expect(result.value?.version == .v1)
    #expect(result.value?.command == .proxy)
    #expect(result.value?.transport == .stream)
    #expect(result.value?.tlvs.isEmpty == true)
    #expect(result.consumed == Self.tcp4.utf8.count)
    #expect(result.value?.streamAddresses?.source == SocketAddress("192.168.0.1:56324"))
  }

  /// V1-1: "a string identifying the protocol : "PROXY" ( \x50 \x52 \x4F \x58 \x59 )".
  @Test(arguments: [
    ("proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", 0), ("PROXy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", 4),
    ("EHLO a\r\n", 0), ("PRO", nil), (" PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", 0),
    ("PUT / HTTP/1.1\r\n", 1),
  ])
  func otherBeginnings(text: String, offset: Int?) {
    #expect(decode(text).reason == offset.map { Reason(.proxyBadSignature, at: $0) })
  }

  /// V1-2: "exactly one space", five times. V1-3: "one line of US-ASCII text matching exactly the
  /// following block". V1-16: "Any sequence which does not exactly match the protocol must be
  /// discarded and cause the receiver to abort the connection."
  @Test(arguments: [
    ("PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", Reason.Code.proxyBadProtocol, 6),
    ("PROXY\tTCP4 1.1.1.1 2.2.2.2 1 2\r\n", .proxyBadFields, 5),
    ("PROXYTCP4 1.1.1.1 2.2.2.2 1 2\r\n", .proxyBadFields, 5),
    ("PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n", .proxyBadFields, 11),
    ("PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n", .proxyBadFields, 19),
    ("PROXY TCP4 1.1.1.1 2.2.2.2  1 2\r\n", .proxyBadFields, 27),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 1  2\r\n", .proxyBadFields, 29),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", .proxyBadFields, 30),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", .proxyBadFields, 30),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", .proxyBadFields, 28),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 1 \r\n", .proxyBadFields, 29),
    ("PROXY TCP4 1.1.1.1 2.2.2.2\r\n", .proxyBadFields, 26),
    ("PROXY TCP4 1.1.1.1\r\n", .proxyBadFields, 18),
    ("PROXY TCP4 \r\n", .proxyBadFields, 11),
    ("PROXY TCP4\r\n", .proxyBadFields, 10),
    ("PROXY \r\n", .proxyBadProtocol, 6),
    ("PROXY\r\n", .proxyBadFields, 5),
    ("PROXY TCP4\t1.1.1.1 2.2.2.2 1 2\r\n", .proxyBadFields, 10),
    ("PROXY TCP4 1.1.1.1\t2.2.2.2 1 2\r\n", .proxyBadAddress, 18),
    ("PROXY TCP4 1.1.1.\u{661} 2.2.2.2 1 2\r\n", .proxyBadAddress, 17),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\0\r\n", .proxyBadPort, 30),
  ])
  func otherShapes(text: String, code: Reason.Code, offset: Int) {
    #expect(decode(text).reason == Reason(code, at: offset))
  }

  /// V1-4: "only "TCP4" [...] and "TCP6" [...] are allowed. Other, unsupported, or unknown
  /// protocols must be reported with the name "UNKNOWN"".
  @Test(arguments: [
    ("tcp4", 6), ("Tcp4", 7), ("TCP", 9), ("TCP5", 9), ("UDP4", 7), ("UNIX", 8), ("unknown", 6),
    ("Unknown", 7), ("UNKNOW ", 12), ("TC", 8),
  ])
  func otherProtocols(name: String, offset: Int) {
    let result = decode("PROXY \(name) 1.1.1.1 2.2.2.2 1 2\r\n")
    #expect(result.reason == Reason(.proxyBadProtocol, at: offset))
  }

  /// V1-5: "For "UNKNOWN", the rest of the line before the CRLF may be omitted by the sender";
  /// V1-6: "and the receiver must ignore anything presented before the CRLF is found", and "SHOULD
  /// accept the connection and use the real connection's parameters as if there were no PROXY
  /// protocol header on the wire".
  @Test(arguments: [
    "PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "PROXY UNKNOWN \r\n",
    "PROXY UNKNOWN 1.1.1.1 2.2.2.2 99999 x\r\n", "PROXY UNKNOWN \u{e9}\0 any  thing\r\n",
  ])
  func unknown(text: String) {
    let result = decode(text + "PROXY ")
    #expect(result.value?.endpoints == ProxyHeader.Endpoints.none)
    #expect(result.value?.streamAddresses == nil)
    #expect(result.consumed == text.utf8.count)
  }

  /// V1-7: "a series of exactly 4 integers in the range [0..255] inclusive written in decimal
  /// representation separated by exactly one dot between each other". V1-8: "Heading zeroes are not
  /// permitted in front of numbers". "The advertised protocol family dictates what format to use."
  @Test(arguments: [
    ("256.1.1.1", 2), ("1.1.1.299", 8), ("1.1.1", 5), ("1.1.1.1.1", 7), ("1..1.1", 2),
    (".1.1.1.1", 0),
    ("1.1.1.", 6), ("01.1.1.1", 1), ("1.1.1.00", 7), ("1.1.1.0x1", 7), ("-1.1.1.1", 0), ("::1", 0),
    ("::ffff:1.1.1.1", 0), ("1.1.1.1:25", 7), ("localhost", 0), ("16843009", 3),
  ])
  func otherIPv4(text: String, offset: Int) {
    let source = decode("PROXY TCP4 \(text) 2.2.2.2 1 2\r\n")
    #expect(source.reason == Reason(.proxyBadAddress, at: 11 + offset))
    let destination = decode("PROXY TCP4 2.2.2.2 \(text) 1 2\r\n")
    #expect(destination.reason == Reason(.proxyBadAddress, at: 19 + offset))
  }

  /// V1-7: "a series of sets of 4 hexadecimal digits (upper or lower case) delimited by colons
  /// between each other, with the acceptance of one double colon sequence [...]. The total number
  /// of decoded bits must exactly be 128."
  @Test(arguments: [
    ("1.1.1.1", 1), ("1::2::3", 5), (":::", 2), ("12345::", 4), ("1:2:3:4:5:6:7", 13),
    ("1:2:3:4:5:6:7:8:9", 16), ("g::1", 0), ("[::1]", 0), ("::1%lo", 3), ("::1%1", 3), (":1", 0),
    ("1:", 2), ("1:2:3:4:5:6:7:8::", 17),
  ])
  func otherIPv6(text: String, offset: Int) {
    let source = decode("PROXY TCP6 \(text) ::2 1 2\r\n")
    #expect(source.reason == Reason(.proxyBadAddress, at: 11 + offset))
    let destination = decode("PROXY TCP6 ::2 \(text) 1 2\r\n")
    #expect(destination.reason == Reason(.proxyBadAddress, at: 15 + offset))
  }

  @Test(arguments: [
    "::", "::1", "ABCD::ef01", "2001:0db8:0000:0000:0000:0000:0000:0001", "1:2:3:4:5:6:7:8",
    "1::", "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4",
  ])
  func formsOfIPv6(text: String) {
    let address = SocketAddress(host: text, port: 7)!
    let result = decode("PROXY TCP6 \(text) \(text) 7 7\r\n")
    #expect(result.value?.endpoints == .ip(source: address, destination: address))
  }

  /// V1-9: "a decimal integer in the range [0..65535] inclusive"; V1-8: "Heading zeroes are not
  /// permitted in front of numbers in order to avoid any possible confusion with octal numbers."
  @Test(arguments: [
    ("65536", 4), ("80000", 4), ("99999999999999999999", 4), ("+1", 0), ("-1", 0), ("01", 1),
    ("00", 1), ("0x1", 1), ("1.0", 1), ("http", 0),
  ])
  func otherPorts(text: String, offset: Int) {
    let source = decode("PROXY TCP4 1.1.1.1 2.2.2.2 \(text) 2\r\n")
    #expect(source.reason == Reason(.proxyBadPort, at: 27 + offset))
    let destination = decode("PROXY TCP4 1.1.1.1 2.2.2.2 2 \(text)\r\n")
    #expect(destination.reason == Reason(.proxyBadPort, at: 29 + offset))
  }

  @Test func portsAtTheEndsOfTheirRange() {
    let result = decode("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n")
    let endpoints = ProxyHeader.Endpoints.ip(
      source: .ipv4(0, port: 0), destination: .ipv4(.max, port: 65535))
    #expect(result.value?.endpoints == endpoints)
  }

  /// V1-10: "the CRLF sequence ( \x0D \x0A )". V1-14: "The receiver must not tolerate a single CR
  /// or LF character to end the line when a complete CRLF sequence is expected."
  @Test(arguments: [
    ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", 30), ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\rX", 31),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n", 31), ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n\r", 30),
    ("PROXY TCP4 1.1.1.1\r2.2.2.2 1 2\r\n", 19), ("PROXY UNKNOWN\n", 13),
    ("PROXY UNKNOWN\rX\r\n", 14), ("PROXY UNKNOWN a\nb\r\n", 15),
  ])
  func otherLineEnds(text: String, offset: Int) {
    #expect(decode(text).reason == Reason(.proxyBadLineEnd, at: offset))
  }

  /// V1-11: "The maximum line lengths the receiver must support including the CRLF": 56, 104, 15
  /// and 107 characters.
  @Test(arguments: [
    ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", 56),
    (
      "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        + " ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", 104
    ),
    ("PROXY UNKNOWN\r\n", 15),
    (
      "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        + " ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", 107
    ),
  ])
  func longestLines(text: String, length: Int) {
    #expect(text.utf8.count == length)
    #expect(decode(text).consumed == length)
  }

  /// What is asked for is never more than the shortest line needs.
  @Test(arguments: [
    "PROXY UNKNOWN\r\n", "PROXY TCP6 :: :: 0 0\r\n", "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
  ])
  func shortestLines(text: String) throws {
    let line = Array(text.utf8)
    var asked = 0
    for count in line.indices {
      let missing = try #require(decode(Array(line.prefix(count))).missing)
      #expect(missing > count && missing <= line.count && missing >= asked)
      asked = missing
    }
    #expect(asked == line.count)
    #expect(decode(line).consumed == line.count)
  }

  /// V1-12: "The receiver must wait for the CRLF sequence before starting to decode the addresses
  /// in order to ensure they are complete and properly parsed."
  @Test func addressesWaitForTheEndOfTheLine() {
    #expect(decode("PROXY TCP4 999.1.1.1 nonsense").missing != nil)
    #expect(decode("PROXY TCP4 999.1.1.1 nonsense\r").missing != nil)
    #expect(decode("PROXY TCP4 999.1.1.1 nonsense\r\n").reason == Reason(.proxyBadAddress, at: 13))
  }

  /// V1-13: "If the CRLF sequence is not found in the first 107 characters, the receiver should
  /// declare the line invalid."
  @Test func noLineEndIn107Bytes() {
    let line = "PROXY UNKNOWN " + String(repeating: "x", count: 200)
    #expect(decode(String(line.prefix(106))).missing == 107)
    #expect(decode(String(line.prefix(107))).reason == Reason(.proxyTooLong, at: 107))
    #expect(decode(String(line.prefix(106)) + "\r\n").reason == Reason(.proxyTooLong, at: 107))
    #expect(decode(String(line.prefix(106)) + "\r").reason == Reason(.proxyTooLong, at: 107))
    #expect(decode(String(line.prefix(105)) + "\r\n").consumed == 107)
    let zeroes = "PROXY TCP6 " + String(repeating: "0", count: 200)
    #expect(decode(zeroes).reason == Reason(.proxyTooLong, at: 107))
  }

  /// V2-19, which binds both versions: "The receiver must also reject incoming connections
  /// containing partial protocol headers."
  @Test func endOfStream() {
    #expect(
      decode(Array("PROXY TCP4 1.1".utf8), ended: true).reason == Reason(.proxyTruncated, at: 14))
    #expect(decode(Array("P".utf8), ended: true).reason == Reason(.proxyTruncated, at: 1))
    #expect(decode([], ended: true).reason == Reason(.proxyProbe, at: 0))
    #expect(decode(Array(Self.tcp4.utf8), ended: true).consumed == Self.tcp4.utf8.count)
    #expect(decode(Array("QUIT".utf8), ended: true).reason == Reason(.proxyBadSignature, at: 0))
  }
}

struct ProxyV1EncodeTests {
  @Test(arguments: [
    ("192.168.0.1:56324", "192.168.0.11:443", "TCP4 192.168.0.1 192.168.0.11 56324 443"),
    ("[2001:db8::1]:56324", "[2001:db8::2]:25", "TCP6 2001:db8::1 2001:db8::2 56324 25"),
    // The zone is an interface of ours; it says nothing to anyone else, and the form has none.
    ("[fe80::1%2]:1", "[fe80::2%2]:0", "TCP6 fe80::1 fe80::2 1 0"),
    // Both mapped: an IPv4 connection through a dual-stack socket.
    ("[::ffff:1.2.3.4]:1", "[::ffff:5.6.7.8]:2", "TCP4 1.2.3.4 5.6.7.8 1 2"),
    ("[::ffff:1.2.3.4]:1", "5.6.7.8:2", "TCP4 1.2.3.4 5.6.7.8 1 2"),
    // V1-7: "It is the same format as the layer 3 source address and matches the same family."
    ("1.2.3.4:1", "[2001:db8::2]:2", "TCP6 ::ffff:1.2.3.4 2001:db8::2 1 2"),
    ("[2001:db8::1]:1", "127.0.0.1:2", "TCP6 2001:db8::1 ::ffff:127.0.0.1 1 2"),
    ("[::ffff:1.2.3.4]:1", "[2001:db8::2]:2", "TCP6 ::ffff:1.2.3.4 2001:db8::2 1 2"),
  ])
  func lines(source: String, destination: String, line: String) throws {
    #expect(try encodeV1(source, destination) == "PROXY \(line)\r\n")
  }

  /// V1-5: "senders SHOULD not use the "UNKNOWN" protocol when they are the initiators of outgoing
  /// connections because some receivers may reject them".
  @Test func unixSocketsAreTheCallersToDecide() {
    #expect(throws: ProxyEncodeFault.notIP) { try encodeV1("unix:/a", "unix:/b") }
    #expect(throws: ProxyEncodeFault.notIP) { try encodeV1("1.2.3.4:1", "unix:/b") }
    #expect(throws: ProxyEncodeFault.notIP) { try encodeV1("unix:/a", "1.2.3.4:1") }
  }

  /// V1-17: "the line is always shorter than an MSS".
  @Test func theLongestLine() throws {
    let address = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
    #expect(try encodeV1(address, address).utf8.count == 104)
  }

  /// G-3: "The sender must always ensure that the header is sent at once": it is whole or absent.
  @Test func noRoomWritesNothing() {
    let address = SocketAddress("1.2.3.4:5")!
    let bytes = [UInt8](capacity: ProxyV1.maximumLength - 1) { output in
      #expect(throws: ProxyEncodeFault.noRoom(needed: 107)) {
        try ProxyV1.encode(source: address, destination: address, into: &output)
      }
    }
    #expect(bytes.isEmpty)
  }

  @Test func appendsToWhatIsThere() throws {
    let address = SocketAddress("1.2.3.4:5")!
    let bytes = try [UInt8](capacity: 200) { output throws in
      output.append(7)
      let count = try ProxyV1.encode(source: address, destination: address, into: &output)
      #expect(count == output.count - 1)
    }
    #expect(bytes == [7] + Array("PROXY TCP4 1.2.3.4 1.2.3.4 5 5\r\n".utf8))
  }
}
