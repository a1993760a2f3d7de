import TestSupport
import Testing

// A service manager opened the sockets and hands them over (sd_listen_fds(3)). The daemon uses
// them in place of opening its own, all workers accept from one descriptor, and clients that were
// waiting in its queue before the daemon started are served.

private let activator = """
  import os, socket, sys
  family = socket.AF_INET6 if sys.argv[1] == "dual" else socket.AF_INET
  s = socket.socket(family)
  s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
  s.bind(("::" if sys.argv[1] == "dual" else "127.0.0.1", int(sys.argv[2])))
  s.listen(64)
  early = [socket.create_connection(("127.0.0.1", int(sys.argv[2]))) for _ in range(3)]
  for c in early: os.set_inheritable(c.fileno(), False)
  os.dup2(s.detach(), 3)
  os.set_inheritable(3, True)
  if os.fork() == 0:
    os.close(3)
    for c in early: c.settimeout(20); c.sendall(b"early")
    for c in early: assert c.recv(5) == b"early"
    os.write(1, b"served the early ones\\n")
    os._exit(0)
  os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
  os.execv(sys.argv[3], sys.argv[3:])
  """

@Test(
  "inherited listener",
  arguments: ["single", "dual"].flatMap { kind in Engine.eventSources.map { (kind, $0) } })
func inheritedListener(kind: String, engine: Engine) throws {
  let directory = try TemporaryDirectory()
  let server = try ListeningSocket(.loopback(0))
  let bind = Endpoint.loopback(ReservedPort.take())
  var setup = Setup(engine, servers: [server.endpoint], bind: bind)
  setup.workers = 2
  var yaml = setup.yaml(log: directory.file("connections"))
  // ":port" is both wildcards, and the one dual-stack socket stands for both.
  if kind == "dual" { yaml = yaml.replacing("bind: \"\(bind)\"", with: "bind: \":\(bind.port)\"") }
  try writeFile(directory.file("sluice.yaml"), yaml)
  let child = try ChildProcess(
    "python3",
    [
      "-c", activator, kind, "\(bind.port)", SluiceBinary.path, "run", "-c",
      directory.file("sluice.yaml"),
    ])
  try wait(for: "the daemon to serve; it said: \(child.standardError)") {
    child.poll() != nil || child.standardError.contains("serving")
  }
  let pattern = Pattern(seed: 7)
  for _ in 0..<3 {
    let upstream = try server.accept()
    guard case .bytes(let bytes) = try upstream.receive(withinMs: 5000) else {
      throw TestFailure("an early client's bytes did not arrive: \(child.standardError)")
    }
    try upstream.write(bytes)
  }
  for _ in 0..<8 {
    let client = try StreamSocket.connect(to: bind)
    let upstream = try server.accept()
    try client.send(pattern, count: 1000)
    client.finish()
    #expect(try upstream.expect(pattern).count == 1000)
  }
  try wait(for: "the early clients; \(child.standardError)") {
    child.standardOutput.contains("served the early ones")
  }
  child.signal(15)
  #expect(try child.waitForExit(until: .generous) == .code(0))
}
