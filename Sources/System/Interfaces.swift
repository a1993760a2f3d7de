internal import Glibc
package import Wire

/// The network interfaces of this machine.
package enum Interfaces {
  /// The IPv4 and IPv6 addresses that they have, each with port 0 and without its zone. Empty when
  /// the kernel does not tell. getifaddrs(3)
  package static func addresses() -> [SocketAddress] {
    var first: UnsafeMutablePointer<ifaddrs>?
    guard unsafe getifaddrs(&first) == 0 else { return [] }
    defer { unsafe freeifaddrs(first) }
    var found: [SocketAddress] = []
    var next = unsafe first
    while let entry = unsafe next {
      unsafe next = entry.pointee.ifa_next
      guard let raw = unsafe entry.pointee.ifa_addr else { continue }
      if let address = unsafe address(raw), !found.contains(address) { found.append(address) }
    }
    return found
  }

  private static func address(_ raw: UnsafeMutablePointer<sockaddr>) -> SocketAddress? {
    switch Int32(unsafe raw.pointee.sa_family) {
    case AF_INET:
      return unsafe raw.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { four in
        unsafe SocketAddress.ipv4(UInt32(bigEndian: four.pointee.sin_addr.s_addr), port: 0)
      }
    case AF_INET6:
      return unsafe raw.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { six in
        var (high, low): (UInt64, UInt64) = (0, 0)
        unsafe withUnsafeBytes(of: six.pointee.sin6_addr) { bytes in
          for index in 0..<8 {
            high = high << 8 | UInt64(unsafe bytes[index])
            low = low << 8 | UInt64(unsafe bytes[index + 8])
          }
        }
        return SocketAddress.ipv6(high: high, low: low, port: 0, scope: 0)
      }
    default: return nil
    }
  }
}
