internal import AdminAPI
internal import Config
internal import System

/// What is answered to whom. Readings block, so they are made on a thread of the desk's own, one
/// at a time and never more often than twice a second, however many ask.
final class PageDesk: Sendable {
  private let operations: any Operations
  private let topClients: @Sendable (Int) -> [ClientUse]
  private let view: Guarded<View>
  /// More callers than may wait here are told to come again.
  private let lane = HTTPLane(threads: 1, capacity: 64)
  private let state = Guarded(State())

  /// What the configuration says; a reload may change it.
  private struct View {
    var hasPage: Bool
    var hosts: PageHosts
    var topClients: Int

    init(_ settings: MetricsSettings) {
      hasPage = settings.hasPage
      hosts = PageHosts(settings.hosts)
      topClients = settings.topClients
    }
  }

  private struct State {
    var history = PageHistory()
    var metrics: Kept?
    var data: Kept?
  }

  private struct Kept {
    let body: [UInt8]
    let ns: UInt64
  }

  /// An answer this old is given again.
  private static let freshNs: UInt64 = 500_000_000

  init(
    _ settings: MetricsSettings, _ operations: any Operations,
    topClients: @escaping @Sendable (Int) -> [ClientUse]
  ) {
    self.operations = operations
    self.topClients = topClients
    view = Guarded(View(settings))
  }

  func change(to settings: MetricsSettings) { view.withLock { $0 = View(settings) } }

  private var hasPage: Bool { view.withLock { $0.hasPage } }

  func admits(hosts: [String]) -> Bool { view.withLock { $0.hosts }.admit(hosts) }

  func stop() { lane.stop() }

  /// What needs no reading is answered at once, the rest through `reply`, on the desk's thread.
  func answer(
    _ path: String, _ reply: @escaping @Sendable (HTTPAnswer) -> Void
  ) -> HTTPAnswer? {
    if path == "/metrics" { return queue(reply) { desk in desk.metrics() } }
    let hasPage = hasPage
    switch path {
    case "/page/data.json" where hasPage: return queue(reply) { desk in desk.data() }
    case "/" where hasPage: return asset("text/html; charset=utf-8", PageHTML.text)
    case "/page/page.css" where hasPage: return asset("text/css; charset=utf-8", PageStyle.text)
    case "/page/page.js" where hasPage:
      return asset("text/javascript; charset=utf-8", PageScript.text)
    case "/page/icon.svg" where hasPage: return asset("image/svg+xml", PageIcon.text)
    default: return .refusal(404, "there is no such page")
    }
  }

  private func asset(_ type: String, _ text: String) -> HTTPAnswer {
    HTTPAnswer(contentType: type, body: Array(text.utf8))
  }

  private func queue(
    _ reply: @escaping @Sendable (HTTPAnswer) -> Void,
    _ make: @escaping @Sendable (PageDesk) -> HTTPAnswer
  ) -> HTTPAnswer? {
    let isTaken = lane.submit { [self] in reply(make(self)) }
    return isTaken ? nil : .refusal(503, "too many wait; try again")
  }

  /// A step of the history; left out when too many wait.
  func step() {
    guard hasPage else { return }
    _ = lane.submit { [self] in noteStep() }
  }

  // ---- on the desk's thread ----------------------------------------------------------------

  func noteStep() {
    let listeners = operations.listeners()
    let now = Clock.monotonicNs
    state.withLock { $0.history.note(listeners, nowNs: now) }
  }

  private func metrics() -> HTTPAnswer {
    let type = "text/plain; version=0.0.4; charset=utf-8"
    let now = Clock.monotonicNs
    if let kept = state.withLock({ $0.metrics }), now - kept.ns < PageDesk.freshNs {
      return HTTPAnswer(contentType: type, body: kept.body)
    }
    let body = operations.metrics()
    let made = Clock.monotonicNs
    state.withLock { $0.metrics = Kept(body: body, ns: made) }
    return HTTPAnswer(contentType: type, body: body)
  }

  private func data() -> HTTPAnswer {
    let type = "application/json"
    let now = Clock.monotonicNs
    if let kept = state.withLock({ $0.data }), now - kept.ns < PageDesk.freshNs {
      return HTTPAnswer(contentType: type, body: kept.body)
    }
    let status = operations.status()
    let listeners = operations.listeners()
    let backends = operations.backends()
    let most = view.withLock { $0.topClients }
    let clients = most > 0 ? topClients(most) : nil
    let (curves, rejected) = state.withLock { ($0.history.curves, $0.history.rejected) }
    let data = PageData(
      server: PageData.Server(status), history: curves, listeners: listeners,
      backends: backends, rejections: rejected, topClients: clients, drains: status.drains,
      runtimeChanges: status.runtimeChanges, reloads: status.reloads)
    let body = AdminJSON.encode(data)
    let made = Clock.monotonicNs
    state.withLock { $0.data = Kept(body: body, ns: made) }
    return HTTPAnswer(contentType: type, body: body)
  }
}
