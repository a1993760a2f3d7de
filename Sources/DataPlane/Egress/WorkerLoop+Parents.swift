internal import CSluice
internal import Routing
internal import System
internal import Wire

/// Forward proxies: requests that go through a parent, which is a server of a backend like any
/// other: chosen, counted, raced and found to be down as such.
extension WorkerLoop {
  /// Dials the first parent, or another one after `failure`.
  mutating func dialParent(
    _ ask: EgressAsk, _ exchange: inout Exchange, after failure: DialFailure? = nil
  ) {
    guard let parents = ask.plan.parents, var memory = worker.memory(ask.id) else {
      return refuse(ask, &exchange, .noRoute)
    }
    let table = ask.table
    // Each request has its own tries.
    if failure == nil { memory.tries = 0 }
    let answer = parent(of: parents, for: ask.client, after: failure, table)
    let left = giveBack(&memory, table)
    defer { if let left { freed(backend: left, table) } }
    switch seat(answer, ask.event, &memory, table) {
    case .reject(let reason):
      worker.remember(memory, of: ask.id)
      // What the last one said tells more than that there is no other.
      refuse(ask, &exchange, exchange.fault ?? reason)
    case .full(_, let reason, _):
      worker.remember(memory, of: ask.id)
      refuse(ask, &exchange, reason)
    case .route(let backend, let server):
      if memory.server == nil { router.began(backend, under: table) }
      memory.server = server
      memory.tries += 1
      memory.isAtServer = true
      counts.arrived(at: server, in: table)
      worker.remember(memory, of: ask.id)
      dial(server, of: backend, parents, memory, ask, &exchange)
    }
  }

  private mutating func dial(
    _ server: Int, of backend: Int, _ parents: ParentPlan, _ memory: ConnectionMemory,
    _ ask: EgressAsk, _ exchange: inout Exchange
  ) {
    let entry = ask.table.servers[server]
    let settings = ask.plan.settings
    exchange.stage = exchange.isTunnel ? .asking : .serving
    exchange.responseScan = HTTPHeadScan()
    speech.clear()
    speech.add(Exchange.words(to: parents.parent(of: entry), exchange))
    var route = self.route(ask, exchange)
    route.hold_ms = exchange.isTunnel ? settings.parentMs : settings.replyMs
    route.race_ms = raceMs(ask.id, memory, ask.table)
    let result = ask.table.withParent(server, &route) { route in
      self.dial(&route, ask, &exchange)
    }
    if result == .done || result == .not_dialled { counts.dialled(server, in: ask.table) }
  }

  /// A parent was not reached, or gave no answer that helps: the next one's turn.
  mutating func parentFailed(
    _ error: DialError, _ ask: EgressAsk, _ exchange: inout Exchange
  ) {
    guard let memory = worker.memory(ask.id), let server = memory.server else {
      return refuse(ask, &exchange, .noRoute)
    }
    let table = ask.table
    let failure = DialFailure(
      backend: table.backend(ofServer: server), server: server, tries: memory.tries,
      error: error, spread: memory.id.low, apart: apart(ask.id.slot, from: server))
    counts.dialFailed(error, at: server, in: table)
    failures?.dialFailed(error, at: server, in: table)
    guard nowNs < exchange.untilNs else { return refuse(ask, &exchange, .dialTimeout) }
    dialParent(ask, &exchange, after: failure)
  }

  /// What a parent says to a CONNECT.
  mutating func parentAnswered(_ ask: EgressAsk, _ exchange: inout Exchange) {
    let bytes = ask.event.heldBytes
    let isEnd = ask.ending == .halfClosed
    switch ParentReply(bytes, &exchange.responseScan, ask.limits, ended: isEnd) {
    case .more where ask.ending == .no: hear(ask)
    case .more, .fault(.nonsense): giveUpParent(.egress(.parentFault), ask, &exchange)
    case .fault(let fault) where fault.isItsOwn:
      giveUpParent(.egress(.parentRefused), ask, &exchange)
    case .fault: refuse(ask, &exchange, .egress(.parentRefused))
    case .tunnel(let length):
      if let memory = worker.memory(ask.id), let server = memory.server {
        exchange.reached = .parent(server)
      }
      establish(ask, &exchange, consuming: length, hasSpoken: bytes.count > length)
    }
  }

  /// What an upstream that stands is told of a further request.
  func words(_ ask: EgressAsk, _ exchange: Exchange) -> [UInt8] {
    guard case .parent(let server) = exchange.reached else { return exchange.onward }
    return Exchange.words(to: ask.plan.parents?.parent(of: ask.table.servers[server]), exchange)
  }

  /// A redial event follows, where nothing of the client's has gone to it.
  private mutating func giveUpParent(
    _ reason: RejectReason, _ ask: EgressAsk, _ exchange: inout Exchange
  ) {
    exchange.fault = reason
    if !worker.giveUp(ask.id, DialError.refusalToStart) { refuse(ask, &exchange, reason) }
  }
}

extension Exchange {
  /// What a parent is told: to make a tunnel, or the request; with credentials of our own.
  fileprivate static func words(
    to parent: ParentPlan.Parent?, _ exchange: Exchange
  ) -> [UInt8] {
    guard exchange.isTunnel, let target = exchange.request?.target else {
      return parent?.authorized(exchange.onward) ?? exchange.onward
    }
    return parent?.connect(to: "\(target)") ?? []
  }
}
