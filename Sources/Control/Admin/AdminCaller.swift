internal import AdminAPI
internal import NIOCore
internal import System

/// A caller of the admin socket.
struct AdminCaller: HTTPCaller {
  let desk: AdminDesk
  let crowd: NIOLoopBoundBox<AdminCrowd>
  let identity: LocalSockets.Caller
  /// The role it is counted with; roles change at a reload, counts must not.
  let countedAs: AdminRole?

  init(
    _ desk: AdminDesk, _ crowd: NIOLoopBoundBox<AdminCrowd>, _ identity: LocalSockets.Caller
  ) {
    self.desk = desk
    self.crowd = crowd
    self.identity = identity
    countedAs = desk.role(of: identity)
  }

  func enter() -> Bool { crowd.value.enter(user: identity.user, role: countedAs) }

  func leave() { crowd.value.leave(user: identity.user, role: countedAs) }

  func ask(
    _ request: HTTPRequest, _ answered: @escaping @Sendable (HTTPAnswer) -> Void
  ) -> HTTPOutcome {
    do throws(Failure) {
      let request = try AdminRequest(
        method: request.method, target: request.target, body: request.body, caller: identity)
      if desk.mayStream(request) { return .events(desk.operations.events) }
      guard desk.submit(request, answered) else {
        throw Failure(.unavailable, "too many requests wait; try again")
      }
      return .later
    } catch {
      return .answer(.failure(error))
    }
  }

  func refusal(_ failure: Failure) -> HTTPAnswer { .failure(failure) }
}
