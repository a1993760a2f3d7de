internal import CYAML

/// A YAML file as values that know their place: text -> tree is the first step to a snapshot.
///
/// Scalars stay text: the schema says what they are, so YAML's own opinions (`no` is false, `25:25`
/// is 1525, `0755` is 493) never come up.
package struct Tree: Sendable {
  package struct Node: Sendable {
    package var position: Position
    package var value: Value
  }

  package indirect enum Value: Sendable {
    /// `isQuoted` tells `""` from a missing value; nothing else may depend on it.
    case scalar(String, isQuoted: Bool)
    case sequence([Node])
    /// Keys are unique: of duplicates the first stays.
    case mapping([Entry])
  }

  package struct Entry: Sendable {
    package var key: String
    package var position: Position
    package var value: Node
  }

  package var root: Node
  package let nodeCount: Int

  /// Parses UTF-8 YAML of at most 8 MiB, a depth of 32 and 1,000,000 nodes; aliases, anchors, tags
  /// and further documents are refused. Nil when there is no tree; the reason is then in
  /// `diagnostics`. Duplicate keys and control characters are errors too, but leave a tree.
  ///
  /// - Parameters:
  ///   - file: stands in every position of the tree.
  ///   - mayBeEmpty: makes an empty mapping of an empty file.
  package init?(
    parsing text: [UInt8], file: SourceFile? = nil, mayBeEmpty: Bool = false,
    diagnostics: inout Diagnostics
  ) {
    guard text.count <= Int(cyaml_text_max) else {
      diagnostics.error(
        Position(line: 1, column: 1, file: file),
        "the file has \(text.count) bytes; at most \(cyaml_text_max) are read")
      return nil
    }
    // libyaml would count a byte order mark as the first column.
    let text = text.starts(with: [0xef, 0xbb, 0xbf]) ? Array(text.dropFirst(3)) : text
    let document = Document(text.span)
    let outcome = document.outcome
    nodeCount = Int(outcome.node_count)
    if mayBeEmpty, outcome.problem == .empty {
      root = Node(position: Position(line: 1, column: 1, file: file), value: .mapping([]))
      return
    }
    guard outcome.problem == .none else {
      var problem = SyntaxProblem(outcome: outcome, message: document.message, text: text)
      problem.position.file = file
      diagnostics.error(problem.position, problem.sentence)
      return nil
    }
    var builder = Builder(file: file, diagnostics: diagnostics)
    root = builder.node(0, in: document)
    diagnostics = builder.diagnostics
  }

  /// The value of a key of the root.
  subscript(key: String) -> Node? {
    guard case .mapping(let entries) = root.value else { return nil }
    return entries.first { $0.key == key }?.value
  }

  /// Takes an entry out of the root.
  mutating func remove(_ key: String) -> Entry? {
    guard case .mapping(var entries) = root.value,
      let index = entries.firstIndex(where: { $0.key == key })
    else { return nil }
    let entry = entries.remove(at: index)
    root.value = .mapping(entries)
    return entry
  }

  static func duplicate(_ key: String, _ first: Position) -> String {
    "duplicate key \"\(key)\"; the first is at \(first)"
  }

  /// The text without its control characters, and the first of these, as `U+000A`. No setting has
  /// a use for them, and they would reach logs and terminals.
  static func printable(_ text: String) -> (text: String, control: String?) {
    // U+2028 and U+2029 break lines too.
    let isControl: (Unicode.Scalar) -> Bool = {
      $0.value < 0x20 || (0x7f...0x9f).contains($0.value) || (0x2028...0x2029).contains($0.value)
    }
    guard let control = text.unicodeScalars.first(where: isControl) else { return (text, nil) }
    let digits = String(control.value, radix: 16, uppercase: true)
    let padded = String(repeating: "0", count: 4 - digits.count) + digits
    let rest = String(String.UnicodeScalarView(text.unicodeScalars.filter { !isControl($0) }))
    return (rest, "U+\(padded)")
  }
}

/// Owns the C document.
private struct Document: ~Copyable {
  private let raw: YAMLDocument

  init(_ text: Span<UInt8>) {
    raw = cyaml_parse(text)
  }

  deinit {
    cyaml_free(raw)
  }

  var outcome: YAMLOutcome { cyaml_outcome(raw) }

  /// libyaml's own words about a syntax problem.
  var message: String {
    var bytes = [UInt8](repeating: 0, count: Int(cyaml_message_max))
    var span = bytes.mutableSpan
    let count = cyaml_message(raw, &span)
    return String(decoding: bytes[..<Int(count)], as: UTF8.self)
  }

  func node(_ index: UInt32) -> YAMLNode { cyaml_node(raw, index) }

  /// The text of a node, which libyaml has checked to be UTF-8.
  func text(_ index: UInt32, length: UInt32) -> String {
    guard length > 0 else { return "" }
    var bytes = [UInt8](repeating: 0, count: Int(length))
    var span = bytes.mutableSpan
    let count = cyaml_text(raw, index, &span)
    return String(decoding: bytes[..<Int(count)], as: UTF8.self)
  }
}

/// Makes the tree from the flat nodes; as deep as the C parser's cap of 32.
private struct Builder {
  let file: SourceFile?
  var diagnostics: Diagnostics

  mutating func node(_ index: UInt32, in document: borrowing Document) -> Tree.Node {
    let raw = document.node(index)
    let position = place(of: raw)
    let value: Tree.Value =
      switch raw.kind {
      case .scalar: .scalar(text(raw, index, document, position), isQuoted: raw.is_quoted)
      case .sequence: .sequence(items(of: raw, in: document))
      case .mapping: .mapping(entries(of: raw, in: document))
      }
    return Tree.Node(position: position, value: value)
  }

  private mutating func items(of raw: YAMLNode, in document: borrowing Document) -> [Tree.Node] {
    var items: [Tree.Node] = []
    var child = raw.first_child
    while child != 0 {
      items.append(node(child, in: document))
      child = document.node(child).next
    }
    return items
  }

  private mutating func entries(
    of raw: YAMLNode, in document: borrowing Document
  ) -> [Tree.Entry] {
    var entries: [Tree.Entry] = []
    var places: [String: Position] = [:]
    var child = raw.first_child
    while child != 0 {
      let key = document.node(child)
      let position = place(of: key)
      let name = text(key, child, document, position)
      let value = node(key.next, in: document)
      if let first = places[name] {
        diagnostics.error(position, Tree.duplicate(name, first))
      } else {
        places[name] = position
        entries.append(Tree.Entry(key: name, position: position, value: value))
      }
      child = document.node(key.next).next
    }
    return entries
  }

  private func place(of raw: YAMLNode) -> Position {
    Position(line: Int(raw.line), column: Int(raw.column), file: file)
  }

  private mutating func text(
    _ raw: YAMLNode, _ index: UInt32, _ document: borrowing Document, _ position: Position
  ) -> String {
    let printable = Tree.printable(document.text(index, length: raw.text_length))
    if let control = printable.control {
      diagnostics.error(position, "control character \(control) in a text")
    }
    return printable.text
  }
}
