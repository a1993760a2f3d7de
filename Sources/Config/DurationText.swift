/// Durations as the file writes them (`500ms`, `10s`, `5m`, `2h`, `1d`; at most 30 days), for
/// commands and the admin API.
package enum DurationText {
  /// Why a text is no duration; a sentence without a full stop.
  package struct Fault: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
  }

  /// As the file would write it; 0 is `off`.
  package static func text(ms: UInt32) -> String { Scalar.text(ofDurationMs: ms) }

  package static func seconds(_ text: String) throws(Fault) -> Double {
    do throws(Unreadable) {
      return Double(try Scalar.duration(text, mayBeOff: false, mayBeZero: true)) / 1000
    } catch {
      throw Fault(description: error.reason)
    }
  }
}
