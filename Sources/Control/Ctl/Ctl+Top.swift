internal import AdminAPI
internal import System

/// `sluice ctl top`: the live connections on a screen of their own.
extension Ctl {
  private static let refreshNs: UInt64 = 1_000_000_000
  /// The window's size is looked at this often, and signals and keys are never slower.
  private static let lookMs: Int32 = 200
  private static let answerMs: UInt64 = 5000

  private struct Sample: Encodable {
    var sessions: SessionList
    var status: Status
  }

  /// With `json` one sample is printed, and no screen taken.
  package func top() -> Int32 {
    do throws(AdminClient.Fault) {
      let first = try sample()
      if json {
        StandardStream.output.write(AdminJSON.encode(first) + [0x0a])
        return Exit.done.rawValue
      }
      return watch(first)
    } catch {
      return complain(error).rawValue
    }
  }

  private func sample() throws(AdminClient.Fault) -> Sample {
    let query = SessionQuery(limit: SessionQuery.largestLimit)
    let list = try client.call(
      "GET", "/v1/sessions\(Ctl.parameters(query))", waitingAtMostMs: Ctl.answerMs)
    let status = try client.call("GET", "/v1/status", waitingAtMostMs: Ctl.answerMs)
    return Sample(
      sessions: try decode(SessionList.self, list), status: try decode(Status.self, status))
  }

  private func watch(_ first: Sample) -> Int32 {
    var model = TopModel()
    model.take(first.sessions, first.status, nowNs: Clock.monotonicNs)
    do throws(SystemError) {
      // Whatever asks this process to end finds the terminal restored.
      try Signals.block()
      let signals = try Signals()
      let terminal = try Terminal()
      var refreshAtNs = Clock.monotonicNs + Ctl.refreshNs
      while true {
        Ctl.draw(model, terminal)
        guard let bytes = terminal.keys(orReading: signals.number, waitingAtMostMs: Ctl.lookMs)
        else { break }
        if try signals.next() != nil { break }
        for key in TopModel.keys(bytes) {
          switch model.press(key) {
          case .quit: return Exit.done.rawValue
          case .kill(let id): model.message = end(id)
          case nil: break
          }
        }
        guard Clock.monotonicNs >= refreshAtNs else { continue }
        refreshAtNs = Clock.monotonicNs + refresh(&model)
      }
      return Exit.done.rawValue
    } catch {
      Ctl.say(
        error.code == .noTerminal ? "top needs a terminal; see `sessions`" : "top: \(error)")
      return Exit.failed.rawValue
    }
  }

  /// Asks again; a server that does not answer is said so, and asked again later. Returns when the
  /// next time is: the more there is to ask for, the less often.
  private func refresh(_ model: inout TopModel) -> UInt64 {
    let startNs = Clock.monotonicNs
    do throws(AdminClient.Fault) {
      let new = try sample()
      model.take(new.sessions, new.status, nowNs: Clock.monotonicNs)
    } catch {
      model.message = Ctl.sentence(about: error)
    }
    return max(Ctl.refreshNs, 4 * (Clock.monotonicNs - startNs))
  }

  /// Ends a connection; says how it went.
  private func end(_ id: String) -> String {
    do throws(AdminClient.Fault) {
      let body = AdminJSON.encode(KillRequest(id: id))
      _ = try client.call("POST", "/v1/kill", body: body, waitingAtMostMs: Ctl.answerMs)
      return "\(id) was ended"
    } catch {
      return Ctl.sentence(about: error)
    }
  }

  private static func sentence(about fault: AdminClient.Fault) -> String {
    switch fault {
    case .unreachable(let text), .denied(let text), .broken(let text): text
    case .failure(let failure): failure.message
    }
  }

  /// All lines anew over the old ones; nothing flickers, since nothing is cleared before.
  private static func draw(_ model: TopModel, _ terminal: borrowing Terminal) {
    guard let size = Terminal.size else { return }
    let (lines, highlighted) = model.screen(columns: size.columns, height: size.rows)
    var text = "\u{1b}[H"
    for (index, line) in lines.enumerated() {
      if index > 0 { text += "\r\n" }
      text += index == highlighted ? "\u{1b}[7m\(line)\u{1b}[0m" : line
      text += "\u{1b}[K"
    }
    terminal.write(text + "\u{1b}[J")
  }
}
