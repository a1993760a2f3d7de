internal import Routing
internal import Wire

extension WorkerLoop {
  /// Finds out whose request it is, where there are users.
  ///
  /// - Returns: false when it was refused, or waits.
  mutating func verify(
    _ ask: EgressAsk, _ exchange: inout Exchange, _ request: inout EgressRequest
  ) -> Bool {
    guard ask.plan.users != nil, exchange.credentials != nil else { return true }
    refuse(ask, &exchange, .egress(.badCredentials))
    return false
  }
}
