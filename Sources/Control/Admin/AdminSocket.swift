package import Config
internal import System

/// The admin socket's file, with a lock beside it that keeps a second instance out.
///
/// A socket that a dead process left is replaced; one that is alive, and anything that is no
/// socket, is left alone and refused.
package final class AdminSocket: Sendable {
  package let path: String
  private let identity: Files.Identity
  private let lock: Guarded<FileLock?>
  private let listener: Guarded<Descriptor?>

  /// A directory that is made for the socket: who may connect is the socket's own mode's to say.
  private static let directoryMode: UInt32 = 0o755

  /// Binds and listens; callers wait in the queue until somebody accepts.
  package init(_ settings: AdminSettings, group: UInt32?) throws(AdminFault) {
    path = settings.socket
    try AdminSocket.prepareDirectory(of: path)
    let held = try AdminSocket.lock(path)
    do throws(AdminFault) {
      try AdminSocket.removeStale(path)
    } catch {
      held.remove()
      throw error
    }
    do throws(SystemError) {
      listener = Guarded(try LocalSockets.listen(at: path, mode: settings.mode, group: group))
      identity = try Files.identity(at: path)
    } catch {
      held.remove()
      throw AdminFault("admin.socket: \(settings.socket): \(error)")
    }
    lock = Guarded(held)
  }

  /// The listening descriptor, once.
  func takeListener() -> Int32? {
    let taken = listener.withLock { listener in listener.take() }
    return taken?.release()
  }

  /// Gives the file another mode and group. [EPERM: the process is not in that group]
  func own(mode: UInt32, group: UInt32?) throws(SystemError) {
    try LocalSockets.own(path, mode: mode, group: group)
  }

  /// Removes the socket, if the file there is still ours, and then the lock. Once.
  package func remove() {
    guard let held = lock.withLock({ held in held.take() }) else { return }
    _ = listener.withLock { listener in listener.take() }
    if let found = try? Files.identity(at: path), found == identity { try? Files.remove(path) }
    held.remove()
  }

  /// What stands in the way of a socket at `path`, for `check`; nothing is changed. An instance
  /// that is running is no obstacle: its file is what may be being checked.
  package static func obstacles(_ path: String) -> [String] {
    let parent = directory(of: path)
    if let access = try? Files.access(of: parent + "/.") {
      let problem = problem(ofDirectory: parent, access) ?? problem(ofFileAt: path)
      return problem.map { ["admin.socket: \($0)"] } ?? []
    }
    // It would be made at the start, in the one above.
    let above = directory(of: parent)
    guard (try? Files.access(of: above + "/."))?.isDirectory == true else {
      return ["admin.socket: there is no directory \(above)"]
    }
    return []
  }

  // ---- the start ---------------------------------------------------------------------------

  private static func directory(of path: String) -> String {
    let end = path.lastIndex(of: "/") ?? path.startIndex
    return end == path.startIndex ? "/" : String(path[..<end])
  }

  private static func problem(ofDirectory path: String, _ access: Files.Access) -> String? {
    guard access.isDirectory else { return "\(path) is no directory" }
    // Without the sticky bit everybody could put a socket of theirs in place of ours. inode(7)
    guard access.mode & 0o1002 != 0o002 else {
      return "everybody may write to the directory \(path), and so replace the socket"
    }
    return nil
  }

  private static func problem(ofFileAt path: String) -> String? {
    do throws(SystemError) {
      return try Files.access(of: path).isSocket ? nil : "\(path) is there and is no socket"
    } catch {
      return error.code == .noEntry ? nil : "\(path): \(error)"
    }
  }

  private static func prepareDirectory(of path: String) throws(AdminFault) {
    let parent = directory(of: path)
    let access: Files.Access
    do throws(SystemError) {
      do throws(SystemError) {
        try Files.makeDirectory(parent, mode: directoryMode)
      } catch {
        if error.code != .exists { throw error }
      }
      access = try Files.access(of: parent + "/.")
    } catch {
      throw AdminFault("admin.socket: the directory \(parent): \(error)")
    }
    if let problem = problem(ofDirectory: parent, access) {
      throw AdminFault("admin.socket: \(problem)")
    }
  }

  private static func lock(_ path: String) throws(AdminFault) -> FileLock {
    do throws(SystemError) {
      return try FileLock(path + ".lock")
    } catch {
      guard error.code == .tryAgain else {
        throw AdminFault("admin.socket: \(path).lock: \(error)")
      }
      throw AdminFault("admin.socket: \(path) belongs to another instance that is running")
    }
  }

  private static func removeStale(_ path: String) throws(AdminFault) {
    if let problem = problem(ofFileAt: path) { throw AdminFault("admin.socket: \(problem)") }
    let isAlive: Bool
    do throws(SystemError) {
      isAlive = try LocalSockets.isAlive(path)
      if !isAlive { try Files.remove(path) }
    } catch {
      if error.code == .noEntry { return }
      throw AdminFault("admin.socket: \(path): \(error)")
    }
    if isAlive { throw AdminFault("admin.socket: another process serves \(path)") }
  }
}
