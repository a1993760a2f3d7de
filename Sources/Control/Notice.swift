package import Config
internal import Synchronization
internal import System

/// One line to the operator on standard error, `sluice: …`. For facts that are rare: the start,
/// the end, and what went wrong; never one per connection.
package enum Notice {
  /// The least important level that is still written.
  package static func setLevel(_ level: LogLevel) {
    threshold.store(level.rawValue, ordering: .relaxed)
  }

  package static func write(_ text: String, _ level: LogLevel = .info) {
    guard level.rawValue <= threshold.load(ordering: .relaxed) else { return }
    put(text)
  }

  /// What an operator did, whatever the level: a trail that could be switched off is none.
  package static func audit(_ text: String) { put(text) }

  private static func put(_ text: String) {
    var line = Array("sluice: ".utf8)
    // One notice is one line, whatever an error's text holds.
    let oneLine = text.utf8.map { $0 == UInt8(ascii: "\n") ? UInt8(ascii: " ") : $0 }
    line += Redaction.withoutUserinfo(oneLine)
    line.append(UInt8(ascii: "\n"))
    StandardStream.error.write(line)
  }

  private static let threshold = Atomic(LogLevel.info.rawValue)
}

/// The descriptors that every process is given. Errors in writing to them have nowhere to go.
package enum StandardStream: Int32 {
  case output = 1
  case error = 2

  package func write(_ bytes: [UInt8]) {
    guard let copy = try? Descriptor.duplicate(of: rawValue) else { return }
    try? copy.writeAll(bytes.span)
  }

  package func write(_ text: String) {
    write(Array(text.utf8))
  }
}
