import Config
import DataPlane
import System
import TestSupport
import Testing
import Wire

@testable import Control

@Suite struct ConnectionLogLineTests {
  static let full = {
    var record = DataPlane.ConnectionRecord(
      endedWallMs: 1_795_224_225_678, id: UniqueID(high: 1, low: 0), listener: "smtp",
      client: .ipv4(0x7f00_0002, port: 51234), local: .ipv4(0x7f00_0001, port: 2525),
      end: .clientFIN)
    record.backend = "postfix"
    record.server = "127.0.0.1:10025"
    record.tries = 1
    record.bytesUp = 123
    record.bytesDown = 456
    record.splicedUp = 100
    record.splicedDown = .max
    record.connectUs = 120
    record.firstByteUs = 1500
    record.durationUs = 20_300
    record.clientPath = .init(rttUs: 30_500, retransmits: 2)
    return record
  }()

  private func line(
    _ record: DataPlane.ConnectionRecord, _ form: ConnectionLogLine.Form = .json,
    _ fields: [LogField] = LogField.allCases
  ) -> String {
    var bytes: [UInt8] = []
    ConnectionLogLine(form, fields).append(record, to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test func everyFieldHasItsPlace() {
    #expect(
      line(Self.full) == """
        {"time":"2026-11-21T01:23:45.678Z","id":"0000000000000G000000000000","listener":"smtp",\
        "client":"127.0.0.2:51234","local":"127.0.0.1:2525","backend":"postfix",\
        "server":"127.0.0.1:10025","tries":1,"bytes_up":123,"bytes_down":456,"spliced_up":100,\
        "spliced_down":18446744073709551615,"connect_ms":0.12,"first_byte_ms":1.5,\
        "duration_ms":20.3,"half_closed_ms":0.0,"client_rtt_ms":30.5,"client_retransmits":2,\
        "end":"client.fin"}

        """)
  }

  @Test func theTextFormHasTheSameFields() {
    #expect(
      line(Self.full, .text) == """
        time=2026-11-21T01:23:45.678Z id=0000000000000G000000000000 listener=smtp \
        client=127.0.0.2:51234 local=127.0.0.1:2525 backend=postfix \
        server=127.0.0.1:10025 tries=1 bytes_up=123 bytes_down=456 spliced_up=100 \
        spliced_down=18446744073709551615 connect_ms=0.12 first_byte_ms=1.5 \
        duration_ms=20.3 half_closed_ms=0.0 client_rtt_ms=30.5 client_retransmits=2 \
        end=client.fin

        """)
  }

  /// "entries are separated by … an empty line"; a value without a line feed follows its name
  /// and `=`. https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
  @Test func theJournalGetsFieldsOfItsOwn() {
    let text = line(Self.full, .journal)
    #expect(
      text.hasPrefix(
        """
        MESSAGE=smtp 127.0.0.2:51234 -> 127.0.0.1:10025: client.fin
        PRIORITY=6
        SYSLOG_IDENTIFIER=sluice
        SLUICE_TIME=2026-11-21T01:23:45.678Z
        SLUICE_ID=0000000000000G000000000000
        SLUICE_LISTENER=smtp

        """))
    #expect(text.hasSuffix("SLUICE_CLIENT_RETRANSMITS=2\nSLUICE_END=client.fin\n\n"))
    // What is not known is no field.
    #expect(!text.contains("REASON") && !text.contains("UPSTREAM_RTT"))
    for name in text.split(separator: "\n").map({ $0.prefix { $0 != "=" } }) {
      #expect(name.allSatisfy { $0 == "_" || ($0.isASCII && $0.isUppercase) }, "\(name)")
    }
  }

  @Test func fieldsAreThoseOfTheConfigurationInItsOrder() {
    let fields: [LogField] = [.end, .client, .tlvs]
    #expect(
      line(Self.full, .json, fields) == #"{"end":"client.fin","client":"127.0.0.2:51234"}"# + "\n")
    #expect(line(Self.full, .text, fields) == "end=client.fin client=127.0.0.2:51234\n")
    #expect(
      line(Self.full, .journal, [.end])
        == "MESSAGE=smtp 127.0.0.2:51234 -> 127.0.0.1:10025: client.fin\nPRIORITY=6\n"
        + "SYSLOG_IDENTIFIER=sluice\nSLUICE_END=client.fin\n\n")
    // Fields that this connection has nothing to say about.
    #expect(line(Self.full, .json, [.tlvs]) == "{}\n")
    #expect(line(Self.full, .text, [.tlvs]) == "\n")
    #expect(ConnectionLogLine(.json, fields).needs == .records)
    #expect(ConnectionLogLine(.text, [.end, .upstreamRttMs]).needs == [.records, .paths])
  }

  /// Bytes from outside: escape sequences, line feeds, quotes, C1 controls, what is no UTF-8.
  private static let hostile: [UInt8] =
    Array("\u{1b}[2J\n\"'\\=\u{9b}31m\u{7f}\u{0} é".utf8) + [0xff, 0xc2]

  private static var hostileRecord: DataPlane.ConnectionRecord {
    var record = full
    record.server = String(decoding: hostile, as: UTF8.self)
    record.local = .unix(path: "/run/\u{1b}\n\".sock")
    record.introduction = .init(
      sender: .unix(path: "\u{0}a\nb"), header: "v2", types: [5], uniqueID: hostile)
    return record
  }

  @Test(arguments: [ConnectionLogLine.Form.json, .text, .journal])
  func noControlByteComesOut(_ form: ConnectionLogLine.Form) {
    var bytes: [UInt8] = []
    ConnectionLogLine(form).append(Self.hostileRecord, to: &bytes)
    let text = String(decoding: bytes, as: UTF8.self)
    // Valid as it is, nothing was repaired.
    #expect(Array(text.utf8) == bytes)
    for scalar in text.unicodeScalars where scalar != "\n" {
      #expect(scalar.value >= 0x20 && !(0x7f...0x9f).contains(scalar.value))
    }
    let ends = bytes.indices.filter { ConnectionLogLine(form).isEnd($0, bytes.span) }
    #expect(ends == [bytes.count - 1])
    let escaped = #"\u001b[2J\u000a\"'\\=\u009b31m\u007f\u0000 é"# + "\u{fffd}\u{fffd}"
    #expect(text.contains(escaped))
    switch form {
    case .json: #expect(text.contains("\"server\":\"\(escaped)\","))
    case .text: #expect(text.contains(" server=\"\(escaped)\" "))
    case .journal: #expect(text.contains("\nSLUICE_SERVER=\(escaped)\n"))
    }
  }

  @Test func jsonOfHostileBytesIsRead() throws {
    let value = try JSONValue(line(Self.hostileRecord))
    #expect(value["server"]?.string == String(decoding: Self.hostile, as: UTF8.self))
    #expect(value["local"]?.string == "unix:/run/\u{1b}\n\".sock")
    #expect(value["peer_id"]?.string == String(decoding: Self.hostile, as: UTF8.self))
  }

  @Test(arguments: [
    ("", "\"\""), ("-", "\"-\""), ("a b", "\"a b\""), ("a=b", "\"a=b\""), ("a-b", "a-b"),
    ("é", "\"é\""),
  ])
  func textIsQuotedWhereItWouldBeMisread(value: String, written: String) {
    var record = Self.full
    record.server = value
    #expect(line(record, .text, [.server]) == "server=\(written)\n")
  }

  @Test(arguments: [ConnectionLogLine.Form.json, .text, .journal])
  func linesAboutTheLogItself(_ form: ConnectionLogLine.Form) {
    var bytes: [UInt8] = []
    let line = ConnectionLogLine(form)
    line.append(event: .dropped(lines: 7), to: &bytes)
    line.append(event: .suppressed(reason: "proxy.timeout", lines: 8), to: &bytes)
    #expect(line.count(bytes.span) == 2)
    let text = String(decoding: bytes, as: UTF8.self)
    switch form {
    case .json:
      #expect(text.contains(#","event":"log.dropped","lines":7}"#))
      #expect(text.contains(#","event":"log.suppressed","reason":"proxy.timeout","lines":8}"#))
    case .text: #expect(text.contains(" event=log.suppressed reason=proxy.timeout lines=8\n"))
    case .journal:
      #expect(text.contains("\nSLUICE_EVENT=log.suppressed\nSLUICE_REASON=proxy.timeout\n"))
      #expect(text.contains("PRIORITY=4\n"))
    }
  }

  @Test func whatIsNotKnownIsNotThere() {
    var record = DataPlane.ConnectionRecord(
      endedWallMs: 0, id: UniqueID(high: 0, low: 0), listener: "l",
      client: .unix(path: ""), local: .unix(path: "/run/l"), end: .rejected)
    record.reason = "limit.connections"
    let text = line(record)
    #expect(text.contains(#""client":"unix:","local":"unix:/run/l","tries":0"#))
    #expect(text.contains(#""connect_ms":0.0,"first_byte_ms":0.0,"duration_ms":0.0"#))
    #expect(
      text.hasSuffix(
        #""half_closed_ms":0.0,"end":"rejected","reason":"limit.connections"}"# + "\n"))
  }

  /// Only connections whose ClientHello was read have these fields, behind all others. Names are
  /// bytes from outside.
  @Test func whatAClientHelloSays() {
    let bare = line(Self.full).dropLast(2)
    let told = { (hello: DataPlane.ConnectionRecord.Hello) in
      var record = Self.full
      record.hello = hello
      let text = line(record)
      #expect(text.hasPrefix(bare))
      return String(text.dropFirst(bare.count))
    }
    #expect(told(.init()) == #","ech":false}"# + "\n")
    #expect(
      told(
        .init(
          serverName: Array("mail.example.test".utf8), protocols: Array("h2,http/1.1".utf8),
          offersECH: true))
        == #","sni":"mail.example.test","alpn":"h2,http/1.1","ech":true}"# + "\n")
    #expect(
      told(.init(serverName: Array("a\"\\\n\u{1b}[1m".utf8), protocols: [0xff, 0x22]))
        == #","sni":"a\"\\\u000a\u001b[1m","alpn":"\#u{fffd}\"","ech":false}"# + "\n")
    var record = Self.full
    record.rule = "tenant-a"
    #expect(line(record) == bare + #","rule":"tenant-a"}"# + "\n")
    record.hello = .init(serverName: Array("a b".utf8))
    #expect(line(record, .text, [.sni, .alpn, .ech]) == "sni=\"a b\" ech=false\n")
    record.hello = nil
    record.didStartTLS = false
    #expect(line(record).hasSuffix(#","starttls":false}"# + "\n"))
    record.didStartTLS = true
    #expect(line(record, .text, [.startTLS]) == "starttls=true\n")
  }

  @Test func whereTLSEndedItIsTold() {
    let bare = String(line(Self.full).dropLast(2))
    var record = Self.full
    var tls = DataPlane.ConnectionRecord.Ended()
    record.tls = tls
    #expect(line(record) == bare + "}\n")
    (tls.version, tls.cipher, tls.handshakeUs) = ("TLSv1.3", "TLS_AES_256_GCM_SHA384", 1234)
    record.tls = tls
    let told: String =
      bare + #","tls_version":"TLSv1.3","tls_cipher":"TLS_AES_256_GCM_SHA384","tls_resumed":false"#
    #expect(line(record) == told + #","tls_ms":1.234}"# + "\n")
    (tls.subject, tls.isVerified) = ("CN=a\"\u{1b}[1m", true)
    (tls.alpn, tls.isResumed) = (Array("imap".utf8), true)
    record.tls = tls
    let client: [LogField] = [.tlsALPN, .tlsResumed, .tlsSubject]
    let shown = #"{"tls_alpn":"imap","tls_resumed":true,"tls_subject":"CN=a\"\u001b[1m"}"#
    #expect(line(record, .json, client) == shown + "\n")
    #expect(line(record, .text, [.tlsVerified]) == "tls_verified=true\n")
    var failed = DataPlane.ConnectionRecord.Ended()
    failed.failure = "no shared cipher"
    record.tls = failed
    record.upstreamTLSFailure = "certificate verify failed"
    let end =
      #","tls_failure":"no shared cipher","upstream_tls_failure":"certificate verify failed"}"#
    #expect(line(record) == bare + end + "\n")
  }

  @Test(
    arguments: [
      (0, "0.0"), (1, "0.001"), (10, "0.01"), (100, "0.1"), (999, "0.999"), (1000, "1.0"),
      (1001, "1.001"), (1_234_567, "1234.567"), (50_050, "50.05"),
    ] as [(UInt64, String)])
  func microsecondsAreMilliseconds(us: UInt64, text: String) {
    var bytes: [UInt8] = []
    bytes.append(addingCapacity: 30) { $0.append(milliseconds: us) }
    #expect(String(decoding: bytes, as: UTF8.self) == text)
  }

  /// RFC 8259 section 7: "the characters that MUST be escaped: quotation mark, reverse solidus,
  /// and the control characters (U+0000 through U+001F)."
  @Test func stringsAreEscaped() {
    var bytes: [UInt8] = []
    bytes.append(jsonString: "a\"b\\c\u{0}\n\u{1f}\u{7f}é")
    let text = #""a\"b\\c\u0000\u000a\u001f\u007fé""#
    #expect(String(decoding: bytes, as: UTF8.self) == text)
  }

  /// The line's buffer is used again: a second line of the same length finds its room.
  @Test func aReusedBufferDoesNotGrow() {
    var bytes: [UInt8] = []
    let line = ConnectionLogLine(.json)
    line.append(Self.full, to: &bytes)
    let capacity = bytes.capacity
    for _ in 0..<100 {
      bytes.removeAll(keepingCapacity: true)
      line.append(Self.full, to: &bytes)
    }
    #expect(bytes.capacity == capacity)
  }

  @Test func everyEndHasAWordOfItsOwn() {
    let words = Set(ConnectionEnd.allCases.map(\.rawValue))
    #expect(words.count == ConnectionEnd.allCases.count)
    #expect(words.contains("deadline.half-closed") && words.contains("upstream.rst"))
  }
}
