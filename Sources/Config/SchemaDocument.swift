/// The schema for editors: JSON Schema, draft 2020-12, made of the same keys and types that the
/// reader goes by. It knows each value by itself; what holds between them, `sluice check` finds.
///
/// A value is as an editor reads YAML 1.2: `25` is a number there and `off` a text, where the
/// reader sees two texts.
package enum SchemaDocument {
  /// The text, with a line feed at its end.
  package static var text: String { document.text }

  static var document: JSONText {
    var definitions: [(String, JSONText)] = [
      (
        environment,
        .object([
          ("type", .string("string")), ("pattern", .string(#"\$\{[A-Z_][A-Z0-9_]*(:-[^}]*)?\}"#)),
          ("description", .string("A text with a value from the environment in it.")),
        ])
      )
    ]
    for (path, keys) in Schema.sections where !path.isEmpty {
      definitions.append((path, section(path, keys)))
    }
    return .object(
      [
        ("$schema", .string("https://json-schema.org/draft/2020-12/schema")),
        ("title", .string("The configuration of Sluice")),
      ] + members("", RootKey.allCases) + [("$defs", .object(definitions))])
  }

  private static let environment = "environment"

  private static func section(_ path: String, _ keys: [any SchemaKey]) -> JSONText {
    var members = members(path, keys)
    let required = keys.filter(\.isRequired).map { JSONText.string(Schema.name(of: $0)) }
    if !required.isEmpty { members.append(("required", .array(required))) }
    if let ways = Schema.alternatives[path] {
      let choices = ways.map { way in
        JSONText.object([
          ("required", .array(way.map { .string($0) })), ("maxProperties", .number(way.count)),
        ])
      }
      members.append(("oneOf", .array(choices)))
    }
    if let keys = Schema.oneAtLeast[path] {
      let choices = keys.map { JSONText.object([("required", .array([.string($0)]))]) }
      members.append(("anyOf", .array(choices)))
    }
    return .object(members)
  }

  /// What each mapping of settings has. No value at all is an empty one.
  private static func members(
    _ path: String, _ keys: [any SchemaKey]
  ) -> [(String, JSONText)] {
    let mustHave = path.isEmpty || keys.contains(where: \.isRequired)
    let kinds: [JSONText] = mustHave ? [.string("object")] : [.string("object"), .string("null")]
    let meanings = Schema.meanings[path] ?? [:]
    let properties = keys.map { key in
      let name = Schema.name(of: key)
      return (name, property(key, meanings.first { $0.key == name }?.value ?? ""))
    }
    return [
      ("type", kinds.count == 1 ? kinds[0] : .array(kinds)),
      ("properties", .object(properties)), ("additionalProperties", .bool(false)),
    ]
  }

  private static func property(_ key: any SchemaKey, _ meaning: String) -> JSONText {
    var members: [(String, JSONText)] = []
    let sentence = meaning.prefix(1).uppercased() + meaning.dropFirst()
    members.append(("description", .string("\(sentence). Takes \(key.takes).")))
    if let text = key.defaultText { members.append(("default", value(text))) }
    return .object(members + value(key.type))
  }

  // MARK: Types

  /// The keywords of a type; those of a choice are one, so that they can stand beside others.
  private static func value(_ type: ValueType) -> [(String, JSONText)] {
    switch type {
    case .section(let path): return [("$ref", reference(path))]
    case .names(let path, _, let most):
      return [
        ("type", .string("object")),
        ("propertyNames", .object([("pattern", .string(Scalar.namePattern))])),
        ("additionalProperties", .object([("$ref", reference(path))])),
        ("minProperties", .number(1)), ("maxProperties", .number(most)),
      ]
    case .text(_, nil): return [("type", anyScalar)]
    case .words, .number, .octet, .duration, .size, .text, .list, .either:
      var choices = choices(type)
      if type.hasScalars { choices.append(.object([("$ref", reference(environment))])) }
      return [("anyOf", .array(choices))]
    }
  }

  /// What a text may look like to an editor: it may take one for a number.
  private static let anyScalar = JSONText.array([.string("string"), .string("number")])

  private static func choices(_ type: ValueType) -> [JSONText] {
    switch type {
    case .words(let words):
      let truths: [JSONText] = words == ["true", "false"] ? [.bool(true), .bool(false)] : []
      // As an editor reads `1.2` without quotes.
      let decimals = words.filter { Double($0) != nil && $0.contains(".") }
        .map { JSONText.decimal($0) }
      return [.object([("enum", .array(truths + decimals + words.map { .string($0) }))])]
    case .number(let range): return [integer(range), pattern("^(0|[1-9][0-9]*)$")]
    case .octet(let range, _): return [integer(range), pattern("^(0x[0-9A-Fa-f]{1,2}|[0-9]{1,3})$")]
    case .duration(let mayBeOff, let mayBeZero):
      let digits = mayBeZero ? "(0|[1-9][0-9]*)" : "[1-9][0-9]*"
      return [pattern("^(\(digits)(ms|s|m|h|d)\(mayBeOff ? "|off" : ""))$")]
    case .size: return [pattern("^(0|[1-9][0-9]*)(B|KiB|MiB|GiB)$")]
    case .text(_, let expression?): return [pattern(expression)]
    case .list(let item, _, let most, let mayBeEmpty):
      var members: [(String, JSONText)] = [
        ("type", .string("array")), ("items", .object(value(item))),
        ("maxItems", .number(most)),
      ]
      if !mayBeEmpty { members.append(("minItems", .number(1))) }
      return [.object(members)] + choices(item)
    case .either(let types): return types.flatMap { choices($0) }
    case .text(_, nil), .section, .names: return [.object(value(type))]
    }
  }

  private static func integer(_ range: ClosedRange<Int>) -> JSONText {
    .object([
      ("type", .string("integer")), ("minimum", .number(range.lowerBound)),
      ("maximum", .number(range.upperBound)),
    ])
  }

  private static func pattern(_ expression: String) -> JSONText {
    .object([("type", .string("string")), ("pattern", .string(expression))])
  }

  private static func reference(_ path: String) -> JSONText { .string("#/$defs/\(path)") }

  /// A default as the file writes it.
  private static func value(_ text: String) -> JSONText {
    if text.hasPrefix("["), text.hasSuffix("]") {
      let items = text.dropFirst().dropLast().split(separator: ",")
      return .array(items.map { .string($0.filter { $0 != " " }) })
    }
    if text == "true" || text == "false" { return .bool(text == "true") }
    if let number = Int(text) { return .number(number) }
    return .string(text.filter { $0 != "\"" })
  }
}

extension ValueType {
  /// Whether one text may be all of it, for the environment to give.
  fileprivate var hasScalars: Bool {
    switch self {
    case .words, .number, .octet, .duration, .size, .text: true
    case .list(let item, _, _, _): item.hasScalars
    case .either(let types): types.contains { $0.hasScalars }
    case .section, .names: false
    }
  }
}

extension Schema {
  /// Mappings that need one of several keys.
  static let oneAtLeast: [String: [String]] = [
    "listeners.NAME": [
      ListenerKey.backend.rawValue, ListenerKey.rules.rawValue, ListenerKey.egress.rawValue,
    ],
    "listeners.NAME.rules": [RuleKey.backend.rawValue, RuleKey.action.rawValue],
  ]

  /// Mappings that are one of several sets of keys.
  static let alternatives: [String: [[String]]] = [
    "backends.NAME.proxy-tlvs": [
      [TLVKey.netns.rawValue], [TLVKey.type.rawValue, TLVKey.value.rawValue],
    ]
  ]
}

/// JSON whose members keep their order, indented. RFC 8259.
indirect enum JSONText {
  case object([(String, JSONText)])
  case array([JSONText])
  case string(String)
  case number(Int)
  /// A number with a point, as it is written.
  case decimal(String)
  case bool(Bool)

  var text: String {
    var text = ""
    write(to: &text, indent: "")
    return text + "\n"
  }

  private var isScalar: Bool {
    switch self {
    case .object, .array: false
    case .string, .number, .decimal, .bool: true
    }
  }

  private func write(to text: inout String, indent: String) {
    switch self {
    case .string(let value): text += JSONText.quoted(value)
    case .number(let value): text += "\(value)"
    case .decimal(let value): text += value
    case .bool(let value): text += "\(value)"
    case .array(let items) where items.allSatisfy(\.isScalar):
      text += "["
      for (index, item) in items.enumerated() {
        if index > 0 { text += ", " }
        item.write(to: &text, indent: indent)
      }
      text += "]"
    case .array(let items):
      JSONText.write(items.map { (nil, $0) }, "[", "]", to: &text, indent: indent)
    case .object(let members):
      JSONText.write(members.map { ($0.0, $0.1) }, "{", "}", to: &text, indent: indent)
    }
  }

  private static func write(
    _ members: [(String?, JSONText)], _ opening: String, _ closing: String, to text: inout String,
    indent: String
  ) {
    text += opening
    for (index, (name, value)) in members.enumerated() {
      text += (index > 0 ? ",\n" : "\n") + indent + "  "
      if let name { text += quoted(name) + ": " }
      value.write(to: &text, indent: indent + "  ")
    }
    text += members.isEmpty ? closing : "\n\(indent)\(closing)"
  }

  /// The schema's own texts have no control characters.
  private static func quoted(_ text: String) -> String {
    "\"\(text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\""
  }
}
