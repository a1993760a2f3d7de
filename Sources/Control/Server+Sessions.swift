package import AdminAPI
internal import DataPlane
internal import System
internal import Wire

/// Live connections: what they are, and ending some.
extension Server {
  package func sessions(_ query: SessionQuery) throws(Failure) -> SessionList {
    let filter = try filter(query)
    guard (1...SessionQuery.largestLimit).contains(query.limit) else {
      throw Failure(.invalid, "limit is a number from 1 to \(SessionQuery.largestLimit)")
    }
    var place = try query.after.map { text throws(Failure) in try Place(text) } ?? Place()
    var found: [SessionStatus] = []
    while place.worker < pool.workers {
      let room = query.limit - found.count
      guard room > 0 else { return SessionList(sessions: found, next: place.text) }
      let page = pool.sessions(
        worker: place.worker, from: place.cursor, limit: room, filter)
      guard let page else {
        throw Failure(.unavailable, "worker \(place.worker) did not answer in time")
      }
      found += page.sessions.map { SessionStatus($0) }
      place = page.next.map { Place(worker: place.worker, cursor: $0) }
        ?? Place(worker: place.worker + 1, cursor: 0)
    }
    return SessionList(sessions: found, next: nil)
  }

  package func kill(_ request: KillRequest) throws(Failure) -> KillResult {
    switch (request.id, request.matching) {
    case (let text?, nil):
      guard let id = ConnectionID(text) else {
        throw Failure(.invalid, "an id is WORKER-SLOT-GENERATION, as sessions shows it")
      }
      guard pool.kill(id) else { throw Failure(.notFound, "there is no connection \(text)") }
      events.post("kill", "connection \(text) was ended", ["id": text])
      return KillResult(killed: 1)
    case (nil, let query?):
      let filter = try filter(query)
      guard filter != SessionFilter() else {
        throw Failure(.invalid, "say which connections: all of them are not ended by mistake")
      }
      let (ended, silent) = pool.end(filter, .killed)
      guard silent.isEmpty else {
        throw Failure(
          .unavailable,
          "\(ended) were ended; worker \(silent[0]) did not answer in time and goes on with it")
      }
      events.post("kill", "\(counted(ended, "connection")) ended", ["count": "\(ended)"])
      return KillResult(killed: ended)
    case (nil, nil), (_?, _?):
      throw Failure(.invalid, "kill takes an id, or a query that the connections match")
    }
  }

  private func filter(_ query: SessionQuery) throws(Failure) -> SessionFilter {
    var filter = SessionFilter(listener: query.listener, backend: query.backend)
    if let text = query.client { filter.client = try Server.network(text) }
    if let seconds = query.olderThanSeconds {
      guard seconds >= 0, seconds < 1e12 else {
        throw Failure(.invalid, "older-than is a number of seconds")
      }
      filter.olderThanUs = UInt64(seconds * 1e6)
    }
    return filter
  }
}

/// Where a list of connections goes on: `WORKER-SLOT`.
private struct Place {
  var worker = 0
  var cursor: UInt32 = 0

  init() {}

  init(worker: Int, cursor: UInt32) {
    self.worker = worker
    self.cursor = cursor
  }

  init(_ text: String) throws(Failure) {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 2, let worker = UInt16(parts[0]), let cursor = UInt32(parts[1]) else {
      throw Failure(.invalid, "after is what `next` said")
    }
    self.init(worker: Int(worker), cursor: cursor)
  }

  var text: String { "\(worker)-\(cursor)" }
}

extension ConnectionID {
  fileprivate init?(_ text: String) {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 3, let worker = UInt16(parts[0]), let slot = UInt32(parts[1]),
      let generation = UInt32(parts[2])
    else { return nil }
    self.init(worker: Int(worker), slot: slot, generation: generation)
  }
}

extension SessionStatus {
  fileprivate init(_ session: Session) {
    self.init(
      id: "\(session.id.worker)-\(session.id.slot)-\(session.id.generation)",
      uniqueID: session.uniqueID.map { "\($0)" } ?? "", listener: session.listener,
      client: session.client.map { "\($0)" }, sender: session.sender.map { "\($0)" },
      backend: session.backend, server: session.server, rule: session.rule,
      isDialled: session.isDialled, ageSeconds: Double(session.ageUs) / 1e6,
      idleSeconds: Double(session.idleUs) / 1e6, bytesUp: session.bytesUp,
      bytesDown: session.bytesDown)
  }
}
