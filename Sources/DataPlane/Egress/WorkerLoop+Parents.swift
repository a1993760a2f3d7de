internal import CSluice
internal import Routing
internal import System
internal import Wire

/// Forward proxies: requests that go through a parent, which is a server of a backend like any
/// other: chosen, counted, raced and found to be down as such.
extension WorkerLoop {
  /// Replies to CONNECT after which another parent may do better: it wants other credentials than
  /// ours, or cannot get there itself.
  private static let failures: Set<Int> = [407, 429, 500, 502, 503, 504]

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
    let answer =
      failure.map { router.decide(.dialFailed($0), under: table) }
      ?? router.choose(parents.backend, for: ask.client, under: table)
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
    _ server: Int, of backend: Int, _ parents: EgressParents, _ memory: ConnectionMemory,
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
    let group = ask.table.backends[backend]
    let result = entry.address.withEndpoint { endpoint in
      route.address = endpoint
      guard let tls = group.tls else { return self.dial(&route, ask, &exchange) }
      return unsafe tls.withSetup(ofServer: server - group.servers.lowerBound) { setup, name in
        unsafe route.tls = unsafe setup
        route.tls_name = name
        return self.dial(&route, ask, &exchange)
      }
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
    switch HTTPResponseHead.parse(bytes, &exchange.responseScan, ask.limits, ended: isEnd) {
    case .more where !isEnd && ask.ending == .no: hear(ask)
    case .more, .invalid: giveUpParent(.egress(.parentFault), ask, &exchange)
    case .done(let head, _) where head.isInterim || WorkerLoop.failures.contains(head.status):
      giveUpParent(.egress(.parentRefused), ask, &exchange)
    case .done(let head, _) where !(200...299).contains(head.status):
      refuse(ask, &exchange, .egress(.parentRefused))
    case .done(_, let length):
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
    to parent: EgressParents.Parent?, _ exchange: Exchange
  ) -> [UInt8] {
    var words = exchange.onward
    if exchange.isTunnel, let target = exchange.request?.target {
      words = Array("CONNECT \(target) HTTP/1.1\r\nHost: \(target)\r\n\r\n".utf8)
    }
    guard let authorization = parent?.authorization, !authorization.isEmpty else { return words }
    // In front of the empty line.
    words.removeLast(2)
    words += Array("Proxy-Authorization: \(authorization)\r\n\r\n".utf8)
    return words
  }
}
