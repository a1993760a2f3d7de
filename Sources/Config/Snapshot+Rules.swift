package import Routing

/// One rule of a listener.
package struct Rule: Hashable, Sendable {
  /// 1 ... 64 of `A-Z a-z 0-9 . _ -`; unique in its listener.
  package var name: String
  package var conditions: RuleConditions
  /// A backend is an index into `Snapshot.backends`.
  package var action: RuleAction

  package init(name: String, conditions: RuleConditions = RuleConditions(), action: RuleAction) {
    self.name = name
    self.conditions = conditions
    self.action = action
  }

  /// The name of one that the file gives none, by its place from 0 on.
  package static func defaultName(_ place: Int) -> String { "rule-\(place + 1)" }

  var isDefaultNamed: Bool { name.hasPrefix("rule-") && Scalar.isDigits(name.dropFirst(5)) }
}

extension Snapshot {
  /// Where connections of a listener may be sent to, each once: by its rules in their order, then
  /// its own backend. Indexes into `backends`.
  package func backends(of listener: Listener) -> [Int] {
    var seen: Set<Int> = []
    var found: [Int] = []
    for rule in listener.rules {
      if case .backend(let index) = rule.action, seen.insert(index).inserted { found.append(index) }
    }
    if let own = listener.backend, seen.insert(own).inserted { found.append(own) }
    return found
  }

  /// Where a rule leads, in the words of the file.
  package func words(for action: RuleAction) -> String {
    switch action {
    case .backend(let index): backends[index].name
    case .reject: RuleVerb.reject.word
    case .close: RuleVerb.close.word
    }
  }
}

/// What a rule may do that needs no backend.
enum RuleVerb: String, Word {
  case reject, close

  var action: RuleAction {
    switch self {
    case .reject: .reject
    case .close: .close
    }
  }
}
