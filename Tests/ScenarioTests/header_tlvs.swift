import TestSupport
import Testing

// Version 2 headers carry what the configuration names, beside the addresses: the connection's id
// as the log has it, a checksum, a namespace, TLVs of the operator's own. Section 2.2: "the
// receiver may choose to skip" what it doesn't want, so what is there is up to the sender.

/// The TLVs of the header that one connection's server gets, and the line of the log.
private func header(
  _ engine: Engine, _ backend: String, host: String = "127.0.0.1"
) throws -> (header: [UInt8], tlvs: [TLV], client: Endpoint, server: Endpoint, log: HeaderRecord) {
  let server = try ListeningSocket()
  var setup = TrustSetup(engine, servers: [server.endpoint], host: host)
  setup.backend = "send-proxy: v2, \(backend)"
  var result: ([UInt8], [TLV], Endpoint, Endpoint, HeaderRecord)?
  try withTrust(setup) { proxy in
    let client = try proxy.connect(from: host == "::1" ? nil : "127.0.0.2")
    let upstream = try server.accept()
    // All of it in one receive call, for receivers that give it no second one.
    let bytes = try upstream.readHeader()
    let received = try ReceivedProxyHeader(bytes)
    #expect(received.length == bytes.count)
    #expect(received.source == client.local)
    #expect(received.destination == client.remote)
    try expectGreeting(from: upstream, at: client)
    client.close()
    upstream.close()
    let local = client.local
    result = (bytes, try TLV.all(in: bytes), local, server.endpoint, try proxy.record())
  }
  return try #require(result)
}

private let hosts = ["127.0.0.1", "::1"].filter { $0 != "::1" || hasIPv6Loopback }

@Test("unique-id is the id in the log", arguments: Engine.eventSources, hosts)
func uniqueID(engine: Engine, host: String) throws {
  let seen = try header(engine, "proxy-tlvs: [unique-id]", host: host)
  #expect(seen.tlvs == [TLV(0x05, seen.log.connection.id)])
  #expect(!seen.log.saysHeader && seen.log.peerID == nil)
}

// "zero the 4 bytes [...], compute over the whole header": and nothing after it but the client.
@Test("crc32c is right", arguments: Engine.eventSources, hosts)
func checksum(engine: Engine, host: String) throws {
  let alone = try header(engine, "proxy-tlvs: [crc32c]", host: host)
  #expect(alone.tlvs.map(\.type) == [0x03])
  #expect(try TLV.checksumIsRight(in: alone.header))
  let among = try header(
    engine, "proxy-tlvs: [crc32c, unique-id, { netns: blue }, { type: 0xE5, value: \"five\" }]",
    host: host)
  #expect(Set(among.tlvs.map(\.type)) == [0x03, 0x05, 0x30, 0xe5])
  #expect(try TLV.checksumIsRight(in: among.header))
}

@Test("netns and TLVs of one's own", arguments: Engine.eventSources)
func customTLVs(engine: Engine) throws {
  let seen = try header(
    engine,
    """
    proxy-tlvs: [{ netns: blue }, { type: 0xE5, value: "$$ ${listener} ${backend} ${server}" },
    { type: 0xE6, value: "${client.address} ${client.port} ${local.address} ${local.port}" },
    { type: 0xE7, value: "${connection.id}" }, { type: 0xE8, value: "" }]
    """.split(separator: "\n").joined(separator: " "))
  let local = seen.log.local.split(separator: ":")
  #expect(
    seen.tlvs == [
      TLV(0x30, "blue"), TLV(0xe5, "$ front back \(seen.server)"),
      TLV(0xe6, "\(seen.client.host) \(seen.client.port) \(local[0]) \(local[1])"),
      TLV(0xe7, seen.log.connection.id), TLV(0xe8, ""),
    ])
}

// NOOP: "can be used to align only by 3 or more bytes".
@Test("align", arguments: Engine.eventSources)
func alignment(engine: Engine) throws {
  for alignment in [4, 8, 64, 256] {
    for checksum in ["", ", crc32c"] {
      for value in ["", "1", "12", "123", "1234"] {
        let seen = try header(
          engine,
          "proxy-header: { align: \(alignment) }, "
            + "proxy-tlvs: [{ type: 0xE5, value: \"\(value)\" }\(checksum)]")
        #expect(seen.header.count.isMultiple(of: alignment), "\(value), \(alignment)")
        #expect(seen.header.count < 28 + 10 + value.utf8.count + alignment + 3)
        #expect(seen.tlvs.first == TLV(0xe5, value))
        if !checksum.isEmpty { #expect(try TLV.checksumIsRight(in: seen.header)) }
      }
    }
    if alignment == 8, engine != Engine.eventSources[0] { break }
  }
}

// "Both formats are designed to fit in the smallest TCP segment [...] (576 - 40 = 536 bytes)",
// which is all that Postfix takes. What doesn't fit is left out, the operator's own TLVs first, the
// addresses and the checksum never, and the log counts what was left out.
@Test("headers of 536 bytes at most", arguments: Engine.eventSources)
func headerLimit(engine: Engine) throws {
  let long = String(repeating: "x", count: 200)
  let tlvs = """
    proxy-tlvs: [unique-id, crc32c, { netns: blue }, { type: 0xE0, value: "\(long)" },
    { type: 0xE1, value: "\(long)" }, { type: 0xE2, value: "\(long)" },
    { type: 0xE3, value: "short" }]
    """.split(separator: "\n").joined(separator: " ")
  let seen = try header(engine, tlvs)
  #expect(seen.header.count <= 536)
  #expect(seen.tlvs.map(\.type) == [0x05, 0x30, 0xe0, 0xe1, 0x03])
  #expect(try TLV.checksumIsRight(in: seen.header))
  #expect(seen.log.tlvsDropped == 2)

  let roomy = try header(engine, "\(tlvs), proxy-header: { limit: 1KiB }")
  #expect(roomy.tlvs.map(\.type) == [0x05, 0x30, 0xe0, 0xe1, 0xe2, 0xe3, 0x03])
  #expect(roomy.log.tlvsDropped == 0)

  let tight = try header(engine, "\(tlvs), proxy-header: { limit: 232 }")
  #expect(tight.tlvs.map(\.type) == [0x05, 0x30, 0x03])
  #expect(tight.log.tlvsDropped == 4)
}

// Exactly 536 bytes fit; with one byte more the TLV is left out.
@Test("the limit itself", arguments: Engine.eventSources)
func exactLimit(engine: Engine) throws {
  for (count, fits) in [(536 - 28 - 3, true), (536 - 28 - 3 + 1, false)] {
    // In two values: one of more than 255 bytes is what receivers must take, too.
    let value = String(repeating: "y", count: count - 26) + "${connection.id}"
    let seen = try header(engine, "proxy-tlvs: [{ type: 0xE5, value: \"\(value)\" }]")
    #expect(seen.header.count == (fits ? 536 : 28))
    #expect(seen.tlvs.count == (fits ? 1 : 0))
    #expect(seen.log.tlvsDropped == (fits ? 0 : 1))
  }
}
