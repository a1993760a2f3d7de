/// Which connections `GET /v1/sessions` shows; nil does not narrow. Its fields are the names of
/// the query's parameters: `listener`, `backend`, `client`, `older-than`, `limit`, `after`.
package struct SessionQuery: Codable, Hashable, Sendable {
  package var listener: String?
  package var backend: String?
  /// An address or a network such as 192.0.2.0/24.
  package var client: String?
  package var olderThanSeconds: Double?
  /// At most 10,000.
  package var limit: Int
  /// `SessionPage.next` of the page before.
  package var after: String?

  package static let defaultLimit = 100
  package static let largestLimit = 10_000

  package init(
    listener: String? = nil, backend: String? = nil, client: String? = nil,
    olderThanSeconds: Double? = nil, limit: Int = SessionQuery.defaultLimit, after: String? = nil
  ) {
    self.listener = listener
    self.backend = backend
    self.client = client
    self.olderThanSeconds = olderThanSeconds
    self.limit = limit
    self.after = after
  }
}

/// A live connection. Workers are asked one after the other, so a list is no picture of an instant.
package struct SessionStatus: Codable, Hashable, Sendable {
  /// What `kill` takes: `WORKER-SLOT-GENERATION`.
  package var id: String
  /// As the connection log and UNIQUE_ID have it.
  package var uniqueID: String
  package var listener: String
  /// The real client; nil until it is known.
  package var client: String?
  /// The address that really connected, where it spoke for the client.
  package var sender: String?
  package var backend: String?
  package var server: String?
  /// The rule of its listener that took it; nil where none did.
  package var rule: String?
  /// Whether its server was reached.
  package var isDialled: Bool
  package var ageSeconds: Double
  package var idleSeconds: Double
  package var bytesUp: UInt64
  package var bytesDown: UInt64

  package init(
    id: String, uniqueID: String, listener: String, client: String? = nil, sender: String? = nil,
    backend: String? = nil, server: String? = nil, rule: String? = nil, isDialled: Bool,
    ageSeconds: Double, idleSeconds: Double, bytesUp: UInt64, bytesDown: UInt64
  ) {
    self.id = id
    self.uniqueID = uniqueID
    self.listener = listener
    self.client = client
    self.sender = sender
    self.backend = backend
    self.server = server
    self.rule = rule
    self.isDialled = isDialled
    self.ageSeconds = ageSeconds
    self.idleSeconds = idleSeconds
    self.bytesUp = bytesUp
    self.bytesDown = bytesDown
  }
}

package struct SessionList: Codable, Hashable, Sendable {
  package var sessions: [SessionStatus]
  /// Where the next page begins; nil after the last.
  package var next: String?

  package init(sessions: [SessionStatus], next: String?) {
    self.sessions = sessions
    self.next = next
  }
}
