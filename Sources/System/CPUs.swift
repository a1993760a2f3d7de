internal import CLibc

/// The processors this process may use: its affinity mask, cut down to its cgroup's quota.
package enum CPUs {
  /// Numbers of the processors in the affinity mask, ascending; never empty.
  package static func allowed() -> [Int] {
    var numbers = [Int32](repeating: 0, count: mostCPUs)
    let count = unsafe system_affinity(&numbers, Int32(mostCPUs))
    guard count > 0 else { return [0] }
    return numbers.prefix(Int(count)).map { Int($0) }
  }

  /// How many processors' worth of time the cgroup grants, the smallest of it and its parents;
  /// nil without a quota. Reads the unified hierarchy (v2), else the cpu controller's (v1).
  package static func quota() -> Double? {
    guard let membership = Files.text(of: "/proc/self/cgroup") else { return nil }
    let paths = CgroupPaths(membership: membership)
    var smallest: Double?
    if let path = paths.unified {
      for folder in selfAndParents(of: path, under: "/sys/fs/cgroup") {
        smallest = lesser(smallest, Files.firstLine(of: folder + "/cpu.max").flatMap(quota(v2:)))
      }
    }
    if let path = paths.cpuController {
      for folder in selfAndParents(of: path, under: "/sys/fs/cgroup/cpu") {
        smallest = lesser(
          smallest,
          quota(
            v1Quota: Files.firstLine(of: folder + "/cpu.cfs_quota_us"),
            period: Files.firstLine(of: folder + "/cpu.cfs_period_us")))
      }
    }
    return smallest
  }

  /// How many workers to start: one per processor, and not more than the quota can feed, rounded
  /// up: 1.5 processors' worth of time keeps two workers busy better than one.
  package static func workers(allowed: Int, quota: Double?) -> Int {
    guard let quota else { return max(1, allowed) }
    return max(1, min(allowed, Int(quota.rounded(.up))))
  }

  /// The worker count of this process now.
  package static func workers() -> Int {
    workers(allowed: allowed().count, quota: quota())
  }

  /// `max 100000` or `150000 100000`: microseconds granted per period. cgroup-v2, cpu.max
  package static func quota(v2 line: String) -> Double? {
    let words = line.split(separator: " ")
    guard words.count == 2 else { return nil }
    return ratio(String(words[0]), String(words[1]))
  }

  /// Microseconds granted and the period; a quota of -1 is none. cgroup-v1, cpu.cfs_quota_us
  package static func quota(v1Quota: String?, period: String?) -> Double? {
    guard let v1Quota, let period else { return nil }
    return ratio(v1Quota, period)
  }

  /// glibc's cpu_set_t has this many bits.
  private static let mostCPUs = 1024

  private static func ratio(_ granted: String, _ period: String) -> Double? {
    guard let granted = Int(granted), let period = Int(period), granted > 0, period > 0 else {
      return nil
    }
    return Double(granted) / Double(period)
  }

  private static func lesser(_ a: Double?, _ b: Double?) -> Double? {
    guard let a else { return b }
    guard let b else { return a }
    return min(a, b)
  }

  private static func selfAndParents(of path: String, under root: String) -> [String] {
    var folders = [root]
    for name in path.split(separator: "/") where name != ".." {
      folders.append(folders[folders.count - 1] + "/" + String(name))
    }
    return folders
  }
}

/// The groups named in /proc/self/cgroup that can hold a processor quota. cgroups(7)
package struct CgroupPaths: Sendable, Equatable {
  /// Of hierarchy 0, `0::/path`.
  package var unified: String?
  /// Of the v1 hierarchy that has the `cpu` controller, `4:cpu,cpuacct:/path`.
  package var cpuController: String?

  package init(membership: String) {
    for line in membership.split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      if fields[0] == "0" && fields[1].isEmpty {
        unified = String(fields[2])
      } else if fields[1].split(separator: ",").contains("cpu") {
        cpuController = String(fields[2])
      }
    }
  }
}
