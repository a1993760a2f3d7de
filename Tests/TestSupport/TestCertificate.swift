import Glibc

/// A certificate with its key, made by openssl in a directory: `NAME.crt` with the chain,
/// `NAME.key`, and both in `NAME.pem`.
package struct TestCertificate: Sendable {
  package enum Key: String, Sendable { case ec, rsa, ed25519 }

  package let directory: TemporaryDirectory
  package let name: String

  package var chain: String { directory.file("\(name).crt") }
  package var key: String { directory.file("\(name).key") }
  package var both: String { directory.file("\(name).pem") }

  /// - Parameters:
  ///   - name: of the files.
  ///   - names: alternative names as openssl writes them, `DNS:a.example` or `email:a@b.example`.
  ///   - issuer: who signs it; nil: it itself, as an authority.
  ///   - days: how long it is good; less than nothing: it never was.
  package init(
    _ name: String, _ names: [String], subject: String? = nil, key: Key = .ec,
    by issuer: TestCertificate? = nil, days: Int = 30, in directory: TemporaryDirectory
  ) throws {
    (self.directory, self.name) = (directory, name)
    let kind =
      switch key {
      case .ec: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
      case .rsa: ["-newkey", "rsa:2048"]
      case .ed25519: ["-newkey", "ed25519"]
      }
    let request = directory.file("\(name).csr")
    let alternatives =
      names.isEmpty ? [] : ["-addext", "subjectAltName=\(names.joined(separator: ","))"]
    try TestCertificate.openssl(
      ["req"] + kind + ["-nodes", "-keyout", self.key, "-out", request]
        + ["-subj", subject ?? "/CN=\(name)"]
        + (issuer == nil ? ["-addext", "basicConstraints=critical,CA:TRUE"] : [])
        + alternatives)
    let signer =
      issuer.map { ["-CA", $0.chain, "-CAkey", $0.key, "-CAcreateserial"] }
      ?? ["-signkey", self.key]
    try TestCertificate.openssl(
      ["x509", "-req", "-in", request, "-days", "\(days)", "-copy_extensions", "copy"]
        + ["-out", chain] + signer)
    guard chmod(self.key, 0o600) == 0 else { throw TestFailure("chmod: \(errorText(errno))") }
    try writeFile(both, contents(of: chain) + contents(of: self.key))
    guard chmod(both, 0o600) == 0 else { throw TestFailure("chmod: \(errorText(errno))") }
  }

  private static func openssl(_ arguments: [String]) throws {
    let result = try ChildProcess.run("openssl", arguments)
    guard result.exit == .code(0) else {
      throw TestFailure("openssl \(arguments): \(result.exit): \(result.error)")
    }
  }
}
