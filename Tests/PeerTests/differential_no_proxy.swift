import TestSupport
import Testing
import Wire

@testable import Routing

// Go's own reader of NO_PROXY (golang.org/x/net/http/httpproxy as Debian has it) and ours say the
// same of 100,000 lists and hosts. Debian's may be older than the fix of CVE-2025-22870; then they
// differ where that fix made the difference, and nowhere else.

/// One question to both.
private struct Question {
  var list: String
  var scheme: String
  var host: String
  /// Nil for the default of the scheme.
  var port: UInt16?

  var line: String { [list, scheme, host, port.map { "\($0)" } ?? ""].joined(separator: "\t") }
  var effectivePort: UInt16 { port ?? (scheme == "http" ? 80 : 443) }

  var isDirect: Bool { BypassList(list).match(host: host, port: effectivePort) != nil }

  /// Whether the fix changed it: the host is an address, and has a zone or is compared with names.
  var isChangedByFix: Bool {
    let bare = host.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)[0]
    return SocketAddress(host: String(bare), port: 0) != nil
  }

  /// What the code before the fix says: a host with a zone is a name, and names of the list are
  /// compared with hosts of all kinds.
  var wasDirect: Bool {
    guard isChangedByFix else { return isDirect }
    if !host.contains("%"), isDirect { return true }
    let name = Array(host.lowercased().utf8)
    return BypassList(list).entries.contains { entry in
      switch entry.form {
      case .everything: true
      case .name(let suffix, let takesApex, let port):
        port.takes(effectivePort)
          && (name.suffix(suffix.count) == suffix[...] && name.count >= suffix.count
            || takesApex && name[...] == suffix.dropFirst())
      case .network, .address, .nothing: false
      }
    }
  }
}

private func ask(_ questions: [Question]) throws -> [Bool] {
  try require(["go": "golang-go"])
  let directory = try TemporaryDirectory()
  let result = try ChildProcess.run(
    "env",
    [
      "GO111MODULE=off", "GOPATH=/usr/share/gocode", "GOCACHE=\(directory.file("cache"))",
      "GOFLAGS=", "HOME=\(directory.file("home"))", "go", "run",
      "\(packageDirectory)/Tests/PeerTests/peers/bypass.go",
    ], input: questions.map { $0.line + "\n" }.joined(), until: Deadline(inMs: 300_000))
  guard result.exit == .code(0) else {
    throw TestFailure("go ended with \(result.exit): \(result.error)")
  }
  return try result.output.split(separator: "\n").map { line in
    switch line {
    case "direct": true
    case "proxy": false
    default: throw TestFailure("go said \(line)")
    }
  }
}

// ---- what is asked ---------------------------------------------------------------------------

private let labels = ["foo", "bar", "com", "example", "a", "x", "1", "10", "intranet", "local"]
private let addresses = [
  "1.2.3.4", "10.0.0.1", "10.1.2.3", "127.0.0.1", "127.1.2.3", "192.168.0.1", "0.0.0.0", "::1",
  "::", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "2001:db8::1", "2001:db8:0:0::1", "fe80::1",
  "fd00::7", "255.255.255.255", "::10.0.0.1",
]
private let ports = ["80", "443", "8080", "0443", "", "x", "65536", "0"]

extension SeededGenerator {
  private mutating func chance(_ part: Int) -> Bool { next() % UInt64(part) == 0 }

  private mutating func pick(_ list: [String]) -> String { list[Int(next() % UInt64(list.count))] }

  private mutating func name() -> String {
    var text = (0...Int(next() % 3)).map { _ in pick(labels) }.joined(separator: ".")
    if chance(12) { text += "." }
    if chance(10) { text = text.uppercased() }
    if chance(40) { text = "localhost" }
    return text
  }

  private mutating func address() -> String {
    var text = pick(addresses)
    if chance(3) {
      text = (0..<4).map { _ in pick(["0", "1", "2", "3", "10", "127", "255"]) }
        .joined(separator: ".")
    }
    return text
  }

  private mutating func entry(near host: String) -> String {
    var text = chance(3) ? host : chance(2) ? name() : address()
    // A part of the host, at the boundary of a label or anywhere.
    if chance(4), let dot = text.firstIndex(of: ".") { text = String(text[dot...].dropFirst()) }
    if chance(8) { text = String(text.dropFirst(Int(next() % 4))) }
    if chance(5) { text = "." + text }
    if chance(8) { text = "*." + text }
    if chance(25) { text = "*" + text }
    if chance(6) { text += "/\(next() % 140)" }
    if chance(60) { text += pick(["/", "/08", "/-1", "/x"]) }
    if chance(8) { text = "[" + text + "]" }
    if chance(5) { text += ":" + pick(ports) }
    if chance(30) { text += "%eth0" }
    if chance(60) { text = "*" }
    if chance(20) { text = " " + text + " " }
    if chance(60) { text = pick(["", " ", ":", "[", "]", ".", "..", "*.", ":80", "a b", "/8"]) }
    return text
  }

  fileprivate mutating func question() -> Question {
    var host = chance(3) ? address() : name()
    if host.contains(":"), chance(4) { host += pick(["%eth0", "%1", "%25.foo.com", "%.com"]) }
    if chance(40) { host = pick(["1.2.3", "127.1", "0x7f.0.0.1", "foo..com", "a*b", "_x.foo"]) }
    let list = (0..<Int(next() % 5)).map { _ in entry(near: host) }.joined(separator: ",")
    let port: UInt16? = chance(2) ? nil : [80, 443, 8080, 1][Int(next() % 4)]
    return Question(list: list, scheme: chance(2) ? "http" : "https", host: host, port: port)
  }
}

@Test("Go's httpproxy reads NO_PROXY as we do")
func goAgrees() throws {
  var generator = SeededGenerator(seed: 20_250_312)
  let questions = (0..<100_000).map { _ in generator.question() }
  let answers = try ask(questions)
  try #require(answers.count == questions.count)
  var changed = 0
  for (question, isDirect) in zip(questions, answers) where question.isDirect != isDirect {
    changed += 1
    #expect(
      question.isChangedByFix && question.wasDirect == isDirect,
      "\(question.line): Go says \(isDirect ? "direct" : "proxy")")
  }
  // Both answers are common, so that the run says something.
  let direct = answers.count { $0 }
  #expect(direct > 20_000 && direct < 80_000, "\(direct) of \(answers.count)")
  #expect(changed < 5_000, "\(changed) differ")
}

/// What the fix of CVE-2025-22870 changed, one by one: the answer is ours and that of x/net since
/// 0.36; before, it was the other one.
private let changes: [(Question, isDirect: Bool)] = [
  // Names of the list were compared with the text of addresses.
  (Question(list: "4", scheme: "http", host: "1.2.3.4"), false),
  (Question(list: ".3.4", scheme: "http", host: "1.2.3.4"), false),
  (Question(list: "*.3.4", scheme: "https", host: "1.2.3.4"), false),
  (Question(list: "2.3.4", scheme: "https", host: "1.2.3.4"), false),
  (Question(list: "2.3.4:80", scheme: "http", host: "1.2.3.4"), false),
  (Question(list: "0.1", scheme: "http", host: "10.0.0.1"), false),
  // A host with a zone was a name, whatever stands before the percent sign.
  (Question(list: ".example.com", scheme: "http", host: "2001:db8::1%25.example.com"), false),
  (Question(list: "*.example.com", scheme: "https", host: "2001:db8::1%.example.com"), false),
  (Question(list: "example.com", scheme: "http", host: "fe80::1%a.example.com"), false),
  (Question(list: "fe80::1%eth0", scheme: "http", host: "fe80::1%eth0"), false),
  (Question(list: "fe80::1", scheme: "http", host: "fe80::1%eth0"), true),
  (Question(list: "[fe80::1]:80", scheme: "http", host: "fe80::1%eth0"), true),
  (Question(list: "fe80::/10", scheme: "https", host: "fe80::1%eth0"), true),
  (Question(list: "", scheme: "http", host: "::1%eth0"), true),
  (Question(list: "", scheme: "http", host: "::ffff:127.0.0.1%1"), true),
]

@Test("what differs from Go before CVE-2025-22870 was mended is known")
func knownChanges() throws {
  let answers = try ask(changes.map(\.0))
  // One or the other: a newer package has the fix.
  let isFixed = answers.first == false
  for ((question, isDirect), answer) in zip(changes, answers) {
    #expect(question.isDirect == isDirect, "\(question.line)")
    #expect(question.wasDirect == !isDirect, "\(question.line): before")
    #expect(answer == (isFixed ? isDirect : !isDirect), "\(question.line): Go")
  }
}
