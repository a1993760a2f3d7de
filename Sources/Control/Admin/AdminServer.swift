package import Config
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import System

/// HTTP and JSON over a Unix socket: the face of the running server to its operator, by way of
/// `sluice ctl` or `curl --unix-socket`.
///
/// One event-loop thread reads and writes; operations run on a few threads of their own. What the
/// workers do does not depend on any of these.
package final class AdminServer: Sendable {
  private let socket: AdminSocket
  private let bounds: AdminCrowd.Bounds
  private let deadlines: AdminDeadlines
  /// What `start` made.
  private let running = Guarded<Running?>(nil)
  /// The roles in force; the desk has them once it is there.
  private let access: Guarded<AdminAccess>

  private struct Running: Sendable {
    let group: MultiThreadedEventLoopGroup
    let listener: any Channel
    let loop: NIOLoopBoundBox<AdminLoop>
    let gate: LoopGate
    let desk: AdminDesk
  }

  /// Answers that are on their way may take this long when the server ends.
  private static let stopGraceMs: Int64 = 500

  /// Looks the roles up, takes the lock, binds and listens; nobody is answered before `start`.
  ///
  /// - Parameter descriptors: how many the process may have open. With few, few connections are
  ///   accepted, so that those kept back for administration suffice.
  package init(
    _ settings: AdminSettings, descriptors: UInt64, deadlines: AdminDeadlines = AdminDeadlines()
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
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let desk = AdminDesk(operations, access.withLock { $0 })
    let gate = LoopGate(group.next())
    let loop = NIOLoopBoundBox.makeBoxSendingValue(
      AdminLoop(bounds, deadlines, gate), eventLoop: group.next())
    do {
      let channel = try ServerBootstrap(group: group)
        .childChannelOption(.allowRemoteHalfClosure, value: true)
        .childChannelOption(.writeBufferWaterMark, value: AdminServer.waterMark)
        .childChannelInitializer { AdminServer.prepare($0, desk, loop) }
        .withBoundSocket(listener).wait()
      running.withLock {
        $0 = Running(group: group, listener: channel, loop: loop, gate: gate, desk: desk)
      }
    } catch {
      try? group.syncShutdownGracefully()
      throw AdminFault("admin.socket: \(socket.path): \(error)")
    }
  }

  /// No new callers, a moment for answers on their way, and the socket's file is gone.
  package func stop() {
    socket.remove()
    guard let running = running.withLock({ running in running.take() }) else { return }
    try? running.listener.close().wait()
    let eventLoop = running.group.next()
    try? eventLoop.flatSubmit { [loop = running.loop] in
      loop.value.stop(eventLoop, graceMs: AdminServer.stopGraceMs)
    }.wait()
    running.gate.close()
    running.desk.stop()
    try? running.group.syncShutdownGracefully()
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

  // ---- connections -------------------------------------------------------------------------

  /// A reader of events that leaves this much unread gets no more until it has read.
  private static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(
    low: 16 << 10, high: 64 << 10)

  private static func prepare(
    _ channel: any Channel, _ desk: AdminDesk, _ loop: NIOLoopBoundBox<AdminLoop>
  ) -> EventLoopFuture<Void> {
    channel.eventLoop.makeCompletedFuture {
      let pipeline = channel.pipeline.syncOperations
      let caller = try pipeline.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) {
        try LocalSockets.caller(ofSocket: $0)
      }
      guard let caller else { throw SystemError("getsockopt", .invalid) }
      var limits = NIOHTTPDecoderLimitConfiguration()
      limits.maxHeaderFieldSize = AdminConnection.Bounds.head
      limits.maxHeaderListSize = AdminConnection.Bounds.head
      limits.maxHeaderFieldCount = AdminConnection.Bounds.fields
      try pipeline.addHandlers([
        HTTPResponseEncoder(),
        ByteToMessageHandler(HTTPRequestDecoder(limitConfiguration: limits)),
        AdminConnection(desk, loop.value, caller),
      ] as [any ChannelHandler])
    }
  }
}
