internal import CLibc

/// The process's environment, which does not change after the start.
package enum Environment {
  /// The value of a variable, with U+FFFD for what is not UTF-8; nil when it is not set.
  package static func variable(_ name: String) -> String? {
    guard let value = unsafe system_environment(name) else { return nil }
    return unsafe String(cString: value)
  }
}
