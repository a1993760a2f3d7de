internal import System
internal import Wire

/// One connection of a probe, from the connect to the end. Blocks; each has a thread.
struct ProbeConversation {
  let address: SocketAddress
  /// The host as a name, if it was given as one.
  let name: String?
  let service: ProbeService?
  let timeoutMs: Int
  let progress: ProbeProgress

  /// How long a server may take to speak first before it is taken for one that waits for its
  /// client: far more than a round trip and a busy server's fork need.
  private static let longestQuietMs = 1500
  private var quietMs: Int { min(ProbeConversation.longestQuietMs, timeoutMs / 2) }
  /// How far the two segments of a split header are apart. A server that has not read the first by
  /// then reads both as one, and busy ones need a moment to start a process (Dovecot, Postfix). No
  /// server may give up so soon (section 2 of the specification: not under 3 s).
  private static let longestSplitMs = 1000
  private var splitMs: Int { min(ProbeConversation.longestSplitMs, timeoutMs / 4) }
  private static let firstSegment = 8
  /// After an answer that decides all, for the rest of it and the close that may follow.
  private static let settlingMs = 300
  /// How long an answer to a client's bytes of no protocol in particular is waited for.
  private static let answerMs = 2000
  /// What a wait is cut into, to look at the progress of the others.
  private static let sliceMs = 50

  /// A request that HTTP servers answer, with as little effect as possible, and all others find
  /// wrong.
  private static let anyRequest = Array("OPTIONS * HTTP/1.0\r\n\r\n".utf8)

  private enum Step {
    case wait(untilMs: Int)
    case farewell([UInt8])
    case opening([UInt8])
    case stop
  }

  func hold(_ attempt: ProbeAttempt) -> ProbeObservation {
    var seen = ProbeObservation(attempt: attempt)
    do throws(SystemError) {
      let socket = try Sockets.connect(to: address, timeoutMs: UInt32(timeoutMs))
      let local = try Sockets.localAddress(of: socket)
      seen.local = local
      seen.header = attempt.header(from: local, to: address, name: name)
      converse(over: socket, &seen)
    } catch {
      seen.failure = error.code
    }
    progress.noteEnd(worksWithoutHeader: worksWithoutHeader(seen))
    return seen
  }

  private func worksWithoutHeader(_ seen: ProbeObservation) -> Bool {
    guard seen.attempt == .bare || seen.attempt == .bareHello, seen.failure == nil else {
      return false
    }
    if service == .tls || seen.attempt == .bareHello {
      return ProbeTLSAnswer(seen.heard) == .handshake
    }
    return seen.hasAnswered || seen.openingMs != nil && seen.ending == .open
  }

  private func converse(over socket: borrowing Descriptor, _ seen: inout ProbeObservation) {
    let startNs = Clock.monotonicNs
    func elapsedMs() -> Int { Int((Clock.monotonicNs - startNs) / 1_000_000) }
    do throws(SystemError) {
      try sendHeader(over: socket, &seen)
      steps: while true {
        switch nextStep(seen, elapsedMs()) {
        case .stop: break steps
        case .farewell(let bytes):
          seen.hasSaidFarewell = true
          try Sockets.sendAll(bytes.span, over: socket)
        case .opening(let bytes):
          seen.openingMs = elapsedMs()
          seen.heardBeforeOpening = seen.heard.count
          try Sockets.sendAll(bytes.span, over: socket)
        case .wait(let untilMs):
          let slice = min(max(untilMs - elapsedMs(), 1), ProbeConversation.sliceMs)
          let ready = try Readiness.reading(socket.number, waitingAtMostMs: Int32(slice))
          guard ready != [] else { continue }
          let count = try socket.read(atMost: 4096, appendingTo: &seen.heard)
          guard count > 0 else {
            seen.ending = .closed
            break steps
          }
          noteHearing(&seen, elapsedMs())
        }
      }
    } catch {
      // ECONNRESET and EPIPE: the server has closed while we spoke. What it said before is lost
      // with some kernels, and read with others; it is there now or never.
      while seen.heard.count < ProbeObservation.hearingLimit,
        let ready = try? Readiness.reading(socket.number, waitingAtMostMs: 0), ready != [],
        let count = try? socket.read(atMost: 4096, appendingTo: &seen.heard), count > 0
      {}
      seen.ending = .reset
    }
    seen.endMs = elapsedMs()
  }

  /// The header in one write, and with TLS the ClientHello in the same: as Sluice would send it.
  private func sendHeader(
    over socket: borrowing Descriptor, _ seen: inout ProbeObservation
  ) throws(SystemError) {
    var bytes = seen.header
    if seen.attempt.isSplit {
      let first = Array(bytes.prefix(ProbeConversation.firstSegment))
      try Sockets.sendAll(first.span, over: socket)
      Thread.sleep(ms: UInt32(splitMs))
      bytes.removeFirst(first.count)
    }
    if service == .tls, seen.attempt != .nothing {
      seen.openingMs = 0
      bytes += ProbeClientHello.bytes(name: name)
    }
    try Sockets.sendAll(bytes.span, over: socket)
  }

  private func noteHearing(_ seen: inout ProbeObservation, _ nowMs: Int) {
    if seen.firstHeardMs == nil { seen.firstHeardMs = nowMs }
    guard service == nil, seen.openingMs == nil,
      let guess = ProbeService.greeting(with: seen.heard),
      ProbeDialogue(guess, seen.heard).state != .turnedAway
    else { return }
    progress.noteGreeting()
  }

  private func nextStep(_ seen: ProbeObservation, _ nowMs: Int) -> Step {
    guard nowMs < timeoutMs, seen.heard.count < ProbeObservation.hearingLimit else { return .stop }
    switch service {
    case .tls:
      if seen.heard.count >= ProbeTLSAnswer.tellingBytes { return .stop }
      if seen.attempt == .nothing, progress.isSettled { return .stop }
      return .wait(untilMs: timeoutMs)
    case .some(let service): return dialogueStep(service, seen, nowMs)
    case nil:
      let isBeforeOpening = seen.openingMs == nil
      if isBeforeOpening, let guess = ProbeService.greeting(with: seen.heard) {
        return dialogueStep(guess, seen, nowMs)
      }
      return guessingStep(seen, nowMs)
    }
  }

  /// In a protocol in which the server speaks first: wait for the greeting, take leave.
  private func dialogueStep(
    _ service: ProbeService, _ seen: ProbeObservation, _ nowMs: Int
  ) -> Step {
    let dialogue = ProbeDialogue(service, seen.heard)
    switch dialogue.state {
    case .waiting, .begun: return .wait(untilMs: timeoutMs)
    case .turnedAway:
      let untilMs = (seen.firstHeardMs ?? nowMs) + ProbeConversation.settlingMs
      return nowMs < untilMs ? .wait(untilMs: untilMs) : .stop
    case .greeted:
      guard seen.hasSaidFarewell else { return .farewell(service.farewell) }
      return dialogue.hasParted ? .stop : .wait(untilMs: timeoutMs)
    }
  }

  /// When nobody has said which protocol it is: be quiet first; whoever is still connected then,
  /// and was told nothing, says something.
  private func guessingStep(_ seen: ProbeObservation, _ nowMs: Int) -> Step {
    if nowMs < quietMs { return .wait(untilMs: quietMs) }
    if let openingMs = seen.openingMs {
      let untilMs =
        openingMs
        + (seen.hasAnswered ? ProbeConversation.settlingMs : ProbeConversation.answerMs)
      return nowMs < untilMs ? .wait(untilMs: untilMs) : .stop
    }
    if !seen.heard.isEmpty { return .stop }
    if progress.hasGreeted { return .wait(untilMs: timeoutMs) }
    switch seen.attempt {
    case .nothing: return progress.isSettled ? .stop : .wait(untilMs: timeoutMs)
    case .bare, .v1, .v2: return .opening(ProbeConversation.anyRequest)
    case .bareHello, .v2Hello: return .opening(ProbeClientHello.bytes(name: name))
    case .v2TLVs, .v2Local, .v1Split, .v2Split, .v1Damaged, .v2Damaged, .v2Padded: return .stop
    }
  }
}
