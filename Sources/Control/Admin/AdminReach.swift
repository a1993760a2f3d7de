package import Config
package import System

/// Whether those who have a role can connect at all: the kernel asks for write permission on the
/// socket's file and for search permission on the directories above it (unix(7)), and a list of
/// names that cannot is a mistake to be told before somebody needs it. Pure.
package struct AdminReach: Sendable {
  /// A file or directory on the way, from the root on; the socket is the last.
  package struct Place: Hashable, Sendable {
    package var path: String
    package var access: Files.Access

    package init(_ path: String, _ access: Files.Access) {
      self.path = path
      self.access = access
    }
  }

  /// One sentence for each listed account that is unknown or could not connect.
  package static func problems(
    _ settings: AdminSettings, ownUser: UInt32, places: [Place],
    _ directory: AdminAccess.Directory
  ) -> [String] {
    var problems: [String] = []
    do throws(AdminFault) {
      _ = try AdminAccess(settings, ownUser: ownUser, directory)
    } catch {
      problems = error.sentences
    }
    let lists = [("operate", settings.operate), ("view", settings.view)]
    for (key, accounts) in lists {
      for account in accounts {
        guard let caller = Subject(account, directory) else { continue }
        if let place = places.first(where: { !caller.mayPass($0.access) }) {
          problems.append("admin.\(key): \(account) cannot connect: \(sentence(about: place))")
        }
      }
    }
    return problems
  }

  /// The places of these settings on this machine, with the socket as it would be made. Directories
  /// that do not exist yet are left out; and for root the socket too, if its own is one of these,
  /// since nothing says whose the server is going to be.
  package static func places(
    _ settings: AdminSettings, _ directory: AdminAccess.Directory
  ) -> [Place] {
    var places: [Place] = []
    var path = ""
    let names = settings.socket.split(separator: "/").dropLast()
    for name in names {
      path += "/\(name)"
      // Through symbolic links: what counts is where they lead, and /run often is one of /var/run.
      guard let access = try? Files.access(of: path + "/.") else { break }
      places.append(Place(path, access))
    }
    if places.count < names.count, Privileges.effectiveUser == 0 { return places }
    let owner = owner(under: places.last?.access)
    let access = Files.Access(
      user: owner.user,
      group: settings.group.flatMap { directory.find(group: $0) } ?? owner.group,
      mode: settings.mode, isSocket: true)
    return places + [Place(settings.socket, access)]
  }

  /// Whose a socket in this directory will be.
  private static func owner(under directory: Files.Access?) -> (user: UInt32, group: UInt32) {
    let own = (user: Privileges.effectiveUser, group: Privileges.effectiveGroup)
    guard let directory else { return own }
    // Root looks at what a server without privileges will do: the directory is that server's.
    if own.user == 0, directory.user != 0 { return (directory.user, directory.group) }
    // A directory with the set-group-ID bit hands its group down. inode(7)
    return (own.user, directory.mode & 0o2000 != 0 ? directory.group : own.group)
  }

  private static func sentence(about place: Place) -> String {
    let mode = "0" + String(place.access.mode & 0o777, radix: 8)
    let owner = "mode \(mode), user \(place.access.user) and group \(place.access.group)"
    return place.access.isSocket
      ? "the socket would have \(owner); see admin.mode and admin.group"
      : "the directory \(place.path) has \(owner)"
  }

  /// An account as permission checks see it.
  private struct Subject {
    /// Nil for "some member of these groups".
    var user: UInt32?
    var groups: Set<UInt32>

    init?(_ account: AdminSettings.Account, _ directory: AdminAccess.Directory) {
      switch account {
      case .user(let name):
        guard let found = directory.find(user: name) else { return nil }
        user = found.number
        groups = found.groups
      case .group(let name):
        guard let group = directory.find(group: name) else { return nil }
        groups = [group]
      }
    }

    /// The first class that fits decides, even if a later one has more rights. path_resolution(7)
    func mayPass(_ access: Files.Access) -> Bool {
      if user == 0 { return true }
      let bit: UInt32 = access.isSocket ? 2 : 1
      if user == access.user { return access.mode & bit << 6 != 0 }
      if groups.contains(access.group) { return access.mode & bit << 3 != 0 }
      return access.mode & bit != 0
    }
  }
}
