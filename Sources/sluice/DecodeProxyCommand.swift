internal import ArgumentParser
internal import Control

struct DecodeProxyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "decode-proxy",
    abstract: "Print the PROXY header on standard input, field by field.",
    discussion: """
      Takes the header's bytes, or hexadecimal with any white space and colons; it tells the two \
      apart. Exits with 1 when the header is not valid or not whole, and says at which byte.
      """)

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    throw ExitCode(Commands.decodeProxy(json: json))
  }
}
