internal import Config
internal import DataPlane
internal import Routing
internal import System
internal import Wire

/// All checks of one thread: when each is next, and those under way.
struct CheckBoard: ~Copyable {
  struct Ended {
    let target: CheckTarget
    let report: CheckReport
    let isChanged: Bool
  }

  /// What is kept of a target.
  private struct Row {
    let target: CheckTarget
    var state = HealthState()
    var report = CheckReport(isUp: true, trouble: nil)
    var run: CheckRun?
    /// Which of its ways the next check begins with, and how many the one under way has tried.
    var way = 0
    var waysTried = 0
    /// What was wrong with those, best in a parent's own words.
    var trouble: String?
    /// Of the next check, or of the one under way.
    var startNs: UInt64 = 0
    /// Rows are used again; tokens and alarms of earlier users no longer fit.
    var generation: UInt32 = 0
  }

  /// Something to do at a time: begin a row's check, or end it as too slow.
  private struct Alarm {
    let atNs: UInt64
    let row: Int
    let generation: UInt32
  }

  static let wakeToken = UInt64.max
  /// A server that stays up for so many intervals has stopped flapping.
  private static let steadyIntervals: UInt64 = 30
  /// What is due at about the same time is done at the same moment, up to half of this early or
  /// late: 500 checks a second take half the processor time when they come by the dozen.
  private static let togetherNs: UInt64 = 100_000_000
  /// First checks are spread over at most this time.
  private static let firstWithinNs: UInt64 = 1_000_000_000

  private let poller: Poller
  private var rows: [Row?] = []
  private var places: [CheckTarget: Int] = [:]
  private var alarms: [Alarm] = []
  private var nextGeneration: UInt32 = 1
  private var random = SystemRandomNumberGenerator()
  private var ended: [Ended] = []
  private(set) var hasWoken = false

  init(_ poller: Poller) { self.poller = poller }

  var reports: [CheckTarget: CheckReport] {
    places.compactMapValues { rows[$0]?.report }
  }

  mutating func install(_ wanted: Set<CheckTarget>, nowNs: UInt64) {
    for (target, place) in places where !wanted.contains(target) {
      rows[place] = nil
      places[target] = nil
    }
    var free = rows.indices.filter { rows[$0] == nil }[...]
    for target in wanted where places[target] == nil {
      let place = free.popFirst() ?? rows.count
      if place == rows.count { rows.append(nil) }
      places[target] = place
      var row = Row(target: target)
      row.generation = nextGeneration
      nextGeneration &+= 1
      let within = min(UInt64(target.settings.intervalMs) * 1_000_000, CheckBoard.firstWithinNs)
      let first = nowNs + UInt64.random(in: 0...within, using: &random)
      row.startNs = CheckBoard.together(first, of: within)
      rows[place] = row
      push(Alarm(atNs: row.startNs, row: place, generation: row.generation))
    }
  }

  /// Waits for what comes next and does it; returns the checks that have ended.
  mutating func turn() -> [Ended] {
    ended = []
    hasWoken = false
    let ready = (try? poller.wait(atMostMs: waitMs(Clock.monotonicNs))) ?? []
    let nowNs = Clock.monotonicNs
    for one in ready {
      if one.token == CheckBoard.wakeToken {
        hasWoken = true
        continue
      }
      let place = Int(one.token >> 32)
      guard rows.indices.contains(place), let row = rows[place], let run = row.run,
        row.generation == UInt32(truncatingIfNeeded: one.token)
      else { continue }
      if let outcome = run.go(isReadable: one.isReadable, isWritable: one.isWritable) {
        finish(place, outcome, nowNs)
      }
    }
    while let alarm = alarms.first, alarm.atNs <= nowNs {
      pop()
      guard let row = rows[alarm.row], row.generation == alarm.generation else { continue }
      if let run = row.run {
        finish(alarm.row, run.tooLate, nowNs, isLate: true)
      } else {
        begin(alarm.row, nowNs)
      }
    }
    return ended
  }

  // ---- one check ---------------------------------------------------------------------------

  private mutating func begin(_ place: Int, _ nowNs: UInt64) {
    guard var row = rows[place] else { return }
    // A new one for each check: what comes late for an earlier one finds nobody.
    row.generation = nextGeneration
    nextGeneration &+= 1
    row.startNs = nowNs
    (row.waysTried, row.trouble) = (0, nil)
    rows[place] = row
    run(place, nowNs)
    guard rows[place]?.run != nil else { return }
    let timeoutNs = UInt64(row.target.settings.timeoutMs) * 1_000_000
    // Never before its time.
    let endNs = CheckBoard.together(nowNs + timeoutNs + timeoutNs / 20, of: timeoutNs)
    push(Alarm(atNs: endNs, row: place, generation: row.generation))
  }

  private mutating func run(_ place: Int, _ nowNs: UInt64) {
    guard var row = rows[place] else { return }
    let run = CheckRun(row.target, way: row.way)
    row.run = run
    row.waysTried += 1
    rows[place] = row
    let token = UInt64(place) << 32 | UInt64(row.generation)
    if let outcome = run.start(poller, token: token) { finish(place, outcome, nowNs) }
  }

  private mutating func finish(
    _ place: Int, _ outcome: CheckRun.Outcome, _ nowNs: UInt64, isLate: Bool = false
  ) {
    guard var row = rows[place] else { return }
    var outcome = outcome
    if let run = row.run, let way = run.way, run.isOnTheWay, case .failed(let why) = outcome {
      // A parent's failure is no server's while there are others.
      let ways = row.target.tunnel?.ways.count ?? 1
      let trouble = "parent \(way.name): \(why)"
      if run.asking != nil || row.trouble == nil { row.trouble = trouble }
      row.way = (row.way + 1) % ways
      row.run = nil
      rows[place] = row
      if !isLate, row.waysTried < ways { return self.run(place, nowNs) }
      outcome = .failed(row.trouble ?? trouble)
    }
    row.run = nil
    row.generation = nextGeneration
    nextGeneration &+= 1
    let settings = row.target.settings
    let intervalNs = UInt64(settings.intervalMs) * 1_000_000
    if outcome != .noResources {
      let terms = HealthState.Terms(
        rise: settings.rise, fall: settings.fall,
        steadyNs: intervalNs * CheckBoard.steadyIntervals)
      let change = row.state.take(passed: outcome == .passed, terms, nowNs: nowNs)
      let before = row.report
      row.report.isUp = row.state.isUp
      if case .failed(let why) = outcome {
        row.report.trouble = why
      } else {
        row.report.trouble = nil
      }
      if row.report != before {
        ended.append(Ended(target: row.target, report: row.report, isChanged: change != nil))
      }
    }
    let nextNs = row.startNs + jittered(intervalNs, settings.jitterPercent)
    row.startNs = max(nowNs, CheckBoard.together(nextNs, of: intervalNs))
    rows[place] = row
    push(Alarm(atNs: row.startNs, row: place, generation: row.generation))
  }

  /// The nearest moment that others have too, at most a twentieth of `spanNs` away.
  private static func together(_ atNs: UInt64, of spanNs: UInt64) -> UInt64 {
    let step = max(1, min(togetherNs, spanNs / 10))
    return (atNs + step / 2) / step * step
  }

  private mutating func jittered(_ intervalNs: UInt64, _ percent: Int) -> UInt64 {
    let part = intervalNs / 100 * UInt64(percent)
    return intervalNs - part + UInt64.random(in: 0...(2 * part), using: &random)
  }

  // ---- alarms ------------------------------------------------------------------------------

  private func waitMs(_ nowNs: UInt64) -> Int32? {
    guard let first = alarms.first else { return nil }
    guard first.atNs > nowNs else { return 0 }
    // Rounded up, lest the last part of a millisecond be spent in a busy loop.
    return Int32(clamping: (first.atNs - nowNs + 999_999) / 1_000_000)
  }

  /// A heap, the earliest first: alarms of checks that have ended lie in it until their time.
  private mutating func push(_ alarm: Alarm) {
    alarms.append(alarm)
    var index = alarms.count - 1
    while index > 0, alarms[index].atNs < alarms[(index - 1) / 2].atNs {
      alarms.swapAt(index, (index - 1) / 2)
      index = (index - 1) / 2
    }
  }

  private mutating func pop() {
    alarms.swapAt(0, alarms.count - 1)
    alarms.removeLast()
    var index = 0
    while true {
      var least = index
      for child in [2 * index + 1, 2 * index + 2]
      where child < alarms.count && alarms[child].atNs < alarms[least].atNs { least = child }
      if least == index { return }
      alarms.swapAt(index, least)
      index = least
    }
  }
}

/// One check under way: its socket, what is still to be sent, and its dialogue.
final class CheckRun {
  enum Outcome: Equatable {
    case passed
    case failed(String)
    /// We have no descriptor or port left, which says nothing about the server.
    case noResources
  }

  private let target: CheckTarget
  /// The parent that it goes through; nil goes to the server itself.
  let way: CheckTunnel.Way?
  /// Until the parent has answered.
  var asking: CheckAsking?
  private var local: SocketAddress?
  private var socket: Descriptor?
  private var number: Int32 = -1
  var dialogue: CheckDialogue?
  var unsent: ArraySlice<UInt8> = []
  private var security: CheckSecurity?
  /// Nothing more needs to be heard once this is sent.
  private var isPassedWhenSent = false

  private static let pieceLimit = 4096

  init(_ target: CheckTarget, way: Int) {
    self.target = target
    self.way = target.tunnel?.ways[way]
  }

  /// There is no tunnel yet: what goes wrong is not known to be the server's fault.
  var isOnTheWay: Bool { way != nil && (dialogue == nil || asking != nil) }

  /// What comes of it when its time is over.
  var tooLate: Outcome {
    guard let dialogue else { return .failed("timed out while connecting") }
    if asking != nil { return .failed(ParentFault.timeout.words) }
    if isShakingHands { return .failed("timed out in the TLS handshake") }
    return dialogue.isAnswered ? .passed : .failed("timed out waiting for \(dialogue.awaited)")
  }

  /// - Returns: nil while it goes on.
  func start(_ poller: Poller, token: UInt64) -> Outcome? {
    do throws(SystemError) {
      let made = try Sockets.startConnecting(
        to: way?.address ?? target.address, from: target.source)
      number = made.number
      socket = consume made
      // A server of this machine is reached at once.
      if Sockets.isConnected(number), let outcome = connected() ?? send() { return outcome }
      try poller.watch(number, token: token)
      return nil
    } catch {
      return CheckRun.outcome(of: error.code)
    }
  }

  func go(isReadable: Bool, isWritable: Bool) -> Outcome? {
    if dialogue == nil {
      guard isWritable || isReadable else { return nil }
      if let code = Sockets.failure(of: number) { return CheckRun.outcome(of: code) }
      guard isWritable else { return nil }
      if let outcome = connected() { return outcome }
    }
    if let outcome = send() { return outcome }
    return isReadable ? hear() : nil
  }

  private func connected() -> Outcome? {
    // A system call that only some need.
    if target.header == .own || target.settings.kind == .smtp {
      local = try? Sockets.localAddress(ofNumber: number)
    }
    dialogue = CheckDialogue(target.settings.kind, local: local)
    guard let way else { return begin() }
    asking = CheckAsking()
    if let transport = way.transport { return secure(transport, behind: []) }
    unsent = way.request[...]
    return nil
  }

  /// The server is reached.
  func begin() -> Outcome? {
    var first = header(from: local)
    if let transport = target.transport { return secure(transport, behind: first) }
    switch dialogue?.begin() {
    case .more?, nil: break
    case .send(let bytes)?: first += bytes
    case .passed?: isPassedWhenSent = true
    case .failed(let why)?: return .failed(why)
    }
    // The header and what follows it in one write: many receivers read the header once.
    unsent += security?.say(first) ?? first
    return nil
  }

  private func secure(_ transport: CheckTransport, behind first: [UInt8]) -> Outcome? {
    do throws(TLSProblem) {
      let security = try CheckSecurity(transport)
      unsent += first + security.output()
      self.security = security
      return nil
    } catch {
      return .failed("TLS: \(error.reason)")
    }
  }

  /// The server's own TLS.
  var inside: CheckSecurity? { target.transport == nil ? nil : security }

  private func header(from local: SocketAddress?) -> [UInt8] {
    switch target.header {
    case .none: return []
    case .local:
      return [UInt8](capacity: ProxyV2.prefixLength) { output in
        _ = try? ProxyV2.encodeLocal(into: &output)
      }
    case .own:
      guard let local, local.port != nil, target.address.port != nil else {
        return Array("PROXY UNKNOWN\r\n".utf8)
      }
      return [UInt8](capacity: ProxyV1.maximumLength) { output in
        _ = try? ProxyV1.encode(source: local, destination: target.address, into: &output)
      }
    }
  }

  /// The handshake is all that is wanted.
  var isHandshakeAll: Bool { target.settings.kind == .tls && inside != nil }

  private var isShakingHands: Bool { security.map { !$0.isOpen } ?? false }

  func send() -> Outcome? {
    while !unsent.isEmpty {
      do throws(SystemError) {
        unsent = unsent.dropFirst(try Sockets.sendSome(unsent, over: number))
      } catch {
        if error.code == .tryAgain { return nil }
        // What it said before it closed is still to be read, and tells more than the error.
        return hear() ?? .failed(CheckRun.words(error.code))
      }
    }
    return isPassedWhenSent ? .passed : nil
  }

  /// Reads until there is no more: events come edge by edge.
  private func hear() -> Outcome? {
    while true {
      var bytes: [UInt8] = []
      let count: Int
      do throws(SystemError) {
        count = try Sockets.receiveSome(
          atMost: CheckRun.pieceLimit, appendingTo: &bytes, from: number)
      } catch {
        if error.code == .tryAgain { return nil }
        // A reset after the farewell is rude, and no failure.
        if dialogue?.end() == .passed { return .passed }
        return .failed("\(CheckRun.words(error.code)) \(phaseOfEnd)")
      }
      let isEnd = count == 0
      let outcome =
        security.map { decipher($0, bytes, ended: isEnd) } ?? take(bytes, ended: isEnd)
      if let outcome { return outcome }
      if isEnd { return .failed("closed \(phaseOfEnd)") }
    }
  }

  /// What comes of a step of the dialogue.
  func follow(_ step: CheckDialogue.Step?, isEnd: Bool) -> Outcome? {
    switch step {
    case .more?, nil: return isEnd ? .failed("closed \(phaseOfEnd)") : nil
    case .passed?: return .passed
    case .failed(let why)?: return .failed(why)
    case .send(let more)?:
      unsent += security?.say(more) ?? more
      return send()
    }
  }

  private var phaseOfEnd: String {
    if isShakingHands { return "in the TLS handshake" }
    return dialogue.map { "without \($0.awaited)" } ?? "while connecting"
  }

  private static func outcome(of code: SystemError.Code) -> Outcome {
    switch code {
    case .tooManyOpen, .tooManyInSystem, .noMemory, .addressNotAvailable: .noResources
    default: .failed(words(code))
    }
  }

  private static func words(_ code: SystemError.Code) -> String {
    switch code {
    case .refused: "connection refused"
    case .reset, .brokenPipe: "connection reset"
    case .timedOut: "timed out while connecting"
    default: "\(code)"
    }
  }
}
