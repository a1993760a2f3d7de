import TestSupport
import Testing

// TLS that begins here: a client without TLS in front of a Dovecot that wants it from the first
// byte, behind a PROXY header. The server's certificate is verified, sessions are used again, and
// health checks speak through it.

private func withUpstream(
  _ tls: String, _ more: String = "", _ body: (MailPeers, SluiceProcess) throws -> Void
) throws {
  let peers = try MailPeers.shared()
  var setup = Setup(
    Engine(events: "auto", splice: "auto"), servers: [peers.address(of: .imaps)])
  setup.listener = "type: server-first, protocol: imap"
  setup.backend = "send-proxy: v2, tls: { ca: \(peers.certificate)\(tls) }\(more)"
  try withSluice(setup) { try body(peers, $0) }
}

private func login(_ sluice: SluiceProcess, from source: String) throws -> String {
  try runClient(
    // An end of ours would be one for Dovecot before it has answered.
    "socat", ["-t", "10", "-", "TCP:\(sluice.endpoint),bind=\(source),crlf,shut-none"],
    input: "a LOGIN alice@example.test secret\nb LOGOUT\n")
}

@Test("plain clients of a Dovecot on 993")
func plainClientsOfDovecot() throws {
  try require(["socat": "socat"])
  try withUpstream(", name: mail.example.test", ", check: imap") { peers, sluice in
    for (index, source) in ["127.0.0.2", "127.0.0.3"].enumerated() {
      let output = try login(sluice, from: source)
      #expect(output.contains("a OK") && output.contains("b OK"), "said: \(output)")
      let record = try sluice.records(index + 1)[index]
      let port = record.client.split(separator: ":").last ?? ""
      #expect(record.reason == nil)
      try peers.expectLine(
        in: peers.dovecotLog,
        with: [
          "imap-login: Info: Login: user=<alice@example.test>", " rip=\(source), rport=\(port),",
          " TLS",
        ])
    }
    #expect(!sluice.child.standardError.contains("is down"), "\(sluice.child.standardError)")
  }
}

/// A server whose certificate has another name, or is of nobody we trust, gets no byte of the
/// client's.
@Test("a server that is another", arguments: [", name: other.example.test", ""])
func anotherServer(tls: String) throws {
  try require(["socat": "socat"])
  try withUpstream(tls, ", retries: 0") { _, sluice in
    let output = try login(sluice, from: "127.0.0.2")
    #expect(!output.contains("a OK"), "said: \(output)")
    _ = try sluice.record()
    let line = try JSONValue(try sluice.lines.records[0])
    #expect(line["reason"]?.string == "dial.tls", "\(line)")
    #expect(line["upstream_tls_failure"]?.string?.isEmpty == false, "\(line)")
    #expect(line["bytes_up"]?.number == 0)
  }
}

/// Checks see what connections would meet.
@Test("checks through TLS", arguments: ["imap", "tls"])
func checksThroughTLS(type: String) throws {
  let check = ", check: { type: \(type), interval: 100ms, fall: 1, rise: 1, timeout: 5s }"
  try withUpstream(", name: other.example.test", check) { _, sluice in
    try wait(for: "the server to be down: \(sluice.child.standardError)") {
      sluice.child.standardError.contains("is down: TLS: ")
    }
  }
  let peers = try MailPeers.shared()
  // A check ends with a farewell inside TLS, or with the handshake.
  let source = type == "imap" ? "127.0.8.1" : "127.0.8.2"
  func lines() -> [Substring] {
    contents(of: peers.dovecotLog).split(separator: "\n").filter { $0.contains(source) }
  }
  try withUpstream(", name: mail.example.test", "\(check), source: \(source)") { _, sluice in
    try wait(for: "checks in Dovecot's log: \(sluice.child.standardError)") { lines().count >= 4 }
    #expect(!sluice.child.standardError.contains("is down"), "\(sluice.child.standardError)")
  }
  if type == "imap" {
    #expect(lines().allSatisfy { $0.contains("Aborted login by logging out") }, "\(lines())")
  }
}
