internal import AdminAPI
internal import Config
internal import Routing
internal import Wire

/// Says what would become of a request to a forward proxy: asks the same plan as the workers do.
extension Explainer {
  /// - Parameter lookup: the addresses of a name with this port, or why there are none.
  /// - Throws: `notFound` for a listener that is none or no forward proxy, `invalid` for what is no
  ///   URL or address.
  func explain(
    _ query: ExplainQuery, egress url: String, lookup: (HostName, UInt16) -> HostLookup.Finding
  ) throws(Failure) -> Explanation {
    let place = try proxy(named: query.listener)
    let listener = snapshot.listeners[place]
    guard let plan = table.listeners[place].egress else {
      throw Failure(.notFound, "listener \"\(listener.name)\" is no forward proxy")
    }
    let client = try Explainer.address(query.from, "from")
    let reached = Explainer.address(of: listener, for: client)
    var explained = Explanation(
      listener: listener.name, type: listener.type.word, client: "\(client)", local: "\(reached)",
      sni: nil, alpn: [], timeouts: timeouts(listener, at: nil))
    var told = Explanation.Egress(name: plan.name, url: url, user: query.user)
    let parts = try Explainer.parts(of: url)
    let host: EgressHost
    do throws(EgressHostFault) {
      host = try EgressHost(parts.host)
    } catch {
      guard error == .numeric else {
        throw Failure(.invalid, "egress: \"\(parts.host)\" is neither a host name nor an address")
      }
      explained.turnedAway(.numericHost, plan.phrase(for: .numericHost))
      explained.egress = told
      return explained
    }
    let target = EgressTarget(
      host: host, port: parts.port, scheme: parts.isTunnel ? .connect : .http)
    let request = EgressRequest(
      target: target, method: parts.isTunnel ? "CONNECT" : "GET", user: query.user,
      source: client)
    decide(request, plan, lookup, &told, &explained)
    explained.egress = told
    return explained
  }

  private func decide(
    _ request: EgressRequest, _ plan: EgressPlan,
    _ lookup: (HostName, UInt16) -> HostLookup.Finding, _ told: inout Explanation.Egress,
    _ explained: inout Explanation
  ) {
    if let user = request.user, let users = plan.users, users.hash(of: user) == nil {
      explained.notes.append("there is no user \"\(user)\"")
    }
    if plan.needsUser(request) {
      return explained.turnedAway(.noCredentials, plan.phrase(for: .noCredentials))
    }
    let isDirect = plan.isDirect(request.target)
    told.isDirect = isDirect
    if plan.parents != nil {
      told.bypass = Explainer.words(plan.bypass.match(request.target), plan)
    }
    let first = plan.decide(request, isDirect: isDirect)
    var addresses: [SocketAddress] = []
    switch request.target.host {
    case .address(let address): addresses = [address.withPort(request.target.port)]
    case .name(let name):
      // Whoever is denied by the name alone is never looked up.
      guard isDirect, !first.isDenial else { break }
      switch lookup(name, request.target.port) {
      case .found(let found): addresses = found
      case .failed(let why):
        told.resolution = why
        tell(request, plan, first, nil, &told, &explained)
        return explained.turnedAway(.unresolved, plan.phrase(for: .unresolved))
      }
    }
    guard !addresses.isEmpty else {
      tell(request, plan, first, nil, &told, &explained)
      return goOn(first, request, plan, &explained)
    }
    var allowed: EgressAnswer?
    var denied: (EgressAnswer?, GuardRange?)
    for address in addresses {
      let answer = plan.decide(request, address: address, isDirect: isDirect)
      let verdict = plan.verdict(address)
      var row = Explanation.Egress.Address(address: address.hostDescription, isAllowed: false)
      if case .denied(let range) = verdict {
        row.why = "the guard: \(range)"
        if denied.1 == nil { denied.1 = range }
      } else if answer.isDenial {
        row.why = "\(plan.words(for: answer))"
        if denied.0 == nil { denied.0 = answer }
      } else {
        row.isAllowed = true
        if allowed == nil { allowed = answer }
      }
      told.addresses.append(row)
    }
    if let allowed {
      tell(request, plan, allowed, addresses.first, &told, &explained)
      return goOn(allowed, request, plan, &explained)
    }
    let answer = denied.0 ?? plan.decide(request, address: addresses[0], isDirect: isDirect)
    tell(request, plan, answer, addresses[0], &told, &explained)
    if answer.isDenial { return goOn(answer, request, plan, &explained) }
    explained.turnedAway(.guarded, plan.phrase(for: .guarded, range: denied.1))
  }

  private func goOn(
    _ answer: EgressAnswer, _ request: EgressRequest, _ plan: EgressPlan,
    _ explained: inout Explanation
  ) {
    switch answer {
    case .deny(let rule, let reason):
      explained.turnedAway(reason, plan.phrase(for: reason, rule: rule))
    case .allow, .needsAddress:
      guard let parents = plan.parents, explained.egress?.isDirect != true,
        !plan.isDirect(request.target)
      else { return }
      let backend = snapshot.backends[parents.backend]
      explained.backend = .init(
        name: backend.name, balance: backend.balance.rawValue, retries: backend.retries,
        servers: backend.servers.map {
          .init(name: $0.name, weight: $0.weight, isBackup: $0.isBackup)
        }, sendProxy: "none")
    }
  }

  private func tell(
    _ request: EgressRequest, _ plan: EgressPlan, _ answer: EgressAnswer,
    _ address: SocketAddress?, _ told: inout Explanation.Egress, _ explained: inout Explanation
  ) {
    var decided: Int?
    switch answer {
    case .allow(let rule, let isReported):
      decided = rule
      told.action = isReported ? "report" : "allow"
    case .deny(let rule, let reason):
      decided = rule
      told.action = "deny"
      // Ports are looked at before any rule.
      if reason == .connectPort || reason == .plainPort { return }
    case .needsAddress: break
    }
    explained.rule = decided.map { plan.rules[$0].name }
    let asked = 0..<(decided.map { $0 + 1 } ?? plan.rules.count)
    let shown = asked.suffix(Explainer.rulesShown)
    explained.omitted = asked.count - shown.count
    explained.rules = shown.map { place in
      let rule = plan.rules[place]
      guard let missing = plan.missing(place, request, address: address) else {
        return .init(name: rule.name, matches: true)
      }
      return .init(
        name: rule.name, matches: false, why: "wants \(rule.conditions.words(of: missing))")
    }
  }

  // ---- what is asked -----------------------------------------------------------------------

  /// - Parameter name: empty means the only forward proxy there is.
  private func proxy(named name: String) throws(Failure) -> Int {
    let proxies = snapshot.listeners.indices.filter { snapshot.listeners[$0].egress != nil }
    if name.isEmpty {
      guard let only = proxies.first else {
        throw Failure(.notFound, "no listener is a forward proxy (type: http-proxy)")
      }
      guard proxies.count == 1 else {
        let names = proxies.prefix(8).map { snapshot.listeners[$0].name }.joined(separator: ", ")
        throw Failure(.invalid, "which listener? Forward proxies are \(names)")
      }
      return only
    }
    guard let place = snapshot.listeners.firstIndex(where: { $0.name == name }) else {
      throw Failure(.notFound, "there is no listener \"\(name)\"")
    }
    return place
  }

  private static func parts(
    of url: String
  ) throws(Failure) -> (host: String, port: UInt16, isTunnel: Bool) {
    let takes = "egress: \"\(url)\" is no URL such as https://www.example:443"
    let schemes: [(String, UInt16, Bool)] = [("https://", 443, true), ("http://", 80, false)]
    guard let scheme = schemes.first(where: { url.lowercased().hasPrefix($0.0) }) else {
      throw Failure(.invalid, takes)
    }
    let rest = url.dropFirst(scheme.0.utf8.count)
    let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    guard !authority.isEmpty, !authority.contains("@") else { throw Failure(.invalid, takes) }
    let last = authority.lastIndex(of: ":")
    guard let colon = last, !authority[colon...].contains("]") else {
      return (String(authority), scheme.1, scheme.2)
    }
    let digits = authority[authority.index(after: colon)...]
    if digits.isEmpty { return (String(authority[..<colon]), scheme.1, scheme.2) }
    guard let port = UInt16(digits), port > 0 else { throw Failure(.invalid, takes) }
    return (String(authority[..<colon]), port, scheme.2)
  }

  private static func words(_ match: BypassList.Match?, _ plan: EgressPlan) -> String? {
    switch match {
    case .entry(let place): plan.bypass.entries[place].text
    case .localhost: "localhost (always)"
    case .loopback: "loopback (always)"
    case nil: nil
    }
  }
}

extension Explanation {
  fileprivate mutating func turnedAway(_ reason: EgressReason, _ phrase: String) {
    self.reason = reason.rawValue
    let isUnknown = reason == .noCredentials || reason == .badCredentials
    reply = "\(isUnknown ? 407 : reason == .unresolved ? 502 : 403) \(phrase)"
  }
}

extension EgressAnswer {
  fileprivate var isDenial: Bool { if case .deny = self { true } else { false } }
}

extension EgressPlan {
  fileprivate func words(for answer: EgressAnswer) -> String {
    guard case .deny(let rule, let reason) = answer else { return "" }
    return rule.map { "rule \(rules[$0].name)" } ?? reason.rawValue
  }
}
