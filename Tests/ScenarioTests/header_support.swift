import Glibc
import TestSupport
import Testing

// What the scenarios about PROXY headers share: headers built and taken apart by code of the tests'
// own, a daemon with any trust settings, and its log with all that it says about a header.

/// PROXY headers as a proxy in front would send them. Specification: proxy-protocol.txt, HAProxy.
enum Header {
  static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10]

  static func v1(_ client: Endpoint, to local: Endpoint) -> [UInt8] {
    let name = client.host.contains(":") ? "TCP6" : "TCP4"
    return Array("PROXY \(name) \(client.host) \(local.host) \(client.port) \(local.port)\r\n".utf8)
  }

  static func v2(
    _ client: Endpoint, to local: Endpoint, tlvs: [TLV] = [], checksum: Bool = false
  ) -> [UInt8] {
    let block =
      bytes(of: client.host) + bytes(of: local.host) + bigEndian(client.port)
      + bigEndian(local.port)
    let family: UInt8 = client.host.contains(":") ? 0x21 : 0x11
    let area = (tlvs + (checksum ? [TLV(0x03, [0, 0, 0, 0])] : [])).flatMap(\.bytes)
    var header = raw(command: 1, family: family, block + area)
    if checksum {
      let crc = crc32c(header)
      for index in 0..<4 {
        header[header.count - 4 + index] = UInt8(truncatingIfNeeded: crc >> UInt32(24 - 8 * index))
      }
    }
    return header
  }

  /// Any 16 first bytes, and what they announce.
  static func raw(command: UInt8, family: UInt8, _ block: [UInt8]) -> [UInt8] {
    signature + [0x20 | command, family] + bigEndian(UInt16(block.count)) + block
  }

  static func bigEndian(_ word: UInt16) -> [UInt8] { [UInt8(word >> 8), UInt8(word & 0xff)] }

  private static func bytes(of host: String) -> [UInt8] {
    guard host.contains(":") else { return host.split(separator: ".").compactMap { UInt8($0) } }
    let groups = host.split(separator: ":").compactMap { UInt16($0, radix: 16) }
    precondition(groups.count == 8, "written without ::, for this reader: \(host)")
    return groups.flatMap(bigEndian)
  }

  /// RFC 4960, appendix B; bit by bit.
  static func crc32c(_ bytes: [UInt8]) -> UInt32 {
    var crc = UInt32.max
    for byte in bytes {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0x82f6_3b78 : crc >> 1 }
    }
    return ~crc
  }
}

/// A type-length-value vector of a version 2 header.
struct TLV: Hashable, Sendable {
  let type: UInt8
  let value: [UInt8]

  init(_ type: UInt8, _ value: [UInt8]) {
    self.type = type
    self.value = value
  }

  init(_ type: UInt8, _ text: String) { self.init(type, Array(text.utf8)) }

  var bytes: [UInt8] { [type] + Header.bigEndian(UInt16(value.count)) + value }
  var text: String { String(decoding: value, as: UTF8.self) }

  /// Those of a received header for IP addresses, which must fill it to its end.
  static func all(in header: [UInt8]) throws -> [TLV] {
    let whole = try ReceivedProxyHeader(header)
    guard whole.version == 2, !whole.isLocal else { return [] }
    var found: [TLV] = []
    var at = 16 + (header[13] == 0x21 ? 36 : 12)
    while at < whole.length {
      guard at + 3 <= whole.length else { throw TestFailure("a TLV's head cut short: \(header)") }
      let end = at + 3 + (Int(header[at + 1]) << 8 | Int(header[at + 2]))
      guard end <= whole.length else { throw TestFailure("a TLV past the end: \(header)") }
      found.append(TLV(header[at], Array(header[(at + 3)..<end])))
      at = end
    }
    return found
  }

  /// "zero the 4 bytes, compute over the whole header": section 2.2.3.
  static func checksumIsRight(in header: [UInt8]) throws -> Bool {
    let whole = try ReceivedProxyHeader(header)
    var header = Array(header[..<whole.length])
    var at = 16 + (header[13] == 0x21 ? 36 : 12)
    while at < header.count {
      let size = Int(header[at + 1]) << 8 | Int(header[at + 2])
      if header[at] == 0x03 {
        let stored = header[(at + 3)..<(at + 7)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        header.replaceSubrange((at + 3)..<(at + 7), with: [0, 0, 0, 0])
        return size == 4 && Header.crc32c(header) == stored
      }
      at += 3 + size
    }
    throw TestFailure("no CRC32C in \(header)")
  }
}

/// Lower-case hexadecimal, as the log writes bytes.
func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
  bytes.map { byte in
    let digits = String(byte, radix: 16)
    return digits.count == 1 ? "0\(digits)" : digits
  }.joined()
}

/// A line of the connection log with what it says about a PROXY header. Lines of connections that
/// had nothing to do with one have none of these.
struct HeaderRecord: Sendable {
  let connection: ConnectionRecord
  private let fields: JSONValue

  init(line: String) throws {
    connection = try ConnectionRecord(line: line)
    fields = try JSONValue(line)
  }

  var client: String { connection.client }
  var local: String { connection.local }
  var reason: String? { connection.reason }
  var end: String { connection.end }
  /// The address that really connected.
  var peer: String? { fields["peer"]?.string }
  /// `v1`, `v2-local` and so on; nil without a valid header.
  var header: String? { fields["header"]?.string }
  var saysHeader: Bool { fields["header"] != nil }
  /// The types of the inbound TLVs, in hexadecimal.
  var tlvs: String? { fields["tlvs"]?.string }
  /// The UNIQUE_ID that came in.
  var peerID: String? { fields["peer_id"]?.string }
  var tlvsDropped: Int { fields["tlvs_dropped"]?.number.map { Int($0) } ?? 0 }
  var firstBytes: String? { fields["first_bytes"]?.string }
  /// Only lines of connections whose ClientHello was read have these.
  var saysHello: Bool { fields["ech"] != nil }
  var sni: String? { fields["sni"]?.string }
  var alpn: String? { fields["alpn"]?.string }
  /// Only lines of connections that a rule took have it.
  var rule: String? { fields["rule"]?.string }
  var offersECH: Bool? { fields["ech"]?.boolean }
  /// Only lines of STARTTLS listeners have this.
  var startTLS: Bool? { fields["starttls"]?.boolean }
}

/// What a scenario about headers wants of the daemon: YAML flow fragments for the places they name.
struct TrustSetup: Sendable {
  var engine: Engine
  var servers: [Endpoint]
  var bind: Endpoint
  /// Whole lines at the top level.
  var top = ""
  var timeouts = "drain: 5s"
  var type = "server-first"
  var listener = ""
  var backend = "send-proxy: v2"
  /// More backends, each a line.
  var backends: [String] = []
  /// Whether the listener has a backend beside its rules.
  var hasFallback = true

  init(_ engine: Engine, servers: [Endpoint], host: String = "127.0.0.1") {
    self.engine = engine
    self.servers = servers
    bind = .inet(host, ReservedPort.take())
  }

  func yaml(log: String) -> String {
    let list = servers.map { "\"\($0)\"" }.joined(separator: ", ")
    let listener = listener.isEmpty ? "" : ", \(listener)"
    let backend = backend.isEmpty ? "" : ", \(backend)"
    return """
      workers: 1
      events: \(engine.events)
      log: { connections: "\(log)" }
      timeouts: { \(timeouts) }
      \(top)
      listeners:
        front: { bind: "\(bind)", type: \(type)\(hasFallback ? ", backend: back" : "")\(listener) }
      backends:
        back: { servers: [\(list)], splice: \(engine.splice)\(backend) }
        \(backends.joined(separator: "\n  "))

      """
  }
}

/// A running daemon whose log is read with all it says about headers.
final class TrustProcess: Sendable {
  let sluice: SluiceProcess

  init(_ setup: TrustSetup) throws {
    let directory = try TemporaryDirectory()
    let log = directory.file("connections")
    sluice = try SluiceProcess(yaml: setup.yaml(log: log), in: directory, at: setup.bind)
  }

  func connect(from source: String? = nil) throws -> StreamSocket {
    try sluice.connect(from: source)
  }

  /// Waits until so many connections have ended, and no more than that.
  func records(_ count: Int, until deadline: Deadline = .generous) throws -> [HeaderRecord] {
    _ = try sluice.records(count, until: deadline)
    return try sluice.lines.records.map { try HeaderRecord(line: $0) }
  }

  /// Waits until so many connections have ended, of which the log left some out; those that it
  /// did not, and how many it did.
  func records(
    of count: Int, until deadline: Deadline = .generous
  ) throws -> (records: [HeaderRecord], leftOut: Int) {
    var found = 0
    try wait(for: "\(count) connections accounted for in the log, \(found) are", until: deadline) {
      found = try sluice.endedCount
      return found >= count
    }
    let lines = try sluice.lines
    #expect(lines.records.count + lines.leftOut == count)
    return (try lines.records.map { try HeaderRecord(line: $0) }, lines.leftOut)
  }

  /// The record of the connection that ended last, the `count`th.
  func record(_ count: Int = 1, until deadline: Deadline = .generous) throws -> HeaderRecord {
    try records(count, until: deadline)[count - 1]
  }
}

/// Runs a scenario against a daemon, which must afterwards end cleanly when asked to.
func withTrust(_ setup: TrustSetup, _ scenario: (TrustProcess) throws -> Void) throws {
  let proxy = try TrustProcess(setup)
  do {
    try scenario(proxy)
  } catch {
    throw TestFailure("\(error)\n\(proxy.sluice.child.standardError)")
  }
  try proxy.sluice.stop()
}

/// Where a proxy in front stands, and in which place of the configuration it is trusted.
struct TrustedSource: Sendable, CustomStringConvertible {
  enum Scope: String, Sendable, CaseIterable {
    case global
    case listener
    case sources
  }

  let engine: Engine
  let source: String
  let scope: Scope
  var description: String { "\(source), \(scope), \(engine)" }

  /// The address to connect to: of the source's own family.
  var host: String { source.contains(":") ? "::1" : "127.0.0.1" }
  /// The client that the proxy in front speaks for, and the address that client went to.
  var client: Endpoint {
    source.contains(":")
      ? .inet("2001:db8:1:2:3:4:5:6", 40_001) : .inet("203.0.113.7", 40_001)
  }
  var reached: Endpoint {
    source.contains(":") ? .inet("2001:db8:a:b:c:d:e:f", 25) : .inet("198.51.100.25", 25)
  }

  /// A daemon that trusts this source and nobody else.
  func setup(_ servers: [Endpoint]) -> TrustSetup {
    var setup = TrustSetup(engine, servers: servers, host: host)
    switch scope {
    case .global: setup.top = "trusted-networks: [\"\(source)\"]"
    case .listener: setup.listener = "trusted-networks: [\"\(source)\"]"
    case .sources:
      setup.listener =
        "proxy-protocol: { sources: [{ networks: [\"\(source)\"], header: require }] }"
    }
    return setup
  }

  static let addresses = ["127.0.0.2", "127.0.0.3", "::1"].filter { $0 != "::1" || hasIPv6Loopback }

  static let all = Engine.eventSources.flatMap { engine in
    addresses.flatMap { source in
      Scope.allCases.map { TrustedSource(engine: engine, source: source, scope: $0) }
    }
  }
  /// Where only the address family and the event source can make a difference.
  static let few = Engine.eventSources.flatMap { engine in
    addresses.filter { $0 != "127.0.0.3" }.map {
      TrustedSource(engine: engine, source: $0, scope: $0 == "::1" ? .global : .listener)
    }
  }
}

extension StreamSocket {
  /// Writes every byte in a segment of its own: TCP_NODELAY is set, and the rest between them is
  /// enough for a receiver that isn't busy.
  func dribble(_ bytes: [UInt8]) throws {
    for byte in bytes {
      try write([byte])
      usleep(300)
    }
  }

  /// The PROXY header that an upstream gets first, in one receive call.
  func readHeader() throws -> [UInt8] {
    guard case .bytes(let bytes) = try receive(withinMs: 2000) else {
      throw TestFailure("no header within two seconds of the connection")
    }
    return bytes
  }
}

/// Says a greeting at the server and hears it at the client, within half a second.
func expectGreeting(from upstream: StreamSocket, at client: StreamSocket) throws {
  let greeting = Array("220 mail.example.test ESMTP\r\n".utf8)
  let (_, ms) = try timed {
    try upstream.write(greeting)
    #expect(try client.readExactly(greeting.count) == greeting)
  }
  #expect(ms < 500, "the greeting took \(ms) ms")
}

/// The connection was ended by the daemon without a byte for this side.
func expectTurnedAway(_ client: StreamSocket, until deadline: Deadline = .generous) throws {
  let answer = try client.readToEnd(until: deadline)
  #expect(answer.bytes == [], "a client that was turned away got \(answer.bytes)")
}

/// The server was never connected to.
func expectUntouched(_ server: ListeningSocket) throws {
  #expect(try server.accept(withinMs: 0) == nil, "the server was connected to")
}
