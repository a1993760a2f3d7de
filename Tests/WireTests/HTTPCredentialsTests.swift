import Testing

@testable import Wire

/// User names and passwords as clients of a proxy send them: RFC 7617.
struct HTTPCredentialsTests {
  private static func read(_ value: String) -> HTTPCredentials? {
    let bytes = Array(value.utf8)
    return HTTPCredentials(bytes.span, 0..<bytes.count)
  }

  @Test(arguments: [
    // The examples of RFC 7617 sections 2 and 2.1.
    ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"),
    ("Basic dGVzdDoxMjPCow==", "test", "123\u{a3}"),
    ("basic  dTpw  ", "u", "p"), ("BASIC dTpw", "u", "p"), ("Basic Og==", "", ""),
    ("Basic Og", "", ""), ("Basic dTpwOnE=", "u", "p:q"), ("Basic dTpwOnE", "u", "p:q"),
    ("Basic dTo/Pz8+", "u", "???>"),
  ])
  func userAndPasswordAreRead(value: String, user: String, password: String) {
    let read = Self.read(value)
    #expect(read?.user == user && read?.password == Array(password.utf8))
  }

  @Test(arguments: [
    "", "Basic", "Basic ", "Basic dQ==", "Bearer dTpw", "Basic dTpw dTpw", "Basic d",
    "Basic dTpw=w",
    "Basic dTpw====", "Basic dTo_Pz8-", "Basic dTpw,", "Basic dQA6cA==", "Basic dToKcA==",
    "Basic /zpw", "Basic " + String(repeating: "dTpw", count: 300),
  ])
  func othersAreNone(value: String) { #expect(Self.read(value) == nil) }
}
