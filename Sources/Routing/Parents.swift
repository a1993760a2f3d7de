package import Wire

/// Proxies that connections go through, which are the servers of a backend: so their names are
/// resolved again, and those that fail are left out for a while.
package struct ParentPlan: Sendable {
  /// One parent as the configuration has it.
  package struct Parent: Hashable, Sendable {
    /// The name of its server: `proxy.example:3128`.
    package let server: String
    /// Whether the connection to it begins with TLS.
    package let isTLS: Bool
    /// The value of `Proxy-Authorization` for it; empty sends none.
    package let authorization: String

    package init(server: String, isTLS: Bool, authorization: String) {
      self.server = server
      self.isTLS = isTLS
      self.authorization = authorization
    }

    /// What asks it for a tunnel.
    ///
    /// - Parameter target: `mail.example:993`; a name is its to resolve.
    package func connect(to target: String) -> [UInt8] {
      authorized(Array("CONNECT \(target) HTTP/1.1\r\nHost: \(target)\r\n\r\n".utf8))
    }

    /// The head of a request for it, with credentials of our own in front of the empty line.
    package func authorized(_ head: [UInt8]) -> [UInt8] {
      guard !authorization.isEmpty else { return head }
      return head.dropLast(2) + Array("Proxy-Authorization: \(authorization)\r\n\r\n".utf8)
    }
  }

  /// An index into `RouteTable.backends`.
  package let backend: Int
  package let parents: [Parent]
  /// What each server of the backend that is reached through them is called in a CONNECT; empty
  /// where clients say themselves where they want to go.
  package let targets: [String]

  package init(backend: Int, parents: [Parent], targets: [String] = []) {
    self.backend = backend
    self.parents = parents
    self.targets = targets
  }

  /// Who a server of the backend is: one of several addresses of a name is what the name is.
  package func parent(of server: ServerEntry) -> Parent? {
    parents.first { $0.server == server.origin ?? server.name }
  }
}

/// What a parent says to a CONNECT.
package enum ParentReply: Equatable, Sendable {
  case more
  /// The tunnel begins behind so many bytes: the target may have said something already.
  case tunnel(behind: Int)
  case fault(ParentFault)

  /// - Parameters:
  ///   - scan: new for each dial, and the same at each call about it.
  ///   - ended: no more will come.
  package init(
    _ bytes: Span<UInt8>, _ scan: inout HTTPHeadScan, _ limits: HTTPLimits = HTTPLimits(),
    ended: Bool
  ) {
    // Who waits for the end of what is no head waits for good.
    for (place, byte) in "HTTP/".utf8.enumerated() where place < bytes.count {
      guard bytes[place] == byte else {
        self = .fault(.nonsense)
        return
      }
    }
    switch HTTPResponseHead.parse(bytes, &scan, limits, ended: ended) {
    case .more where !ended: self = .more
    case .more, .invalid: self = .fault(.nonsense)
    case .done(let head, let length):
      switch head.status {
      case 200...299: self = .tunnel(behind: length)
      case 407: self = .fault(.credentials)
      case 429, 500, 502...504: self = .fault(.unreached)
      // A CONNECT has no interim answer, and nobody asked for another protocol.
      case 100...199: self = .fault(.nonsense)
      default: self = .fault(.refused)
      }
    }
  }
}

/// Why there is no tunnel through a parent that was reached.
package enum ParentFault: String, CaseIterable, Sendable {
  /// It will not: 403 for one.
  case refused = "parent.refused"
  /// It wants other credentials: 407.
  case credentials = "parent.credentials"
  /// It cannot get there: 502, 504 and the like.
  case unreached = "parent.unreached"
  /// It has not answered in time.
  case timeout = "parent.timeout"
  /// What it says is no HTTP.
  case nonsense = "parent.nonsense"

  /// Whether another parent may do better.
  package var isItsOwn: Bool {
    switch self {
    case .refused, .timeout: false
    case .credentials, .unreached, .nonsense: true
    }
  }
}
