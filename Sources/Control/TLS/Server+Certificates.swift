internal import AdminAPI
internal import Config
internal import DataPlane
internal import System

/// What comes of time: certificates end, and ticket keys grow old.
extension Server {
  /// Turns the ticket keys, and says which certificates are about to end, when either is due.
  func lookAtCertificates(nowNs: UInt64) {
    let (isLookDue, isTurnDue) = certificates.withLock { $0.due(nowNs: nowNs) }
    guard isLookDue || isTurnDue else { return }
    let transports = inForce.withLock { $0.transports }
    if isTurnDue {
      do throws(TLSProblem) {
        try transports.rotateTickets()
      } catch {
        Notice.write("session tickets go on with an old key: \(error.reason)", .warning)
      }
    }
    guard isLookDue else { return }
    for sentence in transports.expiring(atSeconds: Int64(Clock.wallMs / 1000)) {
      Notice.write(sentence, .warning)
      events.post("certificate", sentence)
    }
  }

  /// Until the next of these is due; nil while there is nothing to look at.
  func certificateWaitMs(nowNs: UInt64) -> Int32? {
    guard inForce.withLock({ $0.transports.hasCertificates }) else { return nil }
    return certificates.withLock { $0.waitMs(nowNs: nowNs) }
  }
}

/// When certificates are looked at next, and when the key of tickets is turned.
struct CertificateTimes {
  /// Once a day is often enough to be heard and seldom enough to be listened to.
  static let lookNs: UInt64 = 24 * 3600 * 1_000_000_000
  /// The newest key encrypts for so long, and two more are accepted: whoever learns one can read no
  /// more than 24 hours of TLS 1.2 sessions (RFC 5077 section 5.5 wants keys to be changed).
  static let turnNs: UInt64 = 8 * 3600 * 1_000_000_000

  private var nextLookNs: UInt64 = 0
  private var nextTurnNs: UInt64?

  mutating func due(nowNs: UInt64) -> (look: Bool, turn: Bool) {
    let isLookDue = nowNs >= nextLookNs
    if isLookDue { nextLookNs = nowNs + CertificateTimes.lookNs }
    // The first keys are as old as the process.
    guard let turn = nextTurnNs else {
      nextTurnNs = nowNs + CertificateTimes.turnNs
      return (isLookDue, false)
    }
    guard nowNs >= turn else { return (isLookDue, false) }
    nextTurnNs = nowNs + CertificateTimes.turnNs
    return (isLookDue, true)
  }

  /// Others are served.
  mutating func lookSoon() { nextLookNs = 0 }

  func waitMs(nowNs: UInt64) -> Int32 {
    let next = min(nextLookNs, nextTurnNs ?? nextLookNs)
    return Int32(clamping: (next - min(next, nowNs) + 999_999) / 1_000_000)
  }
}

extension Transports {
  /// A warning comes so long before the end, or for those that live shortly, in the last third of
  /// their time, by which a renewal should have come.
  private static let warnedSeconds: Int64 = 14 * 24 * 3600

  /// Sentences about certificates that are about to end, or have ended.
  func expiring(atSeconds now: Int64) -> [String] {
    certificates.compactMap { certificate in
      let place = "listener \(certificate.listener): \(certificate.path):"
      let lifetime = certificate.notAfter - certificate.notBefore
      let left = certificate.notAfter - now
      guard left < min(Transports.warnedSeconds, lifetime / 3) else { return nil }
      let day = Transports.day(certificate.notAfter)
      if left <= 0 { return "\(place) the certificate expired on \(day)" }
      return "\(place) the certificate expires on \(day), in \(counted(Int(left / 86_400), "day"))"
    }
  }
}
