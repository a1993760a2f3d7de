extension Snapshot {
  /// Reads a configuration: at most 8 MiB of UTF-8 YAML. `file` is how messages name it.
  ///
  /// All errors are found at once. The snapshot is nil exactly when `diagnostics.hasErrors`;
  /// warnings can come with one.
  package static func parse(
    _ text: [UInt8], file: String
  ) -> (snapshot: Snapshot?, diagnostics: Diagnostics) {
    var diagnostics = Diagnostics(file: file)
    guard let tree = Tree(parsing: text, diagnostics: &diagnostics) else {
      return (nil, diagnostics)
    }
    var reader = Reader(diagnostics: diagnostics)
    guard let draft = reader.draft(of: tree) else { return (nil, reader.diagnostics) }
    var checks = Checks(draft, reader.diagnostics)
    checks.run()
    return (checks.diagnostics.hasErrors ? nil : checks.snapshot, checks.diagnostics)
  }
}
