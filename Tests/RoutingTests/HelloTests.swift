import Routing
import Testing
import Wire

// Listeners that read the ClientHello: what is waited for, and what is made of each case.

/// A hello with these extensions, in one record.
private func hello(_ extensions: [UInt8]) -> [UInt8] {
  let vector = { (content: [UInt8]) in
    [UInt8(content.count >> 8), UInt8(content.count & 255)] + content
  }
  let body =
    [3, 3] + [UInt8](repeating: 9, count: 32) + [0] + vector([0x13, 1]) + [1, 0]
    + vector(extensions)
  return [22, 3, 1] + vector([1, 0] + vector(body))
}

private func serverName(_ name: String) -> [UInt8] {
  let count = UInt8(name.utf8.count)
  return [0, 0, 0, count + 5, 0, count + 3, 0, 0, count] + Array(name.utf8)
}

private func facts(_ bytes: [UInt8]) -> HelloFacts.Form? {
  guard case .hello(let hello) = HelloIntake.decide(bytes.span, .no) else { return nil }
  return HelloFacts(hello, in: bytes.span, for: nil).form
}

@Suite struct HelloIntakeTests {
  @Test func everyPrefixOfAHelloIsWaitedFor() {
    let whole = hello(serverName("mail.example.com"))
    for count in 0..<whole.count {
      #expect(HelloIntake.decide(Array(whole[..<count]).span, .no) == .needMore)
    }
    for ending in [Ending.no, .halfClosed, .timedOut, .full] {
      // What follows, early data for one, is not looked at.
      guard case .hello = HelloIntake.decide((whole + [23, 3, 3]).span, ending) else {
        Issue.record("not taken with \(ending)")
        continue
      }
    }
  }

  @Test func whatItNames() {
    #expect(facts(hello([])) == .unnamed)
    #expect(facts(hello(serverName(""))) == .unnamed)
    for name in ["mail.example.com", "MAIL.example.com", "mail.example.com.", "a_b.example"] {
      #expect(facts(hello(serverName(name))) == .named, "\(name)")
    }
    for name in ["192.0.2.1", "2001:db8::1", "[::1]", "a b", "caf\u{e9}.example", "-a.example"] {
      #expect(facts(hello(serverName(name))) == .misnamed, "\(name)")
    }
  }

  /// Each case that is none has a reason of its own, and is told at the first byte that shows it.
  @Test func whatIsNoHello() {
    let whole = hello(serverName("mail.example.com"))
    let cases: [([UInt8], Ending, RejectReason)] = [
      ([], .halfClosed, .helloProbe), ([], .timedOut, .helloTimeout),
      (Array(whole.dropLast()), .timedOut, .helloTimeout),
      (Array(whole.dropLast()), .halfClosed, .parser(.tlsTruncated)),
      (Array(whole.dropLast()), .full, .parser(.tlsTooLong)),
      (Array("G".utf8), .no, .parser(.tlsNotTLS)), (Array("\r".utf8), .no, .parser(.tlsNotTLS)),
      ([0x80, 46, 1, 3, 1], .no, .parser(.tlsSSLv2)),
      ([21, 3, 1], .no, .parser(.tlsNotClientHello)),
      ([22, 3, 1, 0, 4, 2], .no, .parser(.tlsNotClientHello)),
      ([22, 3, 1, 0xff, 0xff], .no, .parser(.tlsBadRecord)),
      ([22, 3, 1, 0, 4, 1, 0, 0xff, 0xf0], .no, .parser(.tlsTooLong)),
      (hello([0, 0, 0, 9]), .no, .parser(.tlsBadExtension)),
      (hello([0, 23, 0, 0, 0, 23, 0, 0]), .no, .parser(.tlsDuplicateExtension)),
    ]
    for (bytes, ending, reason) in cases {
      #expect(HelloIntake.decide(bytes.span, ending) == .noHello(reason), "\(reason.code)")
    }
  }

  /// The longest hello fits into what is held, with the headers of the records it takes.
  @Test func theLongestHelloFits() {
    let length = HelloIntake.helloLimit - ClientHello.headerLength
    let head = [22, 3, 1, 0x40, 0, 1, 0, UInt8(length >> 8), UInt8(length & 255)]
    #expect(HelloIntake.decide(head.span, .no) == .needMore)
    let records = (HelloIntake.helloLimit + (1 << 14) - 1) / (1 << 14)
    #expect(HelloIntake.helloLimit + 5 * records == HelloIntake.holdLimit)
  }
}

@Suite struct HelloRoutingTests {
  private func answer(_ form: HelloFacts.Form, _ policy: HelloPolicy) -> Answer {
    let table = RouteTable(
      listeners: [
        ListenerEntry(
          name: "l", backend: 0, connectMs: 0, idleMs: 0, halfClosedMs: 0, maxAgeMs: 0,
          hello: policy)
      ],
      backends: [
        BackendEntry(
          name: "b", servers: 0..<1, retries: 0, header: .v2, splice: .inline, source: nil,
          congestion: "")
      ],
      servers: [ServerEntry(name: "s", address: .ipv4(0x7f00_0001, port: 1))])
    var router = Router(table, seed: 0)
    let facts = HelloFacts(form)
    #expect(router.decide(.hello(listener: 1, facts)) == .reject(.noRoute))
    return router.decide(.hello(listener: 0, facts))
  }

  private static let policies = HelloFallback.allCases.flatMap { name in
    HelloFallback.allCases.map { HelloPolicy(withoutName: name, notTLS: $0) }
  }
  private let backend = Answer.route(backend: 0, server: 0)

  @Test func defaults() {
    #expect(HelloPolicy() == HelloPolicy(withoutName: .backend, notTLS: .reject))
  }

  @Test(arguments: policies)
  func everyPolicy(_ policy: HelloPolicy) {
    #expect(answer(.named, policy) == backend)
    let takesUnnamed = policy.withoutName == .backend
    #expect(answer(.unnamed, policy) == (takesUnnamed ? backend : .reject(.helloUnnamed)))
    #expect(answer(.misnamed, policy) == (takesUnnamed ? backend : .reject(.helloMisnamed)))
    for reason in [RejectReason.helloTimeout, .parser(.tlsNotTLS), .parser(.tlsTruncated)] {
      let wanted = policy.notTLS == .backend ? backend : .reject(reason)
      #expect(answer(.noHello(reason), policy) == wanted)
    }
    // Nobody is there to be served.
    #expect(answer(.noHello(.helloProbe), policy) == .reject(.helloProbe))
  }

  @Test func balancing() {
    let table = RouteTable(
      listeners: [
        ListenerEntry(
          name: "l", backend: 0, connectMs: 0, idleMs: 0, halfClosedMs: 0, maxAgeMs: 0,
          hello: HelloPolicy())
      ],
      backends: [
        BackendEntry(
          name: "b", servers: 0..<2, retries: 0, header: .v2, splice: .inline, source: nil,
          congestion: "")
      ],
      servers: (1...2).map { ServerEntry(name: "\($0)", address: .ipv4(0x7f00_0001, port: $0)) })
    var router = Router(table, seed: 0)
    let servers = (0..<4).map { _ in router.decide(.hello(listener: 0, HelloFacts(.named))) }
    #expect(servers == [0, 1, 0, 1].map { .route(backend: 0, server: $0) })
  }
}
