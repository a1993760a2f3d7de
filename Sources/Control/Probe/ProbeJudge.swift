internal import System

/// What the observations of one probe mean. Pure: the same observations, the same verdict.
///
/// A header counts as taken only when the server does what it does for a client, and does not do
/// the same for a header damaged in a place that only a reader of headers looks at.
struct ProbeJudge {
  let service: ProbeService?
  let observations: [ProbeObservation]

  init(service: ProbeService?, _ observations: [ProbeObservation]) {
    self.observations = observations
    if let service {
      self.service = service
      return
    }
    self.service = ProbeJudge.greeting(
      in: observations.filter { !$0.isEcho && $0.hasSpokenEarly })
  }

  /// The protocol in which anybody was greeted, whatever was asked for.
  var greetedAs: ProbeService? { ProbeJudge.greeting(in: observations) }

  private static func greeting(in observations: [ProbeObservation]) -> ProbeService? {
    for seen in observations {
      if let guess = ProbeService.greeting(with: seen.heard),
        ProbeDialogue(guess, seen.heard).state != .turnedAway
      {
        return guess
      }
    }
    return nil
  }

  /// TLS was spoken, in a probe that was not told to.
  var hasMetTLS: Bool {
    service == nil
      && [.bareHello, .v2Hello].contains { attempt in
        self[attempt].map { ProbeTLSAnswer($0.heard) == .handshake } ?? false
      }
  }

  subscript(_ attempt: ProbeAttempt) -> ProbeObservation? {
    observations.first { $0.attempt == attempt && $0.failure == nil }
  }

  // MARK: One connection

  enum Outcome: String, Sendable {
    /// Answered as a client is.
    case served
    /// The header was read; nothing more was asked for.
    case taken
    /// The header was read as the client's own bytes.
    case mistaken
    /// Closed, or turned away in words.
    case refused
    /// Open and silent.
    case silent
    case unreachable
  }

  func outcome(of seen: ProbeObservation) -> Outcome {
    if seen.failure != nil { return .unreachable }
    if seen.header.isEmpty { return outcomeWithoutHeader(seen) }
    if isTaken(seen) { return isServed(seen) ? .served : .taken }
    // Whoever serves without a header and answers one that it does not take, answers a client.
    if seen.isEcho || worksWithoutHeader && !seen.heard.isEmpty { return .mistaken }
    return seen.ending == .open && seen.heard.isEmpty ? .silent : .refused
  }

  private func outcomeWithoutHeader(_ seen: ProbeObservation) -> Outcome {
    if isServed(seen) { return .served }
    return seen.ending == .open && seen.heard.isEmpty ? .silent : .refused
  }

  /// What a client without a header would take for service.
  private func isServed(_ seen: ProbeObservation) -> Bool {
    switch service {
    case .tls:
      switch ProbeTLSAnswer(seen.heard) {
      case .handshake: return true
      case .alert: return bestTLSAnswer == .alert
      case .none, .other: return false
      }
    case .some: return isGreeted(seen)
    case nil: return !seen.heard.isEmpty
    }
  }

  private func isGreeted(_ seen: ProbeObservation) -> Bool {
    guard let service else { return false }
    switch ProbeDialogue(service, seen.heard).state {
    case .greeted, .begun: return true
    case .waiting, .turnedAway: return false
    }
  }

  /// An alert is as good an answer as this server gives, unless it gave a better one to anybody.
  private var bestTLSAnswer: ProbeTLSAnswer {
    let answers = observations.map { ProbeTLSAnswer($0.heard) }
    return answers.contains(.handshake) ? .handshake : answers.contains(.alert) ? .alert : .none
  }

  // MARK: With a header and without

  /// Whether the server serves those who send no header.
  var worksWithoutHeader: Bool {
    switch service {
    case .tls: return self[.bare].map { isServed($0) } ?? false
    case .some: return self[.nothing].map { isGreeted($0) } ?? false
    case nil:
      if let nothing = self[.nothing], !nothing.heard.isEmpty { return true }
      guard let bare = self[.bare] else { return false }
      return bare.hasAnswered || bare.openingMs != nil && bare.ending == .open
    }
  }

  func isTaken(_ attempt: ProbeAttempt) -> Bool { self[attempt].map { isTaken($0) } ?? false }

  private func isTaken(_ seen: ProbeObservation) -> Bool {
    guard !seen.header.isEmpty, seen.failure == nil, !seen.isEcho else { return false }
    guard seen.attempt != seen.attempt.damaged else { return false }
    // Half a header keeps many a server waiting; that is no proof unless the whole one is taken.
    if seen.attempt.isSplit, !isTaken(seen.attempt == .v1Split ? .v1 : .v2) { return false }
    // Without the comparison only service that nobody else gets is proof enough.
    guard let damaged = self[seen.attempt.damaged] else {
      return isServed(seen) && !worksWithoutHeader
    }
    switch service {
    case .tls: return isServed(seen) && !isServed(damaged)
    case .some(let service):
      // Whoever greets before it looks shows what it thinks of the header only afterwards.
      guard worksWithoutHeader else { return isGreeted(seen) && !isGreeted(damaged) }
      return isClean(service, seen) && !isClean(service, damaged)
    case nil: return isTakenByUnknown(seen, damaged)
    }
  }

  private func isClean(_ service: ProbeService, _ seen: ProbeObservation) -> Bool {
    let dialogue = ProbeDialogue(service, seen.heard)
    return dialogue.state == .greeted && dialogue.hasParted && !dialogue.hasComplained
  }

  private func isTakenByUnknown(_ seen: ProbeObservation, _ damaged: ProbeObservation) -> Bool {
    if let nothing = self[.nothing], !nothing.heard.isEmpty {
      // It greets everybody: the sound header must leave it as it is, the damaged one must not.
      return isUndisturbed(seen) && !isUndisturbed(damaged)
    }
    guard !seen.hasEndedEarly else { return false }
    return damaged.hasEndedEarly || !seen.hasSpokenEarly && damaged.hasSpokenEarly
  }

  /// It said to this one what it says to everybody, and stayed. One that leaves by itself shows
  /// nothing: whether the rest of it is a close or a reset is a matter of microseconds.
  private func isUndisturbed(_ seen: ProbeObservation) -> Bool {
    guard let nothing = self[.nothing] else { return false }
    return nothing.ending == .open && seen.ending == .open && !seen.heard.isEmpty
      && seen.heard.count <= nothing.heard.count
  }
}
