package import Config
internal import System

/// A configuration file and what it includes, read and understood, or the lines that say why not.
package struct ConfigurationFile: Sendable {
  package let snapshot: Snapshot
  /// `file:line:column: warning: …`
  package let warnings: [String]
  private let path: String
  private let text: [UInt8]

  package struct Unusable: Error, Sendable {
    /// Ready to be printed: `file:line:column: message`.
    package let lines: [String]
  }

  /// The parser's own limit; a larger file is no configuration.
  private static let mostBytes = 8 << 20

  package init(_ path: String) throws(Unusable) {
    let text: [UInt8]
    do throws(Files.ReadError) {
      text = try Files.read(path, atMost: ConfigurationFile.mostBytes)
    } catch {
      throw Unusable(lines: ["sluice: \(path): \(error)"])
    }
    let (snapshot, diagnostics) = Snapshot.parse(text, file: path, surroundings: .system)
    guard let snapshot else { throw Unusable(lines: diagnostics.lines) }
    self.snapshot = snapshot
    self.path = path
    self.text = text
    warnings = diagnostics.lines
  }

  /// Where it says something, `file:line:column`; the keys are those from the top.
  package func place(of keys: [String]) -> String {
    Snapshot.place(of: keys, in: text, file: path, surroundings: .system)
  }
}
