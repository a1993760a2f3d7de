internal import AdminAPI
internal import ArgumentParser
internal import Control

// The verbs of `sluice ctl` that change something.

struct CtlReload: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reload",
    abstract: "Read the configuration file again, and serve it: all of it or nothing.",
    discussion: "Prints what changes: + added, - removed, ~ changed, = kept.")

  @OptionGroup var options: CtlOptions

  @Flag(help: "Print what would change, and change nothing.")
  var dryRun = false

  @Option(
    help: "Wait until what was removed has no connections left, at most so long: 30s, 5m.",
    transform: durationSeconds)
  var waitDrained: Double?

  func run() throws {
    throw ExitCode(options.ctl.reload(dryRun: dryRun, waitDrainedSeconds: waitDrained))
  }
}

/// `listener NAME`, `backend NAME` or `server BACKEND SERVER`.
struct CtlTarget: ParsableArguments {
  enum Kind: String, ExpressibleByArgument, CaseIterable { case listener, backend, server }

  @Argument(help: "What it is.")
  var kind: Kind

  @Argument(help: "NAME of a listener or backend; BACKEND and SERVER of a server.")
  var names: [String]

  func validate() throws {
    guard names.count == (kind == .server ? 2 : 1) else {
      throw ValidationError(
        kind == .server
          ? "a server is named by its backend and its own name: server BACKEND SERVER"
          : "one name is wanted: \(kind.rawValue) NAME")
    }
  }

  var target: Target {
    switch kind {
    case .listener: .listener(names[0])
    case .backend: .backend(names[0])
    case .server: .server(backend: names[0], server: names[1])
    }
  }
}

struct CtlDrain: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drain",
    abstract: "No new connections for a listener, a backend or a server.",
    discussion: "Live connections go on. It outlives reloads; `resume` ends it.")

  @OptionGroup var options: CtlOptions
  @OptionGroup var target: CtlTarget

  func run() throws { throw ExitCode(options.ctl.drain(target.target)) }
}

struct CtlResume: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resume", abstract: "New connections again for what was drained.")

  @OptionGroup var options: CtlOptions
  @OptionGroup var target: CtlTarget

  func run() throws { throw ExitCode(options.ctl.resume(target.target)) }
}

struct CtlWeight: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "weight", abstract: "Change a server's share of new connections.")

  @OptionGroup var options: CtlOptions

  @Argument(help: "The backend's name.")
  var backend: String

  @Argument(help: "The server, as the configuration names it.")
  var server: String

  @Argument(help: "0 to 256; 0 gets no new connections.")
  var weight: Int

  func validate() throws {
    guard (0...256).contains(weight) else {
      throw ValidationError("a weight is a number from 0 to 256")
    }
  }

  func run() throws {
    throw ExitCode(options.ctl.weight(backend: backend, server: server, weight: weight))
  }
}

struct CtlKill: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kill",
    abstract: "End a connection, or all that match.",
    discussion: "Either an id, as `sessions` prints it, or at least one of the options.")

  @OptionGroup var options: CtlOptions
  @OptionGroup var filter: CtlFilter

  @Argument(help: "The connection's id.")
  var id: String?

  func validate() throws {
    guard (id == nil) != filter.isEmpty else {
      throw ValidationError("it takes either an id or options that say which connections")
    }
  }

  func run() throws {
    let matching = id == nil ? filter.query(limit: SessionQuery.largestLimit) : nil
    throw ExitCode(options.ctl.kill(KillRequest(id: id, matching: matching)))
  }
}

struct CtlBan: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ban", abstract: "Turn an address or a network away.",
    discussion: "It outlives restarts. A second ban of the same network replaces the first.")

  @OptionGroup var options: CtlOptions

  @Argument(help: "ADDRESS or NETWORK/BITS.")
  var network: String

  @Option(name: .customLong("for"), help: "How long: 10m, 1h; without it until `unban`.",
    transform: durationSeconds)
  var length: Double?

  @Option(help: "Why; shown by `bans`.")
  var reason: String?

  func run() throws {
    let request = BanRequest(network: network, seconds: length, reason: reason)
    throw ExitCode(options.ctl.ban(request))
  }
}

struct CtlUnban: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unban", abstract: "Lift a ban.")

  @OptionGroup var options: CtlOptions

  @Argument(help: "ADDRESS or NETWORK/BITS, as `bans` prints it.")
  var network: String

  func run() throws { throw ExitCode(options.ctl.unban(network)) }
}

struct CtlLogLevel: ParsableCommand {
  enum Level: String, ExpressibleByArgument, CaseIterable { case error, warning, info, debug }

  static let configuration = CommandConfiguration(
    commandName: "log-level", abstract: "Which notices the server writes to standard error.")

  @OptionGroup var options: CtlOptions

  @Argument(help: "The least important level that is still written.")
  var level: Level

  func run() throws { throw ExitCode(options.ctl.logLevel(level.rawValue)) }
}
