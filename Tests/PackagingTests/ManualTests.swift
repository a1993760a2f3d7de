import TestSupport
import Testing

/// The manual pages say what the program says, no less.
@Suite struct ManualTests {
  @Test(arguments: ["sluice.1", "sluice.yaml.5"])
  func thePageHasNoFault(page: String) throws {
    let lint = try ChildProcess.run(
      "mandoc", ["-T", "lint", "-W", "warning", "\(packaging)/\(page)"])
    #expect(lint.exit == .code(0), "\(lint.output)\(lint.error)")
    let said = try succeed(
      "man", ["--warnings", "--encoding=UTF-8", "--local-file", "\(packaging)/\(page)"],
      environment: ["MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"])
    #expect(said.contains("NAME") && !said.contains("warning:"), "\(said)")
  }

  /// Text of a page without its macros' names, so that `Cm check` is `check`.
  private func text(_ page: String) throws -> String {
    try succeed("mandoc", ["-T", "ascii", "-O", "width=1000", "\(packaging)/\(page)"])
      .replacing(#/.\u{8}/#, with: "")
  }

  @Test func everyCommandAndOptionIsThere() throws {
    let help = try JSONValue(try succeed(SluiceBinary.path, ["--experimental-dump-help"]))
    let page = try text("sluice.1")
    let command = try #require(help["command"])
    for word in words(of: command) {
      #expect(page.contains(word), "sluice.1 has no \(word)")
    }
  }

  /// Names of commands and of their own options, but for those that every program has.
  private func words(of command: JSONValue) -> Set<String> {
    var found: Set<String> = []
    for subcommand in array(command["subcommands"])
    where subcommand["shouldDisplay"] != .bool(false) {
      if let name = subcommand["commandName"]?.string { found.insert(name) }
      found.formUnion(words(of: subcommand))
    }
    for argument in array(command["arguments"]) where argument["shouldDisplay"] != .bool(false) {
      for name in array(argument["names"]) {
        guard let text = name["name"]?.string, !["help", "h", "version"].contains(text) else {
          continue
        }
        found.insert(text.count == 1 ? "-\(text)" : "--\(text)")
      }
    }
    return found
  }

  private func array(_ value: JSONValue?) -> [JSONValue] {
    if case .array(let elements)? = value { elements } else { [] }
  }

  /// docs/configuration.md is held to the schema by a test of its own; its last example has all.
  @Test func everyKeyAtTheTopIsThere() throws {
    let example = contents(of: "\(sourceTree)/docs/configuration.md").split(at: "## Every key").1
    let keys = example.split(separator: "\n").compactMap { line in
      line.prefixMatch(of: #/([a-z-]+):/#).map { String($0.1) }
    }
    #expect(keys.count >= 8)
    let page = try text("sluice.yaml.5")
    for key in keys { #expect(page.contains("\n     \(key)"), "sluice.yaml.5 has no \(key)") }
  }

  @Test(arguments: ["bash", "zsh", "fish"])
  func completionsAreThere(shell: String) throws {
    let script = try succeed(SluiceBinary.path, ["--generate-completion-script", shell])
    for command in ["check", "probe", "decode-proxy"] { #expect(script.contains(command)) }
    if shell == "bash" { try succeed("bash", ["-n", "-c", script]) }
  }
}
