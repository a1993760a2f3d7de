import AdminAPI
import Glibc
import TestSupport
import Testing

@testable import Control

@Suite struct OpenAPITests {
  private let document: OpenAPIDocument

  init() throws {
    document = try OpenAPIDocument(OpenAPI.text)
  }

  // `SLUICE_WRITE_DOCS=1 tools/test --filter OpenAPI` writes it.
  @Test func theFileInDocsIsWhatIsServed() throws {
    let path = "docs/openapi.json"
    if environment("SLUICE_WRITE_DOCS") != nil { try writeFile(path, OpenAPI.text) }
    #expect(contents(of: path) == OpenAPI.text)
  }

  @Test func everyRouteIsInTheDocument() {
    let described = Set(document.operations.map { "\($0.method) \($0.path)" })
    let served = Set(AdminRoute.all.map { "\($0.method.rawValue.lowercased()) \($0.path)" })
    #expect(described == served)
    #expect(served.count == AdminRoute.all.count)
    #expect(
      document.operations.compactMap { $0.body["operationId"]?.string }.count
        == Set(document.operations.compactMap { $0.body["operationId"]?.string }).count)
  }

  /// What answers for each request; all optional properties are in one of them.
  @Test func realAnswersAreWhatTheDocumentSays() throws {
    let admin = try RunningAdmin()
    let bodies = [
      "/v1/reload": #"{"dryRun":true}"#, "/v1/drain": #"{"backend":"a","server":"b"}"#,
      "/v1/resume": #"{"listener":"a"}"#, "/v1/weight": #"{"backend":"a","server":"b","weight":1}"#,
      "/v1/kill": #"{"matching":{"listener":"a"}}"#, "/v1/log-level": #"{"level":"info"}"#,
      "/v1/bans": #"{"network":"192.0.2.1","seconds":60,"reason":"x"}"#,
    ]
    var checked = 0
    for operation in document.operations where operation.path != "/v1/events" {
      let body = operation.method == "post" ? bodies[operation.path] ?? "" : ""
      if let schema = document.schema(ofRequest: operation) {
        try document.check(try JSONValue(body), schema)
      }
      let query =
        operation.method == "delete"
        ? "?network=192.0.2.1"
        : operation.path == "/v1/explain" ? "?listener=a&from=192.0.2.1" : ""
      let reply = try admin.call(
        operation.method.uppercased(), operation.path + query, body: body)
      #expect(reply.status == 200, "\(operation.path): \(reply.body)")
      guard let schema = document.schema(operation, status: 200) else {
        throw TestFailure("no answer of \(operation.path) is described")
      }
      guard operation.path != "/v1/openapi.json" else { continue }
      let value = operation.path == "/metrics" ? .string(reply.body) : try reply.json()
      try document.check(value, schema, at: operation.path)
      checked += 1
    }
    #expect(checked == AdminRoute.all.count - 2)
  }

  @Test func everyFailureIsWhatTheDocumentSays() throws {
    let admin = try RunningAdmin()
    for operation in document.operations where operation.path == "/v1/drain" {
      for (code, status) in [(Failure.Code.notFound, 404), (.refused, 422), (.unavailable, 503)] {
        admin.operations.problem.withLock { $0 = Failure(code, "x") }
        let reply = try admin.call("POST", operation.path, body: #"{"listener":"a"}"#)
        #expect(reply.status == status)
        let schema = document.schema(operation, status: status)
        try document.check(try reply.json(), try #require(schema))
      }
    }
  }

  @Test func eventsAreWhatTheDocumentSays() throws {
    let admin = try RunningAdmin()
    let socket = try admin.connect()
    // Version 1.0, so that there are no chunks between the lines.
    try socket.write("GET /v1/events HTTP/1.0\r\n\r\n")
    var text = ""
    try wait(for: "events: \(text)") {
      admin.operations.events.post("ban", "192.0.2.1", ["reason": "x"])
      if case .bytes(let more)? = try socket.receive(withinMs: 20) {
        text += String(decoding: more, as: UTF8.self)
      }
      return text.contains("\"ban\"") && text.hasSuffix("\n")
    }
    let operation = document.operations.first { $0.path == "/v1/events" }
    let schema = try #require(operation.flatMap { document.schema($0, status: 200) })
    let lines = text.split(separator: "\r\n\r\n").last?.split(separator: "\n") ?? []
    #expect(lines.count >= 2)
    for line in lines { try document.check(try JSONValue(String(line)), schema) }
  }

  // The check itself, with what it has to find.
  @Test(
    arguments: [
      (#"{"killed":"1"}"#, "KillResult"), (#"{"killed":1.5}"#, "KillResult"),
      ("{}", "KillResult"), (#"{"killed":1,"more":2}"#, "KillResult"),
      (#"{"listener":"a","backend":"b"}"#, "Target"), (#"{"server":"b"}"#, "Target"),
      (#"{"backend":"a","server":"b","weight":257}"#, "WeightRequest"),
      (#"{"level":"loud"}"#, "LogLevelRequest"), ("[]", "Done"),
      (#"{"error":{"code":"oops","message":""}}"#, "Failure"),
    ])
  func whatIsNotSoIsFound(text: String, name: String) throws {
    let schema = try JSONValue(##"{"$ref":"#/components/schemas/\##(name)"}"##)
    #expect(throws: TestFailure.self) { try document.check(try JSONValue(text), schema) }
  }
}
