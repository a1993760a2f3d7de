import TestSupport
import Testing

// A load balancer that is trusted opens each connection with a PROXY header. From there on the
// client is the header's: the server is told of it, the log names it, and beside it the peer that
// really connected ("log the real peer next to" the claim). Which key of the configuration trusts
// the source makes no difference.

@Test("a trusted source's header names the client", arguments: TrustedSource.all, [1, 2])
func trustedHeader(trusted: TrustedSource, version: Int) throws {
  let server = try ListeningSocket()
  try withTrust(trusted.setup([server.endpoint])) { proxy in
    let client = try proxy.connect(from: trusted.source)
    // "the receiver MUST NOT start processing the connection before it receives a complete and
    // valid PROXY protocol header."
    #expect(try server.accept(withinMs: 100) == nil)
    let sent =
      version == 1
      ? Header.v1(trusted.client, to: trusted.reached)
      : Header.v2(trusted.client, to: trusted.reached)
    try client.write(sent)
    let upstream = try server.accept()
    let received = try ReceivedProxyHeader(upstream.readHeader())
    #expect(received.version == 2)
    #expect(received.source == trusted.client)
    #expect(received.destination == trusted.reached)

    try expectGreeting(from: upstream, at: client)
    try client.write("EHLO client\r\n")
    #expect(try upstream.readExactly(13) == Array("EHLO client\r\n".utf8))
    client.close()
    #expect(try upstream.readToEnd().ending == .fin)
    upstream.close()

    let record = try proxy.record()
    #expect(record.client == trusted.client.description)
    #expect(record.local == trusted.reached.description)
    #expect(record.peer == client.local.description)
    #expect(record.header == "v\(version)")
    #expect(record.reason == nil)
    // Neither header counts.
    #expect(record.connection.bytesUp == 13)
  }
}

// The server gets the client in the version it asks for; to one that gets no header the header of
// the source is not passed on either: it told us, not the server.
@Test(
  "the header is translated", arguments: TrustedSource.few,
  ["none", "v1", "v2"].flatMap { backend in [1, 2].map { (from: $0, to: backend) } })
func translatedHeader(trusted: TrustedSource, translation: (from: Int, to: String)) throws {
  let (version, backend) = translation
  let server = try ListeningSocket()
  var setup = trusted.setup([server.endpoint])
  setup.backend = "send-proxy: \(backend)"
  try withTrust(setup) { proxy in
    let client = try proxy.connect(from: trusted.source)
    let header =
      version == 1
      ? Header.v1(trusted.client, to: trusted.reached)
      : Header.v2(trusted.client, to: trusted.reached)
    try client.write(header + Array("EHLO client\r\n".utf8))
    client.finish()
    let upstream = try server.accept()
    var rest = try upstream.readToEnd().bytes
    if backend != "none" {
      let received = try ReceivedProxyHeader(rest)
      #expect("v\(received.version)" == backend)
      #expect(received.source == trusted.client)
      #expect(received.destination == trusted.reached)
      rest = Array(rest.dropFirst(received.length))
    }
    #expect(rest == Array("EHLO client\r\n".utf8))
  }
}

// A mixed pair: an IPv4 client that an IPv6 listener of the first proxy took. Version 1 and 2 have
// one family per header, so both sides become IPv6; and where both are mapped, IPv4.
@Test("families are promoted and demoted", arguments: Engine.eventSources, [1, 2])
func mixedFamilies(engine: Engine, version: Int) throws {
  let server = try ListeningSocket()
  let trusted = TrustedSource(engine: engine, source: "127.0.0.2", scope: .global)
  var setup = trusted.setup([server.endpoint])
  setup.backend = "send-proxy: v\(version)"
  let mapped = { (last: String, port: UInt16) in Endpoint.inet("0:0:0:0:0:ffff:\(last)", port) }
  let six = Endpoint.inet("2001:db8:1:2:3:4:5:6", 993)
  try withTrust(setup) { proxy in
    // 203.0.113.7 is cb00:7107 and 198.51.100.25 is c633:6419.
    let cases: [(Endpoint, Endpoint, Endpoint, Endpoint)] = [
      (
        mapped("cb00:7107", 40_001), mapped("c633:6419", 25), .inet("203.0.113.7", 40_001),
        .inet("198.51.100.25", 25)
      ),
      (
        mapped("cb00:7107", 40_001), six,
        version == 1 ? .inet("::ffff:203.0.113.7", 40_001) : mapped("cb00:7107", 40_001), six
      ),
    ]
    for (index, (from, to, wantedFrom, wantedTo)) in cases.enumerated() {
      let client = try proxy.connect(from: "127.0.0.2")
      try client.write(Header.v2(from, to: to))
      let upstream = try server.accept()
      let received = try ReceivedProxyHeader(upstream.readHeader())
      #expect(received.source == wantedFrom)
      #expect(received.destination == wantedTo)
      client.close()
      upstream.close()
      #expect(try proxy.record(index + 1).client == "203.0.113.7:40001")
    }
  }
}
