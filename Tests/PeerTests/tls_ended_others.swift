import TestSupport
import Testing

// Other clients of TLS that ends here: Go's, curl's, and a scanner that looks for all that is known
// to be wrong with TLS servers.

/// A daemon that ends TLS with certificates of both kinds in front of an echo, or of `serve`.
private func withEnding(
  _ more: String = "", echoes: Bool = true,
  _ body: (SluiceProcess, TestCertificate, ListeningSocket) throws -> Void
) throws {
  let directory = try TemporaryDirectory()
  let authority = try TestCertificate("authority", [], in: directory)
  let names = ["DNS:mail.example.test"]
  let ec = try TestCertificate("ec", names, by: authority, days: 60, in: directory)
  let rsa = try TestCertificate("rsa", names, key: .rsa, by: authority, days: 60, in: directory)
  let server = try ListeningSocket()
  var setup = Setup(Engine(events: "auto", splice: "auto"), servers: [server.endpoint])
  setup.listener = "tls: { certificates: [\(ec.both), \(rsa.both)]\(more) }"
  try withSluice(setup) { try body($0, authority, server) }
}

@Test("Go's TLS, and its tickets")
func goClients() throws {
  try require(["go": "golang-go"])
  try withEnding(", alpn: imap") { sluice, authority, server in
    let echoes = (0..<4).map { number in
      Job("echo \(number)") {
        let upstream = try server.accept()
        try upstream.write(try upstream.readExactly(6))
        upstream.finish()
        _ = try upstream.readToEnd()
      }
    }
    let result = try ChildProcess.run(
      "go",
      [
        "run", "\(packageDirectory)/Tests/PeerTests/peers/tls_client.go", "\(sluice.endpoint)",
        authority.chain,
      ],
      environment: ["GOFLAGS": "-mod=mod", "GO111MODULE": "off", "GOPROXY": "off"],
      until: Deadline(inMs: 120_000))
    for echo in echoes { try echo.value() }
    #expect(result.exit == .code(0), "\(result.error)")
    #expect(
      result.output == "303 imap false\n303 imap true\n304 imap false\n304 imap true\n",
      "\(result.output)\(result.error)")
    #expect(try sluice.records(4).allSatisfy { $0.reason == nil })
  }
}

@Test("curl https", arguments: ["--tlsv1.3", "--tls-max 1.2"])
func curlEndsHere(version: String) throws {
  try require(["curl": "curl"])
  try withEnding(", alpn: http/1.1") { sluice, authority, server in
    let answer = Job("server") {
      let upstream = try server.accept()
      var request: [UInt8] = []
      while !String(decoding: request, as: UTF8.self).hasSuffix("\r\n\r\n") {
        request += try upstream.readExactly(1)
      }
      try upstream.write(
        Array("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n".utf8))
      upstream.finish()
      _ = try upstream.readToEnd()
    }
    let port = sluice.endpoint.port
    let output = try runClient(
      "curl",
      version.split(separator: " ").map(String.init) + [
        "--silent", "--show-error", "--max-time", "20", "--cacert", authority.chain, "--resolve",
        "mail.example.test:\(port):127.0.0.1", "https://mail.example.test:\(port)/",
      ])
    try answer.value()
    #expect(output == "hello\n")
    let record = try sluice.record()
    #expect(record.reason == nil && record.end == "upstream.fin")
  }
}

/// sslyze knows of Heartbleed, ROBOT, CCS injection, renegotiation, compression, and old versions
/// and ciphers, and holds what it finds against Mozilla's "intermediate" configuration.
@Test("sslyze finds nothing to complain about")
func sslyze() throws {
  let python = "\(packageDirectory)/.build/python/bin/python3"
  guard contents(of: "\(packageDirectory)/.build/python/ready").contains("sslyze") else {
    throw TestFailure("the Python package sslyze is missing: tools/packages test installs it")
  }
  try withEnding { sluice, authority, server in
    // It hangs up after most handshakes; some bytes come back to those that say something.
    startServing(server)
    let result = try ChildProcess.run(
      python,
      [
        "-m", "sslyze", "--mozilla_config=intermediate", "--sni=mail.example.test",
        "--certinfo_ca_file=\(authority.chain)", "\(sluice.endpoint)",
      ], until: Deadline(inMs: 120_000))
    #expect(result.output.contains("SCANS COMPLETED"), "\(result.output)\(result.error)")
    for good in [
      "OK - Compression disabled", "OK - Not vulnerable to OpenSSL CCS injection",
      "OK - Not vulnerable to Heartbleed", "OK - Not vulnerable, RSA cipher suites not supported",
      "Client Renegotiation DoS Attack:   OK", "Secure Renegotiation:              OK",
      "Forward Secrecy                    OK", "TLS_FALLBACK_SCSV:                 OK",
    ] {
      #expect(result.output.contains(good), "\(good)")
    }
    // Nobody but the test's own authority vouches for its certificates.
    let complaints = result.output.split(separator: "\n").filter { $0.hasPrefix("        * ") }
      .filter { !$0.contains("certificate_path_validation") }
    #expect(complaints.isEmpty, "\(complaints)")
    #expect(!result.output.contains("VULNERABLE -"), "\(result.output)")
  }
}

private func startServing(_ server: ListeningSocket) {
  _ = Job("server") {
    while let upstream = try? server.accept() {
      _ = Job("connection") { _ = try? upstream.readToEnd() }
    }
  }
}
