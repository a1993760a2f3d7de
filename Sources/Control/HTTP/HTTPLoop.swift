internal import NIOCore
internal import System

/// What the connections to one server share, on the event loop only.
final class HTTPLoop {
  var connections: [ObjectIdentifier: HTTPConnection] = [:]
  /// Of answers that were not taken yet, over all connections; no more than this.
  var pendingBytes = 0
  static let pendingBytesMax = 64 << 20
  let settings: HTTPSettings
  let gate: LoopGate
  private var whenEmpty: EventLoopPromise<Void>?

  /// Answers that are on their way may take this long when the server ends.
  private static let stopGraceMs: Int64 = 500

  init(_ settings: HTTPSettings, _ gate: LoopGate) {
    self.settings = settings
    self.gate = gate
  }

  func forget(_ connection: HTTPConnection) {
    connections[ObjectIdentifier(connection)] = nil
    if connections.isEmpty { finish() }
  }

  /// Ends all connections; those whose answer is on its way when it is gone, or after a while.
  func stop(_ loop: any EventLoop) -> EventLoopFuture<Void> {
    let promise = loop.makePromise(of: Void.self)
    whenEmpty = promise
    for connection in connections.values { connection.stop() }
    if connections.isEmpty { finish() }
    let bound = NIOLoopBound(self, eventLoop: loop)
    loop.scheduleTask(in: .milliseconds(HTTPLoop.stopGraceMs)) {
      for connection in bound.value.connections.values { connection.close() }
      bound.value.finish()
    }
    return promise.futureResult
  }

  private func finish() {
    whenEmpty?.succeed()
    whenEmpty = nil
  }
}

/// The way from other threads to the event loop, which may be gone: work for a loop that has ended
/// is dropped.
final class LoopGate: Sendable {
  private let loop: Guarded<(any EventLoop)?>

  init(_ loop: any EventLoop) {
    self.loop = Guarded(loop)
  }

  func execute(_ body: @escaping @Sendable () -> Void) {
    loop.withLock { $0?.execute(body) }
  }

  func close() { loop.withLock { $0 = nil } }
}
