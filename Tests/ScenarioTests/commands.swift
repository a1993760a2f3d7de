import Glibc
import TestSupport
import Testing

// What a person at a terminal meets: `check` says what the file means or where it is wrong, `run`
// says in one sentence why it can't run, `version` says which version this is.

private func check(_ yaml: String) throws -> (
  exit: ChildProcess.Exit, output: String, error: String, file: String
) {
  let directory = try TemporaryDirectory()
  let file = directory.file("sluice.yaml")
  try writeFile(file, yaml)
  let result = try SluiceBinary.run(["check", "-c", file])
  return (result.exit, result.output, result.error, file)
}

@Test("check prints the plan")
func checkPrintsThePlan() throws {
  let result = try check(
    """
    listeners:
      smtp: { bind: ["127.0.0.1:2525", "[::1]:2525"], type: server-first, backend: postfix }
    backends:
      postfix: { servers: ["127.0.0.1:10025"], send-proxy: v2 }
    """)
  #expect(result.exit == .code(0), "said: \(result.error)")
  for word in ["smtp", "127.0.0.1:2525", "[::1]:2525", "postfix", "127.0.0.1:10025"] {
    #expect(result.output.contains(word), "no \(word) in: \(result.output)")
  }
}

@Test("check says who seals TLS")
func checkSaysWhoSeals() throws {
  let result = try check(
    """
    listeners: { front: { bind: "127.0.0.1:2525", backend: back } }
    backends: { back: { servers: ["127.0.0.1:10025"], tls: { verify: off } } }
    """)
  #expect(result.exit == .code(0), "said: \(result.error)")
  // As the kernel itself says, now that it was asked.
  let hasTLS = contents(of: "/proc/sys/net/ipv4/tcp_available_ulp").contains("tls")
  let expected = hasTLS ? "in bulk is sealed by the kernel\n" : "modprobe tls"
  #expect(result.output.contains(expected), "said: \(result.output)")
}

@Test("check names every error and its place")
func checkNamesEveryError() throws {
  let result = try check(
    """
    timeouts: { idel: 5m }
    listeners:
      smtp: { bind: "127.0.0.1:99999", backend: postfix }
      imap: { bind: "127.0.0.1:2143", backend: dovcot }
    backends:
      dovecot: { servers: ["127.0.0.1:10143"], send-proxy: v3 }
    """)
  #expect(result.exit == .code(1))
  let lines = result.error.split(separator: "\n").map(String.init)
  func line(_ place: String, _ words: String...) {
    #expect(
      lines.contains { line in
        line.hasPrefix("\(result.file):\(place): ") && words.allSatisfy(line.contains)
      }, "no error at \(place) with \(words) in: \(result.error)")
  }
  line("1:13", "idel", "idle")
  line("3:17", "99999")
  line("3:45", "postfix")
  line("4:44", "dovcot", "dovecot")
  line("6:56", "v3")
}

@Test("a file that can't be read is an error")
func checkMissingFile() throws {
  let result = try SluiceBinary.run(["check", "-c", "/tmp/sluice-test-no-such-file.yaml"])
  #expect(result.exit == .code(1))
  #expect(result.error.contains("/tmp/sluice-test-no-such-file.yaml"))
  #expect(result.error.split(separator: "\n").count == 1)
}

@Test("version")
func version() throws {
  let result = try SluiceBinary.run(["version"])
  #expect(result.exit == .code(0))
  #expect(result.output.contains { $0.isNumber })
}

@Test("the same address twice in one file")
func duplicateBindInFile() throws {
  let result = try check(
    """
    listeners:
      one: { bind: "127.0.0.1:2525", backend: back }
      two: { bind: "127.0.0.1:2525", backend: back }
    backends: { back: { servers: ["127.0.0.1:1"] } }
    """)
  #expect(result.exit == .code(1))
  #expect(result.error.contains("\(result.file):3:"))
  #expect(result.error.contains("127.0.0.1:2525"))
}

// What is only found out when somebody needs it: a role whose holder the kernel keeps out.
@Test("a role that could not connect")
func roleThatCouldNotConnect() throws {
  let directory = try TemporaryDirectory()
  func errors(_ admin: String) throws -> [String] {
    let result = try check(
      """
      admin: { socket: "\(directory.file("admin"))", \(admin) }
      listeners: { smtp: { bind: "127.0.0.1:2525", backend: back } }
      backends: { back: { servers: ["127.0.0.1:1"] } }
      """)
    let errors = result.error.split(separator: "\n").map(String.init).filter {
      !$0.contains(": warning: ")
    }
    #expect(result.exit == .code(errors.isEmpty ? 0 : 1))
    return errors
  }
  #expect(try errors("mode: \"0666\", view: [daemon]") == [])
  let closed = try errors("mode: \"0660\", operate: [root], view: [daemon, nobody-there]")
  #expect(closed.count == 2, "\(closed)")
  #expect(closed.first?.contains("admin.view: there is no user nobody-there") == true)
  #expect(closed.last?.contains("admin.view: daemon cannot connect: the socket would") == true)
}

// Whoever edits the file of a running server checks it before the reload.
@Test("check beside the running server")
func checkBesideTheRunningServer() throws {
  let front = Endpoint.loopback(ReservedPort.take())
  let yaml = """
    listeners: { front: { bind: "\(front)", backend: back } }
    backends: { back: { servers: ["127.0.0.1:1"] } }
    """
  try withReloadedSluice(Engine.eventSources[0], yaml, at: front) { sluice in
    let own = try SluiceBinary.run(["check", "-c", sluice.configuration])
    #expect(own.exit == .code(0), "said: \(own.error)")
    // For anybody else the address is taken.
    let other = try check(yaml)
    #expect(other.exit == .code(1) && other.error.contains("\(front) is in use"))
    #expect(try SluiceBinary.run(["run", "-c", sluice.configuration]).exit == .code(1))
  }
}

/// `run` with this set-up must end by itself with code 1 and one sentence.
private func runRefused(_ setup: Setup) throws -> String {
  let directory = try TemporaryDirectory()
  try writeFile(directory.file("sluice.yaml"), setup.yaml(log: directory.file("connections")))
  let (exit, _, said) = try SluiceBinary.run(
    ["run", "-c", directory.file("sluice.yaml")], limits: setup.limits)
  #expect(exit == .code(1), "said: \(said)")
  #expect(said.split(separator: "\n").count == 1, "said: \(said)")
  #expect(!said.contains("serving"))
  return said
}

// Without a check for it, SO_REUSEPORT would let a second instance of the same user take part of
// the first one's clients, silently.
@Test("another instance is already listening", arguments: Engine.eventSources)
func duplicateInstance(engine: Engine) throws {
  let setup = Setup(engine, servers: [.loopback(ReservedPort.take())])
  try withSluice(setup) { sluice in
    let said = try runRefused(setup)
    #expect(said.contains("\(sluice.endpoint)"))
  }
}

@Test(
  "a port below 1024 without the capability",
  .enabled(
    if: contents(of: "/proc/sys/net/ipv4/ip_unprivileged_port_start").hasPrefix("1024"),
    "the kernel lets everyone bind low ports here"))
func lowPort() throws {
  var setup = Setup(
    Engine.eventSources[0], servers: [.loopback(ReservedPort.take())], bind: .loopback(811))
  setup.limits.dropBindService = true
  let said = try runRefused(setup)
  #expect(said.contains("811") && said.contains("CAP_NET_BIND_SERVICE"), "said: \(said)")
}

@Test("too few descriptors")
func tooFewDescriptors() throws {
  var setup = Setup(Engine.eventSources[0], servers: [.loopback(ReservedPort.take())])
  setup.limits.descriptors = 70
  let said = try runRefused(setup)
  #expect(said.contains("descriptor") || said.contains("nofile"), "said: \(said)")
}

@Test("a congestion control that the kernel doesn't have", arguments: [true, false])
func unknownCongestionControl(ofListener: Bool) throws {
  var setup = Setup(Engine.eventSources[0], servers: [.loopback(ReservedPort.take())])
  setup.extra = "limits: { max-connections: 100 }"
  if ofListener {
    setup.listener = "congestion: no-such-control"
  } else {
    setup.backend = "congestion: no-such-control"
  }
  #expect(try runRefused(setup).contains("no-such-control"))
  let checked = try check(setup.yaml(log: "off"))
  #expect(checked.exit == .code(1) && checked.error.contains("no-such-control"))
}

// Nothing to configure: the demo's server says hello to the address it learnt from the header.
@Test("demo")
func demo() throws {
  let port = ReservedPort.take()
  let demo = try ChildProcess(SluiceBinary.path, ["demo", "--bind", "127.0.0.1:\(port)"])
  try wait(for: "the demo to serve: \(demo.standardError)") {
    demo.poll() != nil || demo.standardError.contains("serving")
  }
  let client = try StreamSocket.connect(to: .loopback(port), from: "127.0.0.3")
  guard case .bytes(let greeting) = try client.receive(atMost: 4096) else {
    throw TestFailure("no greeting: \(demo.standardError)")
  }
  #expect(String(decoding: greeting, as: UTF8.self).contains("\(client.local)"))
  client.close()
  demo.signal(SIGTERM)
  #expect(try demo.waitForExit() == .code(0))
}

// The log goes to standard output unless told otherwise, one line of JSON per connection.
@Test("connection log on standard output")
func logOnStandardOutput() throws {
  let server = try ListeningSocket()
  let port = ReservedPort.take()
  let directory = try TemporaryDirectory()
  let sluice = try SluiceProcess(
    yaml: """
      listeners: { front: { bind: "127.0.0.1:\(port)", type: server-first, backend: back } }
      backends: { back: { servers: ["\(server.endpoint)"] } }
      """, in: directory, at: .loopback(port))
  let client = try sluice.connect()
  try server.accept().close()
  _ = try client.readToEnd()
  client.close()
  try wait(for: "a line on standard output") { sluice.child.standardOutput.hasSuffix("\n") }
  let lines = sluice.child.standardOutput.split(separator: "\n")
  #expect(lines.count == 1)
  #expect(try ConnectionRecord(line: String(lines[0])).end == "upstream.fin")
  try sluice.stop()
}
