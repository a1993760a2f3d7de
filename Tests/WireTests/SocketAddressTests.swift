import Testing

@testable import Wire

/// The text of addresses both ways: what is taken, what is refused, what is printed.
struct SocketAddressTests {
  @Test(arguments: [
    ("0.0.0.0:0", SocketAddress.ipv4(0, port: 0)),
    ("1.2.3.4:25", .ipv4(0x0102_0304, port: 25)),
    ("255.255.255.255:65535", .ipv4(0xffff_ffff, port: 65535)),
    ("[::]:25", .ipv6(high: 0, low: 0, port: 25, scope: 0)),
    ("[::1]:25", .ipv6(high: 0, low: 1, port: 25, scope: 0)),
    ("[2001:db8::1]:465", .ipv6(high: 0x2001_0db8_0000_0000, low: 1, port: 465, scope: 0)),
    ("[fe80::1%2]:25", .ipv6(high: 0xfe80_0000_0000_0000, low: 1, port: 25, scope: 2)),
    ("[::ffff:1.2.3.4]:25", .ipv6(high: 0, low: 0xffff_0102_0304, port: 25, scope: 0)),
    ("unix:/run/x.sock", .unix(path: "/run/x.sock")),
    ("unix:@abstract", .unix(path: "\0abstract")),
  ])
  func takesAndPrintsTheSameText(text: String, address: SocketAddress) {
    #expect(SocketAddress(text) == address)
    #expect(address.description == text)
    var bytes: [UInt8] = []
    address.append(to: &bytes)
    #expect(String(decoding: bytes, as: UTF8.self) == text)
  }

  @Test(arguments: [
    "", ":", ":25", "1.2.3.4", "1.2.3.4:", "1.2.3:25", "1.2.3.4.5:25", "1.2.3.256:25",
    "01.2.3.4:25", "1.2.3.00:25", "1..3.4:25", "1.2.3.4:025", "1.2.3.4:65536", "1.2.3.4:+25",
    "1.2.3.4:-1", " 1.2.3.4:25", "1.2.3.4:25 ", "1.2.3.4 :25", "0x1.2.3.4:25",
    "1.2.3.4:4294967321", "[1.2.3.4]:25", "::1:25", "2001:db8::1:25", "[::1]", "[::1]:",
    "[::1:25", "::1]:25", "[]:25", "[", "[:25", "[::1]x:25", "[:::]:1", "[1:::2]:1", "[1::2::3]:1",
    "[:1:2:3:4:5:6:7]:1", "[1:2:3:4:5:6:7:]:1", "[1:2:3:4:5:6:7]:1", "[1:2:3:4:5:6:7:8:9]:1",
    "[1:2:3:4:5:6:7:8::]:1", "[::1:2:3:4:5:6:7:8]:1", "[12345::]:1", "[g::]:1",
    "[1:2:3:4:5:6:7:1.2.3.4]:1", "[::1.2.3]:1", "[::1.2.3.4:5]:1", "[::1.2.3.04]:1",
    "[1.2.3.4::]:1", "[fe80::1%]:1", "[fe80::1%eth0]:1", "[fe80::1%0]:1", "[fe80::1%01]:1",
    "mail.example.com:25", "localhost:25", "unix:", "unix:@", "unix:a\0b", "UNIX:/x",
  ])
  func refuses(text: String) {
    #expect(SocketAddress(text) == nil)
  }

  @Test func unixPathsEndAt107Bytes() {
    let longest = String(repeating: "p", count: 107)
    #expect(SocketAddress("unix:" + longest) == .unix(path: longest))
    #expect(SocketAddress("unix:" + longest + "p") == nil)
    #expect(SocketAddress("unix:@" + String(repeating: "p", count: 106)) != nil)
    #expect(SocketAddress("unix:@" + longest) == nil)
  }

  @Test func anUnnamedUnixSocketPrintsItsScheme() {
    #expect(SocketAddress.unix(path: "").description == "unix:")
  }

  /// RFC 4291 section 2.2: "Due to some methods of allocating certain styles of IPv6 addresses, it
  /// will be common for addresses to contain long strings of zero bits", the `::` forms; and "An
  /// alternative form that is sometimes more convenient [...] x:x:x:x:x:x:d.d.d.d".
  @Test(arguments: [
    ("ABCD:EF01:2345:6789:ABCD:EF01:2345:6789", "abcd:ef01:2345:6789:abcd:ef01:2345:6789"),
    ("2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"),
    ("FF01:0:0:0:0:0:0:101", "ff01::101"),
    ("0:0:0:0:0:0:0:0", "::"),
    ("0:0:0:0:0:0:13.1.68.3", "::d01:4403"),
    ("0:0:0:0:0:FFFF:129.144.52.38", "::ffff:129.144.52.38"),
    ("::FFFF:8190:3426", "::ffff:129.144.52.38"),
    ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
    ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
    // RFC 5952 section 4.2.2: "The symbol "::" MUST NOT be used to shorten just one 16-bit 0
    // field."
    ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
    // 4.2.3: "the longest run of consecutive 16-bit 0 fields MUST be shortened", "the first
    // sequence of zero bits MUST be shortened" when they are equal.
    ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
    ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
    ("0:0:1::", "0:0:1::"),
    ("1::8:0:0", "1::8:0:0"),
  ])
  func printsIPv6AsRFC5952(text: String, canonical: String) throws {
    let address = try #require(SocketAddress(host: text, port: 1))
    #expect(address.hostDescription == canonical)
    #expect(SocketAddress(host: canonical, port: 1) == address)
    #expect(SocketAddress("[\(text)]:1") == address)
  }

  @Test func hostsWithoutPorts() {
    #expect(SocketAddress(host: "1.2.3.4", port: 7) == .ipv4(0x0102_0304, port: 7))
    #expect(SocketAddress(host: "[::1]", port: 7) == SocketAddress("[::1]:7"))
    #expect(SocketAddress(host: "[1.2.3.4]", port: 7) == nil)
    #expect(SocketAddress(host: "1.2.3.4:7", port: 7) == nil)
    #expect(SocketAddress(host: "", port: 7) == nil)
  }

  @Test func mappedAndUnmapped() throws {
    let plain = try #require(SocketAddress("1.2.3.4:25"))
    let mapped = try #require(SocketAddress("[::ffff:1.2.3.4]:25"))
    #expect(plain.mapped() == mapped)
    #expect(mapped.unmapped() == plain)
    #expect(plain.unmapped() == plain)
    #expect(mapped.mapped() == mapped)
    // "IPv4-compatible" addresses are deprecated (RFC 4291 section 2.5.5.1) and mean nothing here.
    for text in ["[::1.2.3.4]:25", "[::1:ffff:1.2.3.4]:25", "[1::ffff:1.2.3.4]:25", "unix:/x"] {
      let address = try #require(SocketAddress(text))
      #expect(address.unmapped() == address)
    }
  }

  @Test(arguments: [
    ("0.0.0.0:25", true, false), ("[::]:25", true, false), ("[::ffff:0.0.0.0]:25", true, false),
    ("127.0.0.1:25", false, true), ("127.255.255.254:25", false, true), ("[::1]:25", false, true),
    ("[::ffff:127.0.0.1]:25", false, true), ("128.0.0.1:25", false, false),
    ("[::2]:25", false, false), ("unix:/x", false, false),
  ])
  func wildcardAndLoopback(text: String, wildcard: Bool, loopback: Bool) throws {
    let address = try #require(SocketAddress(text))
    #expect(address.isWildcard == wildcard)
    #expect(address.isLoopback == loopback)
  }

  @Test func ports() throws {
    #expect(SocketAddress("1.2.3.4:25")?.port == 25)
    #expect(SocketAddress("[::1]:65535")?.port == 65535)
    #expect(SocketAddress.unix(path: "/x").port == nil)
    #expect(SocketAddress("[fe80::1%2]:25")?.withPort(0) == SocketAddress("[fe80::1%2]:0"))
    #expect(SocketAddress("1.2.3.4:25")?.withPort(9) == SocketAddress("1.2.3.4:9"))
    #expect(SocketAddress.unix(path: "/x").withPort(9) == .unix(path: "/x"))
  }

  @Test func randomAddressesSurviveTheirText() {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SeededGenerator(seed: seed)
    for _ in 0..<5_000 {
      let address = random.socketAddress(unix: true)
      #expect(SocketAddress(address.description) == address, "seed \(seed)")
      if case .unix = address { continue }
      let again = SocketAddress(host: address.hostDescription, port: address.port ?? 0)
      #expect(again == address, "seed \(seed)")
    }
  }
}

struct NetworkTests {
  @Test(arguments: [
    ("192.0.2.0/24", "192.0.2.255:1", true), ("192.0.2.0/24", "192.0.3.0:1", false),
    ("192.0.2.0/24", "[::ffff:192.0.2.7]:1", true), ("192.0.2.1", "192.0.2.1:9", true),
    ("192.0.2.1", "192.0.2.2:9", false), ("0.0.0.0/0", "8.8.8.8:1", true),
    ("0.0.0.0/0", "[::1]:1", false), ("::/0", "[2001:db8::1]:1", true),
    ("::/0", "8.8.8.8:1", false), ("::/0", "[::ffff:8.8.8.8]:1", false),
    ("2001:db8::/32", "[2001:db8:ffff::1]:1", true), ("2001:db8::/32", "[2001:db9::1]:1", false),
    ("2001:db8::/65", "[2001:db8::7fff:ffff:ffff:ffff]:1", true),
    ("2001:db8::/65", "[2001:db8::8000:0:0:0]:1", false), ("fe80::/10", "[fe80::1%3]:1", true),
    ("::1", "[::1]:1", true), ("::1", "[::2]:1", false), ("unix", "unix:/x", true),
    ("unix", "127.0.0.1:1", false), ("127.0.0.0/8", "unix:/x", false),
    ("::ffff:192.0.2.0/120", "192.0.2.9:1", true),
  ])
  func contains(network: String, address: String, inside: Bool) throws {
    let network = try Network(parsing: network)
    #expect(network.contains(try #require(SocketAddress(address))) == inside)
    #expect(try Network(parsing: network.description) == network)
  }

  @Test(arguments: [
    ("", NetworkFault.badAddress), ("/8", .badAddress), ("10.0.0/8", .badAddress),
    ("[::1]/128", .badAddress), ("fe80::1%2/128", .badAddress), ("example.com/8", .badAddress),
    ("10.0.0.0/33", .badPrefix), ("10.0.0.0/", .badPrefix), ("10.0.0.0/08", .badPrefix),
    ("10.0.0.0/-1", .badPrefix), ("10.0.0.0/8/8", .badPrefix), ("::/129", .badPrefix),
    ("10.0.0.0/255.0.0.0", .badPrefix),
    ("10.1.2.3/8", .hostBits(.ipv4(0x0a00_0000, prefix: 8))),
    ("2001:db8::1/32", .hostBits(.ipv6(high: 0x2001_0db8_0000_0000, low: 0, prefix: 32))),
  ])
  func refuses(text: String, fault: NetworkFault) {
    #expect(throws: fault) { try Network(parsing: text) }
  }

  @Test func mappedNetworksAreIPv4() throws {
    #expect(try Network(parsing: "::ffff:10.0.0.0/104") == .ipv4(0x0a00_0000, prefix: 8))
    #expect(try Network(parsing: "::ffff:0:0/96").description == "0.0.0.0/0")
  }
}
