internal import CSluice

/// Who seals what is told in bulk over TLS: the kernel (kTLS), where it and OpenSSL can.
package enum KernelTLS: Hashable, Sendable {
  case used
  /// OpenSSL was built without.
  case notBuilt
  /// The kernel has no TLS, or does not load it for this user. tcp(7), TCP_ULP
  case absent

  /// Looks at the kernel the first time; then it is known.
  package static func look() -> KernelTLS {
    switch sluice_tls_kernel_look() {
    case .used: .used
    case .not_built: .notBuilt
    case .absent: .absent
    }
  }
}
