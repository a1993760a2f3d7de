internal import CSluice
internal import Routing
internal import System
internal import Wire

/// What is kept of a connection of a STARTTLS listener until its server has begun TLS, or speaks
/// with it in plaintext. Besides, its ClientHello and what its server says are held, each in one
/// buffer.
struct Preamble {
  /// With the client.
  var server = StartTLSServer()
  /// With the server it was routed to; nil before, and once that has agreed.
  var client: StartTLSClient?
  /// The client's EHLO or HELO, for the server to hear: 512 bytes at most.
  var hello: [UInt8] = []
  /// Why the last server was given up.
  var fault: RejectReason?
}

/// Listeners whose clients ask for TLS in their protocol's words: Sluice speaks these with the
/// client, routes by its ClientHello, speaks them once more with the server, and is a relay from
/// there on. TLS is between the two, unless the listener ends it.
extension WorkerLoop {
  /// From here on the client is spoken with. What is in hand behind the `consumed` bytes of a
  /// header it said without waiting for its greeting.
  mutating func greet(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable,
    _ plan: StartTLSPlan, _ ending: Ending, behind consumed: Int
  ) {
    memory.phase = .preamble
    worker.remember(memory, of: event.id)
    preambles[event.id.slot] = Preamble()
    speech.clear()
    speech.add(plan.words.greeting)
    let listener = table.listeners[table.listener(ofSocket: event.listener)]
    // The deadline of a header is not that of what comes behind it.
    let ending = ending == .halfClosed ? ending : .no
    answerCommands(
      event, &memory, table, plan, ending, behind: consumed, withinMs: listener.prefaceMs)
  }

  /// More of what a client says before TLS, or its end.
  mutating func clientSpoke(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable,
    _ ending: Ending
  ) {
    let listener = table.listeners[table.listener(ofSocket: event.listener)]
    guard let plan = listener.startTLS else { return }
    speech.clear()
    answerCommands(event, &memory, table, plan, ending, behind: 0, withinMs: nil)
  }

  /// Answers all commands in hand.
  private mutating func answerCommands(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable,
    _ plan: StartTLSPlan, _ ending: Ending, behind consumed: Int, withinMs: UInt32?
  ) {
    let slot = event.id.slot
    guard var preamble = preambles[slot] else { return }
    var step = StartTLSServer.Step.reply
    while step == .reply {
      step = speech.write { output in
        preamble.server.hear(
          event.heldBytes.extracting(consumed...), ended: ending == .halfClosed, plan.words,
          into: &output)
      }
    }
    let position = consumed + preamble.server.position
    // The last command is not longer than one may be, so this is never full.
    let room = StartTLSServer.holdLimit(plan.words.kind) + plan.words.kind.commandLimit
    switch step {
    case .reply: break
    case .more where ending == .timedOut: reject(event, .preambleTimeout, table)
    case .more:
      preambles[slot] = preamble
      say(event, table, holding: room, withinMs: withinMs, consuming: consumed)
    case .startTLS:
      keepHello(of: event, in: &preamble, behind: consumed)
      memory.phase = .hello
      memory.didStartTLS = true
      worker.remember(memory, of: event.id)
      say(
        event, table, holding: HelloIntake.holdLimit, withinMs: withinMs, consuming: position)
    case .plaintext:
      keepHello(of: event, in: &preamble, behind: consumed)
      say(event, table, holding: room, withinMs: withinMs, consuming: 0)
      let answer = self.answer(to: nil, event, memory, table)
      settle(answer, event, &memory, table, ending, behind: position)
    case .over(let fault):
      end(event, fault, isSilent: event.heldBytes.count == consumed)
    }
  }

  private mutating func keepHello(
    of event: sluice_event, in preamble: inout Preamble, behind consumed: Int
  ) {
    let bytes = event.heldBytes
    preamble.hello = preamble.server.hello.map { bytes[consumed + $0] }
    preambles[event.id.slot] = preamble
  }

  private mutating func say(
    _ event: sluice_event, _ table: RouteTable, holding limit: Int, withinMs: UInt32?,
    consuming consumed: Int
  ) {
    let result = worker.say(
      speech.bytes, to: event.id, holding: limit, withinMs: withinMs, consuming: consumed)
    switch result {
    case .done, .stale, .not_dialled: break
    case .no_buffer, .too_long: reject(event, .noBuffers, table)
    }
  }

  /// It ends by what was said, and with what is to be said to that.
  private func end(_ event: sluice_event, _ fault: StartTLSServer.Fault?, isSilent: Bool) {
    let reason: RejectReason =
      switch fault {
      case nil: .preambleQuit
      case .truncated where isSilent: .helloProbe
      case let fault?: .preamble(fault)
      }
    worker.reject(event.id, reason: reason.number, reply: speech.bytes)
  }

  // ---- the server --------------------------------------------------------------------------

  /// A dial is about to begin: the server it reaches is spoken with from the beginning.
  ///
  /// - Returns: how long that may take, in milliseconds.
  mutating func beginConsent(
    _ slot: UInt32, _ memory: ConnectionMemory, _ listener: ListenerEntry, _ backend: BackendEntry
  ) -> UInt32? {
    guard let plan = listener.startTLS, var preamble = preambles[slot] else { return nil }
    preamble.client = StartTLSClient(
      plan.words.kind, memory.didStartTLS && listener.tls == nil ? .startTLS : .plaintext)
    preamble.fault = nil
    preambles[slot] = preamble
    return backend.deadlines.startTLSMs ?? plan.serverMs
  }

  /// More of what a server says before TLS, or its end.
  mutating func serverSpoke(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable,
    _ ending: Ending
  ) {
    // What the client sends meanwhile waits, and so does its end.
    guard event.side == .upstream, var preamble = preambles[event.id.slot] else { return }
    guard var client = preamble.client else { return begun(event, &memory, table, ending) }
    // What is in the client's TLS, and ends here, goes on in plaintext.
    let endsHere = table.listeners[table.listener(ofSocket: event.listener)].tls != nil
    speech.clear()
    var step = StartTLSClient.Step.say
    while step == .say {
      step = speech.write { output in
        client.hear(
          event.heldBytes, ended: ending == .halfClosed, hello: preamble.hello.span, into: &output)
      }
    }
    preamble.client = client
    switch step {
    case .say: break
    case .more where ending == .timedOut: giveUp(event, &preamble, .consentTimeout)
    case .more:
      preambles[event.id.slot] = preamble
      if worker.say(speech.bytes, toUpstreamOf: event.id) == .no_buffer {
        reject(event, .noBuffers, table)
      }
    case .ready where memory.didStartTLS && !endsHere:
      preamble.client = nil
      preambles[event.id.slot] = preamble
      worker.letGo(event.id, consuming: client.position, asking: true)
    case .ready:
      goOn(event, &memory, consuming: client.position)
    case .over(let fault): giveUp(event, &preamble, .consent(fault))
    }
  }

  /// The first bytes behind a server's consent. They are of TLS, or the client does not get them:
  /// it would take them for something said inside TLS.
  private mutating func begun(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable,
    _ ending: Ending
  ) {
    let bytes = event.heldBytes
    if bytes.isEmpty, ending == .timedOut { return reject(event, .consentTimeout, table) }
    // What ends without a byte ends without one at the client, too.
    if !bytes.isEmpty, !Preamble.firstTypes.contains(bytes[0]) {
      return reject(event, .consent(.outOfTurn), table)
    }
    goOn(event, &memory, consuming: 0)
  }

  /// A relay like any other, of which nothing more is kept.
  private mutating func goOn(
    _ event: sluice_event, _ memory: inout ConnectionMemory, consuming consumed: Int
  ) {
    preambles[event.id.slot] = nil
    memory.phase = .none
    worker.remember(memory, of: event.id)
    worker.letGo(event.id, consuming: consumed, asking: false)
  }

  /// Another server may do better.
  private mutating func giveUp(
    _ event: sluice_event, _ preamble: inout Preamble, _ why: RejectReason
  ) {
    preamble.fault = why
    preambles[event.id.slot] = preamble
    worker.redial(event.id, DialError.refusalToStart)
  }
}

extension Preamble {
  /// ContentType of a server's first record: a handshake, or an alert. RFC 8446 section 5.1.
  fileprivate static let firstTypes: ClosedRange<UInt8> = 21...22
}
