internal import AdminAPI
internal import FoundationEssentials

/// One thing that the admin API can do: what it answers to, who may, and how it is documented. The
/// OpenAPI file is made from these, so that the two cannot differ.
struct AdminRoute: Sendable {
  enum Method: String, Sendable { case get = "GET", post = "POST", delete = "DELETE" }

  var method: Method
  var path: String
  var role: AdminRole
  var summary: String
  var parameters: [Parameter] = []
  /// The schema of the request's body; nil when it takes none.
  var request: String?
  var content: Content
  /// The errors that the operation itself has, beside those that every request may meet.
  var failures: [Failure.Code] = []
  /// Nil for the stream, which the connection itself writes.
  var run: (@Sendable (any Operations, AdminRequest) -> Outcome)?

  struct Parameter: Sendable {
    enum Kind: Sendable { case text, number, flag }

    var name: String
    var kind: Kind = .text
    var isRequired = false
    var about: String
  }

  /// What the body of a good answer is.
  enum Content: Sendable {
    case json(schema: String)
    case list(schema: String)
    /// Of this media type.
    case text(String)
    /// JSON values of this schema, one to a line, without an end.
    case stream(schema: String)
    /// The OpenAPI file itself.
    case document
  }

  struct Outcome: Sendable {
    var answer: HTTPAnswer
    /// For the audit trail; what only looks leaves none.
    var audit: (what: String, result: String)?
  }

  /// A route that only looks.
  static func look(
    _ path: String, _ summary: String, _ content: Content, parameters: [Parameter] = [],
    failures: [Failure.Code] = [],
    run: @escaping @Sendable (any Operations, AdminRequest) throws(Failure) -> HTTPAnswer
  ) -> AdminRoute {
    let names = parameters.map(\.name)
    return AdminRoute(
      method: .get, path: path, role: .view, summary: summary, parameters: parameters,
      content: content, failures: failures
    ) { operations, request in
      do throws(Failure) {
        try request.allow(names)
        return Outcome(answer: try run(operations, request))
      } catch {
        return Outcome(answer: .failure(error))
      }
    }
  }

  /// What was wanted, in words; known once the request has been read.
  struct Wish<Body: Sendable>: Sendable {
    var body: Body
    var what: String
  }

  /// A route that changes something, and so leaves a line in the audit trail whatever comes of it.
  ///
  /// - Parameters:
  ///   - read: what is wanted; throws `invalid`.
  ///   - perform: carries it out; gives the answer and what came of it, in words.
  static func change<Body: Sendable, Result: Encodable & Sendable>(
    _ method: Method, _ path: String, _ summary: String, request schema: String? = nil,
    _ content: Content, parameters: [Parameter] = [], failures: [Failure.Code] = [],
    read: @escaping @Sendable (AdminRequest) throws(Failure) -> Wish<Body>,
    perform: @escaping @Sendable (any Operations, Body) throws(Failure) -> (Result, String)
  ) -> AdminRoute {
    let names = parameters.map(\.name)
    return AdminRoute(
      method: method, path: path, role: .operate, summary: summary, parameters: parameters,
      request: schema, content: content, failures: failures
    ) { operations, request in
      var what = "\(method.rawValue) \(path)"
      do throws(Failure) {
        try request.allow(names)
        let wish = try read(request)
        what = wish.what
        let (result, words) = try perform(operations, wish.body)
        return Outcome(answer: .json(result), audit: (what, words))
      } catch {
        return Outcome(answer: .failure(error), audit: (what, error.message))
      }
    }
  }
}
