internal import Glibc

/// What this process takes of the machine. proc(5)
package struct ProcessUse: Sendable, Equatable {
  /// User and system time together, in microseconds.
  package var cpuUs: UInt64
  package var residentBytes: UInt64
  package var virtualBytes: UInt64
  package var threads: UInt64
  /// When it started, in milliseconds since 1970 UTC; to about 10 ms.
  package var startedWallMs: UInt64

  /// What of its memory is in the machine's now, in bytes; nil without /proc. proc(5), statm
  package static func resident() -> UInt64? {
    let pages = Files.firstLine(of: "/proc/self/statm")?.split(separator: " ").dropFirst().first
    return pages.flatMap { UInt64($0) }.map { $0 * UInt64(getpagesize()) }
  }

  /// How much memory this process may have, in bytes: the least limit of its control groups
  /// (cgroups(7), memory.max), or what the machine has. Nil when neither can be read.
  package static func memoryAllowed() -> UInt64? {
    var limits: [UInt64] = []
    let line = Files.text(of: "/proc/self/cgroup")?.split(separator: "\n")
      .first { $0.hasPrefix("0::/") }
    var path = (line?.dropFirst("0::".count)).map { String($0) } ?? "/"
    while true {
      let file = "/sys/fs/cgroup\(path == "/" ? "" : path)/memory.max"
      if let limit = Files.firstLine(of: file).flatMap({ UInt64($0) }) { limits.append(limit) }
      guard path != "/", let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { break }
      path = slash == path.startIndex ? "/" : String(path[..<slash])
    }
    let total = Files.text(of: "/proc/meminfo")?.split(separator: "\n")
      .first { $0.hasPrefix("MemTotal:") }?.split(separator: " ").dropFirst().first
    if let kib = total.flatMap({ UInt64($0) }) { limits.append(kib * 1024) }
    return limits.min()
  }

  /// Nil without /proc.
  package static func now() -> ProcessUse? {
    guard let stat = Files.firstLine(of: "/proc/self/stat"),
      let boot = Files.text(of: "/proc/stat")
    else { return nil }
    return ProcessUse(stat: stat, bootTimeS: bootTime(boot), pageBytes: UInt64(getpagesize()))
  }

  /// - Parameter stat: the line of /proc/PID/stat. Its second field is the name in parentheses,
  ///   which may hold anything, parentheses and blanks included.
  init?(stat: String, bootTimeS: UInt64?, pageBytes: UInt64) {
    guard let close = stat.utf8.lastIndex(of: UInt8(ascii: ")")) else { return nil }
    let fields = stat[stat.index(after: close)...].split(separator: " ").map { UInt64($0) }
    // Counted from the third field, the state: fields 14, 15, 20, 22, 23 and 24.
    guard fields.count > 21, let user = fields[11], let system = fields[12],
      let threads = fields[17], let started = fields[19], let virtual = fields[20],
      let pages = fields[21], let bootTimeS
    else { return nil }
    cpuUs = (user + system) * ProcessUse.tickUs
    residentBytes = pages * pageBytes
    virtualBytes = virtual
    self.threads = threads
    startedWallMs = bootTimeS * 1000 + started * ProcessUse.tickUs / 1000
  }

  /// What /proc counts in, USER_HZ: 100 per second on every Linux we build for. time(7)
  private static let tickUs: UInt64 = 10_000

  private static func bootTime(_ stat: String) -> UInt64? {
    for line in stat.split(separator: "\n") where line.hasPrefix("btime ") {
      return UInt64(line.dropFirst("btime ".count))
    }
    return nil
  }
}
