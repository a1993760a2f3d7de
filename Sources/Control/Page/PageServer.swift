package import AdminAPI
package import Config
internal import System

/// Metrics and the live page on TCP: `metrics` of the configuration. Read only, and without a
/// password; what it says is bounded by the configuration, and how often it looks by itself.
package final class PageServer: Sendable {
  private let settings: MetricsSettings
  private let state: Guarded<State>

  private struct State: Sendable {
    /// Bound, and not yet served: owned here.
    var sockets: [Int32] = []
    var running: Running?
  }

  private struct Running: Sendable {
    let desk: PageDesk
    let server: HTTPServer
  }

  /// Why an address cannot be served.
  package struct Fault: Error, Sendable, CustomStringConvertible {
    package let description: String
  }

  /// Binds; nobody is answered before `start`.
  package init(_ settings: MetricsSettings) throws(Fault) {
    self.settings = settings
    var sockets: [Int32] = []
    for address in settings.binds {
      do throws(SystemError) {
        sockets.append(try Sockets.listen(at: address, backlog: PageServer.backlog).release())
      } catch {
        for socket in sockets { _ = Descriptor(owning: socket) }
        throw Fault(description: "metrics.bind: \(address): \(error)")
      }
    }
    state = Guarded(State(sockets: sockets))
  }

  /// Answers from now on. Call once.
  ///
  /// - Parameter topClients: so many of the busiest clients. Called on a thread of the page's own,
  ///   as all of `operations`.
  package func start(
    _ operations: any Operations, topClients: @escaping @Sendable (Int) -> [ClientUse]
  ) throws(Fault) {
    try start(operations, topClients: topClients, stepMs: PageHistory.stepMs)
  }

  func start(
    _ operations: any Operations, topClients: @escaping @Sendable (Int) -> [ClientUse],
    stepMs: Int64
  ) throws(Fault) {
    let sockets = state.withLock { state in
      defer { state.sockets = [] }
      return state.sockets
    }
    let desk = PageDesk(settings, operations, topClients: topClients)
    let server = HTTPServer(PageServer.serving)
    let crowd = server.box(0)
    do {
      try server.serve(sockets) { _ in PageCaller(desk: desk, crowd: crowd) }
    } catch {
      desk.stop()
      throw Fault(description: "metrics.bind: \(error)")
    }
    server.every(ms: stepMs) { desk.step() }
    let running = Running(desk: desk, server: server)
    state.withLock { $0.running = running }
  }

  /// Where it is served, with the port that the kernel chose where the settings say 0.
  package var ports: [Int] { state.withLock { $0.running }?.server.ports ?? [] }

  /// Takes all settings but the addresses.
  package func change(to settings: MetricsSettings) {
    state.withLock { $0.running }?.desk.change(to: settings)
  }

  package func stop() {
    let (sockets, running) = state.withLock { state in
      defer { state = State() }
      return (state.sockets, state.running)
    }
    for socket in sockets { _ = Descriptor(owning: socket) }
    guard let running else { return }
    running.server.stop()
    running.desk.stop()
  }

  /// Of browsers that come at once; the kernel keeps them until they are accepted.
  private static let backlog: Int32 = 128

  /// Nothing of another origin and no frame around it. The page asks every two seconds, so a
  /// browser that is silent for longer is gone.
  private static let serving: HTTPSettings = {
    var settings = HTTPSettings(
      fields: [
        (
          "content-security-policy",
          "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
      ])
    settings.deadlines.idleMs = 20_000
    return settings
  }()
}
