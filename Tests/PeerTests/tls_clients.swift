import TestSupport
import Testing

// Real TLS clients through a listener that reads their ClientHello, to real TLS servers that take
// our PROXY header: the certificate is checked end to end, the server knows the client and the name
// it asked for, and our log has what the client offered.

/// A TLS client, and what it offers.
struct TLSClient: Sendable, CustomStringConvertible {
  let name: String
  /// The protocols of its ALPN, as our log writes them.
  var alpn: String?
  let arguments: @Sendable (Endpoint, TemporaryDirectory) -> [String]
  var description: String { "\(name) \(alpn ?? "without ALPN")" }

  var isCurl: Bool { name == "curl" }

  /// Runs it against a listener; returns what the server answered.
  func run(_ listener: Endpoint, _ directory: TemporaryDirectory) throws -> String {
    let request = "GET / HTTP/1.1\r\nHost: mail.example.test\r\nConnection: close\r\n\r\n"
    return try runClient(
      name, arguments(listener, directory), input: isCurl ? "" : request)
  }

  private static func openssl(_ alpn: String?, _ more: [String] = []) -> TLSClient {
    TLSClient(name: "openssl", alpn: alpn) { listener, directory in
      [
        "s_client", "-connect", "\(listener)", "-servername", "mail.example.test", "-CAfile",
        directory.file("ca.pem"), "-verify_return_error", "-verify_hostname", "mail.example.test",
        "-quiet", "-ign_eof",
      ] + (alpn.map { ["-alpn", $0] } ?? []) + more
    }
  }

  private static func curl(_ alpn: String?, _ more: [String]) -> TLSClient {
    TLSClient(name: "curl", alpn: alpn) { listener, directory in
      let host = listener.host.contains(":") ? "[\(listener.host)]" : listener.host
      return [
        "-sS", "--fail", "--noproxy", "*", "--max-time", "20", "--cacert",
        directory.file("ca.pem"), "--resolve", "mail.example.test:\(listener.port):\(host)",
      ] + more + ["https://mail.example.test:\(listener.port)/"]
    }
  }

  static let all = [
    openssl(nil), openssl("http/1.1"), openssl("http/1.1", ["-tls1_2"]),
    curl("h2,http/1.1", ["--http2"]), curl("http/1.1", ["--http1.1"]),
    curl(nil, ["--no-alpn", "--tls-max", "1.2"]),
  ]
}

/// Host and port of an address as the log writes it.
private func parts(of address: String) -> (host: String, port: String) {
  let words = address.split(separator: ":", omittingEmptySubsequences: false)
  let host = words.dropLast().joined(separator: ":").filter { $0 != "[" && $0 != "]" }
  return (host, words.last.map(String.init) ?? "")
}

private let tlsHosts = ["127.0.0.1", "::1"].filter { $0 != "::1" || hasIPv6Loopback }

@Test("TLS clients to HAProxy", arguments: TLSClient.all, tlsHosts)
func helloToHAProxy(client: TLSClient, host: String) throws {
  try require(["openssl": "openssl", "curl": "curl"])
  let directory = try TemporaryDirectory()
  try makeCertificates(in: directory)
  let server = Endpoint.loopback(ReservedPort.take())
  let haproxy = try startHAProxy(
    """
    frontend front
      mode http
      bind \(server) accept-proxy ssl crt \(directory.file("both.pem")) alpn h2,http/1.1
      http-request return status 200 content-type text/plain lf-string \
    "authority %[fc_pp_authority] sni %[ssl_fc_sni] alpn %[ssl_fc_alpn] client %ci %cp\\n"
    """, in: directory, at: server)
  let between = try BetweenPeers(
    servers: [server], host: host, type: "tls",
    backend: "send-proxy: v2, proxy-tlvs: [authority, alpn, unique-id, crc32c]")
  let answer = try client.run(between.endpoint, directory)
  let record = try between.records(1)[0]
  let address = parts(of: record.client)
  let chosen = client.alpn.map { $0.hasPrefix("h2") ? "h2" : $0 } ?? ""
  #expect(
    answer.contains(
      "authority mail.example.test sni mail.example.test alpn \(chosen) client \(address.host) "
        + "\(address.port)\n"), "\(answer)")
  #expect(address.host == host)
  #expect(record.sni == "mail.example.test")
  #expect(record.alpn == client.alpn)
  #expect(haproxy.poll() == nil)
  try between.sluice.stop()
}

@Test("TLS clients to nginx", arguments: TLSClient.all.filter { !$0.isCurl }, tlsHosts)
func helloToNginx(client: TLSClient, host: String) throws {
  try require(["openssl": "openssl"])
  let directory = try TemporaryDirectory()
  try makeCertificates(in: directory)
  let server = Endpoint.loopback(ReservedPort.take())
  let nginx = try startNginx(
    """
      server {
        listen \(server) ssl proxy_protocol;
        ssl_certificate \(directory.file("ca.pem"));
        ssl_certificate_key \(directory.file("ca.key"));
        ssl_alpn http/1.1;
        return "sni $ssl_server_name client $proxy_protocol_addr $proxy_protocol_port\\n";
      }
    """, in: directory, at: server)
  let between = try BetweenPeers(
    servers: [server], host: host, type: "tls",
    backend: "send-proxy: v2, proxy-tlvs: [authority, alpn], proxy-header: { limit: 232 }")
  let answer = try client.run(between.endpoint, directory)
  let record = try between.records(1)[0]
  let address = parts(of: record.client)
  #expect(answer == "sni mail.example.test client \(address.host) \(address.port)\n")
  #expect(record.sni == "mail.example.test" && record.alpn == client.alpn)
  #expect(nginx.poll() == nil)
  try between.sluice.stop()
}

// The header for a hello, as an implementation reads it that we did not write (without a checksum,
// which the package computes over TLVs in the order of their types).
@Test("a hello's TLVs read by the package")
func helloToPackage() throws {
  let server = try ListeningSocket()
  let between = try BetweenPeers(
    servers: [server.endpoint], host: "127.0.0.1", type: "tls",
    backend: "send-proxy: v2, proxy-tlvs: [authority, alpn]")
  let client = try StreamSocket.connect(to: between.endpoint)
  try client.write(TLSHello("mail.example.test", alpn: ["imap", "pop3"]).bytes)
  let header = try server.accept().readHeaderAndKeepRest().bytes
  let digits = { (bytes: [UInt8]) in
    bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
  }
  let lines = try runPackage(["decode"], input: digits(header) + "\n")
  let words = try #require(lines.first).split(separator: " ")
  #expect(words.contains("01=\(digits(Array("imap".utf8)))"), "\(words)")
  #expect(words.contains("02=\(digits(Array("mail.example.test".utf8)))"), "\(words)")
  client.close()
  try between.sluice.stop()
}

// HAProxy ends a client's TLS and opens one of its own to us, for another name, behind its header.
// The name that the client asked for reaches the server when it is relayed, and ours when not.
@Test("HAProxy's AUTHORITY through a TLS listener", arguments: [true, false])
func authorityThroughHAProxy(isRelayed: Bool) throws {
  try require(["openssl": "openssl"])
  let directory = try TemporaryDirectory()
  try makeCertificates(in: directory)
  let server = Endpoint.loopback(ReservedPort.take())
  let last = try startHAProxy(
    """
    frontend front
      mode http
      bind \(server) accept-proxy ssl crt \(directory.file("both.pem"))
      http-request return status 200 content-type text/plain lf-string \
    "authority %[fc_pp_authority] sni %[ssl_fc_sni] client %ci %cp\\n"
    """, in: directory, at: server)
  let between = try BetweenPeers(
    servers: [server], host: "127.0.0.1", top: "trusted-networks: [127.0.0.4]", type: "tls",
    backend: "send-proxy: v2, proxy-tlvs: [authority, alpn]"
      + (isRelayed ? ", relay-tlvs: [authority]" : ""))
  let other = try TemporaryDirectory()
  let front = Endpoint.loopback(ReservedPort.take())
  let first = try startHAProxy(
    """
    frontend front
      bind \(front) ssl crt \(directory.file("both.pem"))
      default_backend back
    backend back
      server sluice \(between.endpoint) source 127.0.0.4 send-proxy-v2 proxy-v2-options authority \
    ssl verify none sni str(inner.example.test)
    """, in: other, at: front)
  let clientPort = ReservedPort.take()
  let answer = try runClient(
    "openssl",
    [
      "s_client", "-connect", "\(front)", "-bind", "127.0.0.2:\(clientPort)", "-servername",
      "mail.example.test", "-CAfile", directory.file("ca.pem"), "-quiet", "-ign_eof",
    ], input: "GET / HTTP/1.0\r\n\r\n")
  let name = isRelayed ? "mail.example.test" : "inner.example.test"
  #expect(
    answer.contains(
      "authority \(name) sni inner.example.test client 127.0.0.2 \(clientPort)\n"), "\(answer)")
  let record = try between.records(1)[0]
  #expect(record.client == "127.0.0.2:\(clientPort)")
  #expect(record.sni == "inner.example.test")
  #expect(record.header == "v2")
  #expect(first.poll() == nil && last.poll() == nil)
  try between.sluice.stop()
}
