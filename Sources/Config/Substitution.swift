/// Puts the environment's values in place of `${NAME}` in the texts of a tree: tree -> tree. The
/// tree is made before, so no value can become anything but text in the place where it was asked
/// for; and keys stay as they are.
///
/// `$$` is a `$`, and a `$` before anything else is itself. Names are upper case, which leaves
/// lower case to the variables of `proxy-tlvs`: there both stand side by side, and what the
/// environment gives is escaped, so that it is never read as a variable.
struct Substitution {
  /// What all values together may add: a bomb is `${A}` a million times over.
  static let addedMax = 8 << 20

  let variable: @Sendable (String) -> String?
  var diagnostics: Diagnostics
  private var added = 0

  init(_ variable: @escaping @Sendable (String) -> String?, _ diagnostics: Diagnostics) {
    self.variable = variable
    self.diagnostics = diagnostics
  }

  mutating func substitute(in tree: inout Tree) {
    tree.root = node(tree.root, inTemplates: false, isTemplate: false)
  }

  private mutating func node(
    _ node: Tree.Node, inTemplates: Bool, isTemplate: Bool
  ) -> Tree.Node {
    var made = node
    switch node.value {
    case .scalar(let text, _):
      // Nearly all texts have none.
      guard text.utf8.contains(UInt8(ascii: "$")) else { return node }
      let value = substituted(text, at: node.position, isTemplate: isTemplate)
      made.value = .scalar(value, isQuoted: true)
    case .sequence(let items):
      made.value = .sequence(
        items.map { self.node($0, inTemplates: inTemplates, isTemplate: isTemplate) })
    case .mapping(let entries):
      made.value = .mapping(
        entries.map { entry in
          var entry = entry
          let isList = entry.key == BackendKey.proxyTLVs.rawValue
          let isValue = inTemplates && entry.key == TLVKey.value.rawValue
          entry.value = self.node(
            entry.value, inTemplates: inTemplates || isList, isTemplate: isValue)
          return entry
        })
    }
    return made
  }

  private mutating func substituted(
    _ text: String, at position: Position, isTemplate: Bool
  ) -> String {
    var made = ""
    var rest = text[...]
    while let dollar = rest.firstIndex(of: "$") {
      made += rest[..<dollar]
      rest = rest[rest.index(after: dollar)...]
      switch rest.first {
      case "$":
        made += isTemplate ? "$$" : "$"
        rest.removeFirst()
      case "{":
        guard let end = rest.firstIndex(of: "}") else {
          // The templates' own reader says so.
          guard !isTemplate else { return "\(made)$\(rest)" }
          diagnostics.error(
            position, "a \"${\" without its \"}\"; write \"$${\" for these characters")
          return made
        }
        let inner = rest[rest.index(after: rest.startIndex)..<end]
        rest = rest[rest.index(after: end)...]
        made += value(of: String(inner), at: position, isTemplate: isTemplate)
      default: made += "$"
      }
    }
    return made + rest
  }

  /// What stands for `${inner}`; nothing when that was reported.
  private mutating func value(
    of inner: String, at position: Position, isTemplate: Bool
  ) -> String {
    let name = String(inner.prefix { $0 != ":" })
    let ending = inner.dropFirst(name.count)
    guard Substitution.isName(name), ending.isEmpty || ending.hasPrefix(":-") else {
      // The templates' own reader knows which there are.
      if isTemplate, ending.isEmpty, name.utf8.allSatisfy({ !isUpper($0) }) { return "${\(name)}" }
      diagnostics.error(
        position,
        "\"${\(inner)}\" is neither ${NAME} nor ${NAME:-default}, with NAME of A-Z, 0-9 and \"_\"; "
          + "write \"$${\" for these characters")
      return ""
    }
    let found = variable(name)
    // As in a shell, a variable that is there but empty is as good as none here.
    let fallback = ending.isEmpty ? nil : String(ending.dropFirst(2))
    guard let value = found.flatMap({ $0.isEmpty ? nil : $0 }) ?? fallback ?? found else {
      diagnostics.error(
        position,
        "${\(name)} is not set in the environment; set it, or write ${\(name):-default}")
      return ""
    }
    return checked(value, of: name, at: position, isTemplate: isTemplate)
  }

  private mutating func checked(
    _ value: String, of name: String, at position: Position, isTemplate: Bool
  ) -> String {
    added += value.utf8.count
    guard added <= Substitution.addedMax else {
      diagnostics.error(
        position, "the environment adds more than \(Substitution.addedMax) bytes in all")
      return ""
    }
    let printable = Tree.printable(value)
    if let control = printable.control {
      diagnostics.error(position, "control character \(control) in the value of ${\(name)}")
    }
    return isTemplate ? printable.text.replacing("$", with: "$$") : printable.text
  }

  private static func isName(_ text: String) -> Bool {
    guard let first = text.utf8.first, !Scalar.isDigit(first) else { return false }
    return text.utf8.allSatisfy { isUpper($0) || Scalar.isDigit($0) || $0 == UInt8(ascii: "_") }
  }
}

private func isUpper(_ byte: UInt8) -> Bool {
  (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
}
