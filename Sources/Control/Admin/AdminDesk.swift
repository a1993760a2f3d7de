internal import AdminAPI
internal import Config
internal import System

/// Where requests are judged and carried out: finds the route, checks the role, runs the operation
/// on a lane, and leaves the audit line.
final class AdminDesk: Sendable {
  let operations: any Operations
  private let access: Guarded<AdminAccess>
  private let audit: AdminAudit
  /// Lookers and changers have a lane each, so that nobody who only looks can keep an operator
  /// waiting.
  private let looking = HTTPLane(threads: 2, capacity: 192)
  private let changing = HTTPLane(threads: 2, capacity: 64)

  init(_ operations: any Operations, _ access: AdminAccess) {
    self.operations = operations
    self.access = Guarded(access)
    audit = AdminAudit(operations.events)
  }

  func setAccess(_ new: AdminAccess) { access.withLock { $0 = new } }

  func role(of caller: LocalSockets.Caller) -> AdminRole? {
    access.withLock { $0.role(of: caller) }
  }

  /// What a request is about, whoever asks.
  /// - Throws: `notFound`, `methodNotAllowed`.
  func route(_ request: AdminRequest) throws(Failure) -> AdminRoute {
    let here = AdminRoute.all.filter { $0.path == request.path }
    guard !here.isEmpty else {
      throw Failure(.notFound, "there is no \(request.path); see /v1/openapi.json")
    }
    guard let route = here.first(where: { $0.method.rawValue == request.method }) else {
      let methods = here.map(\.method.rawValue).joined(separator: ", ")
      throw Failure(.methodNotAllowed, "\(request.path) takes \(methods)")
    }
    return route
  }

  /// Answers on a thread of a lane; false when its queue is full.
  func submit(
    _ request: AdminRequest, _ answered: @escaping @Sendable (HTTPAnswer) -> Void
  ) -> Bool {
    let isChange = request.method != "GET" && role(of: request.caller) == .operate
    return (isChange ? changing : looking).submit(for: request.caller.user) { [self] in
      answered(answer(to: request))
    }
  }

  /// Whether it is the stream of events that is asked for, by somebody who may have it. All other
  /// requests are submitted.
  func mayStream(_ request: AdminRequest) -> Bool {
    guard request.query.isEmpty, let route = try? route(request), route.run == nil else {
      return false
    }
    return denial(route, request.caller) == nil
  }

  /// Why the caller may not use this route; nil when it may.
  func denial(_ route: AdminRoute, _ caller: LocalSockets.Caller) -> Failure? {
    let role = role(of: caller)
    if let role, role >= route.role { return nil }
    let has = role.map { "it has \($0)" } ?? "it has no role"
    return Failure(.forbidden, "user \(caller.user) may not: \(route.role) is needed, \(has)")
  }

  private func answer(to request: AdminRequest) -> HTTPAnswer {
    do throws(Failure) {
      let route = try route(request)
      if let denial = denial(route, request.caller) {
        audit.recordDenial(
          request.caller, "\(request.method) \(request.path)", "denied: \(denial.message)")
        throw denial
      }
      guard let run = route.run else {
        try request.allow([])
        throw Failure(.unavailable, "the role has changed meanwhile; try again")
      }
      let outcome = run(operations, request)
      if let (what, result) = outcome.audit { audit.record(request.caller, what, result) }
      return outcome.answer
    } catch {
      var answer = HTTPAnswer.failure(error)
      if error.code == .methodNotAllowed {
        let here = AdminRoute.all.filter { $0.path == request.path }
        answer.allow = here.map(\.method.rawValue).joined(separator: ", ")
      }
      return answer
    }
  }

  func stop() {
    looking.stop()
    changing.stop()
  }
}
