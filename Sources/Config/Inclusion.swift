internal import CYAML

/// Makes one tree of a file and those that its `include` names: text -> tree.
///
/// Mappings are joined by key, `trusted-networks` one after the other; all else may be said once.
/// Included files include nothing, so there are no cycles and no question what comes first.
struct Inclusion {
  /// More than a directory of one file to each tenant holds.
  static let filesMax = 1_000

  let surroundings: Surroundings
  var diagnostics: Diagnostics
  private var substitution: Substitution
  /// What the files may still have together.
  private var bytesLeft = Int(cyaml_text_max)
  private var nodesLeft = Int(cyaml_nodes_max)
  private var included: [String: Position] = [:]

  init(_ surroundings: Surroundings, _ diagnostics: Diagnostics) {
    self.surroundings = surroundings
    self.diagnostics = diagnostics
    substitution = Substitution(surroundings.variable, diagnostics)
  }

  /// Nil when there is no tree; the reason is then in `diagnostics`.
  mutating func tree(of text: [UInt8]) -> Tree? {
    var first = diagnostics
    guard let alone = Tree(parsing: text, diagnostics: &first) else {
      diagnostics = first
      return nil
    }
    // With several files each place names its own, from the beginning.
    guard alone[RootKey.include.rawValue] != nil else {
      diagnostics = first
      return substituted(alone)
    }
    let file = SourceFile(name: diagnostics.file, order: 0)
    guard let tree = Tree(parsing: text, file: file, diagnostics: &diagnostics) else { return nil }
    var main = substituted(tree)
    bytesLeft -= text.count
    nodesLeft -= tree.nodeCount
    guard let include = main.remove(RootKey.include.rawValue) else { return main }
    for path in paths(of: include.value) {
      guard let part = read(path) else { continue }
      join(part, into: &main)
    }
    return main
  }

  private mutating func substituted(_ tree: Tree) -> Tree {
    var tree = tree
    substitution.diagnostics = diagnostics
    substitution.substitute(in: &tree)
    diagnostics = substitution.diagnostics
    return tree
  }

  // MARK: Files

  private mutating func paths(of node: Tree.Node) -> [Located<String>] {
    let key = RootKey.include
    let nodes =
      switch node.value {
      case .sequence(let items): items
      case .scalar, .mapping: [node]
      }
    var paths: [Located<String>] = []
    for node in nodes {
      guard case .scalar(let text, _) = node.value, !text.isEmpty else {
        diagnostics.error(node.position, "\(key.rawValue) takes \(key.takes)")
        continue
      }
      paths += files(text).map { Located(value: $0, position: node.position) }
    }
    if paths.count > Inclusion.filesMax {
      diagnostics.error(
        node.position,
        "include: \(paths.count) files; at most \(Inclusion.filesMax) are read")
    }
    return Array(paths.prefix(Inclusion.filesMax))
  }

  /// The file itself, or the files of the directory, in the order of their names' bytes.
  private func files(_ text: String) -> [String] {
    let path = text.hasPrefix("/") ? text : Inclusion.directory(of: diagnostics.file) + text
    // Asking for no bytes at all tells a directory from a file.
    guard case .success(.directory(let names)) = surroundings.contents(path, 0) else {
      return [path]
    }
    let directory = path.hasSuffix("/") ? path : "\(path)/"
    return names.filter { $0.hasSuffix(".yaml") && !$0.hasPrefix(".") }
      .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
      .map { directory + $0 }
  }

  /// With its slash; empty when the path has none.
  private static func directory(of path: String) -> String {
    path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
  }

  /// Without what changes nothing: `./a//b` is `a/b`. Links and `..` stay.
  private static func plain(_ path: String) -> String {
    let parts = path.split(separator: "/").filter { $0 != "." }.joined(separator: "/")
    return path.hasPrefix("/") ? "/\(parts)" : parts
  }

  private mutating func read(_ path: Located<String>) -> Tree? {
    let name = Inclusion.plain(path.value)
    guard name != Inclusion.plain(diagnostics.file) else {
      diagnostics.error(path.position, "include: \(path.value) is this file itself")
      return nil
    }
    if let first = included[name] {
      diagnostics.error(
        path.position, "include: \(path.value) is included twice, first at \(first)")
      return nil
    }
    included[name] = path.position
    switch surroundings.contents(path.value, max(bytesLeft, 0)) {
    case .failure(let error):
      diagnostics.error(path.position, "include: \(path.value): \(error.reason)")
      return nil
    case .success(.directory):
      diagnostics.error(path.position, "include: \(path.value) is a directory in a directory")
      return nil
    case .success(.file(let text)):
      bytesLeft -= text.count
      return parsed(text, path)
    }
  }

  private mutating func parsed(_ text: [UInt8], _ path: Located<String>) -> Tree? {
    let file = SourceFile(name: path.value, order: included.count)
    guard
      let tree = Tree(parsing: text, file: file, mayBeEmpty: true, diagnostics: &diagnostics)
    else { return nil }
    nodesLeft -= tree.nodeCount
    guard nodesLeft >= 0 else {
      diagnostics.error(path.position, "the files have more than \(cyaml_nodes_max) values in all")
      return nil
    }
    guard case .mapping = tree.root.value else {
      diagnostics.error(tree.root.position, "the file takes a mapping (\"key: value\" lines)")
      return nil
    }
    var part = substituted(tree)
    if let include = part.remove(RootKey.include.rawValue) {
      let main = diagnostics.file
      diagnostics.error(
        include.position, "an included file cannot include others; name them in \(main)")
    }
    return part
  }

  // MARK: Joining

  private mutating func join(_ part: Tree, into main: inout Tree) {
    guard case .mapping(let added) = part.root.value,
      case .mapping(var entries) = main.root.value
    else { return }
    for entry in added {
      guard let index = entries.firstIndex(where: { $0.key == entry.key }) else {
        entries.append(entry)
        continue
      }
      entries[index].value = joined(entries[index], entry)
    }
    main.root.value = .mapping(entries)
  }

  /// The value of two entries with one key.
  private mutating func joined(_ first: Tree.Entry, _ second: Tree.Entry) -> Tree.Node {
    var node = first.value
    if first.key == RootKey.trustedNetworks.rawValue {
      node.value = .sequence(first.value.items + second.value.items)
      return node
    }
    guard var entries = first.value.entries, let added = second.value.entries else {
      report(second, first.position)
      return node
    }
    var places = Dictionary(
      entries.map { ($0.key, $0.position) }, uniquingKeysWith: { first, _ in first })
    for entry in added {
      if let place = places[entry.key] {
        report(entry, place)
      } else {
        places[entry.key] = entry.position
        entries.append(entry)
      }
    }
    node.value = .mapping(entries)
    return node
  }

  private mutating func report(_ entry: Tree.Entry, _ first: Position) {
    diagnostics.error(entry.position, Tree.duplicate(entry.key, first))
  }
}

extension Tree.Node {
  /// Of a list, or of the one value that stands for a list of one.
  fileprivate var items: [Tree.Node] {
    switch value {
    case .sequence(let items): items
    case .scalar("", isQuoted: false): []
    case .scalar, .mapping: [self]
    }
  }

  /// Nil for what is no mapping; no value at all is an empty one.
  fileprivate var entries: [Tree.Entry]? {
    switch value {
    case .mapping(let entries): entries
    case .scalar("", isQuoted: false): []
    case .scalar, .sequence: nil
    }
  }
}
