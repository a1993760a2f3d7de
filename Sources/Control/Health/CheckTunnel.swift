internal import DataPlane
internal import Routing
internal import Wire

/// The ways to a server that is checked through a parent, as its connections go.
struct CheckTunnel: Hashable, Sendable {
  /// One address of one parent.
  struct Way: Hashable, Sendable {
    /// As logs name it.
    let name: String
    let address: SocketAddress
    /// Nil speaks plainly with it.
    let transport: CheckTransport?
    /// What asks it for the tunnel.
    let request: [UInt8]
  }

  /// In the order in which they are tried.
  let ways: [Way]
}

/// What is asked of a parent, until it has answered.
struct CheckAsking {
  private var heard: [UInt8] = []
  private var scan = HTTPHeadScan()

  /// - Returns: what comes of all it has said, and what follows that.
  mutating func hear(_ bytes: [UInt8], ended: Bool) -> (reply: ParentReply, rest: [UInt8]) {
    let all = heard + bytes
    heard = all
    let reply = ParentReply(all.span, &scan, ended: ended)
    guard case .tunnel(let length) = reply else { return (reply, []) }
    return (reply, Array(all.dropFirst(length)))
  }
}

extension ParentFault {
  /// Follows the parent's name, and a colon.
  var words: String {
    switch self {
    case .refused: "refuses the tunnel"
    case .credentials: "wants other credentials"
    case .unreached: "cannot reach it"
    case .timeout: "does not answer in time"
    case .nonsense: "does not answer in HTTP"
    }
  }
}

extension CheckRun {
  /// More of what a parent says to the CONNECT, or its end; behind the tunnel it is the server's.
  func take(_ bytes: [UInt8], ended: Bool) -> Outcome? {
    guard var asking else {
      return follow(ended ? dialogue?.end() : dialogue?.hear(bytes[...]), isEnd: ended)
    }
    let (reply, rest) = asking.hear(bytes, ended: ended)
    self.asking = asking
    switch reply {
    case .more: return nil
    case .fault(let fault): return .failed(fault.words)
    case .tunnel: break
    }
    self.asking = nil
    if let outcome = begin() ?? send() { return outcome }
    if rest.isEmpty, !ended { return nil }
    if let inside { return decipher(inside, rest, ended: ended) }
    return follow(rest.isEmpty ? dialogue?.end() : dialogue?.hear(rest[...]), isEnd: ended)
  }
}
