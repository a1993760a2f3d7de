internal import AdminAPI
internal import Config
internal import Wire

extension AdminRoute {
  /// The whole API, in the order of its documentation.
  static let all: [AdminRoute] = looks + changes

  /// The stream is not run like the others; the connection knows it by this path.
  static let eventsPath = "/v1/events"

  private static let looks: [AdminRoute] = [
    .look("/v1/status", "The process as a whole.", .json(schema: "Status")) {
      operations, _ throws(Failure) in .json(operations.status())
    },
    .look("/v1/listeners", "Listeners, with what they count.", .list(schema: "ListenerStatus")) {
      operations, _ throws(Failure) in .json(operations.listeners())
    },
    .look(
      "/v1/backends", "Backends and their servers, with what they count.",
      .list(schema: "BackendStatus")
    ) { operations, _ throws(Failure) in .json(operations.backends()) },
    .look(
      "/v1/sessions", "Live connections, page by page.", .json(schema: "SessionList"),
      parameters: sessionParameters, failures: [.notFound, .unavailable]
    ) { operations, request throws(Failure) in
      .json(try operations.sessions(try sessionQuery(request)))
    },
    .look(
      "/v1/explain",
      "What would become of a connection, by which rule, and what its server would be told.",
      .json(schema: "Explanation"), parameters: explainParameters, failures: [.notFound]
    ) { operations, request throws(Failure) in
      .json(try operations.explain(try explainQuery(request)))
    },
    .look("/v1/bans", "Addresses and networks that are turned away.", .list(schema: "Ban")) {
      operations, _ throws(Failure) in .json(operations.bans())
    },
    .look(
      "/v1/config", "The configuration in force as YAML, without secrets.",
      .json(schema: "ConfigurationText"),
      parameters: [
        Parameter(name: "defaults", kind: .flag, about: "Show keys that have their default, too.")
      ]
    ) { operations, request throws(Failure) in
      let defaults = try flag(request, "defaults")
      return .json(ConfigurationText(yaml: operations.configuration(defaults: defaults)))
    },
    AdminRoute(
      method: .get, path: eventsPath, role: .view,
      summary: "What happens from now on: one JSON object to a line, without an end. A reader that "
        + "is too slow loses events and is told how many (kind `lost`); `heartbeat` comes every "
        + "15 seconds.",
      content: .stream(schema: "Event")),
    .look("/metrics", "Prometheus text.", .text("text/plain; version=0.0.4; charset=utf-8")) {
      operations, _ throws(Failure) in
      .text(operations.metrics(), "text/plain; version=0.0.4; charset=utf-8")
    },
    .look("/v1/openapi.json", "This document.", .document) { _, _ throws(Failure) in
      .text(Array(OpenAPI.text.utf8), "application/json")
    },
  ]

  private static let changes: [AdminRoute] = [
    .change(
      .post, "/v1/reload",
      "Read the file that the server was started with, and serve it from now on: all of it or "
        + "nothing. A refused one is an answer (`outcome`), not an error.",
      request: "ReloadRequest", .json(schema: "ReloadResult"), failures: [.busy],
      read: readReload, perform: performReload),
    .change(
      .post, "/v1/drain", "No new connections for a listener, a backend or a server.",
      request: "Target", .json(schema: "Done"), failures: [.notFound, .refused],
      read: { request throws(Failure) in
        let target = try request.decode(DrainRequest.self).target
        return Wish(body: target, what: "drain \(target)")
      },
      perform: { operations, target throws(Failure) in
        try operations.drain(target)
        return (Done(), "done")
      }),
    .change(
      .post, "/v1/resume", "New connections again for what was drained.",
      request: "Target", .json(schema: "Done"), failures: [.notFound, .refused],
      read: { request throws(Failure) in
        let target = try request.decode(DrainRequest.self).target
        return Wish(body: target, what: "resume \(target)")
      },
      perform: { operations, target throws(Failure) in
        try operations.resume(target)
        return (Done(), "done")
      }),
    .change(
      .post, "/v1/weight", "A server's share of new connections, 0 to 256.",
      request: "WeightRequest", .json(schema: "Done"), failures: [.notFound, .refused],
      read: { request throws(Failure) in
        let wish = try request.decode(WeightRequest.self)
        guard (0...256).contains(wish.weight) else {
          throw Failure(.invalid, "a weight is a number from 0 to 256")
        }
        return Wish(body: wish, what: "weight \(wish.backend)/\(wish.server) \(wish.weight)")
      },
      perform: { operations, wish throws(Failure) in
        try operations.setWeight(wish)
        return (Done(), "done")
      }),
    .change(
      .post, "/v1/kill", "End a connection by its id, or all that match.",
      request: "KillRequest", .json(schema: "KillResult"), failures: [.notFound, .unavailable],
      read: readKill,
      perform: { operations, wish throws(Failure) in
        let result = try operations.kill(wish)
        return (result, "\(result.killed) killed")
      }),
    .change(
      .post, "/v1/log-level", "Which notices are written: error, warning, info or debug.",
      request: "LogLevelRequest", .json(schema: "Done"),
      read: { request throws(Failure) in
        let wish = try request.decode(LogLevelRequest.self)
        guard ["error", "warning", "info", "debug"].contains(wish.level) else {
          throw Failure(.invalid, "a level is error, warning, info or debug")
        }
        return Wish(body: wish, what: "log-level \(wish.level)")
      },
      perform: { operations, wish throws(Failure) in
        try operations.setLogLevel(wish)
        return (Done(), "done")
      }),
    .change(
      .post, "/v1/bans", "Turn an address or a network away, or change such a ban.",
      request: "BanRequest", .json(schema: "Ban"), failures: [.refused],
      read: readBan,
      perform: { operations, wish throws(Failure) in
        let ban = try operations.ban(wish)
        return (ban, ban.until.map { "until \($0)" } ?? "until unban")
      }),
    .change(
      .delete, "/v1/bans", "Lift a ban.", .json(schema: "Done"),
      parameters: [
        Parameter(name: "network", isRequired: true, about: "As `GET /v1/bans` has it.")
      ], failures: [.notFound],
      read: { request throws(Failure) in
        guard let text = request.parameter("network") else {
          throw Failure(.invalid, "the parameter \"network\" is missing")
        }
        let network = try network(text)
        return Wish(body: network, what: "unban \(network)")
      },
      perform: { operations, network throws(Failure) in
        try operations.unban(network)
        return (Done(), "done")
      }),
  ]
}

// ---- reading requests ------------------------------------------------------------------------

extension AdminRoute {
  private static let sessionParameters = [
    Parameter(name: "listener", about: "Only connections of this listener."),
    Parameter(name: "backend", about: "Only those that go to this backend."),
    Parameter(name: "client", about: "Only those of this address or network."),
    Parameter(name: "older-than", about: "Only those older than a duration such as 30s or 1h."),
    Parameter(
      name: "limit", kind: .number,
      about: "At most so many; \(SessionQuery.defaultLimit) without it, and never more than "
        + "\(SessionQuery.largestLimit)."),
    Parameter(name: "after", about: "`next` of the page before."),
  ]

  private static let explainParameters = [
    Parameter(name: "listener", about: "Where it comes in; needed without `egress`."),
    Parameter(
      name: "from", about: "The client's address, or with a port; needed without `egress`."),
    Parameter(name: "to", about: "The address and port it reaches; the listener's without it."),
    Parameter(name: "sni", about: "The name that its ClientHello asks for."),
    Parameter(name: "alpn", about: "The protocols it offers, with commas between."),
    Parameter(name: "egress", about: "The URL that a client of a forward proxy asks for."),
    Parameter(name: "user", about: "Who has logged in to the forward proxy."),
  ]

  private static func explainQuery(_ request: AdminRequest) throws(Failure) -> ExplainQuery {
    if let url = request.parameter("egress") {
      return ExplainQuery(
        listener: request.parameter("listener") ?? "",
        from: request.parameter("from") ?? ExplainQuery.anyClient, egress: url,
        user: request.parameter("user"))
    }
    guard let listener = request.parameter("listener"), let from = request.parameter("from") else {
      throw Failure(.invalid, "the parameters \"listener\" and \"from\" are needed")
    }
    return ExplainQuery(
      listener: listener, from: from, to: request.parameter("to"), sni: request.parameter("sni"),
      alpn: (request.parameter("alpn") ?? "").split(separator: ",").map(String.init))
  }

  private static func sessionQuery(_ request: AdminRequest) throws(Failure) -> SessionQuery {
    var query = SessionQuery(
      listener: request.parameter("listener"), backend: request.parameter("backend"),
      client: request.parameter("client"), after: request.parameter("after"))
    if let text = request.parameter("older-than") {
      do throws(DurationText.Fault) {
        query.olderThanSeconds = try DurationText.seconds(text)
      } catch {
        throw Failure(.invalid, "older-than: \(error)")
      }
    }
    if let text = request.parameter("limit") {
      guard let number = Int(text) else { throw Failure(.invalid, "limit: it is no number") }
      query.limit = number
    }
    return try checked(query)
  }

  /// What is wrong with a query wherever it came from.
  private static func checked(_ query: SessionQuery) throws(Failure) -> SessionQuery {
    var query = query
    guard (1...SessionQuery.largestLimit).contains(query.limit) else {
      throw Failure(.invalid, "limit: it is a number from 1 to \(SessionQuery.largestLimit)")
    }
    if let age = query.olderThanSeconds, !(age >= 0 && age.isFinite) {
      throw Failure(.invalid, "olderThanSeconds: it is a number that is not negative")
    }
    if let client = query.client { query.client = try network(client) }
    return query
  }

  /// The one spelling of a network, with its prefix.
  private static func network(_ text: String) throws(Failure) -> String {
    do throws(NetworkFault) {
      return "\(try Network(parsing: text))"
    } catch {
      switch error {
      case .badAddress, .badPrefix:
        throw Failure(
          .invalid, "\"\(text)\" is no address and no network such as 192.0.2.0/24")
      case .hostBits(let meant):
        throw Failure(.invalid, "\"\(text)\" has bits beyond its prefix; did you mean \(meant)?")
      }
    }
  }

  private static func flag(_ request: AdminRequest, _ name: String) throws(Failure) -> Bool {
    switch request.parameter(name) {
    case nil, "false": return false
    case "", "true": return true
    case .some: throw Failure(.invalid, "\(name): it is true or false")
    }
  }

  private static func readReload(
    _ request: AdminRequest
  ) throws(Failure) -> Wish<ReloadRequest> {
    let wish = try request.decode(ReloadRequest.self)
    // A day: it takes a thread for as long.
    if let seconds = wish.waitDrainedSeconds, !(0...86_400).contains(seconds) {
      throw Failure(.invalid, "waitDrainedSeconds: it is a number from 0 to 86400")
    }
    return Wish(body: wish, what: wish.dryRun ? "reload (dry run)" : "reload")
  }

  @Sendable
  private static func performReload(
    _ operations: any Operations, _ wish: ReloadRequest
  ) throws(Failure) -> (ReloadResult, String) {
    let result = try operations.reload(wish)
    let words = "\(result.outcome.rawValue), generation \(result.generation)"
    return (result, result.problems.first.map { "\(words): \($0)" } ?? words)
  }

  private static func readKill(_ request: AdminRequest) throws(Failure) -> Wish<KillRequest> {
    var wish = try request.decode(KillRequest.self)
    if let id = wish.id { return Wish(body: wish, what: "kill \(id)") }
    guard var query = wish.matching else { throw Failure(.invalid, "nothing to kill is named") }
    query = try checked(query)
    guard query.after == nil else {
      throw Failure(.invalid, "\"after\" is for lists; kill takes all that match")
    }
    wish.matching = query
    let parts = [
      query.listener.map { "listener \($0)" }, query.backend.map { "backend \($0)" },
      query.client.map { "client \($0)" }, query.olderThanSeconds.map { "older than \($0) s" },
    ].compactMap { $0 }
    guard !parts.isEmpty else {
      throw Failure(.invalid, "a listener, a backend, a client or an age must be named")
    }
    return Wish(body: wish, what: "kill all of " + parts.joined(separator: ", "))
  }

  private static func readBan(_ request: AdminRequest) throws(Failure) -> Wish<BanRequest> {
    var wish = try request.decode(BanRequest.self)
    wish.network = try network(wish.network)
    if let seconds = wish.seconds, !(seconds > 0 && seconds <= 315_360_000) {
      throw Failure(.invalid, "seconds: it is a number above 0 and at most ten years")
    }
    if let reason = wish.reason, reason.utf8.count > 200 {
      throw Failure(.invalid, "reason: it is longer than 200 bytes")
    }
    let about = wish.reason.map { " (\($0))" } ?? ""
    let length = wish.seconds.map { " for \(Int($0)) s" } ?? ""
    return Wish(body: wish, what: "ban \(wish.network)\(length)\(about)")
  }
}
