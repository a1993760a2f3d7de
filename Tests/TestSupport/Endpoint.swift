import Glibc

/// Where a test socket is or goes: written as in the configuration and in the connection log.
package enum Endpoint: Hashable, Sendable, CustomStringConvertible {
  /// A numeric IPv4 or IPv6 address without brackets, and a port in host order; 0 lets the kernel
  /// choose.
  case inet(String, UInt16)
  /// A path in the file system, or `@name` in the abstract namespace; unix(7).
  case unix(String)

  package static func loopback(_ port: UInt16) -> Endpoint { .inet("127.0.0.1", port) }

  package var description: String {
    switch self {
    case .inet(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    case .unix(let path): "unix:\(path)"
    }
  }

  package var port: UInt16 {
    switch self {
    case .inet(_, let port): port
    case .unix: 0
    }
  }

  package var host: String {
    switch self {
    case .inet(let host, _): host
    case .unix(let path): path
    }
  }

  package var family: Int32 {
    switch self {
    case .inet(let host, _): host.contains(":") ? AF_INET6 : AF_INET
    case .unix: AF_UNIX
    }
  }

  /// Lends the address as the system calls want it.
  func withSockaddr<Result>(
    _ body: (UnsafePointer<sockaddr>, socklen_t) throws -> Result
  ) rethrows -> Result {
    var storage = sockaddr_storage()
    let length = fill(&storage)
    return try withUnsafePointer(to: &storage) {
      try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { try body($0, length) }
    }
  }

  private func fill(_ storage: inout sockaddr_storage) -> socklen_t {
    withUnsafeMutableBytes(of: &storage) { bytes in
      switch self {
      case .inet(let host, let port) where host.contains(":"):
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = port.bigEndian
        precondition(inet_pton(AF_INET6, host, &address.sin6_addr) == 1, host)
        bytes.storeBytes(of: address, as: sockaddr_in6.self)
        return socklen_t(MemoryLayout<sockaddr_in6>.size)
      case .inet(let host, let port):
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        precondition(inet_pton(AF_INET, host, &address.sin_addr) == 1, host)
        bytes.storeBytes(of: address, as: sockaddr_in.self)
        return socklen_t(MemoryLayout<sockaddr_in>.size)
      case .unix(let path):
        var name = Array(path.utf8)
        if name.first == UInt8(ascii: "@") { name[0] = 0 } else { name.append(0) }
        precondition(name.count <= 108, "sun_path holds 108 bytes: \(path)")
        bytes.storeBytes(of: sa_family_t(AF_UNIX), as: sa_family_t.self)
        bytes[2..<2 + name.count].copyBytes(from: name)
        return socklen_t(2 + name.count)
      }
    }
  }

  /// Reads an address back from getsockname(2), getpeername(2) or accept4(2).
  static func read(
    _ call: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
  ) -> (result: Int32, endpoint: Endpoint) {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutablePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call($0, &length) }
    }
    return (result, result < 0 ? .unix("") : decode(&storage, length))
  }

  private static func decode(_ storage: inout sockaddr_storage, _ length: socklen_t) -> Endpoint {
    withUnsafeMutableBytes(of: &storage) { bytes in
      var text = [CChar](repeating: 0, count: 64)
      switch Int32(bytes.load(as: sa_family_t.self)) {
      case AF_INET:
        var address = bytes.load(as: sockaddr_in.self)
        inet_ntop(AF_INET, &address.sin_addr, &text, 64)
        return .inet(string(text), UInt16(bigEndian: address.sin_port))
      case AF_INET6:
        var address = bytes.load(as: sockaddr_in6.self)
        inet_ntop(AF_INET6, &address.sin6_addr, &text, 64)
        return .inet(string(text), UInt16(bigEndian: address.sin6_port))
      default:
        var path = Array(bytes[2..<max(2, Int(length))])
        if path.first == 0 { path[0] = UInt8(ascii: "@") }
        return .unix(String(decoding: path.prefix { $0 != 0 }, as: UTF8.self))
      }
    }
  }

  private static func string(_ text: [CChar]) -> String {
    String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
