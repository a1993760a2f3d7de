internal import Config
internal import System
internal import Wire

/// Whoever knows of names: the hosts file, and the name servers of the configuration or, as its
/// file has them, of the system. For one thread.
struct NameAsker: ~Copyable {
  private var queries: NameQueries?
  private var asked: [UInt64: NameBook.Question] = [:]
  private var nextToken: UInt64 = 0
  /// What resolv.conf said when `queries` were opened.
  private var configuration: [UInt8]?

  private static let configurationPath = "/etc/resolv.conf"
  private static let configurationLimit = 64 << 10

  init() {}

  /// The hosts file as it is now.
  static var hosts: HostsFile {
    let bytes = try? Files.read(HostsFile.path, atMost: HostsFile.lengthLimit)
    return HostsFile(bytes ?? [])
  }

  /// Opens what questions go through, anew when the system's name servers are others than before: a
  /// machine changes networks.
  ///
  /// - Returns: whether it did, so that no question that is under way will be answered.
  mutating func open(_ settings: ResolverSettings) -> Bool {
    var now: [UInt8]?
    if settings.servers == nil {
      now = try? Files.read(NameAsker.configurationPath, atMost: NameAsker.configurationLimit)
    }
    guard queries == nil || now != configuration else { return false }
    forget()
    configuration = now
    queries = try? NameQueries(
      servers: settings.servers, timeoutMs: Int32(clamping: settings.timeoutMs),
      attempts: Int32(clamping: settings.attempts))
    return true
  }

  /// No question under way will be answered; `open` comes before the next one.
  mutating func forget() {
    queries = nil
    asked = [:]
  }

  /// - Parameter isSearched: in the domains of the system's search list, too.
  /// - Returns: false when there is no resolver.
  mutating func ask(_ question: NameBook.Question, isSearched: Bool) -> Bool {
    guard queries != nil else { return false }
    nextToken += 1
    asked[nextToken] = question
    queries?.ask(nextToken, question.name.text, question.kind, isSearched: isSearched)
    return true
  }

  /// The next answer that has come.
  mutating func next() -> (question: NameBook.Question, finding: NameBook.Finding)? {
    while let result = queries?.next() {
      guard let question = asked.removeValue(forKey: result.token) else { continue }
      return (question, NameBook.Finding(result.outcome, to: question.kind))
    }
    return nil
  }

  /// Until an answer comes, or `wake` is readable.
  mutating func wait(orReading wake: Int32, atMostMs waitMs: UInt64) {
    if queries == nil {
      _ = try? Readiness.reading(wake, waitingAtMostMs: Int32(waitMs))
    } else {
      queries?.wait(orReading: wake, atMostMs: Int32(waitMs))
    }
  }
}
