import Glibc
import TestSupport
import Testing

// HAProxy and nginx in front of us send their headers their own way, over TLS that ends at HAProxy
// included. We must require them, read them as they mean them, and tell the next server the same.

struct Sender: Sendable, CustomStringConvertible {
  let name: String
  /// HAProxy's words on its server line; nil is nginx.
  let options: String?
  let host: String
  let word: String
  /// The types of TLVs that come in.
  let tlvs: Set<UInt8>
  var description: String { "\(name) over \(host)" }

  private static func senders(_ host: String) -> [Sender] {
    let haproxy = [
      ("v1", "send-proxy", "v1", []), ("v2", "send-proxy-v2", "v2", []),
      ("v2 with crc32c", "send-proxy-v2 proxy-v2-options crc32c", "v2", [0x03]),
      (
        "v2 with unique-id and crc32c", "send-proxy-v2 proxy-v2-options unique-id,crc32c", "v2",
        [0x03, 0x05] as Set<UInt8>
      ),
    ]
    return haproxy.map {
      Sender(name: "HAProxy \($0.0)", options: $0.1, host: host, word: $0.2, tlvs: $0.3)
    } + [Sender(name: "nginx", options: nil, host: host, word: "v1", tlvs: [])]
  }
  static let all = ["127.0.0.1", "::1"].filter { $0 != "::1" || hasIPv6Loopback }
    .flatMap(senders)

  /// The address it connects from; the only one that is trusted.
  var source: String { host == "::1" ? "::1" : "127.0.0.4" }

  func start(_ front: Endpoint, to sluice: Endpoint, in directory: TemporaryDirectory) throws
    -> ChildProcess
  {
    guard let options else {
      return try startNginx(
        """
        server {
          listen \(front);
          proxy_pass \(sluice);
          proxy_protocol on;
          proxy_bind \(source);
        }
        """, in: directory, at: front)
    }
    return try startHAProxy(
      """
      frontend front
        bind \(front)
        unique-id-format id-%ci-%cp-%rt
        default_backend back
      backend back
        server sluice \(sluice) source \(host == "::1" ? "[::1]" : source) \(options)
      """, in: directory, at: front)
  }
}

@Test("HAProxy and nginx as senders", arguments: Sender.all)
func senders(sender: Sender) throws {
  let server = try ListeningSocket()
  let between = try BetweenPeers(
    servers: [server.endpoint], host: sender.host,
    top: "trusted-networks: [\"\(sender.source)\"]",
    backend: "send-proxy: v2, relay-tlvs: [unique-id]")
  let directory = try TemporaryDirectory()
  let front = Endpoint.inet(sender.host, ReservedPort.take())
  let child = try sender.start(front, to: between.endpoint, in: directory)

  for count in 1...3 {
    let client = try StreamSocket.connect(
      to: front, from: sender.host == "::1" ? nil : "127.0.0.\(count + 1)")
    try client.write("EHLO client\r\n")
    let upstream = try server.accept()
    let header = try upstream.readHeaderAndKeepRest()
    let received = try ReceivedProxyHeader(header.bytes)
    #expect(received.source == client.local)
    #expect(received.destination == front)
    #expect(
      header.rest + (try upstream.readExactly(13 - header.rest.count))
        == Array("EHLO client\r\n".utf8))
    try upstream.write("250 hello\r\n")
    #expect(try client.readExactly(11) == Array("250 hello\r\n".utf8))
    client.close()
    #expect(try upstream.readToEnd().bytes == [])
    upstream.close()

    let record = try between.records(count)[count - 1]
    #expect(record.client == client.local.description)
    #expect(record.connection.local == front.description)
    #expect(record.peer?.hasPrefix(sender.host == "::1" ? "[::1]:" : "127.0.0.4:") == true)
    #expect(record.header == sender.word)
    let types = sender.tlvs.sorted().map { "0\($0)" }.joined()
    #expect((record.tlvs ?? "") == types || (record.tlvs ?? "") == String(types.reversedPairs))
    if sender.tlvs.contains(0x05) {
      let id = "id-\(client.local.host)-\(client.local.port)-"
      #expect(record.peerID?.hasPrefix(id) == true, "\(record.peerID ?? "no id")")
      #expect(text(try tlvs(of: header.bytes)[0x05]) == record.peerID)
    } else {
      #expect(try tlvs(of: header.bytes).isEmpty)
    }
  }
  #expect(child.poll() == nil)
  try between.sluice.stop()
}

// HAProxy's own checks of its server say LOCAL. They are no errors, and nobody's connection: the
// server hears of the address that HAProxy has itself. (A check that waits for a greeting; one that
// doesn't resets at once, and what it said is gone with it.)
@Test("HAProxy's checks")
func haproxyChecks() throws {
  let server = try ListeningSocket()
  let between = try BetweenPeers(
    servers: [server.endpoint], host: "127.0.0.1", top: "trusted-networks: [127.0.0.4]")
  let directory = try TemporaryDirectory()
  let front = Endpoint.loopback(ReservedPort.take())
  let child = try startHAProxy(
    """
    listen front
      bind \(front)
      timeout check 10s
      option tcp-check
      tcp-check expect string 220
      server sluice \(between.endpoint) source 127.0.0.4 send-proxy-v2 check inter 200ms
    """, in: directory, at: front)
  for count in 1...3 {
    let upstream = try server.accept()
    let header = try upstream.readHeaderAndKeepRest()
    try upstream.write("220 mail.example.test ESMTP\r\n")
    _ = try upstream.readToEnd()
    upstream.close()
    let record = try between.records(count)[count - 1]
    #expect(record.header == "v2-local")
    #expect(record.peer == record.client && record.client.hasPrefix("127.0.0.4:"))
    #expect(try ReceivedProxyHeader(header.bytes).source?.description == record.client)
    #expect(record.connection.reason == nil)
  }
  #expect(child.poll() == nil)
  child.signal(SIGKILL)
  _ = try child.waitForExit()
  try between.sluice.stop()
}

// Real TLS, ended at HAProxy: the client's certificate, the host name it asked for and the
// protocol it speaks come in as TLVs. They go on only when they are named, `ssl` by its own name.
@Test("TLS at HAProxy", arguments: [true, false])
func tlsAtHAProxy(isRelayed: Bool) throws {
  try require(["openssl": "openssl"])
  let directory = try TemporaryDirectory()
  try makeCertificates(in: directory)
  let server = try ListeningSocket()
  let between = try BetweenPeers(
    servers: [server.endpoint], host: "127.0.0.1", top: "trusted-networks: [127.0.0.4]",
    backend: "send-proxy: v2, proxy-tlvs: [crc32c], proxy-header: { limit: 1KiB }"
      + (isRelayed ? ", relay-tlvs: [ssl, authority, alpn, unique-id]" : ""))
  let front = Endpoint.loopback(ReservedPort.take())
  let options = "ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,unique-id,crc32c"
  let haproxy = try startHAProxy(
    """
    frontend front
      bind \(front) ssl crt \(directory.file("both.pem")) ca-file \(directory.file("ca.pem")) \
    verify optional alpn imap
      unique-id-format id-%ci-%cp
      default_backend back
    backend back
      server sluice \(between.endpoint) source 127.0.0.4 send-proxy-v2 proxy-v2-options \(options)
    """, in: directory, at: front)

  let clientPort = ReservedPort.take()
  let job = Job("openssl") {
    try runClient(
      "openssl",
      [
        "s_client", "-connect", "\(front)", "-bind", "127.0.0.2:\(clientPort)", "-CAfile",
        directory.file("ca.pem"), "-cert", directory.file("client.pem"), "-key",
        directory.file("client.key"), "-servername", "mail.example.test", "-alpn", "imap",
        "-quiet", "-ign_eof",
      ], input: "a NOOP\n")
  }
  let upstream = try server.accept()
  let header = try upstream.readHeaderAndKeepRest()
  let received = try ReceivedProxyHeader(header.bytes)
  #expect(received.source == .inet("127.0.0.2", clientPort))
  #expect(received.destination == front)
  let line = Array("a NOOP\n".utf8)
  #expect(header.rest + (try upstream.readExactly(line.count - header.rest.count)) == line)
  try upstream.write("a OK done\r\n")
  upstream.close()
  #expect(try job.value().contains("a OK done"))

  let record = try between.records(1)[0]
  #expect(record.client == "127.0.0.2:\(clientPort)")
  #expect(record.header == "v2")
  #expect(record.peerID == "id-127.0.0.2-\(clientPort)")
  let inbound = try #require(record.tlvs)
  for type in ["01", "02", "03", "05", "20"] { #expect(inbound.contains(type), "\(inbound)") }
  let sent = try tlvs(of: header.bytes)
  if isRelayed {
    #expect(Set(sent.keys) == [0x01, 0x02, 0x03, 0x05, 0x20])
    #expect(text(sent[0x01]) == "imap")
    #expect(text(sent[0x02]) == "mail.example.test")
    #expect(text(sent[0x05]) == "id-127.0.0.2-\(clientPort)")
    try expectTLS(try #require(sent[0x20]))
  } else {
    #expect(Set(sent.keys) == [0x03])
  }
  #expect(haproxy.poll() == nil)
  try between.sluice.stop()
}

/// What HAProxy says of the client's TLS, in the bytes that came through.
private func expectTLS(_ value: [UInt8]) throws {
  // PP2_CLIENT_SSL, _CERT_CONN and _CERT_SESS; verify 0: presented and verified.
  #expect(value[0] == 0x07)
  #expect(Array(value[1..<5]) == [0, 0, 0, 0])
  let inner = try tlvs(in: value[5...])
  #expect(text(inner[0x21])?.hasPrefix("TLSv1.") == true)
  #expect(text(inner[0x22]) == "client.example.test")
  #expect(inner[0x23]?.isEmpty == false)
  #expect(text(inner[0x25])?.hasPrefix("EC") == true, "\(inner)")
}

/// A certificate of our own for the server, and one for the client that it has signed.
func makeCertificates(in directory: TemporaryDirectory) throws {
  let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
  try runClient(
    "openssl",
    ["req", "-x509"] + key + [
      "-keyout", directory.file("ca.key"), "-out", directory.file("ca.pem"), "-subj",
      "/CN=mail.example.test", "-addext", "subjectAltName=DNS:mail.example.test",
    ])
  try runClient(
    "openssl",
    ["req", "-x509"] + key + [
      "-keyout", directory.file("client.key"), "-out", directory.file("client.pem"), "-subj",
      "/CN=client.example.test", "-CA", directory.file("ca.pem"), "-CAkey",
      directory.file("ca.key"),
    ])
  try writeFile(
    directory.file("both.pem"),
    contents(of: directory.file("ca.pem")) + contents(of: directory.file("ca.key")))
}

extension StreamSocket {
  /// The header that came first, which must be whole in the first receive call, and what came in
  /// the same call behind it.
  func readHeaderAndKeepRest() throws -> (bytes: [UInt8], rest: [UInt8]) {
    guard case .bytes(let bytes) = try receive(withinMs: 5000) else {
      throw TestFailure("no header within five seconds of the connection")
    }
    let length = try ReceivedProxyHeader(bytes).length
    return (Array(bytes[..<length]), Array(bytes[length...]))
  }
}

extension String {
  /// `0305` for `0503`.
  fileprivate var reversedPairs: String {
    let digits = Array(self)
    return stride(from: 0, to: digits.count, by: 2).reversed()
      .map { String(digits[$0..<min($0 + 2, digits.count)]) }.joined()
  }
}
