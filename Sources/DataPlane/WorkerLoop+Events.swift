internal import CSluice
internal import Routing
internal import System
internal import Wire

/// What a worker does about what C asks and reports.
extension WorkerLoop {
  mutating func take(_ event: sluice_event) {
    switch event.kind {
    case .ask: asked(event)
    case .redial: dialFailed(event)
    case .closed: closed(event)
    case .slow: slow(event)
    case .raced: raced(event)
    }
  }

  mutating func asked(_ event: sluice_event) {
    guard let memory = worker.memory(event.id), memory.isAsked else { return accepted(event) }
    guard let table = unsafe generations.lend(memory.generation) else { return }
    unsafe table._withUnsafeGuaranteedRef { asked(event, memory, $0) }
  }

  private mutating func asked(
    _ event: sluice_event, _ memory: ConnectionMemory, _ table: RouteTable
  ) {
    var memory = memory
    let ending = Ending(event.final)
    if !exchanges.isEmpty, exchanges[event.id.slot] != nil {
      return exchanged(event, memory, table, ending)
    }
    switch memory.phase {
    // Both of its sides had asked, and it was settled by what the other one said.
    case .none: break
    case .requiredHeader, .optionalHeader: headerGrew(event, &memory, table, ending)
    case .hello: helloGrew(event, &memory, table, ending)
    case .forgery:
      switch ForgeryVerdict(event.heldBytes, ending) {
      case .needMore: worker.hold(event.id, limit: Signature.holdLimit, withinMs: nil)
      case .clean: worker.relayUp(event.id)
      case .forged: refuse(event, memory, .headerUntrusted)
      }
    case .waiting: called(event, &memory, table, ending)
    case .preamble: clientSpoke(event, &memory, table, ending)
    case .consent: serverSpoke(event, &memory, table, ending)
    case .handshake: handshook(event, &memory, table)
    case .parent: parentSpoke(event, &memory, table, ending)
    }
  }

  /// More of the bytes that must or may be a header, or their end.
  mutating func headerGrew(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable,
    _ ending: Ending
  ) {
    let place = table.listener(ofSocket: event.listener)
    let intake = HeaderIntake(
      limit: table.listeners[place].headerLimit,
      acceptsUnknown: table.listeners[place].acceptsUnknown)
    let isRequired = memory.phase == .requiredHeader
    switch intake.decide(event.heldBytes, ending, required: isRequired) {
    case .needMore:
      worker.hold(event.id, limit: table.listeners[place].holdLimit, withinMs: nil)
    case .noHeader:
      counts.came(with: .absent, listener: table.series.listeners[place])
      decide(event, &memory, table, ending)
    case .header(let found, let consumed):
      introduced(event, &memory, found, consumed, table, ending)
    case .reject(let reason, _):
      refuse(event, memory, reason)
    }
  }

  mutating func accepted(_ event: sluice_event) {
    var memory = ConnectionMemory()
    memory.id = ids.next(wallMs: wallMs)
    memory.generation = enter(event)
    guard let table = unsafe generations.lend(memory.generation) else {
      return follow(.reject(.noRoute), event, &memory, router.table)
    }
    unsafe table._withUnsafeGuaranteedRef { accepted(event, memory, $0) }
  }

  private mutating func accepted(
    _ event: sluice_event, _ memory: ConnectionMemory, _ table: RouteTable
  ) {
    var memory = memory
    guard let socket = table.socket(tag: event.listener) else {
      return follow(.reject(.noRoute), event, &memory, router.table)
    }
    let place = socket.listener
    counts.accepted(listener: table.series.listeners[place])
    guard enter(place, &memory, table) else {
      memory.client = worker.endpoints(event.id, reached: socket.local)?.client
      let series = table.series.listeners[place]
      return wait(for: .listener(series), .listenerFull, .admission, event, &memory, table)
    }
    admitted(by: socket, event, &memory, table)
  }

  /// It has its place at the listener.
  mutating func admitted(
    by socket: SocketEntry, _ event: sluice_event, _ memory: inout ConnectionMemory,
    _ table: RouteTable
  ) {
    guard needsAddresses(socket.listener, table) else { return decide(event, &memory, table, .no) }
    guard let endpoints = worker.endpoints(event.id, reached: socket.local) else {
      return follow(.reject(.clientGone), event, &memory, table)
    }
    memory.client = endpoints.client
    memory.local = endpoints.local
    switch table.headerRule(listener: socket.listener, for: endpoints.client) {
    case .forbid: decide(event, &memory, table, .no)
    case .require:
      awaitHeader(event, &memory, .requiredHeader, socket.listener, table)
    case .accept:
      awaitHeader(event, &memory, .optionalHeader, socket.listener, table)
    }
  }

  /// Which table a new connection comes under: the newest, or the last one that knew its socket.
  mutating func enter(_ event: sluice_event) -> UInt16 {
    if router.table.socket(tag: event.listener) == nil,
      let socket = retiring.first(where: { $0.tag == event.listener })
    {
      return generations.enter(socket.generation)
    }
    return generations.enter()
  }

  func awaitHeader(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ phase: ConnectionMemory.Phase,
    _ listener: Int, _ table: RouteTable
  ) {
    memory.phase = phase
    worker.remember(memory, of: event.id)
    worker.hold(
      event.id, limit: table.listeners[listener].holdLimit,
      withinMs: table.listeners[listener].headerMs)
  }

  /// System calls that a relay without log, header and trust does not need.
  func needsAddresses(_ listener: Int, _ table: RouteTable) -> Bool {
    needs.contains(.records) || counts.clientsByBytes.isOn || !bans.isEmpty
      || !table.sources.isEmpty || table.needsAddresses(listener: listener)
  }

  /// A header is in: from here on its client is the client. LOCAL, UNKNOWN and the like leave the
  /// real addresses standing.
  mutating func introduced(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ found: ProxyHeader,
    _ consumed: Int, _ table: RouteTable, _ ending: Ending
  ) {
    let listener = table.listener(ofSocket: event.listener)
    counts.came(with: HeaderKind(found), listener: table.series.listeners[listener])
    var kept = HeaderNotes(found, in: event.heldBytes, sender: memory.client)
    if let addresses = found.streamAddresses {
      memory.client = addresses.source.unmapped()
      memory.local = addresses.destination.unmapped()
    }
    // LOCAL is the source's own connection; what its block says is about no client.
    if memory.phase == .requiredHeader, found.command == .proxy {
      kept.keep(found, in: event.heldBytes, table.relayedTypes(listener: listener))
    }
    notes[event.id.slot] = kept
    decide(event, &memory, table, ending, behind: consumed)
  }

  /// Whose client it is, is settled. `consumed` bytes of those in hand were a header.
  mutating func decide(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable,
    _ ending: Ending, behind consumed: Int = 0
  ) {
    if let client = memory.client, bans.turnsAway(client) {
      memory.phase = .none
      return follow(.reject(.banned), event, &memory, table)
    }
    let listener = table.listener(ofSocket: event.listener)
    if table.listeners[listener].egress != nil {
      return beginExchange(event, &memory, table, ending)
    }
    if let plan = table.listeners[listener].startTLS {
      return greet(event, &memory, table, plan, ending, behind: consumed)
    }
    guard table.listeners[listener].hello == nil, table.listeners[listener].tls == nil else {
      return awaitHello(event, &memory, table, ending, behind: consumed)
    }
    let answer = self.answer(to: nil, event, memory, table)
    settle(answer, event, &memory, table, ending, behind: consumed)
  }

  /// What the rules of its listener say to a connection. The rule that takes it is remembered.
  ///
  /// - Parameter hello: nil where none is waited for.
  mutating func answer(
    to hello: HelloFacts?, _ event: sluice_event, _ memory: ConnectionMemory, _ table: RouteTable
  ) -> Answer {
    let listener = table.listener(ofSocket: event.listener)
    let choice = Router.choice(
      RuleFacts(
        hello: hello, certificate: certificate(of: event.id.slot), client: memory.client,
        local: memory.local), listener, under: table)
    if let rule = choice.rule {
      rules[event.id.slot] = rule
      if let series = table.series.rule(rule, of: listener) { counts.took(rule: series) }
    }
    return router.choose(choice, for: memory.client, under: table)
  }

  /// The first answer to a connection. Without a header of ours its server would believe one that
  /// the client made up.
  mutating func settle(
    _ answer: Answer, _ event: sluice_event, _ memory: inout ConnectionMemory,
    _ table: RouteTable, _ ending: Ending, behind consumed: Int
  ) {
    memory.phase = .none
    // A server that has spoken takes no header any more.
    if case .route(let backend, _) = answer, table.backends[backend].isOpenToForgery,
      preambles.isEmpty || preambles[event.id.slot] == nil
    {
      switch ForgeryVerdict(event.heldBytes.extracting(consumed...), ending) {
      case .needMore: memory.phase = .forgery
      case .clean: break
      case .forged:
        worker.remember(memory, of: event.id)
        return refuse(event, memory, .headerUntrusted, behind: consumed)
      }
    }
    follow(answer, event, &memory, table, consuming: consumed)
  }

  /// Turns a connection away for the bytes it sent, which the log will show.
  mutating func refuse(
    _ event: sluice_event, _ memory: ConnectionMemory, _ reason: RejectReason,
    behind consumed: Int = 0
  ) {
    let bytes = event.heldBytes.extracting(consumed...)
    notes[event.id.slot, default: HeaderNotes(sender: memory.client)].keep(refused: bytes)
    worker.reject(event.id, reason: reason.number)
  }

  mutating func dialFailed(_ event: sluice_event) {
    if !exchanges.isEmpty, exchanges[event.id.slot] != nil { return exchangeLost(event) }
    guard var memory = worker.memory(event.id), let server = memory.server,
      let table = generations.table(memory.generation)
    else { return worker.reject(event.id, reason: RejectReason.noRoute.number) }
    var error = DialError(event.error)
    noteFailure(error, of: event)
    if !passages.isEmpty || !passed.isEmpty {
      switch lost(error, event, &memory, table) {
      case .goesOn: return
      case .over(let reason): return follow(.reject(reason), event, &memory, table)
      case .server(let why): error = why
      }
    }
    let failure = DialFailure(
      backend: table.backend(ofServer: server), server: server, tries: memory.tries,
      error: error, spread: memory.id.low, apart: apart(event.id.slot, from: server))
    counts.dialFailed(failure.error, at: server, in: table)
    failures?.dialFailed(failure.error, at: server, in: table)
    var answer = router.decide(.dialFailed(failure), under: table)
    if case .reject = answer, !preambles.isEmpty, let why = preambles[event.id.slot]?.fault {
      answer = .reject(why)
    } else if case .reject = answer, let fault = passages[event.id.slot]?.fault {
      answer = .reject(.parent(fault))
    }
    follow(answer, event, &memory, table)
    wentOn(event.id.slot, from: server, memory, table)
  }

  mutating func follow(
    _ answer: Answer, _ event: sluice_event, _ memory: inout ConnectionMemory,
    _ table: RouteTable, consuming consumed: Int = 0
  ) {
    var reason: RejectReason?
    let left = giveBack(&memory, table)
    switch seat(answer, event, &memory, table) {
    case .route(let backend, let server):
      seated(event)
      if memory.server == nil { router.began(backend, under: table) }
      memory.server = server
      memory.tries += 1
      memory.isAtServer = true
      counts.arrived(at: server, in: table)
      if !preambles.isEmpty, preambles[event.id.slot] != nil { memory.phase = .consent }
      worker.remember(memory, of: event.id)
      reason = route(
        event, memory, table.listener(ofSocket: event.listener), backend, server, table,
        consuming: consumed)
      if reason == nil { counts.dialled(server, in: table) }
    case .full(let place, let why, let backend):
      wait(for: place, why, .seat(backend), event, &memory, table, consuming: consumed)
    case .reject(let why):
      worker.remember(memory, of: event.id)
      reason = why
    }
    if let reason { reject(event, reason, table) }
    if let left { freed(backend: left, table) }
  }

  /// - Returns: why it could not even be tried.
  mutating func route(
    _ event: sluice_event, _ memory: ConnectionMemory, _ place: Int, _ backend: Int,
    _ server: Int, _ table: RouteTable, consuming consumed: Int
  ) -> RejectReason? {
    let terms = table.terms(listener: place, backend: backend)
    var length = 0
    if terms.sendsHeader {
      let written = writeHeader(
        event.id.slot, memory, table.listeners[place], table.backends[backend],
        table.servers[server])
      guard let written else { return .proxyNoAddress }
      length = written
    }
    if !terms.isPlainlyDialled, let plan = table.backends[backend].parents {
      return pass(event, memory, through: plan, table, consuming: consumed)
    }
    var route = sluice_route()
    route.prefix = header.bytes(length)
    route.connect_ms = terms.connectMs
    route.race_ms = raceMs(event.id, memory, table)
    route.idle_ms = terms.idleMs
    route.half_closed_ms = terms.halfClosedMs
    route.max_age_ms = terms.maxAgeMs
    route.splice = sluice_splice(terms.splice)
    // Else the client learns of the reset as it came.
    route.redial_reset = memory.tries <= terms.retries
    route.bandwidth = terms.connectionBandwidth
    route.shared_bandwidth = terms.bandwidth
    route.bucket = terms.bucket
    var talks = false
    if memory.phase == .consent,
      let serverMs = beginConsent(
        event.id.slot, memory, table.listeners[place], table.backends[backend])
    {
      talks = true
      route.hold_ms = serverMs
      // The client has not heard of the server yet.
      route.redial_reset = true
    }
    let holding = memory.phase == .forgery ? Signature.holdLimit : nil
    let result = dial(&route, terms, backend, server, table) { worker, route in
      talks
        ? worker.converse(event.id, by: &route, consuming: consumed)
        : worker.relay(event.id, by: &route, consuming: consumed, holding: holding)
    }
    switch result {
    case .done, .stale, .not_dialled: return nil
    case .no_buffer, .too_long: return .noBuffers
    }
  }

  /// Calls `begin` with a route that has what is lent to C for that long: addresses, names, TLS.
  private func dial(
    _ route: inout sluice_route, _ terms: RouteTerms, _ backend: Int, _ server: Int,
    _ table: RouteTable, _ begin: (borrowing Worker, inout sluice_route) -> sluice_result
  ) -> sluice_result {
    func secured(_ route: inout sluice_route) -> sluice_result {
      guard let tls = table.backends[backend].tls else { return begin(worker, &route) }
      let place = server - table.backends[backend].servers.lowerBound
      return unsafe tls.withSetup(ofServer: place) { setup, name in
        unsafe route.tls = unsafe setup
        route.tls_name = name
        return begin(worker, &route)
      }
    }
    func bound(_ route: inout sluice_route) -> sluice_result {
      guard let source = table.backends[backend].source else { return secured(&route) }
      return source.withEndpoint { source in
        route.source = source
        return secured(&route)
      }
    }
    return table.servers[server].address.withEndpoint { address in
      route.address = address
      guard !terms.isPlainlyDialled else { return begin(worker, &route) }
      return table.backends[backend].congestion.withBytes { congestion in
        route.congestion = congestion
        return bound(&route)
      }
    }
  }

  /// What the server is told of the client first, into `header`.
  ///
  /// - Returns: its length; nil when there is no header for this pair of addresses.
  mutating func writeHeader(
    _ slot: UInt32, _ memory: ConnectionMemory, _ listener: ListenerEntry, _ entry: BackendEntry,
    _ server: ServerEntry
  ) -> Int? {
    // Which protocol was agreed to, is known where it ended here.
    let ended = self.ended(slot)
    let written = header.encode(
      entry.header, entry.tlvs, client: memory.client, local: memory.local,
      HeaderBuffer.Facts(
        id: memory.id, listener: listener.name, backend: entry.name, server: server.name,
        relayed: notes[slot]?.relayed(by: entry.tlvs) ?? [],
        authority: hellos[slot]?.authority ?? [],
        alpn: ended?.alpn ?? hellos[slot]?.alpn ?? [], tls: ended?.report))
    guard let (length, dropped) = written else { return nil }
    if dropped > 0 { notes[slot, default: HeaderNotes()].dropped = dropped }
    return length
  }

  mutating func closed(_ event: sluice_event) {
    guard let summary = unsafe event.summary?.pointee, var memory = worker.memory(event.id)
    else { return }
    let wasAsked = memory.isAsked
    if !wasAsked {
      memory.id = ids.next(wallMs: wallMs)
      memory.generation = enter(event)
    }
    if let table = unsafe generations.lend(memory.generation) {
      unsafe table._withUnsafeGuaranteedRef {
        closed(event, summary, memory, $0, wasAsked: wasAsked)
      }
    } else {
      closed(event, summary, memory, router.table, wasAsked: wasAsked)
    }
    generations.leave(memory.generation)
  }

  private mutating func closed(
    _ event: sluice_event, _ summary: sluice_summary, _ memory: ConnectionMemory,
    _ table: RouteTable, wasAsked: Bool
  ) {
    var memory = memory
    let listener = table.socket(tag: event.listener)?.listener
    if !wasAsked, let listener {
      counts.accepted(listener: table.series.listeners[listener])
    }
    leaveRace(event.id.slot, table)
    let parent = passages.isEmpty && passed.isEmpty ? nil : leavePassage(event.id.slot, table)
    let egress =
      exchanges.isEmpty && tunnels.isEmpty
      ? nil : leaveExchange(event.id.slot, listener, memory, table)
    let left = giveBack(&memory, table)
    leave(memory, table, listener: listener)
    if !waits.isEmpty, let wait = waits.removeValue(forKey: event.id.slot) {
      end(wait, isSeated: false)
    }
    passOn(memory, table, listener: listener, backend: left)
    let bytes = liveBytes.rest(
      of: event.id.slot, upTo: .init(up: summary.bytes_up, down: summary.bytes_down))
    if let listener {
      counts.closed(summary, bytes, listener: listener, server: memory.server, in: table)
    }
    if let server = memory.server { failures?.closed(summary, server, in: table) }
    if counts.clientsByBytes.isOn, let client = memory.client {
      counts.closed(summary, of: client, wallMs: wallMs)
    }
    if let sink, needs.contains(.records) {
      var record = ConnectionRecord(
        summary, memory, table, tag: event.listener, endedWallMs: wallMs)
      if let kept = notes[event.id.slot] { record.introduction = .init(kept) }
      if let kept = hellos[event.id.slot] { record.hello = .init(kept) }
      if !transports.isEmpty, let kept = transports[event.id.slot] { record.note(kept) }
      if !rules.isEmpty, let listener, let rule = rules[event.id.slot] {
        record.rule = table.listeners[listener].rules[rule].name
      }
      record.egress = egress
      record.parent = parent
      sink.add(record)
    }
    if !notes.isEmpty { notes[event.id.slot] = nil }
    if !hellos.isEmpty { hellos[event.id.slot] = nil }
    if !transports.isEmpty { transports[event.id.slot] = nil }
    if !rules.isEmpty { rules[event.id.slot] = nil }
    if !preambles.isEmpty { preambles[event.id.slot] = nil }
  }
}
