internal import NIOCore
internal import System

/// What the connections to the admin socket share, on the event loop only.
final class AdminLoop {
  var crowd: AdminCrowd
  var connections: [ObjectIdentifier: AdminConnection] = [:]
  let gate: LoopGate
  private var whenEmpty: EventLoopPromise<Void>?

  init(_ bounds: AdminCrowd.Bounds, _ gate: LoopGate) {
    crowd = AdminCrowd(bounds)
    self.gate = gate
  }

  func forget(_ connection: AdminConnection) {
    connections[ObjectIdentifier(connection)] = nil
    if connections.isEmpty { finish() }
  }

  /// Ends all connections; those whose answer is on its way when it is gone, or after `graceMs`.
  func stop(_ loop: any EventLoop, graceMs: Int64) -> EventLoopFuture<Void> {
    let promise = loop.makePromise(of: Void.self)
    whenEmpty = promise
    for connection in connections.values { connection.stop() }
    if connections.isEmpty { finish() }
    let bound = NIOLoopBound(self, eventLoop: loop)
    loop.scheduleTask(in: .milliseconds(graceMs)) {
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
