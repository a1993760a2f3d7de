extension Snapshot {
  /// Where a configuration says something, for messages about what it says: `file:line:column`.
  ///
  /// - Parameter path: keys from the top, `["limits", "max-connections"]`; the deepest that is
  ///   there counts, and the file's beginning when none is.
  package static func place(
    of path: [String], in text: [UInt8], file: String, surroundings: Surroundings = .none
  ) -> String {
    var inclusion = Inclusion(surroundings, Diagnostics(file: file))
    guard let tree = inclusion.tree(of: text) else { return file }
    var node = tree.root
    for key in path {
      guard case .mapping(let entries) = node.value,
        let entry = entries.first(where: { $0.key == key })
      else { break }
      node = entry.value
    }
    let position = node.position
    return position.file == nil ? "\(file):\(position)" : "\(position)"
  }
}
