internal import CLibc

/// The system's users and groups. May ask a directory service, and so block for seconds.
package enum Accounts {
  /// [EIO, ENOMEM and what the directory service adds: getpwnam_r(3)]
  package static func user(named name: String) throws(SystemError) -> User? {
    var (user, group): (UInt32, UInt32) = (0, 0)
    let result = unsafe system_user_named(name, &user, &group)
    guard try checked(result, "getpwnam") == 1 else { return nil }
    return User(name: name, number: user, groups: try groups(of: name, first: group))
  }

  package static func user(numbered number: UInt32) throws(SystemError) -> User? {
    var name = [CChar](repeating: 0, count: 512)
    var group: UInt32 = 0
    let result = unsafe system_user_name(number, &name, name.count, &group)
    guard try checked(result, "getpwuid") == 1 else { return nil }
    let bytes = name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    let text = String(decoding: bytes, as: UTF8.self)
    return User(name: text, number: number, groups: try groups(of: text, first: group))
  }

  package struct User: Hashable, Sendable {
    package var name: String
    package var number: UInt32
    /// All that the user is a member of.
    package var groups: Set<UInt32>

    package init(name: String, number: UInt32, groups: Set<UInt32>) {
      self.name = name
      self.number = number
      self.groups = groups
    }
  }

  package static func group(named name: String) throws(SystemError) -> UInt32? {
    var group: UInt32 = 0
    let result = unsafe system_group_named(name, &group)
    return try checked(result, "getgrnam") == 1 ? group : nil
  }

  /// What the kernel shows in place of users and groups that a user namespace does not know; no
  /// proof of being anybody. user_namespaces(7)
  package static var overflowUser: UInt32 { overflow("/proc/sys/kernel/overflowuid") }
  package static var overflowGroup: UInt32 { overflow("/proc/sys/kernel/overflowgid") }

  private static func overflow(_ path: String) -> UInt32 {
    Files.firstLine(of: path).flatMap { UInt32($0) } ?? 65_534
  }

  private static func groups(of name: String, first: UInt32) throws(SystemError) -> Set<UInt32> {
    let groups = unsafe try LocalSockets.list("getgrouplist") { start, capacity in
      unsafe system_groups_of_user(name, first, start, capacity)
    }
    return Set(groups)
  }
}

extension Privileges {
  package static var effectiveGroup: UInt32 { system_effective_group() }
}
