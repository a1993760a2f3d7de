internal import CLibc

/// What the kernel answered to one operation: the operation's name and the errno.
///
/// Its text is `bind: Address already in use`.
package struct SystemError: Error, Sendable, CustomStringConvertible {
  package let operation: StaticString
  package let code: Code

  /// An errno value; the names are those of errno(3).
  package struct Code: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    package let rawValue: Int32
    package init(rawValue: Int32) { self.rawValue = rawValue }

    package static let notPermitted = Code(rawValue: 1)  // EPERM
    package static let noEntry = Code(rawValue: 2)  // ENOENT
    package static let deviceAbsent = Code(rawValue: 6)  // ENXIO
    package static let tryAgain = Code(rawValue: 11)  // EAGAIN
    package static let noMemory = Code(rawValue: 12)  // ENOMEM
    package static let accessDenied = Code(rawValue: 13)  // EACCES
    package static let exists = Code(rawValue: 17)  // EEXIST
    package static let invalid = Code(rawValue: 22)  // EINVAL
    package static let noTerminal = Code(rawValue: 25)  // ENOTTY
    package static let tooManyInSystem = Code(rawValue: 23)  // ENFILE
    package static let tooManyOpen = Code(rawValue: 24)  // EMFILE
    package static let fileTooBig = Code(rawValue: 27)  // EFBIG
    package static let noSpace = Code(rawValue: 28)  // ENOSPC
    package static let brokenPipe = Code(rawValue: 32)  // EPIPE
    package static let range = Code(rawValue: 34)  // ERANGE
    package static let nameTooLong = Code(rawValue: 36)  // ENAMETOOLONG
    package static let notImplemented = Code(rawValue: 38)  // ENOSYS
    package static let familyNotSupported = Code(rawValue: 97)  // EAFNOSUPPORT
    package static let addressInUse = Code(rawValue: 98)  // EADDRINUSE
    package static let addressNotAvailable = Code(rawValue: 99)  // EADDRNOTAVAIL
    package static let reset = Code(rawValue: 104)  // ECONNRESET
    package static let timedOut = Code(rawValue: 110)  // ETIMEDOUT
    package static let refused = Code(rawValue: 111)  // ECONNREFUSED

    /// The text of strerror(3) in English: `Address already in use`.
    package var description: String {
      var text = [CChar](repeating: 0, count: 96)
      unsafe system_error_text(rawValue, &text, text.count)
      let bytes = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
      return String(decoding: bytes, as: UTF8.self)
    }
  }

  package init(_ operation: StaticString, _ code: Code) {
    self.operation = operation
    self.code = code
  }

  package var description: String { "\(operation): \(code)" }
}

/// The one place where a C result (zero or more, or -errno) becomes a value or an error.
func checked(_ result: Int32, _ operation: StaticString) throws(SystemError) -> Int32 {
  guard result >= 0 else { throw SystemError(operation, .init(rawValue: -result)) }
  return result
}

func checked(_ result: Int64, _ operation: StaticString) throws(SystemError) -> Int {
  guard result >= 0 else {
    throw SystemError(operation, .init(rawValue: Int32(truncatingIfNeeded: -result)))
  }
  return Int(result)
}
