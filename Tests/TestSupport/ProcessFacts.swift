import Glibc
import TestLaunch

/// What the kernel says about a running process, proc(5).
package struct ProcessFacts: Sendable {
  package let pid: pid_t
  package init(_ pid: pid_t) { self.pid = pid }

  /// Open descriptors and what each is: `socket:[…]`, `pipe:[…]`, `anon_inode:[…]` or a path.
  package var descriptors: [Int32: String] {
    var found: [Int32: String] = [:]
    for name in entries(of: "/proc/\(pid)/fd") {
      if let number = Int32(name), let target = linkTarget("/proc/\(pid)/fd/\(name)") {
        found[number] = target
      }
    }
    return found
  }

  /// Open descriptors, but for files below /proc and /sys: the daemon looks at its memory there
  /// each second, and has one open for a moment.
  package var descriptorCount: Int {
    let directory = "/proc/\(pid)/fd"
    return entries(of: directory).count { name in
      var target = [UInt8](repeating: 0, count: 5)
      let length = readlink("\(directory)/\(name)", &target, target.count)
      guard length == target.count else { return length >= 0 }
      return target != Array("/proc".utf8) && !target.starts(with: Array("/sys/".utf8))
    }
  }

  /// Thread ids.
  package var threads: [pid_t] { entries(of: "/proc/\(pid)/task").compactMap { pid_t($0) } }

  /// A number from `/proc/PID/status` (or a thread's), such as `voluntary_ctxt_switches`.
  package func status(_ key: String, thread: pid_t? = nil) -> Int? {
    let path = thread.map { "/proc/\(pid)/task/\($0)/status" } ?? "/proc/\(pid)/status"
    return Self.number(key, in: contents(of: path))
  }

  /// User-space memory that belongs to this process alone, in bytes: dirtied pages, anonymous or
  /// shared mappings (a memfd, a ring) alike. Not counted: program text and sockets' buffers.
  package var privateMemory: Int {
    let text = contents(of: "/proc/\(pid)/smaps_rollup")
    let dirty = (Self.number("Private_Dirty", in: text) ?? 0)
    return (dirty + (Self.number("Shared_Dirty", in: text) ?? 0)) * 1024
  }

  private static func number(_ key: String, in text: String) -> Int? {
    for line in text.split(separator: "\n") where line.hasPrefix("\(key):") {
      let value = line.dropFirst(key.count + 1).split { $0 == " " || $0 == "\t" }
      return value.first.flatMap { Int($0) }
    }
    return nil
  }

  /// CPU clock ticks used by a thread, user and system: fields 14 and 15 of stat.
  package func cpuTicks(thread: pid_t) -> Int {
    let text = contents(of: "/proc/\(pid)/task/\(thread)/stat")
    // The second field, the name in parentheses, may hold spaces.
    guard let end = text.lastIndex(of: ")") else { return 0 }
    let fields = text[text.index(after: end)...].split(separator: " ")
    return fields.count > 12 ? (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0) : 0
  }

  /// prlimit(2) on RLIMIT_NOFILE.
  package func limitDescriptors(soft: UInt64, hard: UInt64) throws {
    let result = launch_limit_descriptors(pid, soft, hard)
    guard result == 0 else { throw TestFailure("prlimit: \(errorText(-result))") }
  }
}

/// Raises this test program's own descriptor limit to the hard one and says whether it then has
/// room for so many more.
package func makeRoom(forDescriptors count: Int) throws {
  var limit = rlimit()
  getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  limit.rlim_cur = limit.rlim_max
  setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  guard limit.rlim_max >= rlim_t(count + 500) else {
    throw TestFailure(
      "this test opens \(count) descriptors and the hard limit is \(limit.rlim_max): "
        + "raise it (ulimit -Hn) for the test run")
  }
}

/// Whether this machine has ::1; containers often have no IPv6, and then there is nothing to test.
package let hasIPv6Loopback = contents(of: "/proc/net/if_inet6").split(separator: "\n").contains {
  $0.hasSuffix(" lo")
}
