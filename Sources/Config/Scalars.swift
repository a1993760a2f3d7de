/// Why a text is not what its key takes: a clause to follow the key's name.
struct Unreadable: Error, Hashable {
  var reason: String

  init(_ reason: String) { self.reason = reason }
}

/// Scalars read from their text.
enum Scalar {
  /// Names stand in logs, metric labels and commands.
  static let nameLengthMax = 64
  /// TCP_CA_NAME_MAX is 16 with the NUL. linux/include/net/tcp.h
  static let congestionLengthMax = 15
  /// PATH_MAX is 4096 with the NUL. path_resolution(7)
  static let pathLengthMax = 4095
  /// Anything longer is `off`; milliseconds of 30 days fit 32 bits, those of 50 days do not.
  static let durationMaxMs: UInt64 = 30 * 86_400_000

  /// A whole decimal number: digits only, so that `0755`, `1_000` and `1e3` are refused instead of
  /// being read in some other way than meant.
  static func number(_ text: String, in range: ClosedRange<Int>) throws(Unreadable) -> Int {
    guard isDigits(text) else { throw Unreadable("\"\(text)\" is not a whole number") }
    guard text == "0" || !text.hasPrefix("0") else {
      throw Unreadable("\"\(text)\" has a leading zero; numbers are decimal")
    }
    guard let number = Int(text), range.contains(number) else {
      throw Unreadable("\(text) is out of range \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  /// Milliseconds of `10s`; `ms`, `s`, `m`, `h` and `d` are the units. More than 0, unless
  /// `mayBeZero`, and at most 30 days.
  static func duration(
    _ text: String, mayBeOff: Bool, mayBeZero: Bool = false
  ) throws(Unreadable) -> UInt32 {
    if text == "off" {
      guard mayBeOff else { throw Unreadable("it cannot be off") }
      return 0
    }
    let units: [(String, UInt64)] = [
      ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
    ]
    let sample = "a duration is a whole number and a unit: 500ms, 10s, 5m, 2h, 1d"
    let (number, factor) = try quantity(text, units: units, suggested: ["s", "ms"], sample: sample)
    let (milliseconds, overflows) = number.multipliedReportingOverflow(by: factor)
    guard !overflows, milliseconds <= durationMaxMs else {
      throw Unreadable("\(text) is more than 30d" + (mayBeOff ? "; did you mean off?" : ""))
    }
    guard milliseconds > 0 || mayBeZero else {
      throw Unreadable("\(text) would end at once" + (mayBeOff ? "; did you mean off?" : ""))
    }
    return UInt32(milliseconds)
  }

  /// Bytes of `64KiB`; `B`, `KiB`, `MiB` and `GiB` are the units. At most `limit`.
  static func size(_ text: String, limit: UInt64) throws(Unreadable) -> UInt64 {
    let units: [(String, UInt64)] = [
      ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30),
    ]
    let sample = "a size is a whole number and a unit: 512B, 64KiB, 1MiB, 2GiB"
    let (number, factor) = try quantity(
      text, units: units, suggested: ["B", "KiB"], sample: sample)
    let (bytes, overflows) = number.multipliedReportingOverflow(by: factor)
    guard !overflows, bytes <= limit else {
      throw Unreadable("\(text) is more than \(limit) bytes")
    }
    return bytes
  }

  /// Bytes a second; `off` is 0. A bucket of less than one read would be no use.
  static func bandwidth(_ text: String) throws(Unreadable) -> UInt64 {
    if text == "off" { return 0 }
    let bytes = try size(text, limit: bandwidthMax)
    guard bytes >= bandwidthMin else {
      throw Unreadable("\(text) is less than 1KiB; did you mean off?")
    }
    return bytes
  }

  static let bandwidthMin: UInt64 = 1 << 10
  /// What the data plane's arithmetic takes: 64GiB.
  static let bandwidthMax: UInt64 = 1 << 36

  static func memory(_ text: String) throws(Unreadable) -> MemoryLimit {
    switch text {
    case "auto": .auto
    case "off": .off
    default: .bytes(try size(text, limit: 1 << 50))
    }
  }

  /// A number and the factor of its unit.
  private static func quantity(
    _ text: String, units: [(String, UInt64)], suggested: [String], sample: String
  ) throws(Unreadable) -> (UInt64, UInt64) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let unit = String(text.dropFirst(digits.count))
    guard !digits.isEmpty, !unit.contains(where: { $0 == ":" || $0 == "." || $0.isNumber }) else {
      throw Unreadable("\"\(text)\" is not understood; \(sample)")
    }
    guard !unit.isEmpty else {
      let choices = suggested.map { "\(text)\($0)" }.joined(separator: " or ")
      throw Unreadable("\"\(text)\" has no unit; write \(choices)")
    }
    guard let factor = units.first(where: { $0.0 == unit })?.1 else {
      let names = units.map(\.0).joined(separator: ", ")
      throw Unreadable("unknown unit \"\(unit)\" in \"\(text)\"; units are \(names)")
    }
    guard digits == "0" || !digits.hasPrefix("0") else {
      throw Unreadable("\"\(text)\" has a leading zero; numbers are decimal")
    }
    // Twenty digits and more overflow; so does what they would be in any unit.
    return (UInt64(digits) ?? UInt64.max, factor)
  }

  /// One of some words; the nearest is suggested for others.
  static func choice<Value>(
    _ text: String, of choices: KeyValuePairs<String, Value>, takes: String
  ) throws(Unreadable) -> Value {
    if let found = choices.first(where: { $0.key == text }) { return found.value }
    let hint = Nearest.hint(for: text, among: choices.map(\.key))
    throw Unreadable("\"\(text)\" is not one of \(takes)\(hint)")
  }

  static func congestion(_ text: String) throws(Unreadable) -> String {
    let isName = text.utf8.allSatisfy { isNameByte($0) }
    guard !text.isEmpty, isName, text.utf8.count <= congestionLengthMax else {
      throw Unreadable("\"\(text)\" is not the name of a congestion control, such as bbr or cubic")
    }
    return text
  }

  /// Where the connection log goes.
  static func logTarget(_ text: String, takes: String) throws(Unreadable) -> LogTarget {
    guard text.hasPrefix("/") else {
      return try choice(
        text, of: ["stdout": .stdout, "journal": .journal, "off": .off], takes: takes)
    }
    guard !text.hasSuffix("/") else { throw Unreadable("\"\(text)\" is a directory; name a file") }
    guard text.utf8.count <= pathLengthMax else {
      throw Unreadable("the path is longer than \(pathLengthMax) bytes")
    }
    return .file(text)
  }

  /// The same for editors.
  static let namePattern = "^[A-Za-z0-9._-]{1,\(nameLengthMax)}$"

  /// Whether `text` may name a listener or a backend.
  static func isName(_ text: String) -> Bool {
    (1...nameLengthMax).contains(text.utf8.count) && text.utf8.allSatisfy { isNameByte($0) }
  }

  static func isDigits(_ text: some StringProtocol) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy(isDigit)
  }

  static func isDigit(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
      UInt8(ascii: "-"):
      true
    default: false
    }
  }
}
