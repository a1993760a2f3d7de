import TestSupport
import Testing

// One address, two Dovecots with certificates of their own behind it: real clients ask for one
// server's name or the other's, in TLS 1.2 and 1.3, with ALPN and without, and without any name.
// Each sees the certificate of the right server, in whose log its address stands.

/// A TLS client that says which certificate it was shown.
private struct NamedClient: Sendable, CustomStringConvertible {
  let description: String
  let program: String
  /// For the name it asks for; nil for none.
  let arguments: @Sendable (Endpoint, String?) -> [String]
  var canGoWithoutName = true

  private static let python = """
    import socket, ssl, sys
    where = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    where.check_hostname, where.verify_mode = False, ssl.CERT_NONE
    where.set_alpn_protocols(["imap"])
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) as plain:
        name = sys.argv[2] if len(sys.argv) > 2 else None
        with where.wrap_socket(plain, server_hostname=name) as tls:
            assert tls.recv(100).startswith(b"* OK")
            print(ssl.DER_cert_to_PEM_cert(tls.getpeercert(True)))
    """

  private static func openssl(_ more: [String]) -> NamedClient {
    NamedClient(
      description: "openssl \(more.joined(separator: " "))", program: "openssl",
      arguments: { listener, name in
        ["s_client", "-connect", "\(listener)", "-showcerts"] + more
          + (name.map { ["-servername", $0] } ?? ["-noservername"])
      })
  }

  static let all = [
    openssl(["-tls1_2"]), openssl(["-tls1_3"]), openssl(["-alpn", "imap"]),
    NamedClient(
      description: "Python ssl", program: "python3",
      arguments: { ["-c", python, "\($0.port)"] + ($1.map { [$0] } ?? []) }),
    NamedClient(
      description: "curl", program: "curl",
      arguments: { listener, name in
        let name = name ?? ""
        return [
          "-sk", "--max-time", "20", "--noproxy", "*", "-w", "%{certs}", "--resolve",
          "\(name):\(listener.port):127.0.0.1", "--user", "alice@example.test:secret",
          "imaps://\(name):\(listener.port)/",
        ]
      }, canGoWithoutName: false),
  ]

  /// The first certificate of what it printed: the lines between its marks.
  func certificate(from listener: Endpoint, asking name: String?) throws -> String {
    let output = try runClient(program, arguments(listener, name))
    return try firstCertificate(in: output)
  }
}

private func firstCertificate(in text: String) throws -> String {
  let lines = text.split(separator: "\n").map(String.init)
  guard let start = lines.firstIndex(where: { $0.hasPrefix("-----BEGIN CERTIFICATE") }),
    let end = lines[start...].firstIndex(where: { $0.hasPrefix("-----END CERTIFICATE") })
  else { throw TestFailure("no certificate in: \(text)") }
  return lines[(start + 1)..<end].joined()
}

@Test("TLS clients to two Dovecots by name")
func namesToTwoDovecots() throws {
  try require(["openssl": "openssl", "curl": "curl", "python3": "python3"])
  let servers = [try MailPeers.shared(), try MailPeers.second()]
  let directory = try TemporaryDirectory()
  let (bind, log) = (Endpoint.loopback(ReservedPort.take()), directory.file("connections"))
  let sluice = try SluiceProcess(
    yaml: """
      workers: 1
      log: { connections: "\(log)" }
      listeners:
        front:
          bind: "\(bind)"
          type: tls
          rules:
            - { name: a, sni: [mail.a.example, .a.example], backend: a }
            - { name: b, sni: mail.b.example, backend: b }
            - { name: gone, sni: gone.example, action: reject }
          backend: b
      backends:
        a: { servers: ["\(servers[0].address(of: .imaps))"], send-proxy: v2 }
        b: { servers: ["\(servers[1].address(of: .imaps))"], send-proxy: v2 }

      """, in: directory, at: bind)
  let certificates = try servers.map { try firstCertificate(in: contents(of: $0.certificate)) }
  #expect(certificates[0] != certificates[1])
  var count = 0
  for client in NamedClient.all {
    let cases: [(name: String?, server: Int, rule: String?)] = [
      ("mail.a.example", 0, "a"), ("mail.b.example", 1, "b"), ("x.y.a.example", 0, "a"),
      ("other.example", 1, nil), (nil, 1, nil),
    ]
    for (name, place, rule) in cases where name != nil || client.canGoWithoutName {
      let shown = try client.certificate(from: bind, asking: name)
      #expect(shown == certificates[place], "\(client), \(name ?? "no name")")
      count += 1
      _ = try sluice.records(count)
      let line = try #require(contents(of: log).split(separator: "\n").last.map(String.init))
      let record = try JSONValue(line)
      #expect(record["rule"]?.string == rule && record["sni"]?.string == name)
      let source = try #require(record["client"]?.string)
      let port = try #require(source.split(separator: ":").last.map(String.init))
      try servers[place].expectLine(
        in: servers[place].dovecotLog, with: ["rip=127.0.0.1", "rport=\(port),"])
    }
  }
  // Turned away in TLS, which clients can say in words.
  let gone = try ChildProcess.run(
    "openssl", ["s_client", "-connect", "\(bind)", "-servername", "gone.example"],
    until: Deadline(inMs: 40_000))
  #expect(gone.exit != .code(0))
  #expect((gone.output + gone.error).contains("unrecognized name"), "\(gone.error)")
  try sluice.stop()
}
