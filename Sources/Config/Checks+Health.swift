import Routing

/// How the servers of a backend are checked: what fits together, and what a check without a type
/// is.
extension Checks {
  mutating func checkHealth(of backend: BackendDraft) {
    guard let draft = backend.check else { return }
    guard let type = checkType(of: backend) else {
      let spoken = spokenTypes(to: backend).map(\.word).sorted()
      let why = spoken.isEmpty ? "" : ", since its listeners speak \(Scalar.alternatives(spoken))"
      diagnostics.error(
        draft.position, "a check needs type here\(why); it takes \(CheckKey.type.takes)")
      return
    }
    let http = [draft.path?.position, draft.host?.position, draft.statuses?.position]
    if type != .http, let place = http.compactMap({ $0 }).first {
      diagnostics.error(place, "only a check of type http has path, host and status")
    }
    if type != .exchange, let place = draft.send?.position ?? draft.expect?.position {
      diagnostics.error(place, "only a check of type send-expect has send and expect")
    }
    if type == .exchange, !draft.hasExpect {
      diagnostics.error(
        draft.position,
        "a check of type send-expect needs expect; it takes \(CheckKey.expect.takes)")
    }
  }

  /// Nil without a check, and for one that has no type, which is an error.
  func checkSettings(of backend: BackendDraft) -> CheckSettings? {
    guard let draft = backend.check, let type = checkType(of: backend) else { return nil }
    var settings = draft.settings
    switch type {
    case .connect: settings.kind = .connect
    case .tls: settings.kind = .tls
    case .smtp: settings.kind = .smtp
    case .imap: settings.kind = .imap
    case .pop3: settings.kind = .pop3
    case .sieve: settings.kind = .sieve
    case .http:
      settings.kind = .http(
        path: draft.path?.value ?? "/", host: draft.host?.value,
        statuses: draft.statuses?.value ?? [200...399])
    case .exchange:
      settings.kind = .exchange(send: draft.send?.value ?? [], expect: draft.expect?.value ?? [])
    }
    return settings
  }

  /// As written; otherwise what the listeners of the backend speak, when they are of one mind.
  private func checkType(of backend: BackendDraft) -> CheckType? {
    if let type = backend.check?.type?.value { return type }
    let spoken = spokenTypes(to: backend)
    return spoken.count == 1 ? spoken.first : nil
  }

  private func spokenTypes(to backend: BackendDraft) -> Set<CheckType> {
    let index = backends.firstIndex { $0.name == backend.name }
    return Set(
      (index.map { users[$0] } ?? []).map { listeners[$0] }.compactMap { listener in
        if listener.type == .tls { return .tls }
        switch listener.spoken {
        case .smtp: return .smtp
        case .imap: return .imap
        case .pop3: return .pop3
        case .sieve: return .sieve
        case nil: return nil
        }
      })
  }
}
