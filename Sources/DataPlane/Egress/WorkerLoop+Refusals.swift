internal import CSluice
internal import Routing
internal import System
internal import Wire

/// Forward proxies: what a client hears that is turned away, what is counted, and what is kept of a
/// connection when it is over.
extension WorkerLoop {
  /// Ends a connection with a reply that says why. Behind a response that has begun nothing can be
  /// said any more.
  mutating func refuse(_ ask: EgressAsk, _ exchange: inout Exchange, _ reason: RejectReason) {
    guard !exchange.didAnswer, exchange.stage != .tunnel else {
      _ = worker.kill(ask.id, .upstream_error)
      return
    }
    exchange.status = EgressReply.status(of: reason)
    let reply = EgressReply(reason, exchange, ask.plan)
    speech.clear()
    speech.add(reply.bytes)
    worker.reject(ask.id, reason: reason.number, reply: speech.bytes)
  }

  /// The reply of a forward proxy that turns a client away before any of its requests is read.
  mutating func refuse(
    _ event: sluice_event, _ plan: EgressPlan, _ reason: RejectReason
  ) {
    let reply = EgressReply(reason, exchanges[event.id.slot] ?? Exchange(), plan)
    speech.clear()
    speech.add(reply.bytes)
    worker.reject(event.id, reason: reason.number, reply: speech.bytes)
  }

  /// Counts a request in at its user and its source, once per connection and user.
  ///
  /// - Returns: false when it was refused.
  mutating func takePlaces(
    _ request: EgressRequest, _ ask: EgressAsk, _ exchange: inout Exchange
  ) -> Bool {
    let settings = ask.plan.settings
    if settings.sourceTunnels > 0, exchange.entries.source == nil,
      let source = ask.client.flatMap({ Identity(egressSource: $0) })
    {
      guard case .entry(let entry) = identities.take(source, limit: settings.sourceTunnels) else {
        refuse(ask, &exchange, .egress(.sourceLimit))
        return false
      }
      exchange.entries.source = entry
    }
    if settings.userTunnels > 0, exchange.entries.user == nil, let user = request.user {
      let identity = Identity(user: user, of: ask.plan.name)
      guard case .entry(let entry) = identities.take(identity, limit: settings.userTunnels) else {
        refuse(ask, &exchange, .egress(.userLimit))
        return false
      }
      exchange.entries.user = entry
    }
    return true
  }

  /// The connection is over.
  ///
  /// - Returns: what is told of it.
  mutating func leaveExchange(
    _ slot: UInt32, _ listener: Int?, _ memory: ConnectionMemory, _ table: RouteTable
  ) -> ConnectionRecord.Egress? {
    let exchange = exchanges.removeValue(forKey: slot)
    guard let tunnel = exchange.flatMap({ Tunnel($0) }) ?? tunnels.removeValue(forKey: slot)
    else {
      if let exchange { give(exchange.entries) }
      return nil
    }
    give(tunnel.entries)
    return told(of: tunnel, listener, memory, table)
  }

  /// A further request has come: the one before gets a line of its own, without what can only be
  /// told of a connection that is over.
  func tell(_ ask: EgressAsk, _ exchange: Exchange) {
    guard let sink, needs.contains(.records), let memory = worker.memory(ask.id),
      let tunnel = Tunnel(exchange)
    else { return }
    let listener = ask.table.listener(ofSocket: ask.event.listener)
    var record = ConnectionRecord(
      endedWallMs: exchange.endedWallMs, id: memory.id, listener: ask.listener.name,
      client: memory.client, local: memory.local, end: .clientFIN)
    record.isOver = false
    record.egress = told(of: tunnel, listener, memory, ask.table)
    if !exchange.isDirect, let server = memory.server {
      record.server = ask.table.servers[server].name
      record.backend = ask.table.backends[ask.table.backend(ofServer: server)].name
    }
    sink.add(record)
  }

  private func told(
    of tunnel: Tunnel, _ listener: Int?, _ memory: ConnectionMemory, _ table: RouteTable
  ) -> ConnectionRecord.Egress {
    var told = tunnel.told
    if let plan = listener.flatMap({ table.listeners[$0].egress }), let rule = tunnel.rule,
      plan.rules.indices.contains(rule)
    {
      told.rule = plan.rules[rule].name
    }
    told.parent = tunnel.isDirect ? nil : memory.server.map { table.servers[$0].name }
    return told
  }

  private func give(_ entries: Exchange.Entries) {
    if let entry = entries.user { identities.give(entry) }
    if let entry = entries.source { identities.give(entry) }
  }
}

/// A reply of a forward proxy's own.
struct EgressReply {
  let bytes: [UInt8]

  init(_ reason: RejectReason, _ exchange: Exchange, _ plan: EgressPlan) {
    let status = EgressReply.status(of: reason)
    let phrase = EgressReply.phrase(reason, exchange, plan)
    var text = "HTTP/1.1 \(status) \(phrase)\r\n"
    if status == 407 {
      // RFC 7617 section 2.1: "the only allowed value is 'UTF-8'".
      text += "Proxy-Authenticate: Basic realm=\"\(plan.settings.realm)\", charset=\"UTF-8\"\r\n"
    }
    let body = "\(phrase)\n\(reason.code)\n"
    text += "Content-Type: text/plain\r\nContent-Length: \(body.utf8.count)\r\n"
    text += "Connection: close\r\n\r\n"
    if !exchange.answersHead { text += body }
    bytes = Array(text.utf8)
  }

  /// RFC 9110 section 15.
  static func status(of reason: RejectReason) -> Int {
    switch reason {
    case .http(let fault):
      switch fault {
      case .headTooLong, .manyFields: 431
      case .badVersion: 505
      case .badLine, .badTarget, .notForProxy, .badLineEnd, .folded, .badName, .badValue, .nul,
        .noHost, .manyHosts, .badHost, .badLength, .manyLengths, .bothLengths, .badCoding,
        .manyCredentials, .badChunk, .badTrailer, .truncated:
        400
      }
    case .requestTimeout: 408
    case .badResponse: 502
    case .responseTimeout: 504
    case .egress(let reason):
      switch reason {
      case .rule, .noRule, .guarded, .connectPort, .plainPort, .numericHost: 403
      case .noCredentials, .badCredentials: 407
      case .throttled, .userLimit, .sourceLimit: 429
      case .unresolved, .parentRefused, .parentFault: 502
      case .resolveTimeout: 504
      case .busy: 503
      }
    case .dialTimeout: 504
    case .dialRefused, .dialUnreachable, .dialNoLocalAddress, .dialReset, .dialFailed, .dialTLS,
      .noConsent, .parent:
      502
    case .banned, .ruleRejected, .ruleClosed: 403
    // Limits and the like, and what cannot come to a forward proxy's client.
    case .noRoute, .noServer, .backendFull, .listenerFull, .sourceFull, .sourceRate, .queueFull,
      .queueTimeout, .noBuffers, .proxyNoAddress, .clientGone, .headerTimeout, .headerUntrusted,
      .headerUnknown, .helloProbe, .helloTimeout, .helloUnnamed, .helloMisnamed, .tlsTimeout,
      .tlsFailed, .preambleTimeout, .preambleQuit, .preamble, .consentTimeout, .consent, .parser:
      503
    }
  }

  private static func phrase(
    _ reason: RejectReason, _ exchange: Exchange, _ plan: EgressPlan
  ) -> String {
    switch reason {
    case .egress(let reason):
      plan.phrase(for: reason, rule: exchange.rule, range: exchange.range)
    case .http(let fault): "Bad request: \(fault.rawValue)"
    case .requestTimeout: "The request took too long"
    case .badResponse: "The origin server made no sense, or ended without a response"
    case .responseTimeout: "The origin server did not respond in time"
    case .dialTimeout: "The origin server could not be reached in time"
    case .dialRefused: "The origin server refused the connection"
    case .dialUnreachable: "There is no way to the origin server"
    case .dialNoLocalAddress, .dialReset, .dialFailed, .dialTLS, .noConsent:
      "The origin server could not be reached"
    case .banned, .ruleRejected, .ruleClosed, .noRoute, .noServer, .backendFull, .listenerFull,
      .sourceFull, .sourceRate, .queueFull, .queueTimeout, .noBuffers, .proxyNoAddress,
      .clientGone, .headerTimeout, .headerUntrusted, .headerUnknown, .helloProbe, .helloTimeout,
      .helloUnnamed, .helloMisnamed, .tlsTimeout, .tlsFailed, .preambleTimeout, .preambleQuit,
      .preamble, .consentTimeout, .consent, .parent, .parser:
      "Not now: \(reason.code)"
    }
  }
}

extension Identity {
  /// A source of forward proxies, which is counted apart from that of other listeners.
  init?(egressSource source: SocketAddress) {
    guard let plain = Identity(source: source) else { return nil }
    self.init(high: plain.high | 1 << 63, low: plain.low)
  }

  /// A user of a forward proxy, by a hash that need not be secret: names are the operator's.
  init(user: String, of proxy: String) {
    let named = [UInt8](proxy.utf8) + [0] + [UInt8](user.utf8)
    let hash = KeyedHash(key: (0, 0)).hash(named.span)
    self.init(high: hash.high | 3 << 62, low: hash.low)
  }
}
