import TestSupport
import Testing

@testable import DataPlane

/// Setups, what they refuse, and what two of them come to, without a socket.
@Suite struct TLSSetupTests {
  private let fixture = TLSFixture.shared
  private static let word = Array("word".utf8)
  private static let answer = Array("answer".utf8)

  /// Both ends, and how far they came.
  private struct Pair {
    var client: TLSStream.Step
    var server: TLSStream.Step
    let clientFacts: TLSFacts
    let serverFacts: TLSFacts
    var said: [UInt8] = []
    var answered: [UInt8] = []
  }

  /// Shakes hands and says a word in each direction, `piece` bytes at a time.
  private func meet(
    _ clientSetup: TLSClientSetup, _ serverSetup: TLSServerSetup, name: String = "a.example",
    piece: () -> Int = { .max }
  ) throws -> Pair {
    var client = try TLSStream(client: clientSetup, name: name)
    var server = try TLSStream(server: serverSetup)
    var steps = (TLSStream.Step.more, TLSStream.Step.more)
    var (up, down) = (client.takeOutput(), [UInt8]())
    var (said, answered) = ([UInt8](), [UInt8]())
    var hasSaid = false
    while !up.isEmpty || !down.isEmpty {
      let first = Array(up.prefix(piece()))
      up.removeFirst(first.count)
      if !first.isEmpty { steps.1 = server.receive(first.span).step }
      said += server.read(upTo: 64).bytes
      down += server.takeOutput()
      let second = Array(down.prefix(piece()))
      down.removeFirst(second.count)
      if !second.isEmpty { steps.0 = client.receive(second.span).step }
      answered += client.read(upTo: 64).bytes
      if steps.0 == .open, steps.1 == .open, !hasSaid {
        hasSaid = true
        _ = client.write(Self.word.span)
        _ = server.write(Self.answer.span)
        down += server.takeOutput()
      }
      up += client.takeOutput()
    }
    return Pair(
      client: steps.0, server: steps.1, clientFacts: client.facts, serverFacts: server.facts,
      said: said, answered: answered)
  }

  private func expectOpen(_ pair: Pair, _ location: SourceLocation = #_sourceLocation) {
    #expect(pair.client == .open, sourceLocation: location)
    #expect(pair.server == .open, sourceLocation: location)
    #expect(String(decoding: pair.said, as: UTF8.self) == "word", sourceLocation: location)
    #expect(String(decoding: pair.answered, as: UTF8.self) == "answer", sourceLocation: location)
  }

  @Test(arguments: TLSVersion.allCases)
  func bothEndsSayTheSame(_ version: TLSVersion) throws {
    let server = try fixture.serverSetup {
      $0.maxVersion = version
      $0.alpn = ["imap", "smtp"]
      $0.groups = "P-256"
    }
    let pair = try meet(fixture.clientSetup { $0.alpn = ["smtp"] }, server)
    expectOpen(pair)
    for facts in [pair.clientFacts, pair.serverFacts] {
      #expect(facts.version == (version == .tls13 ? "TLSv1.3" : "TLSv1.2"))
      #expect(facts.alpn == Array("smtp".utf8))
      #expect(facts.group == "secp256r1")
      #expect(facts.keyAlgorithm == "EC256")
      #expect(facts.signatureAlgorithm == "ecdsa-with-SHA256")
      #expect(facts.signatureScheme == "ecdsa_secp256r1_sha256")
      #expect(facts.handshakeUs > 0 && !facts.isResumed && facts.verifyResult == 0)
      #expect(facts.failure.isEmpty)
    }
    #expect(pair.clientFacts.cipher == pair.serverFacts.cipher)
    #expect(pair.clientFacts.certificate?.names == ["a.example", "*.b.example"])
    #expect(pair.clientFacts.certificate?.addresses == [[127, 0, 0, 1]])
    #expect(pair.serverFacts.certificate == nil)
  }

  /// Whatever the pieces are in which the network brings it.
  @Test func everyPieceIsEnough() throws {
    let (client, server) = (try fixture.clientSetup(), try fixture.serverSetup())
    expectOpen(try meet(client, server) { 1 })
    var random = SystemRandomNumberGenerator()
    for most in [2, 7, 100, 2000] {
      expectOpen(try meet(client, server) { Int.random(in: 1...most, using: &random) })
    }
  }

  @Test func rsaAndECStandTogether() throws {
    let server = try fixture.serverSetup {
      $0.identities.append(TLSFixture.identity(fixture.rsa))
      $0.ciphers = "ECDHE-RSA-AES128-GCM-SHA256"
      $0.maxVersion = .tls12
    }
    let pair = try meet(fixture.clientSetup(), server)
    expectOpen(pair)
    #expect(pair.serverFacts.keyAlgorithm == "RSA2048")
    #expect(pair.serverFacts.cipher == "ECDHE-RSA-AES128-GCM-SHA256")
    #expect(pair.serverFacts.signatureScheme == "rsa_pss_rsae_sha256")
  }

  @Test func whatIsNotInCommonIsRefusedInWords() throws {
    let pair = try meet(
      fixture.clientSetup { $0.alpn = ["h2"] }, fixture.serverSetup { $0.alpn = ["imap"] })
    #expect(pair.server == .failed("no application protocol"))
    #expect(pair.client == .failed("tlsv1 alert no application protocol"))
    let older = try meet(
      fixture.clientSetup { $0.minVersion = .tls13 },
      fixture.serverSetup { $0.maxVersion = .tls12 })
    #expect(older.server == .failed("unsupported protocol"))
  }

  @Test func aServerMustHaveTheNameAndBeSigned() throws {
    let (client, server) = (try fixture.clientSetup(), try fixture.serverSetup())
    for name in ["x.b.example", "127.0.0.1"] {
      expectOpen(try meet(client, server, name: name))
    }
    for (name, why) in [
      ("b.example", "hostname mismatch"), ("x.y.b.example", "hostname mismatch"),
      ("127.0.0.2", "IP address mismatch"),
    ] {
      let pair = try meet(client, server, name: name)
      #expect(pair.client == .failed("certificate verify failed: \(why)"))
    }
    let unsigned = try fixture.serverSetup {
      $0.identities = [TLSFixture.identity(fixture.stranger)]
    }
    let pair = try meet(client, unsigned)
    #expect(pair.client == .failed("certificate verify failed: self-signed certificate"))
    expectOpen(try meet(fixture.clientSetup { $0.verifies = false }, unsigned))
    #expect(
      try TLSStream(client: client, name: "").facts.failure == "there is no name to verify")
  }

  @Test(arguments: [ClientCertificatePolicy.request, .require], TLSVersion.allCases)
  func clientsAreAskedForACertificate(
    _ policy: ClientCertificatePolicy, _ version: TLSVersion
  ) throws {
    let server = try fixture.serverSetup {
      $0.clientCertificate = policy
      $0.clientAuthorities = fixture.authorities
      $0.maxVersion = version
    }
    let good = try meet(
      fixture.clientSetup { $0.identity = TLSFixture.identity(fixture.client) }, server)
    expectOpen(good)
    #expect(good.serverFacts.verifyResult == 0)
    #expect(good.serverFacts.certificate?.commonName == "client")
    #expect(good.serverFacts.certificate?.subject == "CN=client")
    #expect(good.serverFacts.certificate?.names == ["client.example"])
    #expect(good.serverFacts.certificate?.mails == ["c@a.example"])
    let none = try meet(fixture.clientSetup(), server)
    let bad = try meet(
      fixture.clientSetup { $0.identity = TLSFixture.identity(fixture.stranger) }, server)
    if policy == .request {
      expectOpen(none)
      #expect(none.serverFacts.certificate == nil && none.serverFacts.verifyResult == 0)
      expectOpen(bad)
      #expect(bad.serverFacts.certificate?.commonName == "stranger")
      #expect(TLSFacts.words(for: bad.serverFacts.verifyResult) == "self-signed certificate")
    } else {
      #expect(none.server == .failed("peer did not return a certificate"))
      #expect(bad.server == .failed("certificate verify failed: self-signed certificate"))
    }
  }

  // MARK: sessions

  @Test(arguments: TLSVersion.allCases)
  func sessionsAreResumedUntilTheirKeyIsForgotten(_ version: TLSVersion) throws {
    let tickets = try TicketKeys()
    func server(_ scope: String = "one") throws -> TLSServerSetup {
      try fixture.serverSetup(tickets: tickets) {
        $0.maxVersion = version
        $0.scope = scope
      }
    }
    let (client, first) = (try fixture.clientSetup(), try server())
    func isResumed(_ server: TLSServerSetup) throws -> Bool {
      let pair = try meet(client, server)
      expectOpen(pair)
      #expect(pair.clientFacts.isResumed == pair.serverFacts.isResumed)
      return pair.serverFacts.isResumed
    }
    #expect(try !isResumed(first))
    #expect(try isResumed(first))
    // Another setup of the same listener, as after a reload.
    #expect(try isResumed(server()))
    // An older key still opens, and the ticket is given anew.
    for _ in 0..<4 {
      try tickets.rotate()
      #expect(try isResumed(first))
    }
    for _ in 0..<3 { try tickets.rotate() }
    #expect(try !isResumed(first))
    #expect(try !isResumed(server("another")))
    #expect(try !isResumed(fixture.serverSetup { $0.maxVersion = version }))
  }

  // MARK: what is refused

  private func problem(_ change: (inout TLSServerOptions) -> Void) -> TLSProblem? {
    do {
      _ = try fixture.serverSetup(change)
      return nil
    } catch { return error as? TLSProblem }
  }

  @Test func whatIsWrongIsNamed() throws {
    let identity = TLSFixture.identity(fixture.server)
    let other = TLSFixture.identity(fixture.client)
    typealias Input = TLSProblem.Input
    let cases: [(Input, String, (inout TLSServerOptions) -> Void)] = [
      (.certificate(0), "there is no certificate", { $0.identities = [] }),
      (
        .certificate(0), "there is no certificate in it",
        { $0.identities = [TLSIdentity(chain: [], key: identity.key)] }
      ),
      (
        .key(1), "key values mismatch",
        {
          $0.identities = [
            TLSFixture.identity(fixture.rsa), TLSIdentity(chain: other.chain, key: identity.key),
          ]
        }
      ),
      (
        .key(0), "there is no private key in it",
        { $0.identities = [TLSIdentity(chain: identity.chain, key: identity.chain)] }
      ),
      (
        .certificate(1), "there is one with the same kind of key already",
        { $0.identities.append(other) }
      ),
      (.staple(0), "no successful OCSP response", { $0.identities[0].staple = [1, 2, 3] }),
      (.ciphers, "no cipher match", { $0.ciphers = "NONE-SUCH" }),
      (.suites, "no cipher match", { $0.suites = "TLS_NONE_SUCH" }),
      (.groups, "no such group", { $0.groups = "none-such" }),
      (.alpn, "a name has 1 to 255 bytes", { $0.alpn = [""] }),
      (
        .versions, "no such version",
        {
          $0.minVersion = .tls13
          $0.maxVersion = .tls12
        }
      ),
      (
        .authorities, "there is no certificate in it",
        {
          $0.clientCertificate = .require
          $0.clientAuthorities = Array("nothing".utf8)
        }
      ),
    ]
    for (input, reason, change) in cases {
      let found = problem(change)
      #expect(found?.input == input)
      // Whatever its words are for names it does not know.
      if input != .groups { #expect(found?.reason == reason) }
    }
  }

  @Test func brokenPEMIsNoCertificate() throws {
    var broken = TLSFixture.bytes(fixture.server.chain)
    broken[broken.count / 2] = UInt8(ascii: "!")
    #expect(throws: TLSProblem.self) { try CertificateFacts(chain: broken) }
    var withGarbage = TLSFixture.bytes(fixture.server.chain)
    withGarbage += Array("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".utf8)
    #expect(
      problem { $0.identities[0].chain = withGarbage }?.input == .certificate(0))
  }

  @Test func certificatesAreRead() throws {
    let facts = try CertificateFacts(
      chain: TLSFixture.bytes(fixture.server.both), key: TLSFixture.bytes(fixture.server.both))
    #expect(facts.names == ["a.example", "*.b.example"])
    #expect(facts.commonName == "server" && facts.issuer == "CN=authority")
    #expect(facts.keyAlgorithm == "EC256" && facts.chainLength == 1)
    #expect(facts.notAfter - facts.notBefore == 30 * 86400)
    let error = #expect(throws: TLSProblem.self) {
      try CertificateFacts(
        chain: TLSFixture.bytes(fixture.server.chain), key: TLSFixture.bytes(fixture.rsa.key))
    }
    #expect(error?.input == .key(0))
  }
}
