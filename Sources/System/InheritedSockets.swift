internal import CLibc
package import Wire

/// A listening socket that a service manager opened and handed over. sd_listen_fds(3)
package struct InheritedSocket: Sendable, Equatable {
  /// Stays open; whoever takes it over closes it.
  package let descriptor: Int32
  package let address: SocketAddress
  /// Whether it is IPv6 and takes IPv4 clients as well (IPV6_V6ONLY is off).
  package let takesIPv4: Bool

  package init(descriptor: Int32, address: SocketAddress, takesIPv4: Bool) {
    self.descriptor = descriptor
    self.address = address
    self.takesIPv4 = takesIPv4
  }

  /// The first descriptor that is handed over (SD_LISTEN_FDS_START).
  private static let first: Int32 = 3

  /// What this process inherited, close-on-exec and non-blocking from now on. To be called once,
  /// before other threads start: it changes the environment. What is no listening stream socket
  /// is left alone.
  package static func take() -> [InheritedSocket] {
    let count = system_listen_descriptors()
    return (0..<count).compactMap { offset in
      let descriptor = first + offset
      var dual = false
      guard unsafe system_adopt_listener(descriptor, &dual) == 0 else { return nil }
      var raw = system_address()
      guard unsafe system_local_address(descriptor, &raw) == 0 else { return nil }
      return InheritedSocket(
        descriptor: descriptor, address: Sockets.socketAddress(raw), takesIPv4: dual)
    }
  }

  /// Whether clients of `bind` come in here.
  package func serves(_ bind: SocketAddress) -> Bool {
    if bind == address { return true }
    guard takesIPv4, address.isWildcard, bind.isWildcard else { return false }
    return bind.port == address.port
  }
}
