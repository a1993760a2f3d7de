internal import CLibc
internal import Wire

/// Unix sockets that processes of this machine call each other by: with an owner, a mode, and a
/// kernel that knows who calls. unix(7)
package enum LocalSockets {
  /// A listening, non-blocking socket whose file has `mode` whatever the umask says, and `group`
  /// unless nil. The file never has more rights than that, and nobody connects before it has them.
  /// [EADDRINUSE: the path exists; EACCES, ENOENT, EPERM: bind(2), chown(2)]
  package static func listen(
    at path: String, mode: UInt32, group: UInt32?, backlog: Int32 = 128
  ) throws(SystemError) -> Descriptor {
    var raw = try Sockets.rawAddress(.unix(path: path))
    let result = unsafe system_local_listen(&raw, mode, group.map { Int64($0) } ?? -1, backlog)
    return Descriptor(owning: try checked(result, "bind"))
  }

  /// Gives the file of a socket another mode, and another group unless nil. [EPERM, ENOENT]
  package static func own(_ path: String, mode: UInt32, group: UInt32?) throws(SystemError) {
    _ = try checked(unsafe system_local_own(path, mode, group.map { Int64($0) } ?? -1), "chmod")
  }

  /// Who connected over `socket`, as they were at that time. [ENOTCONN, EBADF: getsockopt(2)]
  package static func caller(ofSocket socket: Int32) throws(SystemError) -> Caller {
    var raw = system_caller()
    _ = try checked(unsafe system_caller(socket, &raw), "getsockopt SO_PEERCRED")
    let groups = unsafe try list("getsockopt SO_PEERGROUPS") { start, capacity in
      unsafe system_caller_groups(socket, start, capacity)
    }
    return Caller(
      process: raw.process, user: raw.user, groups: Set(groups).union([raw.group]))
  }

  /// The process behind a connection.
  package struct Caller: Hashable, Sendable {
    package var process: Int32
    package var user: UInt32
    /// The first and the supplementary ones.
    package var groups: Set<UInt32>

    package init(process: Int32, user: UInt32, groups: Set<UInt32>) {
      self.process = process
      self.user = user
      self.groups = groups
    }
  }

  /// Whether somebody accepts behind `path`; they do not notice. [ENOENT, EACCES, …: connect(2)]
  package static func isAlive(_ path: String) throws(SystemError) -> Bool {
    var raw = try Sockets.rawAddress(.unix(path: path))
    return try checked(unsafe system_unix_alive(&raw), "connect") == 1
  }

  /// Groups, in an array that grows until all fit; the kernel's NGROUPS_MAX is 65,536.
  static func list(
    _ operation: StaticString, _ fill: (UnsafeMutablePointer<UInt32>, Int32) -> Int32
  ) throws(SystemError) -> [UInt32] {
    var groups = [UInt32](repeating: 0, count: 64)
    while true {
      let result = unsafe groups.withUnsafeMutableBufferPointer { buffer -> Int32 in
        guard let start = buffer.baseAddress else { return 0 }
        return unsafe fill(start, Int32(buffer.count))
      }
      if result == -SystemError.Code.range.rawValue, groups.count <= 65_536 {
        groups = [UInt32](repeating: 0, count: groups.count * 4)
        continue
      }
      return Array(groups.prefix(Int(try checked(result, operation))))
    }
  }
}

/// A file that only one process at a time has; let go of, at the latest, when that process ends.
package struct FileLock: ~Copyable, Sendable {
  private let descriptor: Descriptor
  package let path: String

  /// Creates the file with mode 0600 when absent. [EWOULDBLOCK: another process has it; open(2)]
  package init(_ path: String) throws(SystemError) {
    descriptor = Descriptor(owning: try checked(unsafe system_lock(path), "lock"))
    self.path = path
  }

  /// Removes the file and lets go.
  package consuming func remove() { _ = try? Files.remove(path) }
}

extension Files {
  /// Who may do what with a file; symbolic links are not followed.
  package struct Access: Hashable, Sendable {
    package var user: UInt32
    package var group: UInt32
    /// The lower twelve bits: permissions, set-user-ID, set-group-ID, sticky.
    package var mode: UInt32
    package var isDirectory: Bool
    package var isSocket: Bool

    package init(
      user: UInt32, group: UInt32, mode: UInt32, isDirectory: Bool = false, isSocket: Bool = false
    ) {
      self.user = user
      self.group = group
      self.mode = mode
      self.isDirectory = isDirectory
      self.isSocket = isSocket
    }
  }

  /// [ENOENT, EACCES, ENOTDIR: lstat(2)]
  package static func access(of path: String) throws(SystemError) -> Access {
    var raw = system_access()
    _ = try checked(unsafe system_access_of(path, &raw), "stat")
    return Access(
      user: raw.user, group: raw.group, mode: raw.mode, isDirectory: raw.is_directory,
      isSocket: raw.is_socket)
  }

  /// [EEXIST, EACCES, ENOENT, EROFS: mkdir(2)]
  package static func makeDirectory(_ path: String, mode: UInt32) throws(SystemError) {
    _ = try checked(unsafe system_make_directory(path, mode), "mkdir")
  }
}
