internal import AdminAPI

/// The admin API as an OpenAPI document (version 3.1), made from the routes that serve it. The same
/// text is in docs/openapi.json; tests hold the two equal, and the server's answers to it.
enum OpenAPI {
  /// Two columns of indentation, ends with a line feed.
  static let text = document.text + "\n"

  private static let document = JSONText.object([
    ("openapi", .string("3.1.0")),
    (
      "info",
      .object([
        ("title", .string("Sluice admin API")), ("version", .string("1.0.0")),
        (
          "description",
          .string(
            "HTTP/1.1 over a Unix socket: `curl --unix-socket /run/sluice/admin.sock "
              + "http://sluice/v1/status`. Who may do what is known from the socket itself; "
              + "`x-sluice-role` is the role that an operation takes. Requests with unknown keys "
              + "or parameters are refused. Answers may get new keys.")
        ),
      ])
    ),
    ("servers", .array([.object([("url", .string("http://sluice"))])])),
    ("paths", .object(paths)),
    (
      "components",
      .object([("schemas", .object(OpenAPISchema.all.map { ($0.name, $0.schema.json) }))])
    ),
  ])

  /// In the order of the routes; several methods of one path stand together.
  private static var paths: [(String, JSONText)] {
    var names: [String] = []
    for route in AdminRoute.all where !names.contains(route.path) { names.append(route.path) }
    return names.map { name in
      let routes = AdminRoute.all.filter { $0.path == name }
      return (name, .object(routes.map { ($0.method.rawValue.lowercased(), operation($0)) }))
    }
  }

  private static func operation(_ route: AdminRoute) -> JSONText {
    var members: [(String, JSONText)] = [
      ("operationId", .string(identifier(of: route))), ("summary", .string(route.summary)),
      ("x-sluice-role", .string("\(route.role)")),
    ]
    if !route.parameters.isEmpty {
      members.append(("parameters", .array(route.parameters.map(parameter))))
    }
    if let schema = route.request {
      members.append(
        ("requestBody", .object([("content", content("application/json", .reference(schema)))])))
    }
    members.append(("responses", responses(route)))
    return .object(members)
  }

  /// `postLogLevel` of `POST /v1/log-level`.
  private static func identifier(of route: AdminRoute) -> String {
    let words = route.path.split { !$0.isLetter && !$0.isNumber }.filter { $0 != "v1" }
    return route.method.rawValue.lowercased()
      + words.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
  }

  private static func parameter(_ parameter: AdminRoute.Parameter) -> JSONText {
    let schema: OpenAPISchema =
      switch parameter.kind {
      case .text: .text()
      case .number: .integer()
      case .flag: .flag()
      }
    return .object([
      ("name", .string(parameter.name)), ("in", .string("query")),
      ("required", .bool(parameter.isRequired)), ("description", .string(parameter.about)),
      ("schema", schema.json),
    ])
  }

  private static func responses(_ route: AdminRoute) -> JSONText {
    let good: JSONText =
      switch route.content {
      case .json(let schema): content("application/json", .reference(schema))
      case .list(let schema): content("application/json", .list(.reference(schema)))
      case .text(let type): content(type, .text())
      case .stream(let schema): content("application/x-ndjson", .reference(schema))
      case .document: content("application/json", .object([]))
      }
    var members: [(String, JSONText)] = [
      ("200", .object([("description", .string("Done.")), ("content", good)]))
    ]
    // Any request may be wrong, come from somebody who may not, or meet a server that is busy.
    let codes = Set([.invalid, .forbidden, .unavailable] + route.failures)
    for code in codes.sorted(by: { $0.status < $1.status }) {
      members.append(
        (
          "\(code.status)",
          .object([
            ("description", .string("`\(code.rawValue)`")),
            ("content", content("application/json", .reference("Failure"))),
          ])
        ))
    }
    return .object(members)
  }

  private static func content(_ type: String, _ schema: OpenAPISchema) -> JSONText {
    .object([(type, .object([("schema", schema.json)]))])
  }
}
