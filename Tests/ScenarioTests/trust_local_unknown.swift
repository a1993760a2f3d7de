import TestSupport
import Testing

// A load balancer checks on us, or speaks for somebody it can't name. LOCAL: "the receiver must
// accept this connection as valid and must use the real connection endpoints and discard the
// protocol block including the family which is ignored". UNKNOWN: "the receiver must ignore
// anything presented before the CRLF is found". The connection counts as its peer's own.

struct Nameless: Sendable, CustomStringConvertible {
  let description: String
  let bytes: [UInt8]
  /// What the log calls it.
  let word: String

  private static let block4 = [UInt8](repeating: 7, count: 12)

  static let all = [
    Nameless(
      description: "LOCAL", bytes: Header.raw(command: 0, family: 0, []), word: "v2-local"),
    Nameless(
      description: "LOCAL with addresses", bytes: Header.raw(command: 0, family: 0x11, block4),
      word: "v2-local"),
    Nameless(
      description: "LOCAL of an unassigned family",
      bytes: Header.raw(command: 0, family: 0xff, [1, 2, 3]), word: "v2-local"),
    Nameless(
      description: "LOCAL with a TLV",
      bytes: Header.raw(command: 0, family: 0, TLV(0x04, "padding").bytes), word: "v2-local"),
    Nameless(
      description: "PROXY, AF_UNSPEC", bytes: Header.raw(command: 1, family: 0, []),
      word: "v2-unspec"),
    Nameless(
      description: "PROXY, AF_UNIX",
      bytes: Header.raw(command: 1, family: 0x31, [UInt8](repeating: 0x61, count: 216)),
      word: "v2-unspec"),
    Nameless(
      description: "PROXY, UDP over IPv4", bytes: Header.raw(command: 1, family: 0x12, block4),
      word: "v2-unspec"),
    Nameless(
      description: "UNKNOWN", bytes: Array("PROXY UNKNOWN\r\n".utf8), word: "v1-unknown"),
    Nameless(
      description: "UNKNOWN with addresses",
      bytes: Array("PROXY UNKNOWN 203.0.113.7 198.51.100.25 40001 25\r\n".utf8),
      word: "v1-unknown"),
  ]
}

@Test("LOCAL, UNKNOWN and the like count as the peer's own", arguments: TrustedSource.few)
func namelessHeaders(trusted: TrustedSource) throws {
  let server = try ListeningSocket()
  try withTrust(trusted.setup([server.endpoint])) { proxy in
    for (index, nameless) in Nameless.all.enumerated() {
      let client = try proxy.connect(from: trusted.source)
      try client.write(nameless.bytes)
      let upstream = try server.accept()
      let received = try ReceivedProxyHeader(upstream.readHeader())
      #expect(received.source == client.local, "\(nameless)")
      #expect(received.destination == client.remote, "\(nameless)")
      try expectGreeting(from: upstream, at: client)
      client.close()
      upstream.close()
      let record = try proxy.record(index + 1)
      #expect(record.client == client.local.description, "\(nameless)")
      #expect(record.peer == client.local.description, "\(nameless)")
      #expect(record.local == client.remote.description, "\(nameless)")
      #expect(record.header == nameless.word, "\(nameless)")
      #expect(record.reason == nil, "\(nameless)")
    }
  }
}

// `unknown: reject` refuses version 1's UNKNOWN, and nothing else: LOCAL is how checks are made.
@Test("unknown: reject", arguments: TrustedSource.few)
func unknownRejected(trusted: TrustedSource) throws {
  let server = try ListeningSocket()
  var setup = trusted.setup([server.endpoint])
  setup.top = ""
  setup.listener = """
    proxy-protocol:
      { sources: [{ networks: ["\(trusted.source)"], header: require }], unknown: reject }
    """.split(separator: "\n").joined()
  try withTrust(setup) { proxy in
    for (index, nameless) in Nameless.all.enumerated() {
      let client = try proxy.connect(from: trusted.source)
      try client.write(nameless.bytes)
      if nameless.word == "v1-unknown" {
        try expectTurnedAway(client)
        let record = try proxy.record(index + 1)
        #expect(record.reason == "proxy.unknown", "\(nameless)")
        #expect(record.firstBytes == hexadecimal(nameless.bytes.prefix(16)))
        #expect(record.client == client.local.description)
      } else {
        let upstream = try server.accept()
        client.close()
        upstream.close()
        #expect(try proxy.record(index + 1).reason == nil, "\(nameless)")
      }
    }
    try expectUntouched(server)
  }
}
