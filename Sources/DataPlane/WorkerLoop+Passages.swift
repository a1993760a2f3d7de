internal import CSluice
internal import Routing
internal import System
internal import Wire

/// The way of a connection whose server is reached through a parent, until there is a tunnel.
struct Passage {
  /// What the connection is in once there is a tunnel.
  let after: ConnectionMemory.Phase
  /// Until when there must be one: all tries to reach one server are one dial.
  let untilNs: UInt64
  /// A server of the backend that the parents are; nil before the first was chosen.
  var parent: Int?
  /// It is counted as being at that parent.
  var isAtParent = false
  var tries = 0
  /// What the last parent that answered has answered.
  var fault: ParentFault?
  var scan = HTTPHeadScan()
  /// The client has said enough to know that it is no PROXY header.
  var isClean = false

  /// 1 at least, since 0 would be for ever.
  func leftMs(_ nowNs: UInt64) -> UInt32 {
    nowNs < untilNs ? max(1, UInt32(clamping: (untilNs - nowNs) / 1_000_000)) : 1
  }
}

/// What is kept of it as long as the connection lives: what fails is the server's from here on.
struct Passed {
  let parent: UInt32
  let after: ConnectionMemory.Phase
  /// It is counted as being at that parent.
  var isAtParent: Bool
}

/// Backends that are reached through parents: a connection is counted at its server, and dialled to
/// a parent, which is asked for a tunnel. What the server is told first goes through that.
extension WorkerLoop {
  /// What comes of a passage that was lost.
  enum PassageLoss {
    /// Another parent is dialled.
    case goesOn
    /// No parent can be had, which no other server would change.
    case over(RejectReason)
    /// Its server's fault, as far as the last parent knows.
    case server(DialError)
  }

  /// The parent that is to be dialled: the first, or another one after `failure`.
  mutating func parent(
    of plan: ParentPlan, for client: SocketAddress?, after failure: DialFailure?,
    _ table: RouteTable
  ) -> Answer {
    failure.map { router.decide(.dialFailed($0), under: table) }
      ?? router.choose(plan.backend, for: client, under: table)
  }

  /// Reaches the connection's server through a parent.
  ///
  /// - Returns: why it could not even be tried.
  mutating func pass(
    _ event: sluice_event, _ memory: ConnectionMemory, through plan: ParentPlan,
    _ table: RouteTable, consuming consumed: Int
  ) -> RejectReason? {
    guard let server = memory.server else { return .noRoute }
    let entry = table.backends[table.backend(ofServer: server)]
    let listener = table.listeners[table.listener(ofSocket: event.listener)]
    let connectMs = entry.deadlines.connectMs ?? listener.connectMs
    passed[event.id.slot] = nil
    passages[event.id.slot] = Passage(
      after: memory.phase, untilNs: nowNs + UInt64(connectMs) * 1_000_000)
    router.began(plan.backend, under: table)
    return dial(event, memory, through: plan, table, after: nil, consuming: consumed)
  }

  private mutating func dial(
    _ event: sluice_event, _ memory: ConnectionMemory, through plan: ParentPlan,
    _ table: RouteTable, after failure: DialFailure?, consuming consumed: Int
  ) -> RejectReason? {
    guard var passage = passages[event.id.slot], let server = memory.server else {
      return .noRoute
    }
    switch self.parent(of: plan, for: memory.client, after: failure, table) {
    case .reject(let reason): return reason
    // Parents have no limit.
    case .full: return .noServer
    case .route(_, let parent): passage.parent = parent
    }
    guard let parent = passage.parent, let host = plan.parent(of: table.servers[parent]) else {
      return .noServer
    }
    passage.tries += 1
    passage.scan = HTTPHeadScan()
    passage.isAtParent = table.load.servers.load.take(table.series.servers[parent], limit: 0)
    counts.arrived(at: parent, in: table)
    passages[event.id.slot] = passage
    var memory = memory
    memory.phase = .parent
    worker.remember(memory, of: event.id)
    let backend = table.backend(ofServer: server)
    var route = self.route(event, memory, table)
    let leftMs = passage.leftMs(nowNs)
    // One that does not answer leaves time for the others.
    let hasMore = table.backends[plan.backend].servers.count > passage.tries
    route.connect_ms = hasMore ? (leftMs + 1) / 2 : leftMs
    route.hold_ms = leftMs
    let group = table.backends[backend]
    let place = server - group.servers.lowerBound
    speech.clear()
    speech.add(host.connect(to: plan.targets[place]))
    let result = table.withParent(
      parent, &route, inside: group.tls.map { ($0, place) }
    ) { route in
      worker.dial(
        event.id, by: &route, saying: speech.bytes, up: .held, consuming: UInt32(consumed))
    }
    switch result {
    case .done, .not_dialled:
      counts.dialled(parent, in: table)
      return nil
    case .stale: return nil
    case .no_buffer, .too_long: return .noBuffers
    }
  }

  /// All of a route but where the parent is, and how long it may take.
  private func route(
    _ event: sluice_event, _ memory: ConnectionMemory, _ table: RouteTable
  ) -> sluice_route {
    let place = table.listener(ofSocket: event.listener)
    let listener = table.listeners[place]
    var route = sluice_route()
    guard let server = memory.server else { return route }
    let entry = table.backends[table.backend(ofServer: server)]
    route.idle_ms = entry.deadlines.idleMs ?? listener.idleMs
    route.half_closed_ms = entry.deadlines.halfClosedMs ?? listener.halfClosedMs
    route.max_age_ms = entry.deadlines.maxAgeMs ?? listener.maxAgeMs
    route.splice = sluice_splice(entry.splice)
    route.bandwidth = listener.connectionBandwidth
    route.shared_bandwidth = listener.bandwidth
    route.bucket = UInt32(truncatingIfNeeded: table.series.listeners[place])
    route.ask_open = true
    // Until there is a tunnel, an end of the parent's is not the connection's.
    route.outlived = true
    route.redial_reset =
      memory.tries <= entry.retries || passages[event.id.slot]?.after == .consent
    return route
  }

  // ---- what the parent says ----------------------------------------------------------------

  /// The parent was reached, or has said more, or has ended; or the client has, which waits.
  mutating func parentSpoke(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable,
    _ ending: Ending
  ) {
    guard var passage = passages[event.id.slot] else { return }
    guard event.side == .upstream else {
      return clientSpoke(event, memory, &passage, ending)
    }
    switch ParentReply(event.heldBytes, &passage.scan, ended: ending == .halfClosed) {
    case .more where ending == .timedOut: giveUp(event, &passage, .timeout, table)
    case .more:
      passages[event.id.slot] = passage
      var answer = sluice_answer()
      answer.side = .upstream
      answer.hold_ms = passage.leftMs(nowNs)
      _ = worker.answer(event.id, &answer)
    case .fault(let fault): giveUp(event, &passage, fault, table)
    case .tunnel(let length): open(event, &memory, &passage, table, ending, behind: length)
    }
  }

  /// What a client says meanwhile waits, unless it is what no server must hear.
  private mutating func clientSpoke(
    _ event: sluice_event, _ memory: ConnectionMemory, _ passage: inout Passage,
    _ ending: Ending
  ) {
    if passage.after == .forgery, !passage.isClean {
      switch ForgeryVerdict(event.heldBytes, ending) {
      case .needMore: break
      case .clean:
        passage.isClean = true
        passages[event.id.slot] = passage
      case .forged: return refuse(event, memory, .headerUntrusted)
      }
    }
    guard ending != .full else { return }
    var answer = sluice_answer()
    answer.side = .client
    _ = worker.answer(event.id, &answer)
  }

  /// A redial event follows.
  private mutating func giveUp(
    _ event: sluice_event, _ passage: inout Passage, _ fault: ParentFault, _ table: RouteTable
  ) {
    passage.fault = fault
    passages[event.id.slot] = passage
    if !worker.giveUp(event.id, DialError.refusalToStart) {
      reject(event, .parent(fault), table)
    }
  }

  /// There is a tunnel: from here on it is as if its server had been dialled.
  private mutating func open(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ passage: inout Passage,
    _ table: RouteTable, _ ending: Ending, behind length: Int
  ) {
    guard let server = memory.server else { return }
    let place = table.listener(ofSocket: event.listener)
    let backend = table.backends[table.backend(ofServer: server)]
    if let parent = passage.parent {
      failures?.worked(parent, in: table)
      passed[event.id.slot] = Passed(
        parent: UInt32(parent), after: passage.after, isAtParent: passage.isAtParent)
    }
    passages[event.id.slot] = nil
    memory.phase = passage.after == .forgery && passage.isClean ? .none : passage.after
    worker.remember(memory, of: event.id)
    let header = writeHeader(
      event.id.slot, memory, table.listeners[place], backend, table.servers[server])
    guard let header else { return reject(event, .proxyNoAddress, table) }
    var answer = sluice_answer()
    (answer.side, answer.opened) = (.upstream, true)
    answer.consumed = UInt32(length)
    answer.send_upstream = self.header.bytes(header)
    (answer.up, answer.down) = (.relayed, .relayed)
    if memory.phase == .forgery { answer.up = .held(Signature.holdLimit) }
    if memory.phase == .consent {
      let serverMs = beginConsent(event.id.slot, memory, table.listeners[place], backend)
      answer.hold_ms = serverMs ?? 0
      (answer.up, answer.down) = (.held, .held(StartTLSClient.hearingLimit + 1))
    }
    switch worker.answer(event.id, &answer) {
    case .done, .stale, .not_dialled: break
    case .no_buffer, .too_long: return reject(event, .noBuffers, table)
    }
    guard memory.phase == .consent, backend.tls == nil else { return }
    // The server may have greeted in one piece with the parent's answer.
    let rest = event.dropping(length)
    if rest.length > 0 || ending == .halfClosed {
      serverSpoke(rest, &memory, table, ending == .halfClosed ? ending : .no)
    }
  }

  // ---- lost --------------------------------------------------------------------------------

  /// The parent was not reached, or made no tunnel, or what stood behind one broke off.
  mutating func lost(
    _ error: DialError, _ event: sluice_event, _ memory: inout ConnectionMemory,
    _ table: RouteTable
  ) -> PassageLoss {
    leaveParent(event.id.slot, table)
    guard let passage = passages[event.id.slot], let parent = passage.parent,
      let server = memory.server
    else {
      if let passed = passed[event.id.slot] { memory.phase = passed.after }
      return .server(error)
    }
    memory.phase = passage.after
    counts.dialFailed(error, at: parent, in: table)
    failures?.dialFailed(error, at: parent, in: table)
    let failure = DialFailure(
      backend: table.backend(ofServer: parent), server: parent, tries: passage.tries,
      error: error, spread: memory.id.low)
    // What it was given up with is in its fault.
    let isReached = error == .noConsent
    let plan = table.backends[table.backend(ofServer: server)].parents
    let hasMore = table.backends[table.backend(ofServer: parent)].servers.count > passage.tries
    var reason = error.reason
    if let plan, hasMore, nowNs < passage.untilNs, !isReached || passage.fault?.isItsOwn ?? false {
      let why = dial(event, memory, through: plan, table, after: failure, consuming: 0)
      guard let why else { return .goesOn }
      reason = why
    }
    switch passage.fault {
    case .unreached: return .server(.unreachable)
    case .timeout: return .server(.timedOut)
    case .refused: return .server(.noConsent)
    case .credentials, .nonsense: return .over(passage.fault.map { .parent($0) } ?? reason)
    case nil: return .over(reason)
    }
  }

  private mutating func leaveParent(_ slot: UInt32, _ table: RouteTable) {
    if let passage = passages[slot], passage.isAtParent, let parent = passage.parent {
      passages[slot]?.isAtParent = false
      leave(parent, table)
    } else if let passage = passed[slot], passage.isAtParent {
      passed[slot]?.isAtParent = false
      leave(Int(passage.parent), table)
    }
  }

  /// The connection is over.
  ///
  /// - Returns: the parent that it went through, or was to.
  mutating func leavePassage(_ slot: UInt32, _ table: RouteTable) -> String? {
    leaveParent(slot, table)
    let passed = passed.removeValue(forKey: slot)
    let parent = passages.removeValue(forKey: slot)?.parent ?? passed.map { Int($0.parent) }
    return parent.map { table.servers[$0].name }
  }
}

extension RouteTable {
  /// Lends a route that leads to a parent: with its address, and with TLS to it, or for the server
  /// behind it.
  func withParent(
    _ parent: Int, _ route: inout sluice_route, inside: (tls: BackendTLS, place: Int)? = nil,
    _ body: (inout sluice_route) -> sluice_result
  ) -> sluice_result {
    let group = backends[backend(ofServer: parent)]
    func secured(_ route: inout sluice_route) -> sluice_result {
      let own = group.tls.map { (tls: $0, place: parent - group.servers.lowerBound) }
      guard let (tls, place) = own ?? inside else { return body(&route) }
      route.tls_inside = own == nil
      return unsafe tls.withSetup(ofServer: place) { setup, name in
        unsafe route.tls = unsafe setup
        route.tls_name = name
        return body(&route)
      }
    }
    return servers[parent].address.withEndpoint { address in
      group.congestion.withBytes { congestion in
        (route.address, route.congestion) = (address, congestion)
        guard let source = group.source else { return secured(&route) }
        return source.withEndpoint { source in
          route.source = source
          return secured(&route)
        }
      }
    }
  }
}

extension sluice_half_answer {
  static func held(_ limit: Int) -> sluice_half_answer {
    sluice_half_answer(limit: UInt64(limit), mode: .hold)
  }
}

extension sluice_event {
  /// The same about the bytes behind the first ones.
  fileprivate func dropping(_ count: Int) -> sluice_event {
    var rest = self
    guard let start = unsafe bytes, count < length else {
      rest.length = 0
      return rest
    }
    unsafe rest.bytes = unsafe start + count
    rest.length -= UInt32(count)
    return rest
  }
}
