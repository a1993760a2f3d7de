import Config
import Routing
import Testing

/// What `${NAME}` comes to.
@Suite struct SubstitutionTests {
  static let variables = [
    "WORKERS": "7", "PORT": "25", "EMPTY": "", "YAML": "a: [b, {c: d}] # x", "LINES": "/x\n/y",
    "DOLLAR": "$$ ${listener} $", "TEXT": "x", "A1_B": "10.0.0.1",
    "BIG": String(repeating: "x", count: 1 << 17),
  ]

  private func read(_ text: String) -> (snapshot: Snapshot?, lines: [String]) {
    let surroundings = Surroundings(
      contents: { _, _ in .failure(.init("none")) }, variable: { Self.variables[$0] })
    let (snapshot, diagnostics) = Snapshot.parse(
      Array(text.utf8), file: "f.yaml", surroundings: surroundings)
    return (snapshot, diagnostics.lines)
  }

  @Test(arguments: [
    ("workers: ${WORKERS}", 7), ("workers: \"1${WORKERS}\"", 17), ("workers: ${NONE:-3}", 3),
    ("workers: ${EMPTY:-4}", 4), ("workers: ${WORKERS:-4}", 7),
    ("workers: ${EMPTY}${NONE:-}${WORKERS}", 7),
  ])
  func standsForItsValue(line: String, count: Int) throws {
    let (snapshot, lines) = read(File.top(line))
    #expect(lines == [])
    #expect(try #require(snapshot).workers == .count(count))
  }

  @Test func mayBeAPartOfAnyText() throws {
    let (snapshot, lines) = read(
      "trusted-networks: [\"${A1_B}\"]\n"
        + "listeners: { a: { bind: \"127.0.0.1:${PORT}\", backend: \"${TEXT}\" } }\n"
        + "backends: { x: { servers: [{ address: \"${A1_B}:${PORT}\" }] } }")
    #expect(lines == [])
    let made = try #require(snapshot)
    #expect(made.backends[0].servers[0].name == "10.0.0.1:25")
    #expect(made.listeners[0].binds.map(\.description) == ["127.0.0.1:25"])
    #expect(made.listeners[0].proxyProtocol.sources.count == 1)
  }

  @Test(arguments: [
    ("/$$x", "/$x"), ("/$$${TEXT}", "/$x"), ("/$${TEXT}", "/${TEXT}"), ("/$x$", "/$x$"),
    ("/$ x", "/$ x"), ("/${NONE:-$x}", "/$x"), ("/${NONE:-a:-b}", "/a:-b"),
    // A value stays one text, whatever it holds.
    ("/${YAML}", "/a: [b, {c: d}] # x"), ("/${DOLLAR}", "/$$ ${listener} $"),
  ])
  func dollars(written: String, path: String) throws {
    let (snapshot, lines) = read(File.top("state-directory: \"\(written)\""))
    #expect(lines == [])
    #expect(try #require(snapshot).stateDirectory == path)
  }

  @Test func keysAreTakenAsTheyAre() {
    let (_, lines) = read(File.top("\"${TEXT}\": 1"))
    #expect(lines.count == 1 && lines[0].hasPrefix("f.yaml:1:1: unknown key \"${TEXT}\""))
  }

  /// An empty value is an empty text, and not the lack of one.
  @Test func emptyIsAText() {
    let (_, lines) = read(File.top("workers: ${EMPTY}"))
    #expect(lines == ["f.yaml:1:10: workers: \"\" is not a whole number"])
  }

  /// In `proxy-tlvs` lower case is ours, and what the environment gives is never read as that.
  @Test func templatesKeepTheirOwnVariables() throws {
    let value = "$$ ${listener} ${TEXT} ${DOLLAR} $${TEXT}"
    let (snapshot, lines) = read(
      File.backend(
        "{ servers: [127.0.0.1:1], send-proxy: v2, proxy-tlvs: [{ type: 0xE0, value: "
          + "\"\(value)\" }, { type: 0xE1, value: \"${NONE:-$}\" }] }"))
    #expect(lines == [])
    let custom = try #require(snapshot).backends[0].tlvs.custom
    #expect(
      custom[0].value == [
        .text(Array("$ ".utf8)), .listener, .text(Array(" x $$ ${listener} $ ${TEXT}".utf8)),
      ])
    #expect(custom[1].value == [.text(Array("$".utf8))])
  }

  @Test(arguments: [
    Case(
      File.top("workers: ¦${NONE}"),
      "${NONE} is not set in the environment; set it, or write ${NONE:-default}"),
    Case(
      File.top("log: { connections: \"off\", level: ¦\"${NONE}${NONE2}\" }"),
      "${NONE} is not set in the environment; set it, or write ${NONE:-default}"),
    Case(
      File.top("state-directory: ¦/${listener}"),
      #""${listener}" is neither ${NAME} nor ${NAME:-default}, with NAME of A-Z, 0-9 and "_"; "#
        + #"write "$${" for these characters"#),
    Case(
      File.top("state-directory: ¦/${TEXT-x}"),
      #""${TEXT-x}" is neither ${NAME} nor ${NAME:-default}, with NAME of A-Z, 0-9 and "_"; "#
        + #"write "$${" for these characters"#),
    Case(
      File.top("state-directory: ¦/${TEXT"),
      #"a "${" without its "}"; write "$${" for these characters"#),
    Case(
      File.top("state-directory: ¦${LINES}"), "control character U+000A in the value of ${LINES}"),
    Case(
      File.backend(
        "{ servers: [127.0.0.1:1], send-proxy: v2, proxy-tlvs: [{ type: 0xE0, value: "
          + "¦\"${lisener}\" }] }"), #"value: unknown "${lisener}", did you mean "listener"?"#),
  ])
  func faults(fault: Case) {
    let lines = read(String(decoding: fault.text, as: UTF8.self)).lines
    // What is then made of the text may be wrong as well.
    #expect(lines.first == fault.expected.first)
  }

  @Test func aBombIsDefused() {
    let bomb = String(repeating: "${BIG}", count: 65)
    let (_, lines) = read(File.top("state-directory: \"/\(bomb)\""))
    #expect(lines.first == "f.yaml:1:18: the environment adds more than 8388608 bytes in all")
  }
}
