/// One line of the connection log. Reading it is strict: an ill-typed field is a failure, as is a
/// missing one that every line has.
package struct ConnectionRecord: Sendable {
  package let time: String
  package let id: String
  package let listener: String
  package let client: String
  package let local: String
  package let backend: String?
  package let server: String?
  package let tries: Int
  package let bytesUp: Int
  package let bytesDown: Int
  package let splicedUp: Int
  package let splicedDown: Int
  package let connectMs: Double
  package let firstByteMs: Double
  package let durationMs: Double
  package let halfClosedMs: Double
  /// Round trips as the kernel measured them; nil where nobody asked.
  package let clientRttMs: Double?
  package let upstreamRttMs: Double?
  /// Who ended it first and how: `client.fin`, `upstream.rst`, `deadline.idle` and so on.
  package let end: String
  /// Why a connection was rejected; nil for one that was served.
  package let reason: String?

  package init(line: String) throws {
    let object = try JSONValue(line)
    func text(_ key: String) throws -> String {
      guard let value = object[key]?.string else {
        throw TestFailure("no text \"\(key)\" in \(line)")
      }
      return value
    }
    func optionalText(_ key: String) throws -> String? {
      object[key] == nil ? nil : try text(key)
    }
    func number(_ key: String) throws -> Double {
      guard let value = object[key]?.number, value >= 0 else {
        throw TestFailure("no number \"\(key)\" in \(line)")
      }
      return value
    }
    func integer(_ key: String) throws -> Int {
      guard let value = Int(exactly: try number(key)) else {
        throw TestFailure("\"\(key)\" is no integer in \(line)")
      }
      return value
    }
    time = try text("time")
    id = try text("id")
    listener = try text("listener")
    // A client that left before it was asked has no address.
    client = try optionalText("client") ?? ""
    local = try optionalText("local") ?? ""
    backend = try optionalText("backend")
    server = try optionalText("server")
    tries = try integer("tries")
    bytesUp = try integer("bytes_up")
    bytesDown = try integer("bytes_down")
    splicedUp = try integer("spliced_up")
    splicedDown = try integer("spliced_down")
    connectMs = try number("connect_ms")
    firstByteMs = try number("first_byte_ms")
    durationMs = try number("duration_ms")
    halfClosedMs = try number("half_closed_ms")
    clientRttMs = object["client_rtt_ms"] == nil ? nil : try number("client_rtt_ms")
    upstreamRttMs = object["upstream_rtt_ms"] == nil ? nil : try number("upstream_rtt_ms")
    end = try text("end")
    reason = try optionalText("reason")
    guard id.utf8.count == 26, time.utf8.count == 24, time.hasSuffix("Z") else {
      throw TestFailure("malformed id or time in \(line)")
    }
  }
}
