import TestSupport
import Testing

/// The source tree that this file is part of.
let sourceTree = #filePath.split(at: "/Tests/PackagingTests").0
let packaging = "\(sourceTree)/tools/packaging"

/// Runs a program to its end, which must be a success; returns all that it said.
@discardableResult
func succeed(
  _ program: String, _ arguments: [String], environment: [String: String] = [:], input: String = ""
) throws -> String {
  let (exit, output, error) = try ChildProcess.run(
    program, arguments, environment: environment, input: input)
  #expect(exit == .code(0), "\(program) \(arguments): \(output)\(error)")
  return output + error
}

/// A configuration as it stands in a file, with ports that no other test uses in place of those
/// that its listeners have.
func withFreePorts(_ yaml: String) -> String {
  let (head, tail) = yaml.split(at: "\nbackends:")
  return head.replacing(#/:(\d+)"/#) { _ in ":\(ReservedPort.take())\"" } + tail
}

extension String {
  func split(at text: String) -> (String, String) {
    guard let place = range(of: text) else { return (self, "") }
    return (String(self[..<place]), String(self[place...]))
  }

  private func range(of text: String) -> Index? {
    indices.first { self[$0...].hasPrefix(text) }
  }
}
