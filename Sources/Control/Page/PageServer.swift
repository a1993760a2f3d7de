package import AdminAPI
package import Config
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import System

/// Metrics and the live page on TCP: `metrics` of the configuration. Read only, and without a
/// password; what it says is bounded by the configuration, and how often it looks by itself.
package final class PageServer: Sendable {
  private let settings: MetricsSettings
  private let state: Guarded<State>

  private struct State: Sendable {
    /// Bound, and not yet served: owned here.
    var sockets: [Int32] = []
    var running: Running?
  }

  private struct Running: Sendable {
    let desk: PageDesk
    let group: MultiThreadedEventLoopGroup
    let listeners: [any Channel]
  }

  /// Why an address cannot be served.
  package struct Fault: Error, Sendable, CustomStringConvertible {
    package let description: String
  }

  /// Binds; nobody is answered before `start`.
  package init(_ settings: MetricsSettings) throws(Fault) {
    self.settings = settings
    var sockets: [Int32] = []
    for address in settings.binds {
      do throws(SystemError) {
        sockets.append(try Sockets.listen(at: address, backlog: PageServer.backlog).release())
      } catch {
        for socket in sockets { _ = Descriptor(owning: socket) }
        throw Fault(description: "metrics.bind: \(address): \(error)")
      }
    }
    state = Guarded(State(sockets: sockets))
  }

  /// Answers from now on. Call once.
  ///
  /// - Parameter topClients: so many of the busiest clients. Called on a thread of the page's own,
  ///   as all of `operations`.
  package func start(
    _ operations: any Operations, topClients: @escaping @Sendable (Int) -> [ClientUse]
  ) throws(Fault) {
    try start(operations, topClients: topClients, stepMs: PageHistory.stepMs)
  }

  func start(
    _ operations: any Operations, topClients: @escaping @Sendable (Int) -> [ClientUse],
    stepMs: Int64
  ) throws(Fault) {
    let sockets = state.withLock { state in
      defer { state.sockets = [] }
      return state.sockets
    }
    let desk = PageDesk(settings, operations, topClients: topClients)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let crowd = NIOLoopBoundBox.makeBoxSendingValue(
      PageConnection.Crowd(), eventLoop: group.next())
    var listeners: [any Channel] = []
    do {
      for socket in sockets {
        listeners.append(try PageServer.serve(socket, group, desk, crowd))
      }
    } catch {
      desk.stop()
      try? group.syncShutdownGracefully()
      throw Fault(description: "metrics.bind: \(error)")
    }
    group.next().scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(stepMs)) { _ in
      desk.step()
    }
    let running = Running(desk: desk, group: group, listeners: listeners)
    state.withLock { $0.running = running }
  }

  /// Where it is served, with the port that the kernel chose where the settings say 0.
  package var ports: [Int] {
    state.withLock { $0.running }?.listeners.compactMap { $0.localAddress?.port } ?? []
  }

  /// Takes all settings but the addresses.
  package func change(to settings: MetricsSettings) {
    state.withLock { $0.running }?.desk.change(to: settings)
  }

  package func stop() {
    let (sockets, running) = state.withLock { state in
      defer { state = State() }
      return (state.sockets, state.running)
    }
    for socket in sockets { _ = Descriptor(owning: socket) }
    guard let running else { return }
    for listener in running.listeners { try? listener.close().wait() }
    running.desk.stop()
    try? running.group.syncShutdownGracefully()
  }

  /// Of browsers that come at once; the kernel keeps them until they are accepted.
  private static let backlog: Int32 = 128

  private static func serve(
    _ socket: Int32, _ group: MultiThreadedEventLoopGroup, _ desk: PageDesk,
    _ crowd: NIOLoopBoundBox<PageConnection.Crowd>
  ) throws -> any Channel {
    try ServerBootstrap(group: group)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          var limits = NIOHTTPDecoderLimitConfiguration()
          limits.maxHeaderFieldSize = PageConnection.Bounds.head
          limits.maxHeaderListSize = PageConnection.Bounds.head
          limits.maxHeaderFieldCount = PageConnection.Bounds.fields
          try channel.pipeline.syncOperations.addHandlers([
            HTTPResponseEncoder(),
            ByteToMessageHandler(HTTPRequestDecoder(limitConfiguration: limits)),
            HTTPServerPipelineHandler(),
            HTTPServerProtocolErrorHandler(),
            PageConnection(desk, crowd.value),
          ] as [any ChannelHandler])
        }
      }
      .withBoundSocket(socket).wait()
  }
}
