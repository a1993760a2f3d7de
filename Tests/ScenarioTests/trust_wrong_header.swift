import TestSupport
import Testing

// A trusted source sends something that is no header, or one that breaks the rules: "anything which
// does not exactly match the protocol must be discarded and the connection aborted". The log has a
// word for each way to be wrong, the same in metrics and documentation, and the first 16 bytes; the
// server never hears of it. How the bytes were cut into segments makes no difference.

struct Wrong: Sendable, CustomStringConvertible {
  let bytes: [UInt8]
  let reason: String
  /// Only the end of the stream shows that this is no header.
  var atEnd = false
  var description: String { "\(reason): \(hexadecimal(bytes.prefix(40)))" }

  private init(_ reason: String, _ bytes: [UInt8]) {
    self.reason = reason
    self.bytes = bytes
  }

  private static func line(_ reason: String, _ text: String) -> Wrong {
    Wrong(reason, Array(text.utf8))
  }

  private static func v2(
    _ reason: String, command: UInt8 = 1, family: UInt8 = 0x11, block: [UInt8] = block4,
    tlvs: [UInt8] = []
  ) -> Wrong {
    Wrong(reason, Header.raw(command: command, family: family, block + tlvs))
  }

  private static let block4: [UInt8] = [203, 0, 113, 7, 198, 51, 100, 25, 0x9c, 0x41, 0, 25]

  static let all =
    lines + [
      Wrong("proxy.bad-signature", Header.signature.dropLast() + [0x0b]),
      Wrong("proxy.bad-version", Header.signature + [0x11, 0x11, 0, 12] + block4),
      v2("proxy.bad-command", command: 2), v2("proxy.bad-family", family: 0x41),
      v2("proxy.bad-transport", family: 0x13), v2("proxy.bad-length", block: block4.dropLast()),
      v2("proxy.bad-length", family: 0x21), v2("proxy.too-long", tlvs: oversize),
      v2("proxy.bad-tlv", tlvs: [0x02, 0, 9, 0x61]), v2("proxy.bad-tlv", tlvs: [0x02]),
      v2("proxy.bad-tlv-length", tlvs: TLV(0x03, [1, 2, 3]).bytes),
      v2("proxy.bad-tlv-length", tlvs: TLV(0x05, [UInt8](repeating: 1, count: 129)).bytes),
      v2("proxy.bad-tlv-length", tlvs: TLV(0x20, [1, 0, 0, 0]).bytes),
      v2("proxy.crc-mismatch", tlvs: TLV(0x03, [0, 0, 0, 0]).bytes),
      v2("proxy.duplicate-crc", tlvs: TLV(0x03, [0, 0, 0, 0]).bytes + TLV(0x03, "four").bytes),
      v2("proxy.crc-mismatch", command: 0, family: 0, block: TLV(0x03, "four").bytes),
    ]

  private static let oversize = TLV(0x04, [UInt8](repeating: 0, count: 5000)).bytes

  private static let lines = [
    line("proxy.bad-signature", "EHLO client.example.test\r\n"),
    line("proxy.bad-signature", "PROPFIND / HTTP/1.1\r\n"),
    line("proxy.bad-signature", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}"),
    line("proxy.bad-fields", "PROXYTCP4 203.0.113.7 198.51.100.25 40001 25\r\n"),
    line("proxy.bad-protocol", "PROXY tcp4 203.0.113.7 198.51.100.25 40001 25\r\n"),
    line("proxy.bad-protocol", "PROXY UDP4 203.0.113.7 198.51.100.25 40001 25\r\n"),
    line("proxy.bad-fields", "PROXY TCP4  203.0.113.7 198.51.100.25 40001 25\r\n"),
    line("proxy.bad-fields", "PROXY TCP4 203.0.113.7 198.51.100.25 40001\r\n"),
    line("proxy.bad-fields", "PROXY TCP4 203.0.113.7 198.51.100.25 40001 25 \r\n"),
    line("proxy.bad-address", "PROXY TCP4 203.0.113.256 198.51.100.25 40001 25\r\n"),
    line("proxy.bad-address", "PROXY TCP4 203.0.113.07 198.51.100.25 40001 25\r\n"),
    line("proxy.bad-address", "PROXY TCP4 2001:db8::7 198.51.100.25 40001 25\r\n"),
    line("proxy.bad-address", "PROXY TCP6 203.0.113.7 2001:db8::25 40001 25\r\n"),
    line("proxy.bad-port", "PROXY TCP4 203.0.113.7 198.51.100.25 65536 25\r\n"),
    line("proxy.bad-port", "PROXY TCP4 203.0.113.7 198.51.100.25 40001 025\r\n"),
    line("proxy.bad-line-end", "PROXY TCP4 203.0.113.7 198.51.100.25 40001 25\n"),
    line("proxy.bad-line-end", "PROXY TCP4 203.0.113.7 198.51.100.25 40001 25\rEHLO\r\n"),
    line("proxy.too-long", "PROXY UNKNOWN \(String(repeating: "x", count: 100))\r\n"),
  ]
}

@Test("wrong headers", arguments: TrustedSource.few, [false, true])
func wrongHeaders(trusted: TrustedSource, isDribbled: Bool) throws {
  let server = try ListeningSocket()
  try withTrust(trusted.setup([server.endpoint])) { proxy in
    for (index, wrong) in Wrong.all.enumerated() {
      let client = try proxy.connect(from: trusted.source)
      do {
        if isDribbled {
          // It may be turned away long before the last byte.
          for byte in wrong.bytes {
            try client.write([byte])
            if try client.receive(withinMs: 1) != nil { break }
          }
        } else {
          try client.write(wrong.bytes)
        }
      } catch is StreamSocket.WriteFailure {}
      if case .bytes(let bytes)? = try client.receive(withinMs: 5000) {
        Issue.record("\(wrong): the client got \(bytes)")
      }
      let record = try proxy.record(index + 1)
      #expect(record.reason == wrong.reason, "\(wrong)")
      #expect(record.end == "rejected", "\(wrong)")
      #expect(record.client == client.local.description, "\(wrong)")
      #expect(record.peer != nil && !record.saysHeader, "\(wrong)")
      let first = try #require(record.firstBytes, "\(wrong)")
      #expect(!first.isEmpty && hexadecimal(wrong.bytes.prefix(16)).hasPrefix(first), "\(wrong)")
      if !isDribbled { #expect(first == hexadecimal(wrong.bytes.prefix(16))) }
      client.close()
    }
    try expectUntouched(server)
  }
}
