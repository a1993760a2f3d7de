internal import CLibc
package import Wire

/// Plain blocking stream sockets, for the control plane; the data plane has its own.
package enum Sockets {
  /// The longest path of a Unix socket in bytes, without a closing NUL. unix(7)
  package static let longestPath = 107

  /// A listening socket: IPv6 with V6ONLY, SO_REUSEADDR, never SO_REUSEPORT.
  /// [EADDRINUSE, EACCES, EADDRNOTAVAIL, EAFNOSUPPORT, ENAMETOOLONG: socket(2), bind(2)]
  package static func listen(
    at address: SocketAddress, backlog: Int32 = 128
  ) throws(SystemError) -> Descriptor {
    var raw = try rawAddress(address)
    return Descriptor(owning: try checked(unsafe system_listen(&raw, backlog), "bind"))
  }

  /// Blocks until connected, at most `timeoutMs` (0: as long as the kernel tries).
  /// [ECONNREFUSED, ETIMEDOUT, ENOENT, …: connect(2)]
  package static func connect(
    to address: SocketAddress, timeoutMs: UInt32 = 0
  ) throws(SystemError) -> Descriptor {
    var raw = try rawAddress(address)
    return Descriptor(owning: try checked(unsafe system_connect(&raw, timeoutMs), "connect"))
  }

  /// Whether this machine has a route and a source address towards `address`; nothing is sent.
  package static func hasWay(to address: SocketAddress) -> Bool {
    if case .unix = address { return true }
    guard var raw = try? rawAddress(address) else { return false }
    return unsafe system_has_way(&raw)
  }

  /// Blocks until a client comes. [EMFILE, ENFILE, EINVAL after `shutdownBoth`: accept(2)]
  package static func accept(_ listener: borrowing Descriptor) throws(SystemError) -> Accepted {
    var raw = system_address()
    let number = try checked(unsafe system_accept(listener.number, &raw), "accept")
    return Accepted(descriptor: Descriptor(owning: number), client: socketAddress(raw))
  }

  package struct Accepted: ~Copyable {
    package let descriptor: Descriptor
    package let client: SocketAddress

    /// Gives up ownership without closing.
    package consuming func release() -> Int32 { descriptor.release() }
  }

  /// getsockname(2)
  package static func localAddress(
    of descriptor: borrowing Descriptor
  ) throws(SystemError) -> SocketAddress {
    var raw = system_address()
    _ = try checked(unsafe system_local_address(descriptor.number, &raw), "getsockname")
    return socketAddress(raw)
  }

  /// Whether a socket that began to connect is connected already.
  package static func isConnected(_ number: Int32) -> Bool {
    var raw = system_address()
    return unsafe system_remote_address(number, &raw) == 0
  }

  /// getpeername(2)
  package static func remoteAddress(
    of descriptor: borrowing Descriptor
  ) throws(SystemError) -> SocketAddress {
    var raw = system_address()
    _ = try checked(unsafe system_remote_address(descriptor.number, &raw), "getpeername")
    return socketAddress(raw)
  }

  /// Whether this process may use the congestion control of this name; nil when it may.
  /// [ENOENT: the kernel does not have it; EPERM: only for privileged users. tcp(7)]
  package static func congestionDenied(_ name: String) -> SystemError.Code? {
    let result = unsafe system_try_congestion(name)
    return result < 0 ? SystemError.Code(rawValue: -result) : nil
  }

  /// Sends a FIN. [ENOTCONN]
  package static func finishWriting(_ descriptor: borrowing Descriptor) throws(SystemError) {
    _ = try checked(system_shutdown_writing(descriptor.number), "shutdown")
  }

  /// Ends both directions; a thread blocked in `accept` on it wakes with an error. By number,
  /// because that thread has the descriptor; it must still be open.
  package static func shutdownBoth(number: Int32) {
    _ = system_shutdown_both(number)
  }

  /// The kernel's form of an address. [ENAMETOOLONG]
  static func rawAddress(_ address: SocketAddress) throws(SystemError) -> system_address {
    var raw = system_address()
    switch address {
    case .ipv4(let word, let port):
      unsafe system_address_set_ipv4(&raw, word, port)
    case .ipv6(let high, let low, let port, let scope):
      unsafe system_address_set_ipv6(
        &raw, system_inet(high: high, low: low, scope: scope, port: port))
    case .unix(let path):
      let bytes = Array(path.utf8)
      _ = try checked(
        unsafe system_address_set_unix(&raw, bytes, bytes.count), "socket address")
    }
    return raw
  }

  static func socketAddress(_ address: system_address) -> SocketAddress {
    var raw = address
    var inet = system_inet()
    switch unsafe system_address_family(&raw) {
    case .ipv4:
      unsafe system_address_inet(&raw, &inet)
      return .ipv4(UInt32(truncatingIfNeeded: inet.low), port: inet.port)
    case .ipv6:
      unsafe system_address_inet(&raw, &inet)
      return .ipv6(high: inet.high, low: inet.low, port: inet.port, scope: inet.scope)
    case .unix:
      var path = [UInt8](repeating: 0, count: longestPath + 1)
      let count = unsafe system_address_path(&raw, &path)
      return .unix(path: String(decoding: path.prefix(count), as: UTF8.self))
    case .other:
      return .unix(path: "")
    }
  }
}

/// What stands in the way of binding an address.
package enum BindObstacle: Sendable, Equatable {
  /// Another socket listens there.
  case inUse
  /// A port below the unprivileged ones, or a directory this user may not write to.
  case accessDenied
  /// This machine does not have the address.
  case notLocal
  /// This machine does not speak the address family; IPv6 switched off is no error.
  case familyAbsent
  case other(SystemError.Code)
}

extension Sockets {
  /// Binds and listens once without SO_REUSEPORT, and lets go again: with SO_REUSEPORT alone a
  /// second instance of the same user would silently take part of the traffic. Nil when free.
  ///
  /// A Unix path is not bound, since that would leave a file behind: a live socket there is a
  /// conflict, and so is a file that is no socket; the file of a dead socket is no obstacle.
  package static func obstacle(to address: SocketAddress) -> BindObstacle? {
    do throws(SystemError) {
      if case .unix(let path) = address, !path.isEmpty, path.utf8.first != 0 {
        return try obstacle(toPath: path)
      }
      _ = try listen(at: address, backlog: 1)
      return nil
    } catch {
      switch error.code {
      case .addressInUse: return .inUse
      case .accessDenied, .notPermitted: return .accessDenied
      case .addressNotAvailable: return .notLocal
      case .familyNotSupported: return .familyAbsent
      default: return .other(error.code)
      }
    }
  }

  /// Removes the socket file of a listener that is gone. Anything else at `path` stays: a file
  /// that is no socket, or a socket that is alive. Returns whether it removed one.
  @discardableResult
  package static func removeStaleSocket(at path: String) throws(SystemError) -> Bool {
    guard path.utf8.first != 0, !path.isEmpty else { return false }
    do throws(SystemError) {
      guard case .socket = try Files.kind(at: path), try !isAlive(path) else { return false }
      try Files.remove(path)
      return true
    } catch {
      if error.code == .noEntry { return false }
      throw error
    }
  }

  private static func obstacle(toPath path: String) throws(SystemError) -> BindObstacle? {
    do throws(SystemError) {
      guard case .socket = try Files.kind(at: path) else { return .inUse }
      return try isAlive(path) ? .inUse : nil
    } catch {
      if error.code == .noEntry { return nil }
      throw error
    }
  }

  private static func isAlive(_ path: String) throws(SystemError) -> Bool {
    var raw = try rawAddress(.unix(path: path))
    return try checked(unsafe system_unix_alive(&raw), "connect") == 1
  }
}
