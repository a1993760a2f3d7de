import Testing
import Wire

@testable import Control

/// `sluice decode-proxy`: what a header says, field by field, or where it stops being one.
@Suite struct DecodeProxyTests {
  private func decode(_ text: String) throws -> DecodeProxy {
    DecodeProxy(try DecodeProxy.bytes(of: Array(text.utf8)))
  }

  private let signature = "0d0a0d0a000d0a515549540a"
  private let addresses = "c0a80001c0a8000bdc0401bb"

  private func value(_ name: String, of decoded: DecodeProxy) -> String? {
    decoded.fields.first { $0.name == name }?.value
  }

  // MARK: Input

  @Test(arguments: [
    "0d0a0d0a000d0a515549540a 2111000c c0a80001c0a8000bdc0401bb",
    "0D:0A:0D:0A:00:0D:0A:51:55:49:54:0A:21:11:00:0C:C0:A8:00:01:C0:A8:00:0B:DC:04:01:BB\n",
    "  0d0a 0d0a\t000d\r\n0a51 5549 540a 2111\n000c c0a8 0001 c0a8 000b dc04 01bb",
  ]) func hexadecimalInput(text: String) throws {
    let decoded = try decode(text)
    #expect(decoded.isValid && decoded.length == 28)
    #expect(value("source", of: decoded) == "192.168.0.1")
    #expect(value("destination port", of: decoded) == "443")
  }

  @Test func bytesAreToldFromHexadecimal() throws {
    let header = try DecodeProxy.bytes(of: Array((signature + "2111000c" + addresses).utf8))
    #expect(try DecodeProxy.bytes(of: header) == header)
    let line = Array("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n".utf8)
    #expect(try DecodeProxy.bytes(of: line) == line)
    // The first bytes of a version 2 header are white space, and still bytes.
    #expect(try DecodeProxy.bytes(of: Array(header.prefix(5))) == Array(header.prefix(5)))
    #expect(try DecodeProxy.bytes(of: Array("\n".utf8)) == [])
    #expect(throws: DecodeProxy.InputFault.self) {
      try DecodeProxy.bytes(of: Array("0d0".utf8))
    }
  }

  // MARK: Version 1

  @Test func version1FieldByField() {
    let decoded = DecodeProxy(
      Array("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nEHLO \u{1b}[2J\r\n".utf8))
    #expect(decoded.isValid && decoded.length == 47)
    #expect(
      decoded.fields.map { "\($0.offset) \($0.name) \($0.value)" } == [
        "0 signature PROXY", "0 version 1", "6 protocol TCP4", "11 source 192.168.0.1",
        "23 destination 192.168.0.11", "36 source port 56324", "42 destination port 443",
        "45 end CR LF",
      ])
    #expect(
      decoded.text.hasSuffix(
        "then 11 bytes that are not the header's: \"EHLO \\x1b[2J\\r\\n\"\n"))
  }

  @Test func version1Unknown() {
    let decoded = DecodeProxy(Array("PROXY UNKNOWN and \u{7} what\r\n".utf8))
    #expect(decoded.isValid)
    #expect(value("protocol", of: decoded) == "UNKNOWN")
    #expect(value("ignored", of: decoded) == "\" and \\x07 what\"")
  }

  // MARK: Version 2

  @Test func everyTLV() throws {
    let ssl =
      "20 0012 05 00000000" + "21 0007" + hexadecimalText("TLSv1.3".utf8) + "28 0000"
    let tlvs =
      "01 0002 6832" + "02 0004" + hexadecimalText("a.bc".utf8) + "04 0001 00"
      + "05 0002 00ff" + ssl + "30 0003" + hexadecimalText("ns0".utf8)
      + "ea 0007 01" + hexadecimalText("vpce-1".utf8) + "ee 0005 01 04030201"
      + "e0 0008 0001020304050607" + "e5 0003" + hexadecimalText("abc".utf8) + "f1 0000 ff 0000"
    let count = tlvs.filter { $0 != " " }.count / 2
    let length = hexadecimalText([UInt8((12 + count) >> 8), UInt8((12 + count) & 255)])
    let decoded = try decode(signature + "2111" + length + addresses + tlvs)
    #expect(decoded.isValid, "\(decoded.text)")
    let found = decoded.fields.filter { $0.type != nil }
    #expect(
      found.map { "\($0.offset) \($0.name): \($0.value)" } == [
        "28 ALPN: \"h2\"", "33 AUTHORITY: \"a.bc\"", "40 NOOP: padding, ignored",
        "44 UNIQUE_ID: 0x00ff",
        "49 SSL: client 0x05: client came over TLS, certificate in this session, verify 0: "
          + "certificate presented and verified",
        "70 NETNS: \"ns0\"", "76 AWS: VPC endpoint \"vpce-1\"",
        "86 AZURE: Private Link id 16909060",
        "94 GCP: Private Service Connect id 283686952306183",
        "105 custom: \"abc\"", "111 experimental: \"\"", "114 reserved: \"\"",
      ])
    #expect(found[4].inside.map { "\($0.offset) \($0.name): \($0.value)" } == [
      "57 SSL_VERSION: \"TLSv1.3\"", "67 SSL_CLIENT_CERT: DER: ",
    ])
  }

  @Test func sslWithoutCertificate() throws {
    let decoded = try decode(signature + "21110014" + addresses + "200005 01 00000001")
    #expect(
      value("SSL", of: decoded)
        == "client 0x01: client came over TLS, verify 1: no certificate, or not verified")
  }

  @Test func localIgnoresItsBlock() throws {
    let decoded = try decode(signature + "2011000c" + addresses)
    #expect(decoded.isValid)
    #expect(value("command", of: decoded)?.hasPrefix("LOCAL") == true)
    #expect(value("ignored", of: decoded) == addresses)
  }

  @Test func unixPathsAreEscaped() throws {
    let path = "2f1b5b41" + String(repeating: "00", count: 104)
    let abstract = "0061" + String(repeating: "00", count: 106)
    let decoded = try decode(signature + "213100d8" + path + abstract)
    #expect(value("source", of: decoded) == "\"/\\x1b[A\"")
    #expect(value("destination", of: decoded) == "\"\\x00a\"")
  }

  /// "the receiver MUST [...] treat the connection as invalid" when the two differ: both are shown.
  @Test func checksumRightAndWrong() throws {
    let wrong = try decode(signature + "21110013" + addresses + "030004 01020304")
    #expect(wrong.status == .invalid(Reason(.proxyCRCMismatch, at: 31)))
    #expect(
      value("CRC32C", of: wrong) == "wrong: the header says 01020304, its bytes give 1c1ae9c6")
    #expect(wrong.text.contains("invalid at byte 31: proxy.crc-mismatch\n"))
    let right = try decode(signature + "21110013" + addresses + "030004 1c1ae9c6")
    #expect(right.isValid && value("CRC32C", of: right) == "ok: 1c1ae9c6")
  }

  // MARK: No header

  @Test func theWrongByteIsMarked() {
    let decoded = DecodeProxy(Array("PROXY TCP4 192.168.0.1 192.168.0.011 1 2\r\n".utf8))
    #expect(decoded.status == .invalid(Reason(.proxyBadAddress, at: 34)))
    #expect(
      decoded.text == """
        invalid at byte 34: proxy.bad-address
            32  2e 30 31 31 20 31 20 32 0d 0a   ".011 1 2\\r\\n"
                      ^^

        """)
  }

  @Test func theMarkMayStandBehindTheLastByte() throws {
    // Two bytes left over: the third is what is missing, at the end.
    let decoded = try decode(signature + "2111000e" + addresses + "0100")
    #expect(decoded.status == .invalid(Reason(.proxyBadTLV, at: 30)))
    #expect(decoded.text.hasSuffix("\n" + String(repeating: " ", count: 8 + 3 * 14) + "^^\n"))
  }

  @Test func howManyBytesAreMissing() throws {
    let decoded = try decode(signature + "2111000c" + "c0a80001")
    #expect(decoded.status == .incomplete(atLeast: 28))
    #expect(decoded.text == "incomplete: 20 bytes are here, at least 8 more needed\n")
    #expect(DecodeProxy([]).status == .incomplete(atLeast: 15))
  }

  /// The longest header there can be: no limit of a receiver applies here.
  @Test func theLongestHeader() throws {
    let noop = "04fff0" + String(repeating: "00", count: 65_520)
    let decoded = try decode(signature + "2111ffff" + addresses + noop)
    #expect(decoded.isValid && decoded.length == 65_551)
  }

  // MARK: Output

  /// No byte from outside reaches a terminal as a control character, whatever stands where.
  @Test func nothingButPrintableASCIIIsPrinted() throws {
    let types: [UInt8] = [
      0x01, 0x02, 0x04, 0x05, 0x06, 0x20, 0x28, 0x30, 0xe0, 0xe5, 0xea, 0xee, 0xf0, 0xff,
    ]
    for byte in UInt8.min...UInt8.max {
      let value = [UInt8](repeating: byte, count: 8)
      for type in types {
        let header = try decode(
          signature + "21110017" + addresses + hexadecimalText([type]) + "0008"
            + hexadecimalText(value))
        let decoded = DecodeProxy(header.bytes + value)
        for text in [decoded.text, decoded.json.text] {
          #expect(text.utf8.allSatisfy { $0 == 0x0a || (0x20..<0x7f).contains($0) })
        }
      }
    }
  }

  @Test func jsonSaysTheSame() throws {
    let wrong = try decode(signature + "21110013" + addresses + "030004 01020304")
    let text = wrong.json.text
    for part in [
      "\"status\": \"invalid\"", "\"reason\": \"proxy.crc-mismatch\"", "\"offset\": 31",
      "\"type\": \"0x03\"", "\"ok\": false", "\"stored\": \"01020304\"",
      "\"computed\": \"1c1ae9c6\"",
    ] {
      #expect(text.contains(part), "no \(part) in \(text)")
    }
  }
}
