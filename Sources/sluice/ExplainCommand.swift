internal import AdminAPI
internal import ArgumentParser
internal import Control

struct ExplainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain",
    abstract: "Say what would become of a connection, and by which rule.",
    discussion: """
      Prints the rules that are asked and why each of them does not take it, the backend, the \
      PROXY header that its server would get, field by field, and the time-outs. With --config it \
      asks that file, otherwise the running server over its admin socket. Nothing is connected. \
      With --egress it says what a forward proxy would do about a request, for which the host's \
      name is resolved.
      """)

  @Option(name: [.customShort("c"), .customLong("config")], help: "Ask this file, and no server.")
  var configuration: String?

  @OptionGroup var options: CtlOptions

  @Option(help: "The listener it comes in by; with --egress, the only forward proxy without it.")
  var listener: String?

  @Option(help: "The client's address, with or without a port; unix for one of a Unix socket.")
  var from: String?

  @Option(help: "The URL that is asked of a forward proxy, such as https://www.example:443.")
  var egress: String?

  @Option(help: "With --egress: who has logged in.")
  var user: String?

  @Option(help: "The address and port that it reaches; the listener's own without it.")
  var to: String?

  @Option(help: "The server name that its ClientHello asks for.")
  var sni: String?

  @Option(help: "A protocol that its ClientHello offers; as often as there are some.")
  var alpn: [String] = []

  func validate() throws {
    if egress == nil, listener == nil || from == nil {
      throw ValidationError("--listener and --from are needed, or --egress")
    }
    if egress == nil, user != nil { throw ValidationError("--user is for --egress") }
    if configuration != nil, options.socket != nil {
      throw ValidationError("--config asks a file and --socket a server; give one of them")
    }
  }

  func run() throws {
    let query = ExplainQuery(
      listener: listener ?? "", from: from ?? ExplainQuery.anyClient, to: to, sni: sni,
      alpn: alpn.flatMap { $0.split(separator: ",").map(String.init) }, egress: egress, user: user)
    guard let configuration else { throw ExitCode(options.ctl.explain(query)) }
    throw ExitCode(Commands.explain(query, configuration: configuration, json: options.json))
  }
}
