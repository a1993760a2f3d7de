internal import System
internal import Wire

/// A probe and its verdict, as text and as JSON.
struct ProbeReport: Sendable {
  let target: String
  let address: SocketAddress
  /// As the operator named it; nil if it was guessed.
  let askedService: ProbeService?
  let judge: ProbeJudge
  let verdict: ProbeVerdict

  init(
    target: String, address: SocketAddress, askedService: ProbeService?, judge: ProbeJudge
  ) {
    self.target = target
    self.address = address
    self.askedService = askedService
    self.judge = judge
    verdict = ProbeVerdict(judge, address: address)
  }

  private static let outcomeColumn = 10
  private static let meaningColumn = 46

  var text: String {
    var lines = ["\(title):", "", verdict.headline]
    lines += verdict.details.map { "  - \($0)" }
    if verdict.kind != .closedPort, verdict.kind != .noAnswer, verdict.kind != .unreachable {
      lines.append("")
      for seen in judge.observations {
        lines.append(
          "  " + ProbeReport.padded(seen.attempt.meaning, ProbeReport.meaningColumn)
            + ProbeReport.padded(judge.outcome(of: seen).rawValue, ProbeReport.outcomeColumn)
            + judge.words(seen))
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private var title: String {
    let place = target == address.description ? target : "\(target) (\(address))"
    guard let service = judge.service else { return place }
    return "\(place), \(service.rawValue)\(askedService == nil ? " by its answer" : "")"
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.utf8.count))
  }

  var json: JSONText {
    .object([
      ("target", .string(target)), ("address", .string("\(address)")),
      ("protocol", .optional(judge.service?.rawValue)),
      ("protocol_guessed", .bool(askedService == nil)),
      ("verdict", verdictJSON),
      ("attempts", .array(judge.observations.map { attemptJSON($0) })),
    ])
  }

  private var verdictJSON: JSONText {
    let takesHeader = [.requiresHeader, .acceptsHeader, .takesHeader].contains(verdict.kind)
    func taken(_ attempt: ProbeAttempt) -> JSONText { .bool(judge.isTaken(attempt)) }
    return .object([
      ("kind", .string(verdict.kind.rawValue)),
      ("send_proxy", .optional(verdict.sendProxy)),
      ("trusted", takesHeader ? .bool(true) : .null),
      ("v1", taken(.v1)), ("v2", taken(.v2)), ("tlvs", taken(.v2TLVs)),
      ("local", taken(.v2Local)), ("v1_split", taken(.v1Split)), ("v2_split", taken(.v2Split)),
      ("longest_taken", .optional(verdict.longestTaken)),
      ("shortest_refused", .optional(verdict.shortestRefused)),
      ("headline", .string(verdict.headline)),
      ("details", .array(verdict.details.map { .string($0) })),
    ])
  }

  private func attemptJSON(_ seen: ProbeObservation) -> JSONText {
    let ending =
      switch seen.ending {
      case .open: "open"
      case .closed: "closed"
      case .reset: "reset"
      }
    return .object([
      ("attempt", .string(seen.attempt.name)),
      ("sent", .string(seen.attempt.meaning)),
      ("header_bytes", .number(seen.header.count)),
      ("outcome", .string(judge.outcome(of: seen).rawValue)),
      ("answer", .string(escapedText(seen.heard.prefix(256)))),
      ("answer_bytes", .number(seen.heard.count)),
      ("first_byte_ms", .optional(seen.firstHeardMs)),
      ("ending", seen.failure == nil ? .string(ending) : .null),
      ("duration_ms", seen.failure == nil ? .number(seen.endMs) : .null),
      ("error", .optional(seen.failure?.description)),
    ])
  }
}
