internal import CLibc

/// The time, in the two ways a server needs it.
package enum Clock {
  /// Nanoseconds since an unnamed moment; never goes back. For deadlines and durations.
  package static var monotonicNs: UInt64 { system_monotonic_ns() }

  /// Milliseconds since 1970-01-01T00:00:00Z. For people.
  package static var wallMs: UInt64 { system_wall_ms() }

  /// Appends `2026-11-21T01:23:45.678Z`, 24 bytes (RFC 3339 section 5.6), without allocating when
  /// `text` has the room. Years above 9999 are written as 9999.
  package static func appendTimestamp(wallMs: UInt64, to text: inout [UInt8]) {
    text.append(addingCapacity: timestampBytes) { appendTimestamp(wallMs: wallMs, to: &$0) }
  }

  /// Appends the 24 bytes to `text`, which has the room.
  package static func appendTimestamp(wallMs: UInt64, to text: inout OutputSpan<UInt8>) {
    let ms = Int(min(wallMs, lastWallMs))
    let (days, msOfDay) = ms.quotientAndRemainder(dividingBy: 86_400_000)
    let date = civilDate(daysSince1970: days)
    appendDecimal(date.year, digits: 4, to: &text)
    text.append(UInt8(ascii: "-"))
    appendDecimal(date.month, digits: 2, to: &text)
    text.append(UInt8(ascii: "-"))
    appendDecimal(date.day, digits: 2, to: &text)
    text.append(UInt8(ascii: "T"))
    appendDecimal(msOfDay / 3_600_000, digits: 2, to: &text)
    text.append(UInt8(ascii: ":"))
    appendDecimal(msOfDay / 60_000 % 60, digits: 2, to: &text)
    text.append(UInt8(ascii: ":"))
    appendDecimal(msOfDay / 1000 % 60, digits: 2, to: &text)
    text.append(UInt8(ascii: "."))
    appendDecimal(msOfDay % 1000, digits: 3, to: &text)
    text.append(UInt8(ascii: "Z"))
  }

  package static let timestampBytes = 24

  /// The time now, as `appendTimestamp` writes it.
  package static var timestamp: String { timestamp(wallMs: wallMs) }

  package static func timestamp(wallMs: UInt64) -> String {
    var text: [UInt8] = []
    appendTimestamp(wallMs: wallMs, to: &text)
    return String(decoding: text, as: UTF8.self)
  }

  /// 9999-12-31T23:59:59.999Z, the last time with a four-digit year.
  private static let lastWallMs: UInt64 = 253_402_300_799_999

  private static func appendDecimal(_ value: Int, digits: Int, to text: inout OutputSpan<UInt8>) {
    if digits > 3 { text.append(digit(value / 1000)) }
    if digits > 2 { text.append(digit(value / 100)) }
    text.append(digit(value / 10))
    text.append(digit(value))
  }

  private static func digit(_ value: Int) -> UInt8 {
    UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value % 10)
  }

  /// The proleptic Gregorian date, counted in eras of 400 years (146,097 days) that begin on
  /// 1 March, so that the leap day is the last of its year.
  private static func civilDate(daysSince1970 days: Int) -> (year: Int, month: Int, day: Int) {
    let sinceMarch0 = days + 719_468
    let (era, dayOfEra) = sinceMarch0.quotientAndRemainder(dividingBy: 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    let year = era * 400 + yearOfEra + (month <= 2 ? 1 : 0)
    return (year, month, day)
  }
}
