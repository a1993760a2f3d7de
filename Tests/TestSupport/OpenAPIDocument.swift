/// An OpenAPI document, and whether JSON values are what it says. Knows the keywords that this
/// project uses; any other is a failure, so that nothing is checked less than it looks.
package struct OpenAPIDocument: Sendable {
  package let root: JSONValue

  package init(_ text: String) throws { root = try JSONValue(text) }

  package struct Operation: Sendable {
    package var path: String
    /// `get`, `post`, …
    package var method: String
    package var body: JSONValue
  }

  package var operations: [Operation] {
    root["paths"].members.flatMap { path, methods in
      methods.members.map { Operation(path: path, method: $0, body: $1) }
    }
  }

  /// The schema of an operation's answer of this status; nil when the document has none.
  package func schema(_ operation: Operation, status: Int) -> JSONValue? {
    operation.body["responses"]?["\(status)"]?["content"].members.first?.value["schema"]
  }

  package func schema(ofRequest operation: Operation) -> JSONValue? {
    operation.body["requestBody"]?["content"].members.first?.value["schema"]
  }

  /// Throws where `value` is not what `schema` says. A property that the schema does not name is
  /// wrong even where it would be allowed: the document has to tell all.
  package func check(_ value: JSONValue, _ schema: JSONValue, at place: String = "$") throws {
    func fail(_ what: String) -> TestFailure { TestFailure("\(place): \(what): \(value)") }
    if let reference = schema["$ref"]?.string {
      let name = String(reference.dropFirst("#/components/schemas/".count))
      guard let found = root["components"]?["schemas"]?[name] else {
        throw TestFailure("there is no schema \(reference)")
      }
      return try check(value, found, at: place)
    }
    if case .array(let choices)? = schema["oneOf"] {
      let fitting = choices.filter { (try? check(value, $0, at: place)) != nil }
      guard fitting.count == 1 else { throw fail("\(fitting.count) of oneOf fit") }
      return
    }
    let known: Set = [
      "type", "description", "enum", "minimum", "maximum", "items", "properties", "required",
      "additionalProperties",
    ]
    for key in schema.members.keys where !known.contains(key) {
      throw TestFailure("\(place): the keyword \(key) is not known here")
    }
    switch (schema["type"]?.string, value) {
    case ("string", .string), ("boolean", .bool): break
    case ("number", .number(let number)), ("integer", .number(let number)):
      guard schema["type"]?.string == "number" || number == number.rounded() else {
        throw fail("no integer")
      }
      if let least = schema["minimum"]?.number, number < least { throw fail("too small") }
      if let most = schema["maximum"]?.number, number > most { throw fail("too large") }
    case ("array", .array(let elements)):
      guard let items = schema["items"] else { throw fail("no items in the schema") }
      for (index, element) in elements.enumerated() {
        try check(element, items, at: "\(place)[\(index)]")
      }
    case ("object", .object(let members)):
      try check(members, schema, at: place)
    default: throw fail("not of type \(schema["type"]?.string ?? "?")")
    }
    if case .array(let words)? = schema["enum"], !words.contains(value) { throw fail("not listed") }
  }

  private func check(
    _ members: [String: JSONValue], _ schema: JSONValue, at place: String
  ) throws {
    if case .array(let required)? = schema["required"] {
      for name in required.compactMap(\.string) where members[name] == nil {
        throw TestFailure("\(place): \(name) is missing")
      }
    }
    for (name, value) in members {
      if let found = schema["properties"]?[name] {
        try check(value, found, at: "\(place).\(name)")
      } else if let rest = schema["additionalProperties"], rest != .bool(false) {
        try check(value, rest, at: "\(place).\(name)")
      } else {
        throw TestFailure("\(place): \(name) is not in the document")
      }
    }
  }
}

extension JSONValue? {
  fileprivate var members: [String: JSONValue] { self?.members ?? [:] }
}

extension JSONValue {
  /// Those of an object; empty for anything else.
  package var members: [String: JSONValue] {
    if case .object(let members) = self { members } else { [:] }
  }
}
