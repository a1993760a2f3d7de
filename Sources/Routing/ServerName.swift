/// What a server is known by, in whatever is kept or told of it: its backend, and its own name
/// there, which is the address that the file writes, with an `@` and another one behind it where a
/// name stands for several.
package struct ServerName: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let backend: String
  package let server: String

  package init(backend: String, server: String) {
    self.backend = backend
    self.server = server
  }

  package var description: String { "\(backend)/\(server)" }

  package static func < (left: ServerName, right: ServerName) -> Bool {
    (left.backend, left.server) < (right.backend, right.server)
  }
}
