internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import System

/// Answers HTTP/1.1 on sockets that listen already, with one event-loop thread: the admin socket
/// has one of these, and metrics with the live page another.
final class HTTPServer: Sendable {
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  private let gate: LoopGate
  private let loop: NIOLoopBoundBox<HTTPLoop>
  private let listeners = Guarded<[any Channel]>([])

  /// A reader of events that leaves this much unread gets no more until it has read.
  private static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(
    low: 16 << 10, high: 64 << 10)

  /// Longer than a burst of one caller's: while the queue is full others have to wait to connect.
  /// NIO calls listen(2) a second time, with this.
  private static let backlog: Int32 = 1024

  init(_ settings: HTTPSettings) {
    gate = LoopGate(group.next())
    loop = NIOLoopBoundBox.makeBoxSendingValue(HTTPLoop(settings, gate), eventLoop: group.next())
  }

  /// Takes these sockets over. When one of them cannot be served, all are closed and this server
  /// is at its end.
  ///
  /// - Parameter introduce: says who a new connection is, on the event loop; one that it fails for
  ///   is closed.
  func serve(
    _ sockets: [Int32], introduce: @escaping @Sendable (any Channel) throws -> any HTTPCaller
  ) throws {
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: HTTPServer.backlog)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelOption(.writeBufferWaterMark, value: HTTPServer.waterMark)
      .childChannelInitializer { [loop] channel in
        channel.eventLoop.makeCompletedFuture {
          var limits = NIOHTTPDecoderLimitConfiguration()
          limits.maxHeaderFieldSize = HTTPConnection.Bounds.head
          limits.maxHeaderListSize = HTTPConnection.Bounds.head
          limits.maxHeaderFieldCount = HTTPConnection.Bounds.fields
          try channel.pipeline.syncOperations.addHandlers([
            HTTPResponseEncoder(),
            ByteToMessageHandler(HTTPRequestDecoder(limitConfiguration: limits)),
            HTTPConnection(loop.value, introduce(channel)),
          ] as [any ChannelHandler])
        }
      }
    var rest = sockets[...]
    while let socket = rest.popFirst() {
      do {
        let listener = try bootstrap.withBoundSocket(socket).wait()
        listeners.withLock { $0.append(listener) }
      } catch {
        // The one at fault was closed with its channel.
        for socket in rest { _ = Descriptor(owning: socket) }
        stop()
        throw error
      }
    }
  }

  /// Where it is served, with the port that the kernel chose where port 0 was bound.
  var ports: [Int] { listeners.withLock { $0 }.compactMap { $0.localAddress?.port } }

  /// From now on, on the event loop, until the server stops.
  func every(ms: Int64, _ body: @escaping @Sendable () -> Void) {
    group.next().scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(ms)) { _ in body() }
  }

  /// A place for what callers share, for use on the event loop only.
  func box<Value: Sendable>(_ value: Value) -> NIOLoopBoundBox<Value> {
    NIOLoopBoundBox.makeBoxSendingValue(value, eventLoop: group.next())
  }

  /// No new callers, and a moment for answers that are on their way.
  func stop() {
    let listeners = listeners.withLock { listeners in
      defer { listeners = [] }
      return listeners
    }
    for listener in listeners { try? listener.close().wait() }
    let eventLoop = group.next()
    try? eventLoop.flatSubmit { [loop] in loop.value.stop(eventLoop) }.wait()
    gate.close()
    try? group.syncShutdownGracefully()
  }
}
