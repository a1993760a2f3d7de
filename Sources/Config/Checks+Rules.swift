import Routing
import Wire

/// The rules of listeners, held against each other: names, targets, and whether each can ever take
/// a connection.
extension Checks {
  mutating func checkRules(of listener: ListenerDraft) {
    guard !listener.rules.isEmpty else { return }
    checkRuleNames(listener)
    for (place, rule) in listener.rules.enumerated() {
      checkTarget(rule, Checks.name(of: rule, at: place))
      checkWaiting(rule, listener)
      checkCertificateRule(rule, listener)
    }
    checkProtocolCount(listener)
    warnOfShadows(listener)
  }

  static func name(of rule: RuleDraft, at place: Int) -> String {
    rule.name?.value ?? Rule.defaultName(place)
  }

  private mutating func checkRuleNames(_ listener: ListenerDraft) {
    var seen: [String: Position] = [:]
    seen.reserveCapacity(listener.rules.count)
    for (place, rule) in listener.rules.enumerated() {
      let name = Checks.name(of: rule, at: place)
      let position = rule.name?.position ?? rule.position
      if let first = seen[name] {
        let why = rule.name == nil ? " (a rule without a name has that of its place)" : ""
        diagnostics.error(
          position, "rule \"\(name)\" is there already, at \(first)\(why); give it another name")
      } else {
        seen[name] = position
      }
    }
  }

  private mutating func checkTarget(_ rule: RuleDraft, _ name: String) {
    guard let backend = rule.backend, let verb = rule.verb else { return }
    diagnostics.error(
      max(backend.position, verb.position),
      "rule \"\(name)\" has both backend and action; it can do one thing only")
  }

  /// Whoever waits for its server's greeting would wait for ever, if we waited for its first bytes.
  private mutating func checkWaiting(_ rule: RuleDraft, _ listener: ListenerDraft) {
    guard !listener.readsClientHello else { return }
    for (key, position) in [("sni", rule.names?.position), ("alpn", rule.protocols?.position)] {
      guard let position else { continue }
      diagnostics.error(
        position,
        "\(key): a client of a \(listener.type.word) listener may wait for its server's first "
          + "bytes, so a ClientHello cannot be waited for; use \"type: tls\" if its clients begin "
          + "with one, or \"type: starttls\" if they ask for TLS first")
    }
  }

  private mutating func checkProtocolCount(_ listener: ListenerDraft) {
    var seen: Set<String> = []
    for name in listener.rules.lazy.flatMap({ $0.protocols?.value ?? [] }) {
      seen.insert(name.value)
      guard seen.count > RuleTable.protocolsMax else { continue }
      diagnostics.error(
        name.position,
        "alpn: more than \(RuleTable.protocolsMax) different protocols in the rules of listener "
          + "\"\(listener.name.value)\"")
      return
    }
  }

  // MARK: Rules that never have their turn

  private mutating func warnOfShadows(_ listener: ListenerDraft) {
    var earlier = EarlierRules(listener.rules)
    for (place, rule) in listener.rules.enumerated() where !rule.isLost {
      warnOfShadow(of: rule, Checks.name(of: rule, at: place), by: earlier)
      if let names = rule.names?.value { warnOfRepeats(in: names) }
      earlier.add(place)
    }
    guard let backend = listener.backend,
      let all = listener.rules.indices.first(where: { listener.rules[$0].takesAll })
    else { return }
    diagnostics.warn(
      backend.position,
      "backend: no connection gets here; \(earlier.words(for: all)) takes all")
  }

  private mutating func warnOfShadow(
    of rule: RuleDraft, _ name: String, by earlier: EarlierRules
  ) {
    let never = "rule \"\(name)\" never has its turn;"
    guard let names = rule.names?.value, !names.isEmpty else {
      if let taker = earlier.taker(of: nil, rule) {
        diagnostics.warn(
          rule.position, "\(never) \(earlier.words(for: taker)) takes all that it would")
      }
      return
    }
    let takers = names.map { earlier.taker(of: $0.value, rule) }
    guard takers.contains(where: { $0 != nil }) else { return }
    let known = Set(takers.compactMap { $0 }).sorted()
    guard takers.contains(nil) else {
      let words = known.prefix(3).map { earlier.words(for: $0) }.joined(separator: ", ")
      let more = known.count > 3 ? " and \(known.count - 3) more" : ""
      let verb = known.count == 1 ? "takes" : "take"
      return diagnostics.warn(rule.position, "\(never) \(words)\(more) \(verb) all that it would")
    }
    for (item, taker) in zip(names, takers) {
      guard let taker else { continue }
      diagnostics.warn(
        item.position,
        "sni: \(item.value) never gets here; \(earlier.words(for: taker)) takes it")
    }
  }

  private mutating func warnOfRepeats(in names: [Located<NamePattern>]) {
    guard names.count > 1 else { return }
    var seen: [NamePattern: Position] = [:]
    for name in names {
      if let first = seen[name.value] {
        diagnostics.warn(
          name.position, "sni: \(name.value) is listed twice, first at \(first)")
      } else {
        seen[name.value] = name.position
      }
    }
  }
}

/// The rules before one, by what they may take from it.
private struct EarlierRules {
  private let rules: [RuleDraft]
  private var owners: [NamePattern: [Int]] = [:]
  /// Those that ask for no name.
  private var unnamed: [Int] = []
  private var hasPatterns = false

  /// So many of one name, and of those without, are looked at: the time for a file that a program
  /// has made must not grow with the square of its rules.
  private static let lookedAtMax = 256
  /// Pairs of networks that are held against each other for one pair of rules.
  private static let pairsMax = 10_000

  init(_ rules: [RuleDraft]) { self.rules = rules }

  mutating func add(_ place: Int) {
    guard let names = rules[place].names?.value else {
      if unnamed.count < EarlierRules.lookedAtMax { unnamed.append(place) }
      return
    }
    for name in names {
      if name.value.kind != .exact { hasPatterns = true }
      if owners[name.value, default: []].count < EarlierRules.lookedAtMax {
        owners[name.value, default: []].append(place)
      }
    }
  }

  /// `rule "x" at 5:7`
  func words(for place: Int) -> String {
    "rule \"\(Checks.name(of: rules[place], at: place))\" at \(rules[place].position)"
  }

  /// The first rule that takes all that `rule` would take of this name, or of all names.
  func taker(of name: NamePattern?, _ rule: RuleDraft) -> Int? {
    var best = unnamed.first { covers(rules[$0], rule) }
    guard let name else { return best }
    for pattern in hasPatterns ? name.holders : [name] {
      guard let owner = owners[pattern]?.first(where: { covers(rules[$0], rule) }) else { continue }
      best = min(owner, best ?? owner)
    }
    return best
  }

  /// Whether whatever else `rule` asks for is more than `earlier` does.
  private func covers(_ earlier: RuleDraft, _ rule: RuleDraft) -> Bool {
    holds(earlier.protocols, rule.protocols) { $0 == $1 }
      && holds(earlier.certificates, rule.certificates) { $0 == $1 }
      && holds(earlier.sources, rule.sources) { $0.contains($1) }
      && holds(earlier.addresses, rule.addresses) { $0.contains($1) }
      && holds(earlier.ports, rule.ports) { $0 == $1 }
  }

  private func holds<Value>(
    _ wide: Located<[Located<Value>]>?, _ narrow: Located<[Located<Value>]>?,
    _ covers: (Value, Value) -> Bool
  ) -> Bool {
    guard let wide = wide?.value else { return true }
    guard let narrow = narrow?.value, !narrow.isEmpty,
      wide.count * narrow.count <= EarlierRules.pairsMax
    else { return false }
    return narrow.allSatisfy { item in wide.contains { covers($0.value, item.value) } }
  }
}

extension RuleDraft {
  fileprivate var takesAll: Bool {
    !isLost && names == nil && protocols == nil && certificates == nil && sources == nil
      && addresses == nil && ports == nil
  }

  /// The values of the draft.
  var conditions: RuleConditions {
    RuleConditions(
      names: (names?.value ?? []).map(\.value), protocols: (protocols?.value ?? []).map(\.value),
      certificates: (certificates?.value ?? []).map(\.value),
      sources: (sources?.value ?? []).map(\.value),
      addresses: (addresses?.value ?? []).map(\.value), ports: (ports?.value ?? []).map(\.value))
  }
}

extension NamePattern {
  /// All patterns that match every name that this one does.
  fileprivate var holders: [NamePattern] {
    var holders = [self]
    var above = domain.parent
    if kind == .exact, let above { holders.append(NamePattern(.oneLabel, above)) }
    if kind == .oneLabel { holders.append(NamePattern(.beneath, domain)) }
    while let next = above {
      holders.append(NamePattern(.beneath, next))
      above = next.parent
    }
    return holders
  }
}
