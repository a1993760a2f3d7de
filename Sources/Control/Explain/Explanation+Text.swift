package import AdminAPI
internal import Config
internal import System

extension Explanation {
  /// For a person to read: several lines, each ended by a line feed, safe to print.
  var text: String {
    var lines = ["\(listener) (\(type)): \(client) -> \(local)\(asksFor)"]
    if let egress {
      lines[0] += ", asks for \(egress.url)" + (egress.user.map { " as \($0)" } ?? "")
    }
    if omitted > 0 { lines.append("  \(omitted) rules before these take it neither") }
    for rule in rules {
      lines.append("  rule \(rule.name): \(rule.why ?? "takes it")")
    }
    if rule == nil, !rules.isEmpty { lines.append("  no rule takes it") }
    if let egress { lines += told(of: egress) }
    if let backend { lines += told(of: backend) }
    if let reason {
      lines.append("turned away: \(reason)\(reply.map { "; the client hears \($0)" } ?? "")")
    }
    lines.append("timeouts")
    let times = [
      ("preface", timeouts.prefaceMs), ("connect", timeouts.connectMs),
      ("starttls", timeouts.startTLSMs), ("idle", timeouts.idleMs),
      ("half-closed", timeouts.halfClosedMs), ("max-age", timeouts.maxAgeMs),
    ]
    for case (let name, let ms?) in times {
      lines.append(
        "  \(Explanation.padded(name, 12)) \(DurationText.text(ms: UInt32(clamping: ms)))")
    }
    lines += notes.map { "note: \($0)" }
    return lines.map { Visible.line($0) + "\n" }.joined()
  }

  private func told(of egress: Egress) -> [String] {
    var lines: [String] = []
    if egress.action == "report" { lines.append("allowed, and reported") }
    if let entry = egress.bypass {
      lines.append("goes past the parents: no-proxy has \(entry)")
    } else if let isDirect = egress.isDirect {
      lines.append(isDirect ? "goes directly: there are no parents" : "goes through a parent")
    }
    if let resolution = egress.resolution { lines.append("  \(resolution)") }
    return lines
      + egress.addresses.map { address in
        "  \(address.address): \(address.why ?? "allowed")"
      }
  }

  private var asksFor: String {
    (sni.map { ", sni \($0)" } ?? "")
      + (alpn.isEmpty ? "" : ", alpn \(alpn.joined(separator: ","))")
  }

  private func told(of backend: Backend) -> [String] {
    let tries = backend.retries == 1 ? "1 retry" : "\(backend.retries) retries"
    var lines = ["backend \(backend.name) (\(backend.balance), \(tries))"]
    for server in backend.servers {
      var words: [String] = []
      if server.weight != 1 { words.append("weight \(server.weight)") }
      if server.isBackup { words.append("backup") }
      if let state = server.state { words.append(state.rawValue) }
      lines.append(
        "  server \(server.name)" + (words.isEmpty ? "" : " (\(words.joined(separator: ", ")))"))
    }
    guard let header = backend.header else {
      return lines + ["PROXY header: none (send-proxy is \(backend.sendProxy))"]
    }
    lines.append("PROXY header, \(backend.sendProxy), \(header.utf8.count / 2) bytes")
    return lines
      + backend.fields.map { "  \(Explanation.padded($0.name, 24)) \($0.value)" }
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.utf8.count))
  }
}

extension Commands {
  /// `sluice explain --config`: 0 when it could be said, 1 otherwise.
  package static func explain(
    _ query: ExplainQuery, configuration path: String, json: Bool
  ) -> Int32 {
    do throws(ConfigurationFile.Unusable) {
      let file = try ConfigurationFile(path)
      let explained = try explanation(query, file)
      if json {
        StandardStream.output.write(AdminJSON.encode(explained) + [UInt8(ascii: "\n")])
      } else {
        StandardStream.output.write(explained.text)
      }
      return 0
    } catch {
      for line in error.lines { StandardStream.error.write(Visible.line(line) + "\n") }
      return 1
    }
  }

  private static func explanation(
    _ query: ExplainQuery, _ file: ConfigurationFile
  ) throws(ConfigurationFile.Unusable) -> Explanation {
    do throws(Failure) {
      return try Explainer(file.snapshot).explain(query)
    } catch {
      throw ConfigurationFile.Unusable(lines: ["sluice: \(error.message)"])
    }
  }
}

extension Ctl {
  /// `sluice explain` of what the running process serves.
  package func explain(_ query: ExplainQuery) -> Int32 {
    ask("GET", "/v1/explain\(Ctl.parameters(query))", Explanation.self) { explained in
      Ctl.print(explained.text)
      return .done
    }
  }

  private static func parameters(_ query: ExplainQuery) -> String {
    var parts = ["from=\(encoded(query.from))"]
    if !query.listener.isEmpty { parts.append("listener=\(encoded(query.listener))") }
    if let egress = query.egress { parts.append("egress=\(encoded(egress))") }
    if let user = query.user { parts.append("user=\(encoded(user))") }
    if let to = query.to { parts.append("to=\(encoded(to))") }
    if let sni = query.sni { parts.append("sni=\(encoded(sni))") }
    if !query.alpn.isEmpty {
      parts.append("alpn=\(encoded(query.alpn.joined(separator: ",")))")
    }
    return "?" + parts.joined(separator: "&")
  }
}
