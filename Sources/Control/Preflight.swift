package import Config
package import DataPlane
package import System
package import Wire

/// Looks before the start at what the system allows, so that what is missing becomes one sentence
/// that says what to do, and not an errno in the middle of the start.
package struct Preflight: Sendable, Equatable {
  /// Sentences; any of these and the server does not start.
  package var errors: [String] = []
  /// Sentences about a server that starts with less than was asked for.
  package var warnings: [String] = []
  /// Sentences about what is done here in one of several ways.
  package var notes: [String] = []
  /// How many connections at once the descriptors suffice for; at most what was asked for.
  package var connections: Int
  /// How many descriptors connections and their pipes may take, together.
  package var descriptorsForConnections = 0

  /// What the system said; `facts(for:)` asks it.
  package struct Facts: Sendable {
    /// How many there may be, and how many there are: standard streams, and what whoever
    /// started us left open.
    package var descriptors: UInt64
    package var descriptorsOpen: Int
    package var workers: Int
    package var hasBindService: Bool
    package var firstUnprivilegedPort: UInt16
    /// Why io_uring cannot be used here; nil when it can.
    package var ringDenied: SystemError.Code?
    package var ringDisabledSetting: Int?
    /// The congestion controls that were asked for and cannot be used, with the reason.
    package var congestionDenied: [String: SystemError.Code]
    /// Nil where nothing speaks TLS.
    package var kernelTLS: KernelTLS?

    package init(
      descriptors: UInt64, descriptorsOpen: Int = 3, workers: Int, hasBindService: Bool = true,
      firstUnprivilegedPort: UInt16 = 1024, ringDenied: SystemError.Code? = nil,
      ringDisabledSetting: Int? = nil, congestionDenied: [String: SystemError.Code] = [:],
      kernelTLS: KernelTLS? = nil
    ) {
      self.descriptors = descriptors
      self.descriptorsOpen = descriptorsOpen
      self.workers = workers
      self.hasBindService = hasBindService
      self.firstUnprivilegedPort = firstUnprivilegedPort
      self.ringDenied = ringDenied
      self.ringDisabledSetting = ringDisabledSetting
      self.congestionDenied = congestionDenied
      self.kernelTLS = kernelTLS
    }
  }

  /// What of the system a start of this snapshot depends on. The hard limit of descriptors counts,
  /// because the start raises the soft one to it.
  package static func facts(for snapshot: Snapshot) -> Facts {
    var denied: [String: SystemError.Code] = [:]
    let controls = snapshot.listeners.map(\.congestion) + snapshot.backends.map(\.congestion)
    for case let name? in controls { denied[name] = Sockets.congestionDenied(name) }
    let speaksTLS =
      snapshot.listeners.contains { $0.tls != nil } || snapshot.backends.contains { $0.tls != nil }
    return Facts(
      descriptors: (try? DescriptorLimit.current())?.hard ?? 0,
      descriptorsOpen: (try? DescriptorLimit.open()) ?? 3, workers: snapshot.workerCount(),
      hasBindService: Privileges.hasBindService,
      firstUnprivilegedPort: Privileges.firstUnprivilegedPort,
      ringDenied: snapshot.events == .epoll ? nil : RingProbe.denied(),
      ringDisabledSetting: Privileges.ringDisabledSetting, congestionDenied: denied,
      kernelTLS: speaksTLS ? KernelTLS.look() : nil)
  }

  /// Descriptors that stay free for reload, logs and administration when connections have taken
  /// all others: administration must work exactly then.
  package static let keptBack = 64

  package init(
    _ snapshot: Snapshot, _ facts: Facts, obstacle: (SocketAddress) -> BindObstacle?
  ) {
    connections = snapshot.limits.maxConnections
    lookAtRing(snapshot.events, facts)
    lookAtDescriptors(snapshot, facts)
    if let found = facts.kernelTLS { notes.append(Preflight.sentence(about: found)) }
    for listener in snapshot.listeners {
      lookAtCongestion(listener.congestion, of: "listener \(listener.name)", facts)
    }
    for backend in snapshot.backends {
      lookAtCongestion(backend.congestion, of: "backend \(backend.name)", facts)
    }
    for listener in snapshot.listeners {
      for address in listener.binds {
        guard let obstacle = obstacle(address) else { continue }
        if obstacle == .familyAbsent, Preflight.isOneOfTwo(address, of: listener) { continue }
        errors.append(
          "listener \(listener.name): "
            + Preflight.sentence(about: obstacle, at: address, facts))
      }
    }
  }

  private static func sentence(about found: KernelTLS) -> String {
    switch found {
    case .used:
      "TLS: what is relayed in bulk is sealed by the kernel"
    case .notBuilt:
      "TLS: all is sealed by OpenSSL, which was built without the kernel's TLS"
    case .absent:
      "TLS: all is sealed by OpenSSL; this kernel has no TLS, `modprobe tls` may add it"
    }
  }

  private mutating func lookAtCongestion(_ name: String?, of owner: String, _ facts: Facts) {
    guard let name, let denied = facts.congestionDenied[name] else { return }
    let why =
      denied == .notPermitted
      ? "may be used by privileged users only; add it to the sysctl "
        + "net.ipv4.tcp_allowed_congestion_control"
      : "is not known to this kernel; /proc/sys/net/ipv4/tcp_available_congestion_control lists "
        + "those that are, `modprobe tcp_\(name)` may add it"
    errors.append("\(owner): the congestion control \"\(name)\" \(why)")
  }

  // ---- io_uring ----------------------------------------------------------------------------

  private mutating func lookAtRing(_ events: EventsChoice, _ facts: Facts) {
    guard let denied = facts.ringDenied else { return }
    let cause = Preflight.ringCause(denied, setting: facts.ringDisabledSetting)
    switch events {
    case .ring:
      errors.append(
        "`events: ring` needs io_uring, but \(cause); allow it, or say `events: auto` or "
          + "`events: epoll`")
    case .auto:
      warnings.append("\(cause), so events come from epoll")
    case .epoll:
      break
    }
  }

  private static func ringCause(_ denied: SystemError.Code, setting: Int?) -> String {
    if let setting, setting > 0 {
      return "io_uring is switched off here (sysctl kernel.io_uring_disabled is \(setting))"
    }
    switch denied {
    case .notPermitted, .accessDenied:
      return "io_uring is denied to this process (a seccomp profile, as containers have)"
    case .notImplemented:
      return "this kernel has no io_uring"
    default:
      return "io_uring does not work here (\(denied))"
    }
  }

  // ---- descriptors -------------------------------------------------------------------------

  private mutating func lookAtDescriptors(_ snapshot: Snapshot, _ facts: Facts) {
    let wanted = snapshot.limits.maxConnections
    let sockets = snapshot.listeners.reduce(0) { $0 + $1.binds.count }
    // Signals, the log and what opens for a moment; for each worker its events, its wake, one to
    // spare, and its sockets.
    let base = facts.descriptorsOpen + 6 + facts.workers * (3 + sockets)
    let have = Int(clamping: facts.descriptors)
    descriptorsForConnections = max(0, have - base - Preflight.keptBack)
    let needed = base + Preflight.keptBack + 2 * wanted
    guard have < needed else { return }
    connections = descriptorsForConnections / 2
    let advice = "raise it (`ulimit -Hn`, or LimitNOFILE= in a systemd unit) to \(needed)"
    if connections < 1 {
      errors.append(
        "the limit of \(have) open file descriptors leaves none for connections; \(advice)")
    } else {
      warnings.append(
        "the limit of \(have) open file descriptors is enough for \(connections) connections at "
          + "once, not for the \(wanted) of limits.max-connections; \(advice)")
    }
  }

  // ---- addresses ---------------------------------------------------------------------------

  /// `":25"` means both families; a machine without IPv6 serves the other.
  private static func isOneOfTwo(_ address: SocketAddress, of listener: Listener) -> Bool {
    guard case .ipv6 = address, address.isWildcard else { return false }
    return listener.binds.contains { other in
      if case .ipv4 = other { return other.isWildcard && other.port == address.port }
      return false
    }
  }

  private static func sentence(
    about obstacle: BindObstacle, at address: SocketAddress, _ facts: Facts
  ) -> String {
    switch obstacle {
    case .inUse:
      return "\(address) is in use by another process"
    case .accessDenied:
      guard let port = address.port, port < facts.firstUnprivilegedPort, !facts.hasBindService
      else { return "\(address) may not be bound by this user" }
      return "\(address) needs the right to bind ports below \(facts.firstUnprivilegedPort): "
        + "start as root, or give CAP_NET_BIND_SERVICE (`setcap cap_net_bind_service=+ep` on the "
        + "program, or AmbientCapabilities= in a systemd unit)"
    case .notLocal:
      return "\(address) is not an address of this machine"
    case .familyAbsent:
      return "\(address): this machine has no such address family"
    case .other(let code):
      return "\(address) cannot be bound: \(code)"
    }
  }
}
