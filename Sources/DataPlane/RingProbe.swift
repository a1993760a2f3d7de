internal import CSluice
package import System

/// Whether this process may have io_uring, asked before anything depends on it.
package enum RingProbe {
  /// Why it may not; nil when it may. EPERM: denied by sysctl or a seccomp profile; ENOSYS: not in
  /// this kernel; EOPNOTSUPP: an operation is missing that the ring source needs. io_uring_setup(2)
  package static func denied() -> SystemError.Code? {
    var error = sluice_error()
    if unsafe sluice_ring_probe(&error) { return nil }
    return SystemError.Code(rawValue: error.number)
  }
}
