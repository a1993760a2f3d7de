internal import CSluice
internal import Routing
internal import Wire

/// What is kept of a connection of which a side speaks TLS with us, until it is closed.
struct TransportNotes {
  /// By what its rules are asked once the handshake is done.
  var hello: HelloFacts
  /// The client's handshake; nil before it is done, or where it was none of ours.
  var client: TLSFacts?
  /// Why the client's TLS failed; empty: it did not, or not yet.
  var clientFailure = ""
  /// Why that of the last server that was dialled did.
  var upstreamFailure = ""
}

/// Listeners that end their clients' TLS. Which certificate a client gets is in its ClientHello,
/// which is read as for a listener that ends none; then OpenSSL gets the same bytes.
extension WorkerLoop {
  /// From here on the client's side speaks TLS: what it has sent behind the `consumed` bytes is its
  /// handshake.
  ///
  /// - Parameter withinMs: until it is done; nil leaves the deadline of the hello.
  mutating func secure(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable,
    _ plan: TLSPlan, _ hello: HelloFacts, behind consumed: Int, withinMs: UInt32?
  ) {
    guard let setup = plan.setup(for: hello.name) as? TLSServerSetup else {
      preconditionFailure("what a listener ends TLS with was made here")
    }
    guard paces(&memory, table) else { return reject(event, .sourceRate, table) }
    memory.phase = .handshake
    worker.remember(memory, of: event.id)
    transports[event.id.slot] = TransportNotes(hello: hello)
    let result = worker.secure(event.id, with: setup, consuming: consumed, withinMs: withinMs)
    switch result {
    case .done, .stale, .not_dialled: break
    case .no_buffer, .too_long: worker.reject(event.id, reason: RejectReason.noBuffers.number)
    }
  }

  /// Counts the client in at its source before its handshake, which costs more than all that comes
  /// behind it. One that may not come in for another reason meets that when it is routed, and may
  /// wait there.
  ///
  /// - Returns: false when it comes faster than its source may.
  private func paces(_ memory: inout ConnectionMemory, _ table: RouteTable) -> Bool {
    guard !table.sources.isEmpty, memory.entry == nil, let client = memory.client,
      let source = Identity(source: client)
    else { return true }
    let limit = table.sources.limit(for: client)
    guard limit.perSecond > 0 else { return true }
    guard case .entry(let entry) = identities.take(source, limit: UInt32(limit.atOnce))
    else { return true }
    guard identities.isInPace(entry, perSecond: UInt32(limit.perSecond), nowNs: nowNs) else {
      identities.give(entry)
      return false
    }
    memory.entry = entry
    return true
  }

  /// The client's handshake is over, one way or the other.
  mutating func handshook(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable
  ) {
    let slot = event.id.slot
    guard var hello = transports[slot]?.hello else { return }
    let facts = worker.facts(event.id, .client)
    let series = table.series.listeners[table.listener(ofSocket: event.listener)]
    switch event.final {
    case .timed_out:
      counts.shookHands(.failed, listener: series)
      return end(event, .tlsTimeout, facts)
    case .failed, .half_closed:
      counts.shookHands(.failed, listener: series)
      guard case .noHello(let why) = hello.form else { return end(event, .tlsFailed, facts) }
      return end(event, why, facts)
    case .no, .full: break
    }
    counts.shookHands(facts?.isResumed == true ? .resumed : .full, listener: series)
    // OpenSSL has understood what our parser has not.
    if case .noHello = hello.form { hello = HelloFacts(.unnamed) }
    transports[slot]?.client = facts
    if table.listeners[table.listener(ofSocket: event.listener)].egress != nil {
      return beginExchange(event, &memory, table, .no)
    }
    let answer = self.answer(to: hello, event, memory, table)
    settle(answer, event, &memory, table, .no, behind: 0)
  }

  /// What it is told of that, OpenSSL has said.
  private mutating func end(_ event: sluice_event, _ reason: RejectReason, _ facts: TLSFacts?) {
    transports[event.id.slot]?.clientFailure = facts?.failure ?? ""
    worker.reject(event.id, reason: reason.number)
  }

  /// Turns away a client whose TLS is ended here: once its handshake is done, in the words of its
  /// protocol.
  ///
  /// - Returns: false for all other clients.
  func rejectSecured(_ event: sluice_event, _ reason: RejectReason, _ table: RouteTable) -> Bool {
    guard !transports.isEmpty, let notes = transports[event.id.slot] else { return false }
    let place = table.socket(tag: event.listener)?.listener
    let listener = place.map { table.listeners[$0] }
    guard listener?.tls != nil else { return false }
    let spoken = notes.client == nil ? nil : listener?.spoken
    worker.reject(event.id, reason: reason.number, reply: spoken?.reply(to: reason))
    return true
  }

  /// A dial has failed in the server's handshake.
  mutating func noteFailure(_ error: DialError, of event: sluice_event) {
    guard error == .handshake else { return }
    let failure = worker.facts(event.id, .upstream)?.failure ?? ""
    transports[event.id.slot, default: TransportNotes(hello: HelloFacts(.unnamed))]
      .upstreamFailure = failure
  }
}

extension Worker {
  /// The client's side speaks TLS behind the `consumed` bytes of those in hand; asks when that has
  /// come to something, or to nothing.
  func secure(
    _ id: sluice_id, with setup: TLSServerSetup, consuming consumed: Int, withinMs: UInt32?
  ) -> sluice_result {
    var answer = sluice_answer()
    answer.up.mode = .hold
    answer.consumed = UInt32(consumed)
    answer.hold_ms = withinMs ?? 0
    unsafe answer.tls = unsafe setup.raw
    return self.answer(id, &answer)
  }

  /// Nil for a side that speaks plainly.
  func facts(_ id: sluice_id, _ side: sluice_side) -> TLSFacts? {
    tls(id, side).map { TLSFacts($0) }
  }
}

extension BackendTLS {
  /// Lends what C is to speak to a server with, and by which name.
  ///
  /// - Parameter place: among the servers of its backend.
  func withSetup<Result>(
    ofServer place: Int, _ body: (OpaquePointer, sluice_bytes) -> Result
  ) -> Result {
    guard let setup = setup as? TLSClientSetup else {
      preconditionFailure("what a backend is spoken to with was made here")
    }
    return names[place].withBytes { name in unsafe body(setup.raw, name) }
  }
}
