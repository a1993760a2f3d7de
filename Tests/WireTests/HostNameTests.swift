import Testing

@testable import Wire

struct HostNameTests {
  @Test(arguments: [
    ("example.com", "example.com"), ("Mail.EXAMPLE.com.", "mail.example.com"),
    ("postfix", "postfix"), ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
    ("_dmarc.example.com", "_dmarc.example.com"), ("my_service", "my_service"),
    ("3com.com", "3com.com"), ("1.2.3.4.in-addr.arpa", "1.2.3.4.in-addr.arpa"),
    ("a-b.c--d.e", "a-b.c--d.e"), ("1.2.3.4a", "1.2.3.4a"),
  ])
  func takes(text: String, canonical: String) throws {
    let name = try #require(HostName(text))
    #expect(name.text == canonical)
    #expect(HostName(name.description) == name)
  }

  @Test(arguments: [
    "", ".", "..", "a..b", ".a", "a..", "-a", "a-", "a.-b.c", "a.b-.c", "a b", "a\0b", "a/b",
    "*.example.com", "münchen.example", "1.2.3.4", "a.1", "1", "[::1]", "a:25", "a\n",
  ])
  func refuses(text: String) {
    #expect(HostName(text) == nil)
  }

  /// RFC 1035 section 2.3.4: "labels 63 octets or less", "names 255 octets or less"; the latter
  /// with a length byte in front and the root label behind, so 253 of text.
  @Test func lengths() {
    let label = String(repeating: "a", count: 63)
    #expect(HostName(label + ".b") != nil)
    #expect(HostName(label + "a.b") == nil)
    let longest = [label, label, label, String(repeating: "b", count: 61)].joined(separator: ".")
    #expect(longest.utf8.count == 253)
    #expect(HostName(longest) != nil)
    #expect(HostName(longest + ".")?.text == longest)
    #expect(HostName(longest + "b") == nil)
  }
}
