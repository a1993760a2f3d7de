import Routing
import Testing
import Wire

/// The host of a request: what is a name, what an address, and what neither.
@Suite struct EgressHostTests {
  private static func fault(_ text: String) -> EgressHostFault? {
    do throws(EgressHostFault) {
      _ = try EgressHost(text)
      return nil
    } catch {
      return error
    }
  }

  @Test(
    arguments: [
      ("www.example", "www.example"), ("WWW.Example.", "www.example"), ("my_host", "my_host"),
      ("127.0.0.1", "127.0.0.1"), ("[::1]", "[::1]"), ("[2001:DB8:0::1]", "[2001:db8::1]"),
      ("[::ffff:127.0.0.1]", "127.0.0.1"), ("[::127.0.0.1]", "[::7f00:1]"),
      ("0x7f.example", "0x7f.example"), ("1.example", "1.example"), ("x0x1", "x0x1"),
      ("0xg", "0xg"), ("deadbeef", "deadbeef"),
    ])
  func read(text: String, meant: String) throws {
    #expect(try EgressHost(text).description == meant)
  }

  /// inet_aton(3): one to four parts, each decimal, octal or hexadecimal, the last of which fills
  /// what is left. Some of these it refuses; none is a name.
  @Test(
    arguments: [
      "2130706433", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "0X7F.1",
      "0x7f.1", "017700000001", "127.0.0.0x1", "127.0.0.01", "127.0.0.1.", "127.1.", "0", "0.",
      "1", "0x", "0x.", "foo.0x", "foo.1", "foo.01.", "256.256.256.256", "127.0.0.256", "1.2.3.4.5",
      "4294967296", "00000000000000000000177.1", "1..1", "foo.0xabcdef", "127.0.0.1.0",
    ])
  func numbersAreNoNames(text: String) {
    #expect(EgressHostTests.fault(text) == .numeric)
  }

  @Test(
    arguments: [
      ("", .malformed), ("::1", .malformed), ("[::1", .malformed), ("::1]", .malformed),
      ("[]", .malformed), ("[", .malformed), ("[127.0.0.1]", .malformed), ("[foo]", .malformed),
      ("[v1.x]", .malformed), ("[::1]x", .malformed), ("[fe80::1%eth0]", .zone),
      ("[fe80::1%251]", .zone), ("[::1%]", .zone), ("a b", .malformed), ("a%2eb", .malformed),
      ("user@a", .malformed), ("a/b", .malformed), ("bücher.example", .malformed),
      ("a..b", .malformed), (".", .malformed), (".a", .malformed), ("a\u{0}", .malformed),
      ("a:80", .malformed), ("１２７.0.0.1", .numeric), ("127。0。0。1", .malformed),
    ] as [(String, EgressHostFault)])
  func whatIsNoHostIsRefused(text: String, fault: EgressHostFault) {
    #expect(EgressHostTests.fault(text) == fault)
  }
}
