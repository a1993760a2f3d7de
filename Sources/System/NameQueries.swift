internal import CAres
package import Wire

/// Questions to name servers that are under way, and their results. It belongs to one thread, from
/// `init` on.
@safe package struct NameQueries: ~Copyable {
  private let raw: OpaquePointer

  /// How one question ended.
  package enum Outcome: Sendable, Equatable {
    /// A server's reply, as received.
    case reply([UInt8])
    /// The name exists, without records of this kind.
    case noData
    case noName
    case serverFailed
    case refused
    case timedOut
    /// No server's port is open, or there is no way to any.
    case unreachable
    case badReply
    case other
  }

  package struct Result: Sendable, Equatable {
    package let token: UInt64
    package let outcome: Outcome
  }

  /// - Parameters:
  ///   - servers: asked in this order, for names as they are written; nil takes the servers, the
  ///     search list and the options of /etc/resolv.conf as it is now.
  ///   - timeoutMs: for the first try; it doubles each time all servers have been tried.
  ///   - attempts: how often each server is asked.
  /// - Throws: ENOMEM.
  package init(servers: [SocketAddress]?, timeoutMs: Int32, attempts: Int32) throws(SystemError) {
    var settings = names_settings()
    settings.timeout_ms = timeoutMs
    settings.attempts = attempts
    let made: OpaquePointer?
    if let servers {
      let list = servers.map(\.description).joined(separator: ",")
      unsafe made = list.withCString { text in
        unsafe settings.servers = unsafe text
        return unsafe names_open(&settings)
      }
    } else {
      unsafe made = names_open(&settings)
    }
    guard let made = unsafe made else { throw SystemError("name servers", .noMemory) }
    unsafe raw = made
  }

  deinit { unsafe names_close(raw) }

  /// Begins to ask; one result with `token` comes of it, sooner or later.
  ///
  /// - Parameter isSearched: whether the search list of resolv.conf applies.
  package mutating func ask(
    _ token: UInt64, _ name: String, _ kind: DNSReply.Kind, isSearched: Bool
  ) {
    unsafe names_ask(raw, token, name, kind.rawValue, isSearched)
  }

  /// Waits until there are results, or `wake` can be read, or the time is over.
  package mutating func wait(orReading wake: Int32, atMostMs: Int32?) {
    unsafe names_wait(raw, wake, atMostMs ?? -1)
  }

  package mutating func next() -> Result? {
    var result = names_result()
    guard unsafe names_take(raw, &result) else { return nil }
    let outcome: Outcome
    switch result.end {
    case .reply:
      let bytes = unsafe UnsafeBufferPointer(start: result.bytes, count: Int(result.length))
      outcome = .reply(unsafe Array(bytes))
    case .noData: outcome = .noData
    case .noName: outcome = .noName
    case .serverFailed: outcome = .serverFailed
    case .refused: outcome = .refused
    case .timedOut: outcome = .timedOut
    case .unreachable: outcome = .unreachable
    case .badReply: outcome = .badReply
    case .other: outcome = .other
    }
    return Result(token: result.token, outcome: outcome)
  }
}
