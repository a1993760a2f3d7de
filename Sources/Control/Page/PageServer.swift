package import AdminAPI
package import Config
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import System
internal import Wire

/// Metrics and the live page on TCP: `metrics` of the configuration. Read only, and without a
/// password; what it says is bounded by the configuration, and how often it looks by itself.
package final class PageServer: Sendable {
  private let desk: PageDesk
  private let group: MultiThreadedEventLoopGroup
  private let listeners: [any Channel]

  /// Why an address cannot be served.
  package struct Fault: Error, Sendable, CustomStringConvertible {
    package let description: String
  }

  /// Binds and serves from now on.
  ///
  /// - Parameter topClients: the busiest clients; nil when no track of them is kept. Called on a
  ///   thread of the page's own, as all of `operations`.
  package convenience init(
    _ settings: MetricsSettings, _ operations: any Operations,
    topClients: (@Sendable () -> [ClientUse])? = nil
  ) throws(Fault) {
    try self.init(settings, operations, topClients: topClients, stepMs: PageHistory.stepMs)
  }

  init(
    _ settings: MetricsSettings, _ operations: any Operations,
    topClients: (@Sendable () -> [ClientUse])?, stepMs: Int64
  ) throws(Fault) {
    let desk = PageDesk(
      operations, hasPage: settings.hasPage,
      topClients: settings.topClients > 0 ? topClients : nil)
    let hosts = PageHosts(settings.hosts)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let crowd = NIOLoopBoundBox.makeBoxSendingValue(
      PageConnection.Crowd(), eventLoop: group.next())
    var listeners: [any Channel] = []
    do {
      for address in settings.binds {
        listeners.append(try PageServer.listen(at: address, group, desk, hosts, crowd))
      }
    } catch {
      desk.stop()
      try? group.syncShutdownGracefully()
      throw error as? Fault ?? Fault(description: "metrics.bind: \(error)")
    }
    self.desk = desk
    self.group = group
    self.listeners = listeners
    group.next().scheduleRepeatedTask(
      initialDelay: .zero, delay: .milliseconds(stepMs)
    ) { _ in desk.step() }
  }

  /// Where it is served, with the port that the kernel chose where the settings say 0.
  package var ports: [Int] { listeners.compactMap { $0.localAddress?.port } }

  package func stop() {
    for listener in listeners { try? listener.close().wait() }
    desk.stop()
    try? group.syncShutdownGracefully()
  }

  private static func listen(
    at address: Wire.SocketAddress, _ group: MultiThreadedEventLoopGroup, _ desk: PageDesk,
    _ hosts: PageHosts, _ crowd: NIOLoopBoundBox<PageConnection.Crowd>
  ) throws -> any Channel {
    let descriptor: Descriptor
    do throws(SystemError) {
      descriptor = try Sockets.listen(at: address, backlog: 128)
    } catch {
      throw Fault(description: "metrics.bind: \(address): \(error)")
    }
    return try ServerBootstrap(group: group)
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
            PageConnection(desk, hosts, crowd.value),
          ] as [any ChannelHandler])
        }
      }
      .withBoundSocket(descriptor.release()).wait()
  }
}
