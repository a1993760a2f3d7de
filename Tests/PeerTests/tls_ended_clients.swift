import TestSupport
import Testing
import Wire

// openssl's own client in all that makes a difference to a handshake: versions, groups, ciphers,
// kinds of certificates, certificates of its own, tickets. What the server is told in the SSL TLV,
// what the log says and what the client saw are the same.

/// One handshake.
struct Handshake: Sendable, CustomStringConvertible {
  let description: String
  var client: [String] = []
  /// More of the listener's `tls`.
  var listener = ""
  /// What is in the SSL TLV, by type; nil is not there.
  var told: [UInt8: String?] = [:]
  var bits: UInt8 = 0x01
  var verify: UInt32? = 1

  private static let good = ["-cert", "CLIENT.crt", "-key", "CLIENT.key"]
  private static let bad = ["-cert", "STRANGER.crt", "-key", "STRANGER.key"]
  private static let asks = ", client-ca: CA, client-certificate: request"
  static let all = [
    Handshake(
      description: "TLS 1.3, X25519", client: ["-tls1_3", "-groups", "X25519"],
      told: [0x21: "TLSv1.3", 0x26: "x25519", 0x22: nil, 0x28: nil]),
    Handshake(
      description: "TLS 1.3, P-256, ChaCha20",
      client: ["-tls1_3", "-groups", "P-256", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
      told: [0x21: "TLSv1.3", 0x23: "TLS_CHACHA20_POLY1305_SHA256", 0x26: "secp256r1"]),
    Handshake(
      description: "TLS 1.3, P-384, ECDSA",
      client: ["-tls1_3", "-groups", "P-384", "-sigalgs", "ecdsa_secp256r1_sha256"],
      told: [0x25: "EC256", 0x26: "secp384r1", 0x27: "ecdsa_secp256r1_sha256"]),
    Handshake(
      description: "TLS 1.3, RSA", client: ["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"],
      told: [0x24: "RSA-SHA256", 0x25: "RSA2048", 0x27: "rsa_pss_rsae_sha256"]),
    Handshake(
      description: "TLS 1.2, RSA",
      client: ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
      told: [0x21: "TLSv1.2", 0x23: "ECDHE-RSA-AES128-GCM-SHA256", 0x25: "RSA2048"]),
    Handshake(
      description: "TLS 1.2, ECDSA",
      client: ["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
      told: [0x21: "TLSv1.2", 0x23: "ECDHE-ECDSA-CHACHA20-POLY1305", 0x25: "EC256"]),
    Handshake(
      description: "a cipher of our choice", client: ["-tls1_2"],
      listener: ", ciphers: [ECDHE-RSA-AES256-GCM-SHA384], groups: P-384",
      told: [0x23: "ECDHE-RSA-AES256-GCM-SHA384", 0x26: "secp384r1"]),
    Handshake(
      description: "a client's certificate", client: good, listener: asks,
      told: [0x22: "client", 0x28: ""], bits: 0x07, verify: 0),
    Handshake(
      description: "a client's certificate, TLS 1.2", client: good + ["-tls1_2"], listener: asks,
      told: [0x22: "client", 0x28: ""], bits: 0x07, verify: 0),
    Handshake(
      description: "a stranger's certificate", client: bad, listener: asks,
      told: [0x22: nil, 0x28: ""], bits: 0x07, verify: nil),
    Handshake(description: "no certificate where one is asked for", listener: asks),
    Handshake(
      description: "a certificate that nobody asks for", client: good, told: [0x22: nil, 0x28: nil]
    ),
    Handshake(
      description: "a required certificate", client: good,
      listener: ", client-ca: CA, client-certificate: require", told: [0x22: "client"],
      bits: 0x07, verify: 0),
  ]
}

/// What it takes: two certificates of one name, an authority of clients, one of its clients, and
/// one of nobody's.
private struct Stage {
  let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    let names = ["DNS:mail.example.test"]
    _ = try TestCertificate("ec", names, in: directory)
    _ = try TestCertificate("rsa", names, key: .rsa, in: directory)
    let authority = try TestCertificate("authority", [], in: directory)
    _ = try TestCertificate(
      "client", ["email:alice@example.test"], by: authority, in: directory)
    _ = try TestCertificate("stranger", ["DNS:stranger.example.test"], in: directory)
  }

  func filled(_ text: String) -> String {
    text.replacing("CLIENT", with: directory.file("client"))
      .replacing("STRANGER", with: directory.file("stranger"))
      .replacing("CA", with: directory.file("authority.crt"))
  }

  func setup(_ handshake: Handshake, _ server: Endpoint) -> Setup {
    var setup = Setup(Engine(events: "auto", splice: "auto"), servers: [server])
    let more = handshake.listener.isEmpty ? "" : filled(handshake.listener)
    setup.listener =
      "tls: { certificates: [\(directory.file("ec.pem")), \(directory.file("rsa.pem"))], "
      + "alpn: [imap, pop3]\(more) }"
    setup.backend =
      "send-proxy: v2, proxy-tlvs: [ssl, client-certificate, alpn, authority], "
      + "proxy-header: { limit: 4KiB }"
    return setup
  }

  /// What openssl prints of its session; `bye` goes up, and an end comes back.
  func connect(_ sluice: SluiceProcess, _ options: [String]) -> Job<ChildResult> {
    let arguments =
      [
        "s_client", "-connect", "\(sluice.endpoint)", "-servername", "mail.example.test", "-alpn",
        "imap", "-CAfile", directory.file("ec.crt"), "-ign_eof",
      ] + options.map { filled($0) }
    return Job("openssl") {
      let result = try ChildProcess.run(
        "openssl", arguments, input: "bye\n", until: Deadline(inMs: 30_000))
      return ChildResult(exit: result.exit, output: result.output, error: result.error)
    }
  }
}

struct ChildResult: Sendable {
  let exit: ChildProcess.Exit
  let output: String
  let error: String
}

/// The TLVs of a header, by their types, and the SSL one apart.
private func told(
  _ bytes: [UInt8]
) throws -> (tlvs: [UInt8: [UInt8]], ssl: ProxySSL, inner: [UInt8: [UInt8]]) {
  guard case .done(let header, _) = ProxyHeader.decode(bytes.span) else {
    throw TestFailure("no header: \(bytes)")
  }
  func all(_ area: Range<Int>) throws -> [UInt8: [UInt8]] {
    var found: [UInt8: [UInt8]] = [:]
    var walk = ProxyTLVWalk(area)
    while let tlv = try walk.next(in: bytes.span) {
      found[tlv.kind.rawValue] = Array(bytes[tlv.value])
    }
    return found
  }
  guard let tlv = ProxyTLV.first(.ssl, of: header.tlvs, in: bytes.span),
    let ssl = ProxySSL(tlv, in: bytes.span)
  else { throw TestFailure("no SSL TLV") }
  return (try all(header.tlvs), ssl, try all(ssl.tlvs))
}

@Test("openssl s_client, and what the server is told", arguments: Handshake.all)
func opensslIsToldOf(handshake: Handshake) throws {
  try require(["openssl": "openssl"])
  let (stage, server) = (try Stage(), try ListeningSocket())
  try withSluice(stage.setup(handshake, server.endpoint)) { sluice in
    let client = stage.connect(sluice, handshake.client)
    let upstream = try server.accept()
    let (bytes, _) = try upstream.readHeaderAndKeepRest()
    let (tlvs, ssl, inner) = try told(bytes)
    #expect(ssl.client == handshake.bits)
    if let verify = handshake.verify {
      #expect(ssl.verify == verify)
    } else {
      #expect(ssl.verify > 1)
    }
    for (type, text) in handshake.told {
      let found = inner[type].map { String(decoding: $0, as: UTF8.self) }
      if text == "" { #expect(found != nil) } else { #expect(found == text, "type \(type)") }
    }
    #expect(tlvs[0x01] == Array("imap".utf8) && tlvs[0x02] == Array("mail.example.test".utf8))
    upstream.finish()
    _ = try upstream.readToEnd()
    let result = try client.value()
    #expect(result.exit == .code(0), "\(result.error)")
    let version = String(decoding: inner[0x21] ?? [], as: UTF8.self)
    let cipher = String(decoding: inner[0x23] ?? [], as: UTF8.self)
    #expect(result.output.contains("New, TLSv1") && result.output.contains("Cipher is \(cipher)"))
    #expect(result.output.contains("ALPN protocol: imap"))
    let line = try sluice.only()
    #expect(line["tls_version"]?.string == version && line["tls_cipher"]?.string == cipher)
    #expect(line["tls_alpn"]?.string == "imap" && line["sni"]?.string == "mail.example.test")
    #expect(line["tls_failure"] == nil && (line["tls_ms"]?.number ?? 0) > 0)
    #expect((line["tls_subject"]?.string != nil) == (ssl.client & 4 != 0))
  }
}

extension SluiceProcess {
  /// The only line of the log so far, with all its fields.
  fileprivate func only() throws -> JSONValue {
    _ = try record()
    return try JSONValue(try lines.records[0])
  }
}

/// A ticket spares the second handshake its certificates, also that of the client: the server is
/// told that it was shown in the session, and not on the connection.
@Test("a session that is resumed", arguments: ["-tls1_2", "-tls1_3"])
func resumed(version: String) throws {
  try require(["openssl": "openssl"])
  let (stage, server) = (try Stage(), try ListeningSocket())
  let handshake = try #require(Handshake.all.first { $0.description == "a client's certificate" })
  let session = stage.directory.file("session")
  try withSluice(stage.setup(handshake, server.endpoint)) { sluice in
    for (index, options) in [["-sess_out", session], ["-sess_in", session]].enumerated() {
      let client = stage.connect(sluice, handshake.client + [version] + options)
      let upstream = try server.accept()
      let (_, ssl, inner) = try told(try upstream.readHeaderAndKeepRest().bytes)
      #expect(ssl.client == (index == 0 ? 0x07 : 0x05) && ssl.verify == 0)
      #expect(inner[0x22] == Array("client".utf8))
      upstream.finish()
      _ = try upstream.readToEnd()
      let result = try client.value()
      #expect(result.output.contains(index == 0 ? "New, TLSv1" : "Reused, TLSv1"))
      _ = try sluice.records(index + 1)
    }
    let lines = try sluice.lines.records.map { try JSONValue($0) }
    #expect(lines.map { $0["tls_resumed"]?.boolean } == [false, true])
    #expect(lines.allSatisfy { $0["tls_subject"]?.string == "CN=client" })
  }
}

/// Who is refused, and in whose words the log says why.
@Test(
  "handshakes that fail",
  arguments: [
    ("", ["-tls1_2", "-cipher", "AES128-SHA"], "no shared cipher"),
    (", min-version: \"1.3\"", ["-tls1_2"], "unsupported protocol"),
    (", client-ca: CA, client-certificate: require", [], "peer did not return a certificate"),
    (
      ", client-ca: CA, client-certificate: require",
      ["-cert", "STRANGER.crt", "-key", "STRANGER.key"], "certificate verify failed"
    ),
    ("", ["-alpn", "h2"], "no application protocol"),
  ] as [(String, [String], String)])
func refused(listener: String, client: [String], why: String) throws {
  try require(["openssl": "openssl"])
  let (stage, server) = (try Stage(), try ListeningSocket())
  let handshake = Handshake(description: "", listener: listener)
  try withSluice(stage.setup(handshake, server.endpoint)) { sluice in
    // In TLS 1.3 a client is done before we have seen its certificate.
    _ = try stage.connect(sluice, client).value()
    let line = try sluice.only()
    #expect(line["reason"]?.string == "tls.handshake")
    #expect(line["tls_failure"]?.string?.contains(why) == true, "\(line)")
    #expect(line["tls_version"] == nil && line["server"] == nil)
  }
}

/// A rule takes those whose certificate was verified and has the name.
@Test("rules on client certificates")
func rulesOnCertificates() throws {
  try require(["openssl": "openssl"])
  let (stage, server) = (try Stage(), try ListeningSocket())
  let handshake = Handshake(
    description: "", listener: ", client-ca: CA, client-certificate: request")
  var setup = stage.setup(handshake, server.endpoint)
  setup.listener +=
    ", rules: [{ name: staff, client-certificate: \"*@example.test\", backend: back }"
  setup.listener += ", { name: others, client-certificate: stranger, action: close }]"
  try withSluice(setup) { sluice in
    let clients = [
      ["-cert", "CLIENT.crt", "-key", "CLIENT.key"],
      ["-cert", "STRANGER.crt", "-key", "STRANGER.key"], [],
    ]
    for (index, options) in clients.enumerated() {
      let client = stage.connect(sluice, options)
      let upstream = try server.accept()
      _ = try upstream.readHeaderAndKeepRest()
      upstream.finish()
      _ = try upstream.readToEnd()
      _ = try client.value()
      _ = try sluice.records(index + 1)
    }
    let lines = try sluice.lines.records.map { try JSONValue($0) }
    // Nobody vouches for a stranger, so neither is he turned away for his name.
    #expect(lines.map { $0["rule"]?.string } == ["staff", nil, nil])
    #expect(lines.map { $0["tls_verified"]?.boolean } == [true, false, nil])
  }
}
