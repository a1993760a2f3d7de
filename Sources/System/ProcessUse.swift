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
