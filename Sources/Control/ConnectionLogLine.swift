package import DataPlane
internal import System
internal import Wire

/// The JSON text of a connection's record: one object on one line (RFC 8259).
package enum ConnectionLogLine {
  /// Appends the line and its line feed. Nothing is allocated when `line` has the room, which it
  /// has once it held a line as long; Unix addresses and names longer than 15 bytes included.
  package static func append(_ record: ConnectionRecord, to line: inout [UInt8]) {
    line.append(text: "{\"time\":\"")
    Clock.appendTimestamp(wallMs: record.endedWallMs, to: &line)
    line.append(text: "\",\"id\":\"")
    record.id.append(to: &line)
    line.append(text: "\",\"listener\":")
    line.append(jsonString: record.listener)
    line.append(text: ",\"client\":")
    line.append(jsonString: record.client)
    line.append(text: ",\"local\":")
    line.append(jsonString: record.local)
    line.append(text: ",\"backend\":")
    line.append(jsonString: record.backend)
    line.append(text: ",\"server\":")
    line.append(jsonString: record.server)
    line.append(text: ",\"tries\":")
    line.append(decimal: UInt64(record.tries))
    appendCounts(of: record, to: &line)
    line.append(text: ",\"end\":")
    line.append(jsonString: record.end.rawValue)
    line.append(text: ",\"reason\":")
    line.append(jsonString: record.reason)
    if let introduction = record.introduction { append(introduction, to: &line) }
    line.append(text: "}\n")
  }

  /// Only lines of connections that have something to tell have these fields.
  private static func append(
    _ introduction: ConnectionRecord.Introduction, to line: inout [UInt8]
  ) {
    if let sender = introduction.sender {
      line.append(text: ",\"peer\":")
      line.append(jsonString: sender)
    }
    line.append(text: ",\"header\":")
    line.append(jsonString: introduction.header)
    if !introduction.types.isEmpty {
      line.append(text: ",\"tlvs\":\"")
      line.append(hexadecimal: introduction.types)
      line.append(UInt8(ascii: "\""))
    }
    if !introduction.uniqueID.isEmpty {
      line.append(text: ",\"peer_id\":")
      line.append(jsonString: String(decoding: introduction.uniqueID, as: UTF8.self))
    }
    if introduction.tlvsDropped > 0 {
      line.append(text: ",\"tlvs_dropped\":")
      line.append(decimal: UInt64(introduction.tlvsDropped))
    }
    if !introduction.firstBytes.isEmpty {
      line.append(text: ",\"first_bytes\":\"")
      line.append(hexadecimal: introduction.firstBytes)
      line.append(UInt8(ascii: "\""))
    }
  }

  private static func appendCounts(of record: ConnectionRecord, to line: inout [UInt8]) {
    line.append(text: ",\"bytes_up\":")
    line.append(decimal: record.bytesUp)
    line.append(text: ",\"bytes_down\":")
    line.append(decimal: record.bytesDown)
    line.append(text: ",\"spliced_up\":")
    line.append(decimal: record.splicedUp)
    line.append(text: ",\"spliced_down\":")
    line.append(decimal: record.splicedDown)
    line.append(text: ",\"connect_ms\":")
    line.append(milliseconds: record.connectUs)
    line.append(text: ",\"first_byte_ms\":")
    line.append(milliseconds: record.firstByteUs)
    line.append(text: ",\"duration_ms\":")
    line.append(milliseconds: record.durationUs)
    line.append(text: ",\"half_closed_ms\":")
    line.append(milliseconds: record.halfClosedUs)
  }
}

extension [UInt8] {
  mutating func append(text: String) {
    append(contentsOf: text.utf8)
  }

  mutating func append(decimal value: UInt64) {
    var unit: UInt64 = 1
    while value / unit >= 10 { unit *= 10 }
    while unit > 0 {
      append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value / unit % 10))
      unit /= 10
    }
  }

  /// Microseconds as milliseconds: 120 is `0.12`, 20300 is `20.3`, 0 is `0.0`.
  mutating func append(milliseconds us: UInt64) {
    append(decimal: us / 1000)
    append(UInt8(ascii: "."))
    var (rest, unit) = (us % 1000, 100 as UInt64)
    repeat {
      append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest / unit))
      rest %= unit
      unit /= 10
    } while rest > 0
  }

  /// In quotes, escaped as RFC 8259 section 7 demands; nil is `null`.
  mutating func append(jsonString value: String?) {
    guard let value else { return append(text: "null") }
    append(UInt8(ascii: "\""))
    for byte in value.utf8 { append(jsonByte: byte) }
    append(UInt8(ascii: "\""))
  }

  /// The address's text in quotes; nil is `null`. Only a Unix path can hold bytes that need
  /// escaping; it is written plain first, and again when it does.
  mutating func append(jsonString address: SocketAddress?) {
    guard let address else { return append(text: "null") }
    append(UInt8(ascii: "\""))
    let start = count
    address.append(to: &self)
    if self[start...].contains(where: { needsJSONEscape($0) }) {
      let plain = Array(self[start...])
      removeLast(plain.count)
      for byte in plain { append(jsonByte: byte) }
    }
    append(UInt8(ascii: "\""))
  }

  private mutating func append(jsonByte byte: UInt8) {
    guard needsJSONEscape(byte) else { return append(byte) }
    append(UInt8(ascii: "\\"))
    guard byte < 0x20 else { return append(byte) }
    append(text: "u00")
    append(hexadecimalDigit: byte >> 4)
    append(hexadecimalDigit: byte & 15)
  }

  mutating func append(hexadecimal bytes: [UInt8]) {
    for byte in bytes {
      append(hexadecimalDigit: byte >> 4)
      append(hexadecimalDigit: byte & 15)
    }
  }

  private mutating func append(hexadecimalDigit digit: UInt8) {
    append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
  }
}

private func needsJSONEscape(_ byte: UInt8) -> Bool {
  byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
}
