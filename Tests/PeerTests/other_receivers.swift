import TestSupport
import Testing

// Other programs that take PROXY headers read ours the same way: HAProxy (`accept-proxy`) and nginx
// (`listen … proxy_protocol`) each tell the client which address and port they believe it has.

private func askForAddress(
  _ path: Path, through receiver: Endpoint, request: String
) throws -> (answer: String, client: Endpoint, local: Endpoint) {
  var setup = Setup(
    Engine(events: "auto", splice: "auto"), servers: [receiver],
    bind: .inet(path.host, ReservedPort.take()))
  setup.listener = "type: server-first"
  setup.backend = "send-proxy: v\(path.version)"
  var result: (String, Endpoint, Endpoint)?
  try withSluice(setup) { sluice in
    let client = try sluice.connect(from: path.source)
    if !request.isEmpty { try client.write(request) }
    let answer = try client.readToEnd()
    #expect(answer.ending == .fin)
    result = (String(decoding: answer.bytes, as: UTF8.self), client.local, client.remote)
    client.close()
    _ = try sluice.record()
  }
  return try #require(result)
}

private func waitUntilListening(_ endpoint: Endpoint, _ child: ChildProcess) throws {
  try wait(for: "\(child.command) to listen: \(child.standardError)") {
    if let exit = child.poll() {
      throw TestFailure("\(child.command) ended with \(exit): \(child.standardError)")
    }
    return (try? StreamSocket.connect(to: endpoint)) != nil
  }
}

@Test("HAProxy as receiver", arguments: Path.all)
func haproxy(path: Path) throws {
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
      bind \(receiver) accept-proxy
      http-request return status 200 content-type text/plain lf-string "%ci %cp %fi %fp\\n"

    """)
  let haproxy = try ChildProcess("/usr/sbin/haproxy", ["-db", "-f", directory.file("haproxy.cfg")])
  try waitUntilListening(receiver, haproxy)
  let seen = try askForAddress(
    path, through: receiver, request: "GET / HTTP/1.0\r\nConnection: close\r\n\r\n")
  let wanted =
    "\(seen.client.host) \(seen.client.port) \(seen.local.host) \(seen.local.port)\n"
  #expect(seen.answer.hasSuffix("\r\n\r\n\(wanted)"), "HAProxy said: \(seen.answer)")
}

@Test("nginx stream as receiver", arguments: Path.all)
func nginx(path: Path) throws {
  try require([
    "nginx": "nginx", "ngx_stream_module.so": "libnginx-mod-stream",
  ])
  let directory = try TemporaryDirectory()
  let receiver = Endpoint.loopback(ReservedPort.take())
  let log = directory.file("access.log")
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
      log_format addresses "$proxy_protocol_addr:$proxy_protocol_port";
      access_log \(log) addresses;
      server {
        listen \(receiver) proxy_protocol;
        set $client "$proxy_protocol_addr $proxy_protocol_port";
        return "$client $proxy_protocol_server_addr $proxy_protocol_server_port\\n";
      }
    }

    """)
  let nginx = try ChildProcess(
    "/usr/sbin/nginx", ["-p", directory.path, "-c", directory.file("nginx.conf")])
  try waitUntilListening(receiver, nginx)
  let seen = try askForAddress(path, through: receiver, request: "")
  #expect(
    seen.answer
      == "\(seen.client.host) \(seen.client.port) \(seen.local.host) \(seen.local.port)\n")
  // nginx writes its log when the connection ends.
  let line = "\(seen.client.host):\(seen.client.port)\n"
  try wait(for: "\(line) in nginx's log: \(contents(of: log))") {
    contents(of: log).contains(line)
  }
}
