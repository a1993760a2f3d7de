import Routing

/// A choice that the file makes with one word. The reader, its messages, the schema and the writer
/// all take the words from here.
protocol Word: CaseIterable, Hashable, Sendable {
  /// As the file writes it.
  var word: String { get }
}

extension Word {
  static var words: [String] { allCases.map(\.word) }
}

extension Word where Self: RawRepresentable, RawValue == String {
  var word: String { rawValue }
}

extension EventsChoice: Word {}
extension Latency: Word {}
extension LogFormat: Word {}
extension LogField: Word {}
extension SendProxy: Word {}
extension SpliceChoice: Word {}
extension BalanceKind: Word {}
extension SpokenProtocol: Word {}

extension LogLevel: Word {
  package var word: String {
    switch self {
    case .error: "error"
    case .warning: "warning"
    case .info: "info"
    case .debug: "debug"
    }
  }
}

extension ListenerType: Word {
  package var word: String {
    switch self {
    case .tcp: "tcp"
    case .serverFirst: "server-first"
    case .tls: "tls"
    case .startTLS: "starttls"
    case .httpProxy: "http-proxy"
    }
  }
}

extension HelloFallback: Word {
  var word: String {
    switch self {
    case .backend: "backend"
    case .reject: "reject"
    }
  }
}

extension HeaderRule: Word {
  var word: String {
    switch self {
    case .require: "require"
    case .accept: "accept"
    case .forbid: "forbid"
    }
  }
}

extension Scalar {
  /// The value that a word stands for; the nearest is suggested for others.
  static func word<Value: Word>(_ text: String) throws(Unreadable) -> Value {
    if let found = Value.allCases.first(where: { $0.word == text }) { return found }
    let words = Value.words
    throw Unreadable(
      "\"\(text)\" is not one of \(alternatives(words))\(Nearest.hint(for: text, among: words))")
  }

  /// `a, b or c`.
  static func alternatives(_ texts: [String]) -> String {
    guard let last = texts.last, texts.count > 1 else { return texts.first ?? "" }
    return "\(texts.dropLast().joined(separator: ", ")) or \(last)"
  }
}
