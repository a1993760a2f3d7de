import TestSupport
import Testing

// A proxy in front of a TLS listener sends a PROXY header, and behind it comes the client's hello.
// The header is ours, the hello the server's. `header: accept` takes clients with and without one
// from the sources it is written for, which no other type of listener can do: here the first byte
// tells one from the other.

/// Where header and hello are cut into segments.
private func cuts(_ header: Int, _ hello: Int) -> [Int] {
  [1, header / 2, header - 1, header, header + 1, header + hello / 2, header + hello - 1]
}

@Test("a header in front of a hello", arguments: TrustedSource.few, [1, 2])
func headerThenHello(trusted: TrustedSource, version: Int) throws {
  let server = try ListeningSocket()
  var setup = trusted.setup([server.endpoint])
  setup.type = "tls"
  setup.backend = "send-proxy: v2, proxy-tlvs: [authority, alpn]"
  try withTrust(setup) { proxy in
    let header =
      version == 1
      ? Header.v1(trusted.client, to: trusted.reached)
      : Header.v2(trusted.client, to: trusted.reached)
    let hello = TLSHello("mail.example.test", alpn: ["imap"]).bytes
    let all = header + hello
    for (index, cut) in cuts(header.count, hello.count).enumerated() {
      let client = try proxy.connect(from: trusted.source)
      try client.write(Array(all[..<cut]))
      pause(ms: 30)
      try expectUntouched(server)
      try client.write(Array(all[cut...]))
      let upstream = try server.accept()
      let head = try upstream.readExactly(16)
      let ours = head + (try upstream.readExactly(Int(head[14]) << 8 | Int(head[15])))
      #expect(try ReceivedProxyHeader(ours).source == trusted.client)
      #expect(try TLV.all(in: ours) == [TLV(2, "mail.example.test"), TLV(1, "imap")])
      #expect(try upstream.readExactly(hello.count) == hello)
      try expectGreeting(from: upstream, at: client)
      client.close()
      upstream.close()
      let record = try proxy.record(index + 1)
      #expect(record.client == trusted.client.description)
      #expect(record.peer == client.local.description)
      #expect(record.header == "v\(version)")
      #expect(record.sni == "mail.example.test" && record.alpn == "imap")
      // What was consumed went nowhere.
      #expect(record.connection.bytesUp == hello.count)
    }
  }
}

// The header does not eat into what is held of the hello, and their deadlines are one after the
// other.
@Test("a long header and a long hello", arguments: TrustedSource.few)
func longHeaderLongHello(trusted: TrustedSource) throws {
  let server = try ListeningSocket()
  var setup = trusted.setup([server.endpoint])
  setup.type = "tls"
  setup.backend = "send-proxy: none"
  setup.timeouts = "drain: 5s, proxy-header: 400ms, preface: 400ms"
  try withTrust(setup) { proxy in
    let header = Header.v2(
      trusted.client, to: trusted.reached, tlvs: [TLV(4, [UInt8](repeating: 0, count: 3000))])
    let hello = TLSHello(padding: 60_000).bytes
    let client = try proxy.connect(from: trusted.source)
    let writer = Job("client") { try client.write(header + hello) }
    let upstream = try server.accept()
    #expect(try upstream.readExactly(hello.count) == hello)
    try writer.value()
    client.close()
    upstream.close()
    #expect(try proxy.record(1).sni == "mail.example.test")

    let slow = try proxy.connect(from: trusted.source)
    pause(ms: 250)
    try slow.write(header)
    pause(ms: 250)
    try slow.write(hello)
    let second = try server.accept()
    #expect(try second.readExactly(hello.count) == hello)
    slow.close()
    second.close()
    #expect(try proxy.record(2).reason == nil)

    // Nothing, half a header, a header and nothing, a header and half a hello.
    let halves: [([UInt8], String)] = [
      ([], "proxy.timeout"), (Array(header.prefix(20)), "proxy.timeout"), (header, "tls.timeout"),
      (header + hello.prefix(200), "tls.timeout"),
    ]
    for (index, (bytes, reason)) in halves.enumerated() {
      let client = try proxy.connect(from: trusted.source)
      try client.write(bytes)
      try expectTurnedAway(client)
      let record = try proxy.record(index + 3)
      #expect(record.reason == reason)
      // The header's client is the one that was late.
      let isKnown = reason == "tls.timeout"
      #expect(record.client == (isKnown ? trusted.client : client.local).description)
    }
    // A hello where a header must be, and what is no TLS behind one.
    let wrong = try proxy.connect(from: trusted.source)
    try wrong.write(TLSHello().bytes)
    try expectTurnedAway(wrong)
    #expect(try proxy.record(7).reason == "proxy.bad-signature")
    let plain = try proxy.connect(from: trusted.source)
    try plain.write(Header.v1(trusted.client, to: trusted.reached) + Array("EHLO x\r\n".utf8))
    try expectTurnedAway(plain)
    let record = try proxy.record(8)
    #expect(record.reason == "tls.not-tls" && record.header == "v1")
    #expect(record.firstBytes == hexadecimal(Array("EHLO x\r\n".utf8)))
    try expectUntouched(server)
  }
}

// The name that the proxy in front was asked for is the client's; that of the hello may be one that
// the proxy made up for us.
@Test("a relayed AUTHORITY goes before the hello's", arguments: TrustedSource.few, [false, true])
func relayedAuthority(trusted: TrustedSource, isRelayed: Bool) throws {
  let server = try ListeningSocket()
  var setup = trusted.setup([server.endpoint])
  setup.type = "tls"
  setup.backend =
    "send-proxy: v2, proxy-tlvs: [authority, alpn]"
    + (isRelayed ? ", relay-tlvs: [authority]" : "")
  try withTrust(setup) { proxy in
    let client = try proxy.connect(from: trusted.source)
    let header = Header.v2(
      trusted.client, to: trusted.reached,
      tlvs: [TLV(2, "outer.example.test"), TLV(1, "outer")])
    let hello = TLSHello("inner.example.test", alpn: ["imap", "pop3"])
    try client.write(header + hello.bytes)
    let upstream = try server.accept()
    let head = try upstream.readExactly(16)
    let ours = head + (try upstream.readExactly(Int(head[14]) << 8 | Int(head[15])))
    let wanted = [isRelayed ? "outer.example.test" : "inner.example.test", "imap"]
    #expect(Set(try TLV.all(in: ours)) == [TLV(2, wanted[0]), TLV(1, wanted[1])])
    client.close()
    upstream.close()
    let record = try proxy.record()
    #expect(record.sni == "inner.example.test" && record.alpn == "imap,pop3")
    #expect(record.tlvs == "0201")
  }
}

// TLVs that do not fit go by the documented order: ALPN before AUTHORITY, both after what is the
// operator's own.
@Test("what is left out of a header for a hello", arguments: Engine.eventSources)
func helloTLVsDropped(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = TrustSetup.tls(engine, [server.endpoint])
  setup.backend =
    "send-proxy: v2, proxy-tlvs: [authority, alpn, unique-id, { type: 0xE5, value: more }], "
    + "proxy-header: { limit: 232 }"
  try withTrust(setup) { proxy in
    let name = (0..<4).map { _ in String(repeating: "n", count: 40) }.joined(separator: ".")
    // 28 of addresses, 29 of UNIQUE_ID, 166 of AUTHORITY: 223.
    for (index, (alpn, types)) in [("imap", [5, 2, 1]), ("imaps-1", [5, 2])].enumerated() {
      let client = try proxy.connect()
      try client.write(TLSHello(name, alpn: [alpn]).bytes)
      let upstream = try server.accept()
      let head = try upstream.readExactly(16)
      let ours = head + (try upstream.readExactly(Int(head[14]) << 8 | Int(head[15])))
      #expect(try TLV.all(in: ours).map(\.type) == types.map { UInt8($0) })
      client.close()
      upstream.close()
      #expect(try proxy.record(index + 1).tlvsDropped == 4 - types.count)
    }
  }
}

/// A daemon that takes a header from this source if one comes.
private func accepting(
  _ source: String, _ engine: Engine, _ server: ListeningSocket
) -> TrustSetup {
  var setup = TrustSetup.tls(
    engine, [server.endpoint], host: source.contains(":") ? "::1" : "127.0.0.1",
    "proxy-protocol: { sources: [{ networks: [\"\(source)\"], header: accept }] }")
  setup.timeouts = "drain: 5s, proxy-header: 300ms, preface: 600ms"
  return setup
}

private let acceptedSources = ["127.0.0.2", "::1"].filter { $0 != "::1" || hasIPv6Loopback }

@Test("header: accept", arguments: acceptedSources, Engine.eventSources)
func acceptedHeader(source: String, engine: Engine) throws {
  let server = try ListeningSocket()
  let spoken = TrustedSource(engine: engine, source: source, scope: .sources)
  let hello = TLSHello().bytes
  try withTrust(accepting(source, engine, server)) { proxy in
    let headers = [
      [], Header.v1(spoken.client, to: spoken.reached),
      Header.v2(spoken.client, to: spoken.reached),
    ]
    var count = 0
    for header in headers {
      for isDribbled in [false, true] {
        let client = try proxy.connect(from: source)
        let all = header + hello
        if isDribbled { try client.dribble(all) } else { try client.write(all) }
        let upstream = try server.accept()
        let head = try upstream.readExactly(16)
        let ours = head + (try upstream.readExactly(Int(head[14]) << 8 | Int(head[15])))
        let wanted = header.isEmpty ? client.local : spoken.client
        #expect(try ReceivedProxyHeader(ours).source == wanted)
        #expect(try upstream.readExactly(hello.count) == hello)
        client.close()
        upstream.close()
        count += 1
        let record = try proxy.record(count)
        #expect(record.client == wanted.description)
        #expect(record.saysHeader == !header.isEmpty)
        #expect(record.sni == "mail.example.test")
      }
    }
    // One that waits for longer than a header may take, and one that waits in the middle of what
    // could yet become a header.
    let waits = try proxy.connect(from: source)
    pause(ms: 450)
    try waits.write(hello)
    let upstream = try server.accept()
    _ = try upstream.readHeader()
    waits.close()
    upstream.close()
    count += 1
    #expect(try proxy.record(count).reason == nil)
  }
}

@Test("header: accept, and something else comes", arguments: acceptedSources, Engine.eventSources)
func acceptedOtherwise(source: String, engine: Engine) throws {
  let server = try ListeningSocket()
  let spoken = TrustedSource(engine: engine, source: source, scope: .sources)
  let v2 = Header.v2(spoken.client, to: spoken.reached)
  let late = { (bytes: [UInt8]) in (bytes, true) }
  let cases: [((bytes: [UInt8], waits: Bool), String)] = [
    // A header by its signature must be a valid one.
    ((Array("PROXY TCP4 203.0.113.7\r\n".utf8), false), "proxy.bad-fields"),
    ((Header.signature + [0x31, 0x11, 0, 12], false), "proxy.bad-version"),
    (late(Array(v2.prefix(20))), "proxy.timeout"),
    // What never becomes a header is the client's own.
    ((Array("PROPFIND / HTTP/1.1\r\n".utf8), false), "tls.not-tls"),
    (late(Array("PRO".utf8)), "tls.not-tls"),
    (late([]), "tls.timeout"),
    (late(v2), "tls.timeout"),
    (late(v2 + TLSHello().bytes.prefix(50)), "tls.timeout"),
    ((v2 + v2, false), "tls.not-tls"),
  ]
  try withTrust(accepting(source, engine, server)) { proxy in
    for (index, (sent, reason)) in cases.enumerated() {
      let client = try proxy.connect(from: source)
      try client.write(sent.bytes)
      try expectTurnedAway(client)
      let record = try proxy.record(index + 1)
      #expect(record.reason == reason, "\(sent)")
      let waited = sent.waits ? 250.0 : 0
      #expect(record.connection.durationMs >= waited)
    }
    // Another source may send none: to it the header is what is no TLS.
    if source != "::1" {
      let other = try proxy.connect(from: "127.0.0.3")
      try other.write(v2 + TLSHello().bytes)
      try expectTurnedAway(other)
      #expect(try proxy.record(cases.count + 1).reason == "tls.not-tls")
    }
    try expectUntouched(server)
  }
}
