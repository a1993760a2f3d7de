import Testing
import Wire

/// Replies as they stand on the wire, written out byte by byte.
@Suite struct DNSReplyTests {
  @Test func addressesAndTheShortestTTL() throws {
    var message = Message(asking: "Mail.Example", .ipv4)
    message.record("mail.example", 1, ttl: 300, [192, 0, 2, 1])
    message.record("MAIL.example", 1, ttl: 60, [192, 0, 2, 2])
    message.record("mail.example", 1, ttl: 900, [192, 0, 2, 1])
    let reply = try message.read()
    #expect(reply.values == [.ipv4(0xc000_0201), .ipv4(0xc000_0202)])
    #expect(reply.ttl == 60)
    #expect(reply.code == 0)
  }

  @Test func sixteenBytesOfIPv6() throws {
    var message = Message(asking: "mail.example", .ipv6)
    message.record(
      "mail.example", 28, ttl: 5, [0x20, 1, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [7])
    #expect(try message.read().values == [.ipv6(high: 0x2001_0db8_0000_0000, low: 7)])
  }

  /// RFC 1034, section 3.6.2: "CNAME RRs cause special action in DNS software", the restart at the
  /// canonical name.
  @Test func aliasesAreFollowedWhereverTheyStand() throws {
    var message = Message(asking: "a.example", .ipv4)
    message.record("c.example", 1, ttl: 300, [192, 0, 2, 3])
    message.record("a.example", 5, ttl: 30, Message.name("b.example"))
    message.record("b.example", 5, ttl: 40, Message.name("c.example"))
    let reply = try message.read()
    #expect(reply.values == [.ipv4(0xc000_0203)])
    #expect(reply.ttl == 30)
  }

  @Test func aliasesInACircle() {
    var message = Message(asking: "a.example", .ipv4)
    message.record("a.example", 5, ttl: 30, Message.name("b.example"))
    message.record("b.example", 5, ttl: 40, Message.name("a.example"))
    #expect(throws: DNSReply.Fault.endlessAlias) { try message.read() }
  }

  @Test func otherNamesAreNotBelieved() throws {
    var message = Message(asking: "a.example", .ipv4)
    message.record("b.example", 1, ttl: 300, [192, 0, 2, 9])
    let reply = try message.read()
    #expect(reply.values.isEmpty)
    #expect(reply.ttl == nil)
  }

  /// RFC 2782: "Priority, Weight, Port, Target"; "A Target of "." means that the service is
  /// decidedly not available at this domain."
  @Test func services() throws {
    var message = Message(asking: "_imap._tcp.example", .service)
    message.record(
      "_imap._tcp.example", 33, ttl: 7, [0, 10, 0, 60, 0, 143] + Message.name("Mx.example"))
    message.record("_imap._tcp.example", 33, ttl: 9, [0, 0, 0, 0, 0, 0, 0])
    let reply = try message.read()
    #expect(
      reply.values == [
        .service(.init(priority: 10, weight: 60, port: 143, target: HostName("mx.example"))),
        .service(.init(priority: 0, weight: 0, port: 0, target: nil)),
      ])
  }

  /// RFC 2181, section 8: "Implementations should treat TTL values received with the most
  /// significant bit set as if the entire value received was zero."
  @Test func hugeTTLIsZero() throws {
    var message = Message(asking: "a.example", .ipv4)
    message.record("a.example", 1, ttl: 0x8000_0001, [192, 0, 2, 9])
    #expect(try message.read().ttl == 0)
  }

  @Test func codes() throws {
    var message = Message(asking: "a.example", .ipv4)
    message.bytes[3] = 0x83
    #expect(try message.read().code == 3)
  }

  @Test func everyShortReplyIsRefused() throws {
    var message = Message(asking: "a.example", .ipv4)
    message.record("a.example", 1, ttl: 1, [192, 0, 2, 9])
    for count in 0..<message.bytes.count {
      let bytes = Array(message.bytes.prefix(count))
      #expect(throws: DNSReply.Fault.self, "\(count) bytes") {
        try DNSReply(bytes.span, to: .ipv4)
      }
    }
  }

  /// RFC 1035, section 4.1.4: a pointer is one "to a prior occurrence of the same name".
  @Test(arguments: [[0xc0, 0x0c], [0xc0, 0x20], [0x40, 0x01], [0xff, 0xff]] as [[UInt8]])
  func pointersOnlyGoBack(name: [UInt8]) {
    var bytes = Message(asking: "a", .ipv4).bytes
    bytes.replaceSubrange(12..<15, with: name)
    #expect(throws: DNSReply.Fault.badName) { try DNSReply(bytes.span, to: .ipv4) }
  }

  @Test func questionsAndOtherAnswersAreRefused() {
    let message = Message(asking: "a.example", .ipv4)
    #expect(throws: DNSReply.Fault.otherQuestion) { try DNSReply(message.bytes.span, to: .ipv6) }
    var question = message.bytes
    question[2] = 1
    #expect(throws: DNSReply.Fault.otherQuestion) { try DNSReply(question.span, to: .ipv4) }
  }

  @Test func addressesOfOddLength() {
    var message = Message(asking: "a.example", .ipv4)
    message.record("a.example", 1, ttl: 1, [192, 0, 2])
    #expect(throws: DNSReply.Fault.badData) { try message.read() }
  }
}

/// A reply under construction; the names of its records stand in full or point to the question.
private struct Message {
  var bytes: [UInt8]
  private let question: String
  private let kind: DNSReply.Kind

  init(asking question: String, _ kind: DNSReply.Kind) {
    self.question = question
    self.kind = kind
    bytes = [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]
    bytes += Message.name(question) + [0, UInt8(kind.rawValue), 0, 1]
  }

  mutating func record(_ owner: String, _ type: UInt8, ttl: UInt32, _ data: [UInt8]) {
    bytes[7] += 1
    bytes += owner == question ? [0xc0, 12] : Message.name(owner)
    bytes += [0, type, 0, 1]
    bytes += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: ttl >> UInt32($0)) }
    bytes += [0, UInt8(data.count)] + data
  }

  func read() throws -> DNSReply { try DNSReply(bytes.span, to: kind) }

  static func name(_ text: String) -> [UInt8] {
    text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
  }
}
