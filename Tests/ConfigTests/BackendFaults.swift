import Config

/// Faults of names of servers, and of how servers are checked.
enum BackendFaults {
  static let names: [Case] = [
    Case(
      File.servers("[¦mail.example, mail.example:25, my_box:25, ¦mail.example:0, ¦\"a b:25\"]"),
      #"servers: "mail.example" has no port; write "mail.example:25" with yours"#,
      #"servers: "mail.example:0": port 0 means any port, and clients could not know which"#,
      #"servers: "a b" is a host name; it takes an address"#),
    Case(
      File.servers("[¦srv:mail.example, ¦\"srv:_imap._udp.x\", ¦\"srv:_imap._tcp\", ¦\"srv:\"]"),
      #"servers: "srv:mail.example" is not the name of a service, such as "#
        + "srv:_imap._tcp.mail.example",
      #"servers: "srv:_imap._udp.x" is not the name of a service, such as "#
        + "srv:_imap._tcp.mail.example",
      #"servers: "srv:_imap._tcp" is not the name of a service, such as "#
        + "srv:_imap._tcp.mail.example",
      #"servers: "srv:" is not the name of a service, such as srv:_imap._tcp.mail.example"#),
    Case(
      File.servers("[¦{ address: \"srv:_imap._tcp.x\", weight: 2 }]"),
      "weight: the records of a service bring weights of their own"),
    Case(
      File.servers("[a.example:25, ¦A.example:25]"),
      "warning: server A.example:25 is listed twice, first at 4:18; it gets two shares"),
    resolver(
      "servers: ¦[]",
      "servers is empty; it takes addresses of name servers such as "
        + #"192.0.2.53 or "192.0.2.53:5353""#),
    resolver(
      "servers: ¦ns.example",
      #"servers: "ns.example" has no port; write "ns.example:25" "#
        + "with yours"),
    resolver("servers: ¦\"unix:/x\"", #"servers: "unix:/x" is a Unix socket; it takes an address"#),
    resolver(
      "servers: ¦0.0.0.0", "servers: \"0.0.0.0\" has no port; write \"0.0.0.0:25\" with yours"),
    resolver("servers: ¦\"0.0.0.0:53\"", "servers: 0.0.0.0:53 is a wildcard, and no name server"),
    resolver("min-ttl: ¦10ms", "min-ttl: 10ms is less than 100ms"),
    resolver("min-ttl: ¦2s, max-ttl: 1s", "min-ttl: it is more than max-ttl"),
    resolver("attempts: ¦0", "attempts: 0 is out of range 1 to 10"),
    resolver("timeout: ¦off", "timeout: it cannot be off"),
  ]

  static let checks: [Case] = [
    Case(
      File.backend("{ servers: [127.0.0.1:1], check: ¦smpt }"),
      #"check: "smpt" is not one of connect, tls, smtp, imap, pop3, sieve, http or send-expect, "#
        + #"did you mean "smtp"?"#),
    check(
      "¦{ interval: 1s }",
      "a check needs type here; it takes connect, tls, smtp, imap, pop3, sieve, http or "
        + "send-expect"),
    Case(
      """
      listeners:
        a: { bind: ":25", backend: b, protocol: smtp }
        c: { bind: ":143", backend: b, protocol: imap }
      backends:
        b: { servers: [127.0.0.1:1], check: ¦{ interval: 1s } }
      """,
      "a check needs type here, since its listeners speak imap or smtp; it takes connect, tls, "
        + "smtp, imap, pop3, sieve, http or send-expect"),
    Case(
      File.backend("{ servers: [127.0.0.1:1], panic-threshold: ¦101% }"),
      "panic-threshold: 101 is out of range 0 to 100"),
    check("{ type: smtp, interval: ¦10ms }", "interval: 10ms is less than 100ms"),
    check("{ type: smtp, jitter: ¦10 }", #"jitter: "10" is no percentage, such as 10%"#),
    check("{ type: smtp, jitter: ¦60% }", "jitter: 60 is out of range 0 to 50"),
    check("{ type: smtp, rise: ¦0 }", "rise: 0 is out of range 1 to 100"),
    check("{ type: smtp, path: ¦/x }", "only a check of type http has path, host and status"),
    check("{ type: http, path: ¦x }", #"path: "x" is not the path of a request, such as /health"#),
    check("{ type: http, host: ¦\"a b\" }", #"host: "a b" is not the name of a host"#),
    check(
      "{ type: http, status: [¦99, 200, ¦300-200, ¦1-2-3] }",
      "status: 99 is out of range 100 to 599",
      #"status: "300-200" is not a status such as 204, nor a range such as 200-399"#,
      "status: 1 is out of range 100 to 599"),
    check("{ type: http, send: ¦x }", "only a check of type send-expect has send and expect"),
    check(
      "¦{ type: send-expect, send: x }",
      #"a check of type send-expect needs expect; it takes a text, in which \r, \n, \t, \\ and "#
        + #"\x1f stand for bytes"#),
    check(#"{ type: send-expect, expect: ¦'a\q' }"#, #"expect: after a \ stands r, n, t, \ or x"#),
    check(
      #"{ type: send-expect, expect: ¦'\x1' }"#,
      #"expect: \x is followed by two hexadecimal digits"#),
    Case(
      File.backend("{ servers: [127.0.0.1:1], eject: { failures: ¦0, time: ¦1 } }"),
      "failures: 0 is out of range 1 to 1000",
      #"time: "1" has no unit; write 1s or 1ms"#),
  ]

  private static func resolver(_ marked: String, _ message: String) -> Case {
    Case(File.top("resolver: { \(marked) }"), message)
  }

  private static func check(_ marked: String, _ messages: String...) -> Case {
    var made = Case(File.backend("{ servers: [127.0.0.1:1], check: \(marked) }"))
    made.messages = messages
    return made
  }
}
