import Synchronization
import TestSupport
import Testing
import Wire

// An operator has a server, and wants to know which `send-proxy` it needs. `sluice probe` asks the
// server itself, and is right about real ones: with the header, without it, and not trusting us.

private struct Verdict {
  let json: JSONValue
  let exit: ChildProcess.Exit

  var kind: String? { json["verdict"]?["kind"]?.string }
  var sendProxy: String? { json["verdict"]?["send_proxy"]?.string }
  var `protocol`: String? { json["protocol"]?.string }
  var text: String {
    guard case .array(let details)? = json["verdict"]?["details"] else { return "" }
    let headline = json["verdict"]?["headline"]?.string ?? ""
    return ([headline] + details.compactMap(\.string)).joined(separator: "\n")
  }
  func takes(_ what: String) -> Bool { json["verdict"]?[what] == .bool(true) }
  func number(_ what: String) -> Double? { json["verdict"]?[what]?.number }
  func attempt(_ name: String) -> JSONValue? {
    guard case .array(let attempts)? = json["attempts"] else { return nil }
    return attempts.first { $0["attempt"]?.string == name }
  }
}

private func probe(_ target: some CustomStringConvertible, _ options: String...) throws -> Verdict {
  let result = try SluiceBinary.run(
    ["probe", "\(target)", "--json"] + options, until: Deadline(inMs: 40_000))
  guard result.error.isEmpty else { throw TestFailure("probe said: \(result.error)") }
  return Verdict(json: try JSONValue(result.output), exit: result.exit)
}

/// A receiver that needs the header, takes all kinds of it, and wants it in one piece.
private func expectRequired(_ verdict: Verdict, limit: Double?) {
  #expect(verdict.exit == .code(0))
  #expect(verdict.kind == "requires-header", "\(verdict.json)")
  #expect(verdict.sendProxy == "v2")
  #expect(
    verdict.text.hasPrefix("requires a PROXY header (v1 and v2 accepted, v2 recommended)"))
  for form in ["v1", "v2", "tlvs", "local", "trusted"] {
    #expect(verdict.takes(form), "\(form): \(verdict.json)")
  }
  // F-2: "refused at once".
  #expect(!verdict.takes("v1_split") && !verdict.takes("v2_split"), "\(verdict.json)")
  #expect(verdict.text.contains("send it in one write (Sluice does)"))
  #expect(verdict.number("longest_taken") == limit ?? 4096)
  #expect(verdict.number("shortest_refused") == limit.map { $0 + 1 })
  if let limit {
    #expect(verdict.text.contains("a header over \(Int(limit)) bytes is refused"))
  }
}

private func expectNone(_ verdict: Verdict) {
  #expect(verdict.exit == .code(0))
  #expect(verdict.kind == "no-header", "\(verdict.json)")
  #expect(verdict.sendProxy == "none")
  #expect(verdict.text.hasPrefix("takes no PROXY header: send-proxy: none"))
  for form in ["v1", "v2", "tlvs", "local", "v1_split", "v2_split"] {
    #expect(!verdict.takes(form), "\(form): \(verdict.json)")
  }
}

// MARK: Postfix and Dovecot

struct ProbedService: Sendable, CustomStringConvertible {
  let service: Service
  let option: String
  let limit: Double
  var description: String { "\(service)" }

  /// F-1: Postfix 536 bytes, Dovecot 1500.
  static let receivers = [
    ProbedService(service: .smtp, option: "--smtp", limit: 536),
    ProbedService(service: .postscreen, option: "--smtp", limit: 536),
    ProbedService(service: .submissions, option: "--tls", limit: 536),
    ProbedService(service: .imap, option: "--imap", limit: 1500),
    ProbedService(service: .imaps, option: "--tls", limit: 1500),
    ProbedService(service: .pop3, option: "--pop3", limit: 1500),
    ProbedService(service: .sieve, option: "--sieve", limit: 1500),
  ]
}

@Test("probe of mail servers that require a header", arguments: ProbedService.receivers)
func probeMailReceivers(probed: ProbedService) throws {
  let peers = try MailPeers.shared()
  let verdict = try probe(peers.address(of: probed.service), probed.option)
  expectRequired(verdict, limit: probed.limit)
  #expect(verdict.json["protocol_guessed"] == .bool(false))
  // F-5: Dovecot closes after 3 s, Postfix after 5 s with words.
  #expect(verdict.attempt("nothing")?["ending"]?.string != "open" || probed.option == "--tls")
  #expect(verdict.attempt("nothing")?["outcome"]?.string == "refused")
}

@Test("probe guesses the protocol", arguments: [
  (Service.smtp, "smtp"), (.imap, "imap"), (.pop3, "pop3"), (.sieve, "sieve"), (.imaps, "tls"),
])
func probeGuesses(service: Service, protocol name: String) throws {
  let peers = try MailPeers.shared()
  let verdict = try probe(peers.address(of: service))
  #expect(verdict.kind == "requires-header", "\(verdict.json)")
  #expect(verdict.protocol == name)
  #expect(verdict.json["protocol_guessed"] == .bool(true))
}

/// The same servers, set up otherwise: Postfix and Dovecot's POP3 and ManageSieve take no header,
/// Dovecot's IMAP takes one from nobody here.
private final class OtherMailPeers: Sendable {
  private let base: UInt16
  private let child: ChildProcess
  private let directory: TemporaryDirectory

  static func shared() throws -> OtherMailPeers { try started.get() }
  private static let started = Result { try OtherMailPeers() }

  private init() throws {
    let source = "\(packageDirectory)/tools/mail-peers"
    directory = try TemporaryDirectory()
    for name in ["run", "main.cf.in"] {
      try writeFile(directory.file(name), contents(of: "\(source)/\(name)"))
    }
    var master = contents(of: "\(source)/master.cf.in")
    for option in ["smtpd", "postscreen"] {
      master = without(" -o \(option)_upstream_proxy_protocol=haproxy", in: master)
    }
    try writeFile(directory.file("master.cf.in"), master)
    let dovecot = contents(of: "\(source)/dovecot.conf.in")
    let trusted = try #require(dovecot.split(separator: "\n").first {
      $0.hasPrefix("haproxy_trusted_networks")
    })
    let parts = pieces(of: dovecot, at: "service pop3-login")
    guard parts.count == 2 else { throw TestFailure("no POP3 in \(source)/dovecot.conf.in") }
    try writeFile(
      directory.file("dovecot.conf.in"),
      pieces(of: parts[0], at: String(trusted)).joined(
        separator: "haproxy_trusted_networks = 192.0.2.0/24")
        + "service pop3-login" + without("    haproxy = yes\n", in: parts[1]))
    base = ReservedPort.takeBlock(UInt16(Service.allCases.count))
    var limits = ChildProcess.Limits()
    limits.killedWithUs = false
    let child = try ChildProcess("bash", [directory.file("run"), "\(base)"], limits: limits)
    self.child = child
    try wait(for: "the other mail servers", until: Deadline(inMs: 60_000)) {
      if let exit = child.poll() {
        throw TestFailure("the mail servers ended with \(exit): \(child.standardError)")
      }
      return child.standardOutput.contains("ready ")
    }
  }

  func address(of service: Service) -> Endpoint { .loopback(base + UInt16(service.rawValue)) }
}

private func pieces(of text: String, at mark: String) -> [String] {
  var pieces: [String] = []
  var (rest, piece) = (text[...], "")
  while let first = rest.first {
    if rest.hasPrefix(mark) {
      pieces.append(piece)
      piece = ""
      rest = rest.dropFirst(mark.count)
    } else {
      piece.append(first)
      rest = rest.dropFirst()
    }
  }
  return pieces + [piece]
}

private func without(_ mark: String, in text: String) -> String {
  pieces(of: text, at: mark).joined()
}

@Test("probe of mail servers that take no header", arguments: [
  (Service.smtp, "--smtp"), (.postscreen, "--smtp"), (.submissions, "--tls"), (.pop3, "--pop3"),
  (.pop3s, "--tls"), (.sieve, "--sieve"),
])
func probePlainMail(service: Service, option: String) throws {
  let peers = try OtherMailPeers.shared()
  let verdict = try probe(peers.address(of: service), option)
  expectNone(verdict)
  if option != "--tls" {
    #expect(
      verdict.text.contains(
        "speaks without a header, and takes a header for the client's bytes (a plain server)"))
    #expect(verdict.attempt("v2")?["outcome"]?.string == "mistaken")
  }
}

// F-6: `haproxy_trusted_networks` not matching means an immediate close.
@Test("probe of a Dovecot that does not trust us", arguments: [
  (Service.imap, "--imap"), (.imaps, "--tls"),
])
func probeUntrusting(service: Service, option: String) throws {
  let peers = try OtherMailPeers.shared()
  let verdict = try probe(peers.address(of: service), option)
  #expect(verdict.exit == .code(1))
  #expect(verdict.kind == "refuses-all", "\(verdict.json)")
  #expect(verdict.json["verdict"]?["send_proxy"] == .null)
  #expect(
    verdict.text.hasPrefix(
      "closes even with a header: it does not trust this address, 127.0.0.1"
        + " (Dovecot: haproxy_trusted_networks), or"))
  #expect(verdict.text.contains("connections end at once, before a byte is sent"))
}

@Test("probe in the wrong protocol says which is right")
func probeWrongProtocol() throws {
  let verdict = try probe(try OtherMailPeers.shared().address(of: .smtp), "--imap")
  #expect(verdict.exit == .code(1) && verdict.kind == "other-protocol", "\(verdict.json)")
  #expect(verdict.text == "speaks smtp, not imap: probe it with --smtp")
}

@Test("probe resolves a name")
func probeByName() throws {
  let port = try MailPeers.shared().address(of: .imaps).port
  let verdict = try probe("localhost:\(port)", "--tls")
  #expect(verdict.json["target"]?.string == "localhost:\(port)")
  #expect(verdict.json["address"]?.string == "127.0.0.1:\(port)")
  expectRequired(verdict, limit: 1500)
}

// MARK: HAProxy and nginx

private func waitUntilListening(_ endpoint: Endpoint, _ child: ChildProcess) throws {
  try wait(for: "\(child.command) to listen: \(child.standardError)") {
    if let exit = child.poll() {
      throw TestFailure("\(child.command) ended with \(exit): \(child.standardError)")
    }
    return (try? StreamSocket.connect(to: endpoint)) != nil
  }
}

@Test("probe of HAProxy", arguments: [true, false])
func probeHAProxy(acceptsProxy: Bool) throws {
  try require(["haproxy": "haproxy"])
  let directory = try TemporaryDirectory()
  let receiver = Endpoint.loopback(ReservedPort.take())
  try writeFile(
    directory.file("haproxy.cfg"),
    """
    defaults
      mode http
      timeout client 20s
      timeout connect 5s
      timeout server 20s
    frontend front
      bind \(receiver)\(acceptsProxy ? " accept-proxy" : "")
      http-request return status 200 content-type text/plain lf-string "%ci\\n"

    """)
  let haproxy = try ChildProcess("/usr/sbin/haproxy", ["-db", "-f", directory.file("haproxy.cfg")])
  try waitUntilListening(receiver, haproxy)
  let verdict = try probe(receiver)
  guard acceptsProxy else { return expectNone(verdict) }
  expectRequired(verdict, limit: nil)
  #expect(verdict.text.contains("when a client's bytes come without a header: reset"))
}

@Test("probe of nginx", arguments: [true, false])
func probeNginx(takesProxy: Bool) throws {
  try require(["nginx": "nginx", "ngx_stream_module.so": "libnginx-mod-stream"])
  let directory = try TemporaryDirectory()
  let receiver = Endpoint.loopback(ReservedPort.take())
  try writeFile(
    directory.file("nginx.conf"),
    """
    load_module /usr/lib/nginx/modules/ngx_stream_module.so;
    daemon off;
    master_process off;
    pid \(directory.file("nginx.pid"));
    error_log \(directory.file("error.log"));
    events { worker_connections 100; }
    stream {
      server {
        listen \(receiver)\(takesProxy ? " proxy_protocol" : "");
        return "hello $proxy_protocol_addr\\n";
      }
    }

    """)
  let nginx = try ChildProcess(
    "/usr/sbin/nginx", ["-p", directory.path, "-c", directory.file("nginx.conf")])
  try waitUntilListening(receiver, nginx)
  let verdict = try probe(receiver)
  guard takesProxy else { return expectNone(verdict) }
  // F-1: nginx before 1.23 takes 107 bytes, and says its line only after a header.
  expectRequired(verdict, limit: 107)
  #expect(verdict.text.contains("proxy-header: { limit: 107 }"))
}

// MARK: Servers of our own

extension StreamSocket {
  /// What comes next; empty once the stream has ended, in whatever way.
  fileprivate func next() throws -> [UInt8] {
    switch try receive(atMost: 8192) {
    case .bytes(let bytes): bytes
    case .ended: []
    }
  }
}

/// A server in the test: each connection on a thread, `body` from the start to the end of it.
private final class ScriptedServer: Sendable {
  let listener: ListeningSocket
  private let accepting = Mutex<Job<Void>?>(nil)

  init(_ body: @escaping @Sendable (StreamSocket) throws -> Void) throws {
    let listener = try ListeningSocket()
    self.listener = listener
    let job = Job("accepting") {
      while let socket = try? listener.accept(until: Deadline(inMs: 30_000)) {
        _ = Job("a connection") {
          defer { socket.close() }
          try body(socket)
        }
      }
    }
    accepting.withLock { $0 = job }
  }
}

@Test("probe of an echo server")
func probeEcho() throws {
  let server = try ScriptedServer { socket in
    while true {
      let bytes = try socket.next()
      if bytes.isEmpty { return }
      try socket.write(bytes)
    }
  }
  let verdict = try probe(server.listener.endpoint)
  expectNone(verdict)
  #expect(verdict.attempt("v2")?["outcome"]?.string == "mistaken")
}

@Test("probe of a closed port")
func probeClosedPort() throws {
  let verdict = try probe(Endpoint.loopback(ReservedPort.take()))
  #expect(verdict.exit == .code(1) && verdict.kind == "closed-port", "\(verdict.json)")
  #expect(verdict.text.hasPrefix("closed port: nobody listens at 127.0.0.1:"))
}

@Test("probe of a machine that does not answer")
func probeBlackHole() throws {
  let hole = try BlackHole()
  let verdict = try probe(hole.endpoint, "--timeout", "1s")
  #expect(verdict.exit == .code(1) && verdict.kind == "no-answer", "\(verdict.json)")
  #expect(verdict.text.hasPrefix("no answer from"))
}

@Test("probe of a server that says nothing")
func probeSilent() throws {
  let server = try ScriptedServer { socket in
    while !(try socket.next()).isEmpty {}
  }
  let verdict = try probe(server.listener.endpoint, "--smtp", "--timeout", "1s")
  #expect(verdict.exit == .code(1) && verdict.kind == "silent", "\(verdict.json)")
}

// G-8 forbids it, and some do it all the same: greet everybody, and skip a header if one comes.
@Test("probe of a server to which the header is optional")
func probeOptional() throws {
  let server = try ScriptedServer { socket in
    try socket.write("220 optional.example\r\n")
    var bytes = try socket.next()
    if case .done(_, let consumed) = ProxyHeader.decode(bytes.span) { bytes.removeFirst(consumed) }
    while true {
      while let end = bytes.firstIndex(of: 0x0a) {
        let isQuit = bytes[..<end].elementsEqual("QUIT\r".utf8)
        bytes.removeFirst(end + 1)
        try socket.write(isQuit ? "221 bye\r\n" : "500 \u{1b}[31mwhat?\r\n")
        if isQuit { return }
      }
      let more = try socket.next()
      if more.isEmpty { return }
      bytes += more
    }
  }
  let verdict = try probe(server.listener.endpoint, "--smtp")
  #expect(verdict.exit == .code(0) && verdict.kind == "accepts-header", "\(verdict.json)")
  #expect(verdict.sendProxy == "v2" && verdict.takes("v1") && verdict.takes("local"))
  #expect(verdict.text.contains("let only proxies reach it"))
}

@Test("probe prints no control byte of the server's")
func probeEscapes() throws {
  let server = try ScriptedServer { socket in
    try socket.write("220 \u{1b}[2J\u{7}\u{9b}evil\r\n")
    _ = try socket.next()
  }
  for options in [[], ["--json"]] {
    let result = try SluiceBinary.run(
      ["probe", "\(server.listener.endpoint)", "--smtp", "--timeout", "2s"] + options)
    #expect(result.output.contains("\\x1b[2J\\x07") || result.output.contains("\\\\x1b[2J\\\\x07"))
    #expect(result.output.utf8.allSatisfy { $0 == 0x0a || (0x20..<0x7f).contains($0) })
  }
}

// MARK: decode-proxy

@Test("decode-proxy reads standard input and says by its exit code what it read", arguments: [
  ("0d0a0d0a000d0a515549540a 2111000c c0a80001 c0a8000b dc04 01bb\n", Int32(0), "192.168.0.1"),
  ("PROXY TCP6 ::1 ::2 1 2\r\n", 0, "version 1, 24 bytes"),
  ("PROXY TCP4 1.2.3.4 1.2.3.4 1 70000\r\n", 1, "invalid at byte 33: proxy.bad-port"),
  ("0d0a0d0a 00", 1, "at least 11 more needed"),
])
func decodeProxyCommand(input: String, code: Int32, words: String) throws {
  let result = try ChildProcess.run(SluiceBinary.path, ["decode-proxy"], input: input)
  #expect(result.exit == .code(code), "said: \(result.output)\(result.error)")
  #expect(result.output.contains(words), "said: \(result.output)")
  let json = try ChildProcess.run(SluiceBinary.path, ["decode-proxy", "--json"], input: input)
  #expect(json.exit == .code(code))
  let isValid = try JSONValue(json.output)["status"]?.string == "valid"
  #expect(isValid == (code == 0), "said: \(json.output)")
}
