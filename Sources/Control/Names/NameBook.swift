package import Config
package import Wire

/// What is known of server names: their last good answers, and when each is asked for again. Pure:
/// times and findings come in, questions and servers go out.
///
/// Good answers hold for their time to live, within a floor and a ceiling. Where nothing good
/// comes, the last good answer stays, however long: a name server that is down, or that denies a
/// name for a minute, takes no server away.
package struct NameBook: Sendable {
  package struct Question: Hashable, Sendable {
    package let name: HostName
    package let kind: DNSReply.Kind

    package init(name: HostName, kind: DNSReply.Kind) {
      self.name = name
      self.kind = kind
    }
  }

  /// How one question ended.
  package enum Finding: Hashable, Sendable {
    case found([DNSReply.Value], ttlMs: UInt64)
    /// The name exists, without records of this kind.
    case absent
    /// Why nothing is known: "no such name".
    case failed(String)
  }

  /// What an operator should hear of.
  package enum Note: Hashable, Sendable {
    /// It stopped resolving, or never did; so many addresses are kept.
    case lost(HostName, reason: String, kept: Int)
    /// It resolves (again), to these.
    case found(HostName, [String])
    case changed(HostName, added: [String], removed: [String])
  }

  /// More addresses than any service of ours has servers; what is beyond them is not used.
  package static let valuesLimit = 64
  /// Failures are repeated at the floor first, then ever more slowly, to this.
  package static let slowestRepeatMs: UInt64 = 30_000

  private struct Entry: Sendable {
    let kinds: [DNSReply.Kind]
    /// The last good answers, in an order of their own, so that a shuffled reply is no change.
    var values: [DNSReply.Kind: [DNSReply.Value]] = [:]
    var waiting: Set<DNSReply.Kind> = []
    var round: [DNSReply.Kind: Finding] = [:]
    var nextNs: UInt64
    var askedNs: UInt64?
    var failures: UInt64 = 0
    var isLost = false
    /// Whether a round was finished.
    var isSettled = false
    /// What it resolved to when that was last told.
    var told: [String] = []

    var all: [DNSReply.Value] { kinds.flatMap { values[$0] ?? [] } }
  }

  private let minTTLMs: UInt64
  private let maxTTLMs: UInt64
  private var targets: Set<ServerTarget> = []
  private var hosts: [HostName: Entry] = [:]
  private var services: [HostName: Entry] = [:]

  package init(minTTLMs: UInt32, maxTTLMs: UInt32) {
    self.minTTLMs = UInt64(minTTLMs)
    self.maxTTLMs = UInt64(max(minTTLMs, maxTTLMs))
  }

  /// From now on these are wanted, and no others.
  package mutating func want(_ targets: Set<ServerTarget>, nowNs: UInt64) {
    self.targets = targets
    keepWanted(nowNs)
  }

  /// What is to be asked now. Each is followed by one `take`.
  package mutating func due(nowNs: UInt64) -> [Question] {
    NameBook.due(&hosts, nowNs) + NameBook.due(&services, nowNs)
  }

  /// When `due` has something next; nil while everything is being asked, or there are no names.
  package var nextNs: UInt64? {
    (Array(hosts.values) + Array(services.values)).filter(\.waiting.isEmpty).map(\.nextNs).min()
  }

  /// Somebody could not be reached under this name's addresses: it is asked for again as soon as
  /// the floor allows.
  package mutating func hurry(_ target: ServerTarget, nowNs: UInt64) {
    switch target {
    case .address: return
    case .host(let name, _): hurry(name, in: \.hosts, nowNs)
    case .service(let name):
      hurry(name, in: \.services, nowNs)
      for host in hostNames(ofService: name) { hurry(host, in: \.hosts, nowNs) }
    }
  }

  /// Questions under way came to nothing, and are due again.
  package mutating func forgetQuestions(nowNs: UInt64) {
    for path in [\NameBook.hosts, \NameBook.services] {
      for name in self[keyPath: path].keys
      where self[keyPath: path][name]?.waiting.isEmpty == false {
        self[keyPath: path][name]?.waiting = []
        self[keyPath: path][name]?.nextNs = nowNs
      }
    }
  }

  package mutating func take(
    _ finding: Finding, for question: Question, nowNs: UInt64
  ) -> [Note] {
    switch question.kind {
    case .ipv4, .ipv6:
      guard var entry = hosts[question.name] else { return [] }
      let notes = take(finding, question, &entry, nowNs)
      hosts[question.name] = entry
      return notes
    case .service:
      guard var entry = services[question.name] else { return [] }
      let notes = take(finding, question, &entry, nowNs)
      services[question.name] = entry
      keepWanted(nowNs)
      return notes
    }
  }

  /// Whether every name of the target was asked for once, whatever came of it.
  package func isSettled(_ target: ServerTarget) -> Bool {
    switch target {
    case .address: true
    case .host(let name, _): hosts[name]?.isSettled ?? false
    case .service(let name):
      (services[name]?.isSettled ?? false)
        && hostNames(ofService: name).allSatisfy { hosts[$0]?.isSettled ?? false }
    }
  }

  // ---- servers -----------------------------------------------------------------------------

  /// The servers that a target stands for now, each address once; empty while none is known.
  ///
  /// Families alternate, IPv6 first (RFC 8305 section 4), so that after a dial that failed the
  /// next is to the other family.
  ///
  /// - Parameter isUsable: whether this machine has a way to an address. What it has no way to is
  ///   left out, unless nothing else is there.
  package func servers(
    of target: ServerTarget, where isUsable: (SocketAddress) -> Bool = { _ in true }
  ) -> [ResolvedServer] {
    switch target {
    case .address(let address): return [ResolvedServer(address: address)]
    case .host(let name, let port):
      return addresses(of: name, port, isUsable).map { ResolvedServer(address: $0) }
    case .service(let name): return servers(ofService: name, isUsable)
    }
  }

  private func addresses(
    of name: HostName, _ port: UInt16, _ isUsable: (SocketAddress) -> Bool
  ) -> [SocketAddress] {
    guard let entry = hosts[name] else { return [] }
    let all = entry.all.compactMap { SocketAddress($0, port: port) }
    let usable = all.filter(isUsable)
    let chosen = usable.isEmpty ? all : usable
    let six = chosen.filter { if case .ipv6 = $0 { true } else { false } }
    let four = chosen.filter { if case .ipv6 = $0 { false } else { true } }
    var mixed: [SocketAddress] = []
    for index in 0..<max(six.count, four.count) {
      if index < six.count { mixed.append(six[index]) }
      if index < four.count { mixed.append(four[index]) }
    }
    return mixed
  }

  /// RFC 2782: "A client MUST attempt to contact the target host with the lowest-numbered priority
  /// it can reach", so those of every other priority are backups. Weights become shares of 256, and
  /// one of 0, which is to be chosen very seldom, becomes the smallest. A target's addresses share
  /// its weight.
  private func servers(
    ofService name: HostName, _ isUsable: (SocketAddress) -> Bool
  ) -> [ResolvedServer] {
    let offers = records(ofService: name).compactMap { service in
      service.target.map { (service, addresses(of: $0, service.port, isUsable)) }
    }.filter { !$0.1.isEmpty }
    guard let first = offers.map(\.0.priority).min() else { return [] }
    var heaviest: [UInt16: Int] = [:]
    for (service, _) in offers {
      heaviest[service.priority] = max(heaviest[service.priority] ?? 0, Int(service.weight))
    }
    var made: [ResolvedServer] = []
    var seen: Set<SocketAddress> = []
    for (service, addresses) in offers.sorted(by: { $0.0.priority < $1.0.priority }) {
      let most = heaviest[service.priority] ?? 0
      let share = most == 0 ? 1 : Int(service.weight) * ResolvedServer.heaviest / most
      for address in addresses where seen.insert(address).inserted {
        made.append(
          ResolvedServer(
            address: address, weight: max(1, share / addresses.count),
            isBackup: service.priority != first))
      }
    }
    return made
  }

  // ---- entries -----------------------------------------------------------------------------

  private func records(ofService name: HostName) -> [DNSReply.Service] {
    (services[name]?.all ?? []).compactMap { value in
      if case .service(let service) = value { service } else { nil }
    }
  }

  private func hostNames(ofService name: HostName) -> Set<HostName> {
    Set(records(ofService: name).compactMap(\.target))
  }

  /// Entries for what the targets need and no others; new ones are due at once.
  private mutating func keepWanted(_ nowNs: UInt64) {
    var wantedServices: Set<HostName> = []
    var wantedHosts: Set<HostName> = []
    for target in targets {
      switch target {
      case .address: break
      case .host(let name, _): wantedHosts.insert(name)
      case .service(let name):
        wantedServices.insert(name)
        wantedHosts.formUnion(hostNames(ofService: name))
      }
    }
    services = services.filter { wantedServices.contains($0.key) }
    hosts = hosts.filter { wantedHosts.contains($0.key) }
    for name in wantedServices where services[name] == nil {
      services[name] = Entry(kinds: [.service], nextNs: nowNs)
    }
    for name in wantedHosts where hosts[name] == nil {
      hosts[name] = Entry(kinds: [.ipv6, .ipv4], nextNs: nowNs)
    }
  }

  private static func due(_ entries: inout [HostName: Entry], _ nowNs: UInt64) -> [Question] {
    var questions: [Question] = []
    for (name, entry) in entries where entry.waiting.isEmpty && entry.nextNs <= nowNs {
      entries[name]?.waiting = Set(entry.kinds)
      entries[name]?.round = [:]
      entries[name]?.askedNs = nowNs
      questions += entry.kinds.map { Question(name: name, kind: $0) }
    }
    return questions
  }

  private mutating func hurry(
    _ name: HostName, in path: WritableKeyPath<NameBook, [HostName: Entry]>, _ nowNs: UInt64
  ) {
    guard var entry = self[keyPath: path][name], let askedNs = entry.askedNs else { return }
    entry.nextNs = min(entry.nextNs, max(nowNs, askedNs + minTTLMs * 1_000_000))
    self[keyPath: path][name] = entry
  }

  private mutating func take(
    _ finding: Finding, _ question: Question, _ entry: inout Entry, _ nowNs: UInt64
  ) -> [Note] {
    guard entry.waiting.remove(question.kind) != nil else { return [] }
    let known = NameBook.usable(finding)
    entry.round[question.kind] = known
    // At once, without the other family, whose answer may take as long as its time-out.
    if case .found(let values, _) = known { entry.values[question.kind] = values }
    return entry.waiting.isEmpty ? finish(&entry, question.name, nowNs) : []
  }

  /// The end of a round: all of a name's kinds were answered or given up.
  private func finish(_ entry: inout Entry, _ name: HostName, _ nowNs: UInt64) -> [Note] {
    entry.isSettled = true
    var shortestMs: UInt64?
    for case .found(_, let ttlMs) in entry.round.values {
      shortestMs = min(shortestMs ?? ttlMs, ttlMs)
    }
    guard let shortestMs else { return lost(&entry, name, nowNs) }
    // That a name has no addresses of one family is believed only beside some of the other.
    for (kind, finding) in entry.round where finding == .absent { entry.values[kind] = [] }
    entry.nextNs = nowNs + min(max(shortestMs, minTTLMs), maxTTLMs) * 1_000_000
    entry.failures = 0
    let now = entry.all.map(\.text)
    let (before, wasLost) = (entry.told, entry.isLost)
    entry.told = now
    entry.isLost = false
    if wasLost || before.isEmpty { return [.found(name, now)] }
    let added = now.filter { !before.contains($0) }
    let removed = before.filter { !now.contains($0) }
    return added.isEmpty && removed.isEmpty
      ? [] : [.changed(name, added: added, removed: removed)]
  }

  private func lost(_ entry: inout Entry, _ name: HostName, _ nowNs: UInt64) -> [Note] {
    // Doubled at most 32 times, so that the shift stays one.
    let repeatMs = min(minTTLMs << min(entry.failures, 32), max(minTTLMs, NameBook.slowestRepeatMs))
    entry.failures += 1
    entry.nextNs = nowNs + min(repeatMs, maxTTLMs) * 1_000_000
    guard !entry.isLost else { return [] }
    entry.isLost = true
    var reason = entry.kinds.contains(.service) ? "it has no such service" : "it has no address"
    for kind in entry.kinds {
      if case .failed(let why) = entry.round[kind] { reason = why }
    }
    return [.lost(name, reason: reason, kept: entry.all.count)]
  }

  /// What can be dialled of it, in a stable order. 0.0.0.0 and :: would be this very machine;
  /// multicast, broadcast and reserved addresses are nobody's.
  private static func usable(_ finding: Finding) -> Finding {
    guard case .found(let values, let ttlMs) = finding else { return finding }
    let good = values.filter(\.isUsable).sorted { $0.text < $1.text }.prefix(valuesLimit)
    return good.isEmpty
      ? .failed("none of what it resolves to can be dialled") : .found(Array(good), ttlMs: ttlMs)
  }
}

/// One server that a target stands for.
package struct ResolvedServer: Hashable, Sendable {
  package let address: SocketAddress
  /// 1 ... `heaviest`; nil takes what the configuration says.
  package let weight: Int?
  package let isBackup: Bool

  package static let heaviest = 256

  package init(address: SocketAddress, weight: Int? = nil, isBackup: Bool = false) {
    self.address = address
    self.weight = weight
    self.isBackup = isBackup
  }
}

extension SocketAddress {
  init?(_ value: DNSReply.Value, port: UInt16) {
    switch value {
    case .ipv4(let word): self = .ipv4(word, port: port)
    case .ipv6(let high, let low):
      self = SocketAddress.ipv6(high: high, low: low, port: port, scope: 0).unmapped()
    case .service: return nil
    }
  }
}

extension DNSReply.Value {
  var isUsable: Bool {
    switch self {
    // 224.0.0.0/4 and 240.0.0.0/4: RFC 5771; RFC 1112 section 4.
    case .ipv4(let word): word != 0 && word >> 28 < 14
    // Multicast, and link-local without a link: RFC 4291 sections 2.7 and 2.5.6.
    case .ipv6(let high, let low):
      (high | low) != 0 && high >> 56 != 0xff && high >> 54 != 0x3fa
    case .service(let service): service.target != nil && service.port != 0
    }
  }

  fileprivate var text: String {
    switch self {
    case .ipv4, .ipv6: SocketAddress(self, port: 0)?.hostDescription ?? ""
    case .service(let service):
      "\(service.target?.text ?? "."):\(service.port) "
        + "(priority \(service.priority), weight \(service.weight))"
    }
  }
}
