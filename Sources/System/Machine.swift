internal import CLibc
package import Wire

/// What the system says of the machine.
package enum Machine {
  /// Its name, which need not be a full one; nil when it is no host name. gethostname(2)
  package static var hostName: HostName? {
    // POSIX has 255 bytes for it at most, Linux 64.
    var name = [CChar](repeating: 0, count: 256)
    guard unsafe system_host_name(&name, name.count) == 0 else { return nil }
    let bytes = name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    return HostName(bytes: bytes.span)
  }

  /// Takes what of the program only its start needed out of its resident memory: parsers, checks,
  /// and whatever the kernel mapped around them, 2.5 MiB of 17.
  package static func letGoOfCode() { system_let_go_of_code() }
}
