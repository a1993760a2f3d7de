/// Names of client certificates, as rules have them: one of the certificate's own names, or many
/// at once. Upper and lower case are one, in ASCII.
package struct CertificatePattern: Hashable, Sendable, CustomStringConvertible {
  private enum Kind: Hashable, Sendable {
    case exact
    /// `*.example.com`: one label in place of the star, as `NamePattern.Kind.oneLabel`.
    case oneLabel
    /// `.example.com`: all names beneath it.
    case beneath
    /// `*@example.com`: every address there.
    case anyAddress
  }

  /// As long as the longest name that fits X.520's bounds with room to spare.
  package static let byteLimit = 255

  private let kind: Kind
  /// In lower case; without the star.
  private let text: String

  /// Nil for nothing, for what is too long or has control bytes, and for a star anywhere else.
  package init?(_ pattern: String) {
    let isPrintable = pattern.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f }
    guard isPrintable, (1...CertificatePattern.byteLimit).contains(pattern.utf8.count) else {
      return nil
    }
    let lower = CertificatePattern.lowercased(pattern)
    if lower.hasPrefix("*.") {
      (kind, text) = (.oneLabel, String(lower.dropFirst(1)))
    } else if lower.hasPrefix("*@") {
      (kind, text) = (.anyAddress, String(lower.dropFirst(1)))
    } else {
      (kind, text) = (lower.hasPrefix(".") ? .beneath : .exact, lower)
    }
    guard !text.utf8.contains(UInt8(ascii: "*")), kind == .exact || text.utf8.count > 1 else {
      return nil
    }
  }

  package var description: String {
    switch kind {
    case .exact, .beneath: text
    case .oneLabel, .anyAddress: "*" + text
    }
  }

  /// - Parameter name: in the form of `lowercased`.
  package func matches(_ name: String) -> Bool {
    switch kind {
    case .exact: return name.utf8.elementsEqual(text.utf8)
    case .beneath, .oneLabel, .anyAddress:
      guard name.utf8.suffix(text.utf8.count).elementsEqual(text.utf8) else { return false }
      let front = name.utf8.dropLast(text.utf8.count)
      return switch kind {
      case .exact, .beneath: !front.isEmpty
      case .oneLabel: !front.isEmpty && !front.contains(UInt8(ascii: "."))
      case .anyAddress: !front.isEmpty && !front.contains(UInt8(ascii: "@"))
      }
    }
  }

  /// ASCII alone: what other letters are to each other is nobody's business here.
  package static func lowercased(_ text: String) -> String {
    String(
      decoding: text.utf8.map {
        UInt8(ascii: "A")...UInt8(ascii: "Z") ~= $0 ? $0 | 0x20 : $0
      }, as: UTF8.self)
  }
}
