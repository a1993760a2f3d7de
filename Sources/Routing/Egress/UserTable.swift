/// Who may use a forward proxy: the names of one file of users, and what their passwords are
/// checked against. Immutable; passwords themselves are nowhere.
package final class UserTable: Sendable {
  /// By name: a hash as crypt(5) has it, such as `$2y$...` or `$6$...`.
  private let hashes: [String: String]

  package init(_ hashes: [String: String]) { self.hashes = hashes }

  package var count: Int { hashes.count }

  /// What the password of a user is checked against; nil for nobody's name.
  package func hash(of user: String) -> String? { hashes[user] }

  /// Any user's: a name that nobody has is to cost as much time as one that somebody has.
  package var anyHash: String? { hashes.first?.value }
}

/// The method of a password hash.
package enum PasswordMethod: String, CaseIterable, Sendable {
  case bcrypt, sha256, sha512, yescrypt

  /// Nil for what is none of them: DES, MD5 and what Apache alone has are too weak or unknown to
  /// crypt_r(3).
  ///
  /// - Parameter hash: crypt(5).
  package init?(ofHash hash: String) {
    if ["$2y$", "$2b$", "$2a$"].contains(where: { hash.hasPrefix($0) }), hash.utf8.count == 60 {
      self = .bcrypt
    } else if hash.hasPrefix("$5$"), hash.utf8.count > 46 {
      self = .sha256
    } else if hash.hasPrefix("$6$"), hash.utf8.count > 89 {
      self = .sha512
    } else if hash.hasPrefix("$y$"), hash.utf8.count > 50 {
      self = .yescrypt
    } else {
      return nil
    }
  }
}
