import TestSupport
import Testing

// Everyone who isn't trusted is their own client, whatever they send. Forging a header gets them
// nowhere: to a server that gets a header of ours theirs comes after it and is payload; one that
// gets none, and may trust our address, never sees the first byte of theirs.

struct Forgery: Sendable, CustomStringConvertible {
  let engine: Engine
  /// Who comes; 127.0.0.2 is trusted wherever somebody is.
  let source: String
  /// Where somebody else is trusted, or nobody.
  let scope: TrustedSource.Scope?
  var description: String {
    "from \(source), \(scope.map { "\($0) trust for another" } ?? "nobody trusted"), \(engine)"
  }

  static let all = Engine.eventSources.flatMap { engine in
    ["127.0.0.3", "::1"].filter { $0 != "::1" || hasIPv6Loopback }.flatMap { source in
      ([nil] + TrustedSource.Scope.allCases).map {
        Forgery(engine: engine, source: source, scope: $0)
      }
    }
  }
  static let few = all.filter { $0.scope == nil || $0.scope == .global }

  func setup(_ servers: [Endpoint], backend: String) -> TrustSetup {
    let host = source.contains(":") ? "::1" : "127.0.0.1"
    var setup = TrustSetup(engine, servers: servers, host: host)
    if let scope {
      let other = TrustedSource(engine: engine, source: "127.0.0.2", scope: scope).setup(servers)
      (setup.top, setup.listener) = (other.top, other.listener)
    }
    setup.backend = backend
    return setup
  }

  static let headers = [
    Header.v1(.inet("203.0.113.7", 40_001), to: .inet("198.51.100.25", 25)),
    Header.v1(.inet("2001:db8:1:2:3:4:5:6", 40_001), to: .inet("2001:db8:a:b:c:d:e:f", 25)),
    Array("PROXY UNKNOWN\r\n".utf8),
    Header.v2(.inet("203.0.113.7", 40_001), to: .inet("198.51.100.25", 25), checksum: true),
    Header.v2(.inet("2001:db8:1:2:3:4:5:6", 40_001), to: .inet("2001:db8:a:b:c:d:e:f", 25)),
    Header.raw(command: 0, family: 0, []),
  ]
  /// Bytes that a careless server might still take for a header.
  static let nearly = [
    Array("PROXY nonsense\r\n".utf8), Header.signature + Array("nonsense".utf8),
  ]
}

@Test("a forged header is payload behind ours", arguments: Forgery.all, [1, 2])
func forgedBehindOurs(forgery: Forgery, version: Int) throws {
  let server = try ListeningSocket()
  try withTrust(forgery.setup([server.endpoint], backend: "send-proxy: v\(version)")) { proxy in
    for (index, forged) in (Forgery.headers + Forgery.nearly).enumerated() {
      let client = try proxy.connect(from: forgery.source)
      if index.isMultiple(of: 2) { try client.write(forged) } else { try client.dribble(forged) }
      client.finish()
      let upstream = try server.accept()
      let got = try upstream.readToEnd()
      let ours = try ReceivedProxyHeader(got.bytes)
      #expect(ours.version == version)
      #expect(ours.source == client.local)
      #expect(ours.destination == client.remote)
      #expect(Array(got.bytes.dropFirst(ours.length)) == forged)
      upstream.close()
      let record = try proxy.record(index + 1)
      #expect(record.client == client.local.description)
      #expect(record.connection.bytesUp == forged.count)
      #expect(!record.saysHeader && record.peer == nil)
      #expect(record.reason == nil)
    }
  }
}

@Test("a forged header never reaches a server without ours", arguments: Forgery.all, [false, true])
func forgedWithoutOurs(forgery: Forgery, isDribbled: Bool) throws {
  let server = try ListeningSocket()
  try withTrust(forgery.setup([server.endpoint], backend: "send-proxy: none")) { proxy in
    for (index, forged) in (Forgery.headers + Forgery.nearly).enumerated() {
      let sent = forged + Array("EHLO forger\r\n".utf8)
      let client = try proxy.connect(from: forgery.source)
      let upstream = try server.accept()
      // The server is not kept waiting for the verdict, nor is the client.
      try expectGreeting(from: upstream, at: client)
      if isDribbled {
        // It is turned away before the last byte.
        for byte in forged {
          try client.write([byte])
          if try client.receive(withinMs: 2) != nil { break }
        }
      } else {
        try client.write(sent)
      }
      #expect(try upstream.readToEnd().bytes == [])
      _ = try client.readToEnd()
      upstream.close()
      let record = try proxy.record(index + 1)
      #expect(record.reason == "proxy.untrusted")
      #expect(record.end == "rejected")
      #expect(record.client == client.local.description)
      let first = try #require(record.firstBytes)
      #expect(first.count >= 12 && hexadecimal(sent.prefix(16)).hasPrefix(first))
    }
  }
}

// What only begins like a header passes, whatever its segments: every prefix of a signature that is
// followed by something else, and one that is the whole of what the client has to say.
@Test("what is no header passes", arguments: Forgery.few, [false, true])
func ordinaryBytes(forgery: Forgery, isDribbled: Bool) throws {
  let server = try ListeningSocket()
  let v1 = Array("PROXY ".utf8)
  let words = ["EHLO client\r\n", "PROPFIND / HTTP/1.1\r\n\r\n", "P", "PROXY", "PROXY\r\n", "\r\n"]
  let payloads =
    words.map { Array($0.utf8) } + [Array(Header.signature.dropLast())]
    + (0..<6).map { Array(v1.prefix($0)) + [0x2a] }
    + (0..<12).map { Array(Header.signature.prefix($0)) + [0x2a] }
  try withTrust(forgery.setup([server.endpoint], backend: "send-proxy: none")) { proxy in
    for (index, payload) in payloads.enumerated() {
      let client = try proxy.connect(from: forgery.source)
      let upstream = try server.accept()
      if isDribbled { try client.dribble(payload) } else { try client.write(payload) }
      // Held at most until it cannot be a signature; a FIN shows that as well.
      client.finish()
      let got = try upstream.readToEnd()
      #expect(got.bytes == payload)
      #expect(got.ending == .fin)
      try expectGreeting(from: upstream, at: client)
      upstream.close()
      let record = try proxy.record(index + 1)
      #expect(record.reason == nil, "\(payload)")
      #expect(record.connection.bytesUp == payload.count)
      #expect(!record.saysHeader)
    }
  }
}

// A few bytes that could yet become a signature are held, and only they: the answer to them comes
// through when they have become something else.
@Test("held bytes go on when they can't be a header", arguments: Forgery.few)
func heldBytes(forgery: Forgery) throws {
  let server = try ListeningSocket()
  try withTrust(forgery.setup([server.endpoint], backend: "send-proxy: none")) { proxy in
    let client = try proxy.connect(from: forgery.source)
    let upstream = try server.accept()
    try client.write("PRO")
    #expect(try upstream.receive(withinMs: 100) == nil)
    try expectGreeting(from: upstream, at: client)
    try client.write("P")
    #expect(try upstream.readExactly(4) == Array("PROP".utf8))
    // From here on nothing is looked at.
    let later = Array("PROXY TCP4 203.0.113.7 198.51.100.25 40001 25\r\n".utf8)
    try client.write(later)
    #expect(try upstream.readExactly(later.count) == later)
    client.close()
    upstream.close()
  }
}

// The operator of a server that reads its clients' own headers says so.
@Test("pass-client-proxy-header", arguments: Forgery.few, [false, true])
func passedOn(forgery: Forgery, isDribbled: Bool) throws {
  let server = try ListeningSocket()
  let backend = "send-proxy: none, pass-client-proxy-header: true"
  try withTrust(forgery.setup([server.endpoint], backend: backend)) { proxy in
    for (index, header) in (Forgery.headers + Forgery.nearly).enumerated() {
      let client = try proxy.connect(from: forgery.source)
      let upstream = try server.accept()
      if isDribbled { try client.dribble(header) } else { try client.write(header) }
      #expect(try upstream.readExactly(header.count) == header)
      client.close()
      upstream.close()
      let record = try proxy.record(index + 1)
      // The client is still the one that connected: we believe nothing of what we pass on.
      #expect(record.client == client.local.description)
      #expect(record.reason == nil)
      #expect(!record.saysHeader)
    }
  }
}

// When the first server refuses, what was held goes to the second, and is looked at all the same.
@Test("a forged header is refused after a failed dial", arguments: Engine.eventSources)
func forgedAfterRetry(engine: Engine) throws {
  let gone = try ListeningSocket()
  gone.close()
  let server = try ListeningSocket()
  var setup = TrustSetup(engine, servers: [gone.endpoint, server.endpoint])
  setup.backend = "send-proxy: none, retries: 1"
  try withTrust(setup) { proxy in
    var ended = 0
    for forged in Forgery.headers {
      for _ in 0..<2 {
        let client = try proxy.connect(from: "127.0.0.3")
        try client.write(forged)
        let upstream = try server.accept()
        #expect(try upstream.readToEnd().bytes == [])
        try expectTurnedAway(client)
        ended += 1
        // The log tells of ten rejections for one reason in a second.
        pause(ms: 110)
        #expect(try proxy.record(ended).reason == "proxy.untrusted")
      }
    }
    #expect(try proxy.records(ended).contains { $0.connection.tries == 2 })
  }
}
