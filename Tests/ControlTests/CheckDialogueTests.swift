import Config
import Testing
import Wire

@testable import Control

/// What is said in a check, and what is made of the answers.
@Suite struct CheckDialogueTests {
  private static let local = SocketAddress.ipv4(0x7f00_0001, port: 40_000)

  /// Plays what a server says, piece by piece; `FIN` is its end. Returns what was said to it, and
  /// the verdict: "passed", the failure, or "waits for …".
  private func play(
    _ kind: CheckKind, _ pieces: [String], local: SocketAddress? = CheckDialogueTests.local
  ) -> [String] {
    var dialogue = CheckDialogue(kind, local: local)
    var said: [String] = []
    func note(_ step: CheckDialogue.Step) -> String? {
      switch step {
      case .more: return nil
      case .send(let bytes): said.append(String(decoding: bytes, as: UTF8.self))
      case .passed: return "passed"
      case .failed(let why): return why
      }
      return nil
    }
    if let verdict = note(dialogue.begin()) { return said + [verdict] }
    for piece in pieces {
      let step = piece == "FIN" ? dialogue.end() : dialogue.hear(Array(piece.utf8)[...])
      if let verdict = note(step) { return said + [verdict] }
    }
    return said + ["waits for \(dialogue.awaited)"]
  }

  @Test func smtp() {
    #expect(
      play(.smtp, ["220 mx ESMTP\r\n", "250-mx\r\n250 PIPELINING\r\n", "221 2.0.0 Bye\r\n"])
        == ["EHLO [127.0.0.1]\r\n", "QUIT\r\n", "passed"])
    let six = SocketAddress("[::1]:40000")
    #expect(play(.smtp, ["220 x\n"], local: six)[0] == "EHLO [IPv6:::1]\r\n")
    #expect(play(.smtp, ["220 x\n"], local: .unix(path: ""))[0] == "EHLO localhost\r\n")
  }

  /// RFC 5321, section 4.3.1: "a sending SMTP host SHOULD wait for this greeting message", all of
  /// its lines.
  @Test func smtpWaitsForTheWholeBanner() {
    #expect(play(.smtp, ["220-mx wait\r\n", "220-still\r\n"]) == ["waits for a greeting"])
    #expect(play(.smtp, ["220-mx wait\r\n", "22", "0 mx\r", "\n"]).count == 2)
  }

  @Test(arguments: [
    ("421 4.3.2 No system resources\r\n", #"220 expected, got "421 4.3.2 No system resources""#),
    ("554 \"no\" \u{1b}[2J\r\n", #"220 expected, got "554 'no' \x1b[2J""#),
    ("* OK imap\r\n", #"220 expected, got "* OK imap""#), ("FIN", "closed without a greeting"),
  ])
  func smtpRefusals(line: String, verdict: String) {
    #expect(play(.smtp, [line]) == [verdict])
  }

  @Test func smtpComplaints() {
    #expect(play(.smtp, ["220 x\r\n", "502 what\r\n"]).last == #"250 expected, got "502 what""#)
    #expect(play(.smtp, ["220 x\r\n", "250 x\r\n"]).last == "waits for an answer to QUIT")
    // It left without a word, but it left.
    #expect(play(.smtp, ["220 x\r\n", "250 x\r\n", "FIN"]).last == "passed")
  }

  @Test func imap() {
    let good = ["* OK [CAPABILITY IMAP4rev1] ready.\r\n", "* BYE out\r\nsluice OK done\r\n"]
    #expect(play(.imap, good) == ["sluice LOGOUT\r\n", "passed"])
    #expect(
      play(.imap, ["* PREAUTH hi\r\n"]) == ["sluice LOGOUT\r\n", "waits for an answer to LOGOUT"])
    #expect(play(.imap, ["* BYE busy\r\n"]) == [#"* OK expected, got "* BYE busy""#])
  }

  @Test func pop3() {
    #expect(play(.pop3, ["+OK ready\r\n", "+OK bye\r\n"]) == ["QUIT\r\n", "passed"])
    #expect(play(.pop3, ["-ERR busy\r\n"]) == [#"+OK expected, got "-ERR busy""#])
  }

  /// RFC 5804, section 1.7: capabilities, then OK.
  @Test func sieve() {
    let greeting = "\"IMPLEMENTATION\" \"x\"\r\n\"SIEVE\" \"fileinto\"\r\n"
    #expect(play(.sieve, [greeting]) == ["waits for a greeting"])
    #expect(
      play(.sieve, [greeting + "OK \"ready\"\r\n", "OK \"bye\"\r\n"]) == ["LOGOUT\r\n", "passed"])
    #expect(play(.sieve, ["BYE \"busy\"\r\n"]) == [#"OK expected, got "BYE 'busy'""#])
  }

  @Test func http() {
    let kind = CheckKind.http(path: "/up", host: "www.example", statuses: [200...299, 401...401])
    let request = "GET /up HTTP/1.0\r\nHost: www.example\r\nUser-Agent: sluice-check\r\n\r\n"
    #expect(play(kind, ["HTTP/1.1 204 No Content\r\n\r\n", "FIN"]) == [request, "passed"])
    #expect(play(kind, ["HTTP/1.0 401 x\r\n", "body", "FIN"]).last == "passed")
    #expect(play(kind, ["HTTP/1.0 503 Service Unavailable\r\n"]).last == "HTTP status 503")
    #expect(play(kind, ["SSH-2.0-x\r\n"]).last == #"an HTTP answer expected, got "SSH-2.0-x""#)
    #expect(play(kind, ["FIN"]).last == "closed without an HTTP answer")
  }

  @Test func exchange() {
    let ping = CheckKind.exchange(send: Array("PING\r\n".utf8), expect: Array("PONG".utf8))
    #expect(play(ping, ["+PO", "NG\r\n"]) == ["PING\r\n", "passed"])
    #expect(play(ping, ["-ERR\r\n"]).last == #"waits for "PONG""#)
    #expect(play(ping, ["-ERR\r\n", "FIN"]).last == #""PONG" expected, got "-ERR\r\n""#)
    #expect(play(.exchange(send: [], expect: Array("hi".utf8)), ["o hi"]) == ["passed"])
  }

  @Test func tls() {
    func play(_ bytes: [UInt8]) -> CheckDialogue.Step {
      var dialogue = CheckDialogue(.tls, local: nil)
      guard case .send(let hello) = dialogue.begin(), hello[0] == 0x16 else { return .more }
      return dialogue.hear(bytes[...])
    }
    #expect(play([0x16, 3, 3, 0, 100]) == .more)
    #expect(play([0x16, 3, 3, 0, 100, 2]) == .passed)
    #expect(
      play([0x15, 3, 3, 0, 2, 2, 40]) == .failed("a TLS alert instead of a ServerHello"))
    #expect(play(Array("220 mx\r\n".utf8)) == .failed(#"a ServerHello expected, got "220 mx\r\n""#))
  }

  @Test func connect() { #expect(play(.connect, []) == ["passed"]) }

  /// Nobody fills our memory.
  @Test func endlessTalk() {
    let much = String(repeating: "x", count: 5000)
    #expect(play(.smtp, [much]) == ["a line is longer than 4096 bytes"])
    let expecting = CheckKind.exchange(send: [], expect: [1])
    let verdict = play(expecting, [String](repeating: much, count: 20)).last ?? ""
    #expect(verdict.hasPrefix("\"\\x01\" expected, got \"xxx"))
    #expect(verdict.utf8.count < 200)
  }
}
