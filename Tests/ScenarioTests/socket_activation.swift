import Glibc
import TestSupport
import Testing

// Sockets handed over by name (LISTEN_FDNAMES, sd_listen_fds_with_names(3)): systemd chooses the
// address, the name says which listener it is. systemd-socket-activate(1) stands in for systemd; it
// needs neither systemd as process 1 nor a unit.

private func yaml(_ server: Endpoint, _ log: String, front: String, other: String) -> String {
  """
  workers: 2
  log: { connections: "\(log)" }
  timeouts: { drain: 5s }
  listeners:
    front: { bind: "\(front)", type: server-first, backend: back }
    other: { bind: "\(other)", type: server-first, backend: back }
  backends: { back: { servers: ["\(server)"] } }
  """
}

@Test("systemd-socket-activate hands over a socket by name, at an address of its own")
func activatedByName() throws {
  let directory = try TemporaryDirectory()
  let server = try ListeningSocket()
  let chosen = Endpoint.loopback(ReservedPort.take())
  let configured = Endpoint.loopback(ReservedPort.take())
  let other = Endpoint.loopback(ReservedPort.take())
  let file = directory.file("sluice.yaml")
  try writeFile(
    file,
    yaml(server.endpoint, directory.file("log"), front: "\(configured)", other: "\(other)"))
  let child = try ChildProcess(
    "systemd-socket-activate",
    ["-l", "\(chosen)", "--fdname=front", SluiceBinary.path, "run", "-c", file])
  try wait(for: "the socket: \(child.standardError)") {
    child.standardError.contains("Listening on")
  }
  // It starts the program when the first client is there; that client is served like any other.
  for _ in 0..<3 {
    let client = try StreamSocket.connect(to: chosen)
    let upstream = try server.accept()
    try upstream.write(Array("hello".utf8))
    upstream.close()
    #expect(try client.readToEnd().ending == .fin)
  }
  let said = child.standardError
  #expect(said.contains("listener front: \(chosen), handed over under its name, instead of"))
  #expect(!said.contains("warning") && !said.contains("belongs to no listener"), "said: \(said)")
  // The other listener is opened as ever; the configured address of the first one is not.
  #expect(throws: StreamSocket.ConnectFailure.self) {
    _ = try StreamSocket.connect(to: configured)
  }
  let client = try StreamSocket.connect(to: other)
  try server.accept().close()
  #expect(try client.readToEnd().ending == .fin)
  child.signal(SIGTERM)
  #expect(try child.waitForExit() == .code(0))
  let log = contents(of: directory.file("log"))
  #expect(log.split(separator: "\n").count { $0.contains("\"listener\":\"front\"") } == 3)
}

private let activator = """
  import os, socket, sys
  streams = [socket.create_server(("127.0.0.1", int(port))) for port in sys.argv[2:4]]
  datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
  handed = streams + [datagrams]
  copies = [os.dup2(s.fileno(), 20 + i) for i, s in enumerate(handed)]
  for s in handed: s.close()
  for i, copy in enumerate(copies): os.dup2(copy, 3 + i, inheritable=True); os.close(copy)
  os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="3", LISTEN_FDNAMES=sys.argv[1])
  os.execv(sys.argv[4], sys.argv[4:])
  """

private func activate(
  names: String, _ ports: [UInt16], front: String, server: Endpoint,
  in directory: TemporaryDirectory
) throws -> ChildProcess {
  let file = directory.file("sluice.yaml")
  let other = "127.0.0.1:\(ReservedPort.take())"
  try writeFile(file, yaml(server, directory.file("log"), front: front, other: other))
  let child = try ChildProcess(
    "python3",
    ["-c", activator, names] + ports.map { "\($0)" } + [SluiceBinary.path, "run", "-c", file])
  try wait(for: "the daemon; it said: \(child.standardError)") {
    child.poll() != nil || child.standardError.contains("serving")
  }
  return child
}

@Test("sockets that belong to no listener are named, and what is no listening socket too")
func activatedForNobody() throws {
  let directory = try TemporaryDirectory()
  let server = try ListeningSocket()
  let ports = [ReservedPort.take(), ReservedPort.take()]
  let child = try activate(
    names: "front:fornt:dns", ports, front: "127.0.0.1:\(ports[0])", server: server.endpoint,
    in: directory)
  let said = child.standardError
  #expect(
    said.contains("descriptor 4 (\"fornt\"), 127.0.0.1:\(ports[1]), was handed over and belongs"))
  #expect(said.contains("descriptor 5 (\"dns\") was handed over, but is no listening stream"))
  // The same address as the file's: nothing to remark on.
  #expect(!said.contains("instead of"), "said: \(said)")
  let client = try StreamSocket.connect(to: .loopback(ports[0]))
  try server.accept().close()
  #expect(try client.readToEnd().ending == .fin)
  child.signal(SIGTERM)
  #expect(try child.waitForExit() == .code(0))
}

@Test("a socket under one listener's name at the address of another is an error")
func activatedForAnother() throws {
  let directory = try TemporaryDirectory()
  let ports = [ReservedPort.take(), ReservedPort.take()]
  let child = try activate(
    names: "other:unused:dns", ports, front: "127.0.0.1:\(ports[0])", server: .loopback(9),
    in: directory)
  #expect(try child.waitForExit() == .code(1))
  #expect(
    child.standardError.contains(
      "listener front: 127.0.0.1:\(ports[0]) was handed over under the name of another listener"),
    "said: \(child.standardError)")
}
