/// A PROXY protocol header as a backend sees it, read by code of the tests' own, so that the
/// product's encoder is never checked by its own decoder. Specification: proxy-protocol.txt,
/// HAProxy.
package struct ReceivedProxyHeader: Hashable, Sendable {
  package var version: Int
  /// The v2 command LOCAL or v1's UNKNOWN: no addresses.
  package var isLocal: Bool
  package var source: Endpoint?
  package var destination: Endpoint?
  /// Length of the whole header in bytes.
  package var length: Int

  /// Reads a header at the beginning of `bytes`, which must hold it completely: receivers such as
  /// Postfix give it one receive call.
  package init(_ bytes: [UInt8]) throws {
    let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10]
    if bytes.starts(with: signature) {
      try self.init(version2: bytes)
    } else if bytes.starts(with: Array("PROXY ".utf8)) {
      try self.init(version1: bytes)
    } else {
      throw TestFailure("no PROXY header: \(bytes.prefix(40))")
    }
  }

  private init(version1 bytes: [UInt8]) throws {
    guard let end = bytes.prefix(107).firstIndex(of: 10), end > 0, bytes[end - 1] == 13 else {
      throw TestFailure("no CRLF within 107 bytes of a v1 header")
    }
    let line = String(decoding: bytes[..<(end - 1)], as: UTF8.self)
    let fields = line.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
    version = 1
    length = end + 1
    isLocal = fields.count > 1 && fields[1] == "UNKNOWN"
    guard !isLocal else { return }
    guard fields.count == 6, ["TCP4", "TCP6"].contains(fields[1]), let from = UInt16(fields[4]),
      let to = UInt16(fields[5]), String(from) == fields[4], String(to) == fields[5]
    else { throw TestFailure("malformed v1 header: \(line)") }
    source = .inet(fields[2], from)
    destination = .inet(fields[3], to)
    let isSix = fields[1] == "TCP6"
    guard fields[2].contains(":") == isSix, fields[3].contains(":") == isSix else {
      throw TestFailure("addresses of the wrong family: \(line)")
    }
  }

  private init(version2 bytes: [UInt8]) throws {
    guard bytes.count >= 16, bytes[12] >> 4 == 2, bytes[12] & 15 <= 1 else {
      throw TestFailure("malformed v2 header: \(bytes.prefix(16))")
    }
    let size = Int(bytes[14]) << 8 | Int(bytes[15])
    guard bytes.count >= 16 + size else { throw TestFailure("v2 header cut short") }
    version = 2
    length = 16 + size
    isLocal = bytes[12] & 15 == 0
    guard !isLocal else { return }
    let width: Int
    switch bytes[13] {
    case 0x11: width = 4
    case 0x21: width = 16
    case 0x31:
      source = .unix(Self.path(bytes[16..<124]))
      destination = .unix(Self.path(bytes[124..<232]))
      return
    default: throw TestFailure("family byte \(bytes[13]) in a v2 header")
    }
    guard size >= 2 * width + 4 else { throw TestFailure("v2 address block of \(size) bytes") }
    let ports = 16 + 2 * width
    source = .inet(
      Self.host(bytes[16..<16 + width]), UInt16(bytes[ports]) << 8 | UInt16(bytes[ports + 1]))
    destination = .inet(
      Self.host(bytes[16 + width..<ports]),
      UInt16(bytes[ports + 2]) << 8 | UInt16(bytes[ports + 3]))
  }

  private static func path(_ bytes: ArraySlice<UInt8>) -> String {
    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
  }

  private static func host(_ bytes: ArraySlice<UInt8>) -> String {
    if bytes.count == 4 { return bytes.map { String($0) }.joined(separator: ".") }
    let all = Array(bytes)
    if all == [UInt8](repeating: 0, count: 15) + [1] { return "::1" }
    return stride(from: 0, to: 16, by: 2).map {
      String(UInt16(all[$0]) << 8 | UInt16(all[$0 + 1]), radix: 16)
    }.joined(separator: ":")
  }
}
