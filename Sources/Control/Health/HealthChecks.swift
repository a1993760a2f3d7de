package import Config
internal import Routing
package import System
package import Wire

/// One thing that is checked, whatever backends its server stands in: one server in ten backends,
/// with the same check in all of them, is checked once.
package struct CheckTarget: Hashable, Sendable {
  package let address: SocketAddress
  /// The address to connect from, with port 0.
  package let source: SocketAddress?
  package let header: Header
  package let settings: CheckSettings
  /// Nil speaks plainly.
  let transport: CheckTransport?
  /// Nil for a server that is reached by its address.
  let tunnel: CheckTunnel?

  /// What a check says before its protocol's words.
  package enum Header: Hashable, Sendable {
    case none
    /// Version 1 with the addresses of the check's own connection: there is no LOCAL in it, and
    /// mail servers refuse UNKNOWN.
    case own
    /// Version 2, LOCAL: the connection is the proxy's own (section 2.2 of the specification).
    case local
  }

  package init(
    address: SocketAddress, source: SocketAddress?, header: Header, settings: CheckSettings
  ) {
    self.init(
      address: address, source: source, header: header, settings: settings, transport: nil)
  }

  init(
    address: SocketAddress, source: SocketAddress?, header: Header, settings: CheckSettings,
    transport: CheckTransport?, tunnel: CheckTunnel? = nil
  ) {
    self.tunnel = tunnel
    // That somebody listens shows without it.
    self.transport = settings.kind == .connect ? nil : transport
    self.address = address
    self.source = source
    self.header = settings.sendsHeader ? header : .none
    // What a backend makes of the results is no reason to check a server twice.
    var settings = settings
    (settings.sendsHeader, settings.onDown) = (true, .keep)
    self.settings = settings
  }
}

/// What is known of a target.
package struct CheckReport: Hashable, Sendable {
  package var isUp: Bool
  /// What the last failure was; nil when the last check passed, or none has ended yet.
  package var trouble: String?

  package init(isUp: Bool, trouble: String?) {
    self.isUp = isUp
    self.trouble = trouble
  }
}

/// Checks servers, all of them on one thread, from `init` to `stop`.
package final class HealthChecks: Sendable {
  private struct Inbox {
    var wanted: Set<CheckTarget>?
    var isStopping = false
  }

  private let inbox = Guarded(Inbox())
  private let shared = Guarded<[CheckTarget: CheckReport]>([:])
  private let wake: EventCounter
  private let thread = Guarded<Thread?>(nil)

  /// - Parameters:
  ///   - onNews: some of `reports` are others than before.
  ///   - onChange: a target went up or down. Both are called on the thread of the checks, which
  ///     waits for their return.
  /// - Throws: EMFILE, EAGAIN (threads).
  package init(
    onNews: @escaping @Sendable () -> Void = {},
    onChange: @escaping @Sendable (CheckTarget, CheckReport) -> Void
  ) throws(SystemError) {
    wake = try EventCounter()
    let poller = try Poller()
    try poller.watch(wake.number, token: CheckBoard.wakeToken)
    let thread = try Thread(name: "health") { [self] in
      serve(CheckBoard(poller), onNews, onChange)
    }
    self.thread.withLock { $0 = thread }
  }

  /// Replaces what is checked. What stays keeps its state, what is new is taken for up until its
  /// first check, which comes soon.
  package func install(_ targets: Set<CheckTarget>) {
    inbox.withLock { $0.wanted = targets }
    wake.signal()
  }

  /// Of targets that were checked at least once, or installed.
  package var reports: [CheckTarget: CheckReport] { shared.withLock { $0 } }

  /// Waits for the thread; checks under way are broken off.
  package func stop() {
    inbox.withLock { $0.isStopping = true }
    wake.signal()
    thread.withLock { thread in
      thread?.join()
      thread = nil
    }
  }

  private func serve(
    _ board: consuming CheckBoard, _ onNews: () -> Void,
    _ onChange: (CheckTarget, CheckReport) -> Void
  ) {
    while true {
      let mail = inbox.withLock { inbox in
        defer { inbox.wanted = nil }
        return inbox
      }
      if mail.isStopping { return }
      if let wanted = mail.wanted {
        board.install(wanted, nowNs: Clock.monotonicNs)
        let reports = board.reports
        shared.withLock { $0 = reports }
      }
      let news = board.turn()
      for ended in news {
        shared.withLock { $0[ended.target] = ended.report }
        if ended.isChanged { onChange(ended.target, ended.report) }
      }
      if !news.isEmpty { onNews() }
      if board.hasWoken { wake.clear() }
    }
  }
}
