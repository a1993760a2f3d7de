internal import AdminAPI
internal import ArgumentParser
internal import Config
internal import Control

/// `sluice ctl VERB`. What the verbs do stands in Control; here is only how they are called.
struct CtlCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ctl",
    abstract: "Ask and tell the running server, over its admin socket.",
    discussion: """
      The socket is the one of --socket, of the variable SLUICE_ADMIN, or \(Ctl.defaultSocket). \
      With --json a verb prints what the server answered.

      Exits with 0 when it is done, 1 when the server refused or something failed, 3 when nobody \
      answers, 4 when this user may not, and 64 when the call makes no sense.
      """,
    subcommands: [
      CtlStatus.self, CtlListeners.self, CtlBackends.self, CtlSessions.self, CtlTop.self,
      CtlEvents.self, CtlReload.self, CtlDrain.self, CtlResume.self, CtlWeight.self, CtlKill.self,
      CtlBan.self, CtlUnban.self, CtlBans.self, CtlConfig.self, CtlMetrics.self, CtlLogLevel.self,
    ])
}

/// What every verb takes.
struct CtlOptions: ParsableArguments {
  @Option(help: "The admin socket's path.", completion: .file())
  var socket: String?

  @Flag(help: "Print the answer as JSON.")
  var json = false

  var ctl: Ctl { Ctl(socket: socket, json: json) }
}

/// Which connections are meant.
struct CtlFilter: ParsableArguments {
  @Option(help: "Only connections of this listener.")
  var listener: String?

  @Option(help: "Only those that go to this backend.")
  var backend: String?

  @Option(help: "Only those of this address or network.")
  var client: String?

  @Option(help: "Only those older than this: 30s, 1h.", transform: durationSeconds)
  var olderThan: Double?

  func query(limit: Int, after: String? = nil) -> SessionQuery {
    SessionQuery(
      listener: listener, backend: backend, client: client, olderThanSeconds: olderThan,
      limit: limit, after: after)
  }

  var isEmpty: Bool { listener == nil && backend == nil && client == nil && olderThan == nil }
}

@Sendable
func durationSeconds(_ text: String) throws -> Double {
  do throws(DurationText.Fault) {
    return try DurationText.seconds(text)
  } catch {
    throw ValidationError("\(error)")
  }
}

// ---- looks -----------------------------------------------------------------------------------

struct CtlStatus: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "The process as a whole, drains and reloads.")

  @OptionGroup var options: CtlOptions

  func run() throws { throw ExitCode(options.ctl.status()) }
}

struct CtlListeners: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "listeners", abstract: "Listeners, with what they count.")

  @OptionGroup var options: CtlOptions

  func run() throws { throw ExitCode(options.ctl.listeners()) }
}

struct CtlBackends: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backends", abstract: "Backends and their servers, with what they count.")

  @OptionGroup var options: CtlOptions

  func run() throws { throw ExitCode(options.ctl.backends()) }
}

struct CtlSessions: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sessions", abstract: "Live connections.")

  @OptionGroup var options: CtlOptions
  @OptionGroup var filter: CtlFilter

  @Option(help: "At most so many, up to \(SessionQuery.largestLimit).")
  var limit = SessionQuery.defaultLimit

  @Option(help: "Where the list before ended.")
  var after: String?

  func validate() throws { try validateLimit(limit) }

  func run() throws {
    throw ExitCode(options.ctl.sessions(filter.query(limit: limit, after: after)))
  }
}

private func validateLimit(_ limit: Int) throws {
  guard (1...SessionQuery.largestLimit).contains(limit) else {
    throw ValidationError("the limit is a number from 1 to \(SessionQuery.largestLimit)")
  }
}

struct CtlTop: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "top", abstract: "Live connections on the whole screen, every second.",
    discussion: """
      Keys: q quits, s sorts by bytes, rate, age or idle time, the arrows select, k ends the \
      selected connection (y confirms). With --json it prints what it would show, once.
      """)

  @OptionGroup var options: CtlOptions

  func run() throws { throw ExitCode(options.ctl.top()) }
}

struct CtlEvents: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "events", abstract: "What happens from now on, until interrupted.")

  @OptionGroup var options: CtlOptions

  func run() throws { throw ExitCode(options.ctl.events()) }
}

struct CtlBans: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bans", abstract: "Addresses and networks that are turned away.")

  @OptionGroup var options: CtlOptions

  func run() throws { throw ExitCode(options.ctl.bans()) }
}

struct CtlConfig: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config", abstract: "The configuration in force as YAML, without secrets.")

  @OptionGroup var options: CtlOptions

  @Flag(help: "Show keys that have their default, too.")
  var defaults = false

  func run() throws { throw ExitCode(options.ctl.configuration(defaults: defaults)) }
}

struct CtlMetrics: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "metrics", abstract: "The metrics, as Prometheus reads them.")

  @OptionGroup var options: CtlOptions

  func run() throws { throw ExitCode(options.ctl.metrics()) }
}
