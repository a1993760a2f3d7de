package import Config
package import DataPlane
internal import System
internal import Wire

/// How a connection's record is written: which fields, and in which form.
///
/// A field without a value is not there: of a plain connection's line it would be a quarter.
/// What came from outside (names of a ClientHello, ids, paths of sockets) is escaped in every
/// form: no control byte, no line feed and no invalid UTF-8 ever comes out.
package struct ConnectionLogLine: Sendable {
  package enum Form: Sendable {
    /// One object on one line (RFC 8259).
    case json
    /// `field=value` on one line, values in quotes where they need them.
    case text
    /// The fields of one entry of the systemd journal, each on a line, and an empty line.
    /// https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
    case journal
  }

  package let form: Form
  private let fields: [LogField]
  /// What stands before the value of each field, `"client":` for one, one after the other.
  private let openings: [UInt8]
  /// Where the opening of each field ends.
  private let openingEnds: [Int]

  package init(_ form: Form, _ fields: [LogField] = LogField.allCases) {
    self.form = form
    self.fields = fields
    var openings: [UInt8] = []
    openingEnds = fields.map { field in
      openings.append(addingCapacity: 100) { $0.append(opening: field.rawValue, in: form) }
      return openings.count
    }
    self.openings = openings
  }

  /// What of a connection has to be found out for these fields.
  package var needs: RecordNeeds {
    let asksForPaths = fields.contains { field in
      switch field {
      case .clientRttMs, .clientRetransmits, .upstreamRttMs, .upstreamRetransmits: true
      default: false
      }
    }
    return asksForPaths ? [.records, .paths] : .records
  }

  /// Appends the line with its line feed. Nothing is allocated when `lines` has the room, which it
  /// has once it held a line as long; Unix addresses and names longer than 15 bytes included.
  package func append(_ record: ConnectionRecord, to lines: inout [UInt8]) {
    lines.append(addingCapacity: mostBytes(record)) { line in
      if form == .json { line.append(UInt8(ascii: "{")) }
      if form == .journal { line.append(messageOf: record) }
      for index in fields.indices { append(index, of: record, to: &line) }
      line.end(form)
    }
  }

  /// A line about the log itself.
  package func append(event: LogEvent, to lines: inout [UInt8]) {
    lines.append(addingCapacity: ConnectionLogLine.mostPlainBytes) { line in
      if form == .json { line.append(UInt8(ascii: "{")) }
      line.append(event: event, in: form)
      line.end(form)
    }
  }

  /// Numbers, times and our own words need no more than this, all fields together.
  private static let mostPlainBytes = 2048

  /// What is written of a record is no longer than this: what came from outside or from the
  /// configuration may be escaped, one byte as six, and stands in the message and in its field.
  private func mostBytes(_ record: ConnectionRecord) -> Int {
    var named = record.listener.utf8.count
    named += record.backend?.utf8.count ?? 0
    named += record.server?.utf8.count ?? 0
    named += record.parent?.utf8.count ?? 0
    named += record.rule?.utf8.count ?? 0
    named += record.client?.textLimit ?? 0
    named += record.local?.textLimit ?? 0
    if let introduction = record.introduction {
      named += introduction.sender?.textLimit ?? 0
      named += introduction.types.count + introduction.uniqueID.count
      named += introduction.firstBytes.count
    }
    if let tls = record.tls {
      named += tls.subject.utf8.count + tls.alpn.count + tls.failure.utf8.count
      named += tls.cipher.utf8.count
    }
    named += record.upstreamTLSFailure?.utf8.count ?? 0
    if let egress = record.egress {
      named += egress.user?.utf8.count ?? 0
      named += egress.method.utf8.count + egress.host.utf8.count + 6
      named += egress.rule?.utf8.count ?? 0
      named += egress.parent?.utf8.count ?? 0
    }
    if let hello = record.hello { named += hello.serverName.count + hello.protocols.count }
    return ConnectionLogLine.mostPlainBytes + openings.count + 12 * named
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

extension ConnectionLogLine {
  private func append(
    _ index: Int, of record: ConnectionRecord, to line: inout OutputSpan<UInt8>
  ) {
    guard record.isOver || fields[index].isOfRequest else { return }
    switch fields[index] {
    case .time:
      plain(index, &line) { Clock.appendTimestamp(wallMs: record.endedWallMs, to: &$0) }
    case .id: plain(index, &line) { record.id.append(to: &$0) }
    case .listener: text(index, record.listener, &line)
    case .client: address(index, record.client, &line)
    case .local: address(index, record.local, &line)
    case .backend: text(index, record.backend, &line)
    case .server: text(index, record.server, &line)
    case .tries: number(index, UInt64(record.tries), &line)
    case .bytesUp: number(index, record.bytesUp, &line)
    case .bytesDown: number(index, record.bytesDown, &line)
    case .splicedUp: number(index, record.splicedUp, &line)
    case .splicedDown: number(index, record.splicedDown, &line)
    case .connectMs: milliseconds(index, record.connectUs, &line)
    case .firstByteMs: milliseconds(index, record.firstByteUs, &line)
    case .durationMs: milliseconds(index, record.durationUs, &line)
    case .halfClosedMs: milliseconds(index, record.halfClosedUs, &line)
    case .clientRttMs: milliseconds(index, record.clientPath?.rttUs, &line)
    case .clientRetransmits: number(index, record.clientPath?.retransmits, &line)
    case .upstreamRttMs: milliseconds(index, record.upstreamPath?.rttUs, &line)
    case .upstreamRetransmits: number(index, record.upstreamPath?.retransmits, &line)
    case .end: text(index, record.end.rawValue, &line)
    case .reason: text(index, record.reason, &line)
    case .sender, .header, .tlvs, .senderID, .tlvsDropped, .firstBytes:
      if let introduction = record.introduction { append(index, of: introduction, to: &line) }
    case .rule: text(index, record.rule ?? record.egress?.rule, &line)
    case .sni, .alpn, .ech:
      if let hello = record.hello { append(index, of: hello, to: &line) }
    case .startTLS:
      if let didStartTLS = record.didStartTLS { truth(index, didStartTLS, &line) }
    case .tlsVersion, .tlsCipher, .tlsALPN, .tlsResumed, .tlsSubject, .tlsVerified, .tlsMs,
      .tlsFailure:
      if let tls = record.tls { append(index, of: tls, to: &line) }
    case .upstreamTLSFailure:
      if let failure = record.upstreamTLSFailure { text(index, failure, &line) }
    case .parent: text(index, record.parent ?? record.egress?.parent, &line)
    case .user, .method, .target, .address, .reported, .requests, .status:
      if let egress = record.egress {
        append(index, of: egress, isOver: record.isOver, to: &line)
      }
    }
  }

  /// Only lines of connections whose TLS ended here have these, and of a handshake that failed only
  /// the last one.
  private func append(
    _ index: Int, of tls: ConnectionRecord.Ended, to line: inout OutputSpan<UInt8>
  ) {
    let isDone = !tls.version.isEmpty
    switch fields[index] {
    case .tlsVersion where isDone: text(index, tls.version, &line)
    case .tlsCipher where isDone: text(index, tls.cipher, &line)
    case .tlsALPN where !tls.alpn.isEmpty: bytes(index, tls.alpn, &line)
    case .tlsResumed where isDone: truth(index, tls.isResumed, &line)
    case .tlsSubject where !tls.subject.isEmpty: text(index, tls.subject, &line)
    case .tlsVerified where !tls.subject.isEmpty: truth(index, tls.isVerified, &line)
    case .tlsMs where isDone: milliseconds(index, tls.handshakeUs, &line)
    case .tlsFailure where !tls.failure.isEmpty: text(index, tls.failure, &line)
    default: break
    }
  }

  /// Only lines of connections that have something to tell have these fields.
  private func append(
    _ index: Int, of introduction: ConnectionRecord.Introduction,
    to line: inout OutputSpan<UInt8>
  ) {
    switch fields[index] {
    case .sender where introduction.sender != nil: address(index, introduction.sender, &line)
    case .header: text(index, introduction.header, &line)
    case .tlvs where !introduction.types.isEmpty:
      plain(index, &line) { $0.append(hexadecimal: introduction.types) }
    case .senderID where !introduction.uniqueID.isEmpty:
      bytes(index, introduction.uniqueID, &line)
    case .tlvsDropped where introduction.tlvsDropped > 0:
      number(index, UInt64(introduction.tlvsDropped), &line)
    case .firstBytes where !introduction.firstBytes.isEmpty:
      plain(index, &line) { $0.append(hexadecimal: introduction.firstBytes) }
    default: break
    }
  }

  /// Only lines of connections whose ClientHello was read have these.
  private func append(
    _ index: Int, of hello: ConnectionRecord.Hello, to line: inout OutputSpan<UInt8>
  ) {
    switch fields[index] {
    case .sni: bytes(index, hello.serverName, &line)
    case .alpn: bytes(index, hello.protocols, &line)
    case .ech: truth(index, hello.offersECH, &line)
    default: break
    }
  }

  /// Only lines of forward proxies that were asked for something have these.
  private func append(
    _ index: Int, of egress: ConnectionRecord.Egress, isOver: Bool,
    to line: inout OutputSpan<UInt8>
  ) {
    switch fields[index] {
    case .user: text(index, egress.user, &line)
    case .method: text(index, egress.method, &line)
    case .target: text(index, "\(egress.host):\(egress.port)", &line)
    case .address: address(index, egress.address, &line)
    case .reported where egress.isReported: truth(index, true, &line)
    case .requests where egress.requests > 1 || !isOver:
      number(index, UInt64(egress.requests), &line)
    case .status where egress.status > 0: number(index, UInt64(egress.status), &line)
    default: break
    }
  }

  // ---- values: nothing for none ------------------------------------------------------------

  private func open(_ index: Int, _ line: inout OutputSpan<UInt8>) {
    let start = index == 0 ? 0 : openingEnds[index - 1]
    line.append(bytes: openings.span.extracting(start..<openingEnds[index]))
  }

  private func number(_ index: Int, _ value: UInt64?, _ line: inout OutputSpan<UInt8>) {
    guard let value else { return }
    open(index, &line)
    line.append(decimal: value)
    line.close(form)
  }

  private func truth(_ index: Int, _ value: Bool, _ line: inout OutputSpan<UInt8>) {
    open(index, &line)
    line.append(text: value ? "true" : "false")
    line.close(form)
  }

  private func milliseconds(_ index: Int, _ us: UInt64?, _ line: inout OutputSpan<UInt8>) {
    guard let us else { return }
    open(index, &line)
    line.append(milliseconds: us)
    line.close(form)
  }

  /// Text of letters, digits and points: it never needs escaping, and quotes in JSON only.
  private func plain(
    _ index: Int, _ line: inout OutputSpan<UInt8>, _ body: (inout OutputSpan<UInt8>) -> Void
  ) {
    open(index, &line)
    line.append(in: form, plain: body)
    line.close(form)
  }

  /// Bytes from outside as text; what is no UTF-8 is replaced, and none is no value.
  private func bytes(_ index: Int, _ bytes: [UInt8], _ line: inout OutputSpan<UInt8>) {
    text(index, bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self), &line)
  }

  private func text(_ index: Int, _ value: String?, _ line: inout OutputSpan<UInt8>) {
    guard let value else { return }
    open(index, &line)
    line.append(in: form, quoted: value.utf8)
    line.close(form)
  }

  /// Only a Unix path can hold bytes that need escaping.
  private func address(
    _ index: Int, _ address: SocketAddress?, _ line: inout OutputSpan<UInt8>
  ) {
    guard let address else { return }
    guard case .unix = address else { return plain(index, &line) { address.append(to: &$0) } }
    open(index, &line)
    line.append(in: form, quoted: address.description.utf8)
    line.close(form)
  }
}

extension LogField {
  /// Whether a line about a request has it behind which the connection went on.
  fileprivate var isOfRequest: Bool {
    switch self {
    case .time, .id, .listener, .client, .local, .backend, .server, .rule, .user, .method, .target,
      .address, .reported, .parent, .requests, .status:
      true
    default: false
    }
  }
}

// How the three forms differ.
extension OutputSpan<UInt8> {
  fileprivate mutating func append(opening name: String, in form: ConnectionLogLine.Form) {
    switch form {
    case .json:
      append(text: "\"\(name)\":")
    case .text:
      append(text: "\(name)=")
    case .journal:
      append(text: "SLUICE_\(name.uppercased())=")
    }
  }

  /// After a value.
  fileprivate mutating func close(_ form: ConnectionLogLine.Form) {
    switch form {
    case .json: append(UInt8(ascii: ","))
    case .text: append(UInt8(ascii: " "))
    case .journal: append(UInt8(ascii: "\n"))
    }
  }

  fileprivate mutating func append(
    in form: ConnectionLogLine.Form, plain body: (inout OutputSpan<UInt8>) -> Void
  ) {
    if form == .json { append(UInt8(ascii: "\"")) }
    body(&self)
    if form == .json { append(UInt8(ascii: "\"")) }
  }

  fileprivate mutating func append(
    in form: ConnectionLogLine.Form, quoted text: String.UTF8View
  ) {
    let wantsQuotes: Bool =
      switch form {
      case .json: true
      case .text: ConnectionLogLine.needsQuotes(text)
      case .journal: false
      }
    if wantsQuotes { append(UInt8(ascii: "\"")) }
    append(escaped: text)
    if wantsQuotes { append(UInt8(ascii: "\"")) }
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

  /// After the last field: its comma or blank goes.
  fileprivate mutating func end(_ form: ConnectionLogLine.Form) {
    switch form {
    case .json:
      if span[count - 1] == UInt8(ascii: ",") { _ = removeLast() }
      append(text: "}\n")
    case .text:
      if count > 0 { _ = removeLast() }
      append(UInt8(ascii: "\n"))
    case .journal:
      append(UInt8(ascii: "\n"))
    }
  }

  /// The sentence that `journalctl` shows; the fields tell the rest.
  fileprivate mutating func append(messageOf record: ConnectionRecord) {
    append(text: "MESSAGE=")
    append(escaped: record.listener.utf8)
    append(text: " ")
    if let client = record.client { append(escaped: client.description.utf8) }
    if let server = record.server {
      append(text: " -> ")
      append(escaped: server.utf8)
    }
    append(text: ": ")
    append(text: record.reason ?? (record.isOver ? record.end.rawValue : "a request"))
    append(text: "\nPRIORITY=6\nSYSLOG_IDENTIFIER=sluice\n")
  }

  fileprivate mutating func append(event: LogEvent, in form: ConnectionLogLine.Form) {
    let (word, reason, lines): (String, String?, UInt64) =
      switch event {
      case .dropped(let lines): ("log.dropped", nil, lines)
      case .suppressed(let reason, let lines): ("log.suppressed", reason, lines)
      }
    if form == .journal {
      let about = reason.map { " about \($0)" } ?? ""
      append(text: "MESSAGE=\(lines) lines\(about): \(word)\n")
      append(text: "PRIORITY=4\nSYSLOG_IDENTIFIER=sluice\n")
    }
    append(opening: "time", in: form)
    append(in: form, plain: { Clock.appendTimestamp(wallMs: Clock.wallMs, to: &$0) })
    close(form)
    for (name, value) in [("event", word), ("reason", reason)] {
      guard let value else { continue }
      append(opening: name, in: form)
      append(in: form, quoted: value.utf8)
      close(form)
    }
    append(opening: "lines", in: form)
    append(decimal: lines)
    close(form)
  }
}

extension ConnectionLogLine {
  /// In the text form: what a reader who splits at blanks and `=` would misread, and what looks
  /// like no value.
  fileprivate static func needsQuotes(_ text: String.UTF8View) -> Bool {
    if text.isEmpty || text.elementsEqual(CollectionOfOne(UInt8(ascii: "-"))) { return true }
    return text.contains { byte in
      byte <= UInt8(ascii: " ") || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "=")
        || byte == UInt8(ascii: "\\") || byte >= 0x7f
    }
  }
}
