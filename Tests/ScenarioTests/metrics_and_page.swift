import Glibc
import TestSupport
import Testing

// Metrics and the live page of a running server: what clients did is in them, by listener, backend,
// server and reason, while connections live and after they are over; promtool has no complaint; a
// reload goes on counting, and takes other settings of the page.

@Test("metrics and page of a running server", arguments: Engine.eventSources)
func metricsAndPage(engine: Engine) throws {
  let server = try ListeningSocket()
  let page = ReservedPort.take()
  let directory = try TemporaryDirectory()
  let bind = Endpoint.loopback(ReservedPort.take())
  var setup = Setup(engine, servers: [server.endpoint], bind: bind)
  setup.workers = 2
  setup.extra = "metrics: { bind: \"127.0.0.1:\(page)\" }"
  let sluice = try SluiceProcess(
    yaml: setup.yaml(log: directory.file("log")), in: directory, at: bind)

  // Three that end, and one that lives.
  for _ in 0..<3 { try exchange(sluice, server, close: true) }
  let (client, upstream) = try exchange(sluice, server, close: false)
  try wait(for: "the counts") {
    try metrics(page).contains(#"sluice_listener_ends_total{listener="front",end="client.fin"} 3"#)
  }
  let text = try metrics(page)
  for line in [
    #"sluice_listener_accepted_total{listener="front"} 4"#,
    #"sluice_listener_connections{listener="front"} 1"#,
    #"sluice_listener_bytes_total{listener="front",direction="up"} 20"#,
    #"sluice_listener_bytes_total{listener="front",direction="down"} 24"#,
    #"sluice_backend_dials_total{backend="back"} 4"#,
    #"sluice_server_connections{backend="back",server="\#(server.endpoint)"} 1"#,
    #"sluice_server_up{backend="back",server="\#(server.endpoint)"} 1"#,
    #"sluice_listener_duration_seconds_count{listener="front"} 3"#,
    #"sluice_backend_connect_seconds_count{backend="back"} 3"#,
    #"sluice_worker_up{worker="1"} 1"#, #"sluice_log_dropped_total 0"#,
  ] { #expect(text.contains("\n\(line)\n"), "\(line)") }
  let checked = try ChildProcess.run("promtool", ["check", "metrics"], input: text)
  #expect(checked.exit == .code(0) && checked.output + checked.error == "")

  let data = try JSONValue(httpGet(page, "/page/data.json").body)
  #expect(data["server"]?["connections"]?.number == 1)
  guard case .array(let clients)? = data["topClients"] else { throw TestFailure("no clients") }
  #expect(clients.map { $0["address"]?.string } == ["127.0.0.1"])
  #expect(clients.first?["connections"]?.number == 3)
  #expect(try httpGet(page, "/").body.contains("<title>Sluice</title>"))
  #expect(try httpGet(page, "/", host: "evil.example").head.hasPrefix("HTTP/1.1 421 "))

  // Other settings, the same names: counting goes on, and the page is gone.
  setup.extra = "metrics: { bind: \"127.0.0.1:\(page)\", page: false }"
  try writeFile(directory.file("sluice.yaml"), setup.yaml(log: directory.file("log")))
  sluice.child.signal(SIGHUP)
  try wait(for: "the reload") {
    try metrics(page).contains("sluice_reloads_total{outcome=\"applied\"} 1\n")
  }
  #expect(try httpGet(page, "/").head.hasPrefix("HTTP/1.1 404 "))
  #expect(try metrics(page).contains(#"sluice_listener_accepted_total{listener="front"} 4"#))
  client.close()
  upstream.close()
  try sluice.stop()
}

@discardableResult
private func exchange(
  _ sluice: SluiceProcess, _ server: ListeningSocket, close: Bool
) throws -> (StreamSocket, StreamSocket) {
  let client = try sluice.connect()
  let upstream = try server.accept()
  try client.write("query")
  _ = try upstream.readExactly(5)
  try upstream.write("answer")
  _ = try client.readExactly(6)
  if close {
    client.close()
    // Or it may be seen to end first.
    _ = try upstream.readToEnd()
    upstream.close()
  }
  return (client, upstream)
}

private func metrics(_ port: UInt16) throws -> String { try httpGet(port, "/metrics").body }

/// One request, and the whole answer.
func httpGet(
  _ port: UInt16, _ path: String, host: String = "localhost"
) throws -> (head: String, body: String) {
  let socket = try StreamSocket.connect(to: .loopback(port))
  defer { socket.close() }
  try socket.write("GET \(path) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n")
  let answer = Array(try socket.readToEnd().bytes)
  for end in answer.indices.dropLast(3)
  where Array(answer[end..<end + 4]) == Array("\r\n\r\n".utf8) {
    return (
      String(decoding: answer[..<end], as: UTF8.self),
      String(decoding: answer[(end + 4)...], as: UTF8.self)
    )
  }
  throw TestFailure("no answer from \(path)")
}
