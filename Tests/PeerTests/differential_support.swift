import TestSupport
import Testing

// What the tests with other implementations share: a daemon between two others, what its log says
// about headers, and the TLVs of a header that it sent.

/// A line of the connection log with what it says about a PROXY header.
struct PeerRecord: Sendable {
  let connection: ConnectionRecord
  let fields: JSONValue

  init(line: String) throws {
    connection = try ConnectionRecord(line: line)
    fields = try JSONValue(line)
  }

  var client: String { connection.client }
  var peer: String? { fields["peer"]?.string }
  var header: String? { fields["header"]?.string }
  /// The types of the inbound TLVs, in hexadecimal.
  var tlvs: String? { fields["tlvs"]?.string }
  var peerID: String? { fields["peer_id"]?.string }
  /// What the ClientHello says, where one was read.
  var sni: String? { fields["sni"]?.string }
  var alpn: String? { fields["alpn"]?.string }
  var offersECH: Bool? { fields["ech"]?.boolean }
  /// Only lines of connections that a rule took have it.
  var rule: String? { fields["rule"]?.string }
}

/// A daemon with one listener and one backend; the settings are YAML flow fragments.
final class BetweenPeers: Sendable {
  let sluice: SluiceProcess
  private let log: String

  init(
    servers: [Endpoint], host: String, top: String = "", type: String = "server-first",
    listener: String = "", backend: String = "send-proxy: v2"
  ) throws {
    let directory = try TemporaryDirectory()
    let bind = Endpoint.inet(host, ReservedPort.take())
    let list = servers.map { "\"\($0)\"" }.joined(separator: ", ")
    let listener = listener.isEmpty ? "" : ", \(listener)"
    log = directory.file("connections")
    sluice = try SluiceProcess(
      yaml: """
        workers: 1
        log: { connections: "\(log)" }
        \(top)
        listeners:
          front: { bind: "\(bind)", type: \(type), backend: back\(listener) }
        backends: { back: { servers: [\(list)], \(backend) } }

        """, in: directory, at: bind)
  }

  var endpoint: Endpoint { sluice.endpoint }

  var records: [PeerRecord] {
    get throws {
      try contents(of: log).split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        .map { try PeerRecord(line: String($0)) }
    }
  }

  /// Waits until so many connections have ended.
  func records(_ count: Int) throws -> [PeerRecord] {
    _ = try sluice.records(count)
    return try records
  }
}

/// The values of a received version 2 header's TLVs by type, read by code of the tests' own.
func tlvs(of header: [UInt8]) throws -> [UInt8: [UInt8]] {
  let length = try ReceivedProxyHeader(header).length
  return try tlvs(in: header[(header[13] == 0x21 ? 52 : 28)..<length])
}

/// The same for any area of TLVs, such as the one inside an SSL TLV.
func tlvs(in area: ArraySlice<UInt8>) throws -> [UInt8: [UInt8]] {
  var found: [UInt8: [UInt8]] = [:]
  var rest = area
  while rest.count >= 3 {
    let head = Array(rest.prefix(3))
    let size = Int(head[1]) << 8 | Int(head[2])
    guard rest.count >= 3 + size else { break }
    let isSecond = found.updateValue(Array(rest.dropFirst(3).prefix(size)), forKey: head[0]) != nil
    if isSecond { throw TestFailure("type \(head[0]) twice in \(area)") }
    rest = rest.dropFirst(3 + size)
  }
  guard rest.isEmpty else { throw TestFailure("no TLVs: \(area)") }
  return found
}

func text(_ bytes: [UInt8]?) -> String? { bytes.map { String(decoding: $0, as: UTF8.self) } }

/// A running HAProxy.
func startHAProxy(_ configuration: String, in directory: TemporaryDirectory, at: Endpoint) throws
  -> ChildProcess
{
  try require(["haproxy": "haproxy"])
  try writeFile(
    directory.file("haproxy.cfg"),
    """
    global
      log stdout format raw local0
    defaults
      mode tcp
      log global
      timeout client 20s
      timeout connect 5s
      timeout server 20s
    \(configuration)

    """)
  let child = try ChildProcess("/usr/sbin/haproxy", ["-db", "-f", directory.file("haproxy.cfg")])
  try waitUntilServing(at, child)
  return child
}

/// A running nginx whose `stream` block has these lines.
func startNginx(_ stream: String, in directory: TemporaryDirectory, at: Endpoint) throws
  -> ChildProcess
{
  try require(["nginx": "nginx", "ngx_stream_module.so": "libnginx-mod-stream"])
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
    \(stream)
    }

    """)
  let child = try ChildProcess(
    "/usr/sbin/nginx", ["-p", directory.path, "-c", directory.file("nginx.conf")])
  try waitUntilServing(at, child)
  return child
}

/// Waits until a program listens, without connecting: what comes first must be the test's own.
func waitUntilServing(_ endpoint: Endpoint, _ child: ChildProcess) throws {
  let port = String(endpoint.port, radix: 16, uppercase: true)
  let local = ":\(String(repeating: "0", count: 4 - port.count))\(port) "
  let table = endpoint.host.contains(":") ? "/proc/net/tcp6" : "/proc/net/tcp"
  try wait(for: "\(child.command) to listen: \(child.standardError)") {
    if let exit = child.poll() {
      throw TestFailure(
        "\(child.command) ended with \(exit): \(child.standardError)\(child.standardOutput)")
    }
    // State 0A is LISTEN; proc(5).
    return contents(of: table).split(separator: "\n").contains { line in
      let fields = line.split(separator: " ")
      return fields.count > 3 && "\(fields[1]) ".hasSuffix(local) && fields[3] == "0A"
    }
  }
}
