/// What a configuration may draw on besides its own text: other files, and the environment.
/// Config itself reads neither.
package struct Surroundings: Sendable {
  package enum Contents: Hashable, Sendable {
    case file([UInt8])
    /// The names in a directory, in any order.
    case directory([String])
  }

  /// Why a path has no contents; a clause such as `open: Permission denied`.
  package struct Unobtainable: Error, Hashable, Sendable {
    package var reason: String

    package init(_ reason: String) { self.reason = reason }
  }

  /// The contents of a path. A file of more bytes than the limit has none.
  package var contents:
    @Sendable (_ path: String, _ limit: Int) -> Result<Contents, Unobtainable>
  /// The value of an environment variable; nil when it is not set.
  package var variable: @Sendable (_ name: String) -> String?

  package init(
    contents: @escaping @Sendable (String, Int) -> Result<Contents, Unobtainable>,
    variable: @escaping @Sendable (String) -> String?
  ) {
    self.contents = contents
    self.variable = variable
  }

  /// No files and no variables.
  package static let none = Surroundings(
    contents: { _, _ in .failure(Unobtainable("there are no other files here")) },
    variable: { _ in nil })
}
