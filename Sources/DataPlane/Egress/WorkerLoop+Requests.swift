internal import CSluice
internal import Routing
internal import System
internal import Wire

/// Forward proxies: a client's requests are read one after the other, decided about, and sent to
/// their hosts.
extension WorkerLoop {
  /// From here on a client's requests are waited for.
  mutating func beginExchange(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable,
    _ ending: Ending
  ) {
    memory.phase = .none
    worker.remember(memory, of: event.id)
    guard let ask = self.ask(event, memory, table, ending == .halfClosed ? ending : .no) else {
      return reject(event, .noRoute, table)
    }
    if let reason = countIn(event, &memory, table) { return refuse(event, ask.plan, reason) }
    var exchange = Exchange()
    readRequest(ask, &exchange, withinMs: ask.plan.settings.headMs)
    keep(exchange, of: event.id)
  }

  /// More of either side of a forward proxy's connection, or its end.
  mutating func exchanged(
    _ event: sluice_event, _ memory: ConnectionMemory, _ table: RouteTable, _ ending: Ending
  ) {
    guard var exchange = exchanges[event.id.slot], let ask = ask(event, memory, table, ending)
    else { return }
    if beginsTLS(ask, exchange) { return secure(ask, memory) }
    switch (exchange.stage, event.side) {
    case (.head, .client): readRequest(ask, &exchange, withinMs: nil)
    case (.head, .upstream): upstreamEnded(ask)
    case (.verifying, .client), (.resolving, .client): admit(ask, &exchange)
    case (.dialling, .upstream): tunnelStands(ask, &exchange)
    case (.asking, .upstream): parentAnswered(ask, &exchange)
    case (.opening, _): tunnelSpeaks(ask, &exchange)
    case (.dialling, .client), (.asking, .client):
      exchange.hasMore = event.length > 0
      hear(ask)
    case (.serving, .client), (.last, .client): requestGrew(ask, &exchange)
    case (.serving, .upstream), (.last, .upstream): responseGrew(ask, &exchange)
    case (.verifying, .upstream), (.resolving, .upstream), (.releasing, _), (.tunnel, _):
      // It is settled by what the other side says, or is told so.
      break
    }
    keep(exchange, of: event.id)
  }

  /// Whether a new client speaks TLS with the proxy, which its first byte tells: no request begins
  /// with that of a handshake record (RFC 8446 section 5.1).
  private func beginsTLS(_ ask: EgressAsk, _ exchange: Exchange) -> Bool {
    exchange.stage == .head && exchange.requests == 0 && ask.listener.tls != nil
      && ask.event.side == .client && ask.event.length > 0 && ask.event.heldBytes[0] == 0x16
      && transports[ask.id.slot] == nil
  }

  /// It is asked again when its handshake is done.
  private mutating func secure(_ ask: EgressAsk, _ memory: ConnectionMemory) {
    var memory = memory
    exchanges[ask.id.slot] = nil
    awaitHello(ask.event, &memory, ask.table, ask.ending, behind: 0)
  }

  func ask(
    _ event: sluice_event, _ memory: ConnectionMemory, _ table: RouteTable, _ ending: Ending
  ) -> EgressAsk? {
    let listener = table.listeners[table.listener(ofSocket: event.listener)]
    guard let plan = listener.egress else { return nil }
    return EgressAsk(
      event: event, ending: ending, plan: plan, listener: listener, table: table,
      client: memory.client)
  }

  /// Of a tunnel only what will be told of it is kept: it may stand for days.
  mutating func keep(_ exchange: Exchange, of id: sluice_id) {
    guard exchange.stage == .tunnel, let tunnel = Tunnel(exchange) else {
      exchanges[id.slot] = exchange
      return
    }
    exchanges[id.slot] = nil
    tunnels[id.slot] = tunnel
  }

  // ---- a request ---------------------------------------------------------------------------

  /// - Parameter withinMs: nil leaves the deadline as it is.
  mutating func readRequest(_ ask: EgressAsk, _ exchange: inout Exchange, withinMs: UInt32?) {
    let bytes = ask.event.heldBytes
    exchange.hasMore = false
    if ask.ending == .halfClosed { exchange.hasEnded = true }
    let isEnd = exchange.hasEnded
    switch HTTPRequestHead.parse(bytes, &exchange.scan, ask.limits, ended: isEnd) {
    case .invalid(let fault):
      if exchange.requests > 0 { tell(ask, exchange) }
      exchange.request = nil
      refuse(ask, &exchange, .http(fault))
    case .done(let head, let length):
      if exchange.requests > 0 { tell(ask, exchange) }
      take(head, length, ask, &exchange)
    case .more where isEnd: leave(ask, exchange)
    case .more where ask.ending == .timedOut:
      if bytes.isEmpty { return leave(ask, exchange) }
      refuse(ask, &exchange, .requestTimeout)
    case .more:
      // From its first byte on, a head has its time.
      let begins = !exchange.didBegin && !bytes.isEmpty && exchange.requests > 0
      exchange.didBegin = !bytes.isEmpty
      worker.hold(
        ask.id, limit: 1 << 16, withinMs: begins ? ask.plan.settings.headMs : withinMs)
    }
  }

  /// The client has nothing more to say, and waits for nothing.
  func leave(_ ask: EgressAsk, _ exchange: Exchange) {
    guard exchange.reached != .nobody, exchange.hasEnded else {
      _ = worker.kill(ask.id, ask.ending == .timedOut ? .deadline_idle : .client_fin)
      return
    }
    var answer = sluice_answer()
    answer.up = .relayed
    answer.down = .relayed
    _ = worker.answer(ask.id, &answer)
  }

  /// A request has come. What is to be known of it later is kept; its head is written as it goes
  /// on, while its bytes are at hand.
  private mutating func take(
    _ head: HTTPRequestHead, _ length: Int, _ ask: EgressAsk, _ exchange: inout Exchange
  ) {
    let bytes = ask.event.heldBytes
    exchange.requests += 1
    exchange.headLength = length
    exchange.request = nil
    exchange.isTunnel = head.form == .authority
    exchange.isLast = head.isLast
    exchange.answersHead = head.isMethod("HEAD", in: bytes)
    exchange.offersUpgrade = head.offersUpgrade
    (exchange.rule, exchange.range, exchange.isReported) = (nil, nil, false)
    exchange.untilNs = 0
    exchange.status = 0
    do throws(EgressHostFault) {
      let host = try EgressHost(bytes: bytes.extracting(head.host))
      let target = EgressTarget(
        host: host, port: head.port ?? 80, scheme: exchange.isTunnel ? .connect : .http)
      exchange.request = EgressRequest(
        target: target, method: String(decoding: head.method.map { bytes[$0] }, as: UTF8.self),
        source: ask.client)
      exchange.isDirect = ask.plan.isDirect(target)
    } catch {
      switch error {
      case .numeric: return refuse(ask, &exchange, .egress(.numericHost))
      case .malformed, .zone: return refuse(ask, &exchange, .http(.badTarget))
      }
    }
    // It may have been banned since it came.
    if let client = ask.client, bans.turnsAway(client) { return refuse(ask, &exchange, .banned) }
    exchange.credentials = head.credentials.flatMap { HTTPCredentials(bytes, $0) }
    exchange.onward = onward(head, ask, exchange)
    guard prepareBody(head, ask, &exchange) else { return }
    exchange.hasMore = exchange.up == .none && bytes.count > length
    admit(ask, &exchange)
  }

  /// How much of what stands behind the head may go with it.
  ///
  /// - Returns: false when it was refused.
  private mutating func prepareBody(
    _ head: HTTPRequestHead, _ ask: EgressAsk, _ exchange: inout Exchange
  ) -> Bool {
    exchange.up = .none
    exchange.upAnswer = .held
    let safe = ["GET", "HEAD", "OPTIONS", "TRACE", "DELETE"]
    exchange.mayRepeat = safe.contains(exchange.request?.method ?? "")
    if head.isChunked {
      exchange.mayRepeat = false
      var body = ChunkedBody()
      let held = ask.event.heldBytes.extracting(exchange.headLength...)
      switch body.take(held, ended: ask.ending == .halfClosed) {
      case .invalid(let fault):
        refuse(ask, &exchange, .http(fault))
        return false
      case .more: exchange.up = .chunked(body)
      case .pass(let count):
        exchange.up = .chunked(body)
        exchange.upAnswer = .relayed(count)
      case .end(let count):
        exchange.up = .passing
        exchange.upAnswer = .relayed(UInt64(count))
      }
    } else if let length = head.contentLength, length > 0 {
      exchange.mayRepeat = false
      exchange.up = .passing
      exchange.upAnswer = .relayed(length)
    }
    return true
  }

  private func onward(
    _ head: HTTPRequestHead, _ ask: EgressAsk, _ exchange: Exchange
  ) -> [UInt8] {
    guard !exchange.isTunnel else { return [] }
    var onward = HTTPOnward()
    onward.isLast = exchange.isLast
    onward.isForProxy = !exchange.isDirect
    onward.via = ask.via
    let bytes = ask.event.heldBytes
    return [UInt8](capacity: exchange.headLength + onward.room()) { output in
      head.write(bytes, as: onward, into: &output)
    }
  }

  // ---- decided -----------------------------------------------------------------------------

  /// Who asks, whether the rules let them, and which addresses that comes to. Asked again when
  /// somebody has found out what was not known.
  mutating func admit(_ ask: EgressAsk, _ exchange: inout Exchange) {
    guard var request = exchange.request else { return refuse(ask, &exchange, .noRoute) }
    if ask.ending == .timedOut {
      let reason: EgressReason = exchange.stage == .resolving ? .resolveTimeout : .busy
      return refuse(ask, &exchange, .egress(reason))
    }
    guard verify(ask, &exchange, &request) else { return }
    exchange.request = request
    if ask.plan.needsUser(request) { return refuse(ask, &exchange, .egress(.noCredentials)) }
    var needsAddress = false
    switch ask.plan.decide(request, isDirect: exchange.isDirect) {
    case .deny(let rule, let reason):
      exchange.rule = rule
      countRule(ask, exchange)
      return refuse(ask, &exchange, .egress(reason))
    case .allow(let rule, let isReported):
      (exchange.rule, exchange.isReported) = (rule, isReported)
    case .needsAddress: needsAddress = true
    }
    switch request.target.host {
    case .address(let address):
      vet([address], needsAddress, ask, &exchange)
    case .name where !exchange.isDirect: goOn(ask, &exchange)
    case .name(let name): resolve(name, needsAddress, ask, &exchange)
    }
  }

  private mutating func resolve(
    _ name: HostName, _ needsAddress: Bool, _ ask: EgressAsk, _ exchange: inout Exchange
  ) {
    let id = ConnectionID(
      worker: index, slot: ask.id.slot, generation: ask.id.generation)
    guard let names else { return refuse(ask, &exchange, .egress(.unresolved)) }
    switch names.addresses(of: name, wake: { [mailbox] in mailbox.call(id) }) {
    case .found(let addresses): vet(addresses, needsAddress, ask, &exchange)
    case .missing, .failed: refuse(ask, &exchange, .egress(.unresolved))
    case .busy: refuse(ask, &exchange, .egress(.busy))
    case .pending: park(.resolving, ask.plan.settings.resolveMs, ask, &exchange)
    }
  }

  /// Lets the connection wait until it is called, which may be more than once.
  func park(
    _ stage: Exchange.Stage, _ limitMs: UInt32, _ ask: EgressAsk, _ exchange: inout Exchange
  ) {
    if exchange.stage != stage {
      exchange.stage = stage
      exchange.untilNs = nowNs + UInt64(limitMs) * 1_000_000
    }
    let leftNs = exchange.untilNs > nowNs ? exchange.untilNs - nowNs : 0
    worker.park(
      ask.id, withinMs: UInt32(clamping: leftNs / 1_000_000 + 1), consuming: 0)
  }

  /// Of the addresses of a host, those remain that the rules and the guard let the client reach.
  private mutating func vet(
    _ addresses: [SocketAddress], _ needsAddress: Bool, _ ask: EgressAsk,
    _ exchange: inout Exchange
  ) {
    guard let request = exchange.request else { return }
    var vetted: [SocketAddress] = []
    var denial: (rule: Int?, reason: EgressReason, range: GuardRange?)?
    for address in addresses {
      let address = address.withPort(request.target.port)
      if needsAddress {
        switch ask.plan.decide(request, address: address, isDirect: exchange.isDirect) {
        case .allow(let rule, let isReported):
          if vetted.isEmpty { (exchange.rule, exchange.isReported) = (rule, isReported) }
        case .deny(let rule, let reason):
          denial = denial ?? (rule, reason, nil)
          continue
        case .needsAddress: continue
        }
      }
      switch ask.plan.verdict(address) {
      case .allowed: vetted.append(address)
      case .denied(let range): denial = (exchange.rule, .guarded, range)
      }
    }
    exchange.addresses = vetted
    exchange.tried = 0
    if vetted.isEmpty, let denial { exchange.rule = denial.rule }
    guard vetted.isEmpty else { return goOn(ask, &exchange) }
    countRule(ask, exchange)
    exchange.range = denial?.range
    exchange.address = addresses.first?.withPort(request.target.port)
    refuse(ask, &exchange, .egress(denial?.reason ?? .guarded))
  }

  /// A rule has decided about a request.
  mutating func countRule(_ ask: EgressAsk, _ exchange: Exchange) {
    let listener = ask.table.listener(ofSocket: ask.event.listener)
    guard let rule = exchange.rule,
      let series = ask.table.series.rule(rule, of: listener)
    else { return }
    counts.took(rule: series)
  }
}
