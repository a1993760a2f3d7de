import Testing

@testable import Wire

/// What a ClientHello says. Quotations are of RFC 8446 unless another is named.
struct ClientHelloTests {
  /// Section 4.1.2: 'the client indicates its version preferences in the "supported_versions"
  /// extension (Section 4.2.1) and the legacy_version field MUST be set to 0x0303'.
  @Test func openSSL() throws {
    let tls13 = try #require(content(CapturedHello.opensslTLS13))
    #expect(tls13.hostName == "mail.example.com")
    #expect(tls13.form == .hostName)
    #expect(tls13.protocolNames == ["imap"])
    #expect(tls13.legacyVersion == 0x0303 && tls13.highestVersion == 0x0304)
    #expect(tls13.sessionIDLength == 32 && tls13.cipherCount == 31)
    #expect(!tls13.offersECH)

    let tls12 = try #require(content(CapturedHello.opensslTLS12))
    #expect(tls12.hostName == "mail.example.com")
    #expect(tls12.protocols == [] && tls12.sessionIDLength == 0)
    #expect(tls12.legacyVersion == 0x0303 && tls12.highestVersion == 0x0303)

    let tls10 = try #require(content(CapturedHello.opensslTLS10))
    #expect(tls10.legacyVersion == 0x0301 && tls10.highestVersion == 0x0301)
    #expect(tls10.name == Array("Mail.Example.COM".utf8))
    #expect(tls10.hostName == "mail.example.com")

    let unnamed = try #require(content(CapturedHello.opensslNoName))
    #expect(unnamed.name == nil && unnamed.form == nil && unnamed.highestVersion == 0x0304)
  }

  @Test func otherClients() throws {
    let curl = try #require(content(CapturedHello.curl))
    #expect(curl.hostName == "www.example.org" && curl.protocolNames == ["h2", "http/1.1"])
    let python = try #require(content(CapturedHello.python))
    #expect(python.hostName == "imap.example.net" && python.protocolNames == ["imap", "pop3"])
    let gnutls = try #require(content(CapturedHello.gnutls))
    #expect(gnutls.hostName == "smtp.example.com" && gnutls.protocolNames == ["smtp"])
    for hello in [curl, python, gnutls] {
      #expect(hello.legacyVersion == 0x0303 && hello.highestVersion == 0x0304)
    }
  }

  /// Larger than a segment, so that TCP itself cuts it.
  @Test func postQuantum() throws {
    let bytes = CapturedHello.postQuantum
    #expect(bytes.count > 1460)
    let hello = try #require(content(bytes))
    #expect(hello.hostName == "pq.example.com" && hello.protocolNames == ["h2", "http/1.1"])
    #expect(hello.highestVersion == 0x0304)
    #expect(readHello(Array(bytes.prefix(1460))).missing == bytes.count)
  }

  /// RFC 5246 section 7.4.1.2: "The presence of extensions can be detected by determining whether
  /// there are bytes following the compression_methods at the end of the ClientHello."
  @Test func withoutExtensions() throws {
    for extensions in [nil, []] as [[HelloExtension]?] {
      let bytes = HelloBuilder(extensions).bytes
      let hello = try #require(content(bytes))
      #expect(hello.name == nil && hello.protocols == [] && hello.highestVersion == 0x0303)
      #expect(readHello(bytes + [0x16]).consumed == bytes.count)
    }
    var least = HelloBuilder(nil)
    least.sessionID = []
    least.suites = [0x002f]
    #expect(least.message.count == ClientHello.shortest)
    #expect(readHello(least.bytes).value?.cipherCount == 1)
    // No hello is shorter, so that is what is asked for until its length is known.
    for count in 0..<9 { #expect(readHello(Array(least.bytes.prefix(count))).missing == 50) }
  }

  /// RFC 6066 section 3: 'the hostname is represented as a byte string using ASCII encoding without
  /// a trailing dot', 'Literal IPv4 and IPv6 addresses are not permitted in "HostName".'
  @Test(
    arguments: [
      ("mail.example.com", .hostName, "mail.example.com"),
      ("MAIL.eXample.com", .hostName, "mail.example.com"),
      ("xn--mnchen-3ya.example", .hostName, "xn--mnchen-3ya.example"),
      ("localhost", .hostName, "localhost"), ("_x.example", .hostName, "_x.example"),
      ("Mail.example.com.", .trailingDot, "mail.example.com"),
      ("1.2.3.4", .addressLiteral, nil), ("1.2.3.4.", .addressLiteral, nil),
      ("::1", .addressLiteral, nil), ("2001:DB8::1", .addressLiteral, nil),
      ("[2001:db8::1]", .addressLiteral, nil), ("::ffff:1.2.3.4", .addressLiteral, nil),
      ("", .empty, nil), ("münchen.example", .badCharacter, nil), ("a b", .badCharacter, nil),
      ("a\0.example", .badCharacter, nil), ("*.example.com", .badCharacter, nil),
      ("mail.example.com:993", .badCharacter, nil), ("[::1", .badCharacter, nil),
      ("a/b", .badCharacter, nil), ("a\r\nb", .badCharacter, nil),
      (".", .badForm, nil), ("a..b", .badForm, nil), (".a", .badForm, nil), ("a..", .badForm, nil),
      ("-a", .badForm, nil), ("a-.b", .badForm, nil), ("1.2.3.256", .badForm, nil),
      ("a.1", .badForm, nil), (String(repeating: "a", count: 64), .badForm, nil),
      (String(repeating: "a.", count: 127) + "a", .badForm, nil),
    ] as [(String, ClientHello.ServerName.Form, String?)])
  func names(name: String, form: ClientHello.ServerName.Form, comparable: String?) throws {
    let message = HelloBuilder([serverName(name), versions([0x0304])]).message
    for size in [1 << 14, 1, 7] {
      let bytes = inRecords(message, of: size)
      let hello = try #require(readHello(bytes).value)
      let found = try #require(hello.serverName)
      #expect(found.form == form)
      #expect(copy(found.bytes, from: bytes) == Array(name.utf8))
      #expect(found.hostName(in: bytes)?.text == comparable)
      #expect(found.comparable(in: bytes) == comparable.map { Array($0.utf8) })
      if let comparable {
        #expect(found.comparable(in: bytes, room: comparable.utf8.count - 1) == nil)
      }
    }
  }

  /// RFC 1035 section 2.3.4 leaves 253 bytes of text, and a dot at the end is no part of it.
  @Test func longestName() throws {
    let name = String(repeating: "abcdefghi.", count: 25) + "xyz"
    #expect(name.utf8.count == 253)
    for (text, form) in [(name, ClientHello.ServerName.Form.hostName), (name + ".", .trailingDot)] {
      for size in [1 << 14, 50] {
        let bytes = inRecords(HelloBuilder([serverName(text)]).message, of: size)
        let found = try #require(readHello(bytes).value?.serverName)
        #expect(found.form == form)
        #expect(found.comparable(in: bytes) == Array(name.utf8))
        #expect(found.hostName(in: bytes)?.text == name)
      }
    }
    for size in [1 << 14, 50] {
      let bytes = inRecords(HelloBuilder([serverName(name + "a")]).message, of: size)
      #expect(readHello(bytes).value?.serverName?.form == .badForm)
      let long = inRecords(HelloBuilder([serverName(name + name)]).message, of: size)
      #expect(readHello(long).value?.serverName?.form == .badForm)
    }
  }

  /// RFC 6066: "all future data structures associated with new NameTypes MUST begin with a 16-bit
  /// length field." "TLS MAY treat provided server names as opaque data".
  @Test func otherNameTypes() throws {
    let other: [UInt8] = [9] + vector([1, 2, 3])
    let host: [UInt8] = [0] + vector(Array("a.example".utf8))
    #expect(content(HelloBuilder([(0, vector(other + host))]).bytes)?.hostName == "a.example")
    #expect(content(HelloBuilder([(0, vector(host + other))]).bytes)?.hostName == "a.example")
    let unnamed = try #require(content(HelloBuilder([(0, vector(other))]).bytes))
    #expect(unnamed.form == nil)
  }

  /// RFC 7301 section 3.1: "Protocols are named by IANA-registered, opaque, non-empty byte
  /// strings"; the list "contains the list of protocols advertised by the client, in descending
  /// order of preference".
  @Test func protocolNames() throws {
    let longest = String(repeating: "p", count: 255)
    let bytes = HelloBuilder([protocols(["imap", "\0\u{7f}", longest, "a"])]).bytes
    let hello = try #require(content(bytes))
    #expect(hello.protocolNames == ["imap", "\0\u{7f}", longest, "a"])
    var walk = try #require(readHello(bytes).value).protocols
    let next = walk.next(in: bytes.span)
    let first = try #require(next)
    #expect(first.count == 4 && first.range.map { Array(bytes[$0]) } == Array("imap".utf8))
    let isSame = ["imap", "imaq", "ima", "imaps"].map {
      first.equals(Array($0.utf8).span, in: bytes.span)
    }
    #expect(isSame == [true, false, false, false])
  }

  /// Section 4.2.1: "Servers [...] MUST ignore any unknown versions that are present in that
  /// extension"; "If this extension is present in the ClientHello, servers MUST NOT use the
  /// ClientHello.legacy_version value for version negotiation".
  @Test(
    arguments: [
      ([0x0304, 0x0303], 0x0304), ([0x0303, 0x0304, 0x0302], 0x0304), ([0x0302], 0x0302),
      ([0x7f1c, 0x0303], 0x0303), ([0xfefd, 0x0301], 0x0301), ([0x0305, 0x0304], 0x0304),
      ([0x0300], 0x0300), ([0x0002], nil), ([0xfafa, 0x0a0a], nil),
    ] as [([UInt16], UInt16?)])
  func supportedVersions(offered: [UInt16], highest: UInt16?) throws {
    let hello = try #require(content(HelloBuilder([versions(offered)]).bytes))
    #expect(hello.highestVersion == highest)
  }

  /// The same section, without the extension: "servers [...] MUST negotiate TLS 1.2 or prior [...]
  /// even if ClientHello.legacy_version is 0x0304 or later."
  @Test(
    arguments: [
      (0x0300, 0x0300), (0x0301, 0x0301), (0x0303, 0x0303), (0x0304, 0x0303), (0xffff, 0x0303),
    ] as [(UInt16, UInt16)])
  func legacyVersion(sent: UInt16, highest: UInt16) throws {
    var builder = HelloBuilder()
    builder.version = sent
    let hello = try #require(content(builder.bytes))
    #expect(hello.legacyVersion == sent && hello.highestVersion == highest)
  }

  /// RFC 8701 section 3.1: "A client MAY select one or more GREASE cipher suite values", and the
  /// same of extensions, versions and ALPN identifiers; section 3.2: "servers MUST NOT treat GREASE
  /// values differently from any unknown value".
  @Test func grease() throws {
    let plain: [HelloExtension] = [
      serverName("a.example"), protocols(["h2", "\n\u{1a}"]), versions([0x0304, 0x0303]),
    ]
    var greased = HelloBuilder(
      [(0x1a1a, [])] + [
        plain[0], (16, vector([2, 0x6a, 0x6a, 2] + Array("h2".utf8) + [2, 10, 0x1a])),
        versions([0x8a8a, 0x0304, 0x0303]), (0xfafa, [0]),
      ])
    greased.suites.insert(0xdada, at: 0)
    #expect(content(greased.bytes) == content(HelloBuilder(plain).bytes))
    #expect(content(greased.bytes)?.cipherCount == 3)
    let words = (0...0xffff).filter { ClientHello.isGREASE(UInt16($0)) }
    #expect(words == (0..<16).map { 0x0a0a + 0x1010 * $0 })
  }

  /// RFC 9849: "encrypted_client_hello(0xfe0d)"; what stands in `server_name` beside it is the
  /// public name, and GREASE ECH cannot be told from a real one.
  @Test func encryptedHello() throws {
    let outer: [UInt8] = [0, 0, 1, 0, 1, 42] + vector([1, 2]) + vector([3, 4, 5])
    let hello = try #require(
      content(HelloBuilder([(0xfe0d, outer), serverName("public.example")]).bytes))
    #expect(hello.offersECH && hello.hostName == "public.example")
  }

  /// RFC 5077 section 3.3: "opaque ticket<0..2^16-1>". One of 16 KiB takes the hello beyond its
  /// first record.
  @Test func longTicket() throws {
    let builder = HelloBuilder([
      (35, Array(repeating: 0x5a, count: 16384)), serverName("t.example"),
    ])
    let hello = try #require(content(builder.bytes))
    #expect(hello.hostName == "t.example")
    #expect(builder.bytes.count == builder.message.count + 2 * 5)
  }
}
