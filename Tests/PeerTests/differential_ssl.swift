import TestSupport
import Testing
import Wire

// What our SSL TLV says, the `proxyprotocol` package reads: flags, verdict, and all texts that it
// knows of.

private func hexadecimal(_ bytes: some Collection<UInt8>) -> String {
  bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

/// A report about a random handshake.
private func report(_ generator: inout SeededGenerator) -> ProxySSLReport {
  func pick(_ texts: [String]) -> String { texts.randomElement(using: &generator) ?? "" }
  var report = ProxySSLReport(
    version: pick(["TLSv1.2", "TLSv1.3"]),
    cipher: pick(["TLS_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"]),
    signatureAlgorithm: pick(["RSA-SHA256", "ecdsa-with-SHA256", ""]),
    keyAlgorithm: pick(["RSA2048", "EC256", ""]), group: pick(["x25519", "secp256r1", ""]),
    signatureScheme: pick(["rsa_pss_rsae_sha256", ""]))
  if Bool.random(using: &generator) {
    let certificate = (0..<Int.random(in: 1...1500, using: &generator)).map { _ in
      UInt8.random(in: 0...255, using: &generator)
    }
    report.client = .presented(
      name: Array(pick(["alice", "Zoë", "a b"]).utf8), certificate: certificate,
      fault: [0, 0, 10, 18].randomElement(using: &generator) ?? 0,
      isOfSession: Bool.random(using: &generator))
  }
  return report
}

@Test("the package reads our SSL TLV")
func packageReadsSSL() throws {
  var generator = SeededGenerator(seed: 20_261_122)
  var (headers, wanted): ([String], [String]) = ([], [])
  for _ in 0..<1000 {
    let report = report(&generator)
    let withCertificate = Bool.random(using: &generator)
    let area = try #require(report.bytes(withCertificate: withCertificate))
    let header = try [UInt8](capacity: 4096) { output throws in
      _ = try ProxyV2.encode(
        source: .ipv4(0xc000_0201, port: 1), destination: .ipv4(0xc000_0202, port: 993),
        tlvs: area.span, checksum: false, alignment: 1, limit: 4096, into: &output)
    }
    headers.append(hexadecimal(header))
    var name = "-"
    if case .presented(let text, _, fault: 0, _) = report.client { name = hexadecimal(text) }
    let texts = [report.cipher, report.signatureAlgorithm, report.keyAlgorithm].map {
      $0.isEmpty ? "-" : hexadecimal($0.utf8)
    }
    wanted.append(
      (["\(report.bits)", "\(report.verify)", hexadecimal(report.version.utf8), name] + texts)
        .joined(separator: " "))
  }
  let read = try runPackage(["ssl"], input: headers.map { $0 + "\n" }.joined())
  #expect(read.map(String.init) == wanted)
}
