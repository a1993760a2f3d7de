import Config
import Control
import Testing
import Wire

/// What is done with answers, by a clock of the test's own.
@Suite struct NameBookTests {
  private let name = HostName("mail.example")!
  private let ms: UInt64 = 1_000_000
  private var target: ServerTarget { .host(name, port: 25) }

  private func book(min: UInt32 = 1000, max: UInt32 = 300_000) -> NameBook {
    var book = NameBook(minTTLMs: min, maxTTLMs: max)
    book.want([target], nowNs: 0)
    return book
  }

  typealias Finding = NameBook.Finding
  private func four(_ last: UInt32..., ttlMs: UInt64 = 60_000) -> Finding {
    .found(last.map { .ipv4(0xc000_0200 + $0) }, ttlMs: ttlMs)
  }

  /// One round: the answers to what is due.
  @discardableResult
  private func round(
    _ book: inout NameBook, _ ipv4: Finding, _ ipv6: Finding = .absent, atMs: UInt64
  ) -> [NameBook.Note] {
    let questions = book.due(nowNs: atMs * ms)
    #expect(Set(questions.map(\.kind)) == [.ipv4, .ipv6])
    return questions.flatMap {
      book.take($0.kind == .ipv4 ? ipv4 : ipv6, for: $0, nowNs: atMs * ms)
    }
  }

  private func hosts(_ book: NameBook) -> [String] {
    book.servers(of: target).map { "\($0.address)" }
  }

  @Test func bothFamiliesAreAskedForAtOnce() {
    var book = book()
    #expect(!book.isSettled(target))
    #expect(book.nextNs == 0)
    let notes = round(&book, four(1, 2), atMs: 0)
    #expect(notes == [.found(name, ["192.0.2.1", "192.0.2.2"])])
    #expect(book.isSettled(target))
    #expect(hosts(book) == ["192.0.2.1:25", "192.0.2.2:25"])
  }

  /// RFC 8305, section 4: "interleave address families", IPv6 first.
  @Test func familiesAlternate() {
    var book = book()
    let six = Finding.found((1...3).map { .ipv6(high: 0x2001_0db8 << 32, low: $0) }, ttlMs: 1000)
    round(&book, four(1, 2), six, atMs: 0)
    #expect(
      hosts(book) == [
        "[2001:db8::1]:25", "192.0.2.1:25", "[2001:db8::2]:25", "192.0.2.2:25", "[2001:db8::3]:25",
      ])
    let usable = book.servers(of: target) { if case .ipv4 = $0 { true } else { false } }
    #expect(usable.map { "\($0.address)" } == ["192.0.2.1:25", "192.0.2.2:25"])
    #expect(book.servers(of: target) { _ in false }.count == 5)
  }

  @Test func oneFamilyIsUsedBeforeTheOtherIsIn() {
    var book = book()
    let questions = book.due(nowNs: 0)
    let first = questions.first { $0.kind == .ipv4 }!
    #expect(book.take(four(1), for: first, nowNs: 0) == [])
    #expect(hosts(book) == ["192.0.2.1:25"])
    #expect(!book.isSettled(target))
  }

  @Test(
    arguments: [(0, 1000), (999, 1000), (5000, 5000), (9_000_000, 300_000)] as [(UInt64, UInt64)])
  func timeToLiveWithinFloorAndCeiling(ttlMs: UInt64, askedAgainAtMs: UInt64) {
    var book = book()
    round(&book, four(1, ttlMs: ttlMs), atMs: 0)
    #expect(book.nextNs == askedAgainAtMs * ms)
    #expect(book.due(nowNs: askedAgainAtMs * ms - 1) == [])
    #expect(book.due(nowNs: askedAgainAtMs * ms).count == 2)
  }

  @Test func theShorterFamilyDecides() {
    var book = book()
    let six = Finding.found([.ipv6(high: 0, low: 1)], ttlMs: 2000)
    round(&book, four(1, ttlMs: 50_000), six, atMs: 0)
    #expect(book.nextNs == 2000 * ms)
  }

  @Test func anotherOrderIsNoChange() {
    var book = book()
    round(&book, four(1, 2, 3), atMs: 0)
    let before = book.servers(of: target)
    #expect(round(&book, four(3, 1, 2), atMs: 60_000) == [])
    #expect(book.servers(of: target) == before)
  }

  @Test func addressesComeAndGo() {
    var book = book()
    round(&book, four(1, 2), atMs: 0)
    let notes = round(&book, four(2, 3), atMs: 60_000)
    #expect(notes == [.changed(name, added: ["192.0.2.3"], removed: ["192.0.2.1"])])
    #expect(hosts(book) == ["192.0.2.2:25", "192.0.2.3:25"])
  }

  /// The last good answer is kept, the operator hears of it once, and the name is asked for more
  /// and more seldom.
  @Test(arguments: [Finding.failed("no such name"), .absent])
  func whatIsLostIsKept(finding: Finding) {
    var book = book()
    round(&book, four(1), atMs: 0)
    var atMs: UInt64 = 60_000
    var notes: [NameBook.Note] = []
    var waits: [UInt64] = []
    for _ in 0..<8 {
      notes += round(&book, finding, finding, atMs: atMs)
      #expect(hosts(book) == ["192.0.2.1:25"])
      let next = (book.nextNs ?? 0) / ms
      waits.append(next - atMs)
      atMs = next
    }
    #expect(waits == [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000])
    let reason = finding == .absent ? "it has no address" : "no such name"
    #expect(notes == [.lost(name, reason: reason, kept: 1)])
    #expect(round(&book, four(1), atMs: atMs) == [.found(name, ["192.0.2.1"])])
    #expect((book.nextNs ?? 0) / ms == atMs + 60_000)
  }

  /// The name server denies the name for a minute: at each moment of it the server that was known
  /// is still served. With nobody in need the name is asked for ever more seldom; when somebody
  /// fails to connect all the while, as often as the floor allows and no more. Then the first good
  /// answer counts.
  @Test(arguments: [false, true])
  func deniedForAMinute(somebodyFails: Bool) {
    var book = book()
    round(&book, four(1, ttlMs: 1000), atMs: 0)
    var rounds: [UInt64] = []
    var notes: [NameBook.Note] = []
    for atMs in stride(from: UInt64(1000), to: 61_000, by: 50) {
      if somebodyFails { book.hurry(target, nowNs: atMs * ms) }
      if let nextNs = book.nextNs, nextNs <= atMs * ms {
        let denied = Finding.failed("no such name")
        notes += round(&book, denied, denied, atMs: atMs)
        rounds.append(atMs / 1000)
      }
      #expect(hosts(book) == ["192.0.2.1:25"])
    }
    #expect(rounds == (somebodyFails ? Array(1...60) : [1, 2, 4, 8, 16, 32]))
    #expect(notes == [.lost(name, reason: "no such name", kept: 1)])
    book.hurry(target, nowNs: 61_000 * ms)
    #expect(book.nextNs == 61_000 * ms)
    #expect(round(&book, four(2), atMs: 61_000) == [.found(name, ["192.0.2.2"])])
    #expect(hosts(book) == ["192.0.2.2:25"])
  }

  @Test func nothingYet() {
    var book = book()
    let notes = round(&book, .failed("no name server answered in time"), .absent, atMs: 0)
    #expect(notes == [.lost(name, reason: "no name server answered in time", kept: 0)])
    #expect(hosts(book) == [])
    #expect(book.isSettled(target))
  }

  /// A name that has lost its AAAA records has lost them, if there are A records to prove it; one
  /// family's broken name server takes nothing away.
  @Test func oneFamilyGoes() {
    var book = book()
    let six = Finding.found([.ipv6(high: 0, low: 1)], ttlMs: 1000)
    round(&book, four(1), six, atMs: 0)
    round(&book, four(1, ttlMs: 1000), .failed("the name server failed"), atMs: 1000)
    #expect(hosts(book).count == 2)
    round(&book, four(1, ttlMs: 1000), .absent, atMs: 2000)
    #expect(hosts(book) == ["192.0.2.1:25"])
  }

  @Test func addressesThatNobodyHas() {
    var book = book()
    let none = Finding.found([.ipv4(0), .ipv4(0xffff_ffff), .ipv4(0xe000_0001)], ttlMs: 1000)
    let six = Finding.found([.ipv6(high: 0, low: 0), .ipv6(high: 0xff02 << 48, low: 1)], ttlMs: 1)
    #expect(
      round(&book, none, six, atMs: 0)
        == [.lost(name, reason: "none of what it resolves to can be dialled", kept: 0)])
  }

  @Test func nobodyHasMoreServersThanTheLimit() {
    var book = book()
    let many = Finding.found((1...200).map { .ipv4(0xc000_0200 + $0) }, ttlMs: 1000)
    round(&book, many, atMs: 0)
    #expect(hosts(book).count == NameBook.valuesLimit)
  }

  /// A failed dial brings the next question forward, but never below the floor.
  @Test func hurry() {
    var book = book()
    round(&book, four(1), atMs: 0)
    book.hurry(target, nowNs: 200 * ms)
    #expect(book.nextNs == 1000 * ms)
    book.hurry(target, nowNs: 5000 * ms)
    #expect(book.nextNs == 1000 * ms)
    round(&book, four(1), atMs: 5000)
    book.hurry(target, nowNs: 5500 * ms)
    #expect(book.nextNs == 6000 * ms)
    book.hurry(target, nowNs: 30_000 * ms)
    #expect(book.nextNs == 6000 * ms)
    #expect(book.due(nowNs: 30_000 * ms).count == 2)
  }

  @Test func whatIsNotWantedIsForgotten() {
    var book = book()
    let questions = book.due(nowNs: 0)
    book.want([.address(.ipv4(1, port: 1))], nowNs: 0)
    #expect(book.nextNs == nil)
    for question in questions { #expect(book.take(four(1), for: question, nowNs: 0) == []) }
    #expect(hosts(book) == [])
    #expect(
      book.servers(of: .address(.ipv4(1, port: 1)))
        == [ResolvedServer(address: .ipv4(1, port: 1))])
  }

  @Test func questionsThatCameToNothing() {
    var book = book()
    #expect(book.due(nowNs: 0).count == 2)
    #expect(book.due(nowNs: 1).isEmpty)
    #expect(book.nextNs == nil)
    book.forgetQuestions(nowNs: 2)
    #expect(book.due(nowNs: 2).count == 2)
  }

  /// RFC 2782: the lowest priority first; weights as shares; a target of "." offers nothing.
  @Test func services() {
    let service = HostName("_imap._tcp.example")!
    let target = ServerTarget.service(service)
    var book = NameBook(minTTLMs: 1000, maxTTLMs: 300_000)
    book.want([target], nowNs: 0)
    let question = book.due(nowNs: 0)[0]
    #expect(question == NameBook.Question(name: service, kind: .service))
    let offers: [DNSReply.Value] = [
      .service(.init(priority: 20, weight: 5, port: 144, target: HostName("c.example"))),
      .service(.init(priority: 10, weight: 60, port: 143, target: HostName("a.example"))),
      .service(.init(priority: 10, weight: 0, port: 143, target: HostName("b.example"))),
      .service(.init(priority: 0, weight: 0, port: 143, target: nil)),
    ]
    #expect(book.take(.found(offers, ttlMs: 60_000), for: question, nowNs: 0).count == 1)
    #expect(!book.isSettled(target))
    let due = book.due(nowNs: 0)
    #expect(Set(due.map(\.name.text)) == ["a.example", "b.example", "c.example"])
    for question in due where question.kind == .ipv4 {
      let last = UInt32(question.name.text.utf8.first! - UInt8(ascii: "a"))
      _ = book.take(four(last * 2 + 1, last * 2 + 2), for: question, nowNs: 0)
    }
    for question in due where question.kind == .ipv6 {
      _ = book.take(.absent, for: question, nowNs: 0)
    }
    #expect(book.isSettled(target))
    let servers = book.servers(of: target)
    #expect(
      servers.map { "\($0.address) \($0.weight!) \($0.isBackup)" } == [
        "192.0.2.1:143 128 false", "192.0.2.2:143 128 false",
        "192.0.2.3:143 1 false", "192.0.2.4:143 1 false",
        "192.0.2.5:144 128 true", "192.0.2.6:144 128 true",
      ])
    book.hurry(target, nowNs: 500 * ms)
    #expect(book.nextNs == 1000 * ms)
  }

  /// While no target of the first priority resolves, the next takes its place.
  @Test func servicesWithoutAddresses() {
    let target = ServerTarget.service(HostName("_smtp._tcp.example")!)
    var book = NameBook(minTTLMs: 1000, maxTTLMs: 300_000)
    book.want([target], nowNs: 0)
    let offers: [DNSReply.Value] = [
      .service(.init(priority: 1, weight: 0, port: 25, target: HostName("a.example"))),
      .service(.init(priority: 2, weight: 0, port: 25, target: HostName("b.example"))),
    ]
    _ = book.take(.found(offers, ttlMs: 60_000), for: book.due(nowNs: 0)[0], nowNs: 0)
    for question in book.due(nowNs: 0) {
      let isB = question.name.text == "b.example" && question.kind == .ipv4
      _ = book.take(isB ? four(9) : .failed("no such name"), for: question, nowNs: 0)
    }
    #expect(
      book.servers(of: target) == [
        ResolvedServer(address: .ipv4(0xc000_0209, port: 25), weight: 1, isBackup: false)
      ])
  }

  @Test func hostsFile() {
    let file = HostsFile(
      Array(
        """
        # 192.0.2.9 commented
        192.0.2.1 Mail.Example mail # mail2
        ::1\tmail.example
        fe80::1%lo link
        300.1.1.1 bad
        """.utf8))
    #expect(file.addresses(of: name) == [.ipv4(0xc000_0201), .ipv6(high: 0, low: 1)])
    #expect(file.addresses(of: HostName("mail")!) == [.ipv4(0xc000_0201)])
    for unknown in ["commented", "mail2", "link", "bad"] {
      #expect(file.addresses(of: HostName(unknown)!) == nil)
    }
    // RFC 6761, section 6.3.
    #expect(
      file.addresses(of: HostName("db.localhost")!) == [.ipv4(0x7f00_0001), .ipv6(high: 0, low: 1)])
  }
}
