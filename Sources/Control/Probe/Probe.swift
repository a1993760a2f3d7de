internal import System
package import Wire

/// What a server does with PROXY headers, found out by asking it: several connections at once, each
/// with another kind of header, none of them a second longer than the server itself takes.
package struct Probe: Sendable {
  /// Where to probe: an address, or a name and a port.
  package enum Target: Sendable, Hashable {
    case address(SocketAddress)
    case name(HostName, port: UInt16)

    /// Parses `192.0.2.1:25`, `[2001:db8::1]:25`, `unix:/run/x.sock` and `mail.example:25`.
    package init?(_ text: String) {
      if let address = SocketAddress(text) {
        self = .address(address)
        return
      }
      guard let colon = text.lastIndex(of: ":"), let name = HostName(String(text[..<colon])),
        let port = UInt16(text[text.index(after: colon)...]), port > 0
      else { return nil }
      self = .name(name, port: port)
    }

    var description: String {
      switch self {
      case .address(let address): "\(address)"
      case .name(let name, let port): "\(name):\(port)"
      }
    }
  }

  /// Longer than the servers we know wait for a header: Dovecot 3 s, Postfix 5 s.
  package static let defaultTimeoutMs = 8000

  let target: Target
  let service: ProbeService?
  let timeoutMs: Int

  /// The addresses of the target, one after the other until one answers.
  func report() throws(Resolver.Fault) -> ProbeReport {
    switch target {
    case .address(let address): return report(at: address, name: nil)
    case .name(let name, let port):
      let addresses = try Resolver.addresses(of: name.text, port: port)
      var report = report(at: addresses[0], name: name.text)
      for address in addresses.dropFirst()
      where report.judge.observations.allSatisfy({ $0.failure != nil }) {
        report = self.report(at: address, name: name.text)
      }
      return report
    }
  }

  private func report(at address: SocketAddress, name: String?) -> ProbeReport {
    var judge = round(at: address, name: name, service)
    if judge.hasMetTLS { judge = round(at: address, name: name, .tls) }
    return ProbeReport(
      target: target.description, address: address, askedService: service, judge: judge)
  }

  /// All attempts at once.
  private func round(
    at address: SocketAddress, name: String?, _ service: ProbeService?
  ) -> ProbeJudge {
    let attempts = ProbeAttempt.all(for: service)
    let conversation = ProbeConversation(
      address: address, name: name, service: service, timeoutMs: timeoutMs,
      progress: ProbeProgress(attempts: attempts.count))
    let seen = Guarded<[ProbeObservation]>([])
    var threads: [Thread] = []
    for attempt in attempts {
      let body: @Sendable () -> Void = {
        let observation = conversation.hold(attempt)
        seen.withLock { $0.append(observation) }
      }
      // At the limit of threads one after the other is slower, and right all the same.
      if let thread = try? Thread(name: "probe", body) {
        threads.append(thread)
      } else {
        body()
      }
    }
    for thread in threads { thread.join() }
    let all = seen.withLock { $0 }
    return ProbeJudge(
      service: service,
      attempts.compactMap { attempt in all.first { $0.attempt == attempt } })
  }
}

extension Commands {
  /// `sluice probe`: 0 when the verdict says what to configure, 1 when it does not.
  package static func probe(
    _ target: Probe.Target, service: ProbeService?, timeoutMs: Int, json: Bool
  ) -> Int32 {
    do throws(Resolver.Fault) {
      let report = try Probe(target: target, service: service, timeoutMs: timeoutMs).report()
      StandardStream.output.write(json ? report.json.text + "\n" : report.text)
      return report.verdict.isConclusive ? 0 : 1
    } catch {
      StandardStream.error.write("sluice: \(target.description): \(error)\n")
      return 1
    }
  }
}
