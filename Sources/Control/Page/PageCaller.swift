internal import AdminAPI
internal import NIOCore

/// A caller of the page's server, known by nothing but that it is there.
struct PageCaller: HTTPCaller {
  let desk: PageDesk
  /// How many there are.
  let crowd: NIOLoopBoundBox<Int>

  /// Connections at once; browsers take six each.
  private static let most = 128

  func enter() -> Bool {
    guard crowd.value < PageCaller.most else { return false }
    crowd.value += 1
    return true
  }

  func leave() { crowd.value -= 1 }

  func ask(
    _ request: HTTPRequest, _ answered: @escaping @Sendable (HTTPAnswer) -> Void
  ) -> HTTPOutcome {
    guard desk.admits(hosts: request.hosts) else {
      return .answer(.refusal(421, "this name is not served here; see metrics.hosts"))
    }
    guard request.method == "GET" || request.method == "HEAD" else {
      var answer = HTTPAnswer.refusal(405, "this can only be looked at")
      answer.allow = "GET, HEAD"
      return .answer(answer)
    }
    let path = request.target.prefix { $0 != "?" }
    return desk.answer(String(path), answered).map { .answer($0) } ?? .later
  }

  func refusal(_ failure: Failure) -> HTTPAnswer { .refusal(failure.code.status, failure.message) }
}

extension HTTPAnswer {
  /// A sentence for people.
  static func refusal(_ status: Int, _ text: String) -> HTTPAnswer {
    HTTPAnswer(status: status, body: Array((text + "\n").utf8))
  }
}
