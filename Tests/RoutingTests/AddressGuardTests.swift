import Routing
import Testing
import Wire

/// Which addresses clients of a forward proxy are kept from.
@Suite struct AddressGuardTests {
  private static func address(_ text: String, _ port: UInt16 = 443) throws -> SocketAddress {
    try #require(SocketAddress(host: text, port: port), "\(text)")
  }

  private static func name(_ guarding: AddressGuard, _ text: String, _ port: UInt16 = 443) throws
    -> String?
  {
    switch guarding.verdict(try address(text, port)) {
    case .allowed: nil
    case .denied(let range): range.name
    }
  }

  /// The first and the last address of each range, and those beside it.
  @Test(
    arguments: [
      ("0.0.0.0", "0.255.255.255", "unspecified"), ("10.0.0.0", "10.255.255.255", "private"),
      ("100.64.0.0", "100.127.255.255", "shared by a carrier"),
      ("127.0.0.0", "127.255.255.255", "loopback"),
      ("169.254.0.0", "169.254.255.255", "link-local"),
      ("172.16.0.0", "172.31.255.255", "private"),
      ("192.0.0.0", "192.0.0.255", "protocol assignments"),
      ("192.88.99.0", "192.88.99.255", "6to4 relays"),
      ("192.168.0.0", "192.168.255.255", "private"),
      ("198.18.0.0", "198.19.255.255", "benchmarking"),
      ("224.0.0.0", "239.255.255.255", "multicast"), ("240.0.0.0", "255.255.255.254", "reserved"),
      ("::2", "::ffff:ffff", "IPv4-compatible"),
      ("::ffff:0:0:0", "::ffff:0:ffff:ffff", "IPv4-translated"),
      ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "local NAT64"),
      ("100::", "100::ffff:ffff:ffff:ffff", "discarded"),
      ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "segment routing"),
      ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "unique local"),
      ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local"),
      ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local"),
      ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"),
    ])
  func everyRangeIsDeniedFromEndToEnd(first: String, last: String, name: String) throws {
    let guarding = AddressGuard()
    #expect(try AddressGuardTests.name(guarding, first) == name)
    #expect(try AddressGuardTests.name(guarding, last) == name)
  }

  @Test(
    arguments: [
      "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
      "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
      "191.255.255.255", "192.0.1.0", "192.88.98.255", "192.88.100.0", "192.167.255.255",
      "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "8.8.8.8", "::1:0:0",
      "64:ff9b:0:ffff::", "64:ff9b:2::", "100:0:0:1::", "2001:1::", "2606:4700::1111",
      "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::", "fe7f:ffff::", "5eff::", "5f01::",
      "2003::1", "2a00:1450::1", "64:ff9b::8.8.8.8", "2002:808:808::1", "203.0.113.7",
    ])
  func whatIsBesideThemIsAllowed(text: String) throws {
    #expect(try AddressGuardTests.name(AddressGuard(), text) == nil)
  }

  @Test(
    arguments: [
      ("::", "unspecified"), ("::1", "loopback"), ("255.255.255.255", "broadcast"),
      ("169.254.169.254", "metadata of a cloud"), ("169.254.170.2", "metadata of a cloud"),
      ("169.254.170.23", "metadata of a cloud"), ("192.0.0.192", "metadata of a cloud"),
      ("100.100.100.200", "metadata of a cloud"), ("168.63.129.16", "metadata of a cloud"),
      ("fd00:ec2::254", "metadata of a cloud"), ("fd20:ce::254", "metadata of a cloud"),
      ("fd00:c1c1::192", "metadata of a cloud"),
    ])
  func singleAddresses(text: String, name: String) throws {
    #expect(try AddressGuardTests.name(AddressGuard(), text) == name)
  }

  /// Each IPv4 range in each way to write it in IPv6, at its ends.
  @Test func embeddedIPv4IsFound() throws {
    let guarding = AddressGuard()
    for range in GuardRange.denied {
      guard case .ipv4(let base, let prefix) = range.network else { continue }
      let last = base | ~(UInt32.max << UInt32(32 - prefix))
      for word in [base, last] {
        let low = UInt64(word)
        let client = UInt64(~word)
        let forms: [(String, UInt64, UInt64)] = [
          ("mapped", 0, 0xffff_0000_0000 | low), ("compatible", 0, low),
          ("translated", 0, 0xffff_0000_0000_0000 | low), ("NAT64", 0x0064_ff9b_0000_0000, low),
          ("6to4", 0x2002_0000_0000_0000 | low << 16, 1),
          ("6to4 network", 0x2002_0000_0000_ffff | low << 16, .max),
          ("Teredo client", 0x2001_0000_0808_0808, client),
          ("Teredo server", 0x2001_0000_0000_0000 | low, 0xf7f7_f7f7),
        ]
        for (form, high, low) in forms {
          let address = SocketAddress.ipv6(high: high, low: low, port: 443, scope: 0)
          #expect(!guarding.verdict(address).isAllowed, "\(form) of \(range): \(address)")
        }
      }
    }
    #expect(
      try AddressGuardTests.name(guarding, "64:ff9b::127.0.0.1") == "loopback by NAT64")
    #expect(
      try AddressGuardTests.name(guarding, "2002:7f00:1::") == "loopback by 6to4")
    #expect(
      try AddressGuardTests.name(guarding, "64:ff9b::169.254.169.254")
        == "metadata of a cloud by NAT64")
  }

  /// Every address of the first 65,536 in steps through the whole space, against the plain list.
  @Test func wholeSpaceAgreesWithTheList() {
    let guarding = AddressGuard()
    for step in 0..<(UInt32(1) << 16) {
      let word = step &* 65_537 &+ step
      let address = SocketAddress.ipv4(word, port: 80)
      let isListed = GuardRange.denied.contains { $0.network.contains(address) }
      #expect(guarding.verdict(address).isAllowed == !isListed, "\(address)")
    }
  }

  // ---- exceptions --------------------------------------------------------------------------

  private static func exceptions(_ texts: String...) throws -> [AddressGuard.Exception] {
    try texts.map { text in
      var rest = text.dropFirst()
      var port: UInt16?
      if let at = rest.firstIndex(of: "@") {
        port = UInt16(rest[rest.index(after: at)...])
        rest = rest[..<at]
      }
      return AddressGuard.Exception(
        network: try Network(parsing: String(rest)), port: port, isAllowed: text.first == "+")
    }
  }

  @Test func theLongestPrefixWinsAndDenyWinsTies() throws {
    let guarding = AddressGuard(
      try AddressGuardTests.exceptions(
        "+10.0.0.0/8", "-10.1.0.0/16", "+10.1.2.0/24", "-10.1.2.3", "-8.8.0.0/16", "+8.8.8.8",
        "+192.168.0.0/16", "-192.168.0.0/16", "-9.9.9.9", "+9.9.9.9", "+::1", "+fd00::/16"))
    let denied = ["10.1.0.1", "10.1.2.3", "8.8.4.4", "192.168.1.1", "9.9.9.9", "fdff::1"]
    let allowed = ["10.0.0.1", "10.2.0.1", "10.1.2.4", "8.8.8.8", "::1", "fd00::1", "1.1.1.1"]
    for text in denied { #expect(try AddressGuardTests.name(guarding, text) != nil, "\(text)") }
    for text in allowed { #expect(try AddressGuardTests.name(guarding, text) == nil, "\(text)") }
    // A shorter exception does not open what is denied by name within it.
    #expect(try AddressGuardTests.name(guarding, "fd00:ec2::254") == "metadata of a cloud")
  }

  @Test func anExceptionWithAPortIsForThatPortAlone() throws {
    let guarding = AddressGuard(
      try AddressGuardTests.exceptions("+10.1.2.3@8443", "+10.0.0.0/8@80", "-10.5.0.0/16@80",
        "+10.6.0.0/16@80", "-10.6.0.0/16@80", "-8.8.8.8@53"))
    #expect(try AddressGuardTests.name(guarding, "10.1.2.3", 8443) == nil)
    #expect(try AddressGuardTests.name(guarding, "10.1.2.3", 443) == "private")
    #expect(try AddressGuardTests.name(guarding, "10.9.9.9", 80) == nil)
    #expect(try AddressGuardTests.name(guarding, "10.5.0.1", 80) == "configured")
    #expect(try AddressGuardTests.name(guarding, "10.6.0.1", 80) == "configured")
    #expect(try AddressGuardTests.name(guarding, "8.8.8.8", 53) == "configured")
    #expect(try AddressGuardTests.name(guarding, "8.8.8.8", 443) == nil)
    #expect(try AddressGuardTests.name(guarding, "::ffff:10.1.2.3", 8443) == nil)
  }

  /// An exception opens the address itself, and no way to it through a gateway.
  @Test func exceptionsAreNotForEmbeddedForms() throws {
    let guarding = AddressGuard(
      try AddressGuardTests.exceptions("+127.0.0.0/8", "+10.0.0.0/8", "-8.8.8.0/24"))
    #expect(try AddressGuardTests.name(guarding, "127.0.0.1") == nil)
    #expect(try AddressGuardTests.name(guarding, "::ffff:127.0.0.1") == nil)
    for text in ["64:ff9b::127.0.0.1", "2002:7f00:1::", "::127.0.0.1", "64:ff9b::8.8.8.8"] {
      #expect(try AddressGuardTests.name(guarding, text) != nil, "\(text)")
    }
    let open = AddressGuard(try AddressGuardTests.exceptions("+64:ff9b::/96"))
    #expect(try AddressGuardTests.name(open, "64:ff9b::10.0.0.1") == nil)
  }

  // ---- this machine ------------------------------------------------------------------------

  private static func own(_ exceptions: String..., isOff: Bool = false) throws -> AddressGuard {
    AddressGuard(
      try exceptions.flatMap { try AddressGuardTests.exceptions($0) },
      own: AddressGuard.OwnPlaces(
        addresses: [try address("203.0.113.5", 0), try address("2001:db8::5", 0)],
        listeners: [
          try address("0.0.0.0", 25), try address("203.0.113.5", 443),
          try address("198.51.100.9", 8443), .unix(path: "/run/x"),
        ], proxies: [try address("127.0.0.1", 3128), try address("::", 3129)]),
      isOff: isOff)
  }

  @Test func ownAddressesAndListenersAreDenied() throws {
    let guarding = try AddressGuardTests.own()
    #expect(try AddressGuardTests.name(guarding, "203.0.113.5", 80) == "this host's own address")
    #expect(try AddressGuardTests.name(guarding, "2001:db8::5", 80) == "this host's own address")
    #expect(try AddressGuardTests.name(guarding, "203.0.113.6", 80) == nil)
    #expect(
      try AddressGuardTests.name(guarding, "198.51.100.9", 8443) == "a listener of this process")
    #expect(try AddressGuardTests.name(guarding, "198.51.100.9", 443) == nil)
    #expect(!guarding.verdict(.unix(path: "/run/x")).isAllowed)
  }

  @Test func aListenerIsOpenedByItsOwnAddressAndPortOnly() throws {
    let wide = try AddressGuardTests.own("+127.0.0.0/8", "+203.0.113.0/24", "+203.0.113.5")
    #expect(try AddressGuardTests.name(wide, "203.0.113.5", 80) == nil)
    #expect(try AddressGuardTests.name(wide, "203.0.113.5", 443) == "a listener of this process")
    #expect(try AddressGuardTests.name(wide, "203.0.113.5", 25) == "a listener of this process")
    #expect(try AddressGuardTests.name(wide, "127.0.0.9", 25) == "a listener of this process")
    #expect(try AddressGuardTests.name(wide, "127.0.0.9", 80) == nil)
    let exact = try AddressGuardTests.own("+203.0.113.5@443", "+127.0.0.1@25")
    #expect(try AddressGuardTests.name(exact, "203.0.113.5", 443) == nil)
    #expect(try AddressGuardTests.name(exact, "127.0.0.1", 25) == nil)
    #expect(try AddressGuardTests.name(exact, "127.0.0.2", 25) == "a listener of this process")
  }

  @Test func theProxyIsNeverReachedThroughItself() throws {
    let exact = try AddressGuardTests.own("+127.0.0.1@3128", "+127.0.0.0/8")
    #expect(try AddressGuardTests.name(exact, "127.0.0.1", 3128) == "this proxy itself")
    #expect(try AddressGuardTests.name(exact, "::ffff:127.0.0.1", 3128) == "this proxy itself")
    let off = try AddressGuardTests.own(isOff: true)
    #expect(try AddressGuardTests.name(off, "127.0.0.1", 3128) == "this proxy itself")
    #expect(try AddressGuardTests.name(off, "2001:db8::5", 3129) == "this proxy itself")
    #expect(try AddressGuardTests.name(off, "127.0.0.1", 80) == nil)
    #expect(try AddressGuardTests.name(off, "169.254.169.254", 80) == nil)
  }
}
