internal import AdminAPI
internal import FoundationEssentials
internal import System
internal import Wire

/// Talks to a running server over its admin socket: plain blocking calls with deadlines, one
/// connection each, for a command that does one thing.
struct AdminClient {
  enum Fault: Error {
    /// Nobody answers behind the socket; a sentence.
    case unreachable(String)
    /// The kernel does not let this user connect.
    case denied(String)
    /// What answered broke off or is no Sluice.
    case broken(String)
    /// The server's own answer.
    case failure(Failure)
  }

  let path: String

  private static let connectMs: UInt32 = 2000
  /// Operations may wait a second for each worker that is silent.
  static let answerMs: UInt64 = 30_000

  /// One request and its whole answer.
  ///
  /// - Parameter waitingAtMostMs: from the connection to the last byte.
  func call(
    _ method: String, _ target: String, body: [UInt8] = [],
    waitingAtMostMs: UInt64 = AdminClient.answerMs
  ) throws(Fault) -> [UInt8] {
    let connection = try Connection(path)
    try connection.send(request(method, target, body))
    var reply = HTTPReply()
    let deadlineNs = Clock.monotonicNs + waitingAtMostMs * 1_000_000
    while !reply.isComplete { try connection.receive(into: &reply, untilNs: deadlineNs) }
    let bytes = reply.takeBody()
    try AdminClient.refuseFailure(reply.status, bytes)
    return bytes
  }

  /// The lines of an answer without an end, one by one, until `onLine` returns false.
  ///
  /// - Parameter silenceMs: how long there may be no line.
  /// - Throws: `broken` when the server ends it.
  func follow(
    _ target: String, silenceMs: UInt64, _ onLine: (ArraySlice<UInt8>) -> Bool
  ) throws(Fault) {
    let connection = try Connection(path)
    try connection.send(request("GET", target, []))
    var reply = HTTPReply()
    var rest: [UInt8] = []
    while true {
      try connection.receive(into: &reply, untilNs: Clock.monotonicNs + silenceMs * 1_000_000)
      rest += reply.takeBody()
      if reply.status == 200 {
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
          guard onLine(rest[..<end]) else { return }
          rest.removeSubrange(...end)
        }
        guard rest.count <= HTTPReply.headMax else { throw .broken("the answer is too long") }
      }
      guard reply.isComplete else { continue }
      try AdminClient.refuseFailure(reply.status, rest)
      throw .broken("the server has ended")
    }
  }

  private static func refuseFailure(_ status: Int, _ body: [UInt8]) throws(Fault) {
    guard !(200...299).contains(status) else { return }
    guard let failure = try? JSONDecoder().decode(Failure.self, from: Data(body)) else {
      throw .broken("the server answers with status \(status)")
    }
    throw .failure(failure)
  }

  private func request(_ method: String, _ target: String, _ body: [UInt8]) -> [UInt8] {
    var text = "\(method) \(target) HTTP/1.1\r\nhost: sluice\r\nconnection: close\r\n"
    if method == "POST" {
      text += "content-type: application/json\r\ncontent-length: \(body.count)\r\n"
    }
    return Array((text + "\r\n").utf8) + body
  }

  /// A connected socket.
  private struct Connection: ~Copyable {
    private let socket: Descriptor
    private let path: String

    init(_ path: String) throws(Fault) {
      self.path = path
      socket = try Connection.connect(path)
    }

    private static func connect(_ path: String) throws(Fault) -> Descriptor {
      let deadlineNs = Clock.monotonicNs + UInt64(AdminClient.connectMs) * 1_000_000
      while true {
        do throws(SystemError) {
          return try Sockets.connect(to: .unix(path: path), timeoutMs: AdminClient.connectMs)
        } catch {
          // The queue of callers is full; a Unix socket does not wait by itself. connect(2)
          guard error.code == .tryAgain, Clock.monotonicNs < deadlineNs else {
            throw AdminClient.fault(connecting: path, error.code)
          }
          Thread.sleep(ms: 20)
        }
      }
    }

    func send(_ bytes: [UInt8]) throws(Fault) {
      do throws(SystemError) {
        try Sockets.sendAll(bytes.span, over: socket)
      } catch {
        // Refused before it was read; what was said instead may be there.
        guard error.code == .brokenPipe || error.code == .reset else {
          throw .broken("\(path): \(error)")
        }
      }
    }

    /// Waits for bytes or the end.
    func receive(into reply: inout HTTPReply, untilNs deadlineNs: UInt64) throws(Fault) {
      let nowNs = Clock.monotonicNs
      guard nowNs < deadlineNs else { throw .broken("no answer in time") }
      let waitMs = Int32(clamping: (deadlineNs - nowNs) / 1_000_000 + 1)
      var bytes: [UInt8] = []
      let count: Int
      do throws(SystemError) {
        guard try !Readiness.reading(socket.number, waitingAtMostMs: waitMs).isEmpty else {
          return
        }
        count = try socket.read(atMost: 64 << 10, appendingTo: &bytes)
      } catch {
        throw .broken("the server broke the connection: \(error)")
      }
      do throws(HTTPReply.Fault) {
        if count == 0 { try reply.end() } else { try reply.feed(bytes) }
      } catch {
        switch error {
        case .malformed where count == 0: throw .broken("the server broke the connection")
        case .malformed: throw .broken("what answers at \(path) is no admin socket")
        case .tooLong: throw .broken("the answer is too long")
        }
      }
    }
  }

  private static func fault(connecting path: String, _ code: SystemError.Code) -> Fault {
    switch code {
    case .noEntry:
      return .unreachable(
        "there is no socket at \(path); is the server running, with `admin` in its configuration? "
          + "--socket or SLUICE_ADMIN name another")
    case .refused:
      return .unreachable("nobody serves \(path); the server has ended")
    case .accessDenied, .notPermitted:
      return .denied("this user may not connect to \(path); see admin.mode and admin.group")
    case .tryAgain:
      return .unreachable("too many callers wait at \(path)")
    default:
      return .unreachable("\(path): \(code)")
    }
  }
}
