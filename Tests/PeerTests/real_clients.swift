import TestSupport
import Testing

// Clients that people have today, by name to two servers behind one address: headless Chromium,
// and the OpenSSL that a PyPI package brings along, newer than the system's. Each takes the right
// server's certificate and no other.

/// A client whose TLS is not the system's.
enum RealClient: String, CaseIterable, Sendable, CustomStringConvertible {
  case chromium = "Chromium"
  case package = "OpenSSL from PyPI"

  var description: String { rawValue }

  /// The protocols it offers, as our log writes them.
  var protocols: String { self == .chromium ? "h2,http/1.1" : "http/1.1" }

  /// Starts it for `https://name:port/` on 127.0.0.1; it takes the key of this certificate only,
  /// and prints what the server answers. Its files are in the directory.
  func start(_ name: String, _ port: UInt16, certificate: String, in directory: TemporaryDirectory)
    throws -> ChildProcess
  {
    switch self {
    case .chromium:
      return try ChildProcess(
        "chromium",
        [
          "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
          "--no-first-run", "--disable-background-networking", "--disable-component-update",
          "--disable-sync", "--disable-default-apps", "--no-pings", "--disable-extensions",
          "--no-proxy-server", "--host-resolver-rules=MAP \(name) 127.0.0.1, MAP * ~NOTFOUND",
          "--ignore-certificate-errors-spki-list=\(try keyHash(of: certificate))",
          "--user-data-dir=\(directory.file("profile"))", "--dump-dom", "https://\(name):\(port)/",
        ])
    case .package:
      guard contents(of: "\(packageDirectory)/.build/python/ready").contains("pyopenssl") else {
        throw TestFailure(
          "the Python package pyOpenSSL is missing: tools/packages test installs it from PyPI")
      }
      return try ChildProcess(
        "\(packageDirectory)/.build/python/bin/python3",
        [
          "\(packageDirectory)/Tests/PeerTests/peers/openssl_client.py", name, "\(port)",
          certificate,
        ])
    }
  }

  /// Runs it to its end; returns what it printed.
  func run(_ name: String, _ port: UInt16, certificate: String) throws -> String {
    let directory = try TemporaryDirectory()
    defer { removeProfile(in: directory) }
    let child = try start(name, port, certificate: certificate, in: directory)
    child.closeInput()
    let exit = try child.waitForExit(until: Deadline(inMs: 60_000))
    guard exit == .code(0) else {
      throw TestFailure("\(self) ended with \(exit): \(child.standardError)")
    }
    return child.standardOutput
  }

  /// The first hello it sends when it asks for this name, records and all; the client itself is
  /// asked once.
  func hello(for name: String) throws -> [UInt8] {
    precondition(name == Self.captureName)
    return switch self {
    case .chromium: try Self.fromChromium.get()
    case .package: try Self.fromPackage.get()
    }
  }

  private static let captureName = "mail.a.example"
  private static let fromChromium = Result { try chromium.capture() }
  private static let fromPackage = Result { try package.capture() }

  private func capture() throws -> [UInt8] {
    let directory = try TemporaryDirectory()
    defer { removeProfile(in: directory) }
    let listening = try ListeningSocket()
    let certificate = try makeCertificate(for: Self.captureName, in: directory)
    let child = try start(
      Self.captureName, listening.port, certificate: certificate, in: directory)
    child.closeInput()
    let deadline = Deadline(inMs: 60_000)
    let client = try listening.accept(until: deadline)
    var (records, message): ([UInt8], [UInt8]) = ([], [])
    while message.count < 4 || message.count < 4 + Int(message[2]) << 8 + Int(message[3]) {
      let head = try client.readExactly(5, until: deadline)
      let body = try client.readExactly(Int(head[3]) << 8 + Int(head[4]), until: deadline)
      records += head + body
      message += body
    }
    // Nobody answers, which is the end of it, in one way or another.
    client.close()
    listening.close()
    _ = try child.waitForExit(until: deadline)
    return records
  }

  private func removeProfile(in directory: TemporaryDirectory) {
    guard self == .chromium else { return }
    _ = try? ChildProcess.run("rm", ["-rf", directory.file("profile")])
  }
}

/// A certificate for the name that nobody else has signed, `NAME.pem`, with `NAME.key`, and both in
/// `NAME.both`; returns the first one's path.
private func makeCertificate(for name: String, in directory: TemporaryDirectory) throws -> String {
  let (certificate, key) = (directory.file("\(name).pem"), directory.file("\(name).key"))
  try runClient(
    "openssl",
    [
      "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
      "-days", "2", "-keyout", key, "-out", certificate, "-subj", "/CN=\(name)", "-addext",
      "subjectAltName=DNS:\(name)",
    ])
  try writeFile(directory.file("\(name).both"), contents(of: certificate) + contents(of: key))
  return certificate
}

/// What Chromium calls a certificate's key: the SHA-256 of its SubjectPublicKeyInfo, in base64.
private func keyHash(of certificate: String) throws -> String {
  let output = try runClient(
    "sh",
    [
      "-c",
      "openssl x509 -in \"$1\" -noout -pubkey | openssl pkey -pubin -outform der"
        + " | openssl dgst -sha256 -binary | base64", "sh", certificate,
    ])
  return String(output.filter { $0 != "\n" })
}

@Test("real clients by name", arguments: RealClient.allCases)
func realClientByName(client: RealClient) throws {
  try require(["chromium": "chromium", "openssl": "openssl"])
  let directory = try TemporaryDirectory()
  let names = ["mail.a.example", "mail.b.example"]
  let certificates = try names.map { try makeCertificate(for: $0, in: directory) }
  let servers = names.map { _ in Endpoint.loopback(ReservedPort.take()) }
  let frontends = zip(names, servers).map { name, server in
    """
    frontend \(name)
      mode http
      bind \(server) accept-proxy ssl crt \(directory.file("\(name).both")) alpn h2,http/1.1
      http-request return status 200 content-type text/plain lf-string \
    "this is \(name), asked for %[ssl_fc_sni] by %ci"
    """
  }
  let haproxy = try startHAProxy(
    frontends.joined(separator: "\n"), in: directory, at: servers[1])
  let (bind, log) = (Endpoint.loopback(ReservedPort.take()), directory.file("connections"))
  let sluice = try SluiceProcess(
    yaml: """
      workers: 1
      log: { connections: "\(log)" }
      listeners:
        front:
          bind: "\(bind)"
          type: tls
          no-sni: reject
          rules:
            - { name: a, sni: [mail.a.example, .a.example], backend: a }
            - { name: b, sni: mail.b.example, backend: b }
      backends:
        a: { servers: ["\(servers[0])"], send-proxy: v2 }
        b: { servers: ["\(servers[1])"], send-proxy: v2 }

      """, in: TemporaryDirectory(), at: bind)
  for (name, certificate) in zip(names, certificates) {
    let answer = try client.run(name, bind.port, certificate: certificate)
    #expect(answer.contains("this is \(name), asked for \(name) by 127.0.0.1"), "\(answer)")
    if client == .package { try expectNewOpenSSL(answer) }
  }
  let other = try? client.run(names[0], bind.port, certificate: certificates[1])
  #expect(other?.contains("this is") != true)
  #expect(haproxy.poll() == nil)
  try sluice.stop()
  // A browser opens as many connections as it likes, some of them for nothing.
  let records = try contents(of: log).split(separator: "\n").map {
    try PeerRecord(line: String($0))
  }.filter { $0.sni != nil }
  #expect(Set(records.compactMap(\.sni)) == Set(names))
  for record in records {
    #expect(record.rule == (record.sni == names[0] ? "a" : "b"))
    #expect(record.connection.backend == record.rule && record.alpn == client.protocols)
    #expect(record.offersECH == (client == .chromium))
    #expect(record.connection.bytesUp > 1400)
  }
}

/// Its first line says which OpenSSL it is: one that offers ML-KEM by itself, as from 3.5 on.
private func expectNewOpenSSL(_ output: String) throws {
  let words = output.split(separator: "\n").first?.split(separator: " ") ?? []
  guard words.count > 1, words[0] == "OpenSSL" else { throw TestFailure("no version: \(output)") }
  let version = words[1].split(separator: ".").compactMap { Int($0) }
  #expect(version.count > 1 && !version.lexicographicallyPrecedes([3, 5]), "\(words)")
}
