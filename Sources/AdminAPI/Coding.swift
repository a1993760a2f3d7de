// The JSON of these types where the compiler's own would not do: shapes that `curl` users write by
// hand, keys that may be left out, and keys that are refused because nobody meant them.

/// A key of any object, to see which ones are there.
private struct AnyKey: CodingKey {
  let stringValue: String
  var intValue: Int? { nil }

  init(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { nil }
}

extension Decoder {
  /// Refuses keys that `Keys` does not have: a request with `dryrun` must not reload.
  fileprivate func only<Keys: CodingKey & CaseIterable>(
    _ keys: Keys.Type
  ) throws -> KeyedDecodingContainer<Keys> {
    let known = keys.allCases.map(\.stringValue)
    for key in try container(keyedBy: AnyKey.self).allKeys where !known.contains(key.stringValue) {
      throw DecodingError.dataCorrupted(
        .init(
          codingPath: codingPath,
          debugDescription: "unknown key \"\(key.stringValue)\"; there are "
            + known.joined(separator: ", ")))
    }
    return try container(keyedBy: keys)
  }
}

/// `{"listener": "smtp"}`, `{"backend": "postfix"}` or
/// `{"backend": "postfix", "server": "192.0.2.10:25"}`.
extension Target {
  private enum Key: String, CodingKey, CaseIterable { case listener, backend, server }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.only(Key.self)
    let listener = try values.decodeIfPresent(String.self, forKey: .listener)
    let backend = try values.decodeIfPresent(String.self, forKey: .backend)
    let server = try values.decodeIfPresent(String.self, forKey: .server)
    switch (listener, backend, server) {
    case (let name?, nil, nil): self = .listener(name)
    case (nil, let name?, nil): self = .backend(name)
    case (nil, let backend?, let server?): self = .server(backend: backend, server: server)
    case (nil, nil, _), (_?, _?, _), (_?, nil, _?):
      throw DecodingError.dataCorrupted(
        .init(
          codingPath: decoder.codingPath,
          debugDescription: "a target is a listener, a backend, or a backend and a server"))
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: Key.self)
    switch self {
    case .listener(let name):
      try values.encode(name, forKey: .listener)
    case .backend(let name):
      try values.encode(name, forKey: .backend)
    case .server(let backend, let server):
      try values.encode(backend, forKey: .backend)
      try values.encode(server, forKey: .server)
    }
  }
}

extension Target: CustomStringConvertible {
  /// `listener smtp`, `backend postfix`, `server postfix/192.0.2.10:25`.
  package var description: String {
    switch self {
    case .listener(let name): "listener \(name)"
    case .backend(let name): "backend \(name)"
    case .server(let backend, let server): "server \(backend)/\(server)"
    }
  }
}

/// The target itself: `{"listener": "smtp"}`.
extension DrainRequest {
  package init(from decoder: any Decoder) throws { target = try Target(from: decoder) }
  package func encode(to encoder: any Encoder) throws { try target.encode(to: encoder) }
}

/// `{"error": {"code": "not-found", "message": "there is no listener smpt"}}`.
extension Failure {
  private enum Key: String, CodingKey { case error, code, message }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: Key.self)
      .nestedContainer(keyedBy: Key.self, forKey: .error)
    code = try values.decode(Code.self, forKey: .code)
    message = try values.decode(String.self, forKey: .message)
  }

  package func encode(to encoder: any Encoder) throws {
    var outer = encoder.container(keyedBy: Key.self)
    var values = outer.nestedContainer(keyedBy: Key.self, forKey: .error)
    try values.encode(code, forKey: .code)
    try values.encode(message, forKey: .message)
  }
}

/// Both keys may be absent: `{}` reloads.
extension ReloadRequest {
  private enum Key: String, CodingKey, CaseIterable { case dryRun, waitDrainedSeconds }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.only(Key.self)
    dryRun = try values.decodeIfPresent(Bool.self, forKey: .dryRun) ?? false
    waitDrainedSeconds = try values.decodeIfPresent(Double.self, forKey: .waitDrainedSeconds)
  }
}

extension WeightRequest {
  private enum Key: String, CodingKey, CaseIterable { case backend, server, weight }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.only(Key.self)
    backend = try values.decode(String.self, forKey: .backend)
    server = try values.decode(String.self, forKey: .server)
    weight = try values.decode(Int.self, forKey: .weight)
  }
}

/// Exactly one of the two: a request that says nothing must not mean everybody. Without a limit all
/// that match are meant, as far as one request goes.
extension KillRequest {
  private enum Key: String, CodingKey, CaseIterable { case id, matching }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.only(Key.self)
    id = try values.decodeIfPresent(String.self, forKey: .id)
    matching = try values.decodeIfPresent(SessionQuery.self, forKey: .matching)
    guard (id == nil) != (matching == nil) else {
      throw DecodingError.dataCorrupted(
        .init(
          codingPath: decoder.codingPath, debugDescription: "either \"id\" or \"matching\" it is"))
    }
    guard matching != nil else { return }
    let query = try values.nestedContainer(keyedBy: AnyKey.self, forKey: .matching)
    if !query.allKeys.contains(where: { $0.stringValue == "limit" }) {
      matching?.limit = SessionQuery.largestLimit
    }
  }
}

extension LogLevelRequest {
  private enum Key: String, CodingKey, CaseIterable { case level }

  package init(from decoder: any Decoder) throws {
    level = try decoder.only(Key.self).decode(String.self, forKey: .level)
  }
}

extension BanRequest {
  private enum Key: String, CodingKey, CaseIterable { case network, seconds, reason }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.only(Key.self)
    network = try values.decode(String.self, forKey: .network)
    seconds = try values.decodeIfPresent(Double.self, forKey: .seconds)
    reason = try values.decodeIfPresent(String.self, forKey: .reason)
  }
}

/// In a body (`kill`) every key may be absent, the limit too.
extension SessionQuery {
  private enum Key: String, CodingKey, CaseIterable {
    case listener, backend, client, olderThanSeconds, limit, after
  }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.only(Key.self)
    listener = try values.decodeIfPresent(String.self, forKey: .listener)
    backend = try values.decodeIfPresent(String.self, forKey: .backend)
    client = try values.decodeIfPresent(String.self, forKey: .client)
    olderThanSeconds = try values.decodeIfPresent(Double.self, forKey: .olderThanSeconds)
    limit = try values.decodeIfPresent(Int.self, forKey: .limit) ?? SessionQuery.defaultLimit
    after = try values.decodeIfPresent(String.self, forKey: .after)
  }
}
