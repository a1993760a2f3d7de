internal import DataPlane
internal import System

/// A certificate with all that belongs to it, as its files have it.
struct StoredCertificate: Sendable {
  /// Of the file with the certificate.
  let path: String
  let identity: TLSIdentity
  let facts: CertificateFacts
  /// The names it is chosen by; `*.example.com` among them.
  let names: [String]

  /// The file to look at for a fault of one of its parts.
  let keyPath: String
  let staplePath: String
}

/// Finds certificates with their keys.
///
/// A certificate and its chain are in one file of PEM. Its key is in the same file, or in one of
/// the same name that ends in `.key`; that of `fullchain.pem` also in `privkey.pem` (as certbot
/// has it). A stapled OCSP response is in a file of the same name that ends in `.ocsp`.
struct CertificateFiles {
  private(set) var found: [StoredCertificate] = []
  /// Sentences that begin with a path. Any of these, and what was found is not to be used.
  private(set) var problems: [String] = []
  private(set) var warnings: [String] = []

  /// Far more than a chain of any algorithm takes.
  static let mostBytes = 1 << 20
  /// Of one listener, whatever its directories hold.
  static let most = 10_000

  init(_ paths: [String]) {
    for path in paths {
      guard found.count < CertificateFiles.most else { break }
      do throws(SystemError) {
        switch try Files.kind(at: path) {
        case .directory: try addDirectory(path)
        case .regular: add(path)
        case .pipe, .socket, .other: problems.append("\(path): not a regular file")
        }
      } catch {
        problems.append("\(path): \(error)")
      }
    }
    if found.count >= CertificateFiles.most {
      problems.append("more than \(CertificateFiles.most) certificates")
    }
  }

  /// What else is there, keys for one, is not looked at.
  private mutating func addDirectory(_ directory: String) throws(SystemError) {
    let all = Set(try Files.names(in: directory))
    let names = all.filter { name in
      guard !name.hasPrefix("."), name.hasSuffix(".pem") || name.hasSuffix(".crt") else {
        return false
      }
      // Parts of it, and its key.
      let ofCertbot = ["cert.pem", "chain.pem", "privkey.pem"]
      return !(all.contains("fullchain.pem") && ofCertbot.contains(name))
    }
    let slash = directory.hasSuffix("/") ? "" : "/"
    let before = found.count + problems.count
    for name in names.sorted() where found.count < CertificateFiles.most {
      let path = directory + slash + name
      guard let kind = try? Files.kind(at: path), case .regular = kind else { continue }
      add(path)
    }
    if found.count + problems.count == before {
      problems.append("\(directory): no certificates in it (files that end in .pem or .crt)")
    }
  }

  private mutating func add(_ path: String) {
    guard let chain = read(path) else { return }
    let (key, keyPath) = self.key(of: path, chain)
    guard let key else { return }
    let staplePath = CertificateFiles.stem(path) + ".ocsp"
    let staple = try? Files.read(staplePath, atMost: CertificateFiles.mostBytes)
    do throws(TLSProblem) {
      let facts = try CertificateFacts(chain: chain, key: key)
      found.append(
        StoredCertificate(
          path: path, identity: TLSIdentity(chain: chain, key: key, staple: staple ?? []),
          facts: facts, names: CertificateFiles.names(of: facts), keyPath: keyPath,
          staplePath: staplePath))
    } catch {
      if case .key = error.input {
        problems.append("\(keyPath): \(error.reason)")
      } else {
        problems.append("\(path): \(error.reason)")
      }
    }
  }

  private mutating func read(_ path: String) -> [UInt8]? {
    do throws(Files.ReadError) {
      return try Files.read(path, atMost: CertificateFiles.mostBytes)
    } catch {
      problems.append("\(path): \(error)")
      return nil
    }
  }

  /// The key, which is nil when there is none, and the file that has it or should have it.
  private mutating func key(of path: String, _ chain: [UInt8]) -> (key: [UInt8]?, path: String) {
    if CertificateFiles.holdsKey(chain) {
      warnOfReaders(of: path)
      return (chain, path)
    }
    let directory = path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[...$0]) } ?? ""
    var candidates = [CertificateFiles.stem(path) + ".key"]
    if path == directory + "fullchain.pem" { candidates.append(directory + "privkey.pem") }
    for candidate in candidates {
      do throws(Files.ReadError) {
        let key = try Files.read(candidate, atMost: CertificateFiles.mostBytes)
        warnOfReaders(of: candidate)
        return (key, candidate)
      } catch .system(let error) where error.code == .noEntry {
        continue
      } catch {
        problems.append("\(candidate): \(error)")
        return (nil, candidate)
      }
    }
    problems.append("\(path): there is no key, neither in it nor in \(candidates[0])")
    return (nil, path)
  }

  private mutating func warnOfReaders(of path: String) {
    guard let mode = try? Files.mode(at: path), mode & 0o007 != 0 else { return }
    warnings.append("\(path): every user of this machine may read this key; `chmod o= \(path)`")
  }

  /// `/a/b.pem` is `/a/b`.
  static func stem(_ path: String) -> String {
    for ending in [".pem", ".crt"] where path.hasSuffix(ending) {
      return String(path.dropLast(ending.count))
    }
    return path
  }

  /// Whether there is a key of any kind in it. RFC 7468 section 10 and 11, and OpenSSL's own kinds.
  static func holdsKey(_ pem: [UInt8]) -> Bool {
    pem.split(separator: UInt8(ascii: "\n")).contains { line in
      let end = line.lastIndex { $0 > UInt8(ascii: " ") } ?? line.startIndex
      return line.starts(with: "-----BEGIN ".utf8)
        && line[...end].suffix(16).elementsEqual("PRIVATE KEY-----".utf8)
    }
  }

  /// A certificate without any names of the kind has its common name (RFC 9525 appendix A has the
  /// history); clients that look at it no more say so themselves.
  private static func names(of facts: CertificateFacts) -> [String] {
    if !facts.names.isEmpty || !facts.addresses.isEmpty { return facts.names }
    return facts.commonName.map { [$0] } ?? []
  }
}
