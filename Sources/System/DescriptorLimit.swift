internal import CLibc

/// How many descriptors this process may have open. getrlimit(2), RLIMIT_NOFILE
package struct DescriptorLimit: Sendable, Equatable {
  package var soft: UInt64
  package var hard: UInt64

  package static func current() throws(SystemError) -> DescriptorLimit {
    var limit = DescriptorLimit(soft: 0, hard: 0)
    _ = try checked(unsafe system_descriptor_limit(&limit.soft, &limit.hard), "getrlimit")
    return limit
  }

  /// How many are open now: those that whoever started us left open count too. [no /proc: ENOENT]
  package static func open() throws(SystemError) -> Int {
    Int(try checked(system_descriptors_open(), "opendir"))
  }

  /// Raises the soft limit to the hard one and returns what holds now.
  package static func raise() throws(SystemError) -> DescriptorLimit {
    let limit = try current()
    guard limit.soft < limit.hard else { return limit }
    _ = try checked(system_descriptor_limit_set(limit.hard), "setrlimit")
    return try current()
  }
}
