import Glibc
import TestSupport
import Testing

// "A receiver may be tolerant to partial headers", and we are: a header may arrive in any pieces,
// with the client's first bytes right behind it, and up to the length that the listener takes.
// What follows the one header is the client's, even when it looks like another: load balancers
// exist that put theirs before one that was there already.

@Test("a header in any segments", arguments: TrustedSource.few, [1, 2])
func headerSegments(trusted: TrustedSource, version: Int) throws {
  let server = try ListeningSocket()
  try withTrust(trusted.setup([server.endpoint])) { proxy in
    let header =
      version == 1
      ? Header.v1(trusted.client, to: trusted.reached)
      : Header.v2(trusted.client, to: trusted.reached, tlvs: [TLV(0x04, "pad")], checksum: true)
    let payload = Array("EHLO client\r\nMAIL FROM:<a@example.test>\r\n".utf8)
    let all = header + payload
    // In one segment, in 1-byte segments, and cut in two around every border.
    let borders = [1, 5, 6, 11, 12, 15, 16, 17, header.count - 1, header.count, header.count + 1]
    let cuts = [[], Array(1..<all.count)] + borders.map { [$0] }
    for (index, cut) in cuts.enumerated() {
      let client = try proxy.connect(from: trusted.source)
      for (start, end) in zip([0] + cut, cut + [all.count]) {
        try client.write(Array(all[start..<end]))
        usleep(cut.count == 1 ? 20_000 : 300)
      }
      client.finish()
      let upstream = try server.accept()
      let got = try upstream.readToEnd()
      let ours = try ReceivedProxyHeader(got.bytes)
      #expect(ours.source == trusted.client)
      #expect(Array(got.bytes.dropFirst(ours.length)) == payload, "cut at \(cut)")
      upstream.close()
      let record = try proxy.record(index + 1)
      #expect(record.client == trusted.client.description)
      #expect(record.connection.bytesUp == payload.count)
    }
  }
}

// Much payload right behind the header: no byte of it is lost, doubled or kept waiting.
@Test("a header and a megabyte", arguments: Engine.all)
func headerAndMuch(engine: Engine) throws {
  let server = try ListeningSocket()
  let trusted = TrustedSource(engine: engine, source: "127.0.0.2", scope: .global)
  try withTrust(trusted.setup([server.endpoint])) { proxy in
    for (index, size) in [4000, 4096, 16_384, 65_536, 1_000_000].enumerated() {
      let pattern = Pattern(seed: UInt64(size))
      let client = try proxy.connect(from: trusted.source)
      let writer = Job("client") {
        let first = pattern.bytes(at: 0, count: min(size, 60_000))
        try client.write(Header.v2(trusted.client, to: trusted.reached) + first)
        if size > first.count {
          try client.send(pattern, from: first.count, count: size - first.count)
        }
        client.finish()
      }
      let upstream = try server.accept()
      let ours = try upstream.readExactly(28)
      #expect(try ReceivedProxyHeader(ours).source == trusted.client)
      let read = try upstream.expect(pattern)
      #expect(read.count == size)
      #expect(read.ending == .fin)
      try writer.value()
      upstream.close()
      #expect(try proxy.record(index + 1).connection.bytesUp == size)
    }
  }
}

// S-3: "behind one header everything is payload", and to a server that gets ours it stays that.
@Test("a second header is payload", arguments: TrustedSource.few, [1, 2])
func secondHeader(trusted: TrustedSource, version: Int) throws {
  let server = try ListeningSocket()
  var setup = trusted.setup([server.endpoint])
  setup.backend = "send-proxy: v\(version)"
  try withTrust(setup) { proxy in
    for (index, second) in Forgery.headers.enumerated() {
      let client = try proxy.connect(from: trusted.source)
      try client.write(Header.v2(trusted.client, to: trusted.reached) + second)
      client.finish()
      let upstream = try server.accept()
      let got = try upstream.readToEnd().bytes
      let ours = try ReceivedProxyHeader(got)
      #expect(ours.source == trusted.client)
      #expect(Array(got.dropFirst(ours.length)) == second)
      upstream.close()
      #expect(try proxy.record(index + 1).client == trusted.client.description)
    }
  }
}

/// How a client's own header comes behind that of the proxy in front.
enum Arrival: Sendable, CaseIterable {
  case together, apart, dribbled
}

// The proxy in front vouches for its own header, not for its client's bytes: a server that gets no
// header of ours, and trusts us, would take the client's for one.
@Test(
  "a second header never reaches a server without ours", arguments: TrustedSource.few,
  Arrival.allCases)
func secondHeaderWithoutOurs(trusted: TrustedSource, arrival: Arrival) throws {
  let server = try ListeningSocket()
  var setup = trusted.setup([server.endpoint])
  setup.backend = "send-proxy: none"
  setup.timeouts = "drain: 5s, proxy-header: 3s"
  try withTrust(setup) { proxy in
    let first = Header.v2(trusted.client, to: trusted.reached)
    for (index, second) in (Forgery.headers + Forgery.nearly).enumerated() {
      let client = try proxy.connect(from: trusted.source)
      if arrival == .together {
        try client.write(first + second)
        try expectTurnedAway(client)
        try expectUntouched(server)
      } else {
        try client.write(first)
        let upstream = try server.accept()
        // The server's greeting does not wait for the verdict.
        try expectGreeting(from: upstream, at: client)
        if arrival == .apart {
          try client.write(second)
        } else {
          for byte in second {
            guard (try? client.write([byte])) != nil else { break }
            if try client.receive(withinMs: 2) != nil { break }
          }
        }
        #expect(try upstream.readToEnd().bytes == [])
        _ = try client.readToEnd()
        upstream.close()
      }
      let record = try proxy.record(index + 1)
      #expect(record.reason == "proxy.untrusted")
      #expect(record.client == trusted.client.description)
      #expect(record.peer == client.local.description)
      #expect(record.header == "v2")
      let told = try #require(record.firstBytes)
      #expect(told.count >= 12 && hexadecimal(second.prefix(16)).hasPrefix(told))
    }
  }
}

// The deadline of the first header is no way around it: a client that waits it out with the start
// of a second one is watched as before. What is no header, and what is allowed, passes.
@Test("what is held behind a header", arguments: TrustedSource.few)
func heldBehindHeader(trusted: TrustedSource) throws {
  let server = try ListeningSocket()
  var setup = trusted.setup([server.endpoint])
  setup.backend = "send-proxy: none"
  setup.timeouts = "drain: 5s, proxy-header: 300ms"
  try withTrust(setup) { proxy in
    let first = Header.v1(trusted.client, to: trusted.reached)
    let second = Header.v1(.inet("192.0.2.66", 666), to: .inet("192.0.2.67", 25))
    let forger = try proxy.connect(from: trusted.source)
    try forger.write(first + second.prefix(5))
    let upstream = try server.accept()
    pause(ms: 600)
    #expect(try upstream.receive(withinMs: 0) == nil)
    try forger.write(Array(second.dropFirst(5)))
    #expect(try upstream.readToEnd().bytes == [])
    upstream.close()
    #expect(try proxy.record(1).reason == "proxy.untrusted")

    for payload in ["PROPFIND /\r\n", "P", "EHLO client\r\n", ""] {
      let client = try proxy.connect(from: trusted.source)
      try client.write(first + Array(payload.utf8))
      client.finish()
      let upstream = try server.accept()
      #expect(try upstream.readToEnd().bytes == Array(payload.utf8))
      upstream.close()
    }
    #expect(try proxy.records(5).dropFirst().allSatisfy { $0.reason == nil })
  }
  setup.backend += ", pass-client-proxy-header: true"
  setup.bind = .inet(trusted.host, ReservedPort.take())
  try withTrust(setup) { proxy in
    let second = Header.v1(.inet("192.0.2.66", 666), to: .inet("192.0.2.67", 25))
    let client = try proxy.connect(from: trusted.source)
    try client.write(Header.v1(trusted.client, to: trusted.reached) + second)
    #expect(try server.accept().readExactly(second.count) == second)
    client.close()
  }
}

struct HeaderLimit: Sendable, CustomStringConvertible {
  let setting: String
  let bytes: Int
  var description: String { setting.isEmpty ? "the default" : setting }

  static let all = [
    HeaderLimit(setting: "", bytes: 4096), HeaderLimit(setting: "max-header: 28B", bytes: 28),
    HeaderLimit(setting: "max-header: 536B", bytes: 536),
    HeaderLimit(setting: "max-header: 64KiB", bytes: 65_536),
  ]
}

@Test("the longest header, and one byte more", arguments: HeaderLimit.all, Engine.eventSources)
func longestHeader(limit: HeaderLimit, engine: Engine) throws {
  let server = try ListeningSocket()
  let trusted = TrustedSource(engine: engine, source: "127.0.0.2", scope: .sources)
  var setup = trusted.setup([server.endpoint])
  let more = limit.setting.isEmpty ? "" : ", \(limit.setting)"
  setup.listener =
    "proxy-protocol: { sources: [{ networks: [127.0.0.2], header: require }]\(more) }"
  try withTrust(setup) { proxy in
    /// A header of exactly so many bytes: padded, from 31 bytes on, with a NOOP.
    func header(_ count: Int) -> [UInt8] {
      let padding = count - 28 - 3
      let tlvs = padding >= 0 ? [TLV(0x04, [UInt8](repeating: 0, count: padding))] : []
      return Header.v2(trusted.client, to: trusted.reached, tlvs: tlvs)
    }
    let client = try proxy.connect(from: trusted.source)
    try client.write(header(limit.bytes) + [0x2a])
    let upstream = try server.accept()
    #expect(try ReceivedProxyHeader(upstream.readExactly(28)).source == trusted.client)
    #expect(try upstream.readExactly(1) == [0x2a])
    client.close()
    upstream.close()
    #expect(try proxy.record().header == "v2")

    // Of a longer one 16 bytes are enough to say so: nothing of it is waited for. No header has
    // 29 or 30 bytes, since a TLV has three at least.
    let tooLong = header(max(limit.bytes + 1, 31))
    let second = try proxy.connect(from: trusted.source)
    try second.write(Array(tooLong.prefix(16)))
    try expectTurnedAway(second)
    let record = try proxy.record(2)
    #expect(record.reason == "proxy.too-long")
    #expect(record.firstBytes == hexadecimal(tooLong.prefix(16)))
    #expect(record.connection.durationMs < 1000)
    try expectUntouched(server)
  }
}
