import AdminAPI
import FoundationEssentials
import Testing

@Suite struct AdminCodingTests {
  private func json(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  private func read<Value: Decodable>(_ type: Value.Type, _ text: String) throws -> Value {
    try JSONDecoder().decode(type, from: Data(text.utf8))
  }

  @Test(
    arguments: [
      (.listener("smtp"), #"{"listener":"smtp"}"#),
      (.backend("postfix"), #"{"backend":"postfix"}"#),
      (
        .server(backend: "postfix", server: "192.0.2.1:25"),
        #"{"backend":"postfix","server":"192.0.2.1:25"}"#
      ),
    ] as [(Target, String)])
  func aTargetIsAFlatObject(target: Target, text: String) throws {
    #expect(try json(target) == text)
    #expect(try read(Target.self, text) == target)
    #expect(try json(DrainRequest(target: target)) == text)
    #expect(try read(DrainRequest.self, text).target == target)
  }

  @Test(
    arguments: [
      "{}", #"{"server":"a"}"#, #"{"listener":"a","backend":"b"}"#,
      #"{"listener":"a","server":"b"}"#, #"{"listener":"a","backend":"b","server":"c"}"#,
      #"{"listener":1}"#, #"{"listner":"a"}"#, "[]", #""smtp""#,
    ])
  func whatIsNoTargetIsRefused(text: String) {
    #expect(throws: DecodingError.self) { try read(DrainRequest.self, text) }
  }

  @Test func aFailureIsAnError() throws {
    let failure = Failure(.notFound, "there is no listener \"smpt\"")
    let text = #"{"error":{"code":"not-found","message":"there is no listener \"smpt\""}}"#
    #expect(try json(failure) == text)
    #expect(try read(Failure.self, text) == failure)
  }

  @Test func whatHasADefaultMayBeAbsent() throws {
    #expect(try read(ReloadRequest.self, "{}") == ReloadRequest())
    #expect(try read(ReloadRequest.self, #"{"dryRun":true}"#) == ReloadRequest(dryRun: true))
    #expect(
      try read(KillRequest.self, #"{"matching":{"listener":"smtp"}}"#)
        == KillRequest(
          matching: SessionQuery(listener: "smtp", limit: SessionQuery.largestLimit)))
    #expect(
      try read(KillRequest.self, #"{"matching":{"listener":"smtp","limit":3}}"#)
        == KillRequest(matching: SessionQuery(listener: "smtp", limit: 3)))
    #expect(
      try read(BanRequest.self, #"{"network":"192.0.2.1"}"#) == BanRequest(network: "192.0.2.1"))
  }

  // A request that is nearly right must not do something else: `dryrun` would reload, a `kill`
  // without a word would kill everybody.
  @Test func whatNobodyMeantIsRefused() {
    #expect(throws: DecodingError.self) { try read(ReloadRequest.self, #"{"dryrun":true}"#) }
    #expect(throws: DecodingError.self) { try read(KillRequest.self, "{}") }
    #expect(throws: DecodingError.self) {
      try read(KillRequest.self, #"{"id":"1-2-3","matching":{}}"#)
    }
    #expect(throws: DecodingError.self) {
      try read(KillRequest.self, #"{"matching":{"listner":"smtp"}}"#)
    }
    #expect(throws: DecodingError.self) {
      try read(BanRequest.self, #"{"network":"192.0.2.1","secs":60}"#)
    }
    #expect(throws: DecodingError.self) {
      try read(WeightRequest.self, #"{"backend":"a","server":"b"}"#)
    }
  }

  @Test func whatIsSentIsWhatIsRead() throws {
    let reload = ReloadRequest(dryRun: true, waitDrainedSeconds: 1.5)
    #expect(try read(ReloadRequest.self, json(reload)) == reload)
    let kill = KillRequest(matching: SessionQuery(client: "192.0.2.0/24", olderThanSeconds: 60))
    #expect(try read(KillRequest.self, json(kill)) == kill)
    let weight = WeightRequest(backend: "a", server: "b", weight: 256)
    #expect(try read(WeightRequest.self, json(weight)) == weight)
    let ban = BanRequest(network: "192.0.2.0/24", seconds: 3600, reason: "spam")
    #expect(try read(BanRequest.self, json(ban)) == ban)
    #expect(try json(Done()) == "{}")
  }
}
