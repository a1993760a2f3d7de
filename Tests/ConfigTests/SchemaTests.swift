import TestSupport
import Testing

@testable import Config

/// The schema that editors get: the same keys and the same values as the reader's.
@Suite struct SchemaTests {
  @Test func theFileInTheDocumentsIsWhatTheProgramPrints() throws {
    let file = try ProjectFiles.text("docs/sluice.schema.json")
    #expect(
      file == SchemaDocument.text, "make it anew: sluice schema > docs/sluice.schema.json")
  }

  /// Both ways: no key is missing, and none is there that the reader does not know.
  @Test func everyKeyIsInTheSchema() throws {
    let definitions = try #require(SchemaDocument.document["$defs"])
    var paths: Set<String> = []
    for (path, keys) in Schema.sections {
      let section = path.isEmpty ? SchemaDocument.document : try #require(definitions[path])
      #expect(section["properties"]?.names == keys.map { Schema.name(of: $0) }, "\(path)")
      for key in keys { paths.formUnion(SchemaTests.sections(of: key.type)) }
    }
    // Each mapping is somebody's value.
    #expect(paths.union([""]) == Set(Schema.sections.map(\.path)))
    #expect(Set(definitions.names) == paths.union(["environment"]))
  }

  private static func sections(of type: ValueType) -> Set<String> {
    switch type {
    case .section(let path), .names(let path, _, _): [path]
    case .list(let item, _, _, _): sections(of: item)
    case .either(let types): Set(types.flatMap { sections(of: $0) })
    case .words, .number, .octet, .duration, .size, .text: []
    }
  }

  // MARK: What a validator makes of it

  /// What editors say of each file: nil for a good one.
  private func verdicts(_ files: [String]) throws -> [String?] {
    let python = "\(ProjectFiles.root)/.build/python"
    try #require(
      (try? ProjectFiles.text(".build/python/ready"))?.contains("jsonschema") == true,
      "the Python package jsonschema is missing: tools/packages test installs it from PyPI")
    let result = try ChildProcess.run(
      "\(python)/bin/python3",
      [
        "\(ProjectFiles.root)/Tests/ConfigTests/validate_schema.py",
        "\(ProjectFiles.root)/docs/sluice.schema.json",
      ], input: files.joined(separator: "=====\n"), until: Deadline(inMs: 120_000))
    try #require(result.exit == .code(0), "\(result.error)")
    let lines = result.output.split(separator: "\n")
    try #require(lines.count == files.count, "\(lines)")
    return lines.map { $0 == "good" ? nil : String($0) }
  }

  @Test func goodFilesAreGood() throws {
    var files = YAMLTests.files + (try ProjectFiles.examples(in: ReferenceTests.document))
    files += try YAMLTests.files.flatMap { file in
      let snapshot = try #require(parse(file).snapshot)
      return [snapshot.yaml(defaults: false), snapshot.yaml(defaults: true)]
    }
    files += [
      File.top("workers: ${W}\nlog: { level: '${LEVEL:-info}' }\ntimeouts: { idle: '${X}s' }"),
      File.top("workers: \"4\"\nlog:\n  # nothing\ninclude: [a.yaml, b]\n"),
      "include: conf.d\n",
    ]
    for (file, verdict) in zip(files, try verdicts(files)) {
      #expect(verdict == nil, "\(file)")
    }
  }

  /// What is wrong with a value by itself shows in an editor as well.
  @Test func badFilesAreBad() throws {
    let faults =
      Faults.keys + Faults.values + AdminFaults.values + ProxyFaults.listeners + ProxyFaults.tlvs
      + ProxyFaults.headers + BackendFaults.names + BackendFaults.checks
    let telling = [
      "unknown key", " is not one of ", " is out of range ", " has no unit", "unknown unit",
      "it cannot be off", "would end at once", " has no bind", " has no servers",
      " has no backend", " takes a mapping", " is empty; it needs one",
    ]
    let files = faults.filter { fault in
      fault.messages.contains { message in telling.contains { message.contains($0) } }
    }.map { String(decoding: $0.text, as: UTF8.self) }
    #expect(files.count > 50)
    for (file, verdict) in zip(files, try verdicts(files)) {
      #expect(verdict != nil, "\(file)")
    }
  }

  /// An editor that underlines what is right is worse than none.
  @Test func whatItRefusesTheReaderRefuses() throws {
    var files: [String] = []
    for seed in 1...20 {
      var random = MutationTests.Random(state: UInt64(seed) &* 0x9e37_79b9_7f4a_7c15)
      for _ in 0..<40 {
        var text = Array(SnapshotTests.full.utf8)
        MutationTests.damage(&text, &random)
        let file = String(decoding: text, as: UTF8.self)
        if Snapshot.parse(text, file: "f.yaml").snapshot != nil { files.append(file) }
      }
    }
    #expect(files.count > 50)
    // libyaml lets more pass than the parser of an editor: a tab behind a value, for one.
    for (file, verdict) in zip(files, try verdicts(files)) {
      #expect(verdict == nil || verdict?.hasPrefix("no YAML") == true, "\(file)")
    }
  }
}

extension JSONText {
  subscript(name: String) -> JSONText? {
    if case .object(let members) = self { members.first { $0.0 == name }?.1 } else { nil }
  }

  var names: [String] {
    if case .object(let members) = self { members.map(\.0) } else { [] }
  }
}
