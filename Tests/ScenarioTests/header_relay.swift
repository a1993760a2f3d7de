import TestSupport
import Testing

// A proxy in front knows more of the client than its address: a cloud's endpoint id, the host name
// it asked for, its TLS. The next server hears of it only what the configuration names, and only
// when the source was one that had to send a header: what anybody else sends is never read.

/// All that a generous proxy in front might send.
private let inbound = [
  TLV(0x01, "h2"), TLV(0x02, "mail.example.test"), TLV(0x04, "padding"), TLV(0x05, "front-0001"),
  TLV(0x20, [1, 0, 0, 0, 1] + TLV(0x21, "TLSv1.3").bytes), TLV(0x30, "red"),
  TLV(0xe1, "one"), TLV(0xea, [1] + Array("vpce-0123abcd".utf8)), TLV(0xee, [1, 7, 0, 0, 0]),
]
/// The same in the log, in order, with the checksum that comes last.
private let inboundTypes = "010204052030e1eaee03"

private func relayed(
  _ trusted: TrustedSource, _ backend: String, _ tlvs: [TLV] = inbound
) throws -> (header: [UInt8], tlvs: [TLV], log: HeaderRecord) {
  let server = try ListeningSocket()
  var setup = trusted.setup([server.endpoint])
  setup.backend = "send-proxy: v2" + (backend.isEmpty ? "" : ", \(backend)")
  var result: ([UInt8], [TLV], HeaderRecord)?
  try withTrust(setup) { proxy in
    let client = try proxy.connect(from: trusted.source)
    try client.write(
      Header.v2(trusted.client, to: trusted.reached, tlvs: tlvs, checksum: true))
    let upstream = try server.accept()
    let bytes = try upstream.readHeader()
    #expect(try ReceivedProxyHeader(bytes).source == trusted.client)
    try expectGreeting(from: upstream, at: client)
    client.close()
    upstream.close()
    result = (bytes, try TLV.all(in: bytes), try proxy.record())
  }
  return try #require(result)
}

@Test("nothing is relayed unless it is named", arguments: TrustedSource.few)
func nothingRelayed(trusted: TrustedSource) throws {
  let seen = try relayed(trusted, "")
  #expect(seen.tlvs == [])
  // The log has them all the same.
  #expect(seen.log.tlvs == inboundTypes)
  #expect(seen.log.peerID == "front-0001")
  #expect(seen.log.header == "v2")
}

@Test("what is named is relayed, byte for byte", arguments: TrustedSource.few)
func namedRelayed(trusted: TrustedSource) throws {
  let cases: [(String, Set<UInt8>)] = [
    ("[aws]", [0xea]), ("[0xEA, azure]", [0xea, 0xee]), ("[authority, alpn]", [0x01, 0x02]),
    ("[netns, 0xE1]", [0x30, 0xe1]), ("[gcp]", []), ("[unique-id]", [0x05]),
    // TLS is relayed by its name only, never as a part of something else.
    ("[ssl]", [0x20]),
    (
      "[alpn, authority, unique-id, netns, aws, azure, gcp, 0xE1]",
      [0x01, 0x02, 0x05, 0x30, 0xea, 0xee, 0xe1]
    ),
  ]
  for (names, types) in cases {
    let seen = try relayed(trusted, "relay-tlvs: \(names)")
    #expect(seen.tlvs == inbound.filter { types.contains($0.type) }, "\(names)")
    #expect(seen.log.tlvsDropped == 0)
  }
}

// The checksum is of our own header, and the padding ours.
@Test("checksum and padding are made anew", arguments: TrustedSource.few)
func checksumAnew(trusted: TrustedSource) throws {
  let seen = try relayed(
    trusted, "relay-tlvs: [aws, authority], proxy-tlvs: [crc32c], proxy-header: { align: 64 }")
  #expect(seen.header.count.isMultiple(of: 64))
  #expect(seen.tlvs.filter { $0.type == 0x03 }.count == 1)
  #expect(seen.tlvs.filter { $0.type == 0x04 }.allSatisfy { $0 != inbound[2] })
  #expect(try TLV.checksumIsRight(in: seen.header))
}

// Who follows a connection through both proxies by its id needs the first one's: it wins over ours,
// and the log, which has ours, has that beside it.
@Test("a relayed unique-id wins over ours", arguments: TrustedSource.few)
func relayedUniqueID(trusted: TrustedSource) throws {
  let both = "relay-tlvs: [unique-id], proxy-tlvs: [unique-id]"
  let seen = try relayed(trusted, both)
  #expect(seen.tlvs == [TLV(0x05, "front-0001")])
  #expect(seen.log.peerID == "front-0001")
  #expect(seen.log.connection.id != "front-0001")
  // Without one to relay there is ours.
  let ours = try relayed(trusted, both, [])
  #expect(ours.tlvs == [TLV(0x05, ours.log.connection.id)])
  #expect(ours.log.peerID == nil)
  // Not named, it is logged and ours goes on.
  let notNamed = try relayed(trusted, "proxy-tlvs: [unique-id]")
  #expect(notNamed.tlvs == [TLV(0x05, notNamed.log.connection.id)])
  #expect(notNamed.log.peerID == "front-0001")
}

@Test("a relayed TLV takes the place of one made here", arguments: TrustedSource.few)
func relayedReplaces(trusted: TrustedSource) throws {
  let seen = try relayed(
    trusted,
    "relay-tlvs: [netns, 0xE1], proxy-tlvs: [{ netns: blue }, { type: 0xE1, value: \"ours\" }, "
      + "{ type: 0xE2, value: \"two\" }]")
  #expect(Set(seen.tlvs) == [TLV(0x30, "red"), TLV(0xe1, "one"), TLV(0xe2, "two")])
  #expect(seen.tlvs.count == 3)
}

// The ids are bytes from outside: the log stays JSON whatever they are.
@Test("a unique-id of any bytes", arguments: Engine.eventSources)
func hostileUniqueID(engine: Engine) throws {
  let trusted = TrustedSource(engine: engine, source: "127.0.0.2", scope: .global)
  for id in [Array(UInt8(0)...127), Array(UInt8(128)...255), Array("\"}\n{\"reason\":\"".utf8)] {
    let seen = try relayed(
      trusted, "relay-tlvs: [unique-id]", [TLV(0x05, id)])
    #expect(seen.tlvs == [TLV(0x05, id)])
    #expect(seen.log.peerID == String(decoding: id, as: UTF8.self))
    #expect(seen.log.reason == nil)
  }
}

// What doesn't fit the limit is left out and counted, the relayed before our own id, the addresses
// never.
@Test("relayed TLVs that do not fit", arguments: TrustedSource.few)
func relayedTooLong(trusted: TrustedSource) throws {
  let tlvs = [0xe1, 0xe2, 0xe3].map { TLV($0, [UInt8](repeating: $0, count: 300)) }
  let seen = try relayed(
    trusted, "relay-tlvs: [0xE1, 0xE2, 0xE3], proxy-tlvs: [unique-id, crc32c]", tlvs)
  #expect(seen.header.count <= 536)
  #expect(seen.tlvs.map(\.type) == [0x05, 0xe1, 0x03])
  #expect(seen.log.tlvsDropped == 2)
  #expect(try TLV.checksumIsRight(in: seen.header))
}

// The same bytes from somebody who may not send a header are payload: no TLV of theirs is repeated
// in a header of ours.
@Test("nothing is relayed from anybody else", arguments: Engine.eventSources)
func untrustedTLVs(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = TrustSetup(engine, servers: [server.endpoint])
  setup.top = "trusted-networks: [127.0.0.2]"
  setup.backend = "send-proxy: v2, relay-tlvs: [aws, ssl, unique-id], proxy-tlvs: [unique-id]"
  try withTrust(setup) { proxy in
    let client = try proxy.connect(from: "127.0.0.3")
    let forged = Header.v2(
      .inet("203.0.113.7", 40_001), to: .inet("198.51.100.25", 25), tlvs: inbound)
    try client.write(forged)
    client.finish()
    let upstream = try server.accept()
    let got = try upstream.readToEnd().bytes
    let ours = try ReceivedProxyHeader(got)
    #expect(ours.source == client.local)
    upstream.close()
    let record = try proxy.record()
    #expect(try TLV.all(in: got) == [TLV(0x05, record.connection.id)])
    #expect(Array(got.dropFirst(ours.length)) == forged)
    #expect(record.tlvs == nil && record.peerID == nil)
  }
}

// Neither does LOCAL, the proxy's own connection, speak for a client.
@Test("TLVs of LOCAL", arguments: Engine.eventSources)
func localTLVs(engine: Engine) throws {
  let server = try ListeningSocket()
  let trusted = TrustedSource(engine: engine, source: "127.0.0.2", scope: .global)
  var setup = trusted.setup([server.endpoint])
  setup.backend = "send-proxy: v2, relay-tlvs: [ssl, aws]"
  try withTrust(setup) { proxy in
    let client = try proxy.connect(from: trusted.source)
    try client.write(Header.raw(command: 0, family: 0, inbound.flatMap(\.bytes)))
    let upstream = try server.accept()
    let bytes = try upstream.readHeader()
    #expect(try ReceivedProxyHeader(bytes).source == client.local)
    #expect(try TLV.all(in: bytes).allSatisfy { $0.type != 0x20 })
    client.close()
    upstream.close()
  }
}
