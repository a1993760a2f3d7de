import TestSupport
import Testing

// What we put into TLVs, others read: HAProxy's fetches give back our id and the host name that we
// passed on, HAProxy verifies our checksum, and nginx, which takes no header longer than 107 bytes,
// skips what it doesn't want.

private let receiverHosts = ["127.0.0.1", "::1"].filter { $0 != "::1" || hasIPv6Loopback }

@Test("HAProxy reads our TLVs", arguments: receiverHosts)
func haproxyReadsTLVs(host: String) throws {
  let directory = try TemporaryDirectory()
  let receiver = Endpoint.loopback(ReservedPort.take())
  let haproxy = try startHAProxy(
    """
    frontend front
      mode http
      bind \(receiver) accept-proxy
      http-request return status 200 content-type text/plain lf-string \
    "%ci %cp %fi %fp %[fc_pp_unique_id] %[fc_pp_authority]\\n"
    """, in: directory, at: receiver)
  let source = host == "::1" ? "::1" : "127.0.0.4"
  let between = try BetweenPeers(
    servers: [receiver], host: host, top: "trusted-networks: [\"\(source)\"]",
    backend: "send-proxy: v2, relay-tlvs: [authority], proxy-header: { align: 16 }, proxy-tlvs: "
      + "[unique-id, crc32c, { netns: blue }, { type: 0xE5, value: \"${client.address}\" }]")
  let client = try StreamSocket.connect(to: between.endpoint, from: source)
  // AUTHORITY comes from a proxy in front of us: LOCAL addresses would be ours, so a whole header.
  let name = Array("mail.example.test".utf8)
  let isSix = host == "::1"
  let block: [UInt8] =
    isSix
    ? [0x20, 1, 0xd, 0xb8] + [UInt8](repeating: 0, count: 11) + [7] + [0x20, 1, 0xd, 0xb8]
      + [UInt8](repeating: 0, count: 11) + [25] + [0x9c, 0x41, 0, 25]
    : [203, 0, 113, 7, 198, 51, 100, 25, 0x9c, 0x41, 0, 25]
  let area = block + [0x02, 0, UInt8(name.count)] + name
  try client.write(
    [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10, 0x21, isSix ? 0x21 : 0x11, 0]
      + [UInt8(area.count)] + area)
  try client.write("GET / HTTP/1.0\r\nConnection: close\r\n\r\n")
  let answer = String(decoding: try client.readToEnd().bytes, as: UTF8.self)
  client.close()
  let record = try between.records(1)[0]
  let wanted =
    isSix ? "2001:db8::7 40001 2001:db8::19 25" : "203.0.113.7 40001 198.51.100.25 25"
  #expect(
    answer.hasSuffix("\r\n\r\n\(wanted) \(record.connection.id) mail.example.test\n"),
    "HAProxy said: \(answer)")
  #expect(haproxy.poll() == nil)
  try between.sluice.stop()
}

@Test("nginx skips our TLVs", arguments: receiverHosts)
func nginxSkipsTLVs(host: String) throws {
  let directory = try TemporaryDirectory()
  let receiver = Endpoint.loopback(ReservedPort.take())
  let nginx = try startNginx(
    """
    server {
      listen \(receiver) proxy_protocol;
      set $client "$proxy_protocol_addr $proxy_protocol_port";
      return "$client $proxy_protocol_server_addr $proxy_protocol_server_port\\n";
    }
    """, in: directory, at: receiver)
  let between = try BetweenPeers(
    servers: [receiver], host: host,
    backend: "send-proxy: v2, proxy-header: { limit: 232 }, proxy-tlvs: [unique-id, crc32c]")
  let client = try StreamSocket.connect(
    to: between.endpoint, from: host == "::1" ? nil : "127.0.0.2")
  let answer = String(decoding: try client.readToEnd().bytes, as: UTF8.self)
  let (from, to) = (client.local, client.remote)
  #expect(answer == "\(from.host) \(from.port) \(to.host) \(to.port)\n")
  client.close()
  #expect(nginx.poll() == nil)
  _ = try between.records(1)
  try between.sluice.stop()
}

// A header that HAProxy refuses shows that it does read ours: with one bit of the checksum wrong
// it closes at once. The same bytes with the right one are served.
@Test("HAProxy verifies checksums")
func haproxyVerifiesChecksum() throws {
  let directory = try TemporaryDirectory()
  let receiver = Endpoint.loopback(ReservedPort.take())
  let recorder = try ListeningSocket()
  let between = try BetweenPeers(
    servers: [recorder.endpoint], host: "127.0.0.1",
    backend: "send-proxy: v2, proxy-tlvs: [unique-id, crc32c]")
  let original = try StreamSocket.connect(to: between.endpoint)
  let upstream = try recorder.accept()
  let header = try upstream.readHeaderAndKeepRest().bytes
  original.close()
  upstream.close()
  let haproxy = try startHAProxy(
    """
    frontend front
      mode http
      bind \(receiver) accept-proxy
      http-request return status 200 content-type text/plain lf-string "%ci %cp\\n"
    """, in: directory, at: receiver)
  for flipped in [nil, header.count - 1, header.count - 4, 20] {
    var bytes = header
    if let flipped { bytes[flipped] ^= 1 }
    let client = try StreamSocket.connect(to: receiver)
    try client.write(bytes + Array("GET / HTTP/1.0\r\n\r\n".utf8))
    let answer = String(decoding: try client.readToEnd().bytes, as: UTF8.self)
    #expect(answer.contains("200 OK") == (flipped == nil), "\(answer)")
  }
  #expect(haproxy.poll() == nil)
  try between.sluice.stop()
}
