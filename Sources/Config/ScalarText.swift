import Routing
import Wire

/// Values as the file writes them: what the parsers of the same name read.
extension Scalar {
  /// In the largest unit that leaves no remainder; `zero` stands for 0.
  static func text(ofDurationMs milliseconds: UInt32, zero: String = "off") -> String {
    guard milliseconds > 0 else { return zero }
    let units: [(String, UInt32)] = [
      ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000),
    ]
    for (unit, factor) in units where milliseconds.isMultiple(of: factor) {
      return "\(milliseconds / factor)\(unit)"
    }
    return "\(milliseconds)ms"
  }

  /// In the largest unit that leaves no remainder.
  static func text(ofSize bytes: Int) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
    for (unit, factor) in units where bytes > 0 && bytes.isMultiple(of: factor) {
      return "\(bytes / factor)\(unit)"
    }
    return "\(bytes)B"
  }

  /// By its name where it has one.
  static func relayedText(_ type: UInt8) -> String {
    let kind = ProxyTLV.Kind(rawValue: type)
    return relayedNames.first { $0.value == kind }?.key ?? hexadecimal(type)
  }

  static func text(of template: [TemplatePart]) -> String {
    template.map { part in
      if case .text(let bytes) = part {
        return String(decoding: bytes, as: UTF8.self).replacing("$", with: "$$")
      }
      return variables.first { $0.value == part }.map { "${\($0.key)}" } ?? ""
    }.joined()
  }
}
