import Wire

extension Snapshot {
  /// What would run, for a person to read: several lines, each ended by a newline. Every default
  /// is written out, and each listener stands with all that its connections will meet.
  package var plan: String {
    var lines = [
      "workers          \(workers.plan)",
      "events           \(events.plan)",
      "connections      at most \(limits.maxConnections)",
      "connection log   \(log.connections.plan)",
      "log level        \(log.level)",
      "drain            \(Plan.duration(drainMs, zero: "at once"))",
    ]
    for listener in listeners { lines += plan(of: listener) }
    return lines.map { $0 + "\n" }.joined()
  }

  private func plan(of listener: Listener) -> [String] {
    let backend = backends[listener.backend]
    let timeouts = timeouts(of: listener)
    let tries = backend.retries == 1 ? "1 retry" : "\(backend.retries) retries"
    var lines = [
      "",
      "listener \(listener.name)",
      "  bind           \(listener.binds.map(\.description).joined(separator: ", "))",
      "  type           \(listener.type.plan)",
      "  backlog        \(listener.backlog)",
    ]
    if let congestion = listener.congestion { lines.append("  congestion     \(congestion)") }
    lines += [
      "  backend        \(backend.name) (\(backend.balance.plan), \(tries))",
      "    servers      \(backend.servers.map(\.address.description).joined(separator: ", "))",
      "    send-proxy   \(backend.sendProxy)",
      "    splice       \(backend.splice)",
    ]
    if let source = backend.source { lines.append("    source       \(source.hostDescription)") }
    if let congestion = backend.congestion { lines.append("    congestion   \(congestion)") }
    lines += [
      "  preface        \(Plan.duration(timeouts.prefaceMs))",
      "  connect        \(Plan.duration(timeouts.connectMs))",
      "  idle           \(Plan.duration(timeouts.idleMs))",
      "  half-closed    \(Plan.duration(timeouts.halfClosedMs))",
      "  max-age        \(Plan.duration(timeouts.maxAgeMs))",
    ]
    return lines
  }
}

private enum Plan {
  /// In the largest unit that leaves no remainder; `zero` stands for 0.
  static func duration(_ milliseconds: UInt32, zero: String = "off") -> String {
    guard milliseconds > 0 else { return zero }
    let units: [(String, UInt32)] = [
      ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000),
    ]
    for (unit, factor) in units where milliseconds.isMultiple(of: factor) {
      return "\(milliseconds / factor)\(unit)"
    }
    return "\(milliseconds)ms"
  }
}

extension WorkerCount {
  fileprivate var plan: String {
    switch self {
    case .auto: "auto (one for each usable core)"
    case .count(let count): "\(count)"
    }
  }
}

extension EventsChoice {
  fileprivate var plan: String {
    switch self {
    case .auto: "auto (io_uring, or epoll where it is denied)"
    case .ring: "ring (io_uring)"
    case .epoll: "epoll"
    }
  }
}

extension LogTarget {
  fileprivate var plan: String {
    switch self {
    case .stdout: "stdout"
    case .off: "off"
    case .file(let path): path
    }
  }
}

extension ListenerType {
  fileprivate var plan: String {
    switch self {
    case .tcp: "tcp"
    case .serverFirst: "server-first"
    }
  }
}

extension Balance {
  fileprivate var plan: String {
    switch self {
    case .roundRobin: "round-robin"
    }
  }
}
