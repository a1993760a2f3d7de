package import AdminAPI

/// Verbs that change something; each returns the exit code.
extension Ctl {
  package func reload(dryRun: Bool, waitDrainedSeconds: Double?) -> Int32 {
    let request = ReloadRequest(dryRun: dryRun, waitDrainedSeconds: waitDrainedSeconds)
    // Reading, binding and waiting for each worker takes seconds at worst.
    let waitMs = 60_000 + UInt64((waitDrainedSeconds ?? 0) * 1000)
    return ask(
      "POST", "/v1/reload", body: request, waitingAtMostMs: waitMs, ReloadResult.self, show)
  }

  private func show(_ result: ReloadResult) -> Exit {
    for change in result.changes { Ctl.print(Ctl.line(change)) }
    for warning in result.warnings { Ctl.say("warning: \(warning)") }
    for problem in result.problems { Ctl.say(problem) }
    for lost in result.lostRuntimeChanges { Ctl.say("no longer in force: \(lost)") }
    if !result.slowWorkers.isEmpty {
      let numbers = result.slowWorkers.map { "\($0)" }.joined(separator: ", ")
      Ctl.say("workers that have not answered yet: \(numbers)")
    }
    if result.undrained > 0 {
      Ctl.say("\(result.undrained) connections of what was removed are still there")
    }
    switch result.outcome {
    case .applied: Ctl.print("reloaded: generation \(result.generation)\n")
    case .unchanged: Ctl.print("nothing has changed: generation \(result.generation)\n")
    case .dryRun: Ctl.print("nothing was changed (dry run)\n")
    case .refused:
      Ctl.say("not reloaded: generation \(result.generation) goes on as it was")
      return .failed
    }
    return .done
  }

  /// `+ listener smtp: bind 0.0.0.0:25 opened`
  private static func line(_ change: ReloadResult.Change) -> String {
    let sign =
      switch change.kind {
      case .added: "+"
      case .removed: "-"
      case .changed: "~"
      case .kept: "="
      }
    let detail = change.detail.isEmpty ? "" : ": \(Visible.text(change.detail))"
    return "\(sign) \(Visible.text(change.what))\(detail)\n"
  }

  package func drain(_ target: Target) -> Int32 {
    ask("POST", "/v1/drain", body: DrainRequest(target: target), Done.self) { _ in
      Ctl.print("\(Visible.text("\(target)")) gets no new connections\n")
      return .done
    }
  }

  package func resume(_ target: Target) -> Int32 {
    ask("POST", "/v1/resume", body: DrainRequest(target: target), Done.self) { _ in
      Ctl.print("\(Visible.text("\(target)")) gets new connections again\n")
      return .done
    }
  }

  package func weight(backend: String, server: String, weight: Int) -> Int32 {
    let request = WeightRequest(backend: backend, server: server, weight: weight)
    return ask("POST", "/v1/weight", body: request, Done.self) { _ in
      Ctl.print("server \(Visible.text("\(backend)/\(server)")) has weight \(weight)\n")
      return .done
    }
  }

  /// By id, or all that match.
  package func kill(_ request: KillRequest) -> Int32 {
    ask("POST", "/v1/kill", body: request, KillResult.self) { result in
      Ctl.print(
        result.killed == 1 ? "1 connection ended\n" : "\(result.killed) connections ended\n")
      return .done
    }
  }

  package func logLevel(_ level: String) -> Int32 {
    ask("POST", "/v1/log-level", body: LogLevelRequest(level: level), Done.self) { _ in
      Ctl.print("notices are written from level \(Visible.text(level)) on\n")
      return .done
    }
  }

  package func ban(_ request: BanRequest) -> Int32 {
    ask("POST", "/v1/bans", body: request, Ban.self) { ban in
      let end = ban.until.map { "until \(Visible.text($0))" } ?? "until the ban is lifted"
      Ctl.print("\(Visible.text(ban.network)) is turned away \(end)\n")
      return .done
    }
  }

  package func unban(_ network: String) -> Int32 {
    ask("DELETE", "/v1/bans?network=\(Ctl.encoded(network))", Done.self) { _ in
      Ctl.print("\(Visible.text(network)) is no longer turned away\n")
      return .done
    }
  }
}
