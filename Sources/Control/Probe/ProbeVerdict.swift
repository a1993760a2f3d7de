internal import System
internal import Wire

/// The conclusion of a probe, in a word for programs and in sentences for people.
struct ProbeVerdict: Sendable {
  enum Kind: String, Sendable {
    case closedPort = "closed-port"
    case noAnswer = "no-answer"
    case unreachable
    /// Serves nobody without a header.
    case requiresHeader = "requires-header"
    /// Serves with a header and without.
    case acceptsHeader = "accepts-header"
    /// Reads headers; whether it serves without one could not be seen.
    case takesHeader = "takes-header"
    /// Takes a header for the client's bytes, or closes for it.
    case noHeader = "no-header"
    /// Ends every connection, with a header or without.
    case refusesAll = "refuses-all"
    /// Greets, in another protocol than the one named.
    case otherProtocol = "other-protocol"
    case silent
  }

  var kind: Kind
  /// What the backend's `send-proxy` should be; nil when that is not known.
  var sendProxy: String?
  var headline: String
  var details: [String] = []
  /// The longest header that was taken, and the shortest that was refused.
  var longestTaken: Int?
  var shortestRefused: Int?

  /// Whether an operator knows now what to configure.
  var isConclusive: Bool { sendProxy != nil }

  init(_ judge: ProbeJudge, address: SocketAddress) {
    let failures = judge.observations.compactMap { $0.failure }
    guard failures.count < judge.observations.count else {
      self = ProbeVerdict(failures: failures, address: address)
      return
    }
    let local = judge.observations.lazy.compactMap { $0.local }.first
    let here = local.map { $0.hostDescription } ?? "this address"
    if judge.isTaken(.v1) || judge.isTaken(.v2) || judge.isTaken(.v2Local) {
      self = ProbeVerdict(taking: judge, here: here)
    } else if judge.worksWithoutHeader {
      self = ProbeVerdict(plain: judge, here: here)
    } else {
      self = ProbeVerdict(refusing: judge, here: here)
    }
    if !failures.isEmpty {
      details.append(
        "\(failures.count) of \(judge.observations.count) connections failed"
          + " (\(failures[0])): is there a limit of connections?")
    }
  }

  private init(kind: Kind, sendProxy: String? = nil, _ headline: String) {
    self.kind = kind
    self.sendProxy = sendProxy
    self.headline = headline
  }

  private init(failures: [SystemError.Code], address: SocketAddress) {
    switch failures.first {
    case .some(.refused), .some(.noEntry):
      self.init(kind: .closedPort, "closed port: nobody listens at \(address)")
    case .some(.timedOut), nil:
      self.init(
        kind: .noAnswer,
        "no answer from \(address): the machine is down, or a firewall drops the packets")
    case .some(let code):
      self.init(kind: .unreachable, "no connection to \(address): \(code)")
    }
  }

  // MARK: It takes headers

  private init(taking judge: ProbeJudge, here: String) {
    let (v1, v2) = (judge.isTaken(.v1), judge.isTaken(.v2))
    let versions =
      v1 && v2 ? "v1 and v2 accepted, v2 recommended"
      : v2 ? "v2 accepted, v1 refused" : v1 ? "v1 accepted, v2 refused" : "only v2 LOCAL accepted"
    let send = v2 ? "v2" : v1 ? "v1" : nil
    let advice = send.map { ": send-proxy: \($0)" } ?? ""
    if judge.worksWithoutHeader {
      self.init(
        kind: .acceptsHeader, sendProxy: send,
        "accepts a PROXY header, and serves without one too (\(versions))\(advice)")
      details.append(
        "whoever can reach this port can name any address as its own: let only proxies reach it")
    } else if ProbeVerdict.isNeedSeen(judge) {
      self.init(
        kind: .requiresHeader, sendProxy: send, "requires a PROXY header (\(versions))\(advice)")
    } else {
      self.init(
        kind: .takesHeader, sendProxy: send, "takes a PROXY header (\(versions))\(advice)")
      details.append(
        "whether it needs one was not seen: name its protocol (--tls or another) to find out")
    }
    details.append("it trusts this address: a header from \(here) is believed")
    if let nothing = judge[.nothing], !judge.worksWithoutHeader {
      details.append("when nothing comes: \(judge.words(nothing))")
    }
    if let bare = judge[.bare], !judge.worksWithoutHeader {
      details.append("when a client's bytes come without a header: \(judge.words(bare))")
    }
    addForms(judge, v2: v2)
    addLimit(judge, v2: v2)
  }

  /// Somebody with a header got further than the one without.
  private static func isNeedSeen(_ judge: ProbeJudge) -> Bool {
    guard judge.service == nil else { return true }
    return [ProbeAttempt.v1, .v2].contains { attempt in
      guard judge.isTaken(attempt), let seen = judge[attempt] else { return false }
      return seen.hasSpokenEarly || seen.hasAnswered || seen.ending == .open
    }
  }

  private mutating func addForms(_ judge: ProbeJudge, v2: Bool) {
    if v2 {
      details.append(
        judge.isTaken(.v2TLVs)
          ? "takes TLVs (unique-id, authority, crc32c)"
          : "refuses a header with TLVs (unique-id, authority, crc32c): send none")
      details.append(
        judge.isTaken(.v2Local)
          ? "takes LOCAL, so health checks can send it"
          : "refuses LOCAL: health checks must not send it")
    }
    let isSplitTaken =
      judge.isTaken(v2 ? .v2Split : .v1Split) && (judge.isTaken(.v1Split) || !judge.isTaken(.v1))
    details.append(
      isSplitTaken
        ? "takes a header in two segments"
        : "refuses headers split over two segments: send it in one write (Sluice does)")
  }

  private mutating func addLimit(_ judge: ProbeJudge, v2: Bool) {
    guard v2 else { return }
    let lengths = ProbeAttempt.paddedLengths.filter { judge[.v2Padded($0)] != nil }
    shortestRefused = lengths.first { !judge.isTaken(.v2Padded($0)) }
    longestTaken = lengths.last { $0 < shortestRefused ?? .max }
    guard let refused = shortestRefused else {
      if let taken = longestTaken { details.append("takes headers of \(taken) bytes") }
      return
    }
    guard let taken = longestTaken else {
      details.append("a header padded to \(refused) bytes is refused: send no TLVs")
      return
    }
    details.append(
      refused == taken + 1
        ? "a header over \(taken) bytes is refused"
        : "a header of \(taken) bytes is taken, one of \(refused) refused")
    if taken < ProxyV2.defaultSendLimit {
      details.append("so lower the backend's limit: proxy-header: { limit: \(taken) }")
    }
  }

  // MARK: It takes none

  private init(plain judge: ProbeJudge, here: String) {
    self.init(kind: .noHeader, sendProxy: "none", "takes no PROXY header: send-proxy: none")
    let headers = [ProbeAttempt.v1, .v2].compactMap { judge[$0] }
    if headers.contains(where: { judge.outcome(of: $0) == .mistaken }) {
      details.append(
        judge.service.map { $0.isServerFirst } ?? false
          ? "speaks without a header, and takes a header for the client's bytes (a plain server)"
          : "serves without a header, and takes a header for the client's bytes (a plain server)")
    } else if headers.allSatisfy({ judge.outcome(of: $0) == .silent }) {
      details.append("nothing that it did depended on a header; it said nothing to anyone")
    } else {
      details.append("serves without a header, and closes when one comes")
    }
    if let seen = headers.last { details.append("with a header: \(judge.words(seen))") }
    details.append(
      "if it is meant to read headers, then only from addresses that it trusts, and \(here) is none"
        + " of them (Stalwart, Traefik)")
  }

  // MARK: It takes nobody

  /// Sooner than any server waits for a header that does not come (at least 3 s, section 2 of the
  /// specification), and later than a busy one needs to turn somebody away.
  private static let atOnceMs = 1000

  private init(refusing judge: ProbeJudge, here: String) {
    let reached = judge.observations.filter { $0.failure == nil }
    if reached.allSatisfy({ $0.heard.isEmpty && $0.ending == .open }) {
      self.init(
        kind: .silent, "takes connections, and says nothing with a header or without")
      details.append("it may wait for a client of its own protocol: name that (--tls, --smtp, …)")
      return
    }
    if let spoken = judge.greetedAs, spoken != judge.service {
      self.init(
        kind: .otherProtocol,
        "speaks \(spoken.rawValue), not \(judge.service?.rawValue ?? "what was expected"):"
          + " probe it with --\(spoken.rawValue)")
      return
    }
    self.init(
      kind: .refusesAll,
      "closes even with a header: it does not trust this address, \(here)"
        + " (Dovecot: haproxy_trusted_networks), or it turns everybody away")
    guard let nothing = judge[.nothing] else { return }
    if nothing.endMs < ProbeVerdict.atOnceMs, nothing.ending != .open {
      details.append(
        "connections end at once, before a byte is sent: Dovecot does so when the address is not in"
          + " haproxy_trusted_networks; other reasons are access lists, limits of connections, a"
          + " proxy whose own server is down")
    } else {
      let other = judge.service.map { " than \($0.rawValue)" } ?? ""
      details.append(
        "it waits when nothing is sent, and closes on every header: perhaps it speaks another"
          + " protocol\(other), and reads no headers")
    }
    details.append("when nothing comes: \(judge.words(nothing))")
    if let seen = judge[.v2] { details.append("with a header: \(judge.words(seen))") }
  }
}

extension ProbeJudge {
  /// What came, in words without a control byte.
  func words(_ seen: ProbeObservation) -> String {
    if let failure = seen.failure { return "no connection: \(failure)" }
    let end =
      switch seen.ending {
      case .open: ""
      case .closed: "closed"
      case .reset: "reset"
      }
    guard !seen.heard.isEmpty else {
      let time = ProbeJudge.duration(seen.endMs - (seen.openingMs ?? 0))
      return end.isEmpty ? "silent for \(time)" : "\(end) after \(time), without a word"
    }
    // After the client's bytes, where the answer is to those.
    let startMs = seen.heardBeforeOpening == 0 ? seen.openingMs ?? 0 : 0
    let time = seen.firstHeardMs.map { " after \(ProbeJudge.duration($0 - startMs))" } ?? ""
    return said(seen) + time + (end.isEmpty ? "" : ", then \(end)")
  }

  private static let quoteLimit = 100

  private func said(_ seen: ProbeObservation) -> String {
    if service == .tls || [.bareHello, .v2Hello].contains(seen.attempt) {
      switch ProbeTLSAnswer(seen.heard) {
      case .handshake: return "a TLS handshake record"
      case .alert:
        return seen.heard.count > 6 ? "the TLS alert \(seen.heard[6])" : "a TLS alert"
      case .other, .none: break
      }
    }
    // In characters as printed: a NUL takes four.
    let quote = escapedText(seen.heard.prefix(ProbeJudge.quoteLimit))
    guard quote.utf8.count > ProbeJudge.quoteLimit || seen.heard.count > ProbeJudge.quoteLimit
    else { return "\"\(quote)\"" }
    return "\"\(quote.prefix(ProbeJudge.quoteLimit))…\""
  }

  /// `12 ms`, `3.0 s`.
  static func duration(_ ms: Int) -> String {
    ms < 1000 ? "\(ms) ms" : "\(ms / 1000).\(ms % 1000 / 100) s"
  }
}
