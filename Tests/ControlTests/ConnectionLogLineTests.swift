import DataPlane
import System
import Testing
import Wire

@testable import Control

@Suite struct ConnectionLogLineTests {
  static let full = {
    var record = ConnectionRecord(
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
    return record
  }()

  private func line(_ record: ConnectionRecord) -> String {
    var bytes: [UInt8] = []
    ConnectionLogLine.append(record, to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test func everyFieldHasItsPlace() {
    #expect(
      line(Self.full) == """
        {"time":"2026-11-21T01:23:45.678Z","id":"0000000000000G000000000000","listener":"smtp",\
        "client":"127.0.0.2:51234","local":"127.0.0.1:2525","backend":"postfix",\
        "server":"127.0.0.1:10025","tries":1,"bytes_up":123,"bytes_down":456,"spliced_up":100,\
        "spliced_down":18446744073709551615,"connect_ms":0.12,"first_byte_ms":1.5,\
        "duration_ms":20.3,"half_closed_ms":0.0,"end":"client.fin","reason":null}

        """)
  }

  @Test func whatIsNotKnownIsNull() {
    var record = ConnectionRecord(
      endedWallMs: 0, id: UniqueID(high: 0, low: 0), listener: "l",
      client: .unix(path: ""), local: .unix(path: "/run/l"), end: .rejected)
    record.reason = "limit.connections"
    let text = line(record)
    #expect(text.contains(#""client":"unix:","local":"unix:/run/l","backend":null"#))
    #expect(text.contains(#""server":null,"tries":0,"bytes_up":0"#))
    #expect(text.contains(#""connect_ms":0.0,"first_byte_ms":0.0,"duration_ms":0.0"#))
    #expect(text.hasSuffix("\"end\":\"rejected\",\"reason\":\"limit.connections\"}\n"))
  }

  @Test(
    arguments: [
      (0, "0.0"), (1, "0.001"), (10, "0.01"), (100, "0.1"), (999, "0.999"), (1000, "1.0"),
      (1001, "1.001"), (1_234_567, "1234.567"), (50_050, "50.05"),
    ] as [(UInt64, String)])
  func microsecondsAreMilliseconds(us: UInt64, text: String) {
    var bytes: [UInt8] = []
    bytes.append(milliseconds: us)
    #expect(String(decoding: bytes, as: UTF8.self) == text)
  }

  /// RFC 8259 section 7: "the characters that MUST be escaped: quotation mark, reverse solidus,
  /// and the control characters (U+0000 through U+001F)."
  @Test func stringsAreEscaped() {
    var bytes: [UInt8] = []
    bytes.append(jsonString: "a\"b\\c\u{0}\n\u{1f}\u{7f}é")
    let text = #""a\"b\\c\u0000\u000a\u001f"# + "\u{7f}é\""
    #expect(String(decoding: bytes, as: UTF8.self) == text)
  }

  @Test func pathsOfUnixSocketsAreEscaped() {
    var bytes: [UInt8] = []
    bytes.append(jsonString: SocketAddress.unix(path: "/run/\"x\"\n.sock"))
    bytes.append(jsonString: SocketAddress.unix(path: "/run/y.sock"))
    #expect(
      String(decoding: bytes, as: UTF8.self)
        == #""unix:/run/\"x\"\u000a.sock""unix:/run/y.sock""#)
  }

  /// The line's buffer is used again: a second line of the same length finds its room.
  @Test func aReusedBufferDoesNotGrow() {
    var bytes: [UInt8] = []
    ConnectionLogLine.append(Self.full, to: &bytes)
    let capacity = bytes.capacity
    for _ in 0..<100 {
      bytes.removeAll(keepingCapacity: true)
      ConnectionLogLine.append(Self.full, to: &bytes)
    }
    #expect(bytes.capacity == capacity)
  }

  @Test func everyEndHasAWordOfItsOwn() {
    let words = Set(ConnectionEnd.allCases.map(\.rawValue))
    #expect(words.count == ConnectionEnd.allCases.count)
    #expect(words.contains("deadline.half-closed") && words.contains("upstream.rst"))
  }
}
