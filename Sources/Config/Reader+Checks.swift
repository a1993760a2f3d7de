import Wire

/// What is read of `check`, before the rest of the backend is known.
struct CheckDraft: Sendable {
  var position: Position
  var type: Located<CheckType>?
  var settings = CheckSettings(kind: .connect)
  var path: Located<String>?
  var host: Located<String>?
  var statuses: Located<[ClosedRange<Int>]>?
  var send: Located<[UInt8]>?
  var expect: Located<[UInt8]>?
  /// Whether there is an `expect`, be it one that could not be read.
  var hasExpect = false
}

enum CheckType: String, Word {
  case connect, tls, smtp, imap, pop3, sieve, http
  case exchange = "send-expect"
}

/// How the servers of a backend are checked, and what their own connections say of them.
extension Reader {
  static let statusesMax = 32
  static let exchangeMax = 1024

  /// Nil for `off`, and for what could not be read.
  mutating func check(_ node: Tree.Node, _ path: String) -> CheckDraft? {
    if case .scalar("off", _) = node.value { return nil }
    var draft = CheckDraft(position: node.position)
    if case .scalar(let text, _) = node.value, !text.isEmpty {
      draft.type = located(BackendKey.check, node, Scalar.word)
      return draft.type == nil ? nil : draft
    }
    guard let fields = knownFields(of: node, CheckKey.allCases, path: path) else { return nil }
    for (key, node) in fields { read(key, node, into: &draft) }
    let isTypeLost = draft.type == nil && fields.contains { $0.0 == .type }
    return isTypeLost ? nil : draft
  }

  private mutating func read(_ key: CheckKey, _ node: Tree.Node, into draft: inout CheckDraft) {
    switch key {
    case .type: draft.type = located(key, node, Scalar.word)
    case .interval: read(key, node, into: &draft.settings.intervalMs, Reader.checkTime)
    case .timeout: read(key, node, into: &draft.settings.timeoutMs, Reader.checkTime)
    case .jitter:
      read(key, node, into: &draft.settings.jitterPercent) { text throws(Unreadable) in
        try Scalar.percentage(text, in: 0...50)
      }
    case .rise: readNumber(key, node, into: &draft.settings.rise)
    case .fall: readNumber(key, node, into: &draft.settings.fall)
    case .onDown: read(key, node, into: &draft.settings.onDown, Scalar.onDown)
    case .path: draft.path = located(key, node, Scalar.requestPath)
    case .host: draft.host = located(key, node, Scalar.requestHost)
    case .status:
      let ranges = items(key, node, Scalar.statuses).map(\.value)
      draft.statuses = Located(value: ranges, position: node.position)
    case .send: draft.send = located(key, node, Scalar.escaped)
    case .expect:
      draft.hasExpect = true
      draft.expect = located(key, node, Scalar.escaped)
    case .proxy: read(key, node, into: &draft.settings.sendsHeader, Scalar.truth)
    }
  }

  /// Nil for `off`.
  mutating func ejection(_ node: Tree.Node, _ path: String) -> EjectionSettings? {
    if case .scalar("off", _) = node.value { return nil }
    var settings = EjectionSettings()
    for (key, node) in fields(of: node, EjectKey.allCases, path: path) {
      switch key {
      case .failures: readNumber(key, node, into: &settings.failures)
      case .time: read(key, node, into: &settings.timeMs, Reader.checkTime)
      case .maxTime: read(key, node, into: &settings.longestMs, Reader.checkTime)
      }
    }
    return settings
  }

  /// Below this a check would be traffic.
  private static func checkTime(_ text: String) throws(Unreadable) -> UInt32 {
    let milliseconds = try Scalar.duration(text, mayBeOff: false)
    guard milliseconds >= 100 else { throw Unreadable("\(text) is less than 100ms") }
    return milliseconds
  }
}

extension Scalar {
  static func percentage(
    _ text: String, in range: ClosedRange<Int>
  ) throws(Unreadable) -> Int {
    guard text.hasSuffix("%") else {
      throw Unreadable("\"\(text)\" is no percentage, such as 10%")
    }
    return try number(String(text.dropLast()), in: range)
  }

  static func onDown(_ text: String) throws(Unreadable) -> OnDown {
    switch text {
    case "keep": .keep
    case "close": .close(afterMs: 0)
    default: .close(afterMs: try duration(text, mayBeOff: false))
    }
  }

  static func requestPath(_ text: String) throws(Unreadable) -> String {
    let isPlain = text.utf8.allSatisfy { (0x21..<0x7f).contains($0) }
    guard text.hasPrefix("/"), isPlain, text.utf8.count <= 1024 else {
      throw Unreadable("\"\(text)\" is not the path of a request, such as /health")
    }
    return text
  }

  static func requestHost(_ text: String) throws(Unreadable) -> String {
    let isPlain = text.utf8.allSatisfy { (0x21..<0x7f).contains($0) }
    guard !text.isEmpty, isPlain, text.utf8.count <= 255 else {
      throw Unreadable("\"\(text)\" is not the name of a host")
    }
    return text
  }

  /// `204`, `200-399`.
  static func statuses(_ text: String) throws(Unreadable) -> ClosedRange<Int> {
    let bounds = text.split(separator: "-", omittingEmptySubsequences: false).map(String.init)
    let first = try number(bounds[0], in: 100...599)
    guard bounds.count > 1 else { return first...first }
    let last = try number(bounds[1], in: 100...599)
    guard bounds.count == 2, first <= last else {
      throw Unreadable("\"\(text)\" is not a status such as 204, nor a range such as 200-399")
    }
    return first...last
  }

  /// Bytes of a text in which `\r`, `\n`, `\t`, `\\` and `\x1f` stand for what they mean, whatever
  /// quotes the file has around it.
  static func escaped(_ text: String) throws(Unreadable) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\") else {
        bytes.append(byte)
        continue
      }
      switch rest.popFirst() {
      case UInt8(ascii: "r"): bytes.append(0x0d)
      case UInt8(ascii: "n"): bytes.append(0x0a)
      case UInt8(ascii: "t"): bytes.append(0x09)
      case UInt8(ascii: "\\"): bytes.append(UInt8(ascii: "\\"))
      case UInt8(ascii: "x"):
        let digits = String(decoding: rest.prefix(2), as: UTF8.self)
        guard digits.utf8.count == 2, !digits.hasPrefix("+"), let value = UInt8(digits, radix: 16)
        else {
          throw Unreadable("\\x is followed by two hexadecimal digits")
        }
        bytes.append(value)
        rest.removeFirst(2)
      default: throw Unreadable("after a \\ stands r, n, t, \\ or x")
      }
    }
    guard bytes.count <= Reader.exchangeMax else {
      throw Unreadable("it is longer than \(Reader.exchangeMax) bytes")
    }
    return bytes
  }
}

extension CheckKind {
  var type: CheckType {
    switch self {
    case .connect: .connect
    case .tls: .tls
    case .smtp: .smtp
    case .imap: .imap
    case .pop3: .pop3
    case .sieve: .sieve
    case .http: .http
    case .exchange: .exchange
    }
  }
}

extension Scalar {
  /// What `onDown` reads.
  static func text(of onDown: OnDown) -> String {
    switch onDown {
    case .keep: "keep"
    case .close(0): "close"
    case .close(let afterMs): text(ofDurationMs: afterMs)
    }
  }

  /// What `statuses` reads.
  static func text(ofStatuses statuses: ClosedRange<Int>) -> String {
    statuses.count == 1
      ? "\(statuses.lowerBound)" : "\(statuses.lowerBound)-\(statuses.upperBound)"
  }
}
