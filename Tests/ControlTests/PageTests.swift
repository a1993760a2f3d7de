import AdminAPI
import Config
import Glibc
import System
import TestSupport
import Testing
import Wire

@testable import Control

/// The page's server: what it answers to whom, over real sockets.
@Suite struct PageTests {
  private static let loopback = SocketAddress.ipv4(0x7f00_0001, port: 0)

  /// Serves while the body runs.
  private func serve(
    _ stage: PageStage, hosts: [String] = [], page: Bool = true,
    stepMs: Int64 = PageHistory.stepMs, clients: [ClientUse] = [],
    _ body: (Int) throws -> Void
  ) throws {
    let server = try PageServer(settings(page, hosts))
    defer { server.stop() }
    try server.start(stage, topClients: { Array(clients.prefix($0)) }, stepMs: stepMs)
    try body(server.ports[0])
  }

  private func settings(
    _ page: Bool, _ hosts: [String] = [], clients: Int = 20
  ) -> MetricsSettings {
    MetricsSettings(
      binds: [Self.loopback], hasPage: page, hosts: hosts.map { HostName($0)! },
      topClients: clients)
  }

  /// One request as it is, and everything that comes back until the end.
  private func exchange(_ port: Int, _ request: String) throws -> String {
    let socket = try StreamSocket.connect(to: .loopback(UInt16(port)))
    defer { socket.close() }
    try socket.write(request)
    return String(decoding: try socket.readToEnd().bytes, as: UTF8.self)
  }

  private func get(
    _ port: Int, _ path: String, host: String = "localhost", method: String = "GET"
  ) throws -> String {
    try exchange(
      port, "\(method) \(path) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n")
  }

  @Test func everythingOfThePageIsServedWithItsPolicy() throws {
    try serve(PageStage(PageStage.busy("x"))) { port in
      for (path, type) in [
        ("/", "text/html; charset=utf-8"), ("/page/page.css", "text/css; charset=utf-8"),
        ("/page/page.js", "text/javascript; charset=utf-8"), ("/page/icon.svg", "image/svg+xml"),
        ("/page/data.json?x=1", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
      ] {
        let answer = try get(port, path)
        #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"), "\(path)")
        #expect(answer.contains("\r\ncontent-type: \(type)\r\n"), "\(path)")
        #expect(answer.contains("\r\ncontent-security-policy: default-src 'self'; "))
        #expect(answer.contains("\r\nx-content-type-options: nosniff\r\n"))
        #expect(answer.contains("\r\ncache-control: no-store\r\n"))
      }
    }
  }

  @Test func nothingCanBeChanged() throws {
    let stage = PageStage(PageStage.busy("x"))
    try serve(stage) { port in
      for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = try get(port, "/page/data.json", method: method)
        #expect(answer.hasPrefix("HTTP/1.1 405 "), "\(method)")
        #expect(answer.contains("\r\nallow: GET, HEAD\r\n"))
      }
      let head = try get(port, "/", method: "HEAD")
      #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n") && head.hasSuffix("\r\n\r\n"))
      for path in ["/admin", "/v1/status", "/page/../etc/passwd", "//", "/page/page.js/"] {
        #expect(try get(port, path).hasPrefix("HTTP/1.1 404 "), "\(path)")
      }
      // A body is the end of the conversation.
      let answer = try exchange(
        port, "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")
      #expect(!answer.contains("200 OK"))
    }
  }

  @Test(arguments: [
    ("localhost", true), ("localhost:9180", true), ("LOCALHOST.", true), ("127.0.0.1:9180", true),
    ("[::1]:9180", true), ("[2001:db8::5]", true), ("edge.example.net", true),
    ("edge.example.net:80", true), ("evil.example", false), ("localhost.evil.example", false),
    ("127.0.0.1.evil.example", false), ("edge.example.net.evil.example", false),
    ("evil.example:9180", false), ("localhost:x", false), ("[::1", false), ("[::1]x", false),
    ("[localhost]", false), ("", false), ("localhost evil", false), ("user@localhost", false),
    ("127.1", false), ("localhost:99999", false),
  ])
  func onlyItsOwnNamesAreAnswered(host: String, isServed: Bool) throws {
    #expect(PageHosts([HostName("edge.example.net")!]).admit([host]) == isServed)
    try serve(PageStage(PageStage.Scene()), hosts: ["edge.example.net"]) { port in
      let answer = try get(port, "/metrics", host: host)
      #expect(answer.hasPrefix(isServed ? "HTTP/1.1 200 " : "HTTP/1.1 421 "), "\(answer)")
    }
  }

  @Test func twoHostsOrNoneAreRefused() throws {
    try serve(PageStage(PageStage.Scene())) { port in
      let none = try exchange(port, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
      #expect(none.hasPrefix("HTTP/1.1 421 "))
      let two = try exchange(
        port, "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n")
      #expect(two.hasPrefix("HTTP/1.1 421 "))
    }
  }

  @Test func withoutThePageThereAreMetricsOnly() throws {
    try serve(PageStage(PageStage.Scene()), page: false) { (port: Int) throws in
      #expect(try get(port, "/metrics").hasPrefix("HTTP/1.1 200 "))
      for path in ["/", "/page/data.json", "/page/page.js"] {
        #expect(try get(port, path).hasPrefix("HTTP/1.1 404 "))
      }
    }
  }

  @Test func settingsChangeWhileItServes() throws {
    let server = try PageServer(settings(true, ["old.example"]))
    defer { server.stop() }
    let client = ClientUse(address: "203.0.113.7", connections: 1, bytes: 1)
    try server.start(PageStage(PageStage.Scene()), topClients: { _ in [client] })
    let port = server.ports[0]
    #expect(try get(port, "/", host: "old.example").hasPrefix("HTTP/1.1 200 "))
    #expect(try get(port, "/page/data.json").contains("203.0.113.7"))
    server.change(to: settings(true, ["new.example"], clients: 0))
    #expect(try get(port, "/", host: "old.example").hasPrefix("HTTP/1.1 421 "))
    #expect(try get(port, "/", host: "new.example").hasPrefix("HTTP/1.1 200 "))
    try wait(for: "an answer without clients") {
      try !get(port, "/page/data.json").contains("203.0.113.7")
    }
    server.change(to: settings(false))
    #expect(try get(port, "/").hasPrefix("HTTP/1.1 404 "))
  }

  @Test func anAddressInUseIsAnError() throws {
    let taken = try ListeningSocket()
    let settings = MetricsSettings(binds: [.ipv4(0x7f00_0001, port: taken.port)])
    #expect(throws: PageServer.Fault.self) { try PageServer(settings) }
    // One that is never started lets go of its address.
    let first = try PageServer(
      MetricsSettings(binds: [.ipv4(0x7f00_0001, port: ReservedPort.take())]))
    first.stop()
  }

  /// Whichever of several sockets it is that cannot be served, the others are let go.
  @Test(arguments: 0..<3)
  func oneThatCannotBeServedLeavesNoneOpen(bad: Int) throws {
    let directory = try TemporaryDirectory()
    let file = open(directory.file("no-socket"), O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    let ports = (0..<2).map { _ in ReservedPort.take() }
    var sockets = try ports.map {
      try Sockets.listen(at: .ipv4(0x7f00_0001, port: $0), backlog: 1).release()
    }
    sockets.insert(file, at: bad)
    #expect(throws: (any Error).self) {
      try HTTPServer(HTTPSettings()).serve(sockets) { _ in throw SystemError("accept", .invalid) }
    }
    for port in ports { _ = try ListeningSocket(.loopback(port)) }
  }

  @Test func hostileRequestsEndThemselvesOnly() throws {
    try serve(PageStage(PageStage.Scene())) { port in
      let long = String(repeating: "a", count: 100_000)
      for request in [
        "\u{16}\u{3}\u{1}garbage\r\n\r\n", "GET /\(long) HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: \(long)\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
      ] {
        let socket = try StreamSocket.connect(to: .loopback(UInt16(port)))
        try? socket.write(request)
        let answer = try? socket.readToEnd().bytes
        #expect(!String(decoding: answer ?? [], as: UTF8.self).contains("200 OK"))
        socket.close()
      }
      // Half requests and silent ones hold nobody up.
      let idle = try (0..<100).map { _ in
        let socket = try StreamSocket.connect(to: .loopback(UInt16(port)))
        try socket.write("GET / HTT")
        return socket
      }
      #expect(try get(port, "/metrics").hasPrefix("HTTP/1.1 200 "))
      for socket in idle { socket.close() }
    }
  }

  /// However many ask, the server is looked at twice a second at most.
  @Test func manyAskersCostFewReadings() throws {
    let stage = PageStage(PageStage.busy("x"))
    try serve(stage) { port in
      let before = Watch.seconds
      for _ in 0..<200 { _ = try get(port, "/page/data.json") }
      let took = Watch.seconds - before
      #expect(Double(stage.looks) <= took * 2 + 2)
    }
  }

  @Test func dataSaysWhatThereIsAndNoMore() throws {
    let clients = [ClientUse(address: "203.0.113.7", connections: 12.5, bytes: 4096)]
    let stage = PageStage(PageStage.busy("http://user:secret@proxy is no name"))
    try serve(stage, clients: clients) { port in
      let answer = try get(port, "/page/data.json")
      #expect(answer.contains("http://***@proxy is") && !answer.contains("secret"))
      let body = try #require(answer.range(ofHeadEnd: "\r\n\r\n"))
      let data = try JSONValue(String(answer[body...]))
      #expect(data["server"]?["connections"]?.number == 128)
      #expect(data["server"]?["pid"] == nil && data["server"]?["configuration"] == nil)
      #expect(!answer.contains("sluice.yaml"))
      guard case .array(let listed)? = data["topClients"] else { throw TestFailure("no clients") }
      #expect(listed.first?["address"]?.string == "203.0.113.7")
    }
  }

  @Test func historyHasRatesAndTheLastMinute() {
    var history = PageHistory()
    func listener(_ accepted: UInt64, _ bytes: UInt64, _ refused: UInt64) -> [ListenerStatus] {
      [
        ListenerStatus(
          name: "l", type: "tcp", binds: [], backend: "b", state: .serving, connections: 3,
          accepted: accepted, rejected: ["dial.refused": refused], bytesUp: bytes,
          bytesDown: 2 * bytes)
      ]
    }
    history.note(listener(10, 0, 5), nowNs: 0)
    #expect(history.curves.connections == [])
    history.note(listener(30, 4000, 8), nowNs: 2_000_000_000)
    #expect(history.curves.accepted == [10] && history.curves.up == [2000])
    #expect(history.curves.down == [4000] && history.curves.connections == [3])
    let rejection = PageData.Rejection(
      listener: "l", reason: "dial.refused", lastMinute: 3, total: 8)
    #expect(history.rejected == [rejection])
    // A listener that is gone makes no negative rate.
    history.note([], nowNs: 4_000_000_000)
    #expect(history.curves.accepted == [10, 0])
    for step in 3...400 as ClosedRange<UInt64> {
      history.note(listener(30, 4000, 8), nowNs: step * 2_000_000_000)
    }
    #expect(history.curves.accepted.count == 300)
    #expect(history.rejected.first?.lastMinute == 0)
  }

  /// The program's copies are those of the files, and all of it is small.
  @Test func assetsAreEmbedded() {
    let directory = "\(ProjectFiles.root)/Sources/Control/Page/assets"
    let parts = [
      ("page.html", PageHTML.text), ("page.css", PageStyle.text), ("page.js", PageScript.text),
      ("icon.svg", PageIcon.text),
    ]
    for (name, text) in parts {
      #expect(contents(of: "\(directory)/\(name)") == text, "run tools/embed-page: \(name)")
    }
    #expect(parts.map(\.1.utf8.count).reduce(0, +) < 200_000)
    let all = parts.map(\.1).joined()
    for word in ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("] {
      #expect(!all.contains(word), "\(word)")
    }
    #expect(!PageHTML.text.contains("<style") && !PageHTML.text.contains(" style="))
    let names = all.split(separator: "http").dropFirst().map { $0.prefix(26) }
    #expect(names.allSatisfy { $0.hasPrefix("://www.w3.org/2000/svg") }, "\(names)")
  }

  /// A visitor with a browser: what is there at both widths, nothing that is wrong, nothing that a
  /// name from outside could do.
  @Test func aBrowserShowsThePage() throws {
    let hostile = "<img src=x onerror=injected=1><b>\u{1b}[2J\u{202e}\n\"'&lt;"
    let stage = PageStage(PageStage.busy(hostile))
    let clients = (1...12).map {
      ClientUse(address: "203.0.113.\($0)", connections: Double(40 / $0), bytes: 900_000)
    }
    try serve(stage, stepMs: 10, clients: clients) { port in
      try wait(for: "some history") { stage.steps > 150 }
      let directory = try TemporaryDirectory()
      let target = environment("SLUICE_SCREENSHOTS") ?? directory.path
      let script = "\(ProjectFiles.root)/Tests/ControlTests/browser/look.py"
      let result = try ChildProcess.run(
        "python3", [script, "http://127.0.0.1:\(port)/", target], until: Deadline(inMs: 90_000))
      #expect(result.exit == .code(0), "\(result.error)")
      let seen = try JSONValue(result.output)
      for (size, columns) in [("desktop", 6.0), ("phone", 2.0)] {
        let found = try #require(seen[size])
        let text = try #require(found["text"]?.string)
        for part in [
          "Sluice", "version 0.1.0", "128", "of 100 k", "48.2 k so far", "smtp", "imaps",
          "0.0.0.0:25, [::]:25", "by rule", "postfix", "192.0.2.10:12525", "least-connections",
          "drained", "203.0.113.1", "proxy.untrusted", "tls.not-tls", "refused", "57 left",
          "12 lines of the connection log were lost", "<img src=x onerror=injected=1>",
          "\\u001b[2J\\u202e\\u000a",
        ] { #expect(text.contains(part), "\(size): \(part)") }
        #expect(found["title"]?.string == "Sluice")
        #expect(found["scrolls"] == .bool(false), "\(size)")
        #expect(found["wide"] == .array([]), "\(size)")
        #expect(found["small"]?.number == 0)
        #expect(found["columns"]?.number == columns, "\(size)")
        #expect((found["inked"]?.number ?? 0) > 0.005, "\(size): an empty chart")
        #expect(contents(of: found["screenshot"]?.string ?? "").utf8.count > 20_000)
      }
      #expect(seen["dark"]?.string == "rgb(14, 20, 27)")
      #expect(seen["complaints"] == .array([]))
      #expect(seen["injected"]?.number == 0 && seen["markup"]?.number == 0)
      guard case .array(let asked)? = seen["asked"] else { throw TestFailure("nothing asked") }
      #expect(asked.allSatisfy { $0.string?.hasPrefix("http://127.0.0.1:\(port)/") == true })
      let keyboard = try #require(seen["keyboard"])
      guard case .array(let reached)? = keyboard["reached"] else { throw TestFailure("no focus") }
      for stop in ["skip", "pause", "throughput", "connections", "scroll"] {
        #expect(reached.contains(.string(stop)), "\(stop) is not reached: \(reached)")
      }
      #expect(keyboard["paused"]?.string == "paused")
      #expect(keyboard["before"]?.string != keyboard["after"]?.string)
    }
  }
}

private enum Watch {
  static var seconds: Double {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
  }
}

extension String {
  /// Where the text behind the head begins.
  fileprivate func range(ofHeadEnd end: String) -> Index? {
    var position = startIndex
    while position < endIndex {
      if self[position...].hasPrefix(end) { return index(position, offsetBy: end.count) }
      position = index(after: position)
    }
    return nil
  }
}
