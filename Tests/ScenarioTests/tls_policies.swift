import TestSupport
import Testing

// Not everyone who comes to a TLS listener speaks TLS, or names a server. `not-tls` and `no-sni`
// say whether they go to the backend or away; each case has a reason of its own in the log.

/// What a client of a TLS listener does that is no hello.
struct NoHello: Sendable, CustomStringConvertible {
  let bytes: [UInt8]
  let reason: String
  /// What it does after its bytes.
  var then = Then.nothing
  var description: String { "\(reason), \(bytes.count) bytes, \(then)" }

  enum Then: Sendable {
    /// The bytes alone tell.
    case nothing
    case finish
    /// It has more to say, and doesn't, until the deadline.
    case wait
  }

  private static let hello = TLSHello().bytes

  static let all = [
    NoHello(bytes: Array("EHLO client.example\r\n".utf8), reason: "tls.not-tls"),
    NoHello(bytes: Array("G".utf8), reason: "tls.not-tls"),
    NoHello(bytes: [0x80, 0x2e, 1, 3, 1] + hello.prefix(40), reason: "tls.sslv2"),
    NoHello(bytes: [21, 3, 1, 0, 2, 1, 0], reason: "tls.not-client-hello"),
    NoHello(bytes: [22, 3, 1, 0x7f, 0xff], reason: "tls.bad-record"),
    NoHello(bytes: [22, 3, 1, 0x40, 0, 1, 1, 0, 0], reason: "tls.too-long"),
    NoHello(bytes: [22, 3, 1, 0, 44, 1, 0, 0, 40] + [UInt8](repeating: 0, count: 40),
      reason: "tls.bad-hello"),
    NoHello(bytes: Array(hello.dropLast()), reason: "tls.truncated", then: .finish),
    NoHello(bytes: Array(hello.dropLast()), reason: "tls.timeout", then: .wait),
    NoHello(bytes: Array(hello.prefix(1)), reason: "tls.timeout", then: .wait),
    NoHello(bytes: [], reason: "tls.timeout", then: .wait),
  ]
}

private func start(_ proxy: TrustProcess, _ wrong: NoHello) throws -> StreamSocket {
  let client = try proxy.connect()
  try client.write(wrong.bytes)
  if wrong.then == .finish { client.finish() }
  return client
}

@Test("what is no TLS is turned away", arguments: Engine.eventSources)
func notTLSRejected(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = TrustSetup.tls(engine, [server.endpoint])
  setup.timeouts = "drain: 5s, preface: 400ms"
  try withTrust(setup) { proxy in
    for (index, wrong) in NoHello.all.enumerated() {
      let client = try start(proxy, wrong)
      try expectTurnedAway(client)
      let record = try proxy.record(index + 1)
      #expect(record.reason == wrong.reason)
      #expect(record.end == "rejected")
      let shown = hexadecimal(wrong.bytes.prefix(16))
      #expect(record.firstBytes == (shown.isEmpty ? nil : shown))
      #expect(!record.saysHello)
      client.close()
    }
    try expectUntouched(server)
  }
}

// With `not-tls: backend` the server gets what came, and what comes after it; the server may even
// greet a client that waits for it, once the time for a hello is over.
@Test("what is no TLS goes to the backend", arguments: Engine.eventSources, ["none", "v2"])
func notTLSPassed(engine: Engine, header: String) throws {
  let server = try ListeningSocket()
  var setup = TrustSetup.tls(engine, [server.endpoint], "not-tls: backend")
  setup.backend = "send-proxy: \(header), proxy-tlvs: [authority]"
  if header == "none" { setup.backend = "send-proxy: none" }
  setup.timeouts = "drain: 5s, preface: 400ms"
  try withTrust(setup) { proxy in
    for (index, wrong) in NoHello.all.enumerated() {
      let client = try start(proxy, wrong)
      let upstream = try server.accept()
      if header == "v2" { _ = try ReceivedProxyHeader(upstream.readExactly(28)) }
      try expectGreeting(from: upstream, at: client)
      if wrong.then != .finish { try client.write("more") }
      client.finish()
      let got = try upstream.readToEnd()
      #expect(got.bytes == wrong.bytes + (wrong.then == .finish ? [] : Array("more".utf8)))
      upstream.close()
      let record = try proxy.record(index + 1)
      #expect(record.reason == nil && !record.saysHello, "\(wrong)")
      client.close()
    }
  }
}

// A client that is let through without a hello is no way to forge a PROXY header.
@Test("no forgery by way of not-tls", arguments: Engine.eventSources)
func notTLSForged(engine: Engine) throws {
  let server = try ListeningSocket()
  var setup = TrustSetup.tls(engine, [server.endpoint], "not-tls: backend")
  setup.backend = "send-proxy: none"
  setup.timeouts = "drain: 5s, preface: 300ms"
  try withTrust(setup) { proxy in
    var count = 0
    for forged in Forgery.headers {
      // At once; and with its first bytes so early that the deadline sends them on their way.
      let client = try proxy.connect()
      try client.write(forged)
      try expectTurnedAway(client)
      count += 1
      #expect(try proxy.record(count).reason == "proxy.untrusted")

      let slow = try proxy.connect()
      try slow.write(Array(forged.prefix(4)))
      let upstream = try server.accept()
      pause(ms: 500)
      try slow.write(Array(forged.dropFirst(4)))
      #expect(try upstream.readToEnd().bytes == [])
      upstream.close()
      count += 1
      #expect(try proxy.record(count).reason == "proxy.untrusted")
    }
    try expectUntouched(server)
  }
}

// Whoever connects and leaves without a byte is a probe, whatever the policy; no server is told.
@Test("a probe of a TLS listener", arguments: Engine.eventSources, ["reject", "backend"])
func probeOfTLS(engine: Engine, policy: String) throws {
  let server = try ListeningSocket()
  try withTrust(.tls(engine, [server.endpoint], "not-tls: \(policy)")) { proxy in
    try proxy.connect().finish()
    let record = try proxy.record()
    #expect(record.reason == "tls.probe")
    #expect(record.firstBytes == nil)
    try expectUntouched(server)
  }
}

@Test("a hello without a name", arguments: Engine.eventSources, [nil, "backend", "reject"])
func noName(engine: Engine, policy: String?) throws {
  let server = try ListeningSocket()
  let listener = policy.map { "no-sni: \($0)" } ?? ""
  try withTrust(.tls(engine, [server.endpoint], listener)) { proxy in
    let cases = [
      (nil, "tls.no-sni"), ("", "tls.no-sni"), ("192.0.2.1", "tls.bad-sni"),
      ("2001:db8::1", "tls.bad-sni"), ("no host name", "tls.bad-sni"),
    ]
    for (index, (name, reason)) in cases.enumerated() {
      let client = try proxy.connect()
      let hello = TLSHello(name, alpn: ["imap"]).bytes
      try client.write(hello)
      if policy == "reject" {
        // The alert: missing_extension, or unrecognized_name.
        let wanted: UInt8 = reason == "tls.no-sni" ? 109 : 112
        #expect(try client.readToEnd().bytes == [21, 3, 3, 0, 2, 2, wanted])
        try expectUntouched(server)
      } else {
        let upstream = try server.accept()
        _ = try ReceivedProxyHeader(upstream.readExactly(28))
        #expect(try upstream.readExactly(hello.count) == hello)
        upstream.close()
      }
      client.close()
      let record = try proxy.record(index + 1)
      #expect(record.reason == (policy == "reject" ? reason : nil))
      #expect(record.sni == (name == "" ? nil : name))
      #expect(record.alpn == "imap")
      #expect(record.firstBytes == nil)
    }
    // A name is served whatever the policy.
    let client = try proxy.connect()
    try client.write(TLSHello().bytes)
    _ = try server.accept()
  }
}
