internal import CSluice
internal import Routing
internal import Wire

/// Forward proxies: whose request it is.
extension WorkerLoop {
  /// Has the credentials of a request checked, where there are users. Good ones make it that
  /// user's; without any, the rules say whether there must be some.
  ///
  /// - Returns: false when it was refused, or waits.
  mutating func verify(
    _ ask: EgressAsk, _ exchange: inout Exchange, _ request: inout EgressRequest
  ) -> Bool {
    request.certificate = certificate(of: ask.id.slot) ?? []
    guard let users = ask.plan.users, let credentials = exchange.credentials,
      request.user == nil
    else { return true }
    let id = ConnectionID(worker: index, slot: ask.id.slot, generation: ask.id.generation)
    let verdict = desk.check(
      user: credentials.user, password: credentials.password, in: users, from: ask.client,
      wake: { [mailbox] in mailbox.call(id) })
    switch verdict {
    case .valid:
      request.user = credentials.user
      exchange.credentials = nil
      return true
    case .pending: park(.verifying, ask.plan.settings.authMs, ask, &exchange)
    case .invalid: refuse(ask, &exchange, .egress(.badCredentials))
    case .throttled: refuse(ask, &exchange, .egress(.throttled))
    case .busy: refuse(ask, &exchange, .egress(.busy))
    }
    return false
  }
}
