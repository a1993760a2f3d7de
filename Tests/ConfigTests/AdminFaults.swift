import Config

/// Faults of what is said of the process itself, and of servers that are more than an address.
enum AdminFaults {
  static let values: [Case] = [
    Case(File.top("admin: ¦off"), #"admin takes a mapping ("key: value" lines)"#),
    admin("socket: ¦admin.sock", #"socket: "admin.sock" is not an absolute path"#),
    admin(
      "socket: ¦unix:/x", #"socket: "unix:/x" is always a Unix socket; write the path alone"#),
    admin("socket: ¦/run/", #"socket: "/run/" is a directory; name a socket in it"#),
    admin(
      "socket: ¦/\(String(repeating: "x", count: 107))",
      "socket: the path has 108 bytes; a Unix socket's has at most 107"),
    admin("mode: ¦rw", #"mode: "rw" is not a mode; write three octal digits, such as "0660""#),
    admin(
      "mode: ¦0o660", #"mode: "0o660" is not a mode; write three octal digits, such as "0660""#),
    admin("mode: ¦0680", #"mode: "0680" is not a mode; write three octal digits, such as "0660""#),
    admin("mode: ¦66", #"mode: "66" is not a mode; write three octal digits, such as "0660""#),
    admin("mode: ¦1660", #"mode: "1660" is not a mode; write three octal digits, such as "0660""#),
    admin(
      "mode: ¦0444",
      "mode: with 0444 nobody may write to the socket, so nobody can connect"),
    admin("group: ¦a:b", #"group: "a:b" is not the name of a user or group"#),
    admin(
      "operate: [root, ¦\"@\", ¦\"a b\"], view: [¦{ }]",
      #"operate: "" is not the name of a user or group"#,
      #"operate: "a b" is not the name of a user or group"#,
      #"view takes names of users, and of groups after an "@", not a mapping"#),
    metrics(
      "bind: ¦[]", #"bind is empty; it takes an address such as "127.0.0.1:9180", or a list"#),
    metrics(
      "bind: ¦unix:/run/x",
      #"bind: "unix:/run/x": the admin socket serves them already; it takes an IP address"#),
    metrics("bind: ¦9180", #"bind: "9180" is a port without an address; write ":9180""#),
    metrics("page: ¦on", #"page: "on" is not one of true or false"#),
    metrics(
      "hosts: [¦10.0.0.1]", #"hosts: "10.0.0.1" is not a host name; addresses need not be listed"#),
    metrics("top-clients: ¦0", "top-clients: 0 is out of range 1 to 1000"),
    Case(
      File.top("log: { format: ¦xml }"), #"format: "xml" is not one of json or text"#),
    Case(
      File.top("log: { fields: [time, ¦byte_up, ¦time] }"),
      #"fields: there is no field "byte_up", did you mean "bytes_up"?"#,
      "fields: time is listed twice"),
    Case(
      File.top("log: { fields: ¦[] }"), "fields is empty; it takes all or a list of fields"),
    Case(
      File.top("state-directory: ¦state"), #"state-directory: "state" is not an absolute path"#),
    Case(
      File.servers("[¦{ weight: 1 }, { address: 1.2.3.4:5, weight: ¦257 }, ¦[x]]"),
      #"a server needs address; it takes an address such as "192.0.2.10:25", or a name such as "#
        + #""mail.example:25""#,
      "weight: 257 is out of range 0 to 256",
      #"servers takes a list of addresses such as "192.0.2.10:25", names such as "#
        + #""mail.example:25", or mappings, not a list here"#),
    Case(
      File.servers("[{ ¦adress: 1.2.3.4:5 }]").replacing("[{", with: "[¦{"),
      #"a server needs address; it takes an address such as "192.0.2.10:25", or a name such as "#
        + #""mail.example:25""#,
      #"unknown key "adress", did you mean "address"?"#),
  ]

  static let clashes: [Case] = [
    Case(
      "admin: { socket: ¦/run/x }\n" + File.bind("unix:/run/x"),
      #"socket: /run/x is bound by listener "a" at 3:26"#),
    Case(
      "metrics: { bind: [127.0.0.1:1, ¦\"[::1]:25\"] }\n" + File.bind("\":25\""),
      #"bind: "[::1]:25" is bound by listener "a" at 3:26"#),
    Case(
      "metrics: { bind: ¦\":25\", page: false }\n" + File.bind("127.0.0.1:25"),
      #"bind: ":25" is bound by listener "a" at 3:26"#),
    Case(
      "metrics: ¦{}\n" + File.bind("127.0.0.1:9180"),
      #"metrics: its default address 127.0.0.1:9180 is bound by listener "a" at 3:26"#),
    metrics(
      "bind: [127.0.0.1:1, ¦127.0.0.1:1]", #"bind: "127.0.0.1:1" is listed twice, first at 1:19"#),
    metrics(
      "bind: ¦\":9180\"",
      #"warning: bind: whoever reaches :9180 sees the live page, with clients' addresses; add "#
        + #""page: false", or "page: true" if you mean it"#),
    Case(
      File.servers("[{ address: ¦1.2.3.4:5, weight: 0 }]"),
      #"warning: every server of backend "b" has weight 0, so none gets connections"#),
  ]

  private static func admin(_ body: String, _ messages: String...) -> Case {
    section("admin", body, messages)
  }

  private static func metrics(_ body: String, _ messages: String...) -> Case {
    section("metrics", body, messages)
  }

  private static func section(_ name: String, _ body: String, _ messages: [String]) -> Case {
    var made = Case(File.top("\(name): { \(body) }"))
    made.messages = messages
    return made
  }
}
