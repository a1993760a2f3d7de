import TestSupport

/// A daemon whose one listener is a forward proxy. Origins stand on loopback, which its guard makes
/// an exception for.
struct ForwardProxy: Sendable {
  let sluice: SluiceProcess

  static let rules = """
    [{ name: no-social, host: .social.example, action: deny }, { name: all, action: allow }]
    """

  /// - Parameters:
  ///   - settings: further lines of the egress, each as `key: value`.
  ///   - extra: whole lines at the top level.
  init(
    _ engine: Engine = Engine.eventSources[0], rules: String = rules, settings: [String] = [],
    extra: String = "", timeouts: String = "drain: 1s", log: String = "connections"
  ) throws {
    let directory = try TemporaryDirectory()
    let bind = Endpoint.loopback(ReservedPort.take())
    sluice = try SluiceProcess(
      yaml: """
        workers: 1
        events: \(engine.events)
        log: { connections: "\(directory.file("connections"))" }
        timeouts: { \(timeouts) }
        \(extra)
        listeners:
          out: { bind: "\(bind)", type: http-proxy, egress: office }
        egress:
          office:
            rules: \(rules)
            guard: { allow: [127.0.0.1, "::1"] }
            connect-ports: [1-65535]
            ports: [1-65535]
        \(settings.map { "    \($0)\n" }.joined())
        """, in: directory, at: bind)
  }

  func connect() throws -> StreamSocket { try sluice.connect() }

  /// The fields of the log about the only connection so far.
  func record() throws -> JSONValue {
    _ = try sluice.record()
    return try JSONValue(try sluice.lines.records[0])
  }
}

/// The head of a message as it was received, and what its fields say.
struct ReceivedHead: CustomStringConvertible {
  let description: String
  let line: String
  private let fields: [(name: String, value: String)]

  init(_ text: String) throws {
    description = text
    var lines = text.split(separator: "\r\n", omittingEmptySubsequences: false).map(String.init)
    guard lines.count >= 3 else { throw TestFailure("no head: \(text.debugDescription)") }
    line = lines.removeFirst()
    fields = try lines.dropLast(2).map { line in
      guard let colon = line.firstIndex(of: ":") else { throw TestFailure("no field: \(line)") }
      let value = line[line.index(after: colon)...].drop { $0 == " " }
      return (line[..<colon].lowercased(), String(value))
    }
  }

  /// The value of a field that is there once; nil for none.
  subscript(name: String) -> String? {
    let found = fields.filter { $0.name == name }
    return found.count > 1 ? "\(found.count) times" : found.first?.value
  }

  var names: [String] { fields.map(\.name) }
}

extension StreamSocket {
  /// Reads to the empty line, and not a byte further.
  func readHead(until deadline: Deadline = .generous) throws -> ReceivedHead {
    var bytes: [UInt8] = []
    while !bytes.hasSuffix("\r\n\r\n") {
      bytes += try readExactly(1, until: deadline)
      guard bytes.count < 1 << 16 else { throw TestFailure("a head without an end") }
    }
    return try ReceivedHead(String(decoding: bytes, as: UTF8.self))
  }

  func readText(_ count: Int) throws -> String {
    String(decoding: try readExactly(count), as: UTF8.self)
  }

  /// All that comes, up to the FIN.
  func readRest() throws -> String {
    let (bytes, ending) = try readToEnd()
    guard ending == .fin else { throw TestFailure("reset after \(bytes.count) bytes") }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// A tunnel through a forward proxy.
  func openTunnel(to target: String) throws {
    try write("CONNECT \(target) HTTP/1.1\r\nHost: \(target)\r\n\r\n")
    let head = try readHead()
    guard head.line.hasPrefix("HTTP/1.1 200 ") else { throw TestFailure("no tunnel: \(head)") }
  }
}

extension [UInt8] {
  fileprivate func hasSuffix(_ text: String) -> Bool {
    count >= text.utf8.count && suffix(text.utf8.count).elementsEqual(text.utf8)
  }
}
