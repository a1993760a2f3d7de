internal import CSluice
internal import Routing
internal import System
internal import Wire

/// Forward proxies: how a request gets to its host.
extension WorkerLoop {
  /// How long one of several addresses may take at most, as long as others are left.
  private static let addressMs: UInt32 = 4_000
  /// How long either side of a tunnel may take to say something before it is let alone.
  static let openingMs: UInt32 = 10_000
  /// What an origin says before the client has, waits this long behind the reply to the CONNECT:
  /// in one piece with that, a client that looks for the head alone would lose it. RFC 9110 does
  /// not forbid it; Go's transport throws away what it reads together with the head.
  static let restMs: UInt32 = 20

  /// The request is allowed, and its addresses are known.
  mutating func goOn(_ ask: EgressAsk, _ exchange: inout Exchange) {
    guard let request = exchange.request else { return }
    countRule(ask, exchange)
    guard takePlaces(request, ask, &exchange) else { return }
    exchange.untilNs = nowNs + UInt64(ask.plan.settings.dialMs) * 1_000_000
    guard exchange.reached != .nobody else { return dial(ask, &exchange) }
    if !exchange.isTunnel, stands(exchange, for: request.target) {
      return forward(ask, &exchange)
    }
    exchange.stage = .releasing
    if !worker.release(ask.id) { refuse(ask, &exchange, .noBuffers) }
  }

  /// Whether the upstream that stands is the right one: that of the same host, or a parent, which
  /// takes requests to all of them.
  private func stands(_ exchange: Exchange, for target: EgressTarget) -> Bool {
    switch exchange.reached {
    case .nobody: false
    case .origin(let reached): exchange.isDirect && reached == target
    case .parent: !exchange.isDirect
    }
  }

  /// A further request for the same host.
  private mutating func forward(_ ask: EgressAsk, _ exchange: inout Exchange) {
    exchange.stage = .serving
    speech.clear()
    speech.add(words(ask, exchange))
    var answer = sluice_answer()
    answer.up = exchange.upAnswer
    answer.down = .held
    answer.consumed = UInt32(exchange.headLength)
    answer.hold_ms = ask.plan.settings.replyMs
    answer.send_upstream = speech.bytes
    exchange.headLength = 0
    follow(worker.answer(ask.id, &answer), ask, &exchange)
  }

  mutating func follow(
    _ result: sluice_result, _ ask: EgressAsk, _ exchange: inout Exchange
  ) {
    switch result {
    case .done, .stale, .not_dialled: break
    case .no_buffer, .too_long: refuse(ask, &exchange, .noBuffers)
    }
  }

  /// Dials the next address of the host.
  mutating func dial(_ ask: EgressAsk, _ exchange: inout Exchange) {
    guard exchange.isDirect else { return dialParent(ask, &exchange) }
    guard exchange.tried < exchange.addresses.count else {
      return refuse(ask, &exchange, .dialFailed)
    }
    let address = exchange.addresses[exchange.tried]
    exchange.tried += 1
    exchange.address = address
    exchange.rival = nil
    exchange.stage = exchange.isTunnel ? .dialling : .serving
    speech.clear()
    speech.add(exchange.onward)
    var route = self.route(ask, exchange)
    route.hold_ms = exchange.isTunnel ? WorkerLoop.openingMs : ask.plan.settings.replyMs
    address.withEndpoint { endpoint in
      route.address = endpoint
      _ = dial(&route, ask, &exchange)
    }
  }

  /// Dials by a route that is whole, and says what was put into `speech`.
  mutating func dial(
    _ route: inout sluice_route, _ ask: EgressAsk, _ exchange: inout Exchange
  ) -> sluice_result {
    route.ask_open = true
    route.outlived = !exchange.isTunnel
    exchange.isReused = false
    let consumed = UInt32(exchange.headLength)
    exchange.headLength = 0
    let result = worker.dial(
      ask.id, by: &route, saying: speech.bytes,
      up: exchange.isTunnel ? .held : exchange.upAnswer, consuming: consumed)
    follow(result, ask, &exchange)
    return result
  }

  /// All of a route but where it goes and what is said first.
  func route(_ ask: EgressAsk, _ exchange: Exchange) -> sluice_route {
    var route = sluice_route()
    let leftMs = exchange.untilNs > nowNs ? (exchange.untilNs - nowNs) / 1_000_000 : 0
    let hasMore = exchange.tried < exchange.addresses.count
    route.connect_ms = max(
      1, min(UInt32(clamping: leftMs), hasMore ? WorkerLoop.addressMs : UInt32.max))
    route.race_ms = hasMore ? WorkerLoop.attemptDelayMs : 0
    route.idle_ms = ask.listener.idleMs
    route.half_closed_ms = ask.listener.halfClosedMs
    route.max_age_ms = ask.listener.maxAgeMs
    route.splice = .inline
    route.bandwidth = ask.listener.connectionBandwidth
    route.shared_bandwidth = ask.listener.bandwidth
    route.bucket = UInt32(
      truncatingIfNeeded: ask.table.series.listeners[
        ask.table.listener(ofSocket: ask.event.listener)])
    return route
  }

  // ---- dialled -----------------------------------------------------------------------------

  /// No upstream: the dial failed, or it was let go of, or it broke off.
  mutating func exchangeLost(_ event: sluice_event) {
    guard let memory = worker.memory(event.id), let table = generations.table(memory.generation),
      let ask = ask(event, memory, table, .no), var exchange = exchanges[event.id.slot]
    else { return worker.reject(event.id, reason: RejectReason.noRoute.number) }
    lost(ask, &exchange)
    keep(exchange, of: event.id)
  }

  private mutating func lost(_ ask: EgressAsk, _ exchange: inout Exchange) {
    // A reset may come before it is told that the upstream was reached.
    let error = DialError(ask.event.error)
    let wasReached = exchange.reached != .nobody || error == .reset && exchange.up != .none
    exchange.reached = .nobody
    switch exchange.stage {
    case .head: awaitRequest(ask, &exchange)
    case .releasing: dial(ask, &exchange)
    case .verifying, .resolving:
      // It came to be known at the same time; the question stands.
      park(exchange.stage, 0, ask, &exchange)
      worker.fact(ask.id)
    case .serving where wasReached && !exchange.didAnswer: again(ask, &exchange)
    case .dialling, .serving, .asking, .opening, .tunnel, .last:
      if !exchange.isDirect { return parentFailed(error, ask, &exchange) }
      guard exchange.tried < exchange.addresses.count, nowNs < exchange.untilNs else {
        return refuse(ask, &exchange, error.reason)
      }
      dial(ask, &exchange)
    }
  }

  /// The upstream ended without a word about a request. One that it had kept open for a further one
  /// may just have been given up: RFC 9110 section 9.2.2, RFC 9112 section 9.3.1.
  private mutating func again(_ ask: EgressAsk, _ exchange: inout Exchange) {
    guard exchange.isReused, exchange.mayRepeat else {
      return refuse(ask, &exchange, .badResponse)
    }
    if let address = exchange.address { exchange.addresses = [address] }
    exchange.tried = 0
    exchange.responseScan = HTTPHeadScan()
    exchange.untilNs = nowNs + UInt64(ask.plan.settings.dialMs) * 1_000_000
    dial(ask, &exchange)
  }

  /// The dial is slow: another address is dialled beside it, best of the other family.
  ///
  /// - Returns: false where backends say what to do about it.
  mutating func exchangeSlow(_ event: sluice_event) -> Bool {
    guard var exchange = exchanges[event.id.slot], exchange.isDirect,
      let memory = worker.memory(event.id), let table = generations.table(memory.generation),
      let ask = ask(event, memory, table, .no)
    else { return false }
    guard exchange.tried < exchange.addresses.count, let first = exchange.address else {
      return true
    }
    let rest = exchange.addresses[exchange.tried...]
    let place = rest.firstIndex { !$0.isOfSameFamily(as: first) } ?? exchange.tried
    exchange.addresses.swapAt(place, exchange.tried)
    let rival = exchange.addresses[exchange.tried]
    exchange.tried += 1
    var route = self.route(ask, exchange)
    let result = rival.withEndpoint { endpoint in
      route.address = endpoint
      return worker.race(event.id, by: &route)
    }
    if result == .done || result == .not_dialled { exchange.rival = rival }
    keep(exchange, of: event.id)
    return true
  }

  /// - Returns: as above.
  mutating func exchangeRaced(_ event: sluice_event) -> Bool {
    guard var exchange = exchanges[event.id.slot], exchange.isDirect else { return false }
    if event.second, let rival = exchange.rival { exchange.address = rival }
    exchange.rival = nil
    keep(exchange, of: event.id)
    return true
  }

  // ---- tunnels -----------------------------------------------------------------------------

  private static let established = Array("HTTP/1.1 200 Connection established\r\n\r\n".utf8)

  /// The origin of a tunnel was reached.
  mutating func tunnelStands(_ ask: EgressAsk, _ exchange: inout Exchange) {
    if let target = exchange.request?.target { exchange.reached = .origin(target) }
    establish(ask, &exchange, consuming: 0, hasSpoken: false)
  }

  /// Tells the client that it has its tunnel.
  ///
  /// - Parameters:
  ///   - consumed: bytes of the upstream that are not the client's.
  ///   - hasSpoken: there are some behind them.
  mutating func establish(
    _ ask: EgressAsk, _ exchange: inout Exchange, consuming consumed: Int, hasSpoken: Bool
  ) {
    exchange.stage = .opening
    exchange.status = 200
    speech.clear()
    speech.add(WorkerLoop.established)
    var answer = sluice_answer()
    answer.side = .upstream
    // What the client has said already, it has said without waiting.
    answer.up = exchange.hasMore ? .relayed : .held
    answer.down = .held
    answer.consumed = UInt32(consumed)
    answer.hold_ms = hasSpoken ? WorkerLoop.restMs : WorkerLoop.openingMs
    answer.send_client = speech.bytes
    follow(worker.answer(ask.id, &answer), ask, &exchange)
  }

  /// The first bytes of either side, or its end; or both wait for each other.
  func tunnelSpeaks(_ ask: EgressAsk, _ exchange: inout Exchange) {
    var answer = sluice_answer()
    answer.side = ask.event.side
    if ask.event.side == .upstream, ask.ending == .no {
      answer.hold_ms = WorkerLoop.restMs
    } else {
      exchange.stage = .tunnel
      exchange.addresses = []
      answer.up = .relayed
      answer.down = .relayed
    }
    _ = worker.answer(ask.id, &answer)
  }
}

extension SocketAddress {
  fileprivate func isOfSameFamily(as other: SocketAddress) -> Bool {
    switch (self, other) {
    case (.ipv4, .ipv4), (.ipv6, .ipv6), (.unix, .unix): true
    case (.ipv4, _), (.ipv6, _), (.unix, _): false
    }
  }
}
