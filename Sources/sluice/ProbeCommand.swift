internal import ArgumentParser
internal import Control

struct ProbeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "probe",
    abstract: "Find out which PROXY headers a server accepts, requires or refuses.",
    discussion: """
      Makes about twenty connections to the server at once, each with another kind of header, and \
      says what the backend's send-proxy should be. Without a protocol it guesses from who speaks \
      first. The server logs what it refuses. Exits with 1 if there is nothing to configure: \
      nobody answers, or everybody is refused.
      """)

  @Argument(help: "HOST:PORT, [IPV6]:PORT or unix:PATH.", transform: probeTarget)
  var target: Probe.Target

  @Flag(exclusivity: .exclusive, help: "The protocol the server speaks.")
  var service: ProbeService?

  @Flag(help: "Print every attempt and the verdict as JSON.")
  var json = false

  @Option(help: "How long to wait at most: 8s, 500ms.", transform: probeTimeout)
  var timeout = Probe.defaultTimeoutMs

  func run() throws {
    throw ExitCode(
      Commands.probe(target, service: service, timeoutMs: timeout, json: json))
  }
}

extension ProbeService: EnumerableFlag {}

@Sendable
private func probeTarget(_ text: String) throws -> Probe.Target {
  guard let target = Probe.Target(text) else {
    throw ValidationError("\"\(text)\" is no HOST:PORT: mail.example:25 or [2001:db8::1]:25")
  }
  return target
}

/// Below a second busy servers are called silent; above two minutes nobody waits.
@Sendable
private func probeTimeout(_ text: String) throws -> Int {
  let isMs = text.hasSuffix("ms")
  let digits = isMs ? text.dropLast(2) : text.hasSuffix("s") ? text.dropLast() : text[...]
  guard let number = Int(digits), (0...120_000).contains(number) else {
    throw ValidationError("\"\(text)\" is no duration: 8s or 500ms")
  }
  let ms = isMs ? number : number * 1000
  guard (500...120_000).contains(ms) else {
    throw ValidationError("the time-out must be 500ms to 120s")
  }
  return ms
}
