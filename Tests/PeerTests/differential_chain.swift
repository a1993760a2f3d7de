import TestSupport
import Testing

// Client, HAProxy, Sluice, Sluice, Dovecot: a mail client reads its mail through three proxies, and
// Dovecot's log names the address and port that HAProxy saw the client at.

private let chainHosts = ["127.0.0.1", "::1"].filter { $0 != "::1" || hasIPv6Loopback }

@Test("through HAProxy and twice through us to Dovecot", arguments: chainHosts, ["v1", "v2"])
func chainToDovecot(host: String, version: String) throws {
  let peers = try MailPeers.shared()
  let own = { (last: Int) in host == "::1" ? "::1" : "127.0.0.\(last)" }
  let inner = try BetweenPeers(
    servers: [peers.address(of: .imap)], host: host, top: "trusted-networks: [\"\(own(6))\"]",
    backend: "send-proxy: v2, relay-tlvs: [unique-id], "
      + "proxy-tlvs: [unique-id, crc32c, { type: 0xE5, value: \"${client.address}\" }]")
  let outer = try BetweenPeers(
    servers: [inner.endpoint], host: host, top: "trusted-networks: [\"\(own(5))\"]",
    backend: "source: \"\(own(6))\", send-proxy: \(version)"
      + (version == "v2" ? ", relay-tlvs: [unique-id], proxy-tlvs: [crc32c]" : ""))
  let directory = try TemporaryDirectory()
  let front = Endpoint.inet(host, ReservedPort.take())
  let haproxy = try startHAProxy(
    """
    frontend front
      bind \(front)
      log-format "client %ci %cp"
      unique-id-format id-%ci-%cp
      default_backend back
    backend back
      server sluice \(outer.endpoint) source \(host == "::1" ? "[::1]" : own(5)) send-proxy-v2 \
    proxy-v2-options unique-id,crc32c
    """, in: directory, at: front)

  let source = own(2)
  let output = try runClient(
    "python3",
    [
      "\(packageDirectory)/Tests/PeerTests/peers/mail_client.py", "imap", host, "\(front.port)",
      source, peers.certificate,
    ])
  #expect(output.hasPrefix("ok"))

  // HAProxy says who came.
  var port = ""
  try wait(for: "HAProxy's log: \(haproxy.standardOutput)") {
    let line = haproxy.standardOutput.split(separator: "\n").first {
      $0.hasPrefix("client \(source) ")
    }
    port = line?.split(separator: " ").last.map(String.init) ?? ""
    return !port.isEmpty
  }
  try peers.expectLine(
    in: peers.dovecotLog,
    with: [
      "imap-login: Info: Login: user=<alice@example.test>", " rip=\(source), rport=\(port),",
      " lip=\(host), lport=\(front.port),", " TLS",
    ])
  let client = Endpoint.inet(source, UInt16(port) ?? 0)
  let id = "id-\(source)-\(port)"
  let records = try [outer, inner].map { try $0.records(1)[0] }
  #expect(records.map(\.client) == [client.description, client.description])
  #expect(records.map(\.header) == ["v2", version])
  #expect(records.map(\.peerID) == [id, version == "v2" ? id : nil])
  #expect(haproxy.poll() == nil)
  try outer.sluice.stop()
  try inner.sluice.stop()
}
