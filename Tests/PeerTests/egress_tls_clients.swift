import TestSupport
import Testing

// One port takes clients that speak plainly with the proxy and those that speak TLS with it, as
// both variables of the Mattermost page need: the first byte tells them apart.

@Test("curl to a forward proxy, plainly and in TLS")
func oneProxyPortForBoth() throws {
  try require(["curl": "curl", "openssl": "openssl"])
  let directory = try TemporaryDirectory()
  let certificate = try TestCertificate("proxy", ["DNS:proxy.example"], in: directory)
  let origin = try ListeningSocket()
  let bind = Endpoint.loopback(ReservedPort.take())
  let proxy = try SluiceProcess(
    yaml: """
      workers: 1
      log: { connections: "\(directory.file("connections"))" }
      listeners:
        out:
          bind: "\(bind)"
          type: http-proxy
          egress: office
          tls: { certificates: "\(certificate.both)" }
      egress:
        office:
          rules: [{ name: no-social, host: .social.example, action: deny }, { action: allow }]
          guard: { allow: [127.0.0.1] }
          connect-ports: [1-65535]
          ports: [1-65535]

      """, in: directory, at: bind)
  let page = String(repeating: "0123456789abcdef", count: 10_000)
  for scheme in ["http", "https"] {
    for way in [[], ["--proxytunnel"]] as [[String]] {
      let serving = Job("origin") {
        let server = try origin.accept()
        var head = ""
        while !head.hasSuffix("\r\n\r\n") {
          head += String(decoding: try server.readExactly(1), as: UTF8.self)
        }
        try server.write("HTTP/1.1 200 OK\r\nContent-Length: \(page.utf8.count)\r\n\r\n\(page)")
        _ = try server.readToEnd()
      }
      let got = try runClient(
        "curl",
        [
          "-s", "--max-time", "20", "--noproxy", "", "--cacert", "/dev/null", "--resolve",
          "proxy.example:\(bind.port):127.0.0.1", "--proxy-cacert", certificate.chain, "-x",
          "\(scheme)://proxy.example:\(bind.port)",
        ] + way + ["http://127.0.0.1:\(origin.endpoint.port)/"])
      #expect(got == page, "\(scheme) \(way)")
      try serving.value()
    }
    let denied = try ChildProcess.run(
      "curl",
      [
        "-s", "--max-time", "20", "--noproxy", "", "--proxy-cacert", certificate.chain, "--resolve",
        "proxy.example:\(bind.port):127.0.0.1", "-x", "\(scheme)://proxy.example:\(bind.port)",
        "http://x.social.example/",
      ])
    #expect(denied.output == "Denied by rule no-social\negress.rule\n", "\(scheme)")
  }
  try proxy.stop()
}
