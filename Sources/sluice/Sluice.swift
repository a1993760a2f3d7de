internal import ArgumentParser
internal import Control
internal import Wire

/// The commands. What they do stands in Control; here is only how they are called.
@main
struct Sluice: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sluice",
    abstract: "An edge proxy for TCP: mail servers behind it keep seeing their clients' addresses.",
    version: Commands.version,
    subcommands: [
      Run.self, Check.self, SchemaCommand.self, ProbeCommand.self, DecodeProxyCommand.self,
      ExplainCommand.self, CtlCommand.self, Demo.self, Version.self,
    ])
}

struct ConfigurationOption: ParsableArguments {
  @Option(name: [.customShort("c"), .customLong("config")], help: "The configuration file.")
  var path: String
}

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Serve until SIGTERM.",
    discussion: """
      SIGTERM and SIGINT drain: no new connections, live ones may finish until `timeouts.drain`. A \
      second one ends them. SIGUSR1 opens the connection log anew.
      """)

  @OptionGroup var configuration: ConfigurationOption

  func run() throws {
    throw ExitCode(Commands.run(configuration: configuration.path))
  }
}

struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say what a configuration means, or what is wrong with it.",
    discussion: """
      Prints every error with its place, and whether this machine has what it asks for: free \
      addresses, the right to bind them, descriptors, io_uring. Exits with 1 if `run` would not \
      start now.
      """)

  @OptionGroup var configuration: ConfigurationOption

  func run() throws {
    throw ExitCode(Commands.check(configuration: configuration.path))
  }
}

struct SchemaCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schema",
    abstract: "Print a JSON Schema of the configuration, for editors.",
    discussion: """
      An editor with the YAML language server takes it from a comment in the file: \
      # yaml-language-server: $schema=PATH
      """)

  func run() throws {
    throw ExitCode(Commands.schema())
  }
}

struct Demo: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Relay to a server in the same process that says which address it sees.")

  @Option(help: "Where clients connect.", transform: loopbackAddress)
  var bind = SocketAddress.ipv4(0x7f00_0001, port: 7025)

  func run() throws {
    throw ExitCode(Commands.demo(bind: bind))
  }
}

struct Version: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Print the version.")

  func run() {
    print("sluice \(Commands.version)")
  }
}

@Sendable
private func loopbackAddress(_ text: String) throws -> SocketAddress {
  guard let address = SocketAddress(text) else {
    throw ValidationError("\"\(text)\" is no address: 127.0.0.1:7025, for one")
  }
  return address
}
