internal import AdminAPI

/// A whole request, off the wire.
struct HTTPRequest: Sendable {
  var method: String
  /// Path and query: RFC 9112 section 3.2.
  var target: String
  /// The values of all Host fields.
  var hosts: [String]
  var body: [UInt8]
}

/// What goes back.
struct HTTPAnswer: Sendable {
  var status = 200
  var contentType = "text/plain; charset=utf-8"
  var body: [UInt8] = []
  /// For 405: what the path takes.
  var allow: String?
}

/// What becomes of a request.
enum HTTPOutcome {
  case answer(HTTPAnswer)
  /// It comes by the closure that was given.
  case later
  /// What happens from now on, a line each, without an end.
  case events(EventHub)
}

/// Who is at the other end of a connection: what there may be of its kind, and what it is answered.
/// Called on the event loop only.
protocol HTTPCaller {
  /// Takes its place; false when there are too many, and then it is told so and has none.
  func enter() -> Bool
  /// Gives its place back.
  func leave()
  /// - Parameter answered: for `later`; may be called on any thread, once.
  func ask(
    _ request: HTTPRequest, _ answered: @escaping @Sendable (HTTPAnswer) -> Void
  ) -> HTTPOutcome
  /// What is said to a request that is not carried out.
  func refusal(_ failure: Failure) -> HTTPAnswer
}

/// What differs between servers.
struct HTTPSettings: Sendable {
  var deadlines = HTTPDeadlines()
  /// The longest body that is taken, in bytes; requests with more get 413.
  var bodyMax = 0
  /// In every answer.
  var fields: [(name: String, value: String)] = []
}

/// How long callers may take.
package struct HTTPDeadlines: Sendable {
  /// From connecting to the end of the first request's head, and from each head to its body's end.
  package var requestMs: Int64 = 10_000
  /// Until a whole answer is taken.
  package var takeMs: Int64 = 10_000
  /// Between two requests.
  package var idleMs: Int64 = 60_000
  /// Between two lines of a stream, so that both ends notice when the other is gone. A reader that
  /// takes nothing for two of these is cut.
  package var heartbeatMs: Int64 = 15_000

  package init() {}
}
