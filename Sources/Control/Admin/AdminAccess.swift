package import Config
package import System

/// Why the admin socket cannot be had as the configuration wants it; sentences for the operator.
package struct AdminFault: Error, Hashable, Sendable {
  package let sentences: [String]
  package init(_ sentences: String...) { self.sentences = sentences }
  package init(sentences: [String]) { self.sentences = sentences }
}

/// What a caller of the admin socket may do; the higher may all that the lower may.
package enum AdminRole: Int, Comparable, Sendable {
  case view
  case operate

  package static func < (left: AdminRole, right: AdminRole) -> Bool {
    left.rawValue < right.rawValue
  }
}

/// Who has which role, by numbers: names were looked up when the configuration was read, since a
/// directory service must not be waited for when somebody calls.
package struct AdminAccess: Hashable, Sendable {
  private var users: [UInt32: AdminRole] = [:]
  private var groups: [UInt32: AdminRole] = [:]
  private let overflowUser: UInt32
  private let overflowGroup: UInt32

  /// How names become numbers; tests bring their own.
  package struct Directory: Sendable {
    package var user: @Sendable (String) -> Accounts.User?
    package var group: @Sendable (String) -> UInt32?
    package var overflowUser: UInt32
    package var overflowGroup: UInt32

    package init(
      overflowUser: UInt32, overflowGroup: UInt32,
      user: @escaping @Sendable (String) -> Accounts.User?,
      group: @escaping @Sendable (String) -> UInt32?
    ) {
      self.user = user
      self.group = group
      self.overflowUser = overflowUser
      self.overflowGroup = overflowGroup
    }

    /// The system's own.
    package static var system: Directory {
      Directory(
        overflowUser: Accounts.overflowUser, overflowGroup: Accounts.overflowGroup,
        user: { (try? Accounts.user(named: $0)) ?? nil },
        group: { (try? Accounts.group(named: $0)) ?? nil })
    }

    /// A user by name, or by number where no user has such a name.
    func find(user name: String) -> Accounts.User? {
      if let found = user(name) { return found }
      return UInt32(name).map { Accounts.User(name: name, number: $0, groups: []) }
    }

    func find(group name: String) -> UInt32? { group(name) ?? UInt32(name) }
  }

  /// - Parameter ownUser: who the server runs as. That user and root always may everything: they
  ///   could end, trace and replace the server anyway.
  package init(
    _ settings: AdminSettings, ownUser: UInt32, _ directory: Directory
  ) throws(AdminFault) {
    overflowUser = directory.overflowUser
    overflowGroup = directory.overflowGroup
    var problems: [String] = []
    for (accounts, role) in [
      (settings.view, AdminRole.view), (settings.operate, AdminRole.operate),
    ] {
      for account in accounts {
        if let problem = grant(role, to: account, directory) {
          problems.append("admin.\(role): \(problem)")
        }
      }
    }
    guard problems.isEmpty else { throw AdminFault(sentences: problems) }
    users[ownUser] = .operate
    users[0] = .operate
  }

  /// Says what is wrong with `account`, or nil.
  private mutating func grant(
    _ role: AdminRole, to account: AdminSettings.Account, _ directory: Directory
  ) -> String? {
    switch account {
    case .user(let name):
      guard let user = directory.find(user: name) else { return "there is no user \(name)" }
      guard user.number != overflowUser else {
        return "\(name) is the user that stands for unknown ones, and so never matches"
      }
      users[user.number] = role
    case .group(let name):
      guard let group = directory.find(group: name) else { return "there is no group \(name)" }
      guard group != overflowGroup else {
        return "@\(name) is the group that stands for unknown ones, and so never matches"
      }
      groups[group] = role
    }
    return nil
  }

  /// The highest role of the caller; nil for strangers. A user that the kernel shows as the
  /// overflow user is a stranger whatever the groups: it is nobody that this system knows.
  package func role(of caller: LocalSockets.Caller) -> AdminRole? {
    guard caller.user != overflowUser else { return nil }
    let own = users[caller.user]
    let byGroup = caller.groups.lazy.filter { $0 != overflowGroup }.compactMap { groups[$0] }.max()
    return [own, byGroup].compactMap { $0 }.max()
  }
}
