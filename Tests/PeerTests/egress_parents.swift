import Glibc
import System
import TestSupport
import Testing

// Requests go through real proxies: tinyproxy and squid, which want credentials of ours, and the
// next one when the first has gone; and through another Sluice, by TLS.

/// A proxy of somebody else.
private struct Parent {
  let process: ChildProcess
  let endpoint: Endpoint
  let directory: TemporaryDirectory

  static let kinds = ["tinyproxy", "squid"]

  /// It wants the user `sluice` with the password `hush`.
  init(_ kind: String) throws {
    try require(["tinyproxy": "tinyproxy", "squid": "squid", "openssl": "openssl"])
    directory = try TemporaryDirectory()
    endpoint = .loopback(ReservedPort.take())
    let configuration = directory.file("configuration")
    if kind == "squid" {
      let hash = try ChildProcess.run("openssl", ["passwd", "-apr1", "hush"]).output
      try writeFile(directory.file("users"), "sluice:\(hash)")
      // Squid gives up being root, and its user has to get at these.
      chmod(directory.path, 0o777)
      chmod(directory.file("users"), 0o644)
      try writeFile(
        configuration,
        """
        http_port \(endpoint)
        visible_hostname squid.test
        auth_param basic program /usr/lib/squid/basic_ncsa_auth \(directory.file("users"))
        auth_param basic children 2 startup=1
        acl known proxy_auth REQUIRED
        http_access allow known
        http_access deny all
        cache deny all
        pid_filename none
        access_log none
        cache_log \(directory.file("log"))
        netdb_filename none
        shutdown_lifetime 0 seconds
        coredump_dir \(directory.path)

        """)
      // Under a name of its own, lest it share memory with another one.
      process = try ChildProcess(
        "/usr/sbin/squid", ["-N", "-n", "sluice\(endpoint.port)", "-f", configuration])
    } else {
      try writeFile(
        configuration,
        """
        Port \(endpoint.port)
        Listen 127.0.0.1
        Timeout 30
        Allow 127.0.0.1
        BasicAuth sluice hush
        LogLevel Error
        LogFile "\(directory.file("log"))"

        """)
      process = try ChildProcess("/usr/bin/tinyproxy", ["-d", "-c", configuration])
    }
    let (endpoint, process, log) = (endpoint, process, directory.file("log"))
    try wait(for: "\(kind) to listen: \(process.standardError)") {
      if let exit = process.poll() {
        throw TestFailure("\(kind): \(exit): \(process.standardError)\(contents(of: log))")
      }
      return (try? StreamSocket.connect(to: endpoint)) != nil
    }
  }

  func stop() throws {
    process.signal(SIGKILL)
    _ = try process.waitForExit()
  }
}

/// Another Sluice that ends TLS at its forward proxy and wants the same credentials.
private struct SecureParent {
  let sluice: SluiceProcess
  let certificate: TestCertificate
  let names: NameServer

  /// As the one in front of it knows it.
  var url: String { "https://parent.example:\(sluice.endpoint.port)" }

  init() throws {
    let directory = try TemporaryDirectory()
    certificate = try TestCertificate("parent", ["DNS:parent.example"], in: directory)
    let hash = try ChildProcess.run("openssl", ["passwd", "-6", "hush"]).output
    try writeFile(directory.file("users"), "sluice:\(hash)")
    let bind = Endpoint.loopback(ReservedPort.take())
    sluice = try SluiceProcess(
      yaml: """
        workers: 1
        log: { connections: "\(directory.file("connections"))" }
        timeouts: { drain: 1s }
        listeners:
          out:
            { bind: "\(bind)", type: http-proxy, egress: office,
              tls: { certificates: "\(certificate.both)" } }
        egress:
          office:
            users: "\(directory.file("users"))"
            rules: [{ name: children, user: sluice, action: allow }]
            guard: { allow: [0.0.0.0, 127.0.0.1] }
            connect-ports: [1-65535]
            ports: [1-65535]

        """, in: directory, at: bind)
    names = try NameServer()
    names.set("parent.example", .a(127, 0, 0, 1))
  }

  func stop() throws {
    try sluice.stop()
    names.stop()
  }
}

/// Ours, with those parents, and an origin that is asked for as 0.0.0.0: loopback addresses always
/// go past parents, and Linux dials this one there.
private struct Chain {
  let sluice: SluiceProcess
  let origin: ListeningSocket
  private let serving: Job<Void>
  private let isOver: Guarded<Bool>

  init(_ parents: [Endpoint], password: String = "hush") throws {
    try self.init(parents.map { "http://\($0)" }, password: password)
  }

  /// - Parameters:
  ///   - settings: lines of the egress's entry.
  ///   - more: of the file.
  init(
    _ parents: [String], password: String = "hush", settings: String = "", more: String = ""
  ) throws {
    let origin = try ListeningSocket()
    self.origin = origin
    let isOver = Guarded(false)
    self.isOver = isOver
    serving = Job("origin") {
      while !isOver.withLock({ $0 }) {
        guard let client = try? origin.accept(withinMs: 50) else { continue }
        var asked = ""
        // To its end: what is left unread when the socket is closed makes a reset of the FIN.
        while !asked.hasSuffix("\r\n\r\n"),
          case .bytes(let bytes)? = try? client.receive(atMost: 4096)
        {
          asked += String(decoding: bytes, as: UTF8.self)
        }
        // What is ours stays ours, whoever asks.
        let body = asked.lowercased().contains("proxy-authorization") ? "leaked" : "good"
        let length = "Content-Length: \(body.utf8.count)\r\n"
        try? client.write("HTTP/1.1 200 OK\r\n\(length)Connection: close\r\n\r\n\(body)")
        client.close()
      }
    }
    let directory = try TemporaryDirectory()
    let bind = Endpoint.loopback(ReservedPort.take())
    try writeFile(directory.file("password"), "\(password)\n")
    let list = parents.map {
      "{ url: \"\($0)\", user: sluice, password-file: \(directory.file("password")) }"
    }.joined(separator: ", ")
    sluice = try SluiceProcess(
      yaml: """
        workers: 1
        log: { connections: "\(directory.file("connections"))" }
        timeouts: { drain: 1s }
        listeners:
          out: { bind: "\(bind)", type: http-proxy, egress: office }
        egress:
          office:
            rules: [{ name: all, action: allow }]
            guard: { allow: [0.0.0.0, 127.0.0.1] }
            connect-ports: [1-65535]
            ports: [1-65535]
            parents: [\(list)]
            \(settings)
        \(more)

        """, in: directory, at: bind)
  }

  /// What curl gets through it: the body, or its words about why not.
  func fetch(throughTunnel: Bool = false, host: String = "0.0.0.0") throws -> String {
    try require(["curl": "curl"])
    let result = try ChildProcess.run(
      "curl",
      ["-sS", "--max-time", "25", "--noproxy", "", "-x", "http://\(sluice.endpoint)"]
        + (throughTunnel ? ["--proxytunnel"] : []) + ["http://\(host):\(origin.port)/"],
      until: Deadline(inMs: 60_000))
    return result.output + result.error
  }

  func record(_ count: Int) throws -> JSONValue {
    _ = try sluice.records(count)
    return try JSONValue(try #require(sluice.lines.records.last))
  }

  func stop() throws {
    try sluice.stop()
    isOver.withLock { $0 = true }
    _ = try serving.value()
  }
}

@Test("through a parent that wants credentials", arguments: Parent.kinds)
func throughParent(kind: String) throws {
  let parent = try Parent(kind)
  let chain = try Chain([parent.endpoint])
  #expect(try chain.fetch(throughTunnel: true) == "good")
  let tunnel = try chain.record(1)
  #expect(tunnel["parent"]?.string == "\(parent.endpoint)")
  #expect(tunnel["rule"]?.string == "all")
  #expect(try chain.fetch() == "good")
  #expect(try chain.record(2)["parent"]?.string == "\(parent.endpoint)")
  // Loopback goes past it.
  #expect(try chain.fetch(host: "127.0.0.1") == "good")
  #expect(try chain.record(3)["parent"] == nil)
  try chain.stop()
  try parent.stop()
}

@Test("a parent that does not know us", arguments: Parent.kinds)
func unknownToParent(kind: String) throws {
  let parent = try Parent(kind)
  let chain = try Chain([parent.endpoint], password: "wrong")
  #expect(try chain.fetch(throughTunnel: true).contains("502"))
  #expect(try chain.record(1)["reason"]?.string == "egress.parent-refused")
  let plain = try chain.fetch()
  #expect(!plain.contains("good"), "\(plain)")
  // Its question for credentials is not one for the client; tinyproxy's looks like an origin's.
  let status = try chain.record(2)["status"]?.number
  #expect(status == (kind == "squid" ? 502 : 401))
  try chain.stop()
  try parent.stop()
}

/// The first has gone, then the second goes in the middle of the run: within the time of one dial
/// the next one is asked.
@Test("parents that go")
func parentsThatGo() throws {
  let gone = Endpoint.loopback(ReservedPort.take())
  let first = try Parent("tinyproxy")
  let second = try Parent("squid")
  let chain = try Chain([gone, first.endpoint, second.endpoint])
  for _ in 0..<4 { #expect(try chain.fetch(throughTunnel: true) == "good") }
  try first.stop()
  for count in 5...10 {
    #expect(try chain.fetch(throughTunnel: count % 2 == 0) == "good")
    #expect(try chain.record(count)["parent"]?.string == "\(second.endpoint)")
  }
  try second.stop()
  #expect(try chain.fetch(throughTunnel: true).contains("50"))
  try chain.stop()
}

@Test("Sluice as its own parent, by TLS")
func throughSluiceByTLS() throws {
  let parent = try SecureParent()
  let trusted = "parents-ca: \(parent.certificate.chain)"
  let resolver = "resolver: { servers: [\"\(parent.names.address)\"] }"
  let chain = try Chain([parent.url], settings: trusted, more: resolver)
  for (count, throughTunnel) in [true, false, true, false].enumerated() {
    #expect(try chain.fetch(throughTunnel: throughTunnel) == "good")
    let record = try chain.record(count + 1)
    let port = parent.sluice.endpoint.port
    #expect(record["parent"]?.string == "parent.example:\(port)@127.0.0.1:\(port)")
    #expect(record["rule"]?.string == "all")
  }
  // What the one behind says of it: who asked, in TLS, and for what.
  let told = try parent.sluice.records(4).count
  let line = try JSONValue(try #require(parent.sluice.lines.records.last))
  #expect(told == 4 && line["user"]?.string == "sluice" && line["rule"]?.string == "children")
  #expect(line["tls_version"]?.string == "TLSv1.3")
  try chain.stop()

  // One that it does not trust hears no request.
  let wary = try Chain([parent.url], more: resolver)
  #expect(try wary.fetch(throughTunnel: true).contains("502"))
  #expect(try wary.record(1)["reason"]?.string == "dial.tls")
  try wary.stop()
  try parent.stop()
}

/// The edge's servers stand behind the proxy: Dovecot hears of the client itself, inside of TLS
/// inside of the tunnel, and checks say a whole dialogue there.
@Test("Dovecot behind a parent", arguments: Parent.kinds)
func dovecotBehindParent(kind: String) throws {
  try require(["socat": "socat"])
  let parent = try Parent(kind)
  let peers = try MailPeers.shared()
  let source = kind == "squid" ? "127.0.0.4" : "127.0.0.5"
  var setup = Setup(
    Engine(events: "auto", splice: "auto"), servers: [peers.address(of: .imaps)])
  setup.listener = "type: server-first, protocol: imap"
  setup.backend =
    "parents: [\"http://sluice:hush@\(parent.endpoint)\"], send-proxy: v2, "
    + "tls: { ca: \(peers.certificate), name: mail.example.test }, "
    + "check: { type: imap, interval: 200ms }"
  try withSluice(setup) { sluice in
    let output = try runClient(
      "socat", ["-t", "10", "-", "TCP:\(sluice.endpoint),bind=\(source),crlf,shut-none"],
      input: "a LOGIN alice@example.test secret\nb LOGOUT\n")
    #expect(output.contains("a OK") && output.contains("b OK"), "said: \(output)")
    let record = try sluice.record()
    let port = record.client.split(separator: ":").last ?? ""
    try peers.expectLine(
      in: peers.dovecotLog,
      with: [
        "imap-login: Info: Login: user=<alice@example.test>", " rip=\(source), rport=\(port),",
        " TLS",
      ])
    #expect(try JSONValue(sluice.lines.records[0])["parent"]?.string == "\(parent.endpoint)")
    #expect(!sluice.child.standardError.contains("is down"), "\(sluice.child.standardError)")
    try parent.stop()
    try wait(for: "the check to fail") {
      sluice.child.standardError.contains("is down: ")
    }
    #expect(
      try runClient("socat", ["-t", "10", "-", "TCP:\(sluice.endpoint)"]).contains("* BYE"))
    #expect(try sluice.records(2)[1].reason == "dial.refused")
  }
}
