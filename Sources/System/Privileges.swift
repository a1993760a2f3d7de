internal import CLibc

/// What the kernel lets this process do, asked before it is tried.
package enum Privileges {
  /// May this process bind any port? capabilities(7), CAP_NET_BIND_SERVICE
  package static var hasBindService: Bool {
    guard let status = Files.text(of: "/proc/self/status") else { return false }
    return effectiveCapabilities(status: status).map { $0 & (1 << 10) != 0 } ?? false
  }

  /// The first TCP port that needs no capability; 1024 unless the administrator moved it. ip(7)
  package static var firstUnprivilegedPort: UInt16 {
    Files.firstLine(of: "/proc/sys/net/ipv4/ip_unprivileged_port_start").flatMap { UInt16($0) }
      ?? 1024
  }

  /// kernel.io_uring_disabled: 0 for everyone, 1 only for a privileged group, 2 for nobody; nil
  /// on kernels without the setting (before 6.6). Documentation/admin-guide/sysctl/kernel.rst
  package static var ringDisabledSetting: Int? {
    Files.firstLine(of: "/proc/sys/kernel/io_uring_disabled").flatMap { Int($0) }
  }

  package static var effectiveUser: UInt32 { system_effective_user() }

  package static var processID: Int32 { system_process_id() }

  /// The `CapEff` bits out of the text of /proc/self/status. proc(5)
  package static func effectiveCapabilities(status: String) -> UInt64? {
    for line in status.split(separator: "\n") where line.hasPrefix("CapEff:") {
      let digits = line.dropFirst("CapEff:".count).drop { $0 == "\t" || $0 == " " }
      return UInt64(digits, radix: 16)
    }
    return nil
  }
}
