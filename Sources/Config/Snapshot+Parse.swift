extension Snapshot {
  /// Reads a configuration: at most 8 MiB of UTF-8 YAML, the files that it includes among them.
  /// `file` is how messages name it, and what it includes stands beside it.
  ///
  /// All errors are found at once. The snapshot is nil exactly when `diagnostics.hasErrors`;
  /// warnings can come with one.
  package static func parse(
    _ text: [UInt8], file: String, surroundings: Surroundings = .none
  ) -> (snapshot: Snapshot?, diagnostics: Diagnostics) {
    var inclusion = Inclusion(surroundings, Diagnostics(file: file))
    guard let tree = inclusion.tree(of: text) else { return (nil, inclusion.diagnostics) }
    var reader = Reader(diagnostics: inclusion.diagnostics, surroundings: surroundings)
    guard let draft = reader.draft(of: tree) else { return (nil, reader.diagnostics) }
    var checks = Checks(draft, reader.diagnostics)
    checks.run()
    return (checks.diagnostics.hasErrors ? nil : checks.snapshot, checks.diagnostics)
  }
}
