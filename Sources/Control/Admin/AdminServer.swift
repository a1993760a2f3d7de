package import Config
internal import NIOCore
internal import System

/// HTTP and JSON over a Unix socket: the face of the running server to its operator, by way of
/// `sluice ctl` or `curl --unix-socket`.
///
/// One event-loop thread reads and writes; operations run on a few threads of their own. What the
/// workers do does not depend on any of these.
package final class AdminServer: Sendable {
  private let socket: AdminSocket
  private let bounds: AdminCrowd.Bounds
  private let deadlines: HTTPDeadlines
  /// What `start` made.
  private let running = Guarded<Running?>(nil)
  /// The roles in force; the desk has them once it is there.
  private let access: Guarded<AdminAccess>

  private struct Running: Sendable {
    let server: HTTPServer
    let desk: AdminDesk
  }

  /// The longest request is a ban with a reason.
  private static let bodyMax = 64 << 10

  /// Looks the roles up, takes the lock, binds and listens; nobody is answered before `start`.
  ///
  /// - Parameter descriptors: how many the process may have open. With few, few connections are
  ///   accepted, so that those kept back for administration suffice.
  package init(
    _ settings: AdminSettings, descriptors: UInt64, deadlines: HTTPDeadlines = HTTPDeadlines()
  ) throws(AdminFault) {
    let change = try AdminServer.prepare(settings)
    access = Guarded(change.access)
    self.deadlines = deadlines
    bounds = descriptors >= AdminServer.manyDescriptors ? AdminCrowd.Bounds() : .small
    socket = try AdminSocket(settings, group: change.group)
  }

  /// From so many descriptors on, connections of their own are reserved (`connectionsMax`).
  package static let manyDescriptors: UInt64 = 8192

  /// How many descriptors the admin socket may take beyond those kept back for it.
  package static func reserved(descriptors: UInt64) -> Int {
    descriptors >= manyDescriptors ? AdminCrowd.Bounds().all : 0
  }

  package var path: String { socket.path }

  /// What stands in the way of these settings on this machine, one sentence each, and accounts in
  /// them that could not connect. Nothing is changed.
  package static func problems(_ settings: AdminSettings) -> [String] {
    let directory = AdminAccess.Directory.system
    return AdminSocket.obstacles(settings.socket)
      + AdminReach.problems(
        settings, ownUser: Privileges.effectiveUser,
        places: AdminReach.places(settings, directory), directory)
  }

  /// Answers from now on. Call once, when the start can no longer fail.
  package func start(_ operations: any Operations) throws(AdminFault) {
    guard let listener = socket.takeListener() else { return }
    let desk = AdminDesk(operations, access.withLock { $0 })
    let server = HTTPServer(HTTPSettings(deadlines: deadlines, bodyMax: AdminServer.bodyMax))
    let crowd = server.box(AdminCrowd(bounds))
    do {
      try server.serve([listener]) { channel in
        AdminCaller(desk, crowd, try AdminServer.identity(of: channel))
      }
    } catch {
      desk.stop()
      throw AdminFault("admin.socket: \(socket.path): \(error)")
    }
    running.withLock { $0 = Running(server: server, desk: desk) }
  }

  private static func identity(of channel: any Channel) throws -> LocalSockets.Caller {
    let identity = try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
      of: NIOBSDSocket.Handle.self
    ) { try LocalSockets.caller(ofSocket: $0) }
    guard let identity else { throw SystemError("getsockopt", .invalid) }
    return identity
  }

  /// No new callers, a moment for answers on their way, and the socket's file is gone.
  package func stop() {
    socket.remove()
    guard let running = running.withLock({ running in running.take() }) else { return }
    running.server.stop()
    running.desk.stop()
  }

  // ---- reload ------------------------------------------------------------------------------

  /// Settings that were looked up and can be put in force.
  package struct Change: Sendable {
    fileprivate let settings: AdminSettings
    fileprivate let access: AdminAccess
    fileprivate let group: UInt32?
  }

  /// Looks accounts up, and so may block. Nothing is changed. The socket's path is not looked at:
  /// it stays what it was at the start.
  package static func prepare(_ settings: AdminSettings) throws(AdminFault) -> Change {
    let directory = AdminAccess.Directory.system
    let access = try AdminAccess(settings, ownUser: Privileges.effectiveUser, directory)
    var group: UInt32?
    if let name = settings.group {
      group = directory.find(group: name)
      guard group != nil else { throw AdminFault("admin.group: there is no group \(name)") }
    }
    return Change(settings: settings, access: access, group: group)
  }

  /// Puts roles in force, for connections that are open too, and the socket's mode and group.
  package func commit(_ change: Change) {
    access.withLock { $0 = change.access }
    running.withLock { $0?.desk.setAccess(change.access) }
    do throws(SystemError) {
      try socket.own(mode: change.settings.mode, group: change.group)
    } catch {
      Notice.write("admin.socket: \(socket.path) keeps its mode and group: \(error)", .warning)
    }
  }
}
