internal import CSluice
internal import Routing
internal import System
internal import Wire

/// Listeners that read the client's ClientHello: to route by it, or to end its TLS.
extension WorkerLoop {
  /// From here on the client's own bytes are waited for. Those in hand, behind the `consumed` ones
  /// of a header, may be enough already.
  mutating func awaitHello(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable,
    _ ending: Ending, behind consumed: Int
  ) {
    memory.phase = .hello
    // The deadline of a header that need not come is not that of the hello.
    let ending = ending == .halfClosed ? ending : .no
    let withinMs = table.listeners[table.listener(ofSocket: event.listener)].prefaceMs
    if readHello(event, &memory, table, ending, behind: consumed, withinMs: withinMs) { return }
    worker.remember(memory, of: event.id)
    worker.hold(
      event.id, limit: HelloIntake.holdLimit, withinMs: withinMs, consuming: consumed)
  }

  /// More of the bytes that a connection waits for, or their end.
  mutating func helloGrew(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable,
    _ ending: Ending
  ) {
    if readHello(event, &memory, table, ending, behind: 0, withinMs: nil) { return }
    worker.hold(event.id, limit: HelloIntake.holdLimit, withinMs: nil)
  }

  /// - Returns: whether the bytes were enough to answer by.
  private mutating func readHello(
    _ event: sluice_event, _ memory: inout ConnectionMemory, _ table: RouteTable,
    _ ending: Ending, behind consumed: Int, withinMs: UInt32?
  ) -> Bool {
    let bytes = event.heldBytes.extracting(consumed...)
    let listener = table.listener(ofSocket: event.listener)
    switch HelloIntake.decide(bytes, ending) {
    case .needMore: return false
    case .hello(let hello):
      let isTold = needs.contains(.records) || table.tellsOfHellos
      hellos[event.id.slot] = HelloNotes(hello, in: bytes, keepingText: isTold)
      let facts = HelloFacts(hello, in: bytes, for: table.listeners[listener].conditions)
      if let plan = table.listeners[listener].tls, Router.fault(of: facts, listener, table) == nil {
        secure(
          event, &memory, table, plan, facts, behind: consumed, withinMs: withinMs)
        return true
      }
      let answer = self.answer(to: facts, event, memory, table)
      settle(answer, event, &memory, table, ending, behind: consumed)
    case .noHello(let found):
      // Who has said something is no probe.
      let why = memory.didStartTLS && found == .helloProbe ? .preamble(.truncated) : found
      // OpenSSL has the words for what is wrong with it.
      if let plan = table.listeners[listener].tls, case .parser = found {
        let facts = HelloFacts.noHello(found)
        secure(event, &memory, table, plan, facts, behind: consumed, withinMs: withinMs)
        return true
      }
      let answer = self.answer(to: .noHello(why), event, memory, table)
      switch answer {
      case .reject(let reason):
        worker.remember(memory, of: event.id)
        refuse(event, memory, reason, behind: consumed)
      case .route, .full: settle(answer, event, &memory, table, ending, behind: consumed)
      }
    }
    return true
  }
}
