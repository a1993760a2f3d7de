internal import CSluice
internal import Routing
internal import System
internal import Wire

/// Forward proxies: a plain request's body and its response, as they pass.
extension WorkerLoop {
  /// How long a client that may send a further request is waited for without a byte of it.
  private static let keepAliveMs: UInt32 = 90_000

  // ---- the client's side -------------------------------------------------------------------

  /// More of a request's body, or what follows it.
  mutating func requestGrew(_ ask: EgressAsk, _ exchange: inout Exchange) {
    let bytes = ask.event.heldBytes
    if ask.ending == .halfClosed { exchange.hasEnded = true }
    switch exchange.up {
    case .none:
      exchange.hasMore = bytes.count > 0
      // Whoever waits for the response and says nothing further has no use for a second half.
      if exchange.stage == .last || exchange.hasEnded && !exchange.hasMore { return drop(ask) }
      if ask.ending == .timedOut { renew(ask) } else { hear(ask) }
    case .passing where ask.ending == .timedOut: renew(ask)
    case .passing:
      exchange.up = .none
      exchange.hasMore = bytes.count > 0
      if exchange.stage == .last { drop(ask) }
    case .chunked where ask.ending == .timedOut: renew(ask)
    case .chunked(var body):
      let step = body.take(bytes, ended: ask.ending == .halfClosed)
      exchange.up = .chunked(body)
      switch step {
      case .more: renew(ask)
      case .pass(let count): pass(count, .client, ask)
      case .end(let count):
        exchange.up = .passing
        pass(UInt64(count), .client, ask)
      case .invalid(let fault): refuse(ask, &exchange, .http(fault))
      }
    }
  }

  /// What goes on takes its time.
  private func renew(_ ask: EgressAsk) {
    var answer = sluice_answer()
    answer.side = ask.event.side
    answer.hold_ms = ask.plan.settings.replyMs
    _ = worker.answer(ask.id, &answer)
  }

  /// It is known now, and more may come. What fills its buffer is not asked about again.
  func hear(_ ask: EgressAsk) {
    guard ask.ending != .full else { return }
    var answer = sluice_answer()
    answer.side = ask.event.side
    _ = worker.answer(ask.id, &answer)
  }

  private func pass(_ count: UInt64, _ side: sluice_side, _ ask: EgressAsk) {
    var answer = sluice_answer()
    answer.side = side
    if side == .client { answer.up = .relayed(count) } else { answer.down = .relayed(count) }
    answer.hold_ms = ask.plan.settings.replyMs
    _ = worker.answer(ask.id, &answer)
  }

  /// Nothing further is taken from the client; its end goes on.
  private func drop(_ ask: EgressAsk) {
    var answer = sluice_answer()
    answer.side = ask.event.side
    answer.up = .discarded
    _ = worker.answer(ask.id, &answer)
  }

  // ---- the origin's side -------------------------------------------------------------------

  /// The origin was reached, or has said more, or has ended.
  mutating func responseGrew(_ ask: EgressAsk, _ exchange: inout Exchange) {
    if exchange.reached == .nobody, let request = exchange.request {
      let server = worker.memory(ask.id)?.server
      exchange.reached = exchange.isDirect ? .origin(request.target) : .parent(server ?? 0)
      // That it was reached is all there is to hear.
      if ask.ending == .no, ask.event.length == 0 { return hear(ask) }
    }
    guard exchange.didAnswer else { return readResponse(ask, &exchange) }
    switch exchange.down {
    case .none: hear(ask)
    case .passing where ask.ending == .timedOut: renew(ask)
    case .passing: complete(ask, &exchange)
    case .chunked where ask.ending == .timedOut: renew(ask)
    case .chunked(var body):
      let step = body.take(ask.event.heldBytes, ended: ask.ending == .halfClosed)
      exchange.down = .chunked(body)
      switch step {
      case .more: renew(ask)
      case .pass(let count): pass(count, .upstream, ask)
      case .end(let count):
        exchange.down = .passing
        pass(UInt64(count), .upstream, ask)
      // What the client has of it must not look like all of it.
      case .invalid: _ = worker.kill(ask.id, .upstream_error)
      }
    }
  }

  /// Looks for the head of the response, behind those of interim ones.
  private mutating func readResponse(_ ask: EgressAsk, _ exchange: inout Exchange) {
    var position = 0
    let isEnd = ask.ending == .halfClosed
    speech.clear()
    while true {
      let bytes = ask.event.heldBytes.extracting(position...)
      switch HTTPResponseHead.parse(bytes, &exchange.responseScan, ask.limits, ended: isEnd) {
      case .more where isEnd, .invalid(.truncated):
        // Once it has gone, the request may be repeated.
        if exchange.isReused, exchange.mayRepeat, worker.release(ask.id) { return }
        return refuse(ask, &exchange, .badResponse)
      case .more where ask.ending == .timedOut:
        guard exchange.up == .none else { return renew(ask) }
        return refuse(ask, &exchange, .responseTimeout)
      case .more: return pass(interim: position, ask)
      case .invalid: return refuse(ask, &exchange, .badResponse)
      case .done(let head, _) where head.status == 407:
        // A client would take it for our question, and answer with its credentials for us.
        let reason: RejectReason = exchange.isDirect ? .badResponse : .egress(.parentRefused)
        return refuse(ask, &exchange, reason)
      case .done(let head, let length):
        exchange.responseScan = HTTPHeadScan()
        exchange.onward = []
        if !head.isInterim {
          return answered(head, at: position, length, ask, &exchange)
        }
        let via = ask.via
        speech.write { output in head.write(bytes, via: via, isLast: false, into: &output) }
        position += length
      }
    }
  }

  /// Interim responses go to the client, which may wait for one before it sends its body.
  private func pass(interim length: Int, _ ask: EgressAsk) {
    guard length > 0 else { return hear(ask) }
    var answer = sluice_answer()
    answer.side = .upstream
    answer.consumed = UInt32(length)
    answer.send_client = speech.bytes
    answer.hold_ms = ask.plan.settings.replyMs
    _ = worker.answer(ask.id, &answer)
  }

  /// The response's head is in: it goes on, and what follows it as its framing says.
  private mutating func answered(
    _ head: HTTPResponseHead, at position: Int, _ length: Int, _ ask: EgressAsk,
    _ exchange: inout Exchange
  ) {
    let bytes = ask.event.heldBytes.extracting(position...)
    if head.status == 101, !exchange.offersUpgrade { return refuse(ask, &exchange, .badResponse) }
    let isUpgrade = head.status == 101
    let body = head.body(answersHead: exchange.answersHead)
    exchange.keepsUpstream = !head.isLast && body != .toEnd && !exchange.isLast
    let isLast =
      exchange.isLast || body == .toEnd || exchange.up != .none
      || exchange.hasEnded && !exchange.hasMore
    var answer = sluice_answer()
    answer.side = .upstream
    answer.consumed = UInt32(position + length)
    answer.hold_ms = ask.plan.settings.replyMs
    if isUpgrade || isLast {
      exchange.stage = isUpgrade ? .tunnel : .last
      answer.down = .relayed
      answer.up = isUpgrade ? .relayed : exchange.up == .none ? .discarded : .kept
    } else {
      guard let down = responseBody(body, bytes.extracting(length...), ask, &exchange) else {
        return refuse(ask, &exchange, .badResponse)
      }
      answer.down = down
    }
    let via = ask.via
    speech.write { output in
      head.write(bytes, via: via, isLast: isLast && !isUpgrade, into: &output)
    }
    answer.send_client = speech.bytes
    exchange.didAnswer = true
    exchange.status = head.status
    if worker.answer(ask.id, &answer) == .no_buffer {
      _ = worker.kill(ask.id, .upstream_error)
    } else if !isUpgrade, !isLast, body == .none {
      complete(ask, &exchange)
    }
  }

  /// - Returns: nil for chunks that are none.
  private func responseBody(
    _ body: HTTPResponseHead.Body, _ rest: Span<UInt8>, _ ask: EgressAsk,
    _ exchange: inout Exchange
  ) -> sluice_half_answer? {
    exchange.down = .passing
    switch body {
    case .none, .toEnd: return .held
    case .length(let count): return .relayed(count)
    case .chunked:
      var chunks = ChunkedBody()
      let step = chunks.take(rest, ended: ask.ending == .halfClosed)
      if case .end(let count) = step { return .relayed(UInt64(count)) }
      exchange.down = .chunked(chunks)
      switch step {
      case .more: return .held
      case .pass(let count): return .relayed(count)
      case .end, .invalid: return nil
      }
    }
  }

  // ---- between two requests ----------------------------------------------------------------

  /// Request and response have passed.
  private mutating func complete(_ ask: EgressAsk, _ exchange: inout Exchange) {
    let keepsUpstream = exchange.keepsUpstream && ask.ending != .halfClosed
    exchange.finish()
    exchange.endedWallMs = wallMs
    var answer = sluice_answer()
    answer.side = .upstream
    if exchange.hasEnded, !exchange.hasMore {
      answer.up = .relayed
      answer.down = .relayed
      _ = worker.answer(ask.id, &answer)
    } else if !keepsUpstream {
      // What is held of the client is asked about when the upstream has gone.
      if !worker.release(ask.id) { _ = worker.kill(ask.id, .upstream_error) }
    } else {
      awaitRequest(ask, &exchange)
    }
  }

  /// The next request is waited for; what is held of it is asked about at once.
  mutating func awaitRequest(_ ask: EgressAsk, _ exchange: inout Exchange) {
    if exchange.hasEnded, !exchange.hasMore {
      _ = worker.kill(ask.id, .client_fin)
      return
    }
    var answer = sluice_answer()
    answer.side = .upstream
    answer.up = .held
    answer.down = .held
    answer.hold_ms = WorkerLoop.keepAliveMs
    answer.park = exchange.hasMore
    _ = worker.answer(ask.id, &answer)
    if exchange.hasMore { worker.fact(ask.id) }
  }

  /// An upstream that is kept for a further request has ended, or says what nobody asked for.
  func upstreamEnded(_ ask: EgressAsk) {
    if ask.ending == .timedOut { return hear(ask) }
    if !worker.release(ask.id) { _ = worker.kill(ask.id, .upstream_error) }
  }
}

extension EgressAsk {
  /// Our name in Via, which is a pseudonym: RFC 9110 section 7.6.3. Empty where none is wanted.
  var via: [UInt8] { plan.settings.via ? Array("sluice".utf8) : [] }
}
