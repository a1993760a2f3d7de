import Routing

/// A file of users as htpasswd(1) writes it: a line for each, name and hash with a colon between
/// them. Blank lines and those that begin with `#` are nobody's.
struct UsersFile {
  /// More than anybody keeps in a file like this.
  static let bytesMax = 4 << 20
  static let usersMax = 50_000
  private static let nameMax = 255
  /// Each step doubles the time: 14 takes about a second.
  private static let bcryptCostMax = 14
  private static let roundsMax = 1_000_000

  private(set) var hashes: [String: String] = [:]
  private(set) var faults: [(line: Int, reason: String)] = []

  init(_ bytes: [UInt8]) {
    var lines: [String: Int] = [:]
    for (index, bytes) in bytes.split(separator: 0x0a, omittingEmptySubsequences: false)
      .enumerated()
    {
      let number = index + 1
      guard let text = String(validating: bytes, as: UTF8.self) else {
        faults.append((number, "not UTF-8"))
        continue
      }
      let line = text.utf8.last == 0x0d ? String(text.dropLast()) : text
      if line.isEmpty || line.hasPrefix("#") { continue }
      do throws(Unreadable) {
        let (name, hash) = try UsersFile.user(line)
        if let first = lines[name] {
          throw Unreadable("user \"\(name)\" is already in line \(first)")
        }
        guard hashes.count < UsersFile.usersMax else {
          throw Unreadable("more than \(UsersFile.usersMax) users")
        }
        lines[name] = number
        hashes[name] = hash
      } catch {
        faults.append((number, error.reason))
      }
    }
  }

  /// What is wrong with a hash is told without the hash.
  private static func user(_ line: String) throws(Unreadable) -> (name: String, hash: String) {
    guard let colon = line.firstIndex(of: ":") else {
      throw Unreadable("no colon: a line is NAME:HASH")
    }
    let name = String(line[..<colon])
    let hash = String(line[line.index(after: colon)...])
    let isPrintable = name.unicodeScalars.allSatisfy { $0.value > 0x20 && $0.value != 0x7f }
    guard !name.isEmpty, isPrintable, name.utf8.count <= nameMax else {
      throw Unreadable("a name has 1 to \(nameMax) bytes, and no blanks")
    }
    guard hash.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != UInt8(ascii: ":") }),
      let method = PasswordMethod(ofHash: hash)
    else {
      throw Unreadable(
        "the password of \"\(name)\" is not in a form that is taken: bcrypt (htpasswd -B), "
          + "SHA-crypt ($5$, $6$) or yescrypt ($y$)\(hint(hash))")
    }
    try check(method, hash, name)
    return (name, hash)
  }

  private static func hint(_ hash: String) -> String {
    if hash.hasPrefix("$apr1$") { return "; this is Apache's MD5" }
    if hash.hasPrefix("{SHA}") { return "; this is SHA-1 without salt" }
    if hash.hasPrefix("$1$") { return "; this is MD5" }
    return ""
  }

  /// One login must not keep the others waiting.
  private static func check(
    _ method: PasswordMethod, _ hash: String, _ name: String
  ) throws(Unreadable) {
    switch method {
    case .bcrypt:
      let digits = hash.dropFirst(4).prefix(2)
      guard let cost = Int(digits), (4...bcryptCostMax).contains(cost) else {
        throw Unreadable(
          "bcrypt of \"\(name)\" has cost \(digits); it may be 4 to \(bcryptCostMax), which takes "
            + "a second")
      }
    case .sha256, .sha512:
      let rest = hash.dropFirst(3)
      guard rest.hasPrefix("rounds=") else { return }
      let digits = rest.dropFirst(7).prefix { $0 != "$" }
      guard let rounds = Int(digits), rounds <= roundsMax else {
        throw Unreadable("\"\(name)\" has \(digits) rounds; at most \(roundsMax)")
      }
    case .yescrypt: return
    }
  }
}
