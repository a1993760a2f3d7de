internal import CLibc

/// Passwords that were hashed by crypt(3).
package enum PasswordHash {
  /// Longer ones are nobody's: bcrypt looks at 72 bytes, and SHA-crypt takes ever longer for them.
  package static let lengthMax = 255

  /// Whether `password` is the one that `hash` was made of. Takes as long as the hash was made to
  /// take, up to about a second. The comparison tells nothing by its time. crypt_r(3)
  package static func matches(_ password: [UInt8], _ hash: String) -> Bool {
    // A NUL would end what is hashed early.
    guard password.count <= lengthMax, !password.contains(0) else { return false }
    let bytes = password.map { CChar(bitPattern: $0) } + [0]
    return unsafe system_password_matches(bytes, hash) == 1
  }
}
