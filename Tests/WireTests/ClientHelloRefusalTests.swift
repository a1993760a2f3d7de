import Testing

@testable import Wire

/// What is refused, and where. Quotations are of RFC 8446 unless another is named.
struct ClientHelloRefusalTests {
  /// Plaintext on a TLS port is known by its first byte, before anything is waited for.
  @Test(arguments: ["EHLO client.example\r\n", "GET / HTTP/1.1\r\n", "a1 CAPABILITY", "\r\n", "\0"])
  func plaintext(text: String) {
    #expect(readHello(Array(text.utf8)).reason == Reason(.tlsNotTLS, at: 0))
    #expect(readHello(Array(text.utf8.prefix(1))).reason == Reason(.tlsNotTLS, at: 0))
  }

  @Test func otherThanTLS() {
    #expect(readHello([0x16, 0x02]).reason == Reason(.tlsNotTLS, at: 1))
    #expect(readHello([0x16, 0xfe, 0xff]).reason == Reason(.tlsNotTLS, at: 1))
    // The signature of a PROXY header, a UTF-8 text, a hello of SSL 2 for no version.
    #expect(readHello(signatureV2).reason == Reason(.tlsNotTLS, at: 0))
    #expect(readHello(Array("ÄÖÜ".utf8)).reason == Reason(.tlsNotTLS, at: 0))
    #expect(readHello([0x80, 0x2e, 0x01, 0x04]).reason == Reason(.tlsNotTLS, at: 0))
    #expect(readHello([0x80, 0x2e, 0x01, 0x00, 0x01]).reason == Reason(.tlsNotTLS, at: 0))
  }

  /// RFC 5246 appendix E.2: "uint16 msg_length; uint8 msg_type; Version version"; "The highest bit
  /// MUST be 1", "This field, in conjunction with the version field, identifies a version 2
  /// ClientHello message. The value MUST be 1." RFC 8446 appendix D.5: "NOT RECOMMENDED to accept".
  @Test(arguments: ["802e 01 0301 0015", "8080 01 0303", "ff00 01 0002 0000"])
  func sslv2(text: String) {
    let bytes = hex(text)
    #expect(readHello(bytes).reason == Reason(.tlsSSLv2, at: 0))
    for count in 1..<5 {
      let part = Array(bytes.prefix(count))
      #expect(readHello(part).missing == 5)
      #expect(readHello(part, ended: true).reason == Reason(.tlsTruncated, at: count))
    }
  }

  /// Section 4: "enum { client_hello(1), server_hello(2), [...] } HandshakeType".
  @Test(arguments: [0, 2, 3, 11, 255] as [UInt8])
  func otherMessages(type: UInt8) {
    let reason = Reason(.tlsNotClientHello, at: 5)
    #expect(readHello(record(handshake([1, 2], type: type))).reason == reason)
    // Behind an empty record it is further on.
    #expect(readHello(record([]) + record([type])).reason == Reason(.tlsNotClientHello, at: 10))
  }

  /// Section 5.1: "enum { [...] change_cipher_spec(20), alert(21), handshake(22),
  /// application_data(23) } ContentType".
  @Test(arguments: [20, 21, 23, 24] as [UInt8])
  func otherRecords(type: UInt8) {
    #expect(readHello(record([2, 40], type: type)).reason == Reason(.tlsNotClientHello, at: 0))
    // "If a handshake message is split over two or more records, there MUST NOT be any other
    // records between them."
    let message = HelloBuilder().message
    let between = record(Array(message.prefix(20))) + record([1, 0], type: type)
    #expect(readHello(between).reason == Reason(.tlsBadRecord, at: 25))
  }

  /// Section 5.1: "legacy_record_version: [...] MUST be ignored for all purposes"; any 3.x is.
  @Test func recordVersions() {
    let message = HelloBuilder([serverName("a.example")]).message
    for minor in 0...255 as ClosedRange<UInt16> {
      #expect(readHello(record(message, version: 0x0300 | minor)).value != nil)
    }
    let second = record(Array(message.prefix(9))) + [22, 2]
    #expect(readHello(second).reason == Reason(.tlsBadRecord, at: 15))
  }

  /// Section 5.1: "The length MUST NOT exceed 2^14 bytes. An endpoint that receives a record that
  /// exceeds this length MUST terminate the connection".
  @Test func recordLengths() {
    #expect(readHello([22, 3, 1, 0x40, 0x01]).reason == Reason(.tlsBadRecord, at: 3))
    #expect(readHello([22, 3, 1, 0xff, 0xff]).reason == Reason(.tlsBadRecord, at: 3))
    #expect(readHello([22, 3, 1, 0x40, 0x00]).missing == 5 + 16384)
    let message = HelloBuilder([(35, Array(repeating: 0, count: 20000))]).message
    #expect(readHello(inRecords(message, of: 16384)).value != nil)
    #expect(readHello(inRecords(message, of: 16385)).reason == Reason(.tlsBadRecord, at: 3))
  }

  /// Section 5.1: "Implementations MUST NOT send zero-length fragments of Handshake types". As many
  /// as OpenSSL lets pass do.
  @Test func emptyRecords() {
    let message = HelloBuilder([serverName("a.example")]).message
    for cut in [0, 3, 60] {
      let pieces = [record(Array(message.prefix(cut))), record(Array(message.dropFirst(cut)))]
      let empties = (0..<31).flatMap { _ in record([]) }
      let front = cut == 0 ? empties : pieces[0] + empties
      let allowed = front + record([]) + pieces[1]
      #expect(content(allowed)?.hostName == "a.example")
      let refused = readHello(front + record([]) + record([]) + pieces[1])
      #expect(refused.reason == Reason(.tlsBadRecord, at: front.count + 5 + 3))
    }
  }

  /// Section 5.1: "Because the ClientHello [...] messages can immediately precede a key change,
  /// implementations MUST send these messages in alignment with a record boundary."
  @Test func bytesBehindTheHello() {
    let message = HelloBuilder([serverName("a.example")]).message
    #expect(readHello(record(message + [1])).reason == Reason(.tlsBadRecord, at: 3))
    let last = record(Array(message.prefix(30))) + record(Array(message.dropFirst(30)) + [1])
    #expect(readHello(last).reason == Reason(.tlsBadRecord, at: 35 + 3))
    // Found by the lengths alone, with nothing waited for.
    #expect(readHello(Array(last.prefix(40))).reason == Reason(.tlsBadRecord, at: 35 + 3))
    // Another record is the server's to judge.
    #expect(readHello(record(message) + [0xff, 0]).consumed == message.count + 5)
  }

  /// The limit is held against the length as soon as that is there.
  @Test func lengthLimit() throws {
    var ticket = Array(repeating: UInt8(0), count: 60000)
    let rest = ClientHello.defaultLimit - HelloBuilder([(35, ticket), (51, [])]).message.count
    let builder = HelloBuilder([(35, ticket), (51, Array(repeating: 0, count: rest))])
    #expect(builder.message.count == 65536)
    #expect(readHello(builder.bytes).consumed == 65536 + 4 * 5)
    #expect(inRecords(builder.message, of: 16).count == ClientHello.maximumLength)
    #expect(readHello(inRecords(builder.message, of: 16)).value != nil)
    ticket = [22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xfd]
    #expect(readHello(ticket).reason == Reason(.tlsTooLong, at: 8))
    ticket[6...8] = [0xff, 0xff, 0xff]
    #expect(readHello(ticket).reason == Reason(.tlsTooLong, at: 8))

    let bytes = HelloBuilder().bytes
    let length = bytes.count - 5
    let taken = ClientHello.decode(bytes.span, limit: length)
    #expect(taken.value != nil)
    let refused = ClientHello.decode(bytes.span, limit: length - 1)
    #expect(refused.reason == Reason(.tlsTooLong, at: 8))
  }

  @Test func recordCountLimit() throws {
    let empty = HelloBuilder([(35, [])])
    let ticket = Array(repeating: UInt8(1), count: ClientHello.recordLimit - empty.message.count)
    let longest = HelloBuilder([(35, ticket)]).message
    #expect(longest.count == 4096)
    #expect(readHello(inRecords(longest, of: 1)).consumed == 4096 * 6)
    let longer = HelloBuilder([(35, ticket + [1])]).message
    #expect(readHello(inRecords(longer, of: 1)).reason == Reason(.tlsTooLong, at: 4096 * 6))
  }

  /// The end inside a hello, the end before one.
  @Test func truncated() {
    let bytes = CapturedHello.opensslTLS13
    for count in 0..<bytes.count {
      let result = readHello(Array(bytes.prefix(count)), ended: true)
      #expect(result.reason == Reason(.tlsTruncated, at: count))
    }
    #expect(readHello(bytes, ended: true) == readHello(bytes))
    #expect(readHello([0x47], ended: true).reason == Reason(.tlsNotTLS, at: 0))
  }

  /// Section 4.1.2: "opaque legacy_session_id<0..32>; CipherSuite cipher_suites<2..2^16-2>; opaque
  /// legacy_compression_methods<1..2^8-1>". No version below that of SSL 3 ever had this form.
  @Test func fields() {
    func refusal(_ change: (inout HelloBuilder) -> Void) -> Reason? {
      var builder = HelloBuilder()
      change(&builder)
      return readHello(builder.bytes).reason
    }
    #expect(refusal { $0.version = 0x02ff } == Reason(.tlsBadHello, at: 9))
    let at = 9 + 2 + 32
    #expect(refusal { $0.sessionID = Array(repeating: 1, count: 32) } == nil)
    #expect(
      refusal { $0.sessionID = Array(repeating: 1, count: 33) } == Reason(.tlsBadHello, at: at))
    #expect(refusal { $0.suites = [] } == Reason(.tlsBadHello, at: at + 33))
    #expect(refusal { $0.compressions = [] } == Reason(.tlsBadHello, at: at + 33 + 8))
  }

  /// Section 6: "Peers which receive a message which cannot be parsed according to the syntax
  /// (e.g., have a length extending beyond the message boundary [...]) MUST terminate the
  /// connection": the body cut off after each of its bytes, with a length that says so.
  @Test func shortBodies() {
    let builder = HelloBuilder([serverName("a.example")])
    let body = Array(builder.message.dropFirst(4))
    let bare = HelloBuilder(nil).message.count - 4
    for count in body.indices {
      let reason = readHello(record(handshake(Array(body.prefix(count))))).reason
      #expect(reason?.code == (count == bare ? nil : .tlsBadHello), "\(count) bytes")
    }
    let behind = readHello(record(handshake(body + [0])))
    #expect(behind.reason == Reason(.tlsBadHello, at: 9 + body.count))
    // An odd number of bytes of cipher suites.
    var odd = HelloBuilder().message
    odd[4 + 2 + 32 + 33 + 1] -= 1
    #expect(readHello(record(odd)).reason == Reason(.tlsBadHello, at: 9 + 2 + 32 + 33))
  }

  /// Section 4.2: "struct { ExtensionType extension_type; opaque extension_data<0..2^16-1>; }
  /// Extension", one after the other to the end of the list.
  @Test(arguments: ["00", "0017", "001700", "00170001", "0017 0002 00", "0017 ffff 00"])
  func extensionPastTheEnd(text: String) {
    var builder = HelloBuilder([])
    let at = builder.firstExtension
    let body = HelloBuilder(nil).message.dropFirst(4)
    let bytes = record(handshake(body + vector([0, 22, 0, 0] + hex(text))))
    let offset = at + 4 + (hex(text).count < 2 ? 0 : 2)
    #expect(readHello(bytes).reason == Reason(.tlsBadExtension, at: offset))
    builder.extensions = [(22, []), (23, [])]
    #expect(readHello(builder.bytes).value != nil)
  }

  /// Section 4.2: "There MUST NOT be more than one extension of the same type in a given extension
  /// block."
  @Test(arguments: [0, 16, 43, 23, 0x0a0a, 0xfe0d, 0xffff] as [UInt16])
  func duplicates(type: UInt16) {
    let whole: [UInt16: HelloExtension] = [
      0: serverName("a.example"), 16: protocols(["h2"]), 43: versions([0x0304]),
    ]
    let one = whole[type] ?? (type, [])
    let builder = HelloBuilder([(1, []), one, (2, []), one])
    let second = builder.firstExtension + 4 + 4 + one.content.count + 4
    #expect(readHello(builder.bytes).reason == Reason(.tlsDuplicateExtension, at: second))
    #expect(readHello(HelloBuilder([(1, []), one, (2, [])]).bytes).value != nil)
  }

  /// As many as fit, all different: no limit of ours, no time of its own for each.
  @Test func manyExtensions() {
    let types = (0..<16_000).map { UInt16(100 + $0) }
    let builder = HelloBuilder(types.map { ($0, []) } + [serverName("last.example")])
    #expect(content(builder.bytes)?.hostName == "last.example")
    let again = HelloBuilder((types + [types[0]]).map { ($0, []) }).bytes
    #expect(readHello(again).reason?.code == .tlsDuplicateExtension)
  }

  /// RFC 6066 section 3: "ServerName server_name_list<1..2^16-1>"; "The ServerNameList MUST NOT
  /// contain more than one name of the same name_type."
  @Test(arguments: [
    ("", 0), ("0000", 0), ("0005 00 0001 61", 0), ("0001 00", 3), ("0003 00 0001", 3),
    ("0004 00 0002 61", 3), ("0004 00 0001 61 00", 6), ("0008 00 0001 61 00 0001 62", 6),
    ("0005 00 0001 61 00", 7),
  ])
  func badServerNames(text: String, offset: Int) {
    expectBadExtension((0, hex(text)), at: offset)
  }

  /// RFC 7301 section 3.1: "ProtocolName protocol_name_list<2..2^16-1>", "opaque
  /// ProtocolName<1..2^8-1>": "Empty strings MUST NOT be included and byte strings MUST NOT be
  /// truncated."
  @Test(arguments: [
    ("", 0), ("0000", 0), ("0001 01", 0), ("0003 02 68", 0), ("0002 00 00", 2),
    ("0003 02 6832 00", 5), ("0003 03 6832", 2), ("0004 02 6832 01", 5), ("0005 02 6832 00 01", 5),
  ])
  func badProtocols(text: String, offset: Int) {
    expectBadExtension((16, hex(text)), at: offset)
  }

  /// Section 4.2.1: "ProtocolVersion versions<2..254>".
  @Test(arguments: [
    ("", 0), ("00", 0), ("01 03", 0), ("03 0304 03", 0), ("04 0304", 0), ("02 0304 00", 3),
  ])
  func badVersions(text: String, offset: Int) {
    expectBadExtension((43, hex(text)), at: offset)
  }

  /// `offset` counts from the content of the extension.
  private func expectBadExtension(_ content: HelloExtension, at offset: Int) {
    let builder = HelloBuilder([(23, []), content, (22, [])])
    let expected = Reason(.tlsBadExtension, at: builder.firstExtension + 8 + offset)
    #expect(readHello(builder.bytes).reason == expected)
  }
}
