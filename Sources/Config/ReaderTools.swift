/// What every section is read with: mappings by known keys, scalars, and lists of scalars.
extension Reader {
  typealias Parse<Value> = (String) throws(Unreadable) -> Value

  /// The known keys of a mapping with their values, in the order of the file. No value at all is
  /// an empty mapping: every line below a section's name may be a comment.
  mutating func fields<Key: SchemaKey>(
    of node: Tree.Node, _ keys: [Key], path: String
  ) -> [(Key, Tree.Node)] {
    knownFields(of: node, keys, path: path) ?? []
  }

  /// The same, and nil for what is no mapping.
  mutating func knownFields<Key: SchemaKey>(
    of node: Tree.Node, _ keys: [Key], path: String
  ) -> [(Key, Tree.Node)]? {
    guard let entries = entries(of: node, path: path) else { return nil }
    return entries.compactMap { entry in
      if let key = keys.first(where: { $0.rawValue == entry.key }) { return (key, entry.value) }
      diagnostics.error(
        entry.position,
        "unknown key \"\(entry.key)\""
          + Reader.hint(forUnknown: entry.key, among: keys.map(\.rawValue), path: path))
      return nil
    }
  }

  /// The entries of a mapping from names to things, as many as `limit`, with good names only.
  mutating func named(_ key: RootKey, _ node: Tree.Node, _ noun: String) -> [Tree.Entry] {
    let limit = key.bounds.most
    guard let entries = entries(of: node, path: key.rawValue) else { return [] }
    if entries.isEmpty {
      diagnostics.error(node.position, "\(key.rawValue) is empty; it needs one at least")
    }
    if entries.count > limit {
      diagnostics.error(
        entries[limit].position, "more than \(limit) \(key.rawValue); the rest is not read")
    }
    for entry in entries.prefix(limit) where !Scalar.isName(entry.key) {
      diagnostics.error(
        entry.position,
        "\"\(entry.key)\" cannot name a \(noun); use 1 to \(Scalar.nameLengthMax) letters, "
          + "digits, \".\", \"_\" and \"-\"")
    }
    return Array(entries.prefix(limit))
  }

  private mutating func entries(of node: Tree.Node, path: String) -> [Tree.Entry]? {
    switch node.value {
    case .mapping(let entries): return entries
    case .scalar("", isQuoted: false): return []
    case .scalar, .sequence:
      let subject = path.isEmpty ? "the file" : path
      diagnostics.error(node.position, "\(subject) takes a mapping (\"key: value\" lines)")
      return nil
    }
  }

  private static func hint(forUnknown key: String, among keys: [String], path: String) -> String {
    if let nearest = Nearest.name(to: key, among: keys) { return ", did you mean \"\(nearest)\"?" }
    if let home = Schema.home(of: key) {
      return home.isEmpty ? " here; it belongs at the top level" : " here; it belongs in \(home)"
    }
    let subject = path.isEmpty ? "the top level" : path
    return "; \(subject) takes \(keys.joined(separator: ", "))"
  }

  /// Reports keys that must be there, at the name of the thing that lacks them.
  mutating func require<Key: SchemaKey>(
    in fields: [(Key, Tree.Node)], of noun: String, _ entry: Tree.Entry
  ) {
    for key in Key.allCases where key.isRequired && !fields.contains(where: { $0.0 == key }) {
      diagnostics.error(
        entry.position,
        "\(noun) \"\(entry.key)\" has no \(key.rawValue); it takes \(key.takes)")
    }
  }

  // MARK: Scalars

  /// The text of a scalar that has one.
  private mutating func text(_ key: some SchemaKey, _ node: Tree.Node) -> String? {
    switch node.value {
    case .scalar("", isQuoted: false):
      diagnostics.error(node.position, "\(key.rawValue) has no value; it takes \(key.takes)")
      return nil
    case .scalar(let text, _): return text
    case .sequence:
      diagnostics.error(node.position, "\(key.rawValue) takes \(key.takes), not a list here")
      return nil
    case .mapping:
      diagnostics.error(node.position, "\(key.rawValue) takes \(key.takes), not a mapping")
      return nil
    }
  }

  mutating func value<Value>(
    _ key: some SchemaKey, _ node: Tree.Node, _ parse: Parse<Value>
  ) -> Value? {
    guard let text = text(key, node) else { return nil }
    do {
      return try parse(text)
    } catch {
      diagnostics.error(node.position, "\(key.rawValue): \(error.reason)")
      return nil
    }
  }

  mutating func located<Value>(
    _ key: some SchemaKey, _ node: Tree.Node, _ parse: Parse<Value>
  ) -> Located<Value>? {
    value(key, node, parse).map { Located(value: $0, position: node.position) }
  }

  mutating func read<Value>(
    _ key: some SchemaKey, _ node: Tree.Node, into target: inout Value, _ parse: Parse<Value>
  ) {
    if let value = value(key, node, parse) { target = value }
  }

  mutating func number(_ key: some SchemaKey, _ node: Tree.Node) -> Int? {
    let range = key.range
    return value(key, node) { text throws(Unreadable) in try Scalar.number(text, in: range) }
  }

  mutating func readNumber(_ key: some SchemaKey, _ node: Tree.Node, into target: inout Int) {
    if let number = number(key, node) { target = number }
  }

  /// The items of a list, or the one item that stands for a list of one.
  mutating func items<Value>(
    _ key: some SchemaKey, _ node: Tree.Node, _ parse: Parse<Value>
  ) -> [(text: Located<String>, value: Value)] {
    nodes(key, node).compactMap { node in
      guard let text = text(key, node), let value = value(key, node, parse) else { return nil }
      return (Located(value: text, position: node.position), value)
    }
  }

  /// The same, of any shape.
  mutating func nodes(_ key: some SchemaKey, _ node: Tree.Node) -> [Tree.Node] {
    let (limit, mayBeEmpty) = key.bounds
    let nodes: [Tree.Node]
    switch node.value {
    case .sequence(let items): nodes = items
    case .scalar, .mapping: nodes = [node]
    }
    if nodes.isEmpty, !mayBeEmpty {
      diagnostics.error(node.position, "\(key.rawValue) is empty; it takes \(key.takes)")
    }
    if nodes.count > limit {
      diagnostics.error(
        nodes[limit].position, "\(key.rawValue) has more than \(limit) items; the rest is not read")
    }
    return Array(nodes.prefix(limit))
  }
}
