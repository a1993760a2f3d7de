import Routing
import Testing
import Wire

/// NO_PROXY, each row an entry or a list, a host and a port, and whether it goes past the parents.
/// What the rows say was read in golang.org/x/net/http/httpproxy; a differential test with the
/// original is among the tests with real servers.
@Suite struct BypassListTests {
  struct Row: Sendable, CustomTestStringConvertible {
    let list: String
    let host: String
    let port: UInt16
    let isDirect: Bool

    init(_ list: String, _ host: String, _ port: UInt16, _ isDirect: Bool) {
      (self.list, self.host, self.port, self.isDirect) = (list, host, port, isDirect)
    }

    var testDescription: String { "\"\(list)\" \(host):\(port)" }
  }

  @Test(arguments: all) func row(_ row: Row) {
    let match = BypassList(row.list).match(host: row.host, port: row.port)
    #expect((match != nil) == row.isDirect, "\(row.testDescription): \(String(describing: match))")
  }

  @Test func thereAreAtLeast150() {
    #expect(BypassListTests.all.count >= 150)
  }

  static let all: [Row] = [
    names, wildcards, addresses, networks, ports, always, lists, since2025, never,
  ].flatMap { $0 }

  /// "foo.com matches bar.foo.com"; ".y.com matches subdomains"; on the boundary of a label.
  static let names: [Row] = [
    Row("foo.com", "foo.com", 443, true), Row("foo.com", "bar.foo.com", 443, true),
    Row("foo.com", "a.b.foo.com", 80, true), Row("foo.com", "xfoo.com", 443, false),
    Row("foo.com", "foo.com.evil.example", 443, false), Row("foo.com", "com", 443, false),
    Row("foo.com", "foo", 443, false), Row("foo.com", "foo.com.", 443, false),
    Row("foo.com", "foo.co", 443, false), Row("foo.com", "oo.com", 443, false),
    Row("FOO.com", "foo.com", 443, true), Row("foo.com", "FOO.COM", 443, true),
    Row("Foo.Com", "Bar.fOO.cOM", 443, true), Row(".foo.com", "foo.com", 443, false),
    Row(".foo.com", "bar.foo.com", 443, true), Row(".foo.com", "a.b.foo.com", 443, true),
    Row(".foo.com", "xfoo.com", 443, false), Row(".foo.com", ".foo.com", 443, true),
    Row("com", "foo.com", 443, true), Row("com", "com", 443, true), Row("com", "xcom", 443, false),
    Row("intranet", "intranet", 80, true), Row("intranet", "www.intranet", 80, true),
    Row("intranet", "intranet.example", 80, false), Row("my_host", "my_host", 80, true),
    Row("xn--bcher-kva.example", "xn--bcher-kva.example", 443, true),
    Row("xn--bcher-kva.example", "www.xn--bcher-kva.example", 443, true),
    Row("xn--bcher-kva.example", "bcher-kva.example", 443, false),
    Row("foo.com.", "foo.com.", 443, true), Row("foo.com.", "foo.com", 443, false),
    Row("..foo.com", "foo.com", 443, false), Row("..foo.com", "a.foo.com", 443, false),
    Row("..foo.com", "a..foo.com", 443, true), Row("localhost", "www.localhost", 80, true),
  ]

  /// "*.foo.com" is ".foo.com"; any other star is a letter like others.
  static let wildcards: [Row] = [
    Row("*", "foo.com", 443, true), Row("*", "192.0.2.1", 80, true),
    Row("*", "2001:db8::1", 80, true), Row("*", "x", 1, true), Row("a.com,*", "b.org", 80, true),
    Row("*,a.com", "b.org", 80, true), Row(" * ", "b.org", 80, true),
    Row("*.foo.com", "foo.com", 443, false), Row("*.foo.com", "a.foo.com", 443, true),
    Row("*.foo.com", "a.b.foo.com", 443, true), Row("*.foo.com", "xfoo.com", 443, false),
    Row("*.FOO.com", "a.foo.com", 443, true), Row("*.foo.com:8443", "a.foo.com", 8443, true),
    Row("*.foo.com:8443", "a.foo.com", 443, false), Row("*foo.com", "foo.com", 443, false),
    Row("*foo.com", "xfoo.com", 443, false), Row("foo.*", "foo.com", 443, false),
    Row("foo.*.com", "foo.bar.com", 443, false), Row("**", "foo.com", 443, false),
    Row("*.*", "foo.com", 443, false), Row("*:80", "foo.com", 80, false),
    Row("*.", "foo.com", 80, false), Row("*.", "foo.com.", 80, true),
    Row("10.*", "10.0.0.1", 80, false), Row("192.168.0.*", "192.168.0.7", 80, false),
  ]

  /// "An IP address prefix": the address, whatever its text is.
  static let addresses: [Row] = [
    Row("192.0.2.1", "192.0.2.1", 80, true), Row("192.0.2.1", "192.0.2.2", 80, false),
    Row("192.0.2.1", "192.0.2.10", 80, false), Row("192.0.2.1", "::ffff:192.0.2.1", 80, true),
    Row("::ffff:192.0.2.1", "192.0.2.1", 80, true), Row("192.0.2.1", "::192.0.2.1", 80, false),
    Row("::ffff:c000:201", "192.0.2.1", 80, true), Row("192.0.2.1", "foo.192.0.2.1", 80, false),
    Row("192.0.2.01", "192.0.2.1", 80, false), Row("0xc0.0.2.1", "192.0.2.1", 80, false),
    Row("3221225985", "192.0.2.1", 80, false), Row("192.0.513", "192.0.2.1", 80, false),
    Row("2001:db8::1", "2001:db8::1", 443, true), Row("2001:DB8::1", "2001:db8::1", 443, true),
    Row("2001:db8:0:0:0:0:0:1", "2001:db8::1", 443, true),
    Row("2001:db8::1", "2001:db8:0::1", 443, true), Row("2001:db8::1", "2001:db8::2", 443, false),
    Row("2001:db8::1", "foo.com", 443, false), Row("192.0.2.1", "foo.com", 443, false),
    Row("::", "::", 443, true), Row("::", "0.0.0.0", 443, false),
    Row("0.0.0.0", "0.0.0.0", 443, true), Row("255.255.255.255", "255.255.255.255", 1, true),
    Row("192.0.2", "192.0.2.1", 80, false), Row("192.0.2.", "192.0.2.1", 80, false),
  ]

  /// "or a CIDR": bits of the host are masked; names are never resolved.
  static let networks: [Row] = [
    Row("10.0.0.0/8", "10.1.2.3", 80, true), Row("10.0.0.0/8", "11.0.0.0", 80, false),
    Row("10.0.0.0/8", "9.255.255.255", 80, false), Row("10.9.8.7/8", "10.1.2.3", 443, true),
    Row("10.0.0.0/08", "10.1.2.3", 443, true), Row("10.0.0.0/32", "10.0.0.0", 443, true),
    Row("10.0.0.0/32", "10.0.0.1", 443, false), Row("10.0.0.0/33", "10.0.0.0", 443, false),
    Row("10.0.0.0/-1", "10.0.0.0", 443, false), Row("10.0.0.0/", "10.0.0.0", 443, false),
    Row("10.0.0.0/+8", "10.0.0.0", 443, false), Row("0.0.0.0/0", "8.8.8.8", 443, true),
    Row("0.0.0.0/0", "2001:db8::1", 443, false), Row("::/0", "2001:db8::1", 443, true),
    Row("::/0", "8.8.8.8", 443, false), Row("::/0", "::ffff:8.8.8.8", 443, false),
    Row("0.0.0.0/0", "::ffff:8.8.8.8", 443, true), Row("10.0.0.0/8", "::ffff:10.1.2.3", 80, true),
    Row("::ffff:10.0.0.0/104", "10.1.2.3", 80, true),
    Row("::ffff:10.0.0.0/104", "11.1.2.3", 80, false),
    Row("::ffff:10.0.0.0/95", "10.1.2.3", 80, false), Row("::ffff:0:0/96", "8.8.8.8", 80, true),
    Row("2001:db8::/32", "2001:db8:ffff::1", 80, true),
    Row("2001:db8::/32", "2001:db9::1", 80, false),
    Row("2001:db8::1/32", "2001:db8:ffff::1", 80, true),
    Row("2001:db8::/129", "2001:db8::", 80, false),
    Row("10.0.0.0/8", "foo.com", 80, false), Row("10.0.0.0/8", "10.foo.com", 80, false),
    Row("10.0.0/8", "10.0.0.1", 80, false), Row("192.168.1.0/24", "192.168.1.255", 80, true),
    Row("192.168.1.0/24", "192.168.2.0", 80, false),
    Row("192.168.1.128/25", "192.168.1.127", 80, false),
  ]

  /// A port "must match the URL's", its text or the default of the scheme; a network takes none.
  static let ports: [Row] = [
    Row("foo.com:80", "foo.com", 80, true), Row("foo.com:80", "foo.com", 443, false),
    Row("foo.com:8080", "a.foo.com", 8080, true), Row(".foo.com:443", "a.foo.com", 443, true),
    Row(".foo.com:443", "foo.com", 443, false), Row(".foo.com:443", "a.foo.com", 80, false),
    Row("foo.com:", "foo.com", 80, true), Row("foo.com:", "foo.com", 1234, true),
    Row("foo.com:0443", "foo.com", 443, false), Row("foo.com:https", "foo.com", 443, false),
    Row("foo.com:65536", "foo.com", 0, false), Row("foo.com: 443", "foo.com", 443, false),
    Row("[foo.com]:443", "foo.com", 443, true), Row("1.2.3.4:567", "1.2.3.4", 567, true),
    Row("1.2.3.4:567", "1.2.3.4", 568, false), Row("1.2.3.4:567", "::ffff:1.2.3.4", 567, true),
    Row("1.2.3.4:", "1.2.3.4", 9, true), Row("[1.2.3.4]:567", "1.2.3.4", 567, true),
    Row("[2001:db8::1]:443", "2001:db8::1", 443, true),
    Row("[2001:db8::1]:443", "2001:db8::1", 444, false),
    Row("[2001:db8::1]:", "2001:db8::1", 444, true),
    Row("[2001:db8::1]", "2001:db8::1", 443, false),
    Row("2001:db8::1:443", "2001:db8::1", 443, false),
    Row("2001:db8::1:443", "2001:db8::1:443", 80, true),
    Row("10.0.0.0/8:80", "10.0.0.1", 80, false), Row("[10.0.0.0/8]:80", "10.0.0.1", 80, false),
    Row(":80", "foo.com", 80, false), Row("[]:80", "foo.com", 80, false),
    Row("foo.com:80:80", "foo.com", 80, false), Row("[foo.com:80", "foo.com", 80, false),
  ]

  /// "As a special case, if req.URL.Host is "localhost" or a loopback address".
  static let always: [Row] = [
    Row("", "localhost", 80, true), Row("", "localhost", 8443, true),
    Row("foo.com", "localhost", 80, true), Row("", "LOCALHOST", 80, false),
    Row("", "www.localhost", 80, false), Row("", "localhost.", 80, false),
    Row("", "localhost.localdomain", 80, false), Row("", "127.0.0.1", 80, true),
    Row("", "127.255.255.254", 80, true), Row("", "128.0.0.1", 80, false),
    Row("", "::1", 80, true), Row("", "0:0:0:0:0:0:0:1", 80, true), Row("", "::2", 80, false),
    Row("", "::ffff:127.0.0.1", 80, true), Row("", "::127.0.0.1", 80, false),
    Row("", "0.0.0.0", 80, false), Row("", "foo.com", 80, false), Row("", "127.1", 80, false),
    Row("", "2130706433", 80, false),
  ]

  /// Commas part entries, blanks around them fall off, empty ones are nothing.
  static let lists: [Row] = [
    Row("a.com,b.com", "a.com", 80, true), Row("a.com,b.com", "b.com", 80, true),
    Row("a.com , b.com", "b.com", 80, true), Row("\ta.com\t,\tb.com ", "a.com", 80, true),
    Row("a.com b.com", "a.com", 80, false), Row("a.com b.com", "b.com", 80, false),
    Row("a.com;b.com", "b.com", 80, false), Row(",,a.com,,", "a.com", 80, true),
    Row(",", "a.com", 80, false), Row(" , ", "a.com", 80, false), Row("", "a.com", 80, false),
    Row("1.2.3.4:567,.internal.example.com,login.example.com", "1.2.3.4", 567, true),
    Row("1.2.3.4:567,.internal.example.com,login.example.com", "1.2.3.4", 443, false),
    Row("1.2.3.4:567,.internal.example.com,login.example.com", "a.internal.example.com", 1, true),
    Row("1.2.3.4:567,.internal.example.com,login.example.com", "internal.example.com", 1, false),
    Row("1.2.3.4:567,.internal.example.com,login.example.com", "login.example.com", 443, true),
    Row("1.2.3.4:567,.internal.example.com,login.example.com", "x.login.example.com", 443, true),
    Row("1.2.3.4:567,.internal.example.com,login.example.com", "example.com", 443, false),
    Row("a.com\u{a0},b.com", "a.com", 80, true),
  ]

  /// What Go does since the fix of CVE-2025-22870 (x/net 0.36).
  static let since2025: [Row] = [
    Row("1.2.3.4:80,2.3.4", "1.2.3.4", 443, false), Row(".3.4", "1.2.3.4", 80, false),
    Row("4", "1.2.3.4", 80, false), Row("*.3.4", "1.2.3.4", 80, false),
    Row("example.com", "::1%25.example.com", 80, true), Row("*.com", "::1%.com", 80, true),
    Row("example.com", "2001:db8::1%.example.com", 80, false),
    Row("*.example.com", "fe80::1%25.example.com", 80, false),
    Row("fe80::1", "fe80::1%eth0", 80, true), Row("fe80::/10", "fe80::1%eth0", 80, true),
    Row("[fe80::1]:80", "fe80::1%eth0", 80, true), Row("[fe80::1]:80", "fe80::1%eth0", 81, false),
    Row("fe80::1%eth0", "fe80::1%eth0", 80, false), Row("", "::1%eth0", 80, true),
    Row("1.2.3.4", "1.2.3.4%eth0", 80, false),
  ]

  /// Entries that no request matches.
  static let never: [Row] = [
    Row("http://foo.com", "foo.com", 80, false), Row("foo.com/", "foo.com", 80, false),
    Row("foo.com/24", "foo.com", 80, false), Row("user@foo.com", "foo.com", 80, false),
    Row("\"foo.com\"", "foo.com", 80, false), Row("foo_.com", "foo.com", 80, false),
  ]

  @Test func theEntryIsTold() {
    let list = BypassList("a.com, ,b.com,10.0.0.0/8")
    #expect(list.entries.map(\.text) == ["a.com", "b.com", "10.0.0.0/8"])
    #expect(list.match(host: "x.b.com", port: 80) == .entry(1))
    #expect(list.match(host: "10.0.0.1", port: 80) == .entry(2))
    #expect(list.match(host: "localhost", port: 80) == .localhost)
    #expect(list.match(host: "127.0.0.1", port: 80) == .loopback)
    #expect(list.match(host: "c.com", port: 80) == nil)
  }

  @Test(
    arguments: [
      ("*", nil), ("foo.com", nil), (".foo.com", nil), ("*.foo.com:80", nil), ("10.0.0.0/8", nil),
      ("10.1.2.3/8", nil), ("1.2.3.4:567", nil), ("[::1]:443", nil), ("::1", nil), ("com", nil),
      ("localhost", nil), ("foo.com:", nil), (":80", .noHost), ("foo.com:0443", .badPort),
      ("foo.com:https", .badPort), ("foo.com:0", .badPort), ("1.2.3.4:65536", .badPort),
      ("10.0.0.0/8:80", .networkPort), ("[::1]", .brackets), ("fe80::1%eth0", .zone),
      ("a.com b.com", .blank), ("10.*", .star), ("*foo.com", .star), ("*:80", .star),
      ("bücher.example", .notASCII), ("foo.com.", .finalDot), ("http://foo.com", .badPort),
      ("10.0.0.0/33", .notHost), ("192.168.1", .notHost), ("0x7f.1", .notHost),
      ("-a.com", .notHost),
      ("a..com", .notHost), (".", .notHost),
    ] as [(String, BypassFault?)])
  func entriesThatNeverMatchAreKnown(text: String, fault: BypassFault?) throws {
    #expect(try #require(BypassEntry(text)).fault == fault)
  }
}
