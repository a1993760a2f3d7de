internal import AdminAPI

/// The shape of a JSON value, as far as this API needs shapes (JSON Schema 2020-12).
indirect enum OpenAPISchema {
  case text(_ about: String? = nil)
  case choice([String], _ about: String? = nil)
  case integer(_ about: String? = nil, in: ClosedRange<Int>? = nil)
  case number(_ about: String? = nil)
  case flag(_ about: String? = nil)
  case list(OpenAPISchema, _ about: String? = nil)
  /// An object whose keys are names of their own.
  case map(OpenAPISchema, _ about: String? = nil)
  /// An answer: it may get more properties.
  case object([Property])
  /// A request: unknown properties are refused.
  case closed([Property])
  case oneOf([OpenAPISchema])
  case reference(String)

  struct Property {
    var name: String
    var isRequired: Bool
    var schema: OpenAPISchema
  }

  var json: JSONText {
    switch self {
    case .text(let about): typed("string", about)
    case .choice(let words, let about):
      typed("string", about, [("enum", .array(words.map { .string($0) }))])
    case .integer(let about, let range):
      typed(
        "integer", about,
        range.map { [("minimum", .number($0.lowerBound)), ("maximum", .number($0.upperBound))] }
          ?? [])
    case .number(let about): typed("number", about)
    case .flag(let about): typed("boolean", about)
    case .list(let element, let about): typed("array", about, [("items", element.json)])
    case .map(let element, let about):
      typed("object", about, [("additionalProperties", element.json)])
    case .object(let properties): typed("object", nil, members(properties))
    case .closed(let properties):
      typed("object", nil, members(properties) + [("additionalProperties", .bool(false))])
    case .oneOf(let choices): .object([("oneOf", .array(choices.map(\.json)))])
    case .reference(let name): .object([("$ref", .string("#/components/schemas/\(name)"))])
    }
  }

  private func typed(
    _ type: String, _ about: String?, _ more: [(String, JSONText)] = []
  ) -> JSONText {
    let description = about.map { [("description", JSONText.string($0))] } ?? []
    return .object([("type", .string(type))] + description + more)
  }

  private func members(_ properties: [Property]) -> [(String, JSONText)] {
    let required = properties.filter(\.isRequired).map { JSONText.string($0.name) }
    return [
      ("properties", .object(properties.map { ($0.name, $0.schema.json) })),
      ("required", .array(required)),
    ]
  }
}

/// `"name"` is always there, `"name?"` is left out when there is nothing to say.
private func property(_ name: String, _ schema: OpenAPISchema) -> OpenAPISchema.Property {
  name.hasSuffix("?")
    ? .init(name: String(name.dropLast()), isRequired: false, schema: schema)
    : .init(name: name, isRequired: true, schema: schema)
}

private func answer(_ properties: KeyValuePairs<String, OpenAPISchema>) -> OpenAPISchema {
  .object(properties.map { property($0.key, $0.value) })
}

private func request(_ properties: KeyValuePairs<String, OpenAPISchema>) -> OpenAPISchema {
  .closed(properties.map { property($0.key, $0.value) })
}

extension OpenAPISchema {
  /// All that have a name, in the order of the document.
  static var all: [(name: String, schema: OpenAPISchema)] { processes + connections + changes }

  private static let time = "RFC 3339, UTC."

  private static var processes: [(name: String, schema: OpenAPISchema)] {
    [
      (
        "Status",
        answer([
          "version": .text(), "pid": .integer(), "uptimeSeconds": .number("Since the start."),
          "configuration": .text("The file that a reload reads."),
          "generation": .integer("1 after the start; each reload that was applied adds one."),
          "phase": .choice(["serving", "draining"]), "workers": .integer(),
          "events": .choice(["ring", "epoll"]), "connections": .integer("Live now."),
          "maxConnections": .integer(), "accepted": .integer(), "closed": .integer(),
          "bytesUp": .integer("From clients to servers."), "bytesDown": .integer(),
          "descriptors": .integer("Open now."), "descriptorLimit": .integer(),
          "logDropped": .integer("Lines of the connection log that were lost."),
          "silentWorkers": .list(.integer(), "Those that did not answer within a second."),
          "perWorker": .list(.reference("WorkerStatus"), "But for the silent ones."),
          "drains": .list(.reference("DrainProgress")),
          "runtimeChanges": .list(.text(), "What was changed since the file was read."),
          "reloads": .list(.reference("ReloadSummary"), "The last ten, the newest last."),
        ])
      ),
      (
        "WorkerStatus",
        answer([
          "worker": .integer("From 0."), "connections": .integer("Live now."),
          "handedOver": .integer("Accepted, and given to workers that had fewer."),
          "received": .integer("From other workers."),
        ])
      ),
      (
        "DrainProgress",
        answer([
          "what": .text("`listener smtp`, `server postfix/192.0.2.10:25` or `process`."),
          "connections": .integer("Still live."), "remainingSeconds": .number(),
        ])
      ),
      (
        "ReloadSummary",
        answer([
          "time": .text(time), "outcome": .reference("ReloadOutcome"), "generation": .integer(),
          "changes": .integer(), "problem?": .text("The first one of a refused reload."),
        ])
      ),
      (
        "ListenerStatus",
        answer([
          "name": .text(), "type": .text(), "binds": .list(.text()),
          "backend?": .text("Absent where rules alone choose."),
          "state": .choice(["serving", "drained"]), "connections": .integer("Live now."),
          "accepted": .integer(), "rejected": .map(.integer(), "By reason code."),
          "bytesUp": .integer(), "bytesDown": .integer(),
        ])
      ),
      (
        "BackendStatus",
        answer([
          "name": .text(), "balance": .text(), "state": .choice(["serving", "drained"]),
          "servers": .list(.reference("ServerStatus")),
        ])
      ),
      (
        "ServerStatus",
        answer([
          "name": .text("As the file writes it."), "address": .text(),
          "state": .choice(["up", "down", "drained"]), "reason?": .text("Why it is in that state."),
          "weight": .integer(in: 0...256), "connections": .integer("Live or being dialled."),
          "dials": .integer(), "dialFailures": .integer(), "bytesUp": .integer(),
          "bytesDown": .integer(),
        ])
      ),
      ("ConfigurationText", answer(["yaml": .text()])),
    ]
  }

  private static var connections: [(name: String, schema: OpenAPISchema)] {
    [
      (
        "SessionList",
        answer([
          "sessions": .list(.reference("SessionStatus")),
          "next?": .text("`after` of the next page; absent after the last."),
        ])
      ),
      (
        "SessionStatus",
        answer([
          "id": .text("What `kill` takes."),
          "uniqueID": .text("As the connection log and UNIQUE_ID have it."), "listener": .text(),
          "client?": .text("The real client; absent until it is known."),
          "sender?": .text("Who really connected, where it spoke for the client."),
          "backend?": .text(), "server?": .text(),
          "rule?": .text("The rule of its listener that took it; absent where none did."),
          "isDialled": .flag("Whether its server was reached."), "ageSeconds": .number(),
          "idleSeconds": .number(), "bytesUp": .integer(), "bytesDown": .integer(),
        ])
      ),
      (
        "Explanation",
        answer([
          "listener": .text(), "type": .text("As the configuration writes it."),
          "client": .text(), "local": .text("The address it reaches."), "sni?": .text(),
          "alpn": .list(.text()),
          "rules": .list(
            answer([
              "name": .text(), "matches": .flag(),
              "why?": .text("What it wants that the connection has not."),
            ]), "Those asked, up to the one that decided; of many the last ones."),
          "omitted": .integer("Rules before these."),
          "rule?": .text("The one that decided; absent where none did."),
          "reason?": .text("Why it would be turned away; absent when it would not."),
          "reply?": .text("What the client would hear then."),
          "backend?": .reference("ExplainedBackend"),
          "egress?": .reference("ExplainedEgress"),
          "timeouts": answer([
            "prefaceMs": .integer(), "connectMs": .integer(),
            "startTLSMs?": .integer("Until a server has begun TLS; of starttls listeners."),
            "idleMs": .integer("0 is off."), "halfClosedMs": .integer("0 is off."),
            "maxAgeMs": .integer("0 is off."),
          ]), "notes": .list(.text()),
        ])
      ),
      (
        "ExplainedEgress",
        answer([
          "name": .text(), "url": .text(), "user?": .text(),
          "action?": .choice(["allow", "deny", "report"]),
          "isDirect?": .flag("Whether it goes past the parents, or there are none."),
          "bypass?": .text("The entry of no-proxy that has it go past the parents."),
          "resolution?": .text("Why the host's name does not resolve."),
          "addresses": .list(
            answer([
              "address": .text(), "isAllowed": .flag(),
              "why?": .text("What keeps clients from it."),
            ])),
        ])
      ),
      (
        "ExplainedBackend",
        answer([
          "name": .text(), "balance": .text(), "retries": .integer(),
          "servers": .list(
            answer([
              "name": .text(), "weight": .integer(), "isBackup": .flag(), "state?": .text(),
            ])), "sendProxy": .choice(["none", "v1", "v2"]),
          "header?": .text("That of the first server, in hexadecimal."),
          "fields": .list(
            answer([
              "name": .text(), "value": .text(), "offset": .integer(), "length": .integer(),
            ])),
        ])
      ),
      (
        "SessionQuery",
        request([
          "listener?": .text(), "backend?": .text(), "client?": .text("An address or a network."),
          "olderThanSeconds?": .number(),
          "limit?": .integer(in: 1...SessionQuery.largestLimit),
        ])
      ),
      (
        "KillRequest",
        .oneOf([request(["id": .text()]), request(["matching": .reference("SessionQuery")])])
      ),
      ("KillResult", answer(["killed": .integer()])),
      (
        "Ban",
        answer([
          "network": .text(), "until?": .text("\(time) Absent: until it is lifted."),
          "reason?": .text(), "hits": .integer("Connections it turned away."),
        ])
      ),
      (
        "BanRequest",
        request([
          "network": .text("An address or a network."),
          "seconds?": .number("Absent: until it is lifted."), "reason?": .text(),
        ])
      ),
    ]
  }

  private static var changes: [(name: String, schema: OpenAPISchema)] {
    [
      (
        "ReloadRequest",
        request([
          "dryRun?": .flag("Say what would change, and change nothing."),
          "waitDrainedSeconds?": .number(
            "Answer only when what was removed has no connections left, or after this long."),
        ])
      ),
      (
        "ReloadResult",
        answer([
          "outcome": .reference("ReloadOutcome"), "generation": .integer("In force now."),
          "changes": .list(.reference("Change")),
          "problems": .list(.text(), "`file:line:column: what is wrong`."),
          "warnings": .list(.text()),
          "lostRuntimeChanges": .list(.text(), "What does not outlive this reload."),
          "slowWorkers": .list(.integer(), "Those that had not followed within a second."),
          "undrained": .integer("Connections of removed things that are still there."),
          "tookMs": .number(),
        ])
      ),
      ("ReloadOutcome", .choice(["applied", "unchanged", "dry-run", "refused"])),
      (
        "Change",
        answer([
          "kind": .choice(["added", "removed", "changed", "kept"]),
          "what": .text("`listener smtp`, `server postfix/192.0.2.10:25`."), "detail": .text(),
        ])
      ),
      (
        "Target",
        .oneOf([
          request(["listener": .text()]), request(["backend": .text()]),
          request(["backend": .text(), "server": .text("As the file writes it.")]),
        ])
      ),
      (
        "WeightRequest",
        request([
          "backend": .text(), "server": .text(),
          "weight": .integer("0 gets no new connections.", in: 0...256),
        ])
      ),
      (
        "LogLevelRequest",
        request(["level": .choice(["error", "warning", "info", "debug"])])
      ),
      ("Done", answer([:])),
      (
        "Event",
        answer([
          "time": .text(time),
          "kind": .text("`reload`, `drain`, `ban`, `admin`, `heartbeat`, `lost` and others."),
          "message": .text(), "fields": .map(.text()),
        ])
      ),
      (
        "Failure",
        answer([
          "error": answer([
            "code": .choice([
              "invalid", "forbidden", "not-found", "method-not-allowed", "busy", "too-large",
              "refused", "unavailable",
            ]),
            "message": .text(),
          ])
        ])
      ),
    ]
  }
}
