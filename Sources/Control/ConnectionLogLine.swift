package import Config
package import DataPlane
internal import System
internal import Wire

/// How a connection's record is written: which fields, and in which form.
///
/// What came from outside (names of a ClientHello, ids, paths of sockets) is escaped in every
/// form: no control byte, no line feed and no invalid UTF-8 ever comes out.
package struct ConnectionLogLine: Sendable {
  package enum Form: Sendable {
    /// One object on one line (RFC 8259).
    case json
    /// `field=value` on one line, values in quotes where they need them, `-` for none.
    case text
    /// The fields of one entry of the systemd journal, each on a line, and an empty line.
    /// https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
    case journal
  }

  package let form: Form
  private let fields: [(field: LogField, opening: [UInt8])]

  package init(_ form: Form, _ fields: [LogField] = LogField.allCases) {
    self.form = form
    self.fields = fields.map { field in
      switch form {
      case .json: (field, Array("\"\(field.rawValue)\":".utf8))
      case .text: (field, Array("\(field.rawValue)=".utf8))
      case .journal: (field, Array("SLUICE_\(field.rawValue.uppercased())=".utf8))
      }
    }
  }

  /// What of a connection has to be found out for these fields.
  package var needs: RecordNeeds {
    let asksForPaths = fields.contains { field, _ in
      switch field {
      case .clientRttMs, .clientRetransmits, .upstreamRttMs, .upstreamRetransmits: true
      default: false
      }
    }
    return asksForPaths ? [.records, .paths] : .records
  }

  /// Appends the line with its line feed. Nothing is allocated when `line` has the room, which it
  /// has once it held a line as long; Unix addresses and names longer than 15 bytes included.
  package func append(_ record: ConnectionRecord, to line: inout [UInt8]) {
    var out = LogValues(form: form, line: line)
    line = []
    out.begin()
    if form == .journal { out.message(of: record) }
    for (field, opening) in fields { out.append(field, opening, of: record) }
    out.end()
    line = out.line
  }

  /// A line about the log itself.
  package func append(event: LogEvent, to line: inout [UInt8]) {
    var out = LogValues(form: form, line: line)
    line = []
    out.begin()
    out.event(event)
    out.end()
    line = out.line
  }

  /// How many entries these are.
  package func count(_ entries: Span<UInt8>) -> UInt64 {
    var count: UInt64 = 0
    for index in entries.indices where isEnd(index, entries) { count += 1 }
    return count
  }

  /// Whether an entry ends with this byte.
  package func isEnd(_ index: Int, _ entries: Span<UInt8>) -> Bool {
    guard entries[index] == UInt8(ascii: "\n") else { return false }
    return form != .journal || (index > 0 && entries[index - 1] == UInt8(ascii: "\n"))
  }
}

/// What the log says about itself.
package enum LogEvent: Sendable, Equatable {
  /// Lines that could not be written in time, or at all.
  case dropped(lines: UInt64)
  /// Lines about rejections for one reason, left out because there were too many.
  case suppressed(reason: String, lines: UInt64)
}

/// A line while it is written. `line` is moved in and out, so that it is never copied.
private struct LogValues {
  let form: ConnectionLogLine.Form
  var line: [UInt8]
  private var start = 0

  init(form: ConnectionLogLine.Form, line: [UInt8]) {
    self.form = form
    self.line = line
  }

  mutating func begin() {
    start = line.count
    if form == .json { line.append(UInt8(ascii: "{")) }
  }

  mutating func end() {
    switch form {
    case .json:
      // The last comma, if there was a field at all.
      if line.last == UInt8(ascii: ",") { line.removeLast() }
      line.append(text: "}\n")
    case .text:
      if line.count > start { line.removeLast() }
      line.append(UInt8(ascii: "\n"))
    case .journal:
      line.append(UInt8(ascii: "\n"))
    }
  }

  // ---- fields ------------------------------------------------------------------------------

  mutating func append(_ field: LogField, _ opening: [UInt8], of record: ConnectionRecord) {
    switch field {
    case .time: time(opening, record.endedWallMs)
    case .id: id(opening, record.id)
    case .listener: text(opening, record.listener)
    case .client: address(opening, record.client)
    case .local: address(opening, record.local)
    case .backend: text(opening, record.backend)
    case .server: text(opening, record.server)
    case .tries: number(opening, UInt64(record.tries))
    case .bytesUp: number(opening, record.bytesUp)
    case .bytesDown: number(opening, record.bytesDown)
    case .splicedUp: number(opening, record.splicedUp)
    case .splicedDown: number(opening, record.splicedDown)
    case .connectMs: milliseconds(opening, record.connectUs)
    case .firstByteMs: milliseconds(opening, record.firstByteUs)
    case .durationMs: milliseconds(opening, record.durationUs)
    case .halfClosedMs: milliseconds(opening, record.halfClosedUs)
    case .clientRttMs: milliseconds(opening, record.clientPath?.rttUs)
    case .clientRetransmits: number(opening, record.clientPath?.retransmits)
    case .upstreamRttMs: milliseconds(opening, record.upstreamPath?.rttUs)
    case .upstreamRetransmits: number(opening, record.upstreamPath?.retransmits)
    case .end: text(opening, record.end.rawValue)
    case .reason: text(opening, record.reason)
    case .sender, .header, .tlvs, .senderID, .tlvsDropped, .firstBytes:
      if let introduction = record.introduction { append(field, opening, of: introduction) }
    case .sni, .alpn, .ech:
      if let hello = record.hello { append(field, opening, of: hello) }
    }
  }

  /// Only lines of connections that have something to tell have these fields.
  private mutating func append(
    _ field: LogField, _ opening: [UInt8], of introduction: ConnectionRecord.Introduction
  ) {
    switch field {
    case .sender where introduction.sender != nil: address(opening, introduction.sender)
    case .header: text(opening, introduction.header)
    case .tlvs where !introduction.types.isEmpty: hexadecimal(opening, introduction.types)
    case .senderID where !introduction.uniqueID.isEmpty: bytes(opening, introduction.uniqueID)
    case .tlvsDropped where introduction.tlvsDropped > 0:
      number(opening, UInt64(introduction.tlvsDropped))
    case .firstBytes where !introduction.firstBytes.isEmpty:
      hexadecimal(opening, introduction.firstBytes)
    default: break
    }
  }

  /// Only lines of connections whose ClientHello was read have these.
  private mutating func append(
    _ field: LogField, _ opening: [UInt8], of hello: ConnectionRecord.Hello
  ) {
    switch field {
    case .sni: bytes(opening, hello.serverName)
    case .alpn: bytes(opening, hello.protocols)
    case .ech: bare(opening, hello.offersECH ? "true" : "false")
    default: break
    }
  }

  /// The sentence that `journalctl` shows; the fields tell the rest.
  mutating func message(of record: ConnectionRecord) {
    line.append(text: "MESSAGE=")
    line.append(escaped: record.listener.utf8)
    line.append(text: " ")
    record.client?.append(to: &line)
    if let server = record.server {
      line.append(text: " -> ")
      line.append(escaped: server.utf8)
    }
    line.append(text: ": ")
    line.append(text: record.reason ?? record.end.rawValue)
    line.append(text: "\nPRIORITY=6\nSYSLOG_IDENTIFIER=sluice\n")
  }

  mutating func event(_ event: LogEvent) {
    let (word, reason, lines): (String, String?, UInt64) =
      switch event {
      case .dropped(let lines): ("log.dropped", nil, lines)
      case .suppressed(let reason, let lines): ("log.suppressed", reason, lines)
      }
    if form == .journal {
      let about = reason.map { " about \($0)" } ?? ""
      line.append(text: "MESSAGE=\(lines) lines\(about): \(word)\n")
      line.append(text: "PRIORITY=4\nSYSLOG_IDENTIFIER=sluice\n")
    }
    time(opening("time"), Clock.wallMs)
    text(opening("event"), word)
    if let reason { text(opening("reason"), reason) }
    number(opening("lines"), lines)
  }

  private func opening(_ name: String) -> [UInt8] {
    switch form {
    case .json: Array("\"\(name)\":".utf8)
    case .text: Array("\(name)=".utf8)
    case .journal: Array("SLUICE_\(name.uppercased())=".utf8)
    }
  }

  // ---- values ------------------------------------------------------------------------------

  private mutating func close() {
    switch form {
    case .json: line.append(UInt8(ascii: ","))
    case .text: line.append(UInt8(ascii: " "))
    case .journal: line.append(UInt8(ascii: "\n"))
    }
  }

  private mutating func none(_ opening: [UInt8]) {
    switch form {
    case .json: bare(opening, "null")
    case .text: bare(opening, "-")
    case .journal: break  // a field that is not there
    }
  }

  private mutating func bare(_ opening: [UInt8], _ value: String) {
    line.append(contentsOf: opening)
    line.append(text: value)
    close()
  }

  private mutating func number(_ opening: [UInt8], _ value: UInt64?) {
    guard let value else { return none(opening) }
    line.append(contentsOf: opening)
    line.append(decimal: value)
    close()
  }

  private mutating func milliseconds(_ opening: [UInt8], _ us: UInt64?) {
    guard let us else { return none(opening) }
    line.append(contentsOf: opening)
    line.append(milliseconds: us)
    close()
  }

  /// Text of letters, digits and points: it never needs escaping, and quotes in JSON only.
  private mutating func plain(_ opening: [UInt8], _ body: (inout [UInt8]) -> Void) {
    line.append(contentsOf: opening)
    if form == .json { line.append(UInt8(ascii: "\"")) }
    body(&line)
    if form == .json { line.append(UInt8(ascii: "\"")) }
    close()
  }

  private mutating func time(_ opening: [UInt8], _ wallMs: UInt64) {
    plain(opening) { Clock.appendTimestamp(wallMs: wallMs, to: &$0) }
  }

  private mutating func id(_ opening: [UInt8], _ id: UniqueID) {
    plain(opening) { id.append(to: &$0) }
  }

  private mutating func hexadecimal(_ opening: [UInt8], _ bytes: [UInt8]) {
    plain(opening) { $0.append(hexadecimal: bytes) }
  }

  /// Bytes from outside as text; what is no UTF-8 is replaced, and none is no value.
  private mutating func bytes(_ opening: [UInt8], _ bytes: [UInt8]) {
    text(opening, bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self))
  }

  private mutating func text(_ opening: [UInt8], _ value: String?) {
    guard let value else { return none(opening) }
    line.append(contentsOf: opening)
    quoted(value.utf8)
    close()
  }

  /// Only a Unix path can hold bytes that need escaping: an address is written plain first, and
  /// again when it does.
  private mutating func address(_ opening: [UInt8], _ address: SocketAddress?) {
    guard let address else { return none(opening) }
    line.append(contentsOf: opening)
    guard case .unix = address else {
      if form == .json { line.append(UInt8(ascii: "\"")) }
      address.append(to: &line)
      if form == .json { line.append(UInt8(ascii: "\"")) }
      return close()
    }
    let start = line.count
    address.append(to: &line)
    let path = Array(line[start...])
    line.removeLast(path.count)
    quoted(path)
    close()
  }

  private mutating func quoted(_ text: some Collection<UInt8>) {
    let wantsQuotes: Bool =
      switch form {
      case .json: true
      case .text: needsQuotes(text)
      case .journal: false
      }
    if wantsQuotes { line.append(UInt8(ascii: "\"")) }
    line.append(escaped: text)
    if wantsQuotes { line.append(UInt8(ascii: "\"")) }
  }

  /// In the text form: what a reader who splits at blanks and `=` would misread, and what looks
  /// like no value.
  private func needsQuotes(_ text: some Collection<UInt8>) -> Bool {
    if text.isEmpty || text.elementsEqual(CollectionOfOne(UInt8(ascii: "-"))) { return true }
    return text.contains { byte in
      byte <= UInt8(ascii: " ") || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "=")
        || byte == UInt8(ascii: "\\") || byte >= 0x7f
    }
  }
}
