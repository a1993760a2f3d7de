package import Routing
import Wire

extension Snapshot {
  /// What would run, for a person to read: several lines, each ended by a newline. Every default
  /// is written out, and each listener stands with all that its connections will meet.
  package var plan: String {
    var lines = [
      "workers          \(workers.plan)",
      "events           \(events.plan)",
      "latency          \(latency.word)",
      "connections      at most \(limits.maxConnections)",
      "each source      \(Plan.limit(limits.perSource))",
      "admin            \(admin?.plan ?? "off")",
      "metrics          \(metrics?.plan ?? "off")",
      "connection log   \(log.plan)",
      "log level        \(log.level)",
      "state            \(stateDirectory)",
      "drain            \(Scalar.text(ofDurationMs: drainMs, zero: "at once"))",
    ]
    let exceptions = limits.exceptions.map { exception in
      let name = exception.network.description
      let blanks = String(repeating: " ", count: max(2, 15 - name.utf8.count))
      return "  \(name)\(blanks)\(Plan.limit(exception.limit))"
    }
    lines.insert(contentsOf: exceptions, at: 5)
    for listener in listeners { lines += plan(of: listener) }
    return lines.map { $0 + "\n" }.joined()
  }

  private func plan(of listener: Listener) -> [String] {
    let timeouts = timeouts(of: listener)
    var lines = [
      "",
      "listener \(listener.name)",
      "  bind           \(listener.binds.map(\.description).joined(separator: ", "))",
      "  type           \(listener.type.word)",
    ]
    lines += helloPlan(of: listener)
    if let tls = listener.tls { lines += tls.plan }
    lines += [
      "  backlog        \(listener.backlog)",
    ]
    if let spoken = listener.spoken { lines.append("  protocol       \(spoken)") }
    if listener.maxConnections > 0 {
      lines.append("  connections    at most \(listener.maxConnections)")
    }
    if let queue = listener.queue {
      let time = Scalar.text(ofDurationMs: queue.timeoutMs)
      lines.append("  queue          at most \(queue.length), for \(time)")
    }
    if listener.bandwidth > 0 {
      let rate = Scalar.text(ofSize: Int(listener.bandwidth))
      lines.append("  bandwidth      \(rate) a second and direction")
    }
    if listener.connectionBandwidth > 0 {
      let rate = Scalar.text(ofSize: Int(listener.connectionBandwidth))
      lines.append("    of each      \(rate) a second and direction")
    }
    if let congestion = listener.congestion { lines.append("  congestion     \(congestion)") }
    if listener.type != .httpProxy {
      lines += plan(of: listener.proxyProtocol, withinMs: timeouts.proxyHeaderMs)
    }
    lines += plan(ofRules: listener)
    if let egress = egress(of: listener) {
      lines += plan(of: egress)
    } else if let own = listener.backend {
      lines += plan(of: backends[own])
    } else {
      lines.append("  backend        none; whom no rule takes is turned away")
    }
    lines += [
      "  preface        \(Scalar.text(ofDurationMs: timeouts.prefaceMs))",
      "  connect        \(Scalar.text(ofDurationMs: timeouts.connectMs))",
    ]
    if listener.type == .startTLS {
      lines.append("  starttls       \(Scalar.text(ofDurationMs: timeouts.startTLSMs))")
    }
    lines += [
      "  idle           \(Scalar.text(ofDurationMs: timeouts.idleMs))",
      "  half-closed    \(Scalar.text(ofDurationMs: timeouts.halfClosedMs))",
      "  max-age        \(Scalar.text(ofDurationMs: timeouts.maxAgeMs))",
    ]
    // What rules alone lead to stands below, without what is the listener's.
    for other in backends(of: listener) where other != listener.backend {
      lines += plan(of: backends[other]) + overrides(of: backends[other])
    }
    return lines
  }

  private static let rulesShown = 20

  private func plan(ofRules listener: Listener) -> [String] {
    guard !listener.rules.isEmpty else { return [] }
    var lines = ["  rules          \(listener.rules.count), the first that takes a client decides"]
    for rule in listener.rules.prefix(Snapshot.rulesShown) {
      let conditions = rule.conditions.words
      let takes = conditions.isEmpty ? "everybody" : conditions.joined(separator: ", ")
      lines.append("    \(rule.name): \(takes) -> \(words(for: rule.action))")
    }
    let more = listener.rules.count - Snapshot.rulesShown
    if more > 0 { lines.append("    and \(more) more") }
    return lines
  }

  /// What a backend has in place of its listener's deadlines.
  private func overrides(of backend: Backend) -> [String] {
    let times = backend.timeouts
    let all: [(String, UInt32?)] = [
      ("connect     ", times.connectMs), ("starttls    ", times.startTLSMs),
      ("idle        ", times.idleMs),
      ("half-closed ", times.halfClosedMs), ("max-age     ", times.maxAgeMs),
    ]
    return all.compactMap { name, value in
      value.map { "    \(name) \(Scalar.text(ofDurationMs: $0))" }
    }
  }

  private func plan(of backend: Backend) -> [String] {
    let tries = backend.retries == 1 ? "1 retry" : "\(backend.retries) retries"
    var lines = [
      "  backend        \(backend.name) (\(backend.balance.word), \(tries))",
      "    servers      \(backend.servers.map(Plan.server).joined(separator: ", "))",
    ]
    if backend.retries > 0, backend.retryPercent != Backend.defaultRetryPercent {
      lines.append("    retry budget \(backend.retryPercent)% of connections")
    }
    if backend.slowStartMs > 0 {
      lines.append("    slow start   \(Scalar.text(ofDurationMs: backend.slowStartMs))")
    }
    if backend.maxConnections > 0 {
      lines.append("    connections  at most \(backend.maxConnections)")
    }
    lines += headerPlan(of: backend)
    if let tls = backend.tls { lines += tls.plan }
    if !backend.parents.isEmpty {
      let urls = backend.parents.map(\.redactedURL).joined(separator: ", ")
      lines.append("    parents      \(urls)")
    }
    if let check = backend.check {
      let every = Scalar.text(ofDurationMs: check.intervalMs)
      lines.append("    check        \(check.kind.type.rawValue), every \(every)")
    }
    lines.append("    splice       \(backend.splice)")
    if let source = backend.source { lines.append("    source       \(source.hostDescription)") }
    if let congestion = backend.congestion { lines.append("    congestion   \(congestion)") }
    return lines
  }
}

extension RuleConditions {
  /// `sni mail.example.com`, one for each list; of long ones the beginning.
  package var words: [String] {
    let lists: [(RuleKey, [String])] = [
      (.sni, names.prefix(RuleConditions.shown).map(\.description)),
      (.alpn, protocols.prefix(RuleConditions.shown).map { $0 }),
      (.clientCertificate, certificates.prefix(RuleConditions.shown).map(\.description)),
      (.from, sources.prefix(RuleConditions.shown).map(\.description)),
      (.toAddress, addresses.prefix(RuleConditions.shown).map(\.description)),
      (.toPort, ports.prefix(RuleConditions.shown).map { "\($0)" }),
    ]
    let counts = [
      names.count, protocols.count, certificates.count, sources.count, addresses.count,
      ports.count,
    ]
    return zip(lists, counts).compactMap { list, count in
      guard count > 0 else { return nil }
      let more = count > RuleConditions.shown ? " and \(count - RuleConditions.shown) more" : ""
      return "\(list.0.rawValue) \(list.1.joined(separator: " | "))\(more)"
    }
  }

  private static let shown = 4

  /// One of the lists, in the same words.
  package func words(of condition: RuleCondition) -> String {
    let list =
      switch condition {
      case .name: RuleConditions(names: names)
      case .alpn: RuleConditions(protocols: protocols)
      case .certificate: RuleConditions(certificates: certificates)
      case .source: RuleConditions(sources: sources)
      case .address: RuleConditions(addresses: addresses)
      case .port: RuleConditions(ports: ports)
      }
    return list.words.first ?? ""
  }
}

extension Snapshot {
  private func helloPlan(of listener: Listener) -> [String] {
    let withoutName = "    no-sni       \(listener.hello.withoutName)"
    switch listener.type {
    case .tcp, .serverFirst, .httpProxy: return listener.tls == nil ? [] : [withoutName]
    case .tls: return [withoutName, "    not-tls      \(listener.hello.notTLS)"]
    case .startTLS:
      let settings = listener.startTLS
      let capabilities = ["STARTTLS"] + settings.capabilities
      return [
        withoutName, "    plaintext    \(settings.plaintext)",
        "    name         \(settings.name?.text ?? "the machine's")",
        "    announces    \(capabilities.joined(separator: ", "))",
      ]
    }
  }

  /// The effective trust table, the widest networks first, each with where it comes from.
  private func plan(of receiving: ProxyReceiving, withinMs headerMs: UInt32) -> [String] {
    let unknown = receiving.acceptsUnknown ? "accepted" : "rejected"
    let terms =
      "within \(Scalar.text(ofDurationMs: headerMs)), at most \(receiving.headerLimit) bytes, "
      + "UNKNOWN \(unknown)"
    let takesAny = receiving.sources.contains { $0.rule != .forbid }
    let isOff = receiving.isOff ? "off" : "nobody is trusted"
    var lines = ["  proxy-protocol \(takesAny ? terms : isOff)"]
    let origins = Dictionary(
      receiving.sources.map { ($0.network, $0.origin) }, uniquingKeysWith: { first, _ in first })
    let everyone = (source: "everyone else", rule: "forbid")
    let rows = receiving.trust.entries.map { entry in
      let origin = origins[entry.network].map { " (\($0))" } ?? ""
      return (source: entry.network.description, rule: "\(entry.rule)\(origin)")
    }
    let width = (rows + [everyone]).map(\.source.utf8.count).max() ?? 0
    for row in rows + [rows.isEmpty ? (source: "everyone", rule: "forbid") : everyone] {
      let blanks = String(repeating: " ", count: width - row.source.utf8.count)
      lines.append("    \(row.source)\(blanks)  \(row.rule)")
    }
    return lines
  }

  /// The PROXY header that each server gets.
  private func headerPlan(of backend: Backend) -> [String] {
    switch backend.sendProxy {
    case .none:
      let clients = backend.passesClientHeader ? "passed on" : "refused"
      return ["    send-proxy   none (a client's own header is \(clients))"]
    case .v1: return ["    send-proxy   v1"]
    case .v2: break
    }
    let tlvs = backend.tlvs
    let names = tlvs.names
    var lines = ["    send-proxy   v2, at most \(tlvs.limit) bytes"]
    if tlvs.alignment > 1 { lines[0] += ", in multiples of \(tlvs.alignment)" }
    if !names.isEmpty { lines.append("      tlvs       \(names.joined(separator: ", "))") }
    if !tlvs.relay.isEmpty {
      let relayed = tlvs.relay.map { Scalar.relayedText($0) }.joined(separator: ", ")
      lines.append("      relayed    \(relayed)")
    }
    return lines
  }
}

private enum Plan {
  static func names(_ members: [AdminSettings.Account]) -> String {
    members.isEmpty ? "nobody else" : members.map(\.description).joined(separator: ", ")
  }

  /// `10.0.0.1:25`, and what is not as for every server.
  static func server(_ server: Server) -> String {
    var notes: [String] = []
    if server.weight != Server.defaultWeight { notes.append("weight \(server.weight)") }
    if server.isBackup { notes.append("backup") }
    if server.maxConnections > 0 { notes.append("at most \(server.maxConnections)") }
    let note = notes.isEmpty ? "" : " (\(notes.joined(separator: ", ")))"
    return "\(server.target)\(note)"
  }

  static func limit(_ limit: SourceLimit) -> String {
    switch (limit.atOnce, limit.perSecond) {
    case (0, 0): "no limit"
    case (let atOnce, 0): "at most \(atOnce)"
    case (0, let perSecond): "at most \(perSecond) new ones a second"
    case (let atOnce, let perSecond): "at most \(atOnce), and \(perSecond) new ones a second"
    }
  }
}

extension TLVPlan {
  /// What is made here, in the order of the documentation.
  fileprivate var names: [String] {
    var names: [String] = []
    if uniqueID { names.append("unique-id") }
    if checksum { names.append("crc32c") }
    if authority { names.append("authority") }
    if alpn { names.append("alpn") }
    if ssl { names.append("ssl") }
    if clientCertificate { names.append("client-certificate") }
    if let networkNamespace { names.append("netns \(networkNamespace)") }
    return names
      + custom.map { "\(Scalar.hexadecimal($0.type)) \"\(Scalar.text(of: $0.value))\"" }
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

extension AdminSettings {
  fileprivate var plan: String {
    let owner = group.map { ", group \($0)" } ?? ""
    let digits = String(mode, radix: 8)
    let padded = String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits
    return "\(socket) (mode \(padded)\(owner)); \(Plan.names(operate)) may operate, "
      + "\(Plan.names(view)) may view"
  }
}

extension MetricsSettings {
  fileprivate var plan: String {
    let addresses = binds.map(\.description).joined(separator: ", ")
    guard hasPage else { return "\(addresses), without the page" }
    let clients = topClients == 0 ? "no clients" : "the \(topClients) busiest clients"
    let names = hosts.isEmpty ? "" : ", asked as \(hosts.map(\.text).joined(separator: ", "))"
    return "\(addresses), with the page (\(clients))\(names)"
  }
}

extension LogSettings {
  fileprivate var plan: String {
    let some = fields == LogField.allCases ? "" : ", \(fields.count) fields"
    switch connections {
    case .stdout: return "stdout (\(format)\(some))"
    case .journal: return "journal" + (some.isEmpty ? "" : " (\(fields.count) fields)")
    case .off: return "off"
    case .file(let path): return "\(path) (\(format)\(some))"
    }
  }
}
