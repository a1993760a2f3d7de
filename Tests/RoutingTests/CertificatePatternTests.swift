import Routing
import Testing

@Suite struct CertificatePatternTests {
  @Test(arguments: [
    ("a.example", ["a.example"], ["b.a.example", "a.example.", "xa.example", ""]),
    ("Alice Smith", ["alice smith"], ["alice", "alice smith\0"]),
    ("*.a.example", ["b.a.example"], ["a.example", ".a.example", "c.b.a.example", "b.xa.example"]),
    (".a.example", ["b.a.example", "c.b.a.example"], ["a.example", ".a.example"]),
    ("*@a.example", ["alice@a.example"], ["@a.example", "a@b@a.example", "a.example"]),
  ])
  func matches(text: String, good: [String], bad: [String]) throws {
    let pattern = try #require(CertificatePattern(text))
    for name in good { #expect(pattern.matches(name), "\(name)") }
    for name in bad { #expect(!pattern.matches(name), "\(name)") }
    #expect(CertificatePattern(pattern.description) == pattern)
  }

  @Test(arguments: [
    "", "*", "*.", "*@", "a*", "**.a", "*.a.*", "a\nb", String(repeating: "a", count: 256),
  ])
  func isNone(text: String) { #expect(CertificatePattern(text) == nil) }

  /// Upper and lower case are one in ASCII, and nowhere else.
  @Test func letters() {
    #expect(CertificatePattern.lowercased("AÉz") == "aÉz")
    #expect(CertificatePattern("A") == CertificatePattern("a"))
  }

  /// Without a certificate that was verified, a rule that asks for one takes nobody.
  @Test func rules() throws {
    let table = RuleTable([
      RuleConditions(certificates: [try #require(CertificatePattern("*@a.example"))]),
      RuleConditions(),
    ])
    #expect(table.first(RuleFacts()) == 1)
    #expect(table.missing(0, RuleFacts()) == .certificate)
    #expect(table.first(RuleFacts(certificate: ["b.example"])) == 1)
    #expect(table.first(RuleFacts(certificate: ["b.example", "b@a.example"])) == 0)
  }
}
