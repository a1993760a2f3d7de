internal import NIOCore
internal import System

/// How long callers may take.
package struct AdminDeadlines: Sendable {
  /// From connecting to the end of the first request's head, and from each head to its body's end.
  package var requestMs: Int64 = 10_000
  /// Until a whole answer is taken.
  package var takeMs: Int64 = 10_000
  /// Between two requests.
  package var idleMs: Int64 = 60_000
  /// Between two lines of a stream, so that both ends notice when the other is gone. A reader that
  /// takes nothing for two of these is cut.
  package var heartbeatMs: Int64 = 15_000

  package init() {}
}

/// What the connections to the admin socket share, on the event loop only.
final class AdminLoop {
  var crowd: AdminCrowd
  var connections: [ObjectIdentifier: AdminConnection] = [:]
  let gate: LoopGate
  let deadlines: AdminDeadlines
  private var whenEmpty: EventLoopPromise<Void>?

  init(_ bounds: AdminCrowd.Bounds, _ deadlines: AdminDeadlines, _ gate: LoopGate) {
    crowd = AdminCrowd(bounds)
    self.deadlines = deadlines
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
