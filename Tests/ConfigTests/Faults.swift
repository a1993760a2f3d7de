import Config

/// The faults of configuration files, each with its exact words and, by a mark, its exact place.
enum Faults {
  static let keys: [Case] = [
    Case(
      File.top("¦trused: 1"),
      #"unknown key "trused"; the top level takes include, workers, events, latency, admin, "#
        + "metrics, log, state-directory, limits, resolver, timeouts, trusted-networks, listeners, "
        + "backends, egress"),
    Case(File.top("¦time-outs: {}"), #"unknown key "time-outs", did you mean "timeouts"?"#),
    Case(
      File.top("limits: { ¦Max_Connections: 5 }"),
      #"unknown key "Max_Connections", did you mean "max-connections"?"#),
    Case(File.top("log: { ¦levle: info }"), #"unknown key "levle", did you mean "level"?"#),
    Case(
      File.listener("{ bind: \":25\", backend: b, ¦send-proxy: v1 }"),
      #"unknown key "send-proxy" here; it belongs in backends.NAME"#),
    Case(
      File.listener("{ bind: \":25\", backend: b, timeouts: { ¦drain: 1s } }"),
      #"unknown key "drain" here; it belongs in timeouts"#),
    Case(
      File.backend("{ servers: [127.0.0.1:1], timeouts: { ¦preface: 1s } }"),
      #"unknown key "preface"; backends.b.timeouts takes connect, starttls, idle, half-closed, "#
        + "max-age"),
    Case(
      File.backend("{ servers: [127.0.0.1:1], ¦workers: 1 }"),
      #"unknown key "workers" here; it belongs at the top level"#),
    Case(
      File.top("workers: 1\nevents: auto\n¦workers: 2"),
      #"duplicate key "workers"; the first is at 1:1"#),
    Case(
      "listeners:\n  a: { bind: \":25\", backend: b }\n  ¦a: {}\n"
        + "backends: { b: { servers: [127.0.0.1:1], ¦servers: [] } }",
      #"duplicate key "a"; the first is at 2:3"#,
      #"duplicate key "servers"; the first is at 4:18"#),
    Case(
      "¦¦workers: 2", "there are no listeners; nothing could connect",
      "there are no backends; there is nowhere to connect to"),
    Case(
      "listeners:¦ \nbackends: ¦{}", "listeners is empty; it needs one at least",
      "backends is empty; it needs one at least"),
    Case("¦just text", #"the file takes a mapping ("key: value" lines)"#),
    Case("¦- a\n- b", #"the file takes a mapping ("key: value" lines)"#),
    Case(File.top("limits: ¦5"), #"limits takes a mapping ("key: value" lines)"#),
    Case(File.listener("¦[x]"), #"listeners.a takes a mapping ("key: value" lines)"#),
    Case(File.backend("¦x"), #"backends.b takes a mapping ("key: value" lines)"#),
  ]

  static let names: [Case] = [
    Case(
      File.listener("{ bind: \":25\", backend: ¦c }"), #"unknown backend "c"; backends are b"#),
    Case(
      "listeners: { a: { bind: \":25\", backend: ¦potsfix } }\n"
        + "backends: { dovecot: { servers: [127.0.0.1:1] }, postfix: { servers: [127.0.0.1:2] } }",
      #"unknown backend "potsfix", did you mean "postfix"?"#),
    Case(
      "listeners: { a: { bind: \":25\", backend: ¦no } }\n"
        + "backends: { yes: { servers: [127.0.0.1:1] } }",
      #"unknown backend "no"; backends are yes"#),
    Case(
      File.top("").replacing("backends: { ", with: "backends: { ¦c: { servers: [127.0.0.1:2] }, "),
      #"warning: no listener uses backend "c""#),
    Case(
      File.listener("{ bind: \":25\", backend: b }\n  ¦b b: { bind: \":26\", backend: b }"),
      #""b b" cannot name a listener; use 1 to 64 letters, digits, ".", "_" and "-""#),
    Case(
      File.backend("{ servers: [127.0.0.1:1] }\n  ¦¦\"\": { servers: [127.0.0.1:1] }"),
      #""" cannot name a backend; use 1 to 64 letters, digits, ".", "_" and "-""#,
      #"warning: no listener uses backend """#),
    Case(
      File.listener("{ bind: \":25\", backend: b }").replacing("  a:", with: "  ¦\(long):"),
      #""\#(long)" cannot name a listener; use 1 to 64 letters, digits, ".", "_" and "-""#),
    Case(
      "listeners:\n  ¦a: { backend: b }\nbackends: { b: { servers: [127.0.0.1:1] } }",
      #"listener "a" has no bind; it takes an address such as ":25", "127.0.0.1:25" or "#
        + #""unix:/run/x.sock", or a list"#),
    Case(
      "listeners:\n  ¦a: { bind: \":25\" }\nbackends: { b: { servers: [127.0.0.1:1] } }",
      #"listener "a" has no backend and no rules; backend takes the name of a backend"#),
    Case(
      "listeners: { a: { bind: \":25\", backend: b } }\nbackends: { ¦b: { retries: 1 } }",
      #"backend "b" has no servers; it takes a list of addresses such as "192.0.2.10:25", names "#
        + #"such as "mail.example:25", or mappings"#),
  ]

  static let long: String = String(repeating: "x", count: 65)

  static let addresses: [Case] = [
    fault("25", #""25" is a port without an address; write ":25""#),
    fault("1.2.3.4", #""1.2.3.4" has no port; write "1.2.3.4:25" with yours"#),
    fault("\"[::1]\"", #""[::1]" has no port; write "[::1]:25" with yours"#),
    fault("\"1.2.3.4:\"", #""1.2.3.4:" has no port number after the last colon"#),
    fault("1.2.3.4:http", #""1.2.3.4:http" has no port number after the last colon"#),
    fault("1.2.3.4:-5", #""1.2.3.4:-5" has no port number after the last colon"#),
    fault("\":0\"", #"":0": port 0 means any port, and clients could not know which"#),
    fault("\":025\"", #"":025": the port has a leading zero; numbers are decimal"#),
    fault("\":65536\"", #"":65536": port 65536 is out of range 1 to 65535"#),
    fault(
      "\":99999999999999999999\"",
      #"":99999999999999999999": port 99999999999999999999 is out of range 1 to 65535"#),
    fault("\"*:25\"", #""*" is not an address; write ":25" for all of them"#),
    fault("localhost:25", #""localhost" is a host name; it takes an address"#),
    fault("1.2.3.256:25", #""1.2.3.256" is not an IPv4 address"#),
    fault("1.2.3:25", #""1.2.3" is not an IPv4 address"#),
    fault("\"::1:25\"", #""::1:25": an IPv6 address goes in brackets, as in "[2001:db8::1]:25""#),
    fault("\"[::g]:25\"", #""[::g]" is not an IPv6 address"#),
    fault("\"[1.2.3.4]:25\"", #""[1.2.3.4]" is not an IPv6 address"#),
    fault(
      "\"[fe80::1%eth0]:25\"",
      #""[fe80::1%eth0]": a zone is the number of an interface (see "ip link"), as in fe80::1%2"#),
    fault(
      "\"[fe80::1]:25\"",
      "[fe80::1]:25 is a link-local address; add the number of its interface, as in fe80::1%2"),
    fault("10.0.0.0/8", #""10.0.0.0/8" is a network or a URL; it takes one address and port"#),
    fault("224.0.0.1:25", "224.0.0.1:25 is a multicast or reserved address; TCP has no use for it"),
    fault(
      "255.255.255.255:25",
      "255.255.255.255:25 is a multicast or reserved address; TCP has no use for it"),
    fault("\"[ff02::1]:25\"", "[ff02::1]:25 is a multicast address; TCP has no use for it"),
    fault("/run/x.sock", #""/run/x.sock" needs a prefix: write "unix:/run/x.sock""#),
    fault(
      "unix:x.sock",
      #""unix:x.sock" is neither a path (unix:/run/x.sock) nor an abstract name (unix:@x)"#),
    fault(
      "\"unix:\"", #""unix:" is neither a path (unix:/run/x.sock) nor an abstract name (unix:@x)"#),
    fault("unix:/run/", #""unix:/run/" is a directory; name a socket in it"#),
    fault(
      "unix:/\(String(repeating: "x", count: 107))",
      "the path has 108 bytes; a Unix socket's has at most 107"),
    Case(
      File.bind("¦[]"),
      #"bind is empty; it takes an address such as ":25", "127.0.0.1:25" or "unix:/run/x.sock", "#
        + "or a list"),
    Case(
      File.bind("[\":25\", ¦{ a: b }]"),
      #"bind takes an address such as ":25", "127.0.0.1:25" or "unix:/run/x.sock", or a list, "#
        + "not a mapping"),
    Case(
      File.servers("¦[]"),
      #"servers is empty; it takes a list of addresses such as "192.0.2.10:25", names "#
        + #"such as "mail.example:25", or mappings"#),
    Case(
      File.servers("[1.2.3.4:5, ¦0.0.0.0:25, ¦\"[::]:25\"]"),
      "servers: 0.0.0.0:25 is a wildcard; a server has one address, such as 127.0.0.1",
      "servers: [::]:25 is a wildcard; a server has one address, such as 127.0.0.1"),
    Case(
      File.servers("[¦\":25\", mail.example:25, ¦1.2.3.4:0, ¦\"26\", ¦\"*:25\"]"),
      #"servers: ":25" has no address; write "127.0.0.1:25" with yours"#,
      #"servers: "1.2.3.4:0": port 0 means any port, and clients could not know which"#,
      #"servers: "26" is a port without an address; write "127.0.0.1:26""#,
      #"servers: "*" is not an address"#),
    source("10.0.0.0/8", #""10.0.0.0/8" is a network; it takes one address"#),
    source("127.0.0.2:25", #""127.0.0.2:25" has a port; it takes an address alone"#),
    source("mail.example", #""mail.example" is a host name; it takes an address"#),
    source("127.0.0.300", #""127.0.0.300" is not an IPv4 address"#),
    source("0.0.0.0", "0.0.0.0 is a wildcard; leave source out to let the system choose"),
    source("\"unix:@x\"", #""unix:@x" is a Unix socket; it takes an IP address"#),
  ]

  static let values: [Case] = [
    value("workers: ¦0", "0 is out of range 1 to 1024"),
    value("workers: ¦1025", "1025 is out of range 1 to 1024"),
    value("workers: ¦010", #""010" has a leading zero; numbers are decimal"#),
    value("workers: ¦2.0", #""2.0" is not a whole number"#),
    value("workers: ¦Auto", #""Auto" is not a whole number"#),
    value("events: ¦uring", #""uring" is not one of auto, ring or epoll, did you mean "ring"?"#),
    value(
      "log: { connections: ¦of }",
      #""of" is not one of stdout, journal, off or an absolute path, did you mean "off"?"#),
    value(
      "log: { connections: ¦sluice.log }",
      #""sluice.log" is not one of stdout, journal, off or an absolute path"#),
    value("log: { connections: ¦/var/log/ }", #""/var/log/" is a directory; name a file"#),
    value(
      "log: { level: ¦warn }",
      #""warn" is not one of error, warning, info or debug, did you mean "warning"?"#),
    value("limits: { max-connections: ¦1000001 }", "1000001 is out of range 1 to 1000000"),
    value("limits: { max-connections: ¦1e5 }", #""1e5" is not a whole number"#),
    value("timeouts: { idle: ¦10 }", #""10" has no unit; write 10s or 10ms"#),
    value(
      "timeouts: { idle: ¦10sec }",
      #"unknown unit "sec" in "10sec"; units are ms, s, m, h, d"#),
    value("timeouts: { idle: ¦0s }", "0s would end at once; did you mean off?"),
    value("timeouts: { idle: ¦31d }", "31d is more than 30d; did you mean off?"),
    value(
      "timeouts: { idle: ¦99999999999999999999999ms }",
      "99999999999999999999999ms is more than 30d; did you mean off?"),
    value("timeouts: { connect: ¦0ms }", "0ms would end at once"),
    value("timeouts: { connect: ¦off }", "it cannot be off"),
    value("timeouts: { drain: ¦off }", "it cannot be off"),
    value("timeouts: { preface: ¦off }", "it cannot be off"),
    Case(
      File.top("timeouts: { idle: ¦[10s], connect: ¦{ }, max-age: ¦}"),
      "idle takes a duration such as 10s, or off, not a list here",
      "connect takes a duration such as 10s, not a mapping",
      "max-age has no value; it takes a duration such as 10s, or off"),
    Case(
      File.listener(
        "{ bind: \":25\", backend: b, type: ¦server_first, backlog: ¦0, congestion: ¦\"b b\" }"),
      #"type: "server_first" is not one of tcp, server-first, tls, starttls or "#
        + #"http-proxy, did you mean "server-first"?"#,
      "backlog: 0 is out of range 1 to 65535",
      #"congestion: "b b" is not the name of a congestion control, such as bbr or cubic"#),
    Case(
      File.backend(
        "{ servers: [1.2.3.4:5], send-proxy: ¦v3, balance: ¦round_robin, retries: ¦101, "
          + "splice: ¦on }"
      ),
      #"send-proxy: "v3" is not one of none, v1 or v2"#,
      #"balance: "round_robin" is not one of round-robin, least-connections, two-choices or "#
        + #"source-hash, did you mean "round-robin"?"#,
      "retries: 101 is out of range 0 to 100",
      #"splice: "on" is not one of auto, inline, ring or off"#),
  ]

  static let limits: [Case] = [
    Case(
      File.top(
        "limits: { per-source: ¦0, per-source-rate: ¦often, exceptions: [¦{ per-source: 5 }, "
          + "{ networks: ¦10.0.0.1/8, per-source: ¦no }] }"),
      "per-source: 0 is out of range 1 to 1000000",
      #"per-source-rate: "often" is not a whole number"#,
      "an exception needs networks; it takes networks such as 192.0.2.0/28, or addresses",
      #"networks: "10.0.0.1/8" has bits beyond its prefix; write 10.0.0.0/8 for the network, or "#
        + "10.0.0.1 for the address",
      #"per-source: "no" is not a whole number"#),
    Case(
      File.listener("{ bind: \":25\", backend: b, protocol: ¦stmp, max-connections: ¦0 }"),
      #"protocol: "stmp" is not one of smtp, imap, pop3 or sieve, did you mean "smtp"?"#,
      "max-connections: 0 is out of range 1 to 1000000"),
    Case(
      File.backend(
        "{ servers: [{ address: 1.2.3.4:5, backup: ¦maybe, max-connections: ¦x }], "
          + "slow-start: ¦5 }"),
      #"backup: "maybe" is not one of true or false"#,
      #"max-connections: "x" is not a whole number"#,
      #"slow-start: "5" has no unit; write 5s or 5ms"#),
    Case(
      File.listener(
        "{ bind: \":25\", backend: b, queue: { length: ¦0, timeout: ¦off, ¦size: 5 }, "
          + "bandwidth: ¦10B, bandwidth-per-connection: ¦65GiB }"),
      "length: 0 is out of range 1 to 100000", "timeout: it cannot be off",
      #"unknown key "size"; listeners.a.queue takes length, timeout"#,
      "bandwidth: 10B is less than 1KiB; did you mean off?",
      "bandwidth-per-connection: 65GiB is more than 68719476736 bytes"),
    Case(
      File.listener("{ bind: \":25\", backend: b, queue: ¦yes }"),
      #"listeners.a.queue takes a mapping ("key: value" lines)"#),
    Case(
      "limits: { memory: ¦much }\nlisteners: { a: { bind: \":25\", backend: b } }\n"
        + "backends: { b: { servers: [1.2.3.4:5], retry-budget: ¦101% } }",
      #"memory: "much" is not understood; a size is a whole number and a unit: 512B, 64KiB, "#
        + "1MiB, 2GiB",
      "retry-budget: 101 is out of range 0 to 100"),
    Case(
      File.servers("[{ address: ¦1.2.3.4:5, backup: true }]"),
      #"warning: every server of backend "b" is a backup, so it makes no difference"#),
  ]

  static let clashes: [Case] = [
    Case(
      File.bind("[\":25\", ¦\":25\"]"),
      #"":25" is already bound by listener "a" at 2:27"#),
    Case(
      File.bind("\"[::]:25\" }\n  c: { backend: b, bind: ¦\":25\""),
      #"":25" is already bound by listener "a" at 2:26"#),
    Case(
      File.bind("[127.0.0.1:25, ¦\"[::ffff:127.0.0.1]:25\"]"),
      #""[::ffff:127.0.0.1]:25" is already bound by listener "a" at 2:27"#),
    Case(
      File.bind("[unix:/run/x, unix:/run/y, ¦unix:/run/x]"),
      #""unix:/run/x" is already bound by listener "a" at 2:27"#),
    Case(
      File.bind("0.0.0.0:25 }\n  c: { backend: b, bind: ¦127.0.0.1:25"),
      #"warning: 127.0.0.1:25 takes its connections from the wildcard 0.0.0.0:25 of listener "a" "#
        + "at 2:26"),
    Case(
      File.bind("[127.0.0.1:25, \"[::1]:26\", ¦\":25\"]"),
      #"warning: the wildcard :25 gets no connections for 127.0.0.1:25 of listener "a" at 2:27"#),
    Case(
      File.bind("127.0.0.1:25").replacing("[127.0.0.1:1]", with: "[¦127.0.0.1:25]"),
      #"warning: server 127.0.0.1:25 is listener "a" itself (127.0.0.1:25 at 2:26); its "#
        + "connections would loop"),
    Case(
      File.bind("\":25\"").replacing("[127.0.0.1:1]", with: "[10.0.0.1:25, ¦127.0.0.1:25]"),
      #"warning: server 127.0.0.1:25 is listener "a" itself (:25 at 2:26); its connections "#
        + "would loop"),
    Case(
      File.servers("[127.0.0.1:1, ¦127.0.0.1:1]"),
      "warning: server 127.0.0.1:1 is listed twice, first at 4:18; it gets two shares"),
    Case(
      File.backend("{ servers: [127.0.0.1:1, \"[::1]:1\"], source: ¦127.0.0.2 }"),
      "source: 127.0.0.2 is IPv4, but server [::1]:1 at 4:31 is IPv6"),
    Case(
      File.backend("{ servers: [unix:/run/x], source: ¦\"::1\" }"),
      "source: ::1 is IPv6, but server unix:/run/x at 4:18 is a Unix socket"),
    Case(
      "events: epoll\n" + File.backend("{ servers: [127.0.0.1:1], splice: ¦ring }"),
      #"splice: ring is an io_uring operation, and "events: epoll" turns io_uring off; use auto "#
        + "or inline"),
    Case(
      File.bind("[\":25\", unix:/run/x]")
        .replacing("[127.0.0.1:1]", with: "[127.0.0.1:1], send-proxy: ¦v1"),
      #"warning: send-proxy: v1 cannot carry the Unix addresses of listener "a" (unix:/run/x at "#
        + "2:34); use v2"),
  ]

  private static func fault(_ value: String, _ reason: String) -> Case {
    Case(File.bind("[\":2\", ¦\(value)]"), "bind: \(reason)")
  }

  private static func source(_ value: String, _ reason: String) -> Case {
    Case(
      File.backend("{ servers: [127.0.0.1:1], source: ¦\(value) }"), "source: \(reason)")
  }

  /// The reason follows the name of the key that the mark's line sets last.
  private static func value(_ line: String, _ reason: String) -> Case {
    let key = line.prefix { $0 != "¦" }.split(whereSeparator: { " {:".contains($0) }).last ?? ""
    return Case(File.top(line), "\(key): \(reason)")
  }
}
