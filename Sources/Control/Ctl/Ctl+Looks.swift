package import AdminAPI
internal import System

/// Verbs that only look; each returns the exit code.
extension Ctl {
  package func status() -> Int32 {
    ask("GET", "/v1/status", Status.self) { status in
      Ctl.print(Ctl.text(of: status))
      return .done
    }
  }

  static func text(of status: Status) -> String {
    let up = Visible.bytes(status.bytesUp)
    let down = Visible.bytes(status.bytesDown)
    var lines: [(String, String)] = [
      ("version", status.version),
      ("process", "\(status.pid), for \(Visible.duration(seconds: status.uptimeSeconds))"),
      ("configuration", "\(status.configuration), generation \(status.generation)"),
      ("phase", status.phase.rawValue),
      ("workers", "\(status.workers), events from \(status.events)"),
      ("connections", "\(status.connections) of at most \(status.maxConnections)"),
      ("since the start", "\(status.accepted) accepted, \(status.closed) ended"),
      ("bytes", "\(up) up, \(down) down"),
      ("descriptors", "\(status.descriptors) of \(status.descriptorLimit)"),
    ]
    if status.perWorker.count > 1 {
      let live = status.perWorker.map { "\($0.connections)" }.joined(separator: ", ")
      let handed = status.perWorker.reduce(0) { $0 + $1.handedOver }
      lines.insert(("of each worker", "\(live); \(handed) were handed over"), at: 6)
    }
    if status.logDropped > 0 { lines.append(("lost log lines", "\(status.logDropped)")) }
    for worker in status.silentWorkers {
      lines.append(("silent", "worker \(worker) has not answered within a second"))
    }
    for drain in status.drains {
      let time = Visible.duration(seconds: drain.remainingSeconds)
      lines.append(("draining", "\(drain.what): \(drain.connections) connections, \(time) left"))
    }
    for change in status.runtimeChanges { lines.append(("changed since", change)) }
    for reload in status.reloads {
      let problem = reload.problem.map { ": \($0)" } ?? ""
      let outcome = "\(reload.outcome.rawValue), generation \(reload.generation)"
      lines.append(("reload", "\(reload.time) \(outcome), \(reload.changes) changes\(problem)"))
    }
    let width = lines.map { $0.0.count }.max() ?? 0
    return lines.map { name, value in
      name + String(repeating: " ", count: width - name.count + 2) + Visible.text(value) + "\n"
    }.joined()
  }

  package func listeners() -> Int32 {
    ask("GET", "/v1/listeners", [ListenerStatus].self) { listeners in
      var table = TextTable([
        "LISTENER": .left, "TYPE": .left, "BIND": .left, "BACKEND": .left, "STATE": .left,
        "NOW": .right, "ACCEPTED": .right, "REJECTED": .right, "UP": .right, "DOWN": .right,
      ])
      for listener in listeners {
        let rejected = listener.rejected.values.reduce(0, &+)
        table.add([
          listener.name, listener.type, listener.binds.joined(separator: " "),
          listener.backend ?? "-", listener.state.rawValue, "\(listener.connections)",
          "\(listener.accepted)", "\(rejected)", Visible.bytes(listener.bytesUp),
          Visible.bytes(listener.bytesDown),
        ])
      }
      Ctl.print(table.text)
      return .done
    }
  }

  package func backends() -> Int32 {
    ask("GET", "/v1/backends", [BackendStatus].self) { backends in
      var table = TextTable([
        "BACKEND": .left, "SERVER": .left, "ADDRESS": .left, "STATE": .left, "WEIGHT": .right,
        "NOW": .right, "DIALS": .right, "FAILED": .right, "UP": .right, "DOWN": .right,
        "REASON": .left,
      ])
      for backend in backends {
        for server in backend.servers {
          let state = backend.state == .drained ? "drained" : server.state.rawValue
          table.add([
            backend.name, server.name, server.address, state, "\(server.weight)",
            "\(server.connections)", "\(server.dials)", "\(server.dialFailures)",
            Visible.bytes(server.bytesUp), Visible.bytes(server.bytesDown), server.reason ?? "",
          ])
        }
      }
      Ctl.print(table.text)
      return .done
    }
  }

  package func sessions(_ query: SessionQuery) -> Int32 {
    ask("GET", "/v1/sessions\(Ctl.parameters(query))", SessionList.self) { list in
      var table = TextTable([
        "ID": .left, "LISTENER": .left, "CLIENT": .left, "RULE": .left, "BACKEND": .left,
        "SERVER": .left, "AGE": .right, "IDLE": .right, "UP": .right, "DOWN": .right,
      ])
      for session in list.sessions {
        let isOnItsWay = session.server != nil && !session.isDialled
        table.add([
          session.id, session.listener, session.client ?? "-", session.rule ?? "-",
          session.backend ?? "-", (session.server ?? "-") + (isOnItsWay ? " (dialling)" : ""),
          Visible.duration(seconds: session.ageSeconds),
          Visible.duration(seconds: session.idleSeconds),
          Visible.bytes(session.bytesUp), Visible.bytes(session.bytesDown),
        ])
      }
      Ctl.print(table.text)
      if let next = list.next { Ctl.say("there are more: --after \(next), or a higher --limit") }
      return .done
    }
  }

  /// The query of a list, with its question mark.
  static func parameters(_ query: SessionQuery) -> String {
    var parts = ["limit=\(query.limit)"]
    if let name = query.listener { parts.append("listener=\(encoded(name))") }
    if let name = query.backend { parts.append("backend=\(encoded(name))") }
    if let client = query.client { parts.append("client=\(encoded(client))") }
    if let seconds = query.olderThanSeconds {
      parts.append("older-than=\(Int((seconds * 1000).rounded()))ms")
    }
    if let after = query.after { parts.append("after=\(encoded(after))") }
    return "?" + parts.joined(separator: "&")
  }

  package func bans() -> Int32 {
    ask("GET", "/v1/bans", [Ban].self) { bans in
      var table = TextTable(["NETWORK": .left, "UNTIL": .left, "HITS": .right, "REASON": .left])
      for ban in bans {
        table.add([ban.network, ban.until ?? "-", "\(ban.hits)", ban.reason ?? ""])
      }
      Ctl.print(table.text)
      return .done
    }
  }

  package func configuration(defaults: Bool) -> Int32 {
    ask("GET", "/v1/config\(defaults ? "?defaults" : "")", ConfigurationText.self) { text in
      let lines = text.yaml.split(separator: "\n", omittingEmptySubsequences: false)
      Ctl.print(lines.map { Visible.line(String($0)) }.joined(separator: "\n"))
      return .done
    }
  }

  /// The text itself; with `json` as `{"text": …}`.
  package func metrics() -> Int32 {
    do throws(AdminClient.Fault) {
      let bytes = try client.call("GET", "/metrics")
      if json {
        let text = MetricsText(text: String(decoding: bytes, as: UTF8.self))
        StandardStream.output.write(AdminJSON.encode(text) + [UInt8(ascii: "\n")])
      } else {
        StandardStream.output.write(bytes)
      }
      return Exit.done.rawValue
    } catch {
      return complain(error).rawValue
    }
  }

  private struct MetricsText: Encodable {
    var text: String
  }

  /// One line for each event, until the server ends.
  package func events() -> Int32 {
    do throws(AdminClient.Fault) {
      // Two heartbeats and some: the server or the way to it is gone.
      let silenceMs = UInt64(HTTPDeadlines().heartbeatMs) * 5 / 2
      try client.follow("/v1/events", silenceMs: silenceMs) { line in
        if json {
          StandardStream.output.write(AdminJSON.escapingControls(Array(line)) + [0x0a])
        } else if let event = try? decode(Event.self, Array(line)), event.kind != "heartbeat" {
          let kind = Visible.text(event.kind)
          Ctl.print("\(Visible.text(event.time)) \(kind): \(Visible.text(event.message))\n")
        }
        return true
      }
      return Exit.done.rawValue
    } catch {
      return complain(error).rawValue
    }
  }
}
