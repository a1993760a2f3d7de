internal import AdminAPI
internal import Config
internal import DataPlane
internal import Routing
internal import System
internal import Wire

/// Says what would become of a connection: asks the same router, the same rules and the same writer
/// of headers as the workers do, and tells what they answered.
struct Explainer {
  let snapshot: Snapshot
  /// Made of the snapshot.
  let table: RouteTable

  /// Rules that are told of; of a hundred thousand nobody reads all.
  static let rulesShown = 50
  /// Clients choose any; it makes no difference to a rule.
  private static let clientPort: UInt16 = 50_000

  init(_ snapshot: Snapshot, _ table: RouteTable) {
    self.snapshot = snapshot
    self.table = table
  }

  /// Of a file that nobody may be serving.
  init(_ snapshot: Snapshot) {
    self.init(snapshot, snapshot.routeTable(hasRing: true))
  }

  /// - Throws: `notFound` for a listener that is none, `invalid` for addresses that are none.
  func explain(_ query: ExplainQuery) throws(Failure) -> Explanation {
    if let url = query.egress {
      return try explain(query, egress: url) { name, port in
        HostLookup.addresses(of: name, port: port, snapshot.resolver, atMostMs: 5000)
      }
    }
    guard let place = snapshot.listeners.firstIndex(where: { $0.name == query.listener }) else {
      let names = snapshot.listeners.prefix(8).map(\.name).joined(separator: ", ")
      throw Failure(.notFound, "there is no listener \"\(query.listener)\"; there are \(names)")
    }
    let listener = snapshot.listeners[place]
    let client = try Explainer.address(query.from, "from")
    let local = try query.to.map { text throws(Failure) in try Explainer.address(text, "to") }
    let reached = local ?? Explainer.address(of: listener, for: client)
    let hello = hello(query, listener, table.listeners[place])
    let facts = RuleFacts(hello: hello, client: client, local: reached)
    let choice = Router.choice(facts, place, under: table)
    var explained = Explanation(
      listener: listener.name, type: listener.type.word, client: "\(client)", local: "\(reached)",
      sni: query.sni, alpn: query.alpn, timeouts: timeouts(listener, at: nil))
    explained.notes = notes(query, place, client, reached, isLocalGiven: local != nil)
    let entry = table.listeners[place]
    explained.rule = choice.rule.map { entry.rules[$0].name }
    switch choice.target {
    case .reject(let reason):
      explained.reason = reason.code
      explained.reply = reply(to: reason, entry)
      // Policies turn away before any rule is asked.
      if choice.rule == nil, reason != .noRoute { return explained }
    case .backend(let backend):
      explained.timeouts = timeouts(listener, at: backend)
      explained.backend = told(of: backend, query, hello, listener, client, reached)
      if explained.backend?.sendProxy != "none", explained.backend?.header == nil {
        explained.reason = RejectReason.proxyNoAddress.code
      }
      let parents = snapshot.backends[backend].parents.map(\.redactedURL)
      if !parents.isEmpty {
        explained.notes.append("its servers are reached through \(parents.joined(separator: ", "))")
      }
    }
    tell(of: entry, until: choice.rule, facts, query, &explained)
    return explained
  }

  // ---- what is asked -----------------------------------------------------------------------

  static func address(_ text: String, _ name: String) throws(Failure) -> SocketAddress {
    if text == "unix" { return .unix(path: "") }
    guard let address = SocketAddress(text) ?? SocketAddress(host: text, port: clientPort) else {
      throw Failure(.invalid, "\(name): \"\(text)\" is no address such as 203.0.113.7")
    }
    return address.unmapped()
  }

  /// The first address of the client's family.
  static func address(of listener: Listener, for client: SocketAddress) -> SocketAddress {
    func family(_ address: SocketAddress) -> Int {
      switch address {
      case .ipv4: 4
      case .ipv6: 6
      case .unix: 0
      }
    }
    return listener.binds.first { family($0) == family(client) } ?? listener.binds[0]
  }

  private func hello(
    _ query: ExplainQuery, _ listener: Listener, _ entry: ListenerEntry
  ) -> HelloFacts? {
    guard entry.hello != nil else { return nil }
    let protocols = entry.conditions?.offered(query.alpn) ?? 0
    guard let sni = query.sni, !sni.isEmpty else {
      return HelloFacts(.unnamed, protocols: protocols)
    }
    guard let name = HostName(sni) else { return HelloFacts(.misnamed, protocols: protocols) }
    return HelloFacts(.named, name: HelloName(name), protocols: protocols)
  }

  // ---- what comes of it --------------------------------------------------------------------

  private func tell(
    of entry: ListenerEntry, until decided: Int?, _ facts: RuleFacts, _ query: ExplainQuery,
    _ explained: inout Explanation
  ) {
    guard let conditions = entry.conditions else { return }
    let asked = 0..<(decided.map { $0 + 1 } ?? conditions.count)
    let shown = asked.suffix(Explainer.rulesShown)
    explained.omitted = asked.count - shown.count
    explained.rules = shown.map { index in
      let name = entry.rules[index].name
      guard let missing = conditions.missing(index, facts) else {
        return .init(name: name, matches: true)
      }
      let wanted = conditions.conditions[index].words(of: missing)
      let found = found(missing, facts, query)
      return .init(name: name, matches: false, why: "wants \(wanted), not \(found)")
    }
  }

  /// What a connection has of what a rule wants.
  private func found(
    _ condition: RuleCondition, _ facts: RuleFacts, _ query: ExplainQuery
  ) -> String {
    switch condition {
    case .name:
      switch facts.hello?.form {
      case .named: query.sni ?? "a name"
      case .misnamed: "\(query.sni ?? "") (no host name)"
      case .unnamed, .noHello, nil: "a client without a name"
      }
    case .alpn: query.alpn.isEmpty ? "a client without ALPN" : query.alpn.joined(separator: ",")
    case .certificate: facts.certificate?.joined(separator: ", ") ?? "a client without one"
    case .source: facts.client?.hostDescription ?? "nobody"
    case .address: facts.local?.hostDescription ?? "nothing"
    case .port: facts.local?.port.map { "\($0)" } ?? "a Unix socket"
    }
  }

  private func reply(to reason: RejectReason, _ entry: ListenerEntry) -> String? {
    if entry.hello != nil {
      return reason.alert.map { "the TLS alert \($0.name) (\($0.rawValue))" }
    }
    guard let text = entry.spoken?.reply(to: reason) else { return nil }
    let line = "\(text)"
    return String(line.prefix { !$0.isNewline })
  }

  func timeouts(_ listener: Listener, at backend: Int?) -> Explanation.Timeouts {
    let times = snapshot.timeouts(of: listener, at: backend)
    return .init(
      prefaceMs: Int(times.prefaceMs), connectMs: Int(times.connectMs),
      startTLSMs: listener.type == .startTLS ? Int(times.startTLSMs) : nil,
      idleMs: Int(times.idleMs), halfClosedMs: Int(times.halfClosedMs),
      maxAgeMs: Int(times.maxAgeMs))
  }

  private func told(
    of place: Int, _ query: ExplainQuery, _ hello: HelloFacts?, _ listener: Listener,
    _ client: SocketAddress, _ local: SocketAddress
  ) -> Explanation.Backend {
    let (backend, entry) = (snapshot.backends[place], table.backends[place])
    var told = Explanation.Backend(
      name: backend.name, balance: "\(backend.balance.rawValue)", retries: backend.retries,
      servers: backend.servers.map {
        .init(name: $0.name, weight: $0.weight, isBackup: $0.isBackup)
      }, sendProxy: "\(backend.sendProxy.rawValue)")
    guard var ids = try? UniqueIDSource(worker: 0) else { return told }
    let bytes = HeaderPreview.bytes(
      of: entry, listener: listener.name, server: backend.servers[0].name,
      id: ids.next(wallMs: Clock.wallMs), client: client, local: local,
      sni: hello?.form == .named ? Array((query.sni ?? "").utf8) : [],
      alpn: hello == nil ? [] : Array((query.alpn.first ?? "").utf8))
    guard let bytes, !bytes.isEmpty else { return told }
    told.header = hexadecimalText(bytes)
    told.fields = DecodeProxy(bytes).fields.map { field in
      let type = field.type.map { "0x\(hexadecimalText([$0])) " } ?? ""
      return .init(
        name: type + field.name, value: field.value, offset: field.offset, length: field.length)
    }
    return told
  }

  private func notes(
    _ query: ExplainQuery, _ place: Int, _ client: SocketAddress, _ local: SocketAddress,
    isLocalGiven: Bool
  ) -> [String] {
    let listener = snapshot.listeners[place]
    var notes: [String] = []
    switch listener.type {
    case .tls: break
    case .startTLS:
      notes.append("this is what becomes of a client that asks for TLS by STARTTLS")
      notes.append(withoutTLS(place, RuleFacts(client: client, local: local)))
    case .httpProxy:
      notes.append("a forward proxy: --egress tells what becomes of a request")
    case .tcp, .serverFirst:
      if listener.tls != nil {
        notes.append("the client's TLS ends here; its certificate is not known to this question")
        break
      }
      guard query.sni != nil || !query.alpn.isEmpty else { break }
      notes.append(
        "a \(listener.type.word) listener reads no ClientHello: sni and alpn say nothing")
    }
    if !isLocalGiven, local.isWildcard {
      notes.append("the address that the client reaches was not given; \(local) stands for it")
    }
    switch listener.proxyProtocol.trust.rule(for: client) {
    case .forbid: break
    case .require:
      notes.append(
        "\(client.hostDescription) is trusted: it must send a PROXY header, and the client is whom "
          + "that names; this is what becomes of one whose header names \(client.hostDescription)")
    case .accept:
      notes.append("\(client.hostDescription) may send a PROXY header, and speak for others")
    }
    return notes
  }

  /// What becomes of a client of a starttls listener that wants something else than TLS.
  private func withoutTLS(_ place: Int, _ facts: RuleFacts) -> String {
    guard snapshot.listeners[place].startTLS.plaintext == .backend else {
      return "a client that does not ask for TLS is told to (starttls.plaintext is reject)"
    }
    let choice = Router.choice(facts, place, under: table)
    let rule = choice.rule.map { " by rule \(table.listeners[place].rules[$0].name)" } ?? ""
    return switch choice.target {
    case .backend(let backend):
      "a client that does not ask for TLS goes to backend \(snapshot.backends[backend].name)\(rule)"
    case .reject(let reason):
      "a client that does not ask for TLS is turned away\(rule): \(reason.code)"
    }
  }
}

extension TLSAlert {
  /// As RFC 8446 spells it.
  fileprivate var name: String {
    switch self {
    case .internalError: "internal_error"
    case .missingExtension: "missing_extension"
    case .unrecognizedName: "unrecognized_name"
    }
  }
}
