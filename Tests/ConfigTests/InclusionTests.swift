import Config
import Testing

/// One configuration of several files, told by names and texts.
@Suite struct InclusionTests {
  static let rest = "backends: { b: { servers: [127.0.0.1:1] } }\n"
  static let listener = "listeners: { a: { bind: \":25\", backend: b } }\n"

  /// The main file is `etc/f.yaml`; a text that ends in a slash names a directory.
  private func read(
    _ main: String, _ others: [String: String] = [:], directories: [String: [String]] = [:],
    variables: [String: String] = [:]
  ) -> (snapshot: Snapshot?, lines: [String]) {
    let surroundings = Surroundings(
      contents: { path, limit in
        if let names = directories[path] { return .success(.directory(names)) }
        guard let text = others[path] else { return .failure(.init("open: No such file")) }
        guard text.utf8.count <= limit else { return .failure(.init("larger than \(limit) bytes")) }
        return .success(.file(Array(text.utf8)))
      }, variable: { variables[$0] })
    let (snapshot, diagnostics) = Snapshot.parse(
      Array(main.utf8), file: "etc/f.yaml", surroundings: surroundings)
    return (snapshot, diagnostics.lines)
  }

  @Test func mappingsAreJoinedByKeyAndNetworksFollow() throws {
    let (snapshot, lines) = read(
      """
      include: [limits.yaml, /srv/conf.d/]
      timeouts: { idle: 1h }
      trusted-networks: 10.0.0.1
      listeners: { a: { bind: ":25", backend: b } }
      """,
      [
        "etc/limits.yaml": "limits: { max-connections: 7 }\ntimeouts: { connect: 9s }\n",
        "/srv/conf.d/10-b.yaml": "backends:\n  b: { servers: [127.0.0.1:1] }\n",
        "/srv/conf.d/9-c.yaml":
          "listeners: { c: { bind: \":26\", backend: d } }\n"
          + "backends: { d: { servers: [127.0.0.1:2] } }",
        "/srv/conf.d/B.yaml": "trusted-networks: [10.0.0.2, 10.0.0.3]\n",
        "/srv/conf.d/empty.yaml": "# nothing yet\n",
        "/srv/conf.d/old.yaml~": "no yaml: [",
        "/srv/conf.d/.hidden.yaml": "no yaml: [",
      ],
      directories: [
        "/srv/conf.d/": [
          "empty.yaml", "old.yaml~", ".hidden.yaml", "B.yaml", "9-c.yaml", "10-b.yaml",
        ]
      ])
    #expect(lines == [])
    let made = try #require(snapshot)
    #expect(made.limits.maxConnections == 7)
    #expect(made.listeners.map(\.name) == ["a", "c"])
    // "10-b" is before "9-c".
    #expect(made.backends.map(\.name) == ["b", "d"])
    #expect(made.listeners[0].timeouts.idleMs == 3_600_000)
    #expect(made.listeners[1].timeouts.connectMs == 9_000)
    #expect(
      made.listeners[0].proxyProtocol.sources.map(\.network.description)
        == ["10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32"])
  }

  @Test func whatIsSaidTwiceNamesBothPlaces() {
    let (snapshot, lines) = read(
      "include: [x.yaml, y.yaml]\nworkers: 1\ntimeouts: { idle: 1h }\n"
        + InclusionTests.listener + InclusionTests.rest,
      [
        "etc/x.yaml": "workers: 2\ntimeouts: { idle: 2h, connect: 1s }\nadmin: {}\n",
        "etc/y.yaml": "listeners:\n  a: { bind: \":26\", backend: b }\nadmin: { group: adm }\n"
          + "timeouts:\n  connect: 2s\n",
      ])
    #expect(snapshot == nil)
    #expect(
      lines == [
        "etc/x.yaml:1:1: duplicate key \"workers\"; the first is at etc/f.yaml:2:1",
        "etc/x.yaml:2:13: duplicate key \"idle\"; the first is at etc/f.yaml:3:13",
        "etc/y.yaml:2:3: duplicate key \"a\"; the first is at etc/f.yaml:4:14",
        "etc/y.yaml:5:3: duplicate key \"connect\"; the first is at etc/x.yaml:2:23",
      ])
  }

  @Test func everyMessageNamesItsFile() {
    let (_, lines) = read(
      "include: x.yaml\nlisteners:\n  a: { bind: \":25\", backend: c }\n",
      [
        "etc/x.yaml":
          "listenres: {}\nbackends: { b: { servers: [127.0.0.1:1] } }\n"
          + "listeners:\n  d: { bind: \"0.0.0.0:25\", backend: b, backlog: 0 }\n"
      ])
    #expect(
      lines == [
        "etc/f.yaml:3:30: unknown backend \"c\"; backends are b",
        "etc/x.yaml:1:1: unknown key \"listenres\", did you mean \"listeners\"?",
        "etc/x.yaml:4:14: \"0.0.0.0:25\" is already bound by listener \"a\" at etc/f.yaml:3:14",
        "etc/x.yaml:4:49: backlog: 0 is out of range 1 to 65535",
      ])
  }

  /// What is in none of the files is missing from the first.
  @Test func brokenPartsAreNamedAtTheirOwnPlaces() {
    let (_, lines) = read(
      "include: [a.yaml, b.yaml, c.yaml, gone.yaml, d, ./a.yaml, f.yaml, { x: y }]\n"
        + InclusionTests.listener,
      [
        "etc/a.yaml": "backends: {\n", "etc/b.yaml": "just text", "etc/c.yaml": "include: a.yaml\n",
        "etc/f.yaml": "itself",
      ], directories: ["etc/d": ["e.yaml"], "etc/d/e.yaml": []])
    #expect(
      lines == [
        "etc/f.yaml:1:1: there are no backends; there is nowhere to connect to",
        "etc/f.yaml:1:35: include: etc/gone.yaml: open: No such file",
        "etc/f.yaml:1:46: include: etc/d/e.yaml is a directory in a directory",
        "etc/f.yaml:1:49: include: etc/./a.yaml is included twice, first at etc/f.yaml:1:11",
        "etc/f.yaml:1:59: include: etc/f.yaml is this file itself",
        "etc/f.yaml:1:67: include takes the path of a file or directory, or a list",
        "etc/a.yaml:2:1: did not find expected node content while parsing a flow node",
        "etc/b.yaml:1:1: the file takes a mapping (\"key: value\" lines)",
        "etc/c.yaml:1:1: an included file cannot include others; name them in etc/f.yaml",
      ])
  }

  @Test func aDirectoryOfItsOwnDoesNotIncludeTheFileAgain() {
    let (_, lines) = read(
      "include: .\n" + InclusionTests.listener + InclusionTests.rest,
      directories: ["etc/.": ["f.yaml"]])
    #expect(lines == ["etc/f.yaml:1:10: include: etc/./f.yaml is this file itself"])
  }

  @Test func sizesCountTogether() {
    let half = String(repeating: "#", count: 4 << 20) + "\n"
    let main = "include: [x.yaml, y.yaml]\n" + InclusionTests.listener + InclusionTests.rest
    let (_, lines) = read(main, ["etc/x.yaml": half, "etc/y.yaml": half])
    let left = (8 << 20) - main.utf8.count - half.utf8.count
    #expect(lines == ["etc/f.yaml:1:19: include: etc/y.yaml: larger than \(left) bytes"])
    let values = "x: [" + String(repeating: "a,", count: 600_000) + "]"
    let (_, others) = read(main, ["etc/x.yaml": values, "etc/y.yaml": values])
    #expect(
      others.contains("etc/f.yaml:1:19: the files have more than 1000000 values in all"),
      "\(others)")
  }

  @Test func manyFilesAreRefused() {
    let names = (0...1000).map { "\($0).yaml" }
    let (_, lines) = read(
      "include: d\n" + InclusionTests.listener + InclusionTests.rest,
      Dictionary(uniqueKeysWithValues: names.map { ("etc/d/\($0)", "") }),
      directories: ["etc/d": names])
    #expect(lines == ["etc/f.yaml:1:10: include: 1001 files; at most 1000 are read"])
  }

  @Test func pathsMayComeFromTheEnvironment() {
    let (snapshot, lines) = read(
      "include: ${DIR}/x.yaml\n" + InclusionTests.listener, ["/srv/x.yaml": InclusionTests.rest],
      variables: ["DIR": "/srv"])
    #expect(lines == [])
    #expect(snapshot != nil)
  }
}
