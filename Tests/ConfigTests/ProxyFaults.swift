import Config

/// The faults of who is trusted, and of what headers carry, with their words and places.
enum ProxyFaults {
  static let networks: [Case] = [
    network(
      "192.0.2.1/24",
      #""192.0.2.1/24" has bits beyond its prefix; write 192.0.2.0/24 for "#
        + "the network, or 192.0.2.1 for the address"),
    network(
      "\"2001:db8::1/32\"",
      #""2001:db8::1/32" has bits beyond its prefix; write "#
        + "2001:db8::/32 for the network, or 2001:db8::1 for the address"),
    network("192.0.2.0/33", #""192.0.2.0/33": the prefix is a decimal number from 0 to 32"#),
    network("192.0.2.0/08", #""192.0.2.0/08": the prefix is a decimal number from 0 to 32"#),
    network("192.0.2.0/", #""192.0.2.0/": the prefix is a decimal number from 0 to 32"#),
    network(
      "192.0.2.0/255.255.255.0",
      #""192.0.2.0/255.255.255.0": the prefix is a decimal number from 0 to 32"#),
    network(
      "\"2001:db8::/129\"", #""2001:db8::/129": the prefix is a decimal number from 0 to 128"#),
    network("192.0.2", #""192.0.2" is not an IPv4 address"#),
    network("192.0.2.256/32", #""192.0.2.256" is not an IPv4 address"#),
    network("\"2001:db8::g/64\"", #""2001:db8::g" is not an IPv6 address"#),
    network(
      "\"[2001:db8::]/32\"",
      #""[2001:db8::]/32": no brackets without a port; write "2001:db8::/32""#),
    network("\"fe80::%2/64\"", #""fe80::%2/64": a network has no zone"#),
    network(
      "192.0.2.1:25", #""192.0.2.1:25" has a port; a source's says nothing, so write 192.0.2.1"#),
    network("\"[::1]:25\"", #""[::1]:25" has a port; a source's says nothing, so write ::1"#),
    network("proxy.example", #""proxy.example" is a host name; it takes networks and addresses"#),
    network(
      "unix:/run/x",
      #""unix:/run/x" is one socket; unix alone stands for all that come over one"#),
    network("Unix", #""Unix" is not a network, did you mean "unix"?"#),
    network("\"*\"", #""*" is a host name; it takes networks and addresses"#),
    Case(
      File.top("trusted-networks: [¦{ a: b }]"),
      "trusted-networks takes networks such as 192.0.2.0/28, addresses, or unix, not a mapping"),
    Case(
      File.top("trusted-networks:¦"),
      "trusted-networks has no value; it takes networks such as 192.0.2.0/28, addresses, or unix"),
    Case(
      File.top("trusted-networks: [10.0.0.0/8, 192.0.2.1, ¦\"::ffff:10.0.0.0/104\"]"),
      "warning: trusted-networks: 10.0.0.0/8 is listed twice, first at 1:20"),
    Case(
      File.top(
        "trusted-networks: [¦0.0.0.0/0, ¦\"::/0\", ¦10.0.0.0/7, 10.0.0.0/8, ¦\"2000::/15\", "
          + "\"2001::/16\"]"),
      wide("0.0.0.0/0"), wide("::/0"), wide("10.0.0.0/7"), wide("2000::/15")),
    Case(
      File.top("¦trused-networks: []"),
      #"unknown key "trused-networks", did you mean "trusted-networks"?"#),
    Case(
      File.top("timeouts: { proxy-header: ¦2999ms }"),
      "warning: proxy-header: less than 3s turns away a client whose first segment is lost and "
        + "sent again; the PROXY protocol asks for 3s at least"),
    Case(File.top("timeouts: { proxy-header: ¦off }"), "proxy-header: it cannot be off"),
    Case(File.top("timeouts: { proxy-header: ¦0s }"), "proxy-header: 0s would end at once"),
    Case(
      File.backend("{ servers: [127.0.0.1:1], timeouts: { ¦proxy-header: 3s } }"),
      #"unknown key "proxy-header"; backends.b.timeouts takes connect, starttls, idle, "#
        + "half-closed, max-age"),
  ]

  static let listeners: [Case] = [
    listener(
      "proxy-protocol: ¦on",
      #"proxy-protocol: "on" is neither off nor a mapping of settings"#),
    listener(
      "proxy-protocol: ¦false",
      #"proxy-protocol: "false" is neither off nor a mapping of settings, did you mean "off"?"#),
    listener(
      "proxy-protocol: ¦[]",
      #"listeners.a.proxy-protocol takes a mapping ("key: value" lines)"#),
    listener(
      "proxy-protocol: { ¦max-headers: 1KiB }",
      #"unknown key "max-headers", did you mean "max-header"?"#),
    listener("proxy-protocol: { max-header: ¦15B }", "max-header: 15B is less than 16 bytes"),
    listener(
      "proxy-protocol: { max-header: ¦65KiB }", "max-header: 65KiB is more than 65536 bytes"),
    listener(
      "proxy-protocol: { max-header: ¦4096 }",
      #"max-header: "4096" has no unit; write 4096B or 4096KiB"#),
    listener(
      "proxy-protocol: { max-header: ¦51B }",
      "warning: max-header: a version 2 header with IPv6 addresses has 52 bytes, and would be "
        + "refused"),
    listener(
      "proxy-protocol: { unknown: ¦refuse }",
      #"unknown: "refuse" is not one of accept or reject"#),
    listener("inherit: ¦yes", #"inherit: "yes" is not one of true or false"#),
    listener(
      "proxy-protocol: { sources: ¦[] }",
      "sources is empty; it takes a list of networks and what their header is"),
    listener(
      "proxy-protocol: { sources: [¦10.0.0.0/8] }",
      #"listeners.a.proxy-protocol.sources takes a mapping ("key: value" lines)"#),
    listener(
      "proxy-protocol: { sources: [¦{ networks: [10.0.0.0/8] }, ¦{ header: forbid }] }",
      "a source needs header; it takes require, accept or forbid",
      "a source needs networks; it takes networks such as 192.0.2.0/28, addresses, or unix"),
    listener(
      "proxy-protocol: { sources: [{ networks: ¦[], header: ¦requires }] }",
      "networks is empty; it takes networks such as 192.0.2.0/28, addresses, or unix",
      #"header: "requires" is not one of require, accept or forbid, did you mean "require"?"#),
    listener(
      "proxy-protocol: { sources: [{ networks: [¦10.0.0.1/8], header: forbid }] }",
      #"networks: "10.0.0.1/8" has bits beyond its prefix; write 10.0.0.0/8 for the network, or "#
        + "10.0.0.1 for the address"),
    listener(
      "proxy-protocol: { sources: [{ networks: 10.0.0.0/8, header: ¦accept }] }",
      "header: a client of a tcp listener may wait for its server's first bytes, so a header that "
        + "may be missing cannot be waited for; use require or forbid"),
    listener(
      "type: server-first, proxy-protocol: { sources: [{ networks: 10.0.0.0/8, header: "
        + "¦accept }] }",
      "header: a client of a server-first listener may wait for its server's first bytes, so a "
        + "header that may be missing cannot be waited for; use require or forbid"),
    // The first byte of a TLS client tells whether it is a header's.
    listener("type: tls, proxy-protocol: { sources: [{ networks: 10.0.0.0/8, header: accept }] }"),
    listener(
      "proxy-protocol: { sources: [{ networks: [¦0.0.0.0/0, 192.0.2.1], header: require }, "
        + "{ networks: \"::/0\", header: forbid }] }", wide("0.0.0.0/0", "networks")),
    listener(
      "proxy-protocol: { sources: [{ networks: 10.0.0.0/8, header: require }, "
        + "{ networks: ¦10.0.0.0/8, header: forbid }] }",
      #"networks: 10.0.0.0/8 is "forbid" here and "require" at 2:73"#),
    listener(
      "trusted-networks: [¦unix]",
      #"warning: nobody comes over a Unix socket: listener "a" binds none"#),
  ]

  static let clashes: [Case] = [
    listener(
      "trusted-networks: [10.0.0.0/8], proxy-protocol: { sources: ¦[{ networks: 10.0.0.0/8, "
        + "header: require }] }",
      "proxy-protocol.sources beside trusted-networks at 2:51: use one of them; trusted-networks "
        + #"means "header: require""#),
    listener(
      "proxy-protocol: { sources: [{ networks: 10.0.0.0/8, header: require }] }, "
        + "trusted-networks: ¦[10.0.0.0/8]",
      "trusted-networks beside proxy-protocol.sources at 2:60: use one of them; trusted-networks "
        + #"means "header: require""#),
    listener(
      "proxy-protocol: off, trusted-networks: ¦[10.0.0.0/8]",
      #"trusted-networks: with "proxy-protocol: off" at 2:49 nobody is trusted"#),
    listener(
      "proxy-protocol: off, inherit: ¦true",
      #"inherit: with "proxy-protocol: off" nobody is trusted"#),
    listener(
      "inherit: ¦true",
      "warning: inherit: without trusted-networks there is nothing to add to; the global "
        + "trusted-networks count as they are"),
    listener(
      "proxy-protocol: { inherit: ¦true }",
      "warning: inherit: without sources there is nothing to add to; the global trusted-networks "
        + "count as they are"),
    listener(
      "trusted-networks: [10.0.0.0/8], inherit: ¦true",
      "warning: inherit: there are no trusted-networks at the top level to add"),
    listener(
      "inherit: ¦true, proxy-protocol: { sources: [{ networks: 10.0.0.0/8, header: require }"
        + "] }", "inherit: beside sources it stands inside proxy-protocol"),
    listener(
      "trusted-networks: [10.0.0.0/8], proxy-protocol: { inherit: ¦true }",
      "inherit: beside trusted-networks it stands outside proxy-protocol"),
  ]

  static let tlvs: [Case] = [
    tlv(
      "¦unique_id",
      #"proxy-tlvs: "unique_id" is not one of unique-id, crc32c, authority, "#
        + #"alpn, ssl or client-certificate, did you mean "unique-id"?"#),
    tlv(
      "¦ssl",
      "proxy-tlvs: ssl tells of TLS that ended here, and no listener of backend \"b\" ends any; "
        + "relay-tlvs passes on what a trusted source says"),
    tlv(
      "¦client-certificate",
      "proxy-tlvs: client-certificate tells of TLS that ended here, and no listener of backend "
        + "\"b\" ends any; relay-tlvs passes on what a trusted source says"),
    tlv("¦netns", "proxy-tlvs: netns needs its name: { netns: blue }"),
    tlv("¦noop", #"proxy-tlvs: noop is padding; "proxy-header: { align: 8 }" makes it"#),
    tlv("¦0xE5", #"proxy-tlvs: 0xE5 has no value: { type: 0xE5, value: "text" }"#),
    tlv(
      "¦[unique-id]",
      "proxy-tlvs takes names such as unique-id and crc32c, or mappings such as { "
        + "netns: blue }, not a list here"),
    tlv(
      "¦{}", "a TLV of your own needs type; it takes a number from 0xE0 to 0xEF",
      at: "a TLV of your own needs value; it takes a text, in which ${listener} and others stand "
        + "for what they name"),
    tlv(
      "¦{ type: 0xE5 }",
      "a TLV of your own needs value; it takes a text, in which ${listener} "
        + "and others stand for what they name"),
    tlv(
      "¦{ netns: blue, type: 0xE5 }",
      "netns is a TLV by itself; give the other one an item of its own"),
    tlv("{ ¦nets: blue, netns: blue }", #"unknown key "nets", did you mean "netns"?"#),
    tlv(
      "{ netns: ¦\"blue sky\" }",
      "netns: a namespace has 1 to 255 printable ASCII characters, and "
        + #"no "/""#),
    tlv("{ type: ¦0xE50, value: x }", #"type: "0xE50" is not a type from 0x00 to 0xFF"#),
    tlv("{ type: ¦E5, value: x }", #"type: "E5" is not a type such as 0xE5"#),
    tlv("{ type: ¦256, value: x }", "type: 256 is out of range 0 to 255"),
    tlv(
      "{ type: ¦0x05, value: x }",
      "type: 0x05 is UNIQUE_ID of the PROXY protocol; yours are 0xE0 "
        + #"to 0xEF, and "unique-id" is an item by that name"#),
    tlv(
      "{ type: ¦0x20, value: x }",
      "type: 0x20 is SSL of the PROXY protocol; yours are 0xE0 to "
        + #"0xEF, and "ssl" is an item by that name"#),
    tlv(
      "{ type: ¦0x40, value: x }",
      "type: 0x40 is reserved by the PROXY protocol; yours are 0xE0 "
        + "to 0xEF"),
    tlv(
      "{ type: ¦0xF8, value: x }",
      "type: 0xF8 is reserved by the PROXY protocol; yours are 0xE0 "
        + "to 0xEF"),
    tlv(
      "{ type: ¦0xF7, value: x }",
      "warning: type: 0xF7 is for experiments only (0xF0 to 0xF7); a "
        + "type of your own is 0xE0 to 0xEF"),
    tlv(
      "{ type: 0xE5, value: ¦\"${listenr}\" }",
      #"value: unknown "${listenr}", did you mean "listener"?"#),
    tlv(
      "{ type: 0xE5, value: ¦\"${}\" }",
      #"value: unknown "${}"; there are listener, backend, "#
        + "server, client.address, client.port, local.address, local.port, connection.id"),
    tlv(
      "{ type: 0xE5, value: ¦\"a ${listener\" }",
      #"value: a "${" without its "}"; write "$${" for these characters"#),
    tlv("unique-id, ¦unique-id", "proxy-tlvs: 0x05 is listed twice, first at 4:61"),
    tlv(
      "{ type: 0xE5, value: a }, ¦{ type: 229, value: b }",
      "proxy-tlvs: 0xE5 is listed twice, first at 4:61"),
    tlv(
      "¦{ type: 0xE5, value: \(String(repeating: "x", count: 506)) }",
      "proxy-tlvs: with this the header has 537 bytes at least, and its limit is 536; it would "
        + "never be sent"),
    tlv("{ type: 0xE5, value: \(String(repeating: "x", count: 505)) }"),
    tlv(
      "¦authority, ¦alpn",
      #"warning: proxy-tlvs: authority comes from a ClientHello, and no listener of backend "b" "#
        + "reads one",
      #"warning: proxy-tlvs: alpn comes from a ClientHello, and no listener of backend "b" "#
        + "reads one"
    ),
  ]

  static let relayed: [Case] = [
    relay(
      "¦unique_id",
      #"relay-tlvs: "unique_id" is neither a type such as 0xEA nor one of alpn, "#
        + #"authority, unique-id, ssl, netns, aws, azure, gcp, did you mean "unique-id"?"#),
    relay(
      "¦crc32c, ¦0x03",
      #"relay-tlvs: crc32c covers the header it came in; "proxy-tlvs: [crc32c]" computes a new "#
        + "one",
      #"relay-tlvs: 0x03 covers the header it came in; "proxy-tlvs: [crc32c]" computes a new one"#),
    relay(
      "¦noop, ¦4",
      #"relay-tlvs: noop is padding; "proxy-header: { align: 8 }" makes it anew"#,
      #"relay-tlvs: 4 is padding; "proxy-header: { align: 8 }" makes it anew"#),
    relay("¦0x20", "relay-tlvs: 0x20 is relayed by its name only; write ssl if you mean it"),
    relay(
      "¦0x21, ¦0x28", "relay-tlvs: 0x21 is SSL_VERSION, which exists only inside ssl",
      "relay-tlvs: 0x28 is SSL_CLIENT_CERT, which exists only inside ssl"),
    relay("¦0x100", #"relay-tlvs: "0x100" is not a type from 0x00 to 0xFF"#),
    relay(
      "¦ssl",
      "warning: relay-tlvs: servers believe ssl: Dovecot takes cleartext passwords on "
        + #"its word; every network with "header: require" must be trusted with that"#),
    relay("¦0xF0", "warning: relay-tlvs: 0xF0 is for experiments only (0xF0 to 0xF7)"),
    relay(
      "¦0x29, ¦0xF8",
      "warning: relay-tlvs: the PROXY protocol has not given 0x29 a meaning",
      "warning: relay-tlvs: the PROXY protocol has not given 0xF8 a meaning"),
    relay(
      "unique-id, 0xea, ¦5, ¦aws", "relay-tlvs: 0x05 is listed twice, first at 5:61",
      "relay-tlvs: 0xEA is listed twice, first at 5:72"),
    Case(
      File.backend("{ servers: [127.0.0.1:1], send-proxy: v2, relay-tlvs: ¦[aws] }"),
      #"warning: relay-tlvs: no listener of backend "b" requires a header, so there is nothing to "#
        + "relay"),
  ]

  static let headers: [Case] = [
    Case(
      File.backend(
        "{ servers: [127.0.0.1:1], proxy-tlvs: ¦[unique-id], relay-tlvs: ¦[aws], "
          + "proxy-header: ¦{ limit: 536 } }"),
      none("proxy-tlvs"), none("relay-tlvs"), none("proxy-header")),
    Case(
      File.backend("{ servers: [127.0.0.1:1], proxy-tlvs: ¦unique-id, send-proxy: v1 }"),
      #"proxy-tlvs is for "send-proxy: v2"; backend "b" gets "send-proxy: v1" at 4:67"#),
    Case(
      File.backend("{ servers: [127.0.0.1:1], proxy-tlvs: unique-id, send-proxy: ¦v3 }"),
      #"send-proxy: "v3" is not one of none, v1 or v2"#),
    header("limit: ¦231", "limit: 231 is out of range 232 to 65536"),
    header("limit: ¦100B", "limit: 100B is less than 232 bytes"),
    header("limit: ¦65KiB", "limit: 65KiB is more than 65536 bytes"),
    header("align: ¦0", "align: 0 is out of range 1 to 1024"),
    header("align: ¦1025", "align: 1025 is out of range 1 to 1024"),
    header("align: ¦537", "align: 537 is more than the limit of 536 bytes"),
    header("align: 512, ¦limits: 536", #"unknown key "limits", did you mean "limit"?"#),
    Case(
      File.backend("{ servers: [127.0.0.1:1], pass-client-proxy-header: ¦true }"),
      "warning: pass-client-proxy-header: any client can pose as any other towards servers that "
        + "trust this machine"),
    Case(
      File.backend(
        "{ servers: [127.0.0.1:1], send-proxy: v1, pass-client-proxy-header: ¦true }"),
      #"warning: pass-client-proxy-header is for "send-proxy: none"; with v1 our header comes "#
        + "first"
    ),
    Case(
      File.backend("{ servers: [127.0.0.1:1], pass-client-proxy-header: ¦off }"),
      #"pass-client-proxy-header: "off" is not one of true or false"#),
  ]

  private static func network(_ value: String, _ reason: String) -> Case {
    Case(File.top("trusted-networks: [192.0.2.99, ¦\(value)]"), "trusted-networks: \(reason)")
  }

  private static func wide(_ network: String, _ key: String = "trusted-networks") -> String {
    "warning: \(key): every host in \(network) could pose as any client; name the proxies in "
      + "front, as narrowly as can be"
  }

  private static func listener(_ settings: String, _ messages: String...) -> Case {
    made(File.listener("{ bind: \":25\", backend: b, \(settings) }"), messages)
  }

  /// `at` is a second message at the same place.
  private static func tlv(_ items: String, _ messages: String..., at second: String? = nil) -> Case
  {
    let items = second == nil ? items : "¦" + items
    return made(
      File.backend("{ servers: [127.0.0.1:1], send-proxy: v2, proxy-tlvs: [\(items)] }"),
      messages + (second.map { [$0] } ?? []))
  }

  private static func relay(_ items: String, _ messages: String...) -> Case {
    made(
      "trusted-networks: [192.0.2.10]\n"
        + File.backend("{ servers: [127.0.0.1:1], send-proxy: v2, relay-tlvs: [\(items)] }"),
      messages)
  }

  private static func header(_ settings: String, _ messages: String...) -> Case {
    made(
      File.backend("{ servers: [127.0.0.1:1], send-proxy: v2, proxy-header: { \(settings) } }"),
      messages)
  }

  private static func none(_ key: String) -> String {
    "\(key) is for \"send-proxy: v2\"; backend \"b\" gets no header (send-proxy is none)"
  }

  private static func made(_ marked: String, _ messages: [String]) -> Case {
    var fault = Case(marked)
    fault.messages = messages
    return fault
  }
}
