import TestSupport
import Testing

// TLS ends here as it does at HAProxy and nginx with the same OpenSSL: over two hundred broken
// hellos, records, messages and handshakes get the verdict that one of them gives (they differ from
// each other in a few).

/// Sends back what it gets.
private func startEcho(at endpoint: Endpoint) throws -> ChildProcess {
  try require(["socat": "socat"])
  let child = try ChildProcess(
    "socat", ["TCP-LISTEN:\(endpoint.port),bind=127.0.0.1,fork,reuseaddr,backlog=100", "EXEC:cat"])
  try waitUntilServing(endpoint, child)
  return child
}

private func startSluice(
  at endpoint: Endpoint, to server: Endpoint, _ certificate: TestCertificate,
  in directory: TemporaryDirectory, events: String
) throws -> SluiceProcess {
  try SluiceProcess(
    yaml: """
      events: \(events)
      log: { connections: \(directory.file("connections")) }
      listeners:
        front: { bind: "\(endpoint)", tls: { certificates: \(certificate.both) }, backend: back }
      backends:
        back: { servers: ["\(server)"], eject: off }

      """, in: directory, at: endpoint)
}

private func verdicts(_ endpoint: Endpoint) throws -> [(name: String, verdict: String)] {
  guard contents(of: "\(packageDirectory)/.build/python/ready").contains("tlslite-ng") else {
    throw TestFailure("the Python package tlslite-ng is missing: tools/packages test installs it")
  }
  let output = try runClient(
    "\(packageDirectory)/.build/python/bin/python3",
    ["\(packageDirectory)/Tests/PeerTests/peers/tls_verdicts.py", "\(endpoint.port)"])
  return output.split(separator: "\n").map { line in
    let parts = line.split(separator: "\t", maxSplits: 1).map(String.init)
    return (parts[0], parts.count == 2 ? parts[1] : "")
  }
}

@Test("broken TLS, beside HAProxy and nginx")
func verdictsAreThoseOfOthers() throws {
  let directory = try TemporaryDirectory()
  let certificate = try TestCertificate("edge", ["DNS:edge.example"], in: directory)
  let echo = Endpoint.loopback(ReservedPort.take())
  let server = try startEcho(at: echo)
  let (first, second) = (
    Endpoint.loopback(ReservedPort.take()), Endpoint.loopback(ReservedPort.take())
  )
  let haproxy = try startHAProxy(
    """
    listen edge
      bind \(first) ssl crt \(certificate.both) ssl-min-ver TLSv1.2 \
      ciphers ECDHE+AESGCM:ECDHE+CHACHA20
      server echo \(echo)
    """, in: directory, at: first)
  let nginx = try startNginx(
    """
      server {
        listen \(second) ssl;
        proxy_pass \(echo);
        ssl_certificate \(certificate.both);
        ssl_certificate_key \(certificate.both);
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;
      }
    """, in: directory, at: second)
  let others = try [first, second].map { try verdicts($0) }
  for events in ["ring", "epoll"] {
    let own = try TemporaryDirectory()
    let ours = Endpoint.loopback(ReservedPort.take())
    let sluice = try startSluice(at: ours, to: echo, certificate, in: own, events: events)
    let found = try verdicts(ours)
    #expect(found.count > 200 && others.allSatisfy { $0.map(\.name) == found.map(\.name) })
    for index in found.indices {
      let allowed = others.map { $0[index].verdict }
      #expect(
        allowed.contains(found[index].verdict), "\(events): \(found[index]); others: \(allowed)")
    }
    // Of every one of them there is a line, and the daemon is well.
    #expect(try sluice.endedCount >= found.count)
    try sluice.stop()
  }
  for child in [haproxy, nginx, server] { #expect(child.poll() == nil) }
}
