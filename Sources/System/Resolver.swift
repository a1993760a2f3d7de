internal import Glibc
package import Wire

/// Names to addresses, for commands that a person waits for. Blocks for as long as the system's
/// resolver does, so the daemon must not use it.
package enum Resolver {
  /// What getaddrinfo(3) says: `Name or service not known`.
  package struct Fault: Error, Sendable, CustomStringConvertible {
    package let description: String
  }

  /// The addresses of a name for a TCP connection, in the order in which RFC 6724 wants them tried.
  /// Never empty.
  package static func addresses(
    of name: String, port: UInt16
  ) throws(Fault) -> [SocketAddress] {
    var hints = unsafe addrinfo()
    unsafe hints.ai_family = AF_UNSPEC
    unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    let code = unsafe getaddrinfo(name, nil, &hints, &list)
    guard code == 0 else {
      throw Fault(description: unsafe String(cString: gai_strerror(code)))
    }
    defer { if let list = unsafe list { unsafe freeaddrinfo(list) } }
    var found: [SocketAddress] = []
    var next = unsafe list
    while let entry = unsafe next {
      if let address = unsafe address(entry.pointee, port: port), !found.contains(address) {
        found.append(address)
      }
      unsafe next = entry.pointee.ai_next
    }
    guard !found.isEmpty else { throw Fault(description: "no IPv4 or IPv6 address") }
    return found
  }

  private static func address(_ entry: addrinfo, port: UInt16) -> SocketAddress? {
    guard let raw = unsafe entry.ai_addr else { return nil }
    switch unsafe entry.ai_family {
    case AF_INET:
      return unsafe raw.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
        .ipv4(UInt32(bigEndian: unsafe $0.pointee.sin_addr.s_addr), port: port)
      }
    case AF_INET6:
      return unsafe raw.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { six in
        var words: (UInt64, UInt64) = (0, 0)
        unsafe withUnsafeBytes(of: six.pointee.sin6_addr) { bytes in
          for index in 0..<8 {
            words.0 = words.0 << 8 | UInt64(unsafe bytes[index])
            words.1 = words.1 << 8 | UInt64(unsafe bytes[8 + index])
          }
        }
        return .ipv6(
          high: words.0, low: words.1, port: port, scope: unsafe six.pointee.sin6_scope_id)
      }
    default: return nil
    }
  }
}

extension Sockets {
  /// Sends all of it over a blocking socket, and without the signal that a write to a closed one
  /// brings: commands leave signals as they found them. [EPIPE, ECONNRESET: send(2)]
  package static func sendAll(
    _ bytes: Span<UInt8>, over socket: borrowing Descriptor
  ) throws(SystemError) {
    var done = 0
    while done < bytes.count {
      let rest = bytes.extracting(done..<bytes.count)
      let number = socket.number
      let (count, code) = unsafe rest.withUnsafeBufferPointer { buffer in
        let count = unsafe send(
          number, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL))
        return (count, errno)
      }
      if count < 0, code == EINTR { continue }
      guard count >= 0 else { throw SystemError("send", .init(rawValue: code)) }
      done += count
    }
  }
}
