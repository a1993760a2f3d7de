/// What a value may be. The reader takes its words, ranges and bounds from here, messages and the
/// reference their sentences, and editors their schema.
indirect enum ValueType: Sendable {
  case words([String])
  case number(ClosedRange<Int>)
  /// One byte, also as `0xEA`; in the words of a sentence.
  case octet(ClosedRange<Int>, takes: String)
  /// `10s`; more than nothing unless `mayBeZero`.
  case duration(mayBeOff: Bool, mayBeZero: Bool)
  /// `4KiB`.
  case size
  /// Anything else that is one text, in the words of a sentence. A pattern (ECMA 262, as JSON
  /// Schema has it) says as much of it as an editor can look at.
  case text(String, pattern: String? = nil)
  /// A list, or one item that stands for a list of one.
  case list(of: ValueType, takes: String, atMost: Int, mayBeEmpty: Bool = false)
  /// The mapping with this path in `Schema.sections`.
  case section(String)
  /// A mapping of names to mappings with this path.
  case names(of: String, noun: String, atMost: Int)
  case either([ValueType])

  static let truth = ValueType.words(["true", "false"])
  static let name = ValueType.text("the name of a backend", pattern: Scalar.namePattern)
  /// Of connections.
  static let limit = ValueType.either([.words(["off"]), .number(Reader.limits)])
  /// Bytes a second.
  static let bandwidth = ValueType.either([.words(["off"]), .size])
  static let path = ValueType.text("an absolute path", pattern: "^/")
  static let networks = ValueType.list(
    of: .text("a network"), takes: "networks such as 192.0.2.0/28, addresses, or unix",
    atMost: Reader.networksMax, mayBeEmpty: true)
  static let congestion = ValueType.text(
    "the name of a congestion control such as bbr", pattern: "^[A-Za-z0-9._-]{1,15}$")

  /// To follow "takes" in a sentence.
  var takes: String { Scalar.alternatives(choices) }

  private var choices: [String] {
    switch self {
    case .words(let words): words
    case .number(let range): ["a number from \(range.lowerBound) to \(range.upperBound)"]
    case .octet(_, let sentence): [sentence]
    case .duration(let mayBeOff, _): ["a duration such as 10s\(mayBeOff ? ", or off" : "")"]
    case .size: ["a size such as 4KiB"]
    case .text(let sentence, _): [sentence]
    case .list(_, let sentence, _, _): [sentence]
    case .section: ["a mapping of settings"]
    case .names(_, "egress", _): ["a mapping of names to mappings"]
    case .names(_, let noun, _): ["a mapping of names to \(noun)s"]
    case .either(let types): types.flatMap(\.choices)
    }
  }

  /// Of the number that it may be.
  var range: ClosedRange<Int>? {
    switch self {
    case .number(let range): range
    case .either(let types): types.lazy.compactMap(\.range).first
    case .words, .octet, .duration, .size, .text, .list, .section, .names: nil
    }
  }

  /// Of the list that it may be, or of the names.
  var bounds: (most: Int, mayBeEmpty: Bool)? {
    switch self {
    case .list(_, _, let most, let mayBeEmpty): (most, mayBeEmpty)
    case .names(_, _, let most): (most, false)
    case .either(let types): types.lazy.compactMap(\.bounds).first
    case .words, .number, .octet, .duration, .size, .text, .section: nil
    }
  }
}

extension SchemaKey {
  var takes: String { type.takes }
  var isRequired: Bool { false }

  /// Of a number; a key that takes none is the caller's bug.
  var range: ClosedRange<Int> {
    guard let range = type.range else { preconditionFailure("\(rawValue) takes no number") }
    return range
  }

  /// Of a list or of names, as above.
  var bounds: (most: Int, mayBeEmpty: Bool) {
    guard let bounds = type.bounds else { preconditionFailure("\(rawValue) takes no list") }
    return bounds
  }
}
