package import Routing
import Wire

/// What one entry of `egress` says: who may go where through a forward proxy.
package struct Egress: Hashable, Sendable {
  /// 1 ... 64 of `A-Z a-z 0-9 . _ -`; unique among them.
  package var name: String
  /// Nil asks nobody for credentials.
  package var users: EgressUsers?
  package var settings: EgressSettings
  /// In the order of the file: the first that takes a request decides.
  package var rules: [EgressRule]
  package var exceptions: [AddressGuard.Exception]
  package var isGuardOff: Bool
  /// In the order of the file, all by the same scheme.
  package var parents: [ParentProxy]
  /// Requests that go past them.
  package var bypass: BypassList
  /// Whether the list is that of the environment.
  package var isBypassInherited: Bool
  /// A file of PEM: whose certificates are good for https parents; nil trusts what the system does.
  package var parentsCA: String?

  package init(
    name: String, users: EgressUsers? = nil, settings: EgressSettings = EgressSettings(),
    rules: [EgressRule] = [], exceptions: [AddressGuard.Exception] = [], isGuardOff: Bool = false,
    parents: [ParentProxy] = [], bypass: BypassList = BypassList(),
    isBypassInherited: Bool = false, parentsCA: String? = nil
  ) {
    self.name = name
    self.users = users
    self.settings = settings
    self.rules = rules
    self.exceptions = exceptions
    self.isGuardOff = isGuardOff
    self.parents = parents
    self.bypass = bypass
    self.isBypassInherited = isBypassInherited
    self.parentsCA = parentsCA
  }

  /// The name of the backend that its parents are the servers of. No backend of a file can have it.
  package var backendName: String { "egress:\(name)" }
}

/// A file of users, as it was when the configuration was read.
package struct EgressUsers: Hashable, Sendable {
  package var path: String
  /// By name, as crypt(5) has them. Nothing prints these.
  package var hashes: [String: String]

  package init(path: String, hashes: [String: String]) {
    self.path = path
    self.hashes = hashes
  }
}

extension Snapshot {
  /// The egress of a listener; nil for one that is no forward proxy.
  package func egress(of listener: Listener) -> Egress? { listener.egress.map { egress[$0] } }
}

extension Egress {
  /// Its parents as the servers of a backend: the first is used while it can be.
  var backend: Backend? {
    guard var made = Backend(parents: parents, ca: parentsCA, name: backendName) else {
      return nil
    }
    // All tries together are one dial.
    let tries = UInt32(Backend.tries(of: parents))
    made.timeouts.connectMs = max(Egress.leastDialMs, settings.dialMs / tries)
    return made
  }

  private static let leastDialMs: UInt32 = 500
}

/// RFC 4648 section 4.
enum Base64 {
  private static let digits = Array(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  static func encoded(_ bytes: [UInt8]) -> String {
    var text: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let part = bytes[start..<min(start + 3, bytes.count)]
      let word = part.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << UInt32(8 * (3 - part.count))
      for place in 0..<4 {
        let digit = digits[Int(word >> UInt32(18 - 6 * place) & 63)]
        text.append(place <= part.count ? digit : UInt8(ascii: "="))
      }
    }
    return String(decoding: text, as: UTF8.self)
  }
}

/// RFC 3986 section 2.1.
enum Percent {
  /// Nil where a percent sign is not followed by two hexadecimal digits, or what comes out is no
  /// UTF-8.
  static func decoded(_ text: some StringProtocol) -> String? {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard rest.count >= 2,
        let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16),
        rest.prefix(2).allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") })
      else { return nil }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
    return String(validating: bytes, as: UTF8.self)
  }

  /// All but unreserved characters.
  static func encoded(_ text: String) -> String {
    text.utf8.map { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
        UInt8(ascii: "_"), UInt8(ascii: "~"):
        return String(decoding: [byte], as: UTF8.self)
      default:
        let digits = String(byte, radix: 16, uppercase: true)
        return "%" + (digits.utf8.count < 2 ? "0" : "") + digits
      }
    }.joined()
  }
}
