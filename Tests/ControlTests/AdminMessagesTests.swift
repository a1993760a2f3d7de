import AdminAPI
import System
import Testing

@testable import Control

private let nobody = LocalSockets.Caller(process: 1, user: 2, groups: [])

private func request(_ target: String, body: String = "") throws -> AdminRequest {
  try AdminRequest(method: "GET", target: target, body: Array(body.utf8), caller: nobody)
}

@Suite struct AdminMessagesTests {
  @Test func aTargetIsAPathAndParameters() throws {
    let request = try request("/v1/sessions?client=2001%3adb8%3A%3A%2F32&limit=10&x&y=a=b+c")
    #expect(request.path == "/v1/sessions")
    #expect(request.parameter("client") == "2001:db8::/32")
    #expect(request.parameter("limit") == "10")
    #expect(request.parameter("x") == "")
    #expect(request.parameter("y") == "a=b+c")
    #expect(request.parameter("z") == nil)
  }

  @Test(arguments: ["/?a=%", "/?a=%2", "/?a=%zz", "/?a=%+1", "/?a=1&a=2", "/?%"])
  func whatIsNoQueryIsRefused(target: String) {
    #expect(throws: Failure.self) { try request(target) }
  }

  @Test func unknownParametersAreRefused() throws {
    #expect(throws: Failure.self) { try request("/?older=1").allow(["older-than"]) }
    try request("/?older-than=1").allow(["older-than"])
  }

  @Test(
    arguments: [
      ("{", "the body: it is not JSON"),
      (#"{"weight":1,"backend":"a"}"#, #"the body: "server" is missing"#),
      (#"{"weight":"1","backend":"a","server":"b"}"#, #"the body: "weight": it is no number"#),
      (#"{"wieght":1}"#, #"the body: unknown key "wieght"; there are backend, server, weight"#),
      ("[]", "the body: it is no object"),
    ])
  func aBodyThatIsWrongIsExplained(body: String, message: String) throws {
    let failure = #expect(throws: Failure.self) {
      try request("/", body: body).decode(WeightRequest.self)
    }
    #expect(failure == Failure(.invalid, message))
  }

  @Test func anEmptyBodyIsAnEmptyObject() throws {
    #expect(try request("/").decode(ReloadRequest.self) == ReloadRequest())
  }

  // RFC 8259 section 7 escapes U+0000 to U+001F only; a terminal also obeys DEL and C1.
  @Test func jsonHasNoControls() throws {
    let event = Event(
      time: "t", kind: "k", message: "a\u{1b}[2J\nb\u{7f}c\u{9b}1md\u{0}é", fields: [:])
    let text = String(decoding: AdminJSON.encode(event), as: UTF8.self)
    let message = #"a\u001b[2J\nb\u007fc\u009b1md\u0000é"#
    #expect(text == #"{"fields":{},"kind":"k","message":"\#(message)","time":"t"}"#)
    #expect(!text.unicodeScalars.contains { $0.properties.generalCategory == .control })
  }

  @Test(
    arguments: [
      ("http://user:secret@proxy.example:3128/x", "http://***@proxy.example:3128/x"),
      ("a http://u:p@h, b https://q@i: c", "a http://***@h, b https://***@i: c"),
      ("http://u:p@ss@h/", "http://***@h/"), ("http://u:p/q@h/", "http://***@h/"),
      ("\"http://u:p@h\" \"x@y\"", "\"http://***@h\" \"x@y\""),
      ("http://proxy.example:3128/", "http://proxy.example:3128/"),
      ("mail from a@b.example", "mail from a@b.example"), ("://@", "://***@"), ("", ""),
    ])
  func userinfoIsLeftOut(text: String, shown: String) {
    #expect(Redaction.withoutUserinfo(text) == shown)
  }
}
